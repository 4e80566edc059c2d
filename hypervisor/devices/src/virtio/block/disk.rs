//! What is behind a block device: the trait of disks.

use std::sync::Arc;

use super::overlay::Overlay;
use super::recorded::Witness;
use crate::Digest;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

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

    /// What was written since the run began, if that is kept apart from the rest.
    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        None
    }

    /// What is known of the image below, if somebody watches what is read of it.
    fn witness(&mut self) -> Option<&mut dyn Witness> {
        None
    }
}

/// The byte range of `len` bytes from `sector` on, if it is whole sectors of so large a disk.
pub(super) fn range(sectors: u64, sector: u64, len: usize) -> Result<(u64, u64), DiskError> {
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

    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        (**self).overlay()
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        (**self).witness()
    }
}

impl<D: Digest + ?Sized> Digest for Box<D> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        (**self).digest(sink);
    }
}
