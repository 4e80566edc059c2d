//! What is behind a block device: the trait of disks, and a private copy-on-write overlay.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Digest, feed};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Bytes of a cluster, the unit that an overlay copies.
const CLUSTER: usize = 4096;
const CLUSTER_SECTORS: u64 = 8;

/// Why a disk did not do what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// Not whole sectors, or beyond the end.
    OutOfRange,
    /// A write to a disk that takes none.
    ReadOnly,
    /// The overlay holds as much as it may.
    Full,
    /// The host could not read or write.
    Host,
}

impl std::fmt::Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DiskError::OutOfRange => "sectors outside of the disk",
            DiskError::ReadOnly => "disk is read-only",
            DiskError::Full => "overlay is full",
            DiskError::Host => "host input or output failed",
        })
    }
}

impl std::error::Error for DiskError {}

/// A row of sectors.
///
/// Its digest is what a guest could find changed: a disk that never changes feeds nothing, for
/// its content belongs to the configuration.
pub trait Disk: Digest {
    /// The number of sectors; it never changes.
    fn sectors(&self) -> u64;

    /// Fills `buf`, whole sectors, from `sector` on.
    ///
    /// # Errors
    /// [`DiskError`] says why not; `buf` is then of no meaning.
    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError>;

    /// Stores `buf`, whole sectors, from `sector` on.
    ///
    /// # Errors
    /// [`DiskError`] says why not; a part may have been stored.
    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`DiskError::Host`] if the host could not.
    fn flush(&mut self) -> Result<(), DiskError>;

    /// Whether every write fails.
    fn read_only(&self) -> bool;
}

/// The byte range of `len` bytes from `sector` on, if it is whole sectors of so large a disk.
fn range(sectors: u64, sector: u64, len: usize) -> Result<(u64, u64), DiskError> {
    let len = len as u64;
    let end = sector.checked_add(len / SECTOR).ok_or(DiskError::OutOfRange)?;
    if end > sectors || !len.is_multiple_of(SECTOR) {
        return Err(DiskError::OutOfRange);
    }
    let begin = sector.checked_mul(SECTOR).ok_or(DiskError::OutOfRange)?;
    Ok((begin, begin + len))
}

/// An image in memory, read-only; bytes after the last whole sector are not part of the disk.
impl Disk for Arc<[u8]> {
    fn sectors(&self) -> u64 {
        self.len() as u64 / SECTOR
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (begin, _) = range(Disk::sectors(self), sector, buf.len())?;
        let begin = usize::try_from(begin).or(Err(DiskError::OutOfRange))?;
        let bytes = self.get(begin..begin + buf.len()).ok_or(DiskError::OutOfRange)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, _sector: u64, _buf: &[u8]) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn read_only(&self) -> bool {
        true
    }
}

impl Digest for Arc<[u8]> {
    fn digest(&self, _sink: &mut dyn FnMut(&[u8])) {}
}

/// Any disk, where the owner decides at run time which.
impl<D: Disk + ?Sized> Disk for Box<D> {
    fn sectors(&self) -> u64 {
        (**self).sectors()
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        (**self).read(sector, buf)
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        (**self).write(sector, buf)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        (**self).flush()
    }

    fn read_only(&self) -> bool {
        (**self).read_only()
    }
}

impl<D: Digest + ?Sized> Digest for Box<D> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        (**self).digest(sink);
    }
}

/// A disk whose writes stay in memory, above a base that is only read.
///
/// A clone shares the clusters until one of the two writes to them, so it costs little.
#[derive(Clone, Debug)]
pub struct CowDisk<B> {
    // Fixed configuration.
    base: B,
    limit: u64,
    // Runtime state.
    overlay: BTreeMap<u64, Arc<[u8; CLUSTER]>>,
}

impl<B: Disk> CowDisk<B> {
    /// An overlay over `base` that may grow to `limit_bytes`; writes that need more fail.
    #[must_use]
    pub fn new(base: B, limit_bytes: u64) -> CowDisk<B> {
        CowDisk { base, limit: limit_bytes / CLUSTER as u64, overlay: BTreeMap::new() }
    }

    /// Bytes that the overlay holds.
    #[must_use]
    pub fn overlay_bytes(&self) -> u64 {
        (self.overlay.len() * CLUSTER) as u64
    }

    /// The cluster to write to, copied from the base first unless all of it is replaced.
    fn cluster(&mut self, index: u64, whole: bool) -> Result<&mut [u8; CLUSTER], DiskError> {
        if !self.overlay.contains_key(&index) {
            if self.overlay.len() as u64 >= self.limit {
                return Err(DiskError::Full);
            }
            let mut bytes = [0; CLUSTER];
            if !whole {
                // The last cluster of a disk may be a part of one.
                let first = index * CLUSTER_SECTORS;
                let there = self.base.sectors().saturating_sub(first).min(CLUSTER_SECTORS);
                let there = usize::try_from(there * SECTOR).or(Err(DiskError::OutOfRange))?;
                self.base.read(first, &mut bytes[..there])?;
            }
            self.overlay.insert(index, Arc::new(bytes));
        }
        self.overlay.get_mut(&index).map(Arc::make_mut).ok_or(DiskError::Full)
    }
}

/// The part of a cluster that begins at byte `at` of the disk and has at most `left` bytes.
fn part(at: u64, left: usize) -> (u64, std::ops::Range<usize>) {
    let cluster = CLUSTER as u64;
    let begin = usize::try_from(at % cluster).unwrap_or(0);
    (at / cluster, begin..CLUSTER.min(begin.saturating_add(left)))
}

impl<B: Disk> Disk for CowDisk<B> {
    fn sectors(&self) -> u64 {
        self.base.sectors()
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (mut at, end) = range(self.sectors(), sector, buf.len())?;
        // The base once, in one piece, and then what was written since.
        self.base.read(sector, buf)?;
        let first = at / CLUSTER as u64;
        let mut done = 0;
        for (index, bytes) in self.overlay.range(first..end.div_ceil(CLUSTER as u64)) {
            let begin = at.max(index * CLUSTER as u64);
            done += usize::try_from(begin - at).or(Err(DiskError::OutOfRange))?;
            let (_, inside) = part(begin, buf.len() - done);
            let len = inside.len();
            buf[done..done + len].copy_from_slice(&bytes[inside]);
            done += len;
            at = begin + len as u64;
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        let (mut at, _) = range(self.sectors(), sector, buf.len())?;
        let mut left = buf;
        while !left.is_empty() {
            let (index, inside) = part(at, left.len());
            let (now, later) = left.split_at(inside.len());
            self.cluster(index, now.len() == CLUSTER)?[inside].copy_from_slice(now);
            at += now.len() as u64;
            left = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn read_only(&self) -> bool {
        false
    }
}

impl<B: Disk> Digest for CowDisk<B> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed(sink, self.limit);
        feed(sink, self.overlay.len() as u64);
        for (index, bytes) in &self.overlay {
            feed(sink, *index);
            sink(&bytes[..]);
        }
    }
}
