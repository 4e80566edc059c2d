//! The one stream out: numbers events, hands them to the sinks, and keeps what watchers ask for.

use std::collections::VecDeque;

use session::{Event, Exit, Input, Sink, VmState};

/// Exits that are kept for watchers.
const EXITS_KEPT: usize = 64 << 10;
/// Console bytes that are kept for watchers.
const CONSOLE_KEPT: usize = 1 << 20;
/// A line of console output that gets longer than this is sent in pieces.
pub(crate) const LINE_MAX: usize = 256;

/// The stream of a VM.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    // Runtime state.
    seq: u64,
    // For watchers; no part of the run.
    /// A watcher has asked for exits: from then on they are kept.
    keeps_exits: bool,
    exits: VecDeque<Exit>,
    console: VecDeque<u8>,
    /// Console bytes ever written.
    console_total: u64,
}

impl Stream {
    /// Number of the next event.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    fn number(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }

    /// Whether anybody looks at single exits; if not they are only numbered.
    pub(crate) fn wants_exits(&self, sinks: &[&mut dyn Sink]) -> bool {
        self.keeps_exits || sinks.iter().any(|sink| sink.wants_exits())
    }

    /// An exit that nobody looks at still takes its number.
    pub(crate) fn pass_exit(&mut self) {
        self.seq += 1;
    }

    /// Sends an exit; its `seq` is filled in here.
    pub(crate) fn exit(&mut self, mut exit: Exit, sinks: &mut [&mut dyn Sink]) {
        exit.seq = self.number();
        if self.keeps_exits {
            if self.exits.len() >= EXITS_KEPT {
                self.exits.pop_front();
            }
            self.exits.push_back(exit);
        }
        let event = Event::Exit(exit);
        for sink in sinks.iter_mut().filter(|sink| sink.wants_exits()) {
            sink.event(&event);
        }
    }

    /// Sends console output, and empties it.
    pub(crate) fn console(&mut self, step: u64, bytes: &mut Vec<u8>, sinks: &mut [&mut dyn Sink]) {
        self.console_total += bytes.len() as u64;
        self.console.extend(bytes.iter());
        let excess = self.console.len().saturating_sub(CONSOLE_KEPT);
        self.console.drain(..excess);
        let event = Event::Console { seq: self.number(), step, bytes: std::mem::take(bytes) };
        send(&event, sinks);
    }

    /// Sends word of an input.
    pub(crate) fn input(&mut self, step: u64, input: Input, sinks: &mut [&mut dyn Sink]) {
        let event = Event::Input { seq: self.number(), step, input };
        send(&event, sinks);
    }

    /// Sends word of a change of the VM.
    pub(crate) fn vm(&mut self, step: u64, state: VmState, sinks: &mut [&mut dyn Sink]) {
        let event = Event::Vm { seq: self.number(), step, state };
        send(&event, sinks);
    }

    /// The newest kept exits with a `seq` of at least `from`, oldest first. From now on they are
    /// kept.
    pub(crate) fn exits_from(&mut self, from: u64, limit: usize) -> Vec<Exit> {
        self.keep_exits();
        let first = self.exits.partition_point(|exit| exit.seq < from);
        let skip = first.max(self.exits.len().saturating_sub(limit));
        self.exits.iter().skip(skip).copied().collect()
    }

    /// Keeps exits from now on.
    pub(crate) fn keep_exits(&mut self) {
        self.keeps_exits = true;
    }

    /// Kept console bytes from `from` on, and where they begin.
    pub(crate) fn console_from(&self, from: u64) -> (u64, Vec<u8>) {
        let oldest = self.console_total - self.console.len() as u64;
        let from = from.clamp(oldest, self.console_total);
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        (from, self.console.iter().skip(skip).copied().collect())
    }
}

fn send(event: &Event, sinks: &mut [&mut dyn Sink]) {
    for sink in sinks {
        sink.event(event);
    }
}
