//! Any disk, boxed: the VM plane does not care what is behind its block device.

use devices::Digest;
use devices::virtio::block::{Disk, DiskError, Overlay, Witness};

/// A disk of whatever kind.
pub struct AnyDisk(Box<dyn Disk + Send>);

impl AnyDisk {
    /// Boxes a disk.
    pub fn new(disk: impl Disk + Send + 'static) -> Self {
        Self(Box::new(disk))
    }
}

impl std::fmt::Debug for AnyDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyDisk").field("sectors", &self.0.sectors()).finish_non_exhaustive()
    }
}

impl Digest for AnyDisk {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.0.digest(sink);
    }
}

impl Disk for AnyDisk {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.0.read(sector, buf)
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        self.0.write(sector, buf)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.0.flush()
    }

    fn read_only(&self) -> bool {
        self.0.read_only()
    }

    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.0.overlay()
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.0.witness()
    }
}
