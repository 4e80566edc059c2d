//! What was fetched: versions, files, hashes; written last, so that a half-fetched guest is none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The manifest's file name, in the guest's folder.
const FILE: &str = "manifest.json";
/// The manifest's format; another number is another program's.
const FORMAT: u32 = 1;
/// The largest file that is read as a manifest.
const MAX_MANIFEST: u64 = 1 << 20;

/// A package by name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Debian's version of it.
    pub version: String,
}

impl Package {
    /// The way apt wants exactly this version.
    pub(super) fn exact(&self) -> String {
        format!("{}={}", self.name, self.version)
    }
}

/// A file of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Relative to the guest's folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its bytes, hexadecimal.
    pub blake3: String,
}

/// What the guest consists of and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// Which version of our own initrd contents.
    pub(super) recipe: u32,
    /// Debian's suite.
    pub suite: String,
    /// The packages used, sorted.
    pub packages: Vec<Package>,
    /// What `uname -r` says in the guest.
    pub release: String,
    /// The kernel, a Linux Image.
    pub kernel: StoredFile,
    /// The initrd, a cpio archive.
    pub initrd: StoredFile,
}

impl Manifest {
    pub(super) fn new(
        recipe: u32,
        suite: &str,
        packages: Vec<Package>,
        release: String,
        [kernel, initrd]: [StoredFile; 2],
    ) -> Manifest {
        let suite = suite.to_owned();
        Manifest { format: FORMAT, recipe, suite, packages, release, kernel, initrd }
    }
}

/// A fetched Debian guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debian {
    /// What it consists of.
    pub manifest: Manifest,
    /// The folder that the manifest's paths start from.
    folder: PathBuf,
}

/// Why a fetched guest cannot be used.
#[derive(Debug, Error)]
pub enum InstalledError {
    /// Unreadable.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// Not JSON of the right shape.
    #[error("{} is damaged; fetch the guest again", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a later version.
    #[error("{} has format {found}, expected {FORMAT}; fetch the guest again", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A path that leaves the guest's folder.
    #[error("{} names a file outside its folder; fetch the guest again", .0.display())]
    Outside(PathBuf),
    /// Other bytes than were fetched.
    #[error("{} changed since it was fetched; fetch the guest again", .0.display())]
    Changed(PathBuf),
}

impl Debian {
    /// The guest fetched into `folder`, if there is one. The files are looked at by [`Self::read`].
    ///
    /// # Errors
    /// A manifest that is there but cannot be used.
    pub fn installed(folder: &Path) -> Result<Option<Debian>, InstalledError> {
        let path = folder.join(FILE);
        let failed = |source| InstalledError::Read { path: path.clone(), source };
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_MANIFEST => String::new(),
            Ok(_) => fs::read_to_string(&path).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let manifest: Manifest = serde_json::from_str(&text)
            .map_err(|source| InstalledError::Manifest { path: path.clone(), source })?;
        if manifest.format != FORMAT {
            return Err(InstalledError::Format { path, found: manifest.format });
        }
        let plain = |file: &StoredFile| {
            let mut parts = Path::new(&file.path).components();
            parts.all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        if !plain(&manifest.kernel) || !plain(&manifest.initrd) {
            return Err(InstalledError::Outside(path));
        }
        Ok(Some(Debian { manifest, folder: folder.to_owned() }))
    }

    /// Where the kernel is.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(&self.manifest.kernel.path)
    }

    /// Where the initrd is.
    pub fn initrd(&self) -> PathBuf {
        self.folder.join(&self.manifest.initrd.path)
    }

    /// The kernel's and the initrd's bytes, checked against their hashes.
    ///
    /// # Errors
    /// A file that is missing or not the one that was fetched.
    pub fn read(&self) -> Result<(Vec<u8>, Vec<u8>), InstalledError> {
        let kernel = checked(&self.kernel(), &self.manifest.kernel)?;
        Ok((kernel, checked(&self.initrd(), &self.manifest.initrd)?))
    }

    /// Makes `manifest` the installed guest of `folder`.
    pub(super) fn install(folder: &Path, manifest: Manifest) -> Result<Debian, std::io::Error> {
        let mut text = serde_json::to_string_pretty(&manifest)?;
        text.push('\n');
        write_whole(&folder.join(FILE), text.as_bytes())?;
        Ok(Debian { manifest, folder: folder.to_owned() })
    }
}

/// Describes the bytes that are stored as `path`.
pub(super) fn describe(path: String, bytes: &[u8]) -> StoredFile {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    StoredFile { path, bytes: length, blake3: blake3::hash(bytes).to_hex().to_string() }
}

/// Writes a file so that it is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), std::io::Error> {
    let unfinished = path.with_extension("part");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

fn checked(path: &Path, expected: &StoredFile) -> Result<Vec<u8>, InstalledError> {
    let failed = |source| InstalledError::Read { path: path.to_owned(), source };
    let changed = || InstalledError::Changed(path.to_owned());
    // The length first: what replaced the file may be anything, also endless.
    if fs::metadata(path).map_err(failed)?.len() != expected.bytes {
        return Err(changed());
    }
    let bytes = fs::read(path).map_err(failed)?;
    let same = blake3::hash(&bytes).to_hex().as_str() == expected.blake3;
    if same { Ok(bytes) } else { Err(changed()) }
}
