//! Inputs with a memory: what a run was given, at which position, and given again.
//!
//! ```text
//!   recorded inputs   ●     ●        ●│
//!   position          ───────────────┼──────▶
//!                     given again    │edge   asked of the source, and noted
//! ```
//! An input is an event, and takes the number of the position at which it was given: so the number
//! of the next event says which inputs a state has seen.

use session::{Idle, Input, Inputs, Position};
use traces::{How, InputRecord};

/// What a run was given so far, and from where it gets more.
#[derive(Debug, Default)]
pub struct Tape {
    records: Vec<InputRecord>,
    /// The first one that the run has not seen.
    next: usize,
    /// An input could not be given where it was: the run is another one.
    missed: Option<Position>,
}

impl Tape {
    /// A tape with these inputs on it, in their order.
    #[must_use]
    pub fn new(records: Vec<InputRecord>) -> Self {
        Self { records, next: 0, missed: None }
    }

    /// All inputs.
    #[must_use]
    pub fn records(&self) -> &[InputRecord] {
        &self.records
    }

    /// The run is at this position now.
    pub fn seek(&mut self, at: Position) {
        self.next = self.records.partition_point(|record| record.at.seq < at.seq);
        self.missed = None;
    }

    /// Whether the run has seen all inputs.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.next == self.records.len()
    }

    /// The position at which an input was due, and the run did not ask for one.
    #[must_use]
    pub fn missed(&self) -> Option<Position> {
        self.missed
    }

    /// The next input, if it was given exactly here.
    fn take(&mut self, at: Position, time_ns: Option<u64>, how: How) -> Option<&InputRecord> {
        let record = self.records.get(self.next)?;
        if record.at < at {
            self.missed.get_or_insert(record.at);
        }
        let then = time_ns.is_none_or(|time_ns| time_ns == record.time_ns);
        if record.at != at || record.how != how || !then {
            return None;
        }
        self.next += 1;
        self.records.get(self.next - 1)
    }

    /// Notes an input that the run was just given.
    pub fn note(&mut self, record: InputRecord) {
        debug_assert!(self.at_end(), "a new input in the middle of the tape");
        self.records.push(record);
        self.next = self.records.len();
    }
}

/// The tape is all that there is: nothing more comes after its end.
impl Inputs for Tape {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        self.take(at, Some(time_ns), How::Slice).map(|record| record.input.clone())
    }

    fn idle(&mut self, at: Position, _time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        match self.take(at, None, How::Idle) {
            Some(record) => Idle::Input { time_ns: record.time_ns, input: record.input.clone() },
            None if deadline_ns.is_some() => Idle::Deadline,
            None => Idle::Never,
        }
    }
}

/// A source whose inputs are put on record before the run gets them.
///
/// A run may ask twice at the same position and time. It gets an input at the first of these
/// questions only, so that position, time and the way in which it asked say which one it was.
pub struct Recording<'a> {
    source: &'a mut dyn Inputs,
    record: &'a mut dyn FnMut(InputRecord),
    asked: &'a mut Option<(Position, u64)>,
}

impl<'a> Recording<'a> {
    /// Inputs of this source; `record` puts one on record, and only then the run gets it. `asked`
    /// is when the run asked last, also before it was cut.
    pub fn new(
        source: &'a mut dyn Inputs,
        asked: &'a mut Option<(Position, u64)>,
        record: &'a mut dyn FnMut(InputRecord),
    ) -> Self {
        Self { source, record, asked }
    }
}

impl std::fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recording")
    }
}

impl Inputs for Recording<'_> {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        if self.asked.replace((at, time_ns)) == Some((at, time_ns)) {
            return None;
        }
        let input = self.source.next(at, time_ns)?;
        (self.record)(InputRecord { at, time_ns, how: How::Slice, input: input.clone() });
        Some(input)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        let idle = self.source.idle(at, time_ns, deadline_ns);
        if let Idle::Input { time_ns, input } = &idle {
            let (time_ns, input) = (*time_ns, input.clone());
            (self.record)(InputRecord { at, time_ns, how: How::Idle, input });
        }
        idle
    }

    fn offer(&mut self, input: &Input) -> bool {
        self.source.offer(input)
    }

    fn output(&mut self, bytes: &[u8]) {
        self.source.output(bytes);
    }
}
