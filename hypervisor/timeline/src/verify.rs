//! Whether a replay is the run that was recorded: events one by one, the state at each keyframe.

use std::collections::VecDeque;
use std::iter::Peekable;

use machine::{PAGE, Tracking};
use session::{Event, Position, Sink, Stop};
use traces::{MemoryHash, Reader, StateHash};

use crate::base;
use crate::error::TravelError;
use crate::kept;
use crate::place;
use crate::player::{Progress, Source};
use crate::subject::{Around, Rest, Subject};
use crate::tape::Tape;

/// Events before a divergence that are told with it.
const CONTEXT: usize = 32;
/// Steps between two looks at whether the user wants to go on.
const CHUNK: u64 = 1 << 20;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An event; `None` where one side has none.
    Event {
        /// What was recorded.
        recorded: Option<Box<Event>>,
        /// What the replay did.
        replayed: Option<Box<Event>>,
    },
    /// The state at a keyframe.
    State {
        /// The recorded hash.
        recorded: StateHash,
        /// The hash of the replay.
        replayed: StateHash,
    },
    /// An input could not be given where it was given.
    Input,
    /// The end.
    End {
        /// Why the recorded run ended.
        recorded: Stop,
        /// Why the replay ended, if it did.
        replayed: Option<Stop>,
    },
}

/// Where replay and recording part.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The replay was here when it was noticed.
    pub at: Position,
    /// Up to this step it was the recorded run: the keyframe before.
    pub good: u64,
    /// The pc of each hart.
    pub pcs: Vec<u64>,
    /// What differs.
    pub difference: Difference,
    /// The events before.
    pub before: Vec<Event>,
}

/// A whole replay that was checked.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Where it ended.
    pub at: Position,
    /// Guest time there.
    pub time_ns: u64,
    /// Why the run ended; `None` if the recording stops before that.
    pub stop: Option<Stop>,
    /// Events that were compared.
    pub events: u64,
    /// States that were compared.
    pub states: u64,
}

/// Replays a recording from its beginning to its end, and compares. `meddle` may do something to
/// the guest at a step, for tests: it gives that step.
///
/// # Errors
/// [`TravelError`] if it cannot be replayed at all; a divergence is an answer.
pub fn verify(
    source: &mut Source,
    sinks: &mut [&mut dyn Sink],
    meddle: Option<&mut Meddle<'_>>,
    progress: Progress<'_>,
) -> Result<Result<Verified, Box<Divergence>>, TravelError> {
    let Source { subject, reader } = source;
    let tape = Tape::new(reader.inputs()?);
    let mut check =
        Check { tape, memory: MemoryHash::new(), good: 0, states: 0, ended: None, meddle };
    check.run(&mut **subject, reader, sinks, progress)
}

/// Something that is done to the guest at a step.
pub struct Meddle<'a> {
    /// The step.
    pub step: u64,
    /// What is done.
    pub act: &'a mut dyn FnMut(&mut dyn Subject),
}

impl std::fmt::Debug for Meddle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meddle").field("step", &self.step).finish_non_exhaustive()
    }
}

struct Check<'a, 'b> {
    tape: Tape,
    memory: MemoryHash,
    good: u64,
    states: u64,
    ended: Option<Stop>,
    meddle: Option<&'a mut Meddle<'b>>,
}

type Checked = Result<Result<Verified, Box<Divergence>>, TravelError>;

