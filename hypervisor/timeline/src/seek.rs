//! Moments that are not steps: a hart's step back, a guest time, an event.

use session::{Position, Sink};

use crate::error::TravelError;
use crate::player::{Player, Progress};

impl Player {
    /// One step back: of the whole guest, or of one hart, to where its last step has not happened.
    /// False, and nothing has moved, if there is none.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn step_back(
        &mut self,
        hart: Option<usize>,
        progress: Progress<'_>,
    ) -> Result<bool, TravelError> {
        let here = self.position().step;
        let Some(hart) = hart else {
            if here <= self.first().step {
                return Ok(false);
            }
            self.seek(here - 1, progress)?;
            return Ok(true);
        };
        let done = self.hart_steps(hart);
        self.seek_before_hart_step(hart, done, progress)
    }

    pub(crate) fn hart_steps(&self, hart: usize) -> u64 {
        self.subject.machine().harts().get(hart).map_or(0, hart::Hart::steps)
    }

    /// Goes to the last moment at which a hart had made fewer steps than that.
    fn seek_before_hart_step(
        &mut self,
        hart: usize,
        steps: u64,
        progress: Progress<'_>,
    ) -> Result<bool, TravelError> {
        let here = self.position().step;
        // A place before it: a checkpoint, or a keyframe farther back.
        let near = match self.chain.before_hart_step(hart, steps) {
            Some(index) => {
                let next = self.chain.marks().nth(index + 1).map_or(here, |mark| mark.at.step);
                self.restore(index)?;
                next - self.position().step <= self.grain.coarse
            }
            None => {
                let Some(keyframe) = self.keyframe_before_hart_step(hart, steps)? else {
                    return Ok(false);
                };
                self.load(keyframe, progress)?;
                false
            }
        };
        let spacing = if near { self.grain.fine } else { self.grain.coarse };
        let machine = self.subject.machine_mut();
        machine.stop_hart_after(Some((hart, steps.saturating_sub(1))));
        let gone = self.forward(here, spacing, progress);
        self.subject.machine_mut().stop_hart_after(None);
        gone?;
        // Once more from the checkpoint before: with finer ones, and up to its step only.
        let found = self.position().step;
        let before = self.chain.before(found).ok_or(TravelError::NoKeyframe)?;
        self.restore(before)?;
        self.forward(found, self.grain.fine, progress)?;
        Ok(true)
    }

    /// Goes to the first moment at which guest time is at least this.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn seek_time(
        &mut self,
        time_ns: u64,
        progress: Progress<'_>,
    ) -> Result<Position, TravelError> {
        let earlier = |frame: &traces::KeyframeInfo| frame.time_ns < time_ns;
        let before = self.reader.keyframes().partition_point(earlier).saturating_sub(1);
        let mut low = self.reader.keyframes().get(before).map_or(0, |frame| frame.at.step);
        self.seek(low, progress)?;
        // Time runs with the steps, and jumps ahead where everybody waits.
        let now = |player: &Self| player.subject.machine().now_ns();
        while now(self) < time_ns && self.position().step < self.last.step {
            low = self.position().step;
            let ahead = (time_ns - now(self)).clamp(1, self.grain.coarse);
            self.seek(low + ahead, progress)?;
            if self.ended.is_some() {
                break;
            }
        }
        let mut high = self.position().step;
        while high > low + 1 {
            let middle = low + (high - low) / 2;
            self.seek(middle, progress)?;
            if now(self) < time_ns { low = middle } else { high = middle }
        }
        self.seek(high, progress)
    }

    /// Goes to the first moment at which the event with this number has been sent.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn seek_event(
        &mut self,
        seq: u64,
        progress: Progress<'_>,
    ) -> Result<Position, TravelError> {
        if seq >= self.last.seq.max(1) {
            let (asked, last) = (seq, self.last.seq.saturating_sub(1));
            return Err(TravelError::Query(format!(
                "event {asked} is not recorded: 0 to {last} are"
            )));
        }
        let frames = self.reader.keyframes();
        let before = frames.partition_point(|frame| frame.at.seq <= seq).saturating_sub(1);
        let begin = frames.get(before).map_or(0, |frame| frame.at.step);
        // Where the event is on record, that is its step; else the run is made again.
        let recorded = self.reader.events(Position { step: begin, seq: 0 });
        let recorded = recorded.filter_map(Result::ok).map(|event| event.position());
        if let Some(at) = { recorded }.find(|at| at.seq >= seq).filter(|at| at.seq == seq) {
            return self.seek_sent(seq, at.step, progress);
        }
        self.seek(begin, progress)?;
        let mut finder = Finder { seq, step: None };
        while finder.step.is_none() && self.ended.is_none() && self.position() < self.last {
            let to = self.position().step + self.grain.coarse;
            self.play(to, &mut finder, progress)?;
        }
        self.seek_sent(seq, finder.step.unwrap_or(self.last.step), progress)
    }

    /// Goes to the first moment after this event of a step: where nobody could run it was sent on
    /// the way to the next one.
    fn seek_sent(
        &mut self,
        seq: u64,
        step: u64,
        progress: Progress<'_>,
    ) -> Result<Position, TravelError> {
        let at = self.seek(step, progress)?;
        if at.seq > seq { Ok(at) } else { self.seek(step.saturating_add(1), progress) }
    }
}

/// Looks for the step of an event.
struct Finder {
    seq: u64,
    step: Option<u64>,
}

impl Sink for Finder {
    fn event(&mut self, event: &session::Event) {
        let at = event.position();
        if at.seq == self.seq {
            self.step = Some(at.step);
        }
    }
}
