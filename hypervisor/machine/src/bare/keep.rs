//! The state of a bare machine as it is saved and restored.
//!
//! Not saved: what the machine is made of, and what it is booted with; what lies in RAM and on the
//! disk, which go by pages and sectors; and whether a watcher has paused it.

use session::{RunState, Stop};
use state::{Codec, Damaged, State};

use super::BareMachine;

impl State for BareMachine {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        State::state(&mut self.machine, codec)?;
        self.htif.state(codec)?;
        self.stream.state(codec)?;
        codec.bool(&mut self.booted)?;
        codec.count(&mut self.n_resets)?;
        self.end_state(codec)
    }
}

/// How a bare machine ends, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Not,
    PowerOff,
    Failed,
    Reset,
    StepLimit,
    Deadlock,
    User,
}

const ALL: [Ended; 7] = [
    Ended::Not,
    Ended::PowerOff,
    Ended::Failed,
    Ended::Reset,
    Ended::StepLimit,
    Ended::Deadlock,
    Ended::User,
];

impl BareMachine {
    /// Whether it has ended, and how. One that has not runs on, unless it is paused now.
    fn end_state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let (mut ended, mut code) = match &self.run {
            RunState::Ended(stop) => told(stop),
            RunState::Running | RunState::Paused => (Ended::Not, 0),
        };
        codec.choice(&mut ended, &ALL)?;
        codec.u64(&mut code)?;
        let stop = match ended {
            Ended::Not => None,
            Ended::PowerOff => Some(Stop::PowerOff),
            Ended::Failed => Some(Stop::Failed { code }),
            Ended::Reset => Some(Stop::Reset),
            Ended::StepLimit => Some(Stop::StepLimit),
            Ended::Deadlock => Some(Stop::Deadlock),
            Ended::User => Some(Stop::User),
        };
        match (stop, &self.run) {
            (Some(stop), _) => self.run = RunState::Ended(stop),
            (None, RunState::Ended(_)) => self.run = RunState::Running,
            (None, RunState::Running | RunState::Paused) => {}
        }
        Ok(())
    }
}

fn told(stop: &Stop) -> (Ended, u64) {
    match stop {
        Stop::PowerOff => (Ended::PowerOff, 0),
        Stop::Failed { code } => (Ended::Failed, *code),
        Stop::Reset => (Ended::Reset, 0),
        Stop::StepLimit => (Ended::StepLimit, 0),
        Stop::Deadlock => (Ended::Deadlock, 0),
        // A bare machine has no other end.
        Stop::User | Stop::Killed { .. } | Stop::Crashed { .. } | _ => (Ended::User, 0),
    }
}
