//! Where in a file a moment of the run is.

use session::Position;

use super::{ReadError, Reader};
use crate::chunk::{ChunkKind, Meta};

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So many steps have been made.
    Step(u64),
    /// The event with this number.
    Event(u64),
    /// This guest time in nanoseconds.
    Time(u64),
}

/// The last position that there can be.
const LAST: Position = Position { step: u64::MAX, seq: u64::MAX };

impl Reader {
    /// The position from which on records are at a moment or later.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn position_from(&self, moment: Moment) -> Result<Position, ReadError> {
        match moment {
            Moment::Step(step) => Ok(Position { step, seq: 0 }),
            Moment::Event(seq) => self.first_with(&|at, _| at.seq >= seq),
            Moment::Time(ns) => self.first_with(&|_, time_ns| time_ns >= ns),
        }
    }

    /// The position up to which records are at a moment or earlier.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn position_to(&self, moment: Moment) -> Result<Position, ReadError> {
        let later = match moment {
            Moment::Step(step) => return Ok(Position { step, seq: u64::MAX }),
            Moment::Event(seq) => self.first_with(&|at, _| at.seq > seq),
            Moment::Time(ns) => self.first_with(&|_, time_ns| time_ns > ns),
        }?;
        Ok(match later {
            LAST => LAST,
            Position { step, seq: 0 } => Position { step: step.saturating_sub(1), seq: u64::MAX },
            Position { step, seq } => Position { step, seq: seq - 1 },
        })
    }

    /// The position of the first record that is late enough. Time is that of the last record that
    /// has one.
    fn first_with(&self, late: &dyn Fn(Position, u64) -> bool) -> Result<Position, ReadError> {
        let is_late = |meta: &Meta| late(meta.last, meta.last_ns);
        let mut chunks = self.all().filter(|entry| entry.meta.is(ChunkKind::Records));
        let Some(chunk) = chunks.find(|entry| is_late(&entry.meta)) else { return Ok(LAST) };
        let mut time_ns = chunk.meta.first_ns;
        for record in super::Records::of_chunk(self, chunk) {
            let record = match record {
                Ok(record) => record,
                Err(ReadError::Io(error)) => return Err(ReadError::Io(error)),
                // What is damaged is passed over here, and named where it is read.
                Err(_) => break,
            };
            let Some((at, now_ns)) = record.now() else { continue };
            time_ns = now_ns.unwrap_or(time_ns);
            if late(at, time_ns) {
                return Ok(at);
            }
        }
        Ok(chunk.meta.last)
    }
}
