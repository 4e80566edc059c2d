//! The thread that reads the terminal.
//!
//! crossterm's `poll` does not return while half an escape sequence is in, and never again once
//! the terminal has hung up (it takes the end of the file for something to read again). A loop that
//! must see its stop flag cannot stand behind it.
//!
//! The size is looked at here, too: crossterm's own handler of SIGWINCH sends itself a message, and
//! a process that is closed to the host cannot.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Size;

use super::screen::size;

/// Events that may wait; beyond that the terminal's own buffer holds what is typed.
const QUEUE_MAX: usize = 256;
/// The thread looks whether it is still wanted after so long.
const LOOK: Duration = Duration::from_millis(50);
/// A thread that runs and has not come back from its first look after this stands behind half an
/// escape sequence: by then crossterm has all that it opens.
const START: Duration = Duration::from_secs(2);
/// A thread that is not gone after this stands behind a closed terminal, and is left there.
const PATIENCE: Duration = Duration::from_millis(300);

/// The monitor's end.
#[derive(Debug)]
pub(crate) struct Reader {
    events: Receiver<io::Result<Event>>,
    done: Arc<AtomicBool>,
}

impl Reader {
    /// Starts the thread; whatever it opens is open when this returns.
    pub(crate) fn start() -> io::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let (sender, events) = sync_channel(QUEUE_MAX);
        let is_done = Arc::clone(&done);
        let (here, started) = sync_channel(2);
        thread::Builder::new().name("terminal".into()).spawn(move || {
            let _ = here.send(Ok(()));
            let first = event::poll(Duration::ZERO).map(drop);
            let failed = first.is_err();
            let _ = here.send(first);
            if !failed {
                read(&sender, &is_done);
            }
        })?;
        // However long it takes: a thread cannot begin in a process that has been closed.
        if started.recv().is_ok()
            && let Ok(first) = started.recv_timeout(START)
        {
            first?;
        }
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
    let mut shown = size().ok();
    while !done.load(Ordering::Relaxed) {
        if let Some(now @ Size { width, height }) = size().ok().filter(|now| shown != Some(*now)) {
            shown = Some(now);
            if sender.send(Ok(Event::Resize(width, height))).is_err() {
                return;
            }
        }
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
