//! `duvisor machine`: a program, or firmware and a kernel, on the bare machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use images::{Payload, Symbols};
use isa::{Ext, Extensions};
use machine::{BareConfig, BareMachine, Boot, Host, Segment};
use session::{Overview, Stop};
use tracing::info;
use vmm::layout::RAM_BASE;

use crate::args::Machine;
use crate::confine::{self, Confine};
use crate::play::{self, Around, Subject};
use crate::{blame, disk, guest, report, setup};

/// Memory of a machine that is not told otherwise.
const DEFAULT_MEMORY: u64 = 128 << 20;
/// Bytes of a line of a signature, as conformance suites have it.
const SIGNATURE_WORD: usize = 4;

/// A bare machine, and how far it may go.
struct Bare {
    machine: BareMachine,
    max_steps: Option<u64>,
}

impl Subject for Bare {
    fn run(&mut self, around: Around<'_>) -> Stop {
        let Around { inputs, sinks, server, .. } = around;
        let mut host = Host::new(inputs);
        host.sinks = sinks;
        host.server = server;
        self.machine.run(&mut host, self.max_steps)
    }

    fn overview(&self) -> Overview {
        self.machine.overview()
    }

    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.machine.digest(sink);
    }
}

/// Carries out `machine`; gives the exit code.
pub(crate) fn run(options: &Machine) -> Result<u8> {
    let (config, symbols) = config(options)?;
    let memory = config.memory;
    let blame = |error| blame::machine(error, &origin(options), &options.boot, memory);
    if let Some(path) = &options.boot.dump_dtb {
        let blob = machine::dump_dtb(&config).map_err(blame)?;
        return setup::dump_dtb(path, &blob);
    }
    let machine = assemble(config, blame)?;
    let signature = options.signature.as_deref().map(|path| Signature::create(path, &symbols));
    let signature = signature.transpose()?;
    let confine =
        Confine::new(options.no_sandbox, sandbox::Ui::Headless, options.boot.disk.as_ref());
    let mut bare = Bare { machine, max_steps: options.world.max_steps };
    let (ended, interrupted) = play::headless(&options.world, &mut bare, confine)?;
    if let Some(signature) = signature {
        signature.write(&bare.machine)?;
    }
    let mut text = report::machine_summary(&ended.overview);
    text.push_str(&ended.digests());
    play::tell(&options.world, &text);
    Ok(play::exit_code(&ended, interrupted))
}

/// Puts the machine together.
fn assemble(
    config: BareConfig,
    blame: impl Fn(machine::ConfigError) -> anyhow::Error,
) -> Result<BareMachine> {
    setup::can_allocate(config.memory, config.memory)?;
    info!(
        name = config.name,
        harts = config.harts,
        boot = ?config.boot,
        quantum = config.quantum,
        blocks = config.n_blocks,
        "a bare machine",
    );
    let spans = config.segments.iter().map(|it| (it.addr, it.mem_size));
    setup::log_memory(RAM_BASE, config.ram_end(), config.entry, spans);
    let machine = BareMachine::new(config).map_err(blame)?;
    for (image, begin, end) in machine.images() {
        info!("{image} at {begin:#x} to {end:#x}");
    }
    Ok(machine)
}

/// What is started first, as errors have it.
fn origin(options: &Machine) -> String {
    let path = options.firmware.as_ref().or(options.file.as_ref());
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn config(options: &Machine) -> Result<(BareConfig, Symbols)> {
    let boot = &options.boot;
    let memory = boot.mem.map_or(DEFAULT_MEMORY, |size| size.0);
    let (name, first, kernel) = programs(options)?;
    let mut config = BareConfig::new(&name, memory);
    config.harts = options.smp;
    // A standard machine, unless DV-ext is asked for: nobody's program expects it.
    config.isa = setup::extensions(boot.isa.as_deref(), Extensions::ALL.without(Ext::Xdv))?;
    config.quantum = options.world.quantum;
    config.n_blocks = options.world.blocks;
    config.entry = first.entry;
    config.boot = match &options.firmware {
        Some(_) => Boot::Firmware { next: kernel.as_ref().map(|kernel| kernel.entry) },
        // Who brings a part of what a kernel is told starts one.
        None if boot.initrd.is_some() || boot.append.is_some() || boot.dtb.is_some() => {
            Boot::DeviceTree
        }
        None => Boot::Bare,
    };
    let symbols = first.symbols;
    config.tohost = symbols.tohost;
    config.fromhost = symbols.fromhost;
    let payloads = [Some(first), kernel].into_iter().flatten();
    config.segments = payloads.flat_map(|payload| payload.segments).map(segment).collect();
    config.initrd = match &boot.initrd {
        Some(path) => Some(guest::read(path, "initrd")?),
        None => None,
    };
    config.cmdline = boot.append.clone().unwrap_or_default();
    config.dtb = match &boot.dtb {
        Some(path) => Some(guest::read(path, "device tree")?),
        None => None,
    };
    config.seed = setup::seed(&options.world)?;
    config.rtc_base_ns = setup::rtc_base_ns(&options.world);
    config.disk = match &boot.disk {
        Some(disk) => Some(Box::new(disk::open(disk)?)),
        None => None,
    };
    Ok((config, symbols))
}

fn segment(segment: images::Segment) -> Segment {
    Segment { addr: segment.addr, bytes: segment.bytes, mem_size: segment.mem_size }
}

/// What starts in M-mode, under which name, and the kernel behind firmware.
fn programs(options: &Machine) -> Result<(String, Payload, Option<Payload>)> {
    let kernel = options.boot.kernel.as_deref();
    let kernel = kernel.map(guest::payload).transpose()?;
    match (&options.file, &options.firmware, kernel) {
        (Some(file), _, None) => Ok((name(file), guest::payload(file)?, None)),
        (Some(_), _, Some(_)) => {
            bail!("--kernel needs --firmware: a program and a kernel cannot both be first")
        }
        (None, Some(path), kernel) => {
            let bytes = guest::read(path, "firmware")?;
            // fw_*.bin has no header: it goes where firmware goes.
            let payload = Payload::parse(&bytes, RAM_BASE)
                .or_else(|_| Payload::raw(&bytes, RAM_BASE))
                .with_context(|| format!("loading {}", path.display()))?;
            Ok((name(path), payload, kernel))
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
    fn write(mut self, machine: &BareMachine) -> Result<()> {
        let len = self.end.checked_sub(self.begin).and_then(|len| usize::try_from(len).ok());
        let memory = machine.machine().platform().memory();
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
