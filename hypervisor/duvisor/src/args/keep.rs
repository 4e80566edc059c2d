//! Options of a run that is kept in memory, and of the process that writes files for it.

use std::path::PathBuf;

use clap::Args;

use crate::values::Size;

/// What is kept of a run that is not recorded.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Determinism and output")]
pub(crate) struct Keep {
    /// Keep the run in memory, so that it can be saved: all inputs, and so much of its past to
    /// seek in; 0 keeps nothing [default: 256M in `run`, unless it is recorded or has a disk with
    /// ,rw; 0 in `machine`, unless it may be saved]
    #[arg(long, value_name = "SIZE", conflicts_with = "record", value_parser = parse_history)]
    pub(crate) history: Option<u64>,

    /// Where SIGUSR1 and the terminal UI save the run as a recording, each time
    /// [default: NAME-STEP.dvt]
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub(crate) save: Option<PathBuf>,

    /// Save the run as a recording if its guest fails or is stopped
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub(crate) save_on_crash: Option<PathBuf>,
}

/// Options of `saver`.
#[derive(Args, Debug)]
pub(crate) struct SaverOptions {
    /// What files are called that have no other name
    pub(crate) name: String,

    /// As in `run`
    #[arg(long)]
    pub(crate) save: Option<PathBuf>,

    /// As in `run`
    #[arg(long)]
    pub(crate) save_on_crash: Option<PathBuf>,
}

fn parse_history(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { text.parse().map(|Size(bytes)| bytes) }
}
