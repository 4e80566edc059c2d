//! The verbs of `snapshot` and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use timeline::Point;

use super::trace::POINTS;
use super::{Colors, World};

/// Verbs of `snapshot`.
#[derive(Subcommand, Debug)]
pub(crate) enum Snapshot {
    /// Save a moment of a recording: its state and all memory, in a file of its own
    ///
    /// The file is a recording of no steps: what replays recordings takes it, too.
    #[command(after_help = POINTS)]
    Save(Save),
    /// Go on from a snapshot, or from any moment of a recording, with other inputs
    ///
    /// The guest goes on as a new run, with the terminal UI or headless, and can be recorded
    /// itself. What it writes to its disk stays in memory, for the image is that of the first run.
    #[command(after_help = POINTS)]
    Restore(Box<Restore>),
}

/// Options of `snapshot save`.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Recording
    pub(crate) file: PathBuf,

    /// The moment
    #[arg(long, value_name = "POINT", default_value = "end")]
    pub(crate) at: Point,

    /// The snapshot, which must not exist
    #[arg(long, short, value_name = "NEW")]
    pub(crate) output: PathBuf,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
}

/// Options of `snapshot restore`.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Snapshot or recording
    pub(crate) file: PathBuf,

    /// The moment from which it goes on
    #[arg(long, value_name = "POINT", default_value = "end")]
    pub(crate) at: Point,

    /// No terminal UI: the guest's console on standard output and input (Ctrl-A x quits)
    #[arg(long)]
    pub(crate) headless: bool,

    /// How many colours the terminal UI uses
    #[arg(long, value_enum, default_value_t = Colors::Auto)]
    pub(crate) colors: Colors,

    /// Keep this process's rights on the host: for debuggers, core dumps, backtraces
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    /// Folder with the images that were run, if they are not where they were
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) world: World,
}
