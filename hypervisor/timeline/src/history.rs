//! The past of a run that no file records: all of its inputs, and keyframes within a budget.
//!
//! ```text
//!   begin                                                       now
//!   ●─────────────────────●───────────●──────●───●──●─●─●─●─●─●──┤    keyframes
//!   always                sparse where long ago        dense near now
//! ```
//! A keyframe has the pages that were written since the one before. Where one is left out its
//! pages go to the next one, which may have newer ones of them. The first is always there, and so
//! are all inputs: whatever is left out, the run can be made again from its first step.

use std::collections::VecDeque;
use std::sync::Arc;

use devices::virtio::block::{Overlay, Seen};
use machine::{PAGE, Tracking};
use session::{Event, Position};
use traces::{End, Frame, Header, InputRecord, MemoryHash, Packer, PageId, WriteError, Writer};

use crate::base;
use crate::kept;
use crate::saved::Why;
use crate::snapshot::put_on_record;
use crate::subject::Subject;

/// Bytes of console output that are kept, the newest.
const CONSOLE_KEPT: usize = 1 << 20;
/// Bytes that an input takes beside what was typed.
const INPUT_BYTES: usize = size_of::<InputRecord>();
/// Steps that have to be between two keyframes for each page of the first: copying one takes as
/// long as a hundredth of them.
const STEPS_PER_PAGE: u64 = 1 << 15;

/// A page of a keyframe; `None`: it is all zero.
type Content = (PageId, Option<Arc<[u8; PAGE]>>);

/// What is kept of a run.
#[derive(Debug)]
pub struct History {
    // Fixed configuration.
    budget: usize,
    // Runtime state.
    /// What was in memory before the first step.
    base: MemoryHash,
    base_pages: Vec<u32>,
    inputs: Vec<InputRecord>,
    seen: Vec<Seen>,
    /// Bytes of inputs, and of what was seen of the disk.
    bytes_in: usize,
    console: VecDeque<Event>,
    console_bytes: usize,
    frames: Vec<Frame>,
    frame_bytes: usize,
    /// The guest writes to more memory than the budget is: there is no keyframe but the first.
    first_only: bool,
    /// The end of the run, where no keyframe is of it.
    end: Option<Frame>,
    gave_up: bool,
}

/// What a history holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Inputs.
    pub inputs: usize,
    /// Keyframes.
    pub keyframes: usize,
    /// Bytes of these.
    pub bytes: usize,
}

impl History {
    /// A history whose keyframes take at most so many bytes; and its inputs, with what is known of
    /// the disk's image, at most as many again.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            base: MemoryHash::new(),
            base_pages: Vec::new(),
            inputs: Vec::new(),
            seen: Vec::new(),
            bytes_in: 0,
            console: VecDeque::new(),
            console_bytes: 0,
            frames: Vec::new(),
            frame_bytes: 0,
            first_only: false,
            end: None,
            gave_up: false,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn held(&self) -> Held {
        let (inputs, keyframes) = (self.inputs.len(), self.frames.len());
        Held { inputs, keyframes, bytes: self.frame_bytes + self.bytes_in }
    }

    /// There were more inputs than it takes: it holds nothing any more.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Where its keyframes are, by rising position.
    pub fn keyframes(&self) -> impl ExactSizeIterator<Item = Position> {
        self.frames.iter().map(|frame| frame.at)
    }

    /// All inputs, in their order.
    #[must_use]
    pub fn inputs(&self) -> &[InputRecord] {
        &self.inputs
    }

    /// This is in memory before the first step.
    pub(crate) fn begin(&mut self, base: &[base::Page]) {
        for (page, content) in base {
            self.base.update(base::ram(*page), Some(content));
            self.base_pages.push(*page);
        }
    }

    pub(crate) fn input(&mut self, record: &InputRecord) {
        let typed =
            if let session::Input::Console(bytes) = &record.input { bytes.len() } else { 0 };
        if self.has_room(INPUT_BYTES + typed) {
            self.inputs.push(record.clone());
        }
    }

    pub(crate) fn seen(&mut self, seen: Seen) {
        let page = if matches!(seen, Seen::Page { .. }) { PAGE } else { 0 };
        if self.has_room(size_of::<Seen>() + page) {
            self.seen.push(seen);
        }
    }