impl Check<'_, '_> {
    fn run(
        &mut self,
        subject: &mut dyn Subject,
        reader: &mut Reader,
        sinks: &mut [&mut dyn Sink],
        progress: Progress<'_>,
    ) -> Checked {
        let frames: Vec<_> =
            reader.keyframes().iter().map(|frame| (frame.at, frame.hash)).collect();
        let (last, end) = (reader.last().0, reader.end().cloned());
        let (first, _) = *frames.first().ok_or(TravelError::NoKeyframe)?;
        let loaded = if first.step > 0 { Some(reader.load(0)?) } else { None };
        let from = if loaded.is_some() { first } else { Position::default() };
        let recorded = reader.events(from).peekable();
        let mut comparing = Comparing { recorded, before: VecDeque::new(), events: 0, found: None };
        let begin = loaded.as_ref().map(|loaded| (loaded, first.step));
        self.begin(subject, begin, &mut comparing, sinks)?;
        let mut frames = frames.into_iter().peekable();
        let ends_itself = end.as_ref().is_some_and(|end| end.stop != Stop::StepLimit);
        let differs = loop {
            if let Some(difference) = comparing.found.take() {
                break Some(difference);
            }
            if self.tape.missed().is_some() {
                break Some(Difference::Input);
            }
            let here = subject.position();
            let ends_here = here.step >= last.step && self.ended.is_none() && ends_itself;
            // What leads to the end may make no step, and is then still to come.
            let is_due = |at: &Position| at.step <= here.step && (*at <= here || !ends_here);
            while let Some((at, hash)) = frames.next_if(|(at, _)| is_due(at)) {
                if at.step == here.step && comparing.found.is_none() {
                    comparing.found = self.compare_state(subject, hash);
                }
            }
            if comparing.found.is_some() {
                continue;
            }
            if ends_here {
                self.step_to(subject, here.step + 1, &mut comparing, sinks);
                if self.ended.is_some() {
                    continue;
                }
            }
            if here.step >= last.step || self.ended.is_some() {
                break None;
            }
            let frame = frames.peek().map_or(last.step, |(at, _)| at.step);
            let to = self.meddle(subject, (here.step + CHUNK).min(frame).min(last.step));
            self.step_to(subject, to, &mut comparing, sinks);
            if !progress(here.step - first.step, last.step - first.step) {
                return Err(TravelError::Interrupted);
            }
        };
        if let Some(difference) = differs {
            return Ok(Err(self.divergence(subject, difference, comparing.before)));
        }
        if let Some(end) = &end
            && end.stop == Stop::StepLimit
            && self.ended.is_none()
        {
            self.end_at_limit(subject, &mut comparing, sinks);
        }
        if end.is_some() && !self.tape.at_end() {
            return Ok(Err(self.divergence(subject, Difference::Input, comparing.before)));
        }
        if let Some(end) = end
            && let Some(difference) = self.differs_at_end(subject, &end, &mut comparing)
        {
            return Ok(Err(self.divergence(subject, difference, comparing.before)));
        }
        Ok(Ok(Verified {
            at: subject.position(),
            time_ns: subject.machine().now_ns(),
            stop: self.ended.clone(),
            events: comparing.events,
            states: self.states,
        }))
    }

    /// Does what a test wants to be done here; says how far to go before the next such moment.
    fn meddle(&mut self, subject: &mut dyn Subject, to: u64) -> u64 {
        let here = subject.position().step;
        match self.meddle.take_if(|meddle| meddle.step <= here) {
            Some(meddle) => {
                (meddle.act)(subject);
                to
            }
            None => self.meddle.as_ref().map_or(to, |meddle| to.min(meddle.step)),
        }
    }

    /// The images are loaded, as the recorder did it; and what a recording begins with that goes
    /// on from somewhere.
    fn begin(
        &mut self,
        subject: &mut dyn Subject,
        loaded: Option<(&traces::Loaded, u64)>,
        comparing: &mut Comparing<'_>,
        sinks: &mut [&mut dyn Sink],
    ) -> Result<(), TravelError> {
        let base = match loaded {
            Some(_) => base::load(subject),
            None => {
                self.step_to(subject, 0, comparing, sinks);
                base::pages(subject)
            }
        };
        for (page, content) in &base {
            self.memory.update(base::ram(*page), Some(content));
        }
        if let Some((loaded, step)) = loaded {
            let everything = vec![true; subject.machine().platform().memory().size() / PAGE];
            place::go(subject, &base, loaded, &everything, step)?;
            for (id, content) in loaded.pages() {
                self.memory.update(id, content);
            }
            self.tape.seek(subject.position());
        }
        subject.machine_mut().memory_mut().track(Tracking::Numbers);
        if let Some(overlay) = subject.overlay() {
            overlay.track(true);
        }
        Ok(())
    }

    fn step_to(
        &mut self,
        subject: &mut dyn Subject,
        to: u64,
        comparing: &mut Comparing<'_>,
        sinks: &mut [&mut dyn Sink],
    ) {
        let mut around = Around::new(&mut self.tape);
        around.sinks.push(comparing);
        for sink in sinks {
            around.sinks.push(&mut **sink);
        }
        match subject.run_until(&mut around, to) {
            // Nobody watches who could ask.
            Rest::StepLimit | Rest::Asked => {}
            Rest::Debug { hart, .. } => subject.machine_mut().hart_mut(hart).0.pass_once(),
            Rest::Stopped(stop) => self.ended = Some(stop),
        }
    }

