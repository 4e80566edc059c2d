//! The verbs of `guest`, and from a guest's name or file to what is loaded.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use images::debian::{self, Debian, FetchOptions, Progress, Stage};
use images::{Catalogue, Source};
use tracing::debug;

use crate::recipe::{Image, Role};
use crate::{args, library, say};

/// Memory of a guest that does not say otherwise.
const DEFAULT_MEMORY: u64 = 128 << 20;

/// What a run loads.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) vcpus: usize,
    pub(crate) memory: u64,
    pub(crate) images: Vec<Image>,
    pub(crate) cmdline: String,
}

/// The guest of `run`: by name, or a file.
pub(crate) fn load(guest: &str, boot: &args::Boot) -> Result<Loaded> {
    let mut loaded = load_guest(guest)?;
    if let Some(path) = &boot.kernel {
        loaded.put(image(Role::Payload, path)?);
    }
    if let Some(path) = &boot.initrd {
        loaded.put(image(Role::Initrd, path)?);
    }
    if let Some(path) = &boot.dtb {
        loaded.put(image(Role::DeviceTree, path)?);
    }
    if let Some(text) = &boot.append {
        loaded.cmdline.clone_from(text);
    }
    if let Some(size) = boot.mem {
        loaded.memory = size.0;
    }
    Ok(loaded)
}

impl Loaded {
    /// Adds an image, in the place of another one of its role.
    fn put(&mut self, image: Image) {
        self.images.retain(|other| other.role != image.role);
        self.images.push(image);
    }
}

fn load_guest(guest: &str) -> Result<Loaded> {
    let catalogue = Catalogue::new();
    let Some(known) = catalogue.get(guest) else {
        let path = Path::new(guest);
        if !path.exists() {
            bail!(
                "no guest and no file is called {guest}: expected a name of `duvisor guest list`, \
                 or an ELF or Image file"
            );
        }
        let name = path.file_name().map_or_else(|| guest.into(), |name| name.to_string_lossy());
        return Ok(plain(&name, 1, image(Role::Payload, path)?));
    };
    let vcpus = usize::from(known.vcpus);
    match &known.source {
        Source::Embedded(bytes) => {
            let name = format!("{}{guest}", library::GUEST);
            Ok(plain(guest, vcpus, Image::new(Role::Payload, name, bytes.to_vec())))
        }
        Source::Debian => load_debian(guest, vcpus),
    }
}

fn plain(name: &str, vcpus: usize, payload: Image) -> Loaded {
    Loaded {
        name: name.to_owned(),
        vcpus,
        memory: DEFAULT_MEMORY,
        images: vec![payload],
        cmdline: String::new(),
    }
}

fn load_debian(name: &str, vcpus: usize) -> Result<Loaded> {
    let debian = installed(name)?;
    let (kernel, initrd) = debian.read().context("reading the Debian guest")?;
    debug!(kernel = %debian.kernel().display(), initrd = %debian.initrd().display(), "read");
    let kernel = Image::new(Role::Payload, debian.kernel().display().to_string(), kernel);
    let initrd = Image::new(Role::Initrd, debian.initrd().display().to_string(), initrd);
    let mut loaded = plain(name, vcpus, kernel);
    loaded.put(initrd);
    loaded.memory = debian::MEMORY;
    debian::COMMAND_LINE.clone_into(&mut loaded.cmdline);
    Ok(loaded)
}

/// Reads an image that the user named.
pub(crate) fn image(role: Role, path: &Path) -> Result<Image> {
    let what = match role {
        Role::Payload => "program",
        Role::Firmware => "firmware",
        Role::Initrd => "initrd",
        Role::DeviceTree => "device tree",
    };
    Ok(Image::new(role, path.display().to_string(), read(path, what)?))
}

/// Reads a whole file that the user named.
pub(crate) fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path);
    let bytes = bytes.with_context(|| format!("reading the {what} {}", path.display()))?;
    debug!(path = %path.display(), bytes = bytes.len(), "read the {what}");
    Ok(bytes)
}

