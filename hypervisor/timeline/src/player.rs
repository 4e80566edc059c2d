//! A subject that follows a recording: to any step of it, forwards and backwards.

use hart::Halt;
use session::{Position, Sink, Stop};
use traces::Reader;

use crate::base;
use crate::checkpoints::{Chain, Grain};
use crate::error::TravelError;
use crate::home::Home;
use crate::subject::{Around, Rest, Subject};
use crate::tape::Tape;

/// Steps between two looks at whether the user wants to go on: a few milliseconds.
pub(crate) const LOOK: u64 = 1 << 18;

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
    /// `None` where it is not known what is in memory.
    pub(crate) home: Option<Home>,
    /// What is in memory before the first step.
    pub(crate) base: Vec<base::Page>,
    /// For each keyframe the pages of RAM that were written since the one before.
    pub(crate) written: Vec<Vec<u32>>,
    /// It stands behind a halt, between two moments to which one can go.
    pub(crate) between: bool,
    /// Somebody may have changed the guest.
    pub(crate) meddled: bool,
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
        let (home, ended) = (None, None);
        let (between, meddled) = (false, false);
        let mut player = Self {
            subject,
            reader,
            tape,
            grain,
            chain,
            home,
            base,
            written,
            between,
            meddled,
            ended,
            last,
        };
        player.load(0, &mut |_, _| true)?;
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
        self.meddled = true;
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

    /// The pages of RAM that were written before a keyframe, since the one before; rising.
    #[must_use]
    pub fn written(&self, keyframe: usize) -> &[u32] {
        self.written.get(keyframe).map_or(&[], Vec::as_slice)
    }

    /// The last keyframe at or before a step.
    pub(crate) fn keyframe_before(&self, step: u64) -> Option<usize> {
        let frames = self.reader.keyframes();
        let last = frames.partition_point(|frame| frame.at.step <= step).checked_sub(1)?;
        // The one of the end may be behind its step, where nobody could run.
        let ends = self.ends_itself() && frames.get(last).map(|it| it.at) == Some(self.last);
        Some(if ends { last.saturating_sub(1) } else { last })
    }

    /// Whether the run ended by something that happened in it.
    pub(crate) fn ends_itself(&self) -> bool {
        self.reader.end().is_some_and(|end| end.stop != Stop::StepLimit)
    }

    /// From the last step on to the end, if that came without another one.
    pub(crate) fn finish(&mut self) -> Result<(), TravelError> {
        if self.ends_itself() && self.ended.is_none() && !self.meddled {
            let step = self.position().step;
            self.run(step.saturating_add(1), &mut [], &mut Vec::new())?;
            self.between = true;
        }
        Ok(())
    }

    /// The subject was put somewhere.
    pub(crate) fn arrived(&mut self) {
        self.ended = None;
        self.between = false;
        self.tape.seek(self.subject.position());
    }

    pub(crate) fn restore(&mut self, index: usize) -> Result<(), TravelError> {
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
        let keyframe = self.keyframe_before(step).ok_or(TravelError::NoKeyframe)?;
        if self.meddled {
            // Whatever is there, it need not be what a checkpoint is counted from.
            self.home = None;
            self.load(keyframe, progress)?;
            self.forward(step, self.grain.fine, progress)?;
            return Ok(self.position());
        }
        let back = step < here || (step == here && self.between);
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
            self.load(keyframe, progress)?;
        } else if let Some(index) = checkpoint {
            self.restore(index)?;
        }
        let near = back && step.saturating_sub(self.position().step) <= self.grain.coarse;
        self.forward(step, if near { self.grain.fine } else { self.grain.coarse }, progress)?;
        Ok(self.position())
    }

    /// A checkpoint here, if this is a moment of the recorded run.
    pub(crate) fn checkpoint(&mut self) {
        if !self.between && !self.meddled {
            self.chain.push(&mut *self.subject);
        }
    }

    /// Runs on to a step, or to where a hart may make no more, with a checkpoint every so many.
    pub(crate) fn forward(
        &mut self,
        to: u64,
        spacing: u64,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        let begin = self.position().step;
        while self.position().step < to && self.ended.is_none() {
            let here = self.position().step;
            let due = self.chain.last_step() + spacing;
            let next = due.max(here + 1).min(here + LOOK).min(to);
            let mut debug = Vec::new();
            self.run(next, &mut [], &mut debug)?;
            if debug.iter().any(|(_, halt)| *halt == Halt::Limit) {
                break;
            }
            if (due..to).contains(&next) {
                self.checkpoint();
            }
            if !progress(self.position().step - begin, to - begin) {
                return Err(TravelError::Interrupted);
            }
        }
        Ok(())
    }

    /// Runs on until a step, or something that is watched for.
    pub(crate) fn run(
        &mut self,
        to: u64,
        sinks: &mut [&mut dyn Sink],
        debug: &mut Vec<(usize, Halt)>,
    ) -> Result<(), TravelError> {
        let mut around = Around::new(&mut self.tape);
        for sink in sinks {
            around.sinks.push(&mut **sink);
        }
        let rest = self.subject.run_until(&mut around, to);
        self.between = matches!(rest, Rest::Debug { .. });
        match rest {
            // Nobody watches who could ask.
            Rest::StepLimit | Rest::Asked => {}
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
            let next = (self.position().step + LOOK).min(to);
            self.run(next, &mut [&mut *sink], &mut Vec::new())?;
            if next >= self.chain.last_step() + self.grain.coarse {
                self.checkpoint();
            }
            if !progress(self.position().step - begin, to - begin) {
                return Err(TravelError::Interrupted);
            }
        }
        Ok(self.position())
    }
}

/// The pages of RAM that were written before a keyframe, since the one before; rising.
fn written(reader: &Reader, index: usize) -> Result<Vec<u32>, TravelError> {
    let pages = reader.keyframe_pages(index)?.into_iter();
    let ram = pages.filter(|id| id.space == base::RAM);
    Ok(ram.filter_map(|id| u32::try_from(id.page).ok()).collect())
}
