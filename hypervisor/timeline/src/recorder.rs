//! Recording a run: every input before the guest gets it, the events, and keyframes.
//!
//! ```text
//!   run ──▶ slice end: inputs ──▶ tail of the file         (committed before the guest sees them)
//!    │  └─▶ exits, console ─────▶ tail of the file
//!    └────▶ keyframe: state, pages written since the last one ──▶ packer's thread ──▶ file
//! ```
//! Packing takes longer than the guest may wait for it, so a thread does it. Keyframes only make
//! seeking fast: they come as densely as a budget of bytes per step allows. A run that no file
//! records can be kept in memory the same way: see [`Kept`].

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use machine::Tracking;
use session::{Event, Inputs, Position, Sink, Stop};
use traces::{End, Frame, InputRecord, Packed, Packer, StateHash, Writer};

use crate::base;
use crate::history::History;
use crate::kept;
use crate::saved::{Kept, Why, refuse};
use crate::snapshot::{Origin, know, put_on_record, whole};
use crate::subject::{Around, Rest, Subject};
use crate::tape::Recording;

/// Steps to wait where a keyframe is due and the one before is still being packed.
const BUSY: u64 = 4 << 20;

/// How densely keyframes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    /// Steps between keyframes at least. Where there are few of them, the run waits until the
    /// keyframe before is packed, so that keyframes do not depend on how fast that is.
    pub min_steps: u64,
    /// Bytes of keyframes that 10^9 steps may take.
    pub bytes_per_gigastep: u64,
}

/// A third of a second of running, and what a disk can well hold.
impl Default for Spacing {
    fn default() -> Self {
        Self { min_steps: 48 << 20, bytes_per_gigastep: 60 << 20 }
    }
}

/// What happens where the disk is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// The guest waits until there is room again.
    #[default]
    Pause,
    /// The run goes on, and its recording ends there.
    Continue,
    /// The run ends.
    Stop,
}

/// What to do where the disk is full, and how to wait.
pub struct Full<'a> {
    /// The policy.
    pub policy: OnFull,
    /// Waits a moment, for [`OnFull::Pause`]; false if the user does not want to wait any more.
    pub wait: &'a mut dyn FnMut(&traces::WriteError) -> bool,
}

impl std::fmt::Debug for Full<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Full").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Which events are put on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Events {
    All,
    /// What is written to the console.
    Console,
    None,
}

/// A recording that goes on.
#[derive(Debug)]
pub struct Recorder {
    /// Nothing once the recording ended before the run did, or if it goes to memory.
    writer: Option<Writer>,
    kept: Option<Kept>,
    to_packer: Option<SyncSender<Work>>,
    from_packer: Receiver<Packed>,
    in_flight: bool,
    events: Events,
    /// When the run last asked for an input.
    last_asked: Option<(Position, u64)>,
    spacing: Spacing,
    // For the budget.
    keyframe_bytes: u64,
    first_step: u64,
    next_step: u64,
    last_hash: Option<StateHash>,
    /// What a subject began with that has run already.
    origin: Option<Origin>,
    /// Why it ended early.
    failed: Option<traces::WriteError>,
}

/// How a recorded run ended.
#[derive(Debug)]
pub struct Recorded {
    /// Why the run ended.
    pub stop: Stop,
    /// The end of the recording's hash chain.
    pub head: Option<[u8; 32]>,
    /// Why the recording ended before the run did.
    pub failed: Option<traces::WriteError>,
    /// What is kept of it in memory.
    pub kept: Option<Kept>,
    /// An error of this program ended it, which goes on when this has been looked at.
    pub panicked: Option<Box<dyn Any + Send>>,
}

impl Recorder {
    /// A recorder into a new file. `start` starts the packer's thread.
    pub fn new(
        writer: Writer,
        with_events: bool,
        spacing: Spacing,
        start: impl FnOnce(Box<dyn FnOnce() + Send>),
    ) -> Self {
        let (to_packer, work) = sync_channel::<Work>(1);
        let (packed, from_packer) = sync_channel(1);
        start(Box::new(move || pack(&work, &packed)));
        let events = if with_events { Events::All } else { Events::None };
        let (writer, to_packer) = (Some(writer), Some(to_packer));
        Self { writer, to_packer, events, spacing, ..Self::idle(from_packer) }
    }

