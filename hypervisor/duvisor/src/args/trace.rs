//! The verbs of `trace` and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use timeline::Point;
use traces::Shown;

use super::parse_count;

/// What a moment of a recording is, for the help of verbs.
pub(super) const POINTS: &str = "\
POINT is a step (1200000, 1.2M), a share (50%), a guest time (2.5s), an event (#4711), start, end";

/// Verbs of `trace`.
#[derive(Subcommand, Debug)]
pub(crate) enum Trace {
    /// What a recording is of, how long it is, how it ended, and what of it is damaged
    Info(Info),
    /// Print the events of a recording, one a line
    #[command(after_help = POINTS)]
    Cat(Cat),
    /// Ask a recording: who wrote this, when was that executed, which exits were there
    #[command(after_help = timeline::GRAMMAR)]
    Ask(Ask),
    /// Find the first step at which two replays of a recording are not the same
    ///
    /// They should be, always. One is that of this program; the other one keeps a single decoded
    /// block, or is another program's.
    Bisect(Bisect),
    /// Check every byte: checksums, and the chain of hashes; damage is named, and ends with 1
    ///
    /// The guest is not run: for that there is `replay --verify`.
    Verify(VerifyFile),
    /// Write a new recording with everything that can be read of a damaged one
    Repair(Repair),
    /// Write a new recording of a part of one: it begins with the keyframe before the part
    #[command(after_help = POINTS)]
    Cut(Cut),
    /// Measure what time travel costs on a recording, on this machine
    ///
    /// Goes to random moments and back again, and prints how long that takes: half of the times
    /// are at most p50, all but one of a hundred at most p99.
    #[command(after_help = BENCH)]
    Bench(Bench),
}

const BENCH: &str = "\
seek, cold              to a random step, with no checkpoint remembered: the keyframe before it
                        is loaded, and the rest of the way is run
step back               from where a seek has just ended, by one step of the whole guest, of the
                        hart that ran, of a random hart (which may have waited for long)
last write              back to the last write to the word that is written most often
watch that never hits   a look through the last 10^9 steps for a write that is not there; where
                        keyframes say that the page was not written, nothing is run
changes of a CSR        every change of it in the last 10^8 steps
longest without a look  and how long it takes from Ctrl-C until such a thing has ended

Record something that is worth measuring first, such as:
  duvisor record -o long.dvt debian --warp -c 2 --script work.script --max-steps 10000000000";

/// Options of `trace bench`.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Recording
    pub(crate) file: PathBuf,

    /// Random moments for each kind of travel
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = parse_count)]
    pub(crate) count: usize,

    /// Which moments: the same number, the same ones
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
}

/// Options of `trace info`.
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// Recording
    pub(crate) file: PathBuf,

    /// As one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `trace cat`.
#[derive(Args, Debug)]
pub(crate) struct Cat {
    /// Recording
    pub(crate) file: PathBuf,

    /// From this moment on
    #[arg(long, value_name = "POINT", default_value = "start")]
    pub(crate) from: Point,

    /// Up to this moment
    #[arg(long, value_name = "POINT", default_value = "end")]
    pub(crate) to: Point,

    /// Only these: exit, trap, console, input, vm, record, or a kind of exit such as sbi-call
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub(crate) kinds: Vec<Shown>,

    /// Only what this vCPU did
    #[arg(long, value_name = "N")]
    pub(crate) vcpu: Option<u16>,

    /// As JSON lines, such as --events writes
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `trace ask`.
#[derive(Args, Debug)]
pub(crate) struct Ask {
    /// Recording
    pub(crate) file: PathBuf,

    /// The question, such as: last-write gpa:0x80200000 @50%
    #[arg(required = true, trailing_var_arg = true)]
    pub(crate) question: Vec<String>,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
}

/// Options of `trace bisect`.
#[derive(Args, Debug)]
pub(crate) struct Bisect {
    /// Recording
    pub(crate) file: PathBuf,

    /// Another duvisor, such as an older or an altered build
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) with: Option<PathBuf>,

    /// Decoded blocks that this program keeps
    #[arg(long, default_value_t = hart::BLOCKS_DEFAULT, value_name = "N",
          value_parser = super::parse_blocks)]
    pub(crate) blocks: usize,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
}

/// Options of `trace verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyFile {
    /// Recording
    pub(crate) file: PathBuf,
}

/// Options of `trace repair`.
#[derive(Args, Debug)]
pub(crate) struct Repair {
    /// Recording
    pub(crate) file: PathBuf,

    /// The new one, which must not exist
    #[arg(long, short, value_name = "NEW")]
    pub(crate) output: PathBuf,
}

/// Options of `trace cut`.
#[derive(Args, Debug)]
pub(crate) struct Cut {
    /// Recording
    pub(crate) file: PathBuf,

    /// The part begins here
    #[arg(long, value_name = "POINT", default_value = "start")]
    pub(crate) from: Point,

    /// And ends here
    #[arg(long, value_name = "POINT", default_value = "end")]
    pub(crate) to: Point,

    /// The new recording, which must not exist
    #[arg(long, short, value_name = "NEW")]
    pub(crate) output: PathBuf,
}
