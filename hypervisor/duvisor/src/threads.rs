//! Threads that are there before the process is closed to its host.

use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tracing::debug;

/// Starts a thread and waits until it runs: how it begins is nothing that a closed process does.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let (runs, begun) = sync_channel(0);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = runs.send(());
        f()
    });
    let thread = thread.with_context(|| format!("starting the thread {name}"))?;
    begun.recv().with_context(|| format!("the thread {name} is gone"))?;
    debug!("thread {name} started");
    Ok(thread)
}
