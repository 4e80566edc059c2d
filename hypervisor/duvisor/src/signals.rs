//! Signals that ask the program to end: a thread hears them, and what runs ends in good order.

use std::io::{self, PipeReader, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGSYS, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
};
use signal_hook::low_level::{pipe, signal_name};
use tracing::{info, warn};

use crate::host::host_now;
use crate::{EXIT_INTERRUPTED, console, threads};

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
    let (mut heard, last) = hear_of(&ENDING).context("installing signal handlers")?;
    let (rescue, is_back) = rescuer()?;
    let hear = move || {
        let mut first: Option<Instant> = None;
        while heard.read_exact(&mut [0]).is_ok() {
            let signal = i32::try_from(last.load(Ordering::Relaxed)).unwrap_or_default();
            let name = signal_name(signal).unwrap_or("a signal");
            let now = host_now();
            let since = now.saturating_duration_since(*first.get_or_insert(now));
            if since >= ONE_WISH {
                warn!("{name}, {since:.1?} after the first: the program ends at once");
                end_now(&rescue, &is_back);
            }
            info!("{name}: the program ends in good order");
            flags.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
        }
    };
    threads::start("signals", hear)?;
    Ok(())
}

/// A byte for each signal, and which was the last.
///
/// By a pipe: a socket's system calls are none that the process makes once it is closed.
fn hear_of(signals: &[i32]) -> io::Result<(PipeReader, Arc<AtomicUsize>)> {
    let (reader, writer) = io::pipe()?;
    let last = Arc::new(AtomicUsize::new(0));
    for signal in signals {
        let number = usize::try_from(*signal).unwrap_or_default();
        signal_hook::flag::register_usize(*signal, Arc::clone(&last), number)?;
        pipe::register(*signal, writer.try_clone()?)?;
    }
    Ok((reader, last))
}

/// A thread that gives the terminal back when it is asked to, and then says so. It is there
/// beforehand, since a closed process starts none.
fn rescuer() -> Result<(SyncSender<()>, Receiver<()>)> {
    let (rescue, asked) = sync_channel(1);
    let (done, is_back) = sync_channel(1);
    threads::start("rescue", move || {
        if asked.recv().is_ok() {
            console::give_back();
            monitor::give_back();
            let _ = done.send(());
        }
    })?;
    Ok((rescue, is_back))
}

/// Ends the program, whatever its other threads do; only the terminal is seen to.
fn end_now(rescue: &SyncSender<()>, is_back: &Receiver<()>) -> ! {
    let _ = rescue.send(());
    // The terminal may be one that takes no bytes any more: nobody waits for that for ever.
    let _ = is_back.recv_timeout(PATIENCE);
    process::exit(EXIT_INTERRUPTED.into())
}

/// Sets the flags where this process makes a system call that nobody makes in good faith.
pub(crate) fn set_on_violation(flags: &[&Arc<AtomicBool>]) -> Result<()> {
    for flag in flags {
        signal_hook::flag::register(SIGSYS, Arc::clone(flag))
            .context("installing signal handlers")?;
    }
    Ok(())
}

/// Stops this process group, as the terminal does for Ctrl-Z; returns when it goes on.
///
/// The group, because a shell sees only the program that it started itself (`cargo run`).
pub(crate) fn suspend() {
    // Nothing is lost if it cannot stop.
    let _ = kill_current_process_group(Signal::TSTP);
}
