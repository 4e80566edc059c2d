//! The composition root of duvisor: arguments, wiring, signals, exit codes.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod bisect;
mod blame;
mod confine;
mod console;
mod disk;
mod events;
mod guest;
mod host;
mod library;
mod machine_mode;
mod play;
mod recipe;
mod recording;
mod replay;
mod report;
mod run;
mod saver;
mod say;
mod setup;
mod signals;
mod snapshot;
mod threads;
mod trace;
mod trace_file;
mod values;

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, Parser};
use monitor::MonitorError;
use tracing::{error, info};

use args::{Cli, Snapshot, Verb};
use events::EventsError;
use recording::RecordError;

/// What the run was for did not happen, or not all of it.
const EXIT_FINDINGS: u8 = 1;
/// Usage or bad input.
const EXIT_INPUT: u8 = 2;
/// A thread of this program panicked.
const EXIT_INTERNAL: u8 = 3;
/// Ended by Ctrl-C, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = panic::catch_unwind(|| dispatch(&cli));
    let code = match result {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            error!("{error:#}");
            say::note(&format!("duvisor: {error:#}"));
            code_of(&error)
        }
        Err(_) => EXIT_INTERNAL,
    };
    info!(code, "the end");
    ExitCode::from(code)
}

/// The exit code that tells an error.
fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<EventsError>() || error.is::<RecordError>() {
        return EXIT_FINDINGS;
    }
    match error.downcast_ref() {
        Some(MonitorError::GivenBack) => EXIT_INTERNAL,
        _ => EXIT_INPUT,
    }
}

fn dispatch(cli: &Cli) -> Result<u8> {
    if let Some(path) = &cli.log {
        start_log(path, &cli.verb)?;
    }
    match &cli.verb {
        Verb::Run(run) => run::run(run),
        Verb::Record(record) => run::record(record),
        Verb::Replay(replay) => replay::run(replay),
        Verb::Trace(verb) => trace::run(verb),
        Verb::Snapshot(verb) => snapshot::run(verb),
        Verb::Machine(machine) => machine_mode::run(machine),
        Verb::Guest(verb) => {
            let stop = Arc::new(AtomicBool::new(false));
            signals::set_on_end(&[&stop])?;
            guest::verb(verb, &stop)?;
            Ok(if stop.load(Ordering::Relaxed) { EXIT_INTERRUPTED } else { 0 })
        }
        Verb::Saver(options) => saver::run(options),
        Verb::Completions { shell } => {
            let mut command = Cli::command();
            // It panics where writing fails: memory takes everything.
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "duvisor", &mut text);
            match io::stdout().write_all(&text) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(error).context("writing the completion script to standard output")
                }
                _ => Ok(0),
            }
        }
    }
}

/// Diagnostics of this program, never the exit stream, and never into the terminal UI.
fn start_log(path: &Path, verb: &Verb) -> Result<()> {
    // What cannot be written is lost: to say so on standard error may be to write into the UI.
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_target(false);
    if path == Path::new("-") {
        let has_ui = matches!(verb, Verb::Run(run) if !run.headless)
            || matches!(verb, Verb::Snapshot(Snapshot::Restore(restore)) if !restore.headless);
        if has_ui && io::stderr().is_terminal() {
            bail!("--log -: standard error is the terminal UI's; name a file, or add --headless");
        }
        builder.with_writer(io::stderr).init();
    } else {
        let file = confine::create(path)
            .with_context(|| format!("creating the log file {}", path.display()))?;
        builder.with_writer(Mutex::new(file)).init();
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        error!("{panic}");
        previous(panic);
    }));
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    info!(version = env!("CARGO_PKG_VERSION"), ?args, "duvisor");
    Ok(())
}
