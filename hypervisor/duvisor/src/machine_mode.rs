//! `duvisor machine`: a program, or firmware and a kernel, on the bare machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use images::Symbols;
use isa::{Ext, Extensions};
use timeline::Subject;

use crate::args::Machine;
use crate::confine::{self, Confine};
use crate::recipe::{Image, Kind, Recipe, Role, Start};
use crate::{blame, guest, play, recording, report, setup};

/// Memory of a machine that is not told otherwise.
const DEFAULT_MEMORY: u64 = 128 << 20;
/// Bytes of a line of a signature, as conformance suites have it.
const SIGNATURE_WORD: usize = 4;

/// Carries out `machine`; gives the exit code.
pub(crate) fn run(options: &Machine) -> Result<u8> {
    let recipe = recipe(options)?;
    let memory = recipe.memory;
    if let Some(path) = &options.boot.dump_dtb {
        let Kind::Machine { start } = recipe.kind else { bail!("this is no machine") };
        let blame = |error| blame::machine(error, &recipe.origin(), &options.boot, memory);
        let blob = machine::dump_dtb(&recipe.bare_config(start)?).map_err(blame)?;
        return setup::dump_dtb(path, &blob);
    }
    let disk = recording::open_disk(&recipe, &options.world, &options.keep)?;
    let mut subject = recipe.make(disk, &options.boot)?.subject();
    let signature = options.signature.as_deref();
    let signature =
        signature.map(|path| Signature::create(path, &recipe.symbols()?)).transpose()?;
    let headless = sandbox::Ui::Headless;
    let recorder = recording::start_or_keep(&recipe, &options.world, &options.keep, headless)?;
    let disk = options.boot.disk.as_ref();
    let records = recorder.as_ref().is_some_and(recording::Recorder::writes);
    let confine = Confine::new(options.no_sandbox, headless, disk, records);
    let (ended, interrupted) = play::headless(&options.world, &mut *subject, recorder, confine)?;
    if let Some(signature) = signature {
        signature.write(&*subject)?;
    }
    let mut text = report::machine_summary(&ended.overview);
    text.push_str(&ended.digests());
    play::tell(&options.world, &text);
    Ok(play::exit_code(&ended, interrupted))
}

/// What the options ask for.
fn recipe(options: &Machine) -> Result<Recipe> {
    let boot = &options.boot;
    let (name, mut images) = programs(options)?;
    for (role, path) in [(Role::Initrd, &boot.initrd), (Role::DeviceTree, &boot.dtb)] {
        if let Some(path) = path {
            images.push(guest::image(role, path)?);
        }
    }
    let start = match &options.firmware {
        Some(_) => Start::Firmware,
        // Who brings a part of what a kernel is told starts one.
        None if boot.initrd.is_some() || boot.append.is_some() || boot.dtb.is_some() => {
            Start::DeviceTree
        }
        None => Start::Bare,
    };
    Ok(Recipe {
        kind: Kind::Machine { start },
        name,
        vcpus: options.smp,
        memory: boot.mem.map_or(DEFAULT_MEMORY, |size| size.0),
        // A standard machine, unless DV-ext is asked for: nobody's program expects it.
        isa: setup::extensions(boot.isa.as_deref(), Extensions::ALL.without(Ext::Xdv))?,
        quantum: options.conditions.quantum,
        cmdline: boot.append.clone().unwrap_or_default(),
        seed: setup::seed(&options.conditions)?,
        rtc_base_ns: setup::rtc_base_ns(&options.conditions),
        reboot: true,
        images,
        disk: boot.disk.clone(),
        n_blocks: options.world.blocks,
        sample_every: 0,
    })
}

/// What starts in M-mode, under which name, and the kernel behind firmware.
fn programs(options: &Machine) -> Result<(String, Vec<Image>)> {
    match (&options.file, &options.firmware, &options.boot.kernel) {
        (Some(file), _, None) => Ok((name(file), vec![guest::image(Role::Payload, file)?])),
        (Some(_), _, Some(_)) => {
            bail!("--kernel needs --firmware: a program and a kernel cannot both be first")
        }
        (None, Some(path), kernel) => {
            let mut images = vec![guest::image(Role::Firmware, path)?];
            if let Some(kernel) = kernel {
                images.push(guest::image(Role::Payload, kernel)?);
            }
            Ok((name(path), images))
        }
        (None, None, _) => bail!("nothing to run: expected an ELF program, or --firmware FILE"),
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The memory that a conformance test leaves as its result, and the file that it goes to.
struct Signature {
    path: PathBuf,
    file: File,
    begin: u64,
    end: u64,
}

impl Signature {
    /// Creates the file: after the run it is too late.
    fn create(path: &Path, symbols: &Symbols) -> Result<Self> {
        let (Some(begin), Some(end)) = (symbols.begin_signature, symbols.end_signature) else {
            bail!("--signature: the program has no begin_signature and end_signature");
        };
        let file = confine::create(path)
            .with_context(|| format!("creating the signature file {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, begin, end })
    }

    /// Writes it, a word a line.
    fn write(mut self, subject: &dyn Subject) -> Result<()> {
        let len = self.end.checked_sub(self.begin).and_then(|len| usize::try_from(len).ok());
        let memory = subject.machine().platform().memory();
        let bytes = len.and_then(|len| memory.slice(self.begin, len).ok());
        let bytes = bytes.context("--signature: the signature is not in memory")?;
        let mut text = String::new();
        for word in bytes.chunks(SIGNATURE_WORD) {
            word.iter().rev().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
            text.push('\n');
        }
        let written = io::Write::write_all(&mut self.file, text.as_bytes());
        written.with_context(|| format!("writing {}", self.path.display()))
    }
}
