//! A disk image in a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use devices::Digest;
use devices::virtio::block::{CowDisk, Disk, DiskError, Recorded, SECTOR, Seen};
use tracing::debug;
use vmm::AnyDisk;

use crate::values::{self, DiskMode};

/// Most bytes that a private copy keeps; a guest that writes more gets I/O errors.
const PRIVATE_MAX: u64 = 4 << 30;

/// An image, read and written in place.
#[derive(Clone)]
pub(crate) struct FileDisk {
    file: Arc<File>,
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
    let image = open_named(disk)?;
    Ok(match disk.mode {
        DiskMode::Private => AnyDisk::new(CowDisk::new(image, PRIVATE_MAX)),
        DiskMode::ReadOnly | DiskMode::ReadWrite => AnyDisk::new(image),
    })
}

/// The same for a run that is recorded: what is read of the image, and what is written over, goes
/// on record.
pub(crate) fn open_recorded(disk: &values::Disk) -> Result<AnyDisk> {
    let image = Recorded::new(open_named(disk)?, hash);
    Ok(match disk.mode {
        DiskMode::Private => AnyDisk::new(CowDisk::new(image, PRIVATE_MAX)),
        DiskMode::ReadOnly => AnyDisk::new(image),
        DiskMode::ReadWrite => AnyDisk::new(CowDisk::write_through(image, PRIVATE_MAX)),
    })
}

/// Opens the image of a recording, or of a run that is kept; it is only read.
pub(crate) fn open_image(disk: &values::Disk) -> Result<FileDisk> {
    let image = open_file(&disk.path, DiskMode::ReadOnly)
        .with_context(|| format!("opening the disk image {}", disk.path.display()))?;
    Ok(FileDisk { read_only: disk.mode == DiskMode::ReadOnly, ..image })
}

/// The disk of a recording over such an image, as it was when the run began.
pub(crate) fn replayed(image: FileDisk, mode: DiskMode, seen: Vec<Seen>) -> AnyDisk {
    let image = Recorded::replay(image, hash, seen);
    match mode {
        DiskMode::ReadOnly => AnyDisk::new(image),
        DiskMode::Private | DiskMode::ReadWrite => AnyDisk::new(CowDisk::new(image, PRIVATE_MAX)),
    }
}

/// Where the disk image of a recording is now.
pub(crate) fn recorded(
    image: &traces::Image,
    mode: &str,
    folder: Option<&Path>,
) -> Result<values::Disk> {
    let known = DiskMode::ALL.into_iter().find(|it| it.name() == mode);
    let mode = known.with_context(|| format!("the recording has a disk of the kind {mode:?}"))?;
    let name = Path::new(&image.name);
    let in_folder = folder.zip(name.file_name()).map(|(folder, name)| folder.join(name));
    let path = in_folder.filter(|path| path.exists()).unwrap_or_else(|| name.to_owned());
    let bytes = std::fs::metadata(&path)
        .with_context(|| format!("the disk image {} of the recording", path.display()))?
        .len();
    if bytes != image.bytes {
        bail!(
            "the disk image {} has {bytes} bytes, it was recorded with {}",
            path.display(),
            image.bytes
        );
    }
    Ok(values::Disk { path, mode })
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

fn open_named(disk: &values::Disk) -> Result<FileDisk> {
    let image = open_file(&disk.path, disk.mode)
        .with_context(|| format!("opening the disk image {}", disk.path.display()))?;
    debug!(path = %disk.path.display(), sectors = image.sectors, mode = ?disk.mode, "disk image");
    Ok(image)
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
    Ok(FileDisk {
        file: Arc::new(file),
        sectors: bytes / SECTOR,
        read_only: mode == DiskMode::ReadOnly,
    })
}
