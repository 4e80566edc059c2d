//! The command line: verbs, options, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::keep::{Keep, SaverOptions};
pub(crate) use self::snapshot::{Restore, Save, Snapshot};
pub(crate) use self::trace::{Ask, Bench, Bisect, Cat, Cut, Info, Repair, Trace, VerifyFile};
use crate::values::{Disk, RtcBase, Seed, Size};

mod keep;
mod snapshot;
mod trace;

/// Run, watch and debug delegated RISC-V virtual machines.
///
/// The guest runs under a user-level hypervisor on modelled RV64GC+H harts with delegated
/// virtualization (DV-ext): every VM exit is handled by this process, and can be watched live.
/// A run is deterministic: the same options and inputs give the same run, step by step.
#[derive(Parser, Debug)]
#[command(name = "duvisor", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,

    /// Write this program's own diagnostics here ("-" is standard error)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 the guest ended well, 1 it reported failure or was stopped, a script still expected \
something, --events or --record could not be written, a recording is damaged or nothing was found \
in it, 2 usage or bad input, 3 internal error, or a replay that is another run, \
124 --max-steps reached, 130 interrupted.";

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Run a guest in a delegated VM and watch its exits live
    Run(Box<Run>),
    /// Run a program on the bare machine: M-mode, no hypervisor
    ///
    /// For conformance suites, firmware and kernels: the memory map is that of QEMU's `virt`, and
    /// HTIF (`tohost`) works. FILE finds zero in `a1`, unless --initrd, --append or --dtb is given:
    /// then the address of the device tree, as firmware does.
    Machine(Box<Machine>),
    /// Run a guest and record it: the same as `run --headless --record FILE`
    Record(Box<Record>),
    /// Run a recorded run once more and compare, or visit one moment of it
    ///
    /// The replay is checked while it runs: every event, and the state at every keyframe. Where it
    /// is another run than the one that was recorded, it stops and says where they part.
    Replay(Box<Replay>),
    /// Look into recordings
    #[command(subcommand)]
    Trace(Trace),
    /// Save a moment of a recording, and go on from one with other inputs
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// List, fetch and find guests
    #[command(subcommand)]
    Guest(Guest),
    /// Write files for a run that cannot: started by such a run only
    #[command(hide = true)]
    Saver(SaverOptions),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// Guest by name (see `duvisor guest list`) or an ELF or Image file
    #[arg(default_value = "demo")]
    pub(crate) guest: String,

    /// No terminal UI: the guest's console on standard output and input (Ctrl-A x quits)
    #[arg(long)]
    pub(crate) headless: bool,

    /// vCPUs, 1 to 8 [default: what the guest is meant for]
    #[arg(long, short = 'c', value_name = "N", value_parser = parse_vcpus)]
    pub(crate) vcpus: Option<usize>,

    /// Largest stage-2 leaf: small ones show each page as it is first touched
    #[arg(long, value_enum, default_value_t = Leaf::Mega, value_name = "SIZE")]
    pub(crate) leaf: Leaf,

    /// End the run where the guest asks for a reset
    #[arg(long)]
    pub(crate) no_reboot: bool,

    /// Time the handler of every exit, not of one in 64
    #[arg(long)]
    pub(crate) time_exits: bool,

    /// How many colours the terminal UI uses
    #[arg(long, value_enum, default_value_t = Colors::Auto)]
    pub(crate) colors: Colors,

    /// Keep this process's rights on the host: for debuggers, core dumps, backtraces
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    #[command(flatten)]
    pub(crate) boot: Boot,
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    #[command(flatten)]
    pub(crate) world: World,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

/// Options of `machine`.
#[derive(Args, Debug)]
pub(crate) struct Machine {
    /// ELF program to start in M-mode; not with --firmware
    pub(crate) file: Option<PathBuf>,

    /// Harts
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = parse_vcpus)]
    pub(crate) smp: usize,

    /// Firmware to start in M-mode, such as OpenSBI's fw_jump or fw_dynamic
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) firmware: Option<PathBuf>,

    /// Write the memory between begin_signature and end_signature, a word a line
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,

    /// Keep this process's rights on the host: for debuggers, core dumps, backtraces
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    #[command(flatten)]
    pub(crate) boot: Boot,
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    #[command(flatten)]
    pub(crate) world: World,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

/// Options of `record`.
#[derive(Args, Debug)]
pub(crate) struct Record {
    /// The recording [default: the guest's name with .dvt behind it]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: Run,
}

/// Options of `replay`.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// Recording
    pub(crate) file: PathBuf,

    /// Go to one moment and show it: a step (1.2M), a share (50%), a guest time (2.5s), an event
    /// (#4711), start or end
    #[arg(long, value_name = "POINT", conflicts_with = "verify")]
    pub(crate) to: Option<timeline::Point>,

    /// Compare only: do not print the guest's console
    #[arg(long)]
    pub(crate) verify: bool,

    /// Write every event as a JSON line ("-" is standard output)
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) events: Option<PathBuf>,

    /// Print the BLAKE3 of the event stream and of the state
    #[arg(long)]
    pub(crate) digest: bool,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,

    /// Decoded blocks to keep; changes speed, never the run
    #[arg(long, default_value_t = hart::BLOCKS_DEFAULT, value_name = "N",
          value_parser = parse_blocks)]
    pub(crate) blocks: usize,
}

