//! Fetches Debian's riscv64 kernel and busybox by the machine's own package tools.
//!
//! ```text
//! mirror, keyring, proxy of this machine → private apt → .deb files → kernel, busybox, modules
//!     → kernel + initrd + manifest
//! <cache>/duvisor/debian/    manifest.json          names the guest in use, replaced last
//!                            <release>-<hash>/      kernel, initrd.cpio; never changed once there
//!                            lock, work/            of a fetch under way or interrupted
//! ```
//!
//! Signature checking is apt's; nothing here switches it off. Old guests stay until somebody
//! deletes their folders, because a recording may name them.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;

mod apt;
mod cpio;
mod initrd;
mod manifest;
mod modules;
mod process;
mod sources;

#[cfg(test)]
mod tests;

use crate::payload::{Kind, LoadError, Payload};
use apt::Apt;
use process::Runner;

pub use cpio::TooLarge;
pub use manifest::{Debian, InstalledError, Manifest, Package, StoredFile};
pub use modules::ModuleError;

/// The suite that is fetched unless another is asked for.
pub const SUITE: &str = "trixie";

/// What the kernel should be started with: no chatter, no self-tests of ciphers at boot.
pub const COMMAND_LINE: &str = "quiet cryptomgr.notests";

/// How much memory the guest runs comfortably with.
pub const MEMORY: u64 = 512 << 20;

/// Kernel releases that reached the shell with this initrd in a test of ours. Others very probably
/// do, too: a release that is not listed is only mentioned.
const KNOWN_GOOD: &[&str] = &["6.12.117+deb13-riscv64", "7.2.12+deb14-riscv64"];

/// The package of the static busybox.
const BUSYBOX: &str = "busybox-static";

/// What to fetch, and into where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// The guest's folder, see [`default_folder`].
    pub folder: PathBuf,
    /// Debian's suite, usually [`SUITE`].
    pub suite: String,
    /// The archive's address; none means that of the machine's own apt sources.
    pub mirror: Option<String>,
}

/// The parts of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The package index is fetched and its signature checked.
    Index,
    /// The packages are downloaded.
    Download,
    /// The packages are unpacked.
    Unpack,
    /// The initrd is put together.
    Assemble,
}

