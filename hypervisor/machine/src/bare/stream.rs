//! The one stream out of a bare machine: numbers events and hands them to the sinks.

use std::collections::VecDeque;

use hart::Taken;
use session::{Event, Input, Sink, Trap, VcpuId, VmState};

/// Console bytes that are kept for watchers.
const CONSOLE_KEPT: usize = 1 << 20;

/// The stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    // Runtime state.
    seq: u64,
    // For watchers; no part of the run.
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

    /// Sends a trap, to the sinks that want single ones; it takes a number even if none does.
    pub(crate) fn trap(
        &mut self,
        (step, time_ns): (u64, u64),
        hart: usize,
        taken: &Taken,
        sinks: &mut [&mut dyn Sink],
    ) {
        let seq = self.number();
        if !sinks.iter().any(|sink| sink.wants_exits()) {
            return;
        }
        let event = Event::Trap(Trap {
            seq,
            step,
            hart: hart_id(hart),
            time_ns,
            pc: taken.pc,
            from: taken.from,
            to: taken.to,
            cause: taken.trap.cause.bits(),
            tval: taken.trap.tval,
        });
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

    /// Sends word of a start, a reset or the end.
    pub(crate) fn state(&mut self, step: u64, state: VmState, sinks: &mut [&mut dyn Sink]) {
        let event = Event::Vm { seq: self.number(), step, state };
        send(&event, sinks);
    }

    /// Kept console bytes from `from` on, and where they begin.
    pub(crate) fn console_from(&self, from: u64) -> (u64, Vec<u8>) {
        let oldest = self.console_total - self.console.len() as u64;
        let from = from.clamp(oldest, self.console_total);
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        (from, self.console.iter().skip(skip).copied().collect())
    }
}

/// A hart's number as events have it.
pub(crate) fn hart_id(hart: usize) -> VcpuId {
    VcpuId(u16::try_from(hart).unwrap_or(u16::MAX))
}

fn send(event: &Event, sinks: &mut [&mut dyn Sink]) {
    for sink in sinks {
        sink.event(event);
    }
}
