//! Signals that ask the program to end: they set a flag, and what runs ends in good order.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Sets `flag` at Ctrl-C, SIGTERM and SIGHUP.
///
/// A second signal of the same kind ends the program at once, in case the first does not.
pub(crate) fn set_on_end(flag: &Arc<AtomicBool>) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("installing signal handlers")?;
    }
    Ok(())
}

/// Stops this process as Ctrl-Z does; returns when it goes on.
pub(crate) fn suspend() {
    // Nothing is lost if it cannot stop.
    let _ = signal_hook::low_level::raise(signal_hook::consts::SIGTSTP);
}
