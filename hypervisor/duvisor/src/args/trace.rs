//! The verbs of `trace` and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use timeline::Point;
use traces::Shown;

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
    /// Check every byte: checksums, and the chain of hashes; damage is named, and ends with 1
    ///
    /// The guest is not run: for that there is `replay --verify`.
    Verify(VerifyFile),
    /// Write a new recording with everything that can be read of a damaged one
    Repair(Repair),
    /// Write a new recording of a part of one: it begins with the keyframe before the part
    #[command(after_help = POINTS)]
    Cut(Cut),
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