    /// The run ends here because the user wanted no more of it.
    fn end_at_limit(
        &mut self,
        subject: &mut dyn Subject,
        comparing: &mut Comparing<'_>,
        sinks: &mut [&mut dyn Sink],
    ) {
        let mut around = Around::new(&mut self.tape);
        around.sinks.push(comparing);
        for sink in sinks {
            around.sinks.push(&mut **sink);
        }
        self.ended = Some(subject.end_at_limit(&mut around));
    }

    /// The state here, with what was written since it was looked at last.
    fn hash(&mut self, subject: &mut dyn Subject) -> StateHash {
        let dirtied = subject.machine_mut().memory_mut().next_epoch();
        let memory = subject.machine().platform().memory();
        for page in dirtied.iter().map(|it| it.page) {
            self.memory.update(base::ram(page), memory.page(page));
        }
        if let Some(overlay) = subject.overlay() {
            for page in overlay.next_epoch().iter().map(|it| it.page) {
                self.memory.update(base::disk(page), overlay.page(page).as_deref());
            }
        }
        StateHash {
            state: *blake3::hash(&kept::save(subject)).as_bytes(),
            ram: self.memory.value(),
        }
    }

    fn compare_state(
        &mut self,
        subject: &mut dyn Subject,
        recorded: StateHash,
    ) -> Option<Difference> {
        self.states += 1;
        let replayed = self.hash(subject);
        if replayed == recorded {
            self.good = subject.position().step;
            return None;
        }
        Some(Difference::State { recorded, replayed })
    }

    fn differs_at_end(
        &mut self,
        subject: &dyn Subject,
        end: &traces::End,
        comparing: &mut Comparing<'_>,
    ) -> Option<Difference> {
        if let Some(event) = comparing.rest() {
            return Some(Difference::Event { recorded: Some(Box::new(event)), replayed: None });
        }
        let same = self.ended.as_ref() == Some(&end.stop) && subject.position() == end.at;
        let (recorded, replayed) = (end.stop.clone(), self.ended.clone());
        (!same).then_some(Difference::End { recorded, replayed })
    }

    fn divergence(
        &self,
        subject: &dyn Subject,
        difference: Difference,
        before: VecDeque<Event>,
    ) -> Box<Divergence> {
        let pcs = subject.machine().harts().iter().map(hart::Hart::pc).collect();
        let (at, good) = (subject.position(), self.good);
        Box::new(Divergence { at, good, pcs, difference, before: before.into() })
    }
}

/// Compares each event with the recorded one.
struct Comparing<'a> {
    recorded: Peekable<traces::Events<'a>>,
    before: VecDeque<Event>,
    events: u64,
    found: Option<Difference>,
}

impl Comparing<'_> {
    /// The next recorded event of a kind that a run sends.
    fn rest(&mut self) -> Option<Event> {
        self.recorded.by_ref().find_map(Result::ok)
    }
}

impl Sink for Comparing<'_> {
    fn event(&mut self, event: &Event) {
        if self.found.is_some() || matches!(event, Event::Input { .. }) {
            return;
        }
        // What was recorded before the file begins, or lost, is not compared.
        let recorded = loop {
            match self.recorded.peek() {
                Some(Ok(recorded)) if recorded.position().seq < event.position().seq => {
                    self.found = Some(Difference::Event {
                        recorded: Some(Box::new(recorded.clone())),
                        replayed: Some(Box::new(event.clone())),
                    });
                    return;
                }
                Some(Ok(recorded)) if recorded.position().seq == event.position().seq => {
                    break self.recorded.next().and_then(Result::ok);
                }
                Some(Err(_)) => {
                    self.recorded.next();
                }
                // Not on record: left out, or later than what was committed.
                Some(Ok(_)) | None => break None,
            }
        };
        if let Some(recorded) = recorded {
            self.events += 1;
            if recorded != *event {
                self.found = Some(Difference::Event {
                    recorded: Some(Box::new(recorded)),
                    replayed: Some(Box::new(event.clone())),
                });
                return;
            }
        }
        if self.before.len() == CONTEXT {
            self.before.pop_front();
        }
        self.before.push_back(event.clone());
    }
}