    /// Whether more can come in; without it there is no history at all.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes_in += bytes;
        if self.bytes_in > self.budget && !self.gave_up {
            *self = Self { gave_up: true, ..Self::new(self.budget) };
        }
        !self.gave_up
    }

    /// What the guest wrote to its console.
    pub(crate) fn event(&mut self, event: &Event) {
        let Event::Console { bytes, .. } = event else { return };
        if self.gave_up {
            return;
        }
        self.console_bytes += bytes.len();
        self.console.push_back(event.clone());
        while self.console_bytes > CONSOLE_KEPT {
            let Some(Event::Console { bytes, .. }) = self.console.pop_front() else { return };
            self.console_bytes -= bytes.len();
        }
    }

    /// Whether keyframes are of any use.
    pub(crate) fn wants_keyframes(&self) -> bool {
        !self.first_only && !self.gave_up
    }

    /// Keeps a keyframe, and says for how many steps there should be no other.
    pub(crate) fn keyframe(&mut self, subject: &mut dyn Subject, mut frame: Frame) -> u64 {
        let zero = |content: &[u8; PAGE]| content.iter().all(|byte| *byte == 0);
        frame.pages.sort_by_key(|(id, _)| *id);
        for (_, content) in &mut frame.pages {
            if content.as_deref().is_some_and(zero) {
                *content = None;
            }
        }
        let steps = frame.pages.len() as u64 * STEPS_PER_PAGE;
        self.frame_bytes += bytes_of(&frame);
        self.frames.push(frame);
        while self.frame_bytes > self.budget && self.frames.len() > 1 {
            self.thin();
        }
        if self.first_only {
            subject.machine_mut().memory_mut().track(Tracking::Off);
            if let Some(overlay) = subject.overlay() {
                overlay.track(false);
            }
        }
        steps
    }

    /// Leaves out one keyframe: where they are dense, compared with how long ago it was.
    fn thin(&mut self) {
        let now = self.frames.last().map_or(0, |frame| frame.at.step);
        let density = |i: usize| {
            let gap = self.frames[i + 1].at.step - self.frames[i - 1].at.step;
            let age = (now - self.frames[i].at.step).max(1);
            u128::from(gap) * 1024 / u128::from(age)
        };
        let Some(index) = (1..self.frames.len() - 1).min_by_key(|i| density(*i)) else {
            self.frames.truncate(1);
            self.frame_bytes = self.frames.iter().map(bytes_of).sum();
            self.first_only = true;
            return;
        };
        let gone = self.frames.remove(index);
        let next = &mut self.frames[index];
        self.frame_bytes -= bytes_of(&gone) + bytes_of(next);
        next.pages = merged(gone.pages, std::mem::take(&mut next.pages));
        self.frame_bytes += bytes_of(next);
    }

    /// The run is about to end.
    pub(crate) fn last_keyframe(
        &mut self,
        subject: &mut dyn Subject,
        frame_of: impl Fn(&mut dyn Subject) -> Frame,
    ) {
        if self.wants_keyframes() {
            let frame = frame_of(subject);
            self.keyframe(subject, frame);
        }
        if self.first_only && !self.gave_up {
            self.end = Some(self.moment(subject));
        }
    }

    /// This moment, with everything in memory.
    fn moment(&self, subject: &mut dyn Subject) -> Frame {
        let (at, time_ns) = (subject.position(), subject.machine().now_ns());
        let mut pages: Vec<Content> = Vec::new();
        pages.extend(self.base_pages.iter().map(|page| (base::ram(*page), None)));
        let now = base::pages(subject).into_iter();
        // The last word on a page holds.
        pages.extend(now.map(|(page, content)| (base::ram(page), Some(content))));
        if let Some(overlay) = subject.overlay() {
            let numbers = Overlay::pages(overlay).into_iter();
            pages.extend(numbers.map(|page| (base::disk(page), overlay.page(page))));
        }
        Frame { at, time_ns, state: kept::save(subject), pages }
    }

    /// The file of a recording of this run up to where it is now. A run that has not ended stands
    /// anywhere within a step: there is no keyframe of that, for nobody can stop there again.
    ///
    /// # Errors
    /// [`WriteError`]
    pub(crate) fn write(
        &self,
        header: &Header,
        subject: &dyn Subject,
        why: &Why<'_>,
    ) -> Result<Vec<u8>, WriteError> {
        let mut writer = Writer::in_memory(header)?;
        let mut packer = Packer::after(self.base.clone());
        for seen in &self.seen {
            put_on_record(&mut writer, seen)?;
        }
        let mut inputs = self.inputs.iter().peekable();
        let mut console = self.console.iter().peekable();
        let mut records_before = |writer: &mut Writer, seq: u64| {
            while let Some(input) = inputs.next_if(|input| input.at.seq < seq) {
                while let Some(event) = console.next_if(|it| it.position().seq < input.at.seq) {
                    writer.event(event)?;
                }
                writer.input(input)?;
            }
            while let Some(event) = console.next_if(|it| it.position().seq < seq) {
                writer.event(event)?;
            }
            Ok(())
        };
        let mut hash = None;
        for frame in self.frames.iter().chain(&self.end).cloned() {
            records_before(&mut writer, frame.at.seq)?;
            let mut packed = packer.pack(frame);
            hash = Some(*packed.hash());
            writer.keyframe(&mut packed)?;
        }
        records_before(&mut writer, u64::MAX)?;
        let (at, time_ns) = (subject.position(), subject.machine().now_ns());
        if let (Why::Ended(stop), Some(hash)) = (why, hash) {
            writer.end(&End { at, time_ns, stop: (*stop).clone(), hash })?;
        } else {
            writer.reach(at, time_ns)?;
            writer.close()?;
        }
        Ok(writer.take_bytes())
    }
}

/// Bytes that a keyframe takes.
fn bytes_of(frame: &Frame) -> usize {
    let contents = frame.pages.iter().filter(|(_, content)| content.is_some()).count();
    frame.state.len() + frame.pages.len() * size_of::<Content>() + contents * PAGE
}

/// Pages of two keyframes, each in order: the newer content of a page holds.
fn merged(older: Vec<Content>, newer: Vec<Content>) -> Vec<Content> {
    let mut pages = Vec::with_capacity(older.len().max(newer.len()));
    let mut older = older.into_iter().peekable();
    for (id, content) in newer {
        while let Some(page) = older.next_if(|(old, _)| *old < id) {
            pages.push(page);
        }
        older.next_if(|(old, _)| *old == id);
        pages.push((id, content));
    }
    pages.extend(older);
    pages
}

#[cfg(test)]
mod tests;