/// What is booted, and on what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Guest")]
pub(crate) struct Boot {
    /// Memory, such as 256M or 2G
    #[arg(long, short, value_name = "SIZE")]
    pub(crate) mem: Option<Size>,

    /// Extensions: a full string (rv64gc_zba), or changes (no-sstc,no-svadu)
    #[arg(long, value_name = "ISA")]
    pub(crate) isa: Option<String>,

    /// Kernel: ELF or Image [run: instead of the guest's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,

    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Kernel command line
    #[arg(long, value_name = "TEXT", conflicts_with = "dtb")]
    pub(crate) append: Option<String>,

    /// Disk image; by default writes go to a private copy in memory that is dropped at the end
    #[arg(long, value_name = "IMG[,ro|,rw]")]
    pub(crate) disk: Option<Disk>,

    /// Use this device tree blob instead of our own; it says itself where an initrd is
    #[arg(long, value_name = "FILE")]
    pub(crate) dtb: Option<PathBuf>,

    /// Write the device tree to a file and stop
    #[arg(long, value_name = "FILE")]
    pub(crate) dump_dtb: Option<PathBuf>,
}

/// What decides a run besides its guest and its inputs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Determinism and output")]
pub(crate) struct Conditions {
    /// Seed of the entropy device: a number, or "host" for one from this machine
    #[arg(long, default_value = "0", value_name = "N|host")]
    pub(crate) seed: Seed,

    /// What the guest's clock says at its start: seconds since 1970, or "host"
    #[arg(long, default_value = "1767225600", value_name = "SECONDS|host")]
    pub(crate) rtc_base: RtcBase,

    /// Steps for which a vCPU runs before the next one has its turn
    #[arg(long, default_value_t = 10_000, value_name = "STEPS", value_parser = parse_steps)]
    pub(crate) quantum: u64,
}

/// What the run is told of the outside, and what it tells.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Determinism and output")]
pub(crate) struct World {
    /// Write every event as a JSON line ("-" is standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,

    /// Record the run: everything of it can be visited and asked for afterwards (see `replay`)
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// With --record: what happens where the disk is full
    #[arg(long, value_enum, default_value_t = OnFull::Pause, value_name = "WHAT")]
    pub(crate) on_full: OnFull,

    /// With --record: leave the events out, which a replay can make again
    #[arg(long)]
    pub(crate) inputs_only: bool,

    /// Print the BLAKE3 of the event stream and of the final state
    #[arg(long)]
    pub(crate) digest: bool,

    /// Type what a file says: lines `expect TEXT`, `send TEXT`, `sleep 100ms`, `# comment`
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,

    /// Do not wait where the guest waits: guest time jumps to its next timer
    #[arg(long)]
    pub(crate) warp: bool,

    /// Stop after so many steps (instructions and traps of all vCPUs)
    #[arg(long, value_name = "STEPS", value_parser = parse_steps)]
    pub(crate) max_steps: Option<u64>,

    /// Decoded blocks to keep; changes speed, never the run
    #[arg(long, default_value_t = hart::BLOCKS_DEFAULT, value_name = "N",
          value_parser = parse_blocks)]
    pub(crate) blocks: usize,
}

fn parse_vcpus(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=vmm::MAX_VCPUS) => Ok(n),
        _ => Err(format!("expected a number from 1 to {}", vmm::MAX_VCPUS)),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

fn parse_steps(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n @ 1..) => Ok(n),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}

fn parse_blocks(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=0x100_0000) => Ok(n),
        _ => Err("expected a number from 1 to 16777216".to_owned()),
    }
}

/// Verbs of `guest`.
#[derive(Subcommand, Debug)]
pub(crate) enum Guest {
    /// List the guests
    List,
    /// Fetch a guest that does not come with this program (debian)
    Fetch {
        /// Its name
        guest: String,
        /// Debian suite
        #[arg(long, default_value = images::debian::SUITE)]
        suite: String,
        /// Address of the archive [default: that of this machine's apt sources]
        #[arg(long)]
        mirror: Option<String>,
    },
    /// Print where a guest's files are
    Path {
        /// Its name
        guest: String,
        /// Only the kernel
        #[arg(long, conflicts_with = "initrd")]
        kernel: bool,
        /// Only the initial RAM disk
        #[arg(long)]
        initrd: bool,
    },
}

/// What happens where the disk is full while a run is recorded.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFull {
    /// The guest waits until there is room
    Pause,
    /// The run goes on, its recording ends there
    Continue,
    /// The run ends
    Stop,
}

/// Sizes of stage-2 leaves.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// 4 KiB
    #[value(name = "4k")]
    Page,
    /// 2 MiB
    #[value(name = "2m")]
    Mega,
    /// 1 GiB
    #[value(name = "1g")]
    Giga,
}

/// Colours of the terminal UI.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colors {
    /// The terminal's 16, none with NO_COLOR
    Auto,
    /// None: bold, reverse and underline only
    None,
}