fn folder() -> Result<PathBuf> {
    let (xdg, home) = (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
    debian::default_folder(xdg.as_deref(), home.as_deref())
        .context("neither XDG_CACHE_HOME nor HOME is set: expected one that names a folder")
}

fn installed(guest: &str) -> Result<Debian> {
    let folder = folder()?;
    Debian::installed(&folder)?
        .with_context(|| format!("{guest} is not here yet: run `duvisor guest fetch {guest}`"))
}

/// Carries out a verb of `guest`.
pub(crate) fn verb(verb: &args::Guest, stop: &AtomicBool) -> Result<()> {
    match verb {
        args::Guest::List => {
            list();
            Ok(())
        }
        args::Guest::Fetch { guest, suite, mirror } => fetch(guest, suite, mirror.clone(), stop),
        args::Guest::Path { guest, kernel, initrd } => path(guest, *kernel, *initrd),
    }
}

fn list() {
    for guest in Catalogue::new().iter() {
        say::line(&format!("{:<20} {} vCPU  {}", guest.name, guest.vcpus, guest.description));
    }
}

fn fetched_guest(guest: &str) -> Result<()> {
    match Catalogue::new().get(guest).map(|guest| guest.source) {
        Some(Source::Debian) => Ok(()),
        Some(Source::Embedded(_)) => bail!("{guest} is part of this program: it has no files"),
        None => bail!("no guest is called {guest}: expected a name of `duvisor guest list`"),
    }
}

fn fetch(guest: &str, suite: &str, mirror: Option<String>, stop: &AtomicBool) -> Result<()> {
    fetched_guest(guest)?;
    let options = FetchOptions { folder: folder()?, suite: suite.to_owned(), mirror };
    let mut teller = Teller::default();
    let debian = debian::fetch(&options, stop, &mut |progress| teller.tell(&progress));
    teller.end_line();
    let debian = debian.with_context(|| format!("fetching {guest}"))?;
    say::line(&format!("kernel {}", debian.kernel().display()));
    say::line(&format!("initrd {}", debian.initrd().display()));
    Ok(())
}

/// Tells how a fetch goes, on standard error.
#[derive(Default)]
struct Teller {
    /// The percentage that stands on the terminal's last line.
    shown: Option<u8>,
}

impl Teller {
    fn tell(&mut self, progress: &Progress<'_>) {
        if let Progress::Percent(percent) = progress {
            return self.percent(*percent);
        }
        self.end_line();
        match progress {
            Progress::Stage(stage) => say::note(&format!("{} ...", what(*stage))),
            Progress::Package(package) => {
                say::note(&format!("  {} {}", package.name, package.version));
            }
            Progress::UpToDate => say::note("  up to date"),
            Progress::UntriedKernel(release) => {
                say::note(&format!("  kernel {release} has not been tried with this program yet"));
            }
            Progress::Percent(_) | Progress::Tool(_) => {}
        }
    }

    /// One line that counts up; a file or a pipe gets none.
    fn percent(&mut self, percent: u8) {
        let mut err = std::io::stderr();
        if self.shown != Some(percent) && err.is_terminal() {
            self.shown = Some(percent);
            // A terminal that is gone is no reason to stop.
            let _ = write!(err, "\r  {percent:>3} %");
        }
    }

    /// Ends the line that counts up.
    fn end_line(&mut self) {
        if self.shown.take().is_some() {
            say::note("");
        }
    }
}

fn what(stage: Stage) -> &'static str {
    match stage {
        Stage::Index => "reading the package index",
        Stage::Download => "downloading",
        Stage::Unpack => "unpacking",
        Stage::Assemble => "assembling the initial RAM disk",
    }
}

fn path(guest: &str, kernel: bool, initrd: bool) -> Result<()> {
    fetched_guest(guest)?;
    let debian = installed(guest)?;
    if !initrd {
        say::line(&debian.kernel().display().to_string());
    }
    if !kernel {
        say::line(&debian.initrd().display().to_string());
    }
    Ok(())
}
