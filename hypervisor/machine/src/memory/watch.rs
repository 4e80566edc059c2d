//! Watched writes: who wrote these bytes, in which step, and what.
//!
//! ```text
//!   store to a watched page ─▶ log_write: bytes, writer; the block of the hart ends
//!   the hart leaves its block ─▶ sign: hart, step, pc
//!   the machine, when steps go on or somebody asks ─▶ settle: step of what no hart signed
//! ```

use std::ops::Range;

use hart::{Change, Writer};

use super::{Memory, PAGE, UNTOUCHED, WATCHED};

/// So many logged writes, and a run comes back whether or not that was asked for.
pub const WRITES_KEPT: usize = 1 << 16;
/// Most bytes of a logged write.
const WIDTH: usize = 8;
/// The step of a write that nobody has signed.
const UNSIGNED: u64 = u64::MAX;

/// A write that touched watched bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The step that wrote: a run that is cut before it has not done so, and one that is cut behind
    /// it has. What is written in no step is part of the one before, unless nobody can run: then
    /// guest time goes on, and what happens meanwhile is part of the next one.
    pub step: u64,
    /// The hart, if one or its walker wrote, or the VM plane by a hart's HSV.
    pub hart: Option<usize>,
    /// With a hart, the address of its instruction, or its pc if it made no step; otherwise 0.
    pub pc: u64,
    /// Physical address of the first byte.
    pub hpa: u64,
    /// Bytes: 1 to 8. A longer write is several of these, of the watched bytes only, and so is one
    /// that lies in two pages.
    pub len: u8,
    /// What was there; zeros behind `len`.
    pub old: [u8; WIDTH],
    /// What is there now.
    pub new: [u8; WIDTH],
    /// Who.
    pub writer: Writer,
}

/// What is watched, and what was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// Offsets, disjoint, rising, not empty.
    ranges: Vec<Range<usize>>,
    log: Vec<Write>,
    /// Of them, those that are signed, and those whose step is known.
    n_signed: usize,
    n_settled: usize,
    /// What the machine's steps are ahead of those of the hart that runs.
    ahead: u64,
    /// The run comes back after each step that wrote.
    stops: bool,
    due: bool,
}

impl Watched {
    fn push(&mut self, write: Write) {
        // The bytes of one instruction that are stored one by one.
        if let Some(last) = self.log[self.n_signed..].last_mut() {
            let at = usize::from(last.len);
            let joins = last.hpa + u64::from(last.len) == write.hpa && last.writer == write.writer;
            if joins && at < WIDTH && write.len == 1 && write.writer == Writer::Hart {
                (last.old[at], last.new[at]) = (write.old[0], write.new[0]);
                last.len += 1;
                return;
            }
        }
        self.log.push(write);
        self.due |= self.log.len() >= WRITES_KEPT;
    }
}

/// Ranges that may overlap, as disjoint ones in order.
fn disjoint(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|later, earlier| {
        let joins = later.start <= earlier.end;
        if joins {
            earlier.end = earlier.end.max(later.end);
        }
        joins
    });
    ranges
}

impl Memory {
    /// From now on writes that touch these physical bytes are logged; with none, no more. What was
    /// logged so far is gone. With `stops` the run comes back after each step that wrote.
    pub(crate) fn watch_writes(&mut self, ranges: &[Range<u64>], stops: bool) {
        self.flags.iter_mut().for_each(|flags| *flags &= !WATCHED);
        let end = self.bytes.len();
        let offset = |hpa: u64| {
            let offset = hpa.saturating_sub(self.base);
            usize::try_from(offset).map_or(end, |offset| offset.min(end))
        };
        let ranges = ranges.iter().map(|range| offset(range.start)..offset(range.end)).collect();
        let ranges = disjoint(ranges);
        for range in &ranges {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            self.flags[pages].iter_mut().for_each(|flags| *flags |= WATCHED);
        }
        let watched = Watched { ranges, stops, ..Watched::default() };
        self.watched = (!watched.ranges.is_empty()).then(|| Box::new(watched));
    }