    /// One that keeps a run in memory.
    #[must_use]
    pub fn in_memory(kept: Kept) -> Self {
        let (_, nobody) = sync_channel(1);
        Self { kept: Some(kept), events: Events::Console, ..Self::idle(nobody) }
    }

    fn idle(from_packer: Receiver<Packed>) -> Self {
        Self {
            writer: None,
            kept: None,
            to_packer: None,
            from_packer,
            in_flight: false,
            events: Events::None,
            last_asked: None,
            spacing: Spacing::default(),
            keyframe_bytes: 0,
            first_step: 0,
            next_step: 0,
            last_hash: None,
            origin: None,
            failed: None,
        }
    }

    /// For a subject that goes on from somewhere: its first keyframe has all that differs from
    /// what was loaded at its begin.
    #[must_use]
    pub fn resuming(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// Runs a subject to its end and records it.
    pub fn record(
        mut self,
        subject: &mut dyn Subject,
        around: Around<'_>,
        max_steps: Option<u64>,
        full: &mut Full<'_>,
    ) -> Recorded {
        // Nothing of the recorder is left in the middle: its parts are changed as a whole.
        let run = || self.run(subject, around, max_steps, full);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(stop) => self.end(subject, stop),
            Err(panic) => Recorded {
                stop: Stop::Crashed { reason: "an internal error".to_owned() },
                head: None,
                failed: self.failed,
                kept: self.kept,
                panicked: Some(panic),
            },
        }
    }

    fn run(
        &mut self,
        subject: &mut dyn Subject,
        mut around: Around<'_>,
        max_steps: Option<u64>,
        full: &mut Full<'_>,
    ) -> Stop {
        let limit = max_steps.unwrap_or(u64::MAX);
        self.begin(subject, &mut around, full);
        loop {
            if self.failed.is_some() && full.policy == OnFull::Stop {
                self.last_keyframe(subject, full);
                break Stop::User;
            }
            let next = self.next_step.max(subject.position().step + 1).min(limit);
            match self.run_until(subject, &mut around, next, full) {
                Rest::StepLimit if subject.position().step >= limit => {
                    // The end is only the user's: the state before it is the run's last one.
                    self.last_keyframe(subject, full);
                    break self.end_at_limit(subject, &mut around, full);
                }
                Rest::StepLimit => self.keyframe_if_due(subject, full),
                Rest::Asked => self.asked(subject, &mut around),
                Rest::Debug { hart, halt } => {
                    if halt.is_before() {
                        subject.machine_mut().hart_mut(hart).0.pass_once();
                    }
                }
                Rest::Stopped(stop) => {
                    self.last_keyframe(subject, full);
                    break stop;
                }
            }
        }
    }

    /// The first keyframe, without what was loaded before the first step.
    fn begin(&mut self, subject: &mut dyn Subject, around: &mut Around<'_>, full: &mut Full<'_>) {
        let here = subject.position().step;
        self.first_step = here;
        let (base, resumed) = match self.origin.take() {
            Some(Origin(base)) => {
                let frame = whole(subject, &base);
                (base, Some(frame))
            }
            None => {
                let _ = self.run_until(subject, around, here, full);
                (base::pages(subject), None)
            }
        };
        if let Some(history) = self.history() {
            history.begin(&base);
        }
        if let Some(packer) = &self.to_packer {
            // A packer that is gone is noticed at the first keyframe.
            let _ = packer.send(Work::Base(base));
        }
        subject.machine_mut().memory_mut().track(Tracking::Numbers);
        if let Some(overlay) = subject.overlay() {
            overlay.track(true);
        }
        let first = resumed.unwrap_or_else(|| frame_of(subject));
        self.keyframe(subject, first);
        self.collect(true, full);
        // What a recording has to begin with is not part of the budget.
        self.keyframe_bytes = 0;
    }

    fn run_until(
        &mut self,
        subject: &mut dyn Subject,
        around: &mut Around<'_>,
        step: u64,
        full: &mut Full<'_>,
    ) -> Rest {
        let rest = self.within(around, full, |around| subject.run_until(around, step));
        self.disk_seen(subject, full);
        rest
    }

    fn end_at_limit(
        &mut self,
        subject: &mut dyn Subject,
        around: &mut Around<'_>,
        full: &mut Full<'_>,
    ) -> Stop {
        self.within(around, full, |around| subject.end_at_limit(around))
    }

