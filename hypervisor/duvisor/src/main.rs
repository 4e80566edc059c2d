//! The composition root of duvisor: arguments, wiring, signals, exit codes.
#![forbid(unsafe_code)]

mod args;
mod console;
mod disk;
mod events;
mod guest;
mod host;
mod machine_mode;
mod plane;
mod play;
mod report;
mod run;
mod say;
mod setup;
mod signals;
mod values;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use monitor::MonitorError;

use args::{Cli, Verb};

/// Usage or bad input.
const EXIT_INPUT: u8 = 2;
/// A thread of this program panicked.
const EXIT_INTERNAL: u8 = 3;
/// Ended by Ctrl-C, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = std::panic::catch_unwind(|| dispatch(&cli));
    match result {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => {
            say::note(&format!("duvisor: {error:#}"));
            ExitCode::from(code_of(&error))
        }
        Err(_) => ExitCode::from(EXIT_INTERNAL),
    }
}

/// The exit code that tells an error.
fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(MonitorError::GivenBack) => EXIT_INTERNAL,
        _ => EXIT_INPUT,
    }
}

fn dispatch(cli: &Cli) -> Result<u8> {
    if let Some(path) = &cli.log {
        start_log(path)?;
    }
    match &cli.verb {
        Verb::Run(run) => run::run(run),
        Verb::Machine(machine) => machine_mode::run(machine),
        Verb::Guest(verb) => {
            let stop = Arc::new(AtomicBool::new(false));
            signals::set_on_end(&[&stop])?;
            guest::verb(verb, &stop)?;
            Ok(if stop.load(Ordering::Relaxed) { EXIT_INTERRUPTED } else { 0 })
        }
        Verb::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(*shell, &mut command, "duvisor", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// Diagnostics of this program, never the exit stream, and never into the terminal UI.
fn start_log(path: &Path) -> Result<()> {
    let builder = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
    if path == Path::new("-") {
        builder.with_writer(std::io::stderr).init();
    } else {
        let file = File::create(path)
            .with_context(|| format!("creating the log file {}", path.display()))?;
        builder.with_ansi(false).with_writer(Mutex::new(file)).init();
    }
    Ok(())
}