    /// Whether anything is watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Takes what was logged. All of it has to be settled.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        let Some(watched) = &mut self.watched else { return Vec::new() };
        (watched.n_signed, watched.n_settled, watched.due) = (0, 0, false);
        std::mem::take(&mut watched.log)
    }

    /// A hart runs whose steps the machine's are ahead of.
    pub(crate) fn set_steps_ahead(&mut self, ahead: u64) {
        if let Some(watched) = &mut self.watched {
            watched.ahead = ahead;
        }
    }

    /// What was logged since the last signature was this hart's doing.
    #[cold]
    pub(crate) fn sign(&mut self, hart: usize, step: Option<u64>, pc: u64) {
        let Some(watched) = &mut self.watched else { return };
        for write in &mut watched.log[watched.n_signed..] {
            if matches!(write.writer, Writer::Hart | Writer::Walker) {
                (write.hart, write.pc) = (Some(hart), pc);
            }
            if let Some(step) = step {
                write.step = step.wrapping_add(watched.ahead);
                watched.due |= watched.stops;
            }
        }
        watched.n_signed = watched.log.len();
    }

    /// Whatever has no step yet was written before step `step`.
    pub(crate) fn settle_writes(&mut self, step: u64) {
        let Some(watched) = &mut self.watched else { return };
        for write in &mut watched.log[watched.n_settled..] {
            if write.step == UNSIGNED {
                write.step = step;
            }
        }
        (watched.n_signed, watched.n_settled) = (watched.log.len(), watched.log.len());
    }

    /// Whether the run is to come back.
    pub(crate) fn is_due(&self) -> bool {
        self.watched.as_ref().is_some_and(|watched| watched.due)
    }

    /// The run comes back. Gives the hart that wrote last, if one did.
    pub(crate) fn take_due(&mut self) -> Option<usize> {
        let watched = self.watched.as_mut()?;
        watched.due = false;
        watched.log.last()?.hart
    }

    /// A write to a watched page, before it happens.
    #[cold]
    pub(super) fn log_write(&mut self, offset: usize, value: &[u8], writer: Writer) {
        let Some(mut watched) = self.watched.take() else { return };
        let end = offset + value.len();
        let first = watched.ranges.partition_point(|range| range.end <= offset);
        let hits = watched.ranges[first..].iter().take_while(|range| range.start < end);
        let hits: Vec<Range<usize>> = if value.len() <= WIDTH {
            hits.take(1).map(|_| offset..end).collect()
        } else {
            hits.map(|range| range.start.max(offset)..range.end.min(end)).collect()
        };
        for piece in hits.iter().flat_map(|hit| pieces(hit, value.len() <= WIDTH)) {
            let new = &value[piece.start - offset..piece.end - offset];
            watched.push(self.write_of(piece, new, writer));
        }
        self.watched = Some(watched);
        if !hits.is_empty() {
            self.note(Change::Watched { offset });
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "at most eight bytes")]
    fn write_of(&self, piece: Range<usize>, new: &[u8], writer: Writer) -> Write {
        let len = piece.len();
        let hpa = self.base + piece.start as u64;
        let (mut old, mut now) = ([0; WIDTH], [0; WIDTH]);
        old[..len].copy_from_slice(&self.bytes[piece]);
        now[..len].copy_from_slice(new);
        Write { step: UNSIGNED, hart: None, pc: 0, hpa, len: len as u8, old, new: now, writer }
    }

    /// All of RAM will be zero: that is written where it was not untouched.
    pub(super) fn log_clearing(&mut self) {
        let ranges = self.watched.as_ref().map_or(Vec::new(), |watched| watched.ranges.clone());
        for range in ranges {
            for page in range.start / PAGE..range.end.div_ceil(PAGE) {
                if self.flags[page] & UNTOUCHED == 0 {
                    let start = range.start.max(page * PAGE);
                    let len = range.end.min((page + 1) * PAGE) - start;
                    self.log_write(start, &super::ZEROS[..len], Writer::Loader);
                }
            }
        }
    }
}

/// A range in pieces that a [`Write`] can hold: itself, or by doublewords.
fn pieces(range: &Range<usize>, whole: bool) -> impl Iterator<Item = Range<usize>> + use<> {
    let Range { start, end } = *range;
    let mut at = start;
    std::iter::from_fn(move || {
        let next = if whole { end } else { ((at / WIDTH + 1) * WIDTH).min(end) };
        let piece = at..next;
        at = next;
        (!piece.is_empty()).then_some(piece)
    })
}
