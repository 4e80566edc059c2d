//! A subject that follows a recording: to any step of it, forwards and backwards.

use hart::Halt;
use session::{Position, Sink, Stop};
use traces::Reader;

use crate::base;
use crate::checkpoints::{Chain, Grain};
use crate::error::TravelError;
use crate::looking::{Armed, Hit, Looking};
use crate::place;
use crate::subject::{Around, Rest, Subject};
use crate::tape::Tape;

/// Steps between two looks at whether the user wants to go on: some milliseconds.
const CHUNK: u64 = 1 << 20;

/// Is told how far something long has come, in steps; says whether to go on.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// What a player is made of.
pub struct Source {
    /// A guest as it was configured when it was recorded, that has not run.
    pub subject: Box<dyn Subject>,
    /// The recording.
    pub reader: Reader,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// A subject that follows a recording.
pub struct Player {
    pub(crate) subject: Box<dyn Subject>,
    pub(crate) reader: Reader,
    tape: Tape,
    pub(crate) grain: Grain,
    pub(crate) chain: Chain,
    /// What is in memory before the first step.
    pub(crate) base: Vec<base::Page>,
    /// For each keyframe the pages of RAM that were written since the one before.
    written: Vec<Vec<u32>>,
    /// The run ended here.
    pub(crate) ended: Option<Stop>,
    pub(crate) last: Position,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Player").field("at", &self.position()).finish_non_exhaustive()
    }
}

impl Player {
    /// A player that stands at the recording's beginning.
    ///
    /// # Errors
    /// [`TravelError`] if the recording cannot be read, or is not one of this subject.
    pub fn open(source: Source, grain: Grain) -> Result<Self, TravelError> {
        let Source { mut subject, mut reader } = source;
        let last = reader.last().0;
        let base = base::load(&mut *subject);
        let chain = Chain::begin(&mut *subject, grain.budget);
        let tape = Tape::new(reader.inputs()?);
        let written = (0..reader.keyframes().len()).map(|index| written(&reader, index));
        let written = written.collect::<Result<_, _>>()?;
        let mut player =
            Self { subject, reader, tape, grain, chain, base, written, ended: None, last };
        player.load(0)?;
        Ok(player)
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.subject.position()
    }

