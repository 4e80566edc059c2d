//! Where events go.

use crate::Event;

/// A receiver of events: a ring, a file, a digest.
pub trait Sink {
    /// Whether this sink takes single exits and traps; if not, they are only counted.
    fn wants_exits(&self) -> bool {
        true
    }

    /// Takes an event. Must not block for long: it is called between two steps of the guest.
    fn event(&mut self, event: &Event);

    /// Nobody can run, after so many steps of the guest. Events from here on are sent on the way to
    /// the next step; those before were part of the last one.
    fn waits(&mut self, step: u64) {
        let _ = step;
    }
}

/// Takes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {
    fn wants_exits(&self) -> bool {
        false
    }

    fn event(&mut self, _event: &Event) {}
}
