//! The thread that reads the terminal.
//!
//! crossterm's `poll` does not return while half an escape sequence is in, and never again once
//! the terminal has hung up (it takes the end of the file for something to read again). A loop that
//! must see its stop flag cannot stand behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};

/// Events that may wait; beyond that the terminal's own buffer holds what is typed.
const QUEUE_MAX: usize = 256;
/// The thread looks whether it is still wanted after so long.
const LOOK: Duration = Duration::from_millis(50);
/// A thread that is not gone after this stands behind a closed terminal, and is left there.
const PATIENCE: Duration = Duration::from_millis(300);

/// The monitor's end.
#[derive(Debug)]
pub(crate) struct Reader {
    events: Receiver<io::Result<Event>>,
    done: Arc<AtomicBool>,
}

impl Reader {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let (sender, events) = sync_channel(QUEUE_MAX);
        let is_done = Arc::clone(&done);
        thread::Builder::new().name("terminal".into()).spawn(move || read(&sender, &is_done))?;
        Ok(Self { events, done })
    }

    /// Waits for an event.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<Option<Event>> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => event.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Reader {
    /// Whatever is typed from now on is for whoever has the terminal next.
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        while self.events.recv_timeout(PATIENCE).is_ok() {}
    }
}

fn read(sender: &SyncSender<io::Result<Event>>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let event = match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if sender.send(event).is_err() || failed {
            return;
        }
    }
}