    /// The end of what was recorded.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
    }

    /// Where the recording begins.
    #[must_use]
    pub fn first(&self) -> Position {
        self.reader.keyframes().first().map_or_else(Position::default, |frame| frame.at)
    }

    /// Why the run ended, if it stands at its end.
    #[must_use]
    pub fn ended(&self) -> Option<&Stop> {
        self.ended.as_ref()
    }

    /// The guest.
    #[must_use]
    pub fn subject(&self) -> &dyn Subject {
        &*self.subject
    }

    /// The guest. What changes it makes another run of it, until the next seek.
    pub fn subject_mut(&mut self) -> &mut dyn Subject {
        &mut *self.subject
    }

    /// The recording.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The recording.
    pub fn reader_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The last keyframe at or before a step.
    pub(crate) fn keyframe_before(&self, step: u64) -> Option<usize> {
        self.reader.keyframes().partition_point(|frame| frame.at.step <= step).checked_sub(1)
    }

    /// Goes to a keyframe.
    pub(crate) fn load(&mut self, index: usize) -> Result<(), TravelError> {
        let frame = self.reader.keyframes().get(index).ok_or(TravelError::NoKeyframe)?;
        let step = frame.at.step;
        let loaded = self.reader.load(index)?;
        place::go(&mut *self.subject, &self.base, &loaded, step)?;
        self.chain = Chain::begin(&mut *self.subject, self.grain.budget);
        self.arrived();
        Ok(())
    }

    /// The subject was put somewhere.
    fn arrived(&mut self) {
        self.ended = None;
        self.tape.seek(self.subject.position());
    }

    fn restore(&mut self, index: usize) -> Result<(), TravelError> {
        let step = self.chain.first_step();
        let restored = self.chain.restore(&mut *self.subject, index);
        restored.map_err(|damaged| TravelError::Keyframe { step, damaged })?;
        self.arrived();
        Ok(())
    }

    /// Goes to the first moment at which the guest has made so many steps, or to the end of the
    /// run if that comes first.
    ///
    /// # Errors
    /// [`TravelError`]; the player is then somewhere in the recording.
    pub fn seek(&mut self, step: u64, progress: Progress<'_>) -> Result<Position, TravelError> {
        let step = step.clamp(self.first().step, self.last.step);
        let here = self.position().step;
        let back = step < here;
        let keyframe = self.keyframe_before(step).ok_or(TravelError::NoKeyframe)?;
        let from_keyframe = step - self.reader.keyframes()[keyframe].at.step + self.grain.load;
        let checkpoint = if back { self.chain.before(step) } else { None };
        let from_checkpoint = match checkpoint {
            Some(_) if !back => 0,
            Some(index) => {
                let at = self.chain.marks().nth(index).map_or(0, |mark| mark.at.step);
                step - at
            }
            None if back => u64::MAX,
            None => step - here,
        };
        if from_keyframe < from_checkpoint {
            self.load(keyframe)?;
        } else if let Some(index) = checkpoint {
            self.restore(index)?;
        }
        let near = back && step.saturating_sub(self.position().step) <= self.grain.coarse;
        self.forward(step, if near { self.grain.fine } else { self.grain.coarse }, progress)?;
        Ok(self.position())
    }

    /// Runs on to a step, with a checkpoint every so many.
    fn forward(
        &mut self,
        to: u64,
        spacing: u64,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let begin = self.position().step;
        while self.position().step < to && self.ended.is_none() {
            let here = self.position().step;
            let next = (self.chain.last_step() + spacing).max(here + 1).min(to);
            self.run(next, &mut [], &mut Vec::new())?;
            if next < to {
                self.chain.push(&mut *self.subject);
            }
            if !progress(self.position().step - begin, to - begin) {
                return Err(TravelError::Interrupted);
            }
        }
        Ok(())
    }

    /// Runs on until a step, or something that is watched for.
    fn run(
        &mut self,
        to: u64,
        sinks: &mut [&mut dyn Sink],
        debug: &mut Vec<(usize, Halt)>,
    ) -> Result<(), TravelError> {
        let mut around = Around::new(&mut self.tape);
        for sink in sinks {
            around.sinks.push(&mut **sink);
        }
        match self.subject.run_until(&mut around, to) {
            Rest::StepLimit => {}
            Rest::Debug { hart, halt } => debug.push((hart, halt)),
            Rest::Stopped(stop) => self.ended = Some(stop),
        }
        match self.tape.missed() {
            Some(at) => Err(TravelError::Diverged { at }),
            None => Ok(()),
        }
    }

    /// Runs on to a step (or the end) and tells a sink all events of the way.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn play(
        &mut self,
        to: u64,
        sink: &mut dyn Sink,
        progress: Progress<'_>,
    ) -> Result<Position, TravelError> {
        let begin = self.position().step;
        while self.position().step < to && self.ended.is_none() {
            let next = (self.position().step + CHUNK).min(to);
            self.run(next, &mut [&mut *sink], &mut Vec::new())?;
            self.chain.push(&mut *self.subject);
            if !progress(self.position().step - begin, to - begin) {
                return Err(TravelError::Interrupted);
            }
        }
        Ok(self.position())
    }

    /// Runs on to a step and tells of everything that is looked for on the way: what happens in
    /// the steps from here on, before that step. Stops early where `found` says so.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn scan(
        &mut self,
        to: u64,
        looking: &Looking,
        found: &mut dyn FnMut(Hit) -> bool,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let mut armed = Armed::new(looking, self.subject.machine_mut())?;
        let scanned = self.scan_armed(to, &mut armed, found, progress);
        armed.disarm(self.subject.machine_mut());
        scanned
    }

    fn scan_armed(
        &mut self,
        to: u64,
        armed: &mut Armed<'_>,
        found: &mut dyn FnMut(Hit) -> bool,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let begin = self.position().step;
        let mut debug = Vec::new();
        while self.position().step < to && self.ended.is_none() {
            let here = self.position().step;
            let next = if armed.steps_singly() {
                here + 1
            } else {
                self.chain.last_step() + self.grain.coarse
            };
            let next = next.max(here + 1).min(to);
            armed.before(&*self.subject);
            let mut sinks: [&mut dyn Sink; 1] = [&mut armed.events];
            let sinks = if armed.wants_events { &mut sinks[..] } else { &mut [] };
            self.run(next, sinks, &mut debug)?;
            for (hart, halt) in debug.drain(..) {
                armed.halted(&mut *self.subject, hart, halt);
            }
            armed.collect(&mut *self.subject);
            for hit in armed.hits.drain(..) {
                if !found(hit) {
                    return Ok(());
                }
            }
            let far = self.position().step >= self.chain.last_step() + self.grain.coarse;
            if far && self.position().step < to {
                self.chain.push(&mut *self.subject);
            }
            if !progress(self.position().step - begin, to - begin) {
                return Err(TravelError::Interrupted);
            }
        }
        Ok(())
    }

    /// Looks back from here for the last thing that is looked for, as far as checkpoints go, and
    /// then from keyframe to keyframe; goes to just before it (see [`Hit::step`]). Where there is
    /// none the player is back where it was.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn run_back(
        &mut self,
        looking: &Looking,
        progress: Progress<'_>,
    ) -> Result<Option<Hit>, TravelError> {
        let (from, first) = (self.position().step, self.first().step);
        let pages = looking.pages(self.subject.machine());
        let mut end = from;
        while end > first {
            let begin = self.interval_before(end)?;
            if self.may_be(begin, pages.as_deref()) {
                let mut tell = |done, _| progress((from - end).saturating_add(done), from - first);
                if let Some(hit) = self.last_of(begin, end, looking, &mut tell)? {
                    self.seek(hit.step, progress)?;
                    return Ok(Some(hit));
                }
            }
            end = self.step_of(begin);
            if !progress(from - end, from - first) {
                return Err(TravelError::Interrupted);
            }
        }
        self.seek(from, progress)?;
        Ok(None)
    }

    /// Where the interval begins that ends with this step.
    fn interval_before(&self, end: u64) -> Result<Begin, TravelError> {
        if let Some(index) = self.chain.before(end - 1) {
            return Ok(Begin::Checkpoint(index));
        }
        let keyframe = self.keyframe_before(end - 1).ok_or(TravelError::NoKeyframe)?;
        Ok(Begin::Keyframe(keyframe))
    }

    fn step_of(&self, begin: Begin) -> u64 {
        match begin {
            Begin::Checkpoint(index) => self.chain.marks().nth(index).map_or(0, |it| it.at.step),
            Begin::Keyframe(index) => self.reader.keyframes()[index].at.step,
        }
    }

    /// Whether something that needs a write to one of these pages can be in an interval.
    fn may_be(&mut self, begin: Begin, pages: Option<&[u32]>) -> bool {
        let Some(written) = pages else { return true };
        match begin {
            Begin::Checkpoint(index) => self.chain.wrote(&mut *self.subject, index, written),
            Begin::Keyframe(index) => self.may_hit(index, pages),
        }
    }

    /// The last thing that is looked for in an interval.
    fn last_of(
        &mut self,
        begin: Begin,
        end: u64,
        looking: &Looking,
        progress: Progress<'_>,
    ) -> Result<Option<Hit>, TravelError> {
        match begin {
            Begin::Checkpoint(index) => self.restore_or_stay(index)?,
            Begin::Keyframe(index) => self.load(index)?,
        }
        let mut last = None;
        let mut keep = |hit: Hit| {
            last = Some(hit).filter(|hit| hit.step < end).or(last.take());
            true
        };
        self.scan(end, looking, &mut keep, progress)?;
        Ok(last)
    }

    fn restore_or_stay(&mut self, index: usize) -> Result<(), TravelError> {
        let at = self.chain.marks().nth(index).map_or(0, |mark| mark.at.step);
        if self.position().step == at && index + 1 == self.chain.len() {
            return Ok(());
        }
        self.restore(index)
    }

    /// Whether one of these pages was written between a keyframe and the next one.
    pub(crate) fn may_hit(&self, keyframe: usize, pages: Option<&[u32]>) -> bool {
        let Some(pages) = pages else { return true };
        // What was written before a keyframe is in that keyframe.
        if keyframe + 1 >= self.reader.keyframes().len() {
            return true;
        }
        let written = &self.written[keyframe + 1];
        pages.iter().any(|page| written.binary_search(page).is_ok())
    }
}

/// From where an interval is looked through.
#[derive(Clone, Copy)]
enum Begin {
    Checkpoint(usize),
    Keyframe(usize),
}

/// The pages of RAM that were written before a keyframe, since the one before; rising.
fn written(reader: &Reader, index: usize) -> Result<Vec<u32>, TravelError> {
    let pages = reader.keyframe_pages(index)?.into_iter();
    let ram = pages.filter(|id| id.space == base::RAM);
    Ok(ram.filter_map(|id| u32::try_from(id.page).ok()).collect())
}
