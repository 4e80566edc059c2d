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
