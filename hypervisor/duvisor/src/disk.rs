//! A disk image in a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use devices::Digest;
use devices::virtio::block::{CowDisk, Disk, DiskError, SECTOR};
use tracing::debug;
use vmm::AnyDisk;

use crate::values::{self, DiskMode};

/// Most bytes that a private copy keeps; a guest that writes more gets I/O errors.
const PRIVATE_MAX: u64 = 4 << 30;

/// An image, read and written in place.
struct FileDisk {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Digest for FileDisk {
    /// The image is not part of the guest's state: what the guest wrote to it is, and that is
    /// covered by the requests that wrote it.
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&self.sectors.to_le_bytes());
    }
}

impl Disk for FileDisk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.file.read_exact_at(buf, sector * SECTOR).or(Err(DiskError::Host))
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(buf, sector * SECTOR).or(Err(DiskError::Host))
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.file.sync_data().or(Err(DiskError::Host))
    }

    fn read_only(&self) -> bool {
        self.read_only
    }
}

/// Opens the image of `--disk`.
pub(crate) fn open(disk: &values::Disk) -> Result<AnyDisk> {
    let image = open_file(&disk.path, disk.mode)
        .with_context(|| format!("opening the disk image {}", disk.path.display()))?;
    debug!(path = %disk.path.display(), sectors = image.sectors, mode = ?disk.mode, "disk image");
    Ok(match disk.mode {
        DiskMode::Private => AnyDisk::new(CowDisk::new(image, PRIVATE_MAX)),
        DiskMode::ReadOnly | DiskMode::ReadWrite => AnyDisk::new(image),
    })
}

fn open_file(path: &Path, mode: DiskMode) -> Result<FileDisk> {
    let write = mode == DiskMode::ReadWrite;
    let file = OpenOptions::new().read(true).write(write).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        bail!("expected a regular file with a raw disk image");
    }
    let bytes = metadata.len();
    if bytes == 0 || bytes % SECTOR != 0 {
        bail!("it has {bytes} bytes, expected a positive number of 512-byte sectors");
    }
    if write {
        // Two guests on one image would destroy its file system.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("it is in use by another run"),
            Err(TryLockError::Error(error)) => return Err(error).context("locking it"),
        }
    }
    Ok(FileDisk { file, sectors: bytes / SECTOR, read_only: mode == DiskMode::ReadOnly })
}
