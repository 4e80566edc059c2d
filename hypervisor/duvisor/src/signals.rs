//! Signals that ask the program to end: a thread hears them, and what runs ends in good order.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use tracing::{debug, info, warn};

use crate::host::host_now;
use crate::{EXIT_INTERRUPTED, console};

/// Every signal that would end the program and can be heard, but for those of its own bugs.
const ENDING: [i32; 8] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU];
/// Signals that come so close are one wish: a terminal that is closed, and timeout(1), send two.
const ONE_WISH: Duration = Duration::from_secs(1);
/// So long a terminal may take to be given back when the program ends at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sets the flags at Ctrl-C, SIGTERM, SIGHUP and their like.
///
/// One that comes later than [`ONE_WISH`] ends the program at once, in case the first does not; the
/// terminal is given back all the same.
pub(crate) fn set_on_end(flags: &[&Arc<AtomicBool>]) -> Result<()> {
    let flags: Vec<Arc<AtomicBool>> = flags.iter().map(|flag| Arc::clone(flag)).collect();
    // A file that grew too large is an error of the write.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .context("installing signal handlers")?;
    let mut signals = Signals::new(ENDING).context("installing signal handlers")?;
    let hear = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            let name = signal_name(signal).unwrap_or("a signal");
            let now = host_now();
            let since = now.saturating_duration_since(*first.get_or_insert(now));
            if since >= ONE_WISH {
                warn!("{name}, {since:.1?} after the first: the program ends at once");
                end_now();
            }
            info!("{name}: the program ends in good order");
            flags.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(hear)
        .context("starting the thread that hears signals")?;
    debug!("thread signals started");
    Ok(())
}

/// Ends the program, whatever its other threads do; only the terminal is seen to.
fn end_now() -> ! {
    let (sender, is_back) = channel();
    // The terminal may be one that takes no bytes any more: nobody waits for that for ever.
    thread::spawn(move || {
        console::give_back();
        monitor::give_back();
        let _ = sender.send(());
    });
    let _ = is_back.recv_timeout(PATIENCE);
    process::exit(EXIT_INTERRUPTED.into())
}

/// Stops this process as Ctrl-Z does; returns when it goes on.
pub(crate) fn suspend() {
    // Nothing is lost if it cannot stop.
    let _ = signal_hook::low_level::raise(SIGTSTP);
}
