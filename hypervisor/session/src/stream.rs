//! The one stream out of a run: numbers events, hands them to the sinks, and keeps what watchers
//! ask for.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use state::{Codec, Damaged, State};

use crate::{Event, Exit, Input, Sink, Trap, VmState};

/// Exits that are kept for watchers.
const EXITS_KEPT: usize = 64 << 10;
/// Bytes of console output that are kept for watchers.
const CONSOLE_KEPT: usize = 1 << 20;

/// The stream of a VM or of a bare machine.
///
/// The number of an event is a function of the run alone: exits and traps take theirs also when
/// nobody looks at them.
///
/// Its state is where it is: the number of the next event, and of the next byte of the console.
/// What is kept for watchers is not, but it follows a run that is taken to another position: taken
/// back, what is later is gone; taken forward, all is gone, for what lies between was never seen.
/// So what is kept has no holes, as long as all the states that are loaded are of one run.
#[derive(Debug, Default)]
pub struct Stream {
    // Runtime state.
    seq: u64,
    /// Console bytes ever written.
    console_total: u64,
    // For watchers; no part of the run.
    /// A watcher has asked for exits: from then on they are kept.
    keeps_exits: bool,
    exits: VecDeque<Exit>,
    console: VecDeque<u8>,
}

impl State for Stream {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let (seq, console_total) = (self.seq, self.console_total);
        codec.count(&mut self.seq)?;
        codec.count(&mut self.console_total)?;
        if self.seq > seq {
            self.exits.clear();
        }
        self.exits.truncate(self.exits.partition_point(|exit| exit.seq < self.seq));
        if self.console_total > console_total {
            self.console.clear();
        }
        let later = usize::try_from(console_total.saturating_sub(self.console_total));
        let left = self.console.len().saturating_sub(later.unwrap_or(usize::MAX));
        self.console.truncate(left);
        Ok(())
    }
}

impl Stream {
    /// Number of the next event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    fn number(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }

    /// Whether anybody looks at single exits and traps; if not they are only numbered.
    #[must_use]
    pub fn wants_exits(&self, sinks: &[&mut dyn Sink]) -> bool {
        self.keeps_exits || sinks.iter().any(|sink| sink.wants_exits())
    }

    /// An exit or a trap that nobody looks at still takes its number.
    #[inline]
    pub fn pass(&mut self) {
        self.seq += 1;
    }

    /// Sends an exit; its `seq` is filled in here.
    #[inline]
    pub fn exit(&mut self, mut exit: Exit, sinks: &mut [&mut dyn Sink]) {
        exit.seq = self.number();
        if self.keeps_exits {
            if self.exits.len() >= EXITS_KEPT {
                self.exits.pop_front();
            }
            self.exits.push_back(exit);
        }
        send_single(&Event::Exit(exit), sinks);
    }

    /// Sends a trap; its `seq` is filled in here.
    pub fn trap(&mut self, trap: Trap, sinks: &mut [&mut dyn Sink]) {
        let seq = self.number();
        send_single(&Event::Trap(Trap { seq, ..trap }), sinks);
    }

    /// Sends console output, and empties it.
    pub fn console(&mut self, step: u64, bytes: &mut Vec<u8>, sinks: &mut [&mut dyn Sink]) {
        self.console_total += bytes.len() as u64;
        self.console.extend(bytes.iter());
        let excess = self.console.len().saturating_sub(CONSOLE_KEPT);
        self.console.drain(..excess);
        let event = Event::Console { seq: self.number(), step, bytes: std::mem::take(bytes) };
        send(&event, sinks);
    }

    /// Sends word of an input.
    pub fn input(&mut self, step: u64, input: Input, sinks: &mut [&mut dyn Sink]) {
        let event = Event::Input { seq: self.number(), step, input };
        send(&event, sinks);
    }

    /// Sends word of a start, a reset, the end, or a vCPU that comes or goes.
    pub fn vm(&mut self, step: u64, state: VmState, sinks: &mut [&mut dyn Sink]) {
        let event = Event::Vm { seq: self.number(), step, state };
        send(&event, sinks);
    }

    /// The newest kept exits with a `seq` of at least `from`, oldest first. From now on they are
    /// kept.
    pub fn exits_from(&mut self, from: u64, limit: usize) -> Vec<Exit> {
        self.keep_exits();
        let first = self.exits.partition_point(|exit| exit.seq < from);
        let skip = first.max(self.exits.len().saturating_sub(limit));
        self.exits.iter().skip(skip).copied().collect()
    }

    /// Keeps exits from now on.
    pub fn keep_exits(&mut self) {
        self.keeps_exits = true;
    }

    /// Kept console bytes from `from` on, and where they begin: later than `from` if older bytes
    /// are gone, earlier if the run has been taken back to before it.
    #[must_use]
    pub fn console_from(&self, from: u64) -> (u64, Vec<u8>) {
        let oldest = self.console_total - self.console.len() as u64;
        let from = from.clamp(oldest, self.console_total);
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        (from, self.console.iter().skip(skip).copied().collect())
    }
}

/// To the sinks that want single exits and traps.
fn send_single(event: &Event, sinks: &mut [&mut dyn Sink]) {
    for sink in sinks.iter_mut().filter(|sink| sink.wants_exits()) {
        sink.event(event);
    }
}

fn send(event: &Event, sinks: &mut [&mut dyn Sink]) {
    for sink in sinks {
        sink.event(event);
    }
}