    /// What became known of the disk's image since the last time.
    fn disk_seen(&mut self, subject: &mut dyn Subject, full: &mut Full<'_>) {
        let Some(witness) = subject.witness() else { return };
        for seen in witness.take_seen() {
            self.write(full, |writer| put_on_record(writer, &seen));
            if let Some(history) = self.history() {
                history.seen(seen);
            }
        }
    }

    /// Something that the subject does, with inputs and events on record.
    fn within<T>(
        &mut self,
        around: &mut Around<'_>,
        full: &mut Full<'_>,
        run: impl FnOnce(&mut Around<'_>) -> T,
    ) -> T {
        let events = self.events;
        let mut asked = self.last_asked;
        let shared = RefCell::new((&mut *self, full));
        let mut record = |input: InputRecord| {
            let (recorder, full) = &mut *shared.borrow_mut();
            recorder.write(full, |writer| writer.input(&input));
            if let Some(history) = recorder.history() {
                history.input(&input);
            }
        };
        let mut sink = EventSink {
            events,
            write: &mut |event| {
                let (recorder, full) = &mut *shared.borrow_mut();
                recorder.write(full, |writer| writer.event(event));
                if let Some(history) = recorder.history() {
                    history.event(event);
                }
            },
        };
        let mut inputs = Recording::new(&mut *around.inputs, &mut asked, &mut record);
        let mut inner = Around::new(&mut inputs as &mut dyn Inputs);
        for other in &mut around.sinks {
            inner.sinks.push(&mut **other);
        }
        inner.sinks.push(&mut sink);
        inner.server = around.server.as_deref_mut();
        if let Some(stopwatch) = &mut around.stopwatch {
            inner.stopwatch = Some(&mut **stopwatch);
        }
        let done = run(&mut inner);
        self.last_asked = asked;
        done
    }

    fn history(&mut self) -> Option<&mut History> {
        self.kept.as_mut().map(|kept| &mut kept.history)
    }

    /// A watcher asks for what the run itself does not know.
    fn asked(&mut self, subject: &mut dyn Subject, around: &mut Around<'_>) {
        let Some(server) = around.server.as_deref_mut() else { return };
        let Some(kept) = &mut self.kept else {
            let why = "this run is recorded into a file: that has all of it";
            return refuse(server, subject.position(), why);
        };
        if let Some(request) = server.take_left() {
            kept.answer(subject, &Why::Asked, server, request);
        }
    }

    /// Writes something, with the policy for a full disk.
    fn write(
        &mut self,
        full: &mut Full<'_>,
        mut write: impl FnMut(&mut Writer) -> Result<(), traces::WriteError>,
    ) {
        let Some(writer) = &mut self.writer else { return };
        loop {
            let error = match write(writer) {
                Ok(()) => return,
                Err(error) => error,
            };
            let waits = full.policy == OnFull::Pause && matches!(error, traces::WriteError::Full);
            if !waits || !(full.wait)(&error) {
                // What was written stays, and is a recording up to here.
                self.writer = None;
                self.failed = Some(error);
                return;
            }
        }
    }

    /// Steps until a keyframe that cannot be made now is tried again.
    fn busy(&self) -> u64 {
        self.spacing.min_steps.min(BUSY)
    }

    fn keyframe_if_due(&mut self, subject: &mut dyn Subject, full: &mut Full<'_>) {
        self.collect(self.spacing.min_steps < BUSY, full);
        let here = subject.position().step;
        let kept = self.kept.as_ref().is_some_and(|kept| kept.history.wants_keyframes());
        if self.writer.is_none() && !kept {
            // There will be no other either: nothing to come back for.
            self.next_step = u64::MAX;
        }
        if here < self.next_step {
            return;
        }
        if self.in_flight {
            self.next_step = here + self.busy();
            return;
        }
        if kept {
            let frame = frame_of(subject);
            return self.keyframe(subject, frame);
        }
        // The next one has to fit into the budget, if it is as large as those so far.
        let steps = here - self.first_step;
        let allowed =
            u128::from(self.spacing.bytes_per_gigastep) * u128::from(steps) / 1_000_000_000;
        if u128::from(self.keyframe_bytes) > allowed {
            self.next_step = here + self.busy();
            return;
        }
        let frame = frame_of(subject);
        self.keyframe(subject, frame);
    }

    /// Puts a keyframe where keyframes go.
    fn keyframe(&mut self, subject: &mut dyn Subject, frame: Frame) {
        let mut spacing = self.spacing.min_steps;
        if let Some(history) = self.history() {
            spacing = history.keyframe(subject, frame).max(spacing);
        } else {
            let packer = self.to_packer.as_ref();
            let sent = packer.map(|packer| packer.send(Work::Frame(frame)).is_ok());
            self.in_flight = sent == Some(true);
        }
        self.next_step = subject.position().step.saturating_add(spacing);
    }

    /// Writes the keyframe that is packed, if one is; or waits for it.
    fn collect(&mut self, wait: bool, full: &mut Full<'_>) {
        if !self.in_flight {
            return;
        }
        let packed = if wait {
            self.from_packer.recv().ok()
        } else {
            match self.from_packer.try_recv() {
                Ok(packed) => Some(packed),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => None,
            }
        };
        self.in_flight = false;
        let Some(mut packed) = packed else { return };
        self.last_hash = Some(*packed.hash());
        self.keyframe_bytes += packed.bytes();
        self.write(full, |writer| writer.keyframe(&mut packed));
    }

    /// The keyframe of the run's end.
    fn last_keyframe(&mut self, subject: &mut dyn Subject, full: &mut Full<'_>) {
        self.collect(true, full);
        if let Some(history) = self.history() {
            history.last_keyframe(subject, frame_of);
        } else if self.writer.is_some() {
            let frame = frame_of(subject);
            self.keyframe(subject, frame);
            self.collect(true, full);
        }
    }

    fn end(mut self, subject: &mut dyn Subject, stop: Stop) -> Recorded {
        subject.machine_mut().memory_mut().track(Tracking::Off);
        if let Some(overlay) = subject.overlay() {
            overlay.track(false);
        }
        self.to_packer = None;
        let end = self.last_hash.map(|hash| End {
            at: subject.position(),
            time_ns: subject.machine().now_ns(),
            stop: stop.clone(),
            hash,
        });
        let mut head = None;
        if let (Some(mut writer), Some(end)) = (self.writer.take(), end) {
            match writer.end(&end) {
                Ok(hash) => head = Some(hash),
                Err(error) => self.failed = Some(error),
            }
        }
        Recorded { stop, head, failed: self.failed, kept: self.kept, panicked: None }
    }
}

/// What the packer's thread gets.
enum Work {
    /// What is in memory before the first step.
    Base(Vec<base::Page>),
    Frame(Frame),
}

fn pack(work: &Receiver<Work>, packed: &SyncSender<Packed>) {
    let mut packer = Packer::new();
    while let Ok(work) = work.recv() {
        match work {
            Work::Base(pages) => know(&mut packer, &pages),
            Work::Frame(frame) => {
                if packed.send(packer.pack(frame)).is_err() {
                    return;
                }
            }
        }
    }
}

/// The subject here: its state, and the pages that were written since the last time.
fn frame_of(subject: &mut dyn Subject) -> Frame {
    let (at, time_ns) = (subject.position(), subject.machine().now_ns());
    let dirtied = subject.machine_mut().memory_mut().next_epoch();
    let memory = subject.machine().platform().memory();
    let content = |page| memory.page(page).map(|bytes| Arc::new(*bytes));
    let mut pages: Vec<_> =
        dirtied.iter().map(|it| (base::ram(it.page), content(it.page))).collect();
    if let Some(overlay) = subject.overlay() {
        let dirtied = overlay.next_epoch();
        pages.extend(dirtied.iter().map(|it| (base::disk(it.page), overlay.page(it.page))));
    }
    Frame { at, time_ns, state: kept::save(subject), pages }
}

/// Puts events on record.
struct EventSink<'a> {
    events: Events,
    write: &'a mut dyn FnMut(&Event),
}

impl Sink for EventSink<'_> {
    fn wants_exits(&self) -> bool {
        self.events == Events::All
    }

    fn event(&mut self, event: &Event) {
        let wanted = match self.events {
            // Inputs are on record already.
            Events::All => !matches!(event, Event::Input { .. }),
            Events::Console => matches!(event, Event::Console { .. }),
            Events::None => false,
        };
        if wanted {
            (self.write)(event);
        }
    }
}
