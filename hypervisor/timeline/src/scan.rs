//! Looking for something in a run, forwards and backwards.

use session::Sink;

use crate::error::TravelError;
use crate::looking::{Armed, Hit, Looking};
use crate::player::{LOOK, Player, Progress};

/// From where an interval is looked through.
#[derive(Clone, Copy)]
enum Begin {
    Checkpoint(usize),
    Keyframe(usize),
}

impl Player {
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
        self.scan_with(to, self.grain.coarse, looking, found, progress)
    }

    /// The same without checkpoints, for who does not want to go back.
    pub(crate) fn scan_only(
        &mut self,
        to: u64,
        looking: &Looking,
        found: &mut dyn FnMut(Hit) -> bool,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        self.scan_with(to, u64::MAX, looking, found, progress)
    }

    fn scan_with(
        &mut self,
        to: u64,
        spacing: u64,
        looking: &Looking,
        found: &mut dyn FnMut(Hit) -> bool,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let mut armed = Armed::new(looking, self.subject.machine_mut())?;
        let scanned = self.scan_armed((to, spacing), &mut armed, found, progress);
        armed.disarm(self.subject.machine_mut());
        scanned
    }

    fn scan_armed(
        &mut self,
        (to, spacing): (u64, u64),
        armed: &mut Armed<'_>,
        found: &mut dyn FnMut(Hit) -> bool,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let begin = self.position().step;
        let mut debug = Vec::new();
        while (self.position().step < to || self.between) && self.ended.is_none() {
            let here = self.position().step;
            let due = self.chain.last_step().saturating_add(spacing);
            let most = if armed.steps_singly() { 1 } else { LOOK };
            let next = due.max(here + 1).min(here + most).min(to);
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
            if (due..to).contains(&self.position().step) {
                self.checkpoint();
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
        if self.meddled {
            self.seek(from, progress)?;
        }
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
            Begin::Keyframe(index) => self.load(index, progress)?,
        }
        let mut last = None;
        let mut keep = |hit: Hit| {
            last = Some(hit);
            true
        };
        self.scan(end, looking, &mut keep, progress)?;
        Ok(last)
    }

    fn restore_or_stay(&mut self, index: usize) -> Result<(), TravelError> {
        let at = self.chain.marks().nth(index).map_or(0, |mark| mark.at.step);
        let there = self.position().step == at && !self.between;
        if there && index + 1 == self.chain.len() {
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