/// What a fetch tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The next part begins.
    Stage(Stage),
    /// How much of the current download is done, 0 to 100.
    Percent(u8),
    /// A line of a package tool.
    Tool(&'a str),
    /// A package that is used.
    Package(&'a Package),
    /// The newest packages are already here: nothing is downloaded.
    UpToDate,
    /// A kernel release that nobody has tried here.
    UntriedKernel(&'a str),
}

/// Why a fetch failed.
#[derive(Debug, Error)]
pub enum FetchError {
    /// A tool is not installed.
    #[error(
        "{program} was not found: install the packages apt, dpkg and coreutils, or give a kernel \
         and an initrd by --kernel and --initrd"
    )]
    NoTool {
        /// The tool.
        program: &'static str,
    },
    /// A tool is installed, but does not run.
    #[error("cannot run {program}")]
    Start {
        /// The tool.
        program: &'static str,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// A tool failed for a reason that we have no advice for.
    #[error("{program} failed: {}", words_of(complaint))]
    Tool {
        /// The tool.
        program: &'static str,
        /// All that it wrote to its standard error.
        complaint: String,
    },
    /// No Debian mirror is known.
    #[error("this machine's apt sources name no Debian archive: give its address by --mirror")]
    NoMirror,
    /// An address that cannot stand in a source list.
    #[error("{0:?} is no address of an archive, expected one like http://host/debian")]
    Mirror(String),
    /// A name that cannot stand in a source list.
    #[error("{0:?} is no name of a Debian suite, expected one like {SUITE}")]
    Suite(String),
    /// Nothing to check signatures with.
    #[error("no keyring of Debian's archive is here: install the package debian-archive-keyring")]
    NoKeyring,
    /// The signature cannot be verified.
    #[error(
        "apt could not verify the signature of Debian {suite} with {}: install a newer \
         debian-archive-keyring",
        keyring.display()
    )]
    Unverified {
        /// The suite.
        suite: String,
        /// What was used.
        keyring: PathBuf,
    },
    /// Index and signed release do not belong together.
    #[error(
        "the mirror's index of {suite} does not match its signed release, so it is not used: the \
         mirror may be updating, try again later, or name another by --mirror"
    )]
    MirrorChanging {
        /// The suite.
        suite: String,
    },
    /// The mirror lacks the suite.
    #[error("the mirror has no Debian {suite}: name another by --mirror")]
    NoSuite {
        /// The suite.
        suite: String,
    },
    /// The suite lacks a package.
    #[error("the archive has no package {name} for riscv64")]
    NoPackage {
        /// The package.
        name: String,
    },
    /// The packages lack a file.
    #[error("the packages hold no {0}")]
    NoFile(&'static str),
    /// The kernel is not what the loader takes.
    #[error("the kernel of the packages cannot be used")]
    Kernel(#[from] LoadError),
    /// The kernel is an ELF program.
    #[error("found an ELF kernel in the packages, expected an uncompressed Linux Image")]
    NotAnImage,
    /// A driver is missing or damaged.
    #[error("the kernel's modules cannot be used")]
    Modules(#[from] ModuleError),
    /// A file too large for the initrd.
    #[error("the initrd cannot be built")]
    Initrd(#[from] TooLarge),
    /// Another fetch is running.
    #[error("another fetch is under way in {}", .0.display())]
    Busy(PathBuf),
    /// A path that apt's configuration cannot express.
    #[error("apt cannot work with the path {}: it has quotes or other special signs", .0.display())]
    Path(PathBuf),
    /// The host refused a file.
    #[error("cannot use {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Asked to stop; the next fetch goes on from here.
    #[error("interrupted: the next fetch goes on from here")]
    Interrupted,
}

impl FetchError {
    fn file(path: &Path, source: io::Error) -> FetchError {
        FetchError::File { path: path.to_owned(), source }
    }
}

/// The first error line of apt, as those after it are consequences; of other tools the last line.
fn words_of(complaint: &str) -> &str {
    let mut lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find_map(|line| line.strip_prefix("E: "));
    error.or_else(|| lines.next_back()).unwrap_or("it did not say why")
}

/// The guest's folder in the user's cache, from `XDG_CACHE_HOME` and `HOME`.
///
/// XDG Base Directory Specification, "Environment variables": a relative path is ignored.
pub fn default_folder(xdg_cache_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |path: Option<&OsStr>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute(xdg_cache_home).or_else(|| Some(absolute(home)?.join(".cache")))?;
    Some(cache.join("duvisor").join("debian"))
}

/// Fetches the newest kernel and busybox of a suite, or finds that they are here already.
///
/// `stop` ends it soon; what was downloaded is kept for the next try.
///
/// # Errors
/// A [`FetchError`] that says what to do. The guest that was installed before stays.
pub fn fetch(
    options: &FetchOptions,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Debian, FetchError> {
    let work = options.folder.join("work");
    fs::create_dir_all(&work).map_err(|error| FetchError::file(&work, error))?;
    let _lock = lock(&options.folder)?;
    let config = work.join("apt.conf");
    let runner = Runner { dir: &work, apt_config: None, stop };

    progress(Progress::Stage(Stage::Index));
    let apt = Apt::set_up(runner, &config, options)?;
    apt.update(progress)?;
    let mut stanzas = apt.kernel_packages()?;
    stanzas.push(apt.show(BUSYBOX)?);
    let mut packages: Vec<Package> = stanzas.iter().map(|one| one.package.clone()).collect();
    packages.sort();
    for package in &packages {
        progress(Progress::Package(package));
    }
    if let Some(installed) = up_to_date(&options.folder, &packages) {
        progress(Progress::UpToDate);
        remove(&work)?;
        return Ok(installed);
    }

    progress(Progress::Stage(Stage::Download));
    let files = apt.download(&stanzas, progress)?;
    progress(Progress::Stage(Stage::Unpack));
    let tree = unpack(runner, &files)?;
    progress(Progress::Stage(Stage::Assemble));
    let debian = assemble(options, &tree, packages)?;
    if !KNOWN_GOOD.contains(&debian.manifest.release.as_str()) {
        progress(Progress::UntriedKernel(&debian.manifest.release));
    }
    remove(&work)?;
    Ok(debian)
}

/// Held while the folder is being changed; released by the host when we end, however we end.
fn lock(folder: &Path) -> Result<File, FetchError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| FetchError::file(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FetchError::Busy(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(FetchError::file(&path, error)),
    }
}

/// The installed guest, if it is made of just these packages and undamaged.
fn up_to_date(folder: &Path, packages: &[Package]) -> Option<Debian> {
    let debian = Debian::installed(folder).ok().flatten()?;
    let current = debian.manifest.packages == packages && debian.manifest.recipe == initrd::RECIPE;
    (current && debian.read().is_ok()).then_some(debian)
}

fn remove(dir: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::file(dir, error)),
        _ => Ok(()),
    }
}

/// Unpacks all packages into one tree.
fn unpack(runner: Runner<'_>, files: &[PathBuf]) -> Result<PathBuf, FetchError> {
    let tree = runner.dir.join("tree");
    remove(&tree)?;
    for file in files {
        let args = [OsStr::new("-x"), file.as_os_str(), tree.as_os_str()];
        runner.run("dpkg-deb", &args, &mut |_| {})?;
    }
    Ok(tree)
}

/// Makes kernel and initrd from the unpacked tree and installs them.
fn assemble(
    options: &FetchOptions,
    tree: &Path,
    packages: Vec<Package>,
) -> Result<Debian, FetchError> {
    let read = |path: PathBuf| fs::read(&path).map_err(|error| FetchError::file(&path, error));
    let modules = modules_dir(tree).ok_or(FetchError::NoFile("kernel modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kernel = kernel_file(tree, &modules, &release).ok_or(FetchError::NoFile("kernel"))?;
    let kernel = read(kernel)?;
    if Payload::parse(&kernel, 0)?.kind != Kind::Image {
        return Err(FetchError::NotAnImage);
    }
    let busybox = ["bin/busybox", "usr/bin/busybox"].map(|path| tree.join(path));
    let busybox = busybox.into_iter().find(|path| path.is_file());
    let busybox = read(busybox.ok_or(FetchError::NoFile("busybox"))?)?;
    let selection = modules::Index::of(&modules)?.select(initrd::REQUIRED, initrd::OPTIONAL)?;
    let initrd = initrd::build(busybox, selection, &release)?;

    // Named by content, so that a folder never changes its meaning.
    let mut both = blake3::Hasher::new();
    both.update(&kernel).update(&initrd);
    let hash = both.finalize().to_hex();
    let name = format!("{release}-{}", hash.get(..12).unwrap_or_default());
    let dir = options.folder.join(&name);
    fs::create_dir_all(&dir).map_err(|error| FetchError::file(&dir, error))?;
    let store = |file: &str, bytes: &[u8]| {
        let path = dir.join(file);
        manifest::write_whole(&path, bytes).map_err(|error| FetchError::file(&path, error))?;
        Ok::<StoredFile, FetchError>(manifest::describe(format!("{name}/{file}"), bytes))
    };
    let files = [store("kernel", &kernel)?, store("initrd.cpio", &initrd)?];
    let manifest = Manifest::new(initrd::RECIPE, &options.suite, packages, release, files);
    Debian::install(&options.folder, manifest)
        .map_err(|error| FetchError::file(&options.folder, error))
}

/// The only `lib/modules/<release>` of the tree.
fn modules_dir(tree: &Path) -> Option<PathBuf> {
    let roots = ["lib/modules", "usr/lib/modules"].map(|path| tree.join(path));
    let mut dirs: Vec<PathBuf> = roots
        .iter()
        .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.join("kernel").is_dir())
        .collect();
    dirs.sort();
    dirs.into_iter().next()
}

/// Debian kept the kernel in `/boot` first, and beside its modules later.
fn kernel_file(tree: &Path, modules: &Path, release: &str) -> Option<PathBuf> {
    let boot = |name: &str| tree.join("boot").join(format!("{name}-{release}"));
    let all = [boot("vmlinux"), boot("vmlinuz"), modules.join("vmlinux"), modules.join("vmlinuz")];
    all.into_iter().find(|path| path.is_file())
}
