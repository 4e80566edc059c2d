//! The block device: one queue of reads, writes and flushes over a [`Disk`].
//!
//! Absent: discard and write-zeroes (a guest that wants zeros writes them), topology, several
//! queues. A request that a disk cannot serve ends with an error status; only one that cannot be
//! answered at all breaks the device.

mod disk;
mod overlay;
mod recorded;
#[cfg(test)]
mod tests;

pub use disk::{Disk, DiskError, SECTOR};
pub use overlay::{CowDisk, Dirtied, Overlay, PAGE, Page};
pub use recorded::{BLOCK_BYTES, Hash, Recorded, Seen, Trouble, Witness};

use state::{Codec, Damaged, State};

use super::mmio::VirtioMmio;
use super::queue::{Broken, Chain, Cursor};
use super::{GuestMemory, VirtioDevice, spec::*};
use crate::Digest;

/// Guest time from notification to completion that suits a guest: that of a fast disk.
pub const DEFAULT_LATENCY_NS: u64 = 100_000;
/// Largest segment that drivers are told of.
pub const SIZE_MAX: u32 = 512 << 10;
/// Most segments of a request that drivers are told of: the queue less header and status.
pub const SEG_MAX: u32 = 126;
/// A request for more data fails; no driver that heeds the two limits above gets there.
pub const REQUEST_LIMIT: u64 = 64 << 20;

/// Data moves between disk and guest memory in pieces of this size.
const PIECE: usize = 64 << 10;
const ID_BYTES: usize = 20;
const HEADER_BYTES: usize = 16;

/// A virtio disk.
#[derive(Clone, Debug)]
pub struct Block<D> {
    // Fixed configuration.
    disk: D,
    id: [u8; ID_BYTES],
    latency_ns: u64,
    config: [u8; 60],
}

impl<D: Disk> Block<D> {
    /// A device for `disk`; of `id` the first 20 bytes are told to who asks.
    #[must_use]
    pub fn new(disk: D, id: &str, latency_ns: u64) -> Block<D> {
        // capacity u64, size_max u32, seg_max u32, geometry u32, blk_size u32, not offered: rest.
        let mut config = [0; 60];
        config[..8].copy_from_slice(&disk.sectors().to_le_bytes());
        config[8..12].copy_from_slice(&SIZE_MAX.to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&512u32.to_le_bytes());
        let mut padded = [0; ID_BYTES];
        for (to, from) in padded.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Block { disk, id: padded, latency_ns, config }
    }

    /// The disk behind the device.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The first sector and the end of a transfer are checked before any of it is done.
    fn check(&self, sector: u64, bytes: u64) -> Result<(), DiskError> {
        let end = sector.checked_add(bytes / SECTOR).ok_or(DiskError::OutOfRange)?;
        let whole = bytes.is_multiple_of(SECTOR) && bytes <= REQUEST_LIMIT;
        if whole && end <= self.disk.sectors() { Ok(()) } else { Err(DiskError::OutOfRange) }
    }

    /// Reads `bytes` from the disk into `target`; how many arrived, and whether all did.
    fn read(
        &mut self,
        mut sector: u64,
        bytes: u64,
        target: &mut Cursor<'_>,
        mem: &mut dyn GuestMemory,
    ) -> Result<(u64, Result<(), DiskError>), Broken> {
        if let Err(error) = self.check(sector, bytes) {
            return Ok((0, Err(error)));
        }
        let mut done = 0;
        let mut piece = vec![0; piece_of(bytes)];
        while done < bytes {
            let want = piece_of(bytes - done);
            if let Err(error) = self.disk.read(sector, &mut piece[..want]) {
                return Ok((done, Err(error)));
            }
            target.write(mem, &piece[..want])?;
            sector += want as u64 / SECTOR;
            done += want as u64;
        }
        Ok((done, Ok(())))
    }

    /// Writes the rest of `source` to the disk.
    fn write(
        &mut self,
        mut sector: u64,
        source: &mut Cursor<'_>,
        through: bool,
        mem: &dyn GuestMemory,
    ) -> Result<Result<(), DiskError>, Broken> {
        if self.disk.read_only() {
            return Ok(Err(DiskError::ReadOnly));
        }
        if let Err(error) = self.check(sector, source.remaining()) {
            return Ok(Err(error));
        }
        let mut piece = vec![0; piece_of(source.remaining())];
        while source.remaining() != 0 {
            let want = piece_of(source.remaining());
            source.read(mem, &mut piece[..want])?;
            if let Err(error) = self.disk.write(sector, &piece[..want]) {
                return Ok(Err(error));
            }
            sector += want as u64 / SECTOR;
        }
        Ok(if through { self.disk.flush() } else { Ok(()) })
    }
}

impl<D: Disk> VirtioMmio<Block<D>> {
    /// What the guest wrote to the disk, if that is kept apart from the rest.
    pub fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.device_mut().disk.overlay()
    }

    /// What is known of the image below the disk, if somebody watches it.
    pub fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.device_mut().disk.witness()
    }
}

fn piece_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(PIECE)
}

fn status_of(result: Result<(), DiskError>) -> u8 {
    if result.is_ok() { BLK_S_OK } else { BLK_S_IOERR }
}

impl<D: Disk> VirtioDevice for Block<D> {
    fn name(&self) -> &'static str {
        "virtio-blk"
    }

    fn device_type(&self) -> u32 {
        BLOCK
    }

    fn features(&self) -> u64 {
        let read_only = if self.disk.read_only() { BLK_F_RO } else { 0 };
        BLK_F_SIZE_MAX | BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | read_only
    }

    fn queues(&self) -> &'static [u16] {
        &[128]
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn latency_ns(&self) -> u64 {
        self.latency_ns
    }

    fn request(
        &mut self,
        _queue: usize,
        chain: &Chain,
        features: u64,
        mem: &mut dyn GuestMemory,
    ) -> Result<u32, Broken> {
        // Section "Device Operation": type u32, reserved u32, sector u64; data; status u8.
        let mut source = chain.readable();
        let mut target = chain.writable();
        let mut header = [0; HEADER_BYTES];
        if source.read(mem, &mut header)? != HEADER_BYTES || target.remaining() == 0 {
            return Err(Broken::Request);
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        let room = target.remaining() - 1;
        let (written, status) = match u32::from_le_bytes([t0, t1, t2, t3]) {
            BLK_IN => {
                let (written, result) = self.read(sector, room, &mut target, mem)?;
                (written, status_of(result))
            }
            BLK_OUT => {
                // Without the feature the driver takes a write that is over for a durable one.
                let through = features & BLK_F_FLUSH == 0;
                (0, status_of(self.write(sector, &mut source, through, mem)?))
            }
            BLK_FLUSH => (0, status_of(self.disk.flush())),
            BLK_GET_ID => {
                let count = self.id.len().min(piece_of(room));
                (target.write(mem, &self.id[..count])? as u64, BLK_S_OK)
            }
            _ => (0, BLK_S_UNSUPP),
        };
        let mut last = chain.writable();
        last.skip(room);
        last.write(mem, &[status])?;
        // The length counts an unbroken beginning only, which the status is seldom part of.
        let total = if written == room { written + 1 } else { written };
        u32::try_from(total).or(Err(Broken::Length))
    }
}

impl<D> State for Block<D> {
    /// The device keeps nothing between requests, and the disk is saved by its [`Overlay`].
    fn state(&mut self, _codec: &mut Codec<'_>) -> Result<(), Damaged> {
        Ok(())
    }
}

impl<D: Disk> Digest for Block<D> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.disk.digest(sink);
    }
}
