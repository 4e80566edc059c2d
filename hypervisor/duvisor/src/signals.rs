//! Signals that ask the program to end, or to save the run: a thread hears them, and what runs ends
//! in good order.

use std::io::{self, PipeReader, Read};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_current_process_group};
use session::{Asker, Command, Request};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGSYS, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
};
use signal_hook::low_level::{pipe, signal_name};
use tracing::{info, warn};

use crate::host::host_now;
use crate::{EXIT_INTERRUPTED, console, threads};

/// Every signal that would end the program and can be heard, but for those of its own bugs.
const ENDING: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR2, SIGXCPU];
/// Signals that come so close are one wish: a terminal that is closed, and timeout(1), send two.
const ONE_WISH: Duration = Duration::from_secs(1);
/// So long a terminal may take to be given back when the program ends at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is asked to save the run, as long as there is one.
pub(crate) type Saving = Arc<Mutex<Option<Asker>>>;

/// Sets the flags at Ctrl-C, SIGTERM, SIGHUP and their like.
pub(crate) fn set_on_end(flags: &[&Arc<AtomicBool>]) -> Result<()> {
    set_on_end_or_save(flags, None)
}

/// The same; SIGUSR1 asks for the run to be saved, where somebody can be asked.
///
/// One that comes later than [`ONE_WISH`] ends the program at once, in case the first does not; the
/// terminal is given back all the same.
pub(crate) fn set_on_end_or_save(flags: &[&Arc<AtomicBool>], saving: Option<Saving>) -> Result<()> {
    let flags: Vec<Arc<AtomicBool>> = flags.iter().map(|flag| Arc::clone(flag)).collect();
    // A file that grew too large is an error of the write.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .context("installing signal handlers")?;
    let wants_save = Arc::new(AtomicBool::new(false));
    let (mut heard, last) =
        hear_of(saving.is_some(), &wants_save).context("installing signal handlers")?;
    let (rescue, is_back) = rescuer()?;
    let hear = move || {
        let mut first: Option<Instant> = None;
        while heard.read_exact(&mut [0]).is_ok() {
            if wants_save.swap(false, Ordering::Relaxed) {
                info!("SIGUSR1: the run is to be saved");
                ask_to_save(saving.as_ref());
            }
            let signal = i32::try_from(last.swap(0, Ordering::Relaxed)).unwrap_or_default();
            if signal == 0 {
                continue;
            }
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

fn ask_to_save(saving: Option<&Saving>) {
    let asker = saving.map(|saving| saving.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(asker) = asker.as_deref().and_then(Option::as_ref) {
        // Whoever watches the run hears the answer.
        asker.send(Request { generation: u64::MAX, command: Command::Save });
    }
}

/// A byte for each signal, and which was the last of those that end the program; SIGUSR1 is none
/// of them if it asks for the run to be saved.
///
/// By a pipe: a socket's system calls are none that the process makes once it is closed.
fn hear_of(saves: bool, save: &Arc<AtomicBool>) -> io::Result<(PipeReader, Arc<AtomicUsize>)> {
    let (reader, writer) = io::pipe()?;
    let last = Arc::new(AtomicUsize::new(0));
    let usr1 = [SIGUSR1];
    for signal in ENDING.iter().chain(usr1.iter().filter(|_| !saves)) {
        let number = usize::try_from(*signal).unwrap_or_default();
        signal_hook::flag::register_usize(*signal, Arc::clone(&last), number)?;
        pipe::register(*signal, writer.try_clone()?)?;
    }
    if saves {
        signal_hook::flag::register(SIGUSR1, Arc::clone(save))?;
        pipe::register(SIGUSR1, writer.try_clone()?)?;
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
