//! The terminal UI: a live view of a run, driven through a [`Session`].
//!
//! One direction only: what happens becomes a message (`update::Msg`), `update` is the only writer
//! of the model, and what is to be done comes back as an effect; a view is a function of the
//! model. Below the model nothing knows a terminal; above it nothing knows a session. The guest's
//! output is data for a terminal emulator, never bytes for the user's terminal.
//!
//! Keys, footer and help come from one registry (`keys`). Nothing is drawn while nothing changes.
#![forbid(unsafe_code)]

mod console;
mod drive;
mod encode;
mod feed;
mod format;
mod keys;
mod model;
mod quantiles;
mod rates;
mod shown;
mod term;
mod theme;
mod update;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use session::{Session, Stop};

pub use theme::Colors;

/// What the monitor needs to know of its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the guest is called until the session says it.
    pub name: String,
    /// How many colours to use.
    pub colors: Colors,
    /// When this becomes true, [`Monitor::run`] gives the terminal back and returns: for the
    /// program's handlers of SIGTERM, SIGHUP and SIGINT.
    pub stop: Arc<AtomicBool>,
    /// Stops this process as Ctrl-Z does (raises SIGTSTP) and returns when it goes on; without it
    /// Ctrl-Z says that it cannot.
    pub suspend: Option<fn()>,
}

/// How the user left the monitor; what becomes of the run is the caller's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The user wants the run to end in good order.
    PowerOff,
    /// The user wants the run to end at once.
    Kill,
    /// The run had ended for this reason, then the user left.
    Ended(Stop),
    /// The session went away without a reason, then the user left.
    Lost,
    /// [`Options::stop`] was set, or the terminal was closed.
    Stopped,
}

/// Why the monitor could not do its work. The terminal was given back in each case.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Standard output is a file or a pipe.
    #[error("standard output is not a terminal")]
    NotATerminal,
    /// Keys cannot be read.
    #[error("standard input is not a terminal")]
    NoKeyboard,
    /// `TERM=dumb`.
    #[error("the terminal cannot move its cursor (TERM=dumb)")]
    DumbTerminal,
    /// Another thread gave the terminal back: it panicked, or called [`give_back`].
    #[error("a thread of this program panicked, or ends it")]
    GivenBack,
    /// Reading from or writing to the terminal failed.
    #[error("the terminal failed")]
    Terminal(#[from] io::Error),
}

/// Whether [`Monitor::enter`] would find a usable terminal. Nothing is written to it.
///
/// # Errors
/// [`MonitorError`] says why not.
pub fn check_terminal() -> Result<(), MonitorError> {
    term::check()
}

/// Gives the terminal back now and for good, for a program that must end at once.
///
/// From any thread, also while [`Monitor::run`] runs, which then returns
/// [`MonitorError::GivenBack`]. When this returns, screen, cursor and mode of the terminal are what
/// they were; it waits for as long as the terminal does not take what is written to it.
pub fn give_back() {
    term::give_back_for_good();
}

/// The terminal, taken. It is given back when this is dropped, and by a panic of any thread before
/// its message is printed.
#[derive(Debug)]
pub struct Monitor {
    term: term::Term,
    options: Options,
}

impl Monitor {
    /// Takes the terminal. What the monitor opens and starts is open and runs when this returns.
    ///
    /// # Errors
    /// [`MonitorError`] if there is no usable terminal.
    pub fn enter(options: Options) -> Result<Self, MonitorError> {
        Ok(Self { term: term::Term::enter(&options)?, options })
    }

    /// Shows `session` until the user leaves.
    ///
    /// Returns as well when [`Options::stop`] is set. When the run ends the monitor stays, so that
    /// the last screen can be read.
    ///
    /// # Errors
    /// [`MonitorError`] if the terminal fails.
    pub fn run(mut self, session: &mut dyn Session) -> Result<Outcome, MonitorError> {
        let size = self.term.size()?;
        let capabilities = session.capabilities();
        let mut model = model::Model::new(&self.options.name, capabilities, size);
        model.can_suspend = self.options.suspend.is_some();
        drive::drive(session, &mut self.term, &mut model, &self.options.stop)
    }
}
