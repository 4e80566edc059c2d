//! Picks kernel modules and what they need, unpacks them, and writes modprobe's tables.
//!
//! Debian's packages hold no `modules.dep`: depmod makes it at installation. The same facts
//! stand in each module's `.modinfo` section (Linux, `include/linux/module.h`), so neither
//! depmod nor the whole module tree is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::endian::LittleEndian;
use thiserror::Error;

/// The largest module that is unpacked; the largest real ones have some 10 MiB.
const MAX_MODULE: u64 = 64 << 20;
/// The deepest directory below `kernel/`.
const MAX_DEPTH: usize = 12;
/// The most modules that one selection may reach; it also bounds the recursion.
const MAX_SELECTED: usize = 256;

/// Why a module cannot be put into the initrd.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// Neither in the package nor built into the kernel.
    #[error("the kernel package has no module {0}")]
    Missing(String),
    /// Unreadable.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// Not xz, or larger than any module.
    #[error("{} is not an xz file of at most {MAX_MODULE} bytes", .0.display())]
    Unpack(PathBuf),
    /// Not a module.
    #[error("{} is not a kernel module: it has no readable .modinfo section", .0.display())]
    NotAModule(PathBuf),
    /// A dependency graph that no kernel has.
    #[error("the modules depend on more than {MAX_SELECTED} others")]
    TooMany,
}

/// What a module says of itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) depends: Vec<String>,
    pub(super) aliases: Vec<String>,
}

/// An unpacked module.
#[derive(Debug, Clone)]
pub(super) struct Module {
    /// Its name as the kernel has it: underscores, no dashes.
    pub(super) name: String,
    /// Below `/lib/modules/<release>`, without the `.xz`.
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    pub(super) info: Info,
}

/// The chosen modules, each after those it needs.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) modules: Vec<Module>,
}

/// The module files of one kernel release, by module name.
#[derive(Debug)]
pub(super) struct Index {
    root: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Index {
    /// Looks below `root`, which is `/lib/modules/<release>` of the package.
    pub(super) fn of(root: &Path) -> Result<Index, ModuleError> {
        let mut files = BTreeMap::new();
        collect(&root.join("kernel"), MAX_DEPTH, &mut files)?;
        let list = fs::read_to_string(root.join("modules.builtin")).unwrap_or_default();
        let builtin = list.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Index { root: root.to_owned(), files, builtin })
    }

    /// The modules named and all they need. Those of `optional` may be missing.
    pub(super) fn select(
        &self,
        required: &[&str],
        optional: &[&str],
    ) -> Result<Selection, ModuleError> {
        let mut selection = Selection::default();
        for name in required {
            self.add(name, &mut selection, &mut BTreeSet::new())?;
        }
        for name in optional.iter().filter(|name| self.files.contains_key(**name)) {
            self.add(name, &mut selection, &mut BTreeSet::new())?;
        }
        Ok(selection)
    }

    /// `open` are the modules whose needs are being followed: a circle ends there.
    fn add(
        &self,
        name: &str,
        selection: &mut Selection,
        open: &mut BTreeSet<String>,
    ) -> Result<(), ModuleError> {
        let known = selection.modules.iter().any(|module| module.name == name);
        if known || self.builtin.contains(name) || !open.insert(name.to_owned()) {
            return Ok(());
        }
        if open.len() + selection.modules.len() > MAX_SELECTED {
            return Err(ModuleError::TooMany);
        }
        let file = self.files.get(name).ok_or_else(|| ModuleError::Missing(name.to_owned()))?;
        let bytes = unpack(file)?;
        let info = info(&bytes).ok_or_else(|| ModuleError::NotAModule(file.clone()))?;
        for needed in &info.depends {
            self.add(needed, selection, open)?;
        }
        let below = file.strip_prefix(&self.root).unwrap_or(file).to_string_lossy();
        let path = below.trim_end_matches(".xz").to_owned();
        selection.modules.push(Module { name: name.to_owned(), path, bytes, info });
        Ok(())
    }
}

impl Selection {
    /// depmod's `modules.dep`: each module's file, and the files it needs, the first to load last.
    pub(super) fn dep_file(&self) -> String {
        let mut text = String::new();
        for module in &self.modules {
            let mut needed = BTreeSet::new();
            self.needs(module, &mut needed);
            text.push_str(&module.path);
            text.push(':');
            for other in self.modules.iter().rev().filter(|other| needed.contains(&other.name)) {
                text.push(' ');
                text.push_str(&other.path);
            }
            text.push('\n');
        }
        text
    }

    fn needs(&self, module: &Module, needed: &mut BTreeSet<String>) {
        for name in &module.info.depends {
            let other = self.modules.iter().find(|other| &other.name == name);
            if let Some(other) = other.filter(|other| needed.insert(other.name.clone())) {
                self.needs(other, needed);
            }
        }
    }

    /// depmod's `modules.alias`: what the kernel may ask for, and the module that is meant.
    pub(super) fn alias_file(&self) -> String {
        let mut text = String::new();
        for module in &self.modules {
            for alias in &module.info.aliases {
                text.push_str(&format!("alias {alias} {}\n", module.name));
            }
        }
        text
    }
}

fn collect(
    dir: &Path,
    depth: usize,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), ModuleError> {
    let failed = |source| ModuleError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, files)?;
        } else if kind.is_file() {
            if let Some(name) = module_name(&entry.path()) {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(())
}

/// `kernel/drivers/char/hw_random/virtio-rng.ko.xz` is `virtio_rng`.
pub(super) fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".ko.xz").or_else(|| file.strip_suffix(".ko"))?;
    Some(stem.replace('-', "_"))
}

fn unpack(file: &Path) -> Result<Vec<u8>, ModuleError> {
    let packed = fs::File::open(file)
        .map_err(|source| ModuleError::Read { path: file.to_owned(), source })?;
    let mut bytes = Vec::new();
    let read = if file.extension().is_some_and(|extension| extension == "xz") {
        liblzma::read::XzDecoder::new(packed).take(MAX_MODULE + 1).read_to_end(&mut bytes)
    } else {
        packed.take(MAX_MODULE + 1).read_to_end(&mut bytes)
    };
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= MAX_MODULE) => Ok(bytes),
        _ => Err(ModuleError::Unpack(file.to_owned())),
    }
}

/// Reads `.modinfo`: `key=value` strings, each ended by a NUL.
pub(super) fn info(module: &[u8]) -> Option<Info> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(module).ok()?;
    let section = file.section_header_by_name(".modinfo").ok()??;
    let (bytes, _) = file.section_data(&section).ok()?;
    let mut info = Info::default();
    for string in bytes.split(|byte| *byte == 0) {
        let Ok(string) = std::str::from_utf8(string) else { continue };
        match string.split_once('=') {
            Some(("depends", value)) => {
                let names = value.split(',').filter(|name| !name.is_empty());
                info.depends.extend(names.map(|name| name.replace('-', "_")));
            }
            Some(("alias", value)) if !value.contains(char::is_whitespace) => {
                info.aliases.push(value.to_owned());
            }
            _ => {}
        }
    }
    Some(info)
}
