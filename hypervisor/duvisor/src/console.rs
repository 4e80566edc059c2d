//! The guest's console on standard output and input: raw mode, Ctrl-A x, and the way back.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::termios::{self, OptionalActions, Termios};
use session::{Event, Sink};

use crate::threads;

/// Reads that may wait for the guest; a paste that is longer waits in the terminal.
const TYPED_MAX: usize = 64;
/// Ctrl-A.
const ESCAPE: u8 = 1;

/// The mode of standard input before it was made raw, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input in raw mode, if it is a terminal; the old mode comes back when this is dropped.
pub(crate) struct RawMode {
    is_terminal: bool,
}

impl RawMode {
    /// Switches the terminal to raw mode, output processing left on.
    pub(crate) fn enter() -> Self {
        let stdin = io::stdin();
        let mut kept = before();
        *kept = termios::tcgetattr(&stdin).ok();
        if let Some(before) = &*kept {
            let mut raw = before.clone();
            raw.make_raw();
            raw.output_modes = before.output_modes;
            // The terminal stays as it was if it does not take the new mode.
            let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self { is_terminal: kept.is_some() }
    }

    /// Whether standard input is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        give_back();
    }
}

/// Brings the mode back that standard input had, if it is raw; from any thread.
pub(crate) fn give_back() {
    // The lock is held until it is done: nobody ends the program before.
    let mut kept = before();
    if let Some(before) = kept.take() {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads standard input on a thread of its own until it ends.
///
/// Ctrl-A x sets `quit`; Ctrl-A Ctrl-A types one Ctrl-A. Only on a terminal: in a pipe, bytes are
/// bytes.
pub(crate) fn read_stdin(terminal: bool, quit: Arc<AtomicBool>) -> Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = sync_channel(TYPED_MAX);
    threads::start("input", move || {
        let mut keys = Keys { escaped: false, terminal };
        let mut buf = [0; 1024];
        loop {
            match io::stdin().read(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    let (typed, wants_quit) = keys.take(&buf[..n]);
                    if wants_quit {
                        quit.store(true, Ordering::Relaxed);
                    }
                    if send(&sender, typed).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    Ok(receiver)
}

fn send(sender: &SyncSender<Vec<u8>>, typed: Vec<u8>) -> Result<(), ()> {
    if typed.is_empty() { Ok(()) } else { sender.send(typed).or(Err(())) }
}

/// The state of the escape key.
struct Keys {
    escaped: bool,
    terminal: bool,
}

impl Keys {
    /// What the guest gets of these bytes, and whether the user wants to leave.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if !self.terminal {
            return (bytes.to_vec(), false);
        }
        let mut typed = Vec::with_capacity(bytes.len());
        let mut quit = false;
        for byte in bytes {
            match (std::mem::take(&mut self.escaped), *byte) {
                (false, ESCAPE) => self.escaped = true,
                (true, b'x' | b'X') => quit = true,
                // Ctrl-A twice types it; any other key after it is the guest's.
                (_, byte) => typed.push(byte),
            }
        }
        (typed, quit)
    }
}

/// Writes the guest's console to standard output.
pub(crate) struct Printer;

impl Sink for Printer {
    fn wants_exits(&self) -> bool {
        false
    }

    fn event(&mut self, event: &Event) {
        if let Event::Console { bytes, .. } = event {
            // A reader that went away is no reason to stop the guest.
            let mut out = io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_x_quits_on_a_terminal_only() {
        let mut keys = Keys { escaped: false, terminal: true };
        assert_eq!(keys.take(b"ab\x01"), (b"ab".to_vec(), false));
        assert_eq!(keys.take(b"x"), (vec![], true));
        assert_eq!(keys.take(b"\x01\x01\x01c"), (b"\x01c".to_vec(), false));
        let mut pipe = Keys { escaped: false, terminal: false };
        assert_eq!(pipe.take(b"\x01x"), (b"\x01x".to_vec(), false));
    }
}
