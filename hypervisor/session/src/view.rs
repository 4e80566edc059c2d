//! What a watcher is shown of a whole VM at one position.

use isa::Mode;
use state::{Codec, Damaged, State};

use crate::{Stats, Stop, VcpuId};

/// What a vCPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuState {
    /// It can run, or runs.
    Running,
    /// It waits for an interrupt.
    Waiting,
    /// It was never started, or it stopped itself (SBI HSM).
    Stopped,
}

/// One vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuView {
    /// Which one.
    pub id: VcpuId,
    /// What it is doing.
    pub state: VcpuState,
    /// Its privilege mode.
    pub mode: Mode,
    /// Its program counter.
    pub pc: u64,
    /// Steps it has made.
    pub steps: u64,
    /// Its counters.
    pub stats: Stats,
}

/// Whether the VM makes steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running,
    /// It was paused by a command.
    Paused,
    /// It ended.
    Ended(Stop),
}

impl State for RunState {
    /// Whether it ended, and how. A pause is the watcher's: it stays, or does not come back.
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let mut ended = matches!(self, Self::Ended(_));
        codec.bool(&mut ended)?;
        match self {
            Self::Ended(stop) if ended => stop.state(codec),
            _ if ended => {
                let mut stop = Stop::PowerOff;
                stop.state(codec)?;
                *self = Self::Ended(stop);
                Ok(())
            }
            Self::Ended(_) => {
                *self = Self::Running;
                Ok(())
            }
            Self::Running | Self::Paused => Ok(()),
        }
    }
}

/// The whole VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// What the guest is called.
    pub name: String,
    /// Whether it runs.
    pub run: RunState,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// Resets so far.
    pub n_resets: u64,
    /// Calls of the driver since the VM started; zero unless there was an emergency.
    pub driver_calls: u64,
    /// One exit in this many has its handler timed (0: none).
    pub sample_every: u32,
    /// Guest-physical memory in bytes.
    pub memory_bytes: u64,
    /// Of it, bytes that stage-2 maps.
    pub mapped_bytes: u64,
    /// All vCPUs.
    pub vcpus: Vec<VcpuView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_kept_and_a_pause_is_the_watchers() {
        let reason = || "a reason".to_owned();
        for stop in [
            Stop::PowerOff,
            Stop::Failed { code: 7 },
            Stop::Reset,
            Stop::StepLimit,
            Stop::Deadlock,
            Stop::Killed { reason: reason() },
            Stop::Crashed { reason: reason() },
            Stop::User,
        ] {
            let saved = state::save(&mut RunState::Ended(stop.clone()));
            for mut there in [RunState::Running, RunState::Paused, RunState::Ended(Stop::Reset)] {
                state::load(&mut there, &saved).unwrap();
                assert_eq!(there, RunState::Ended(stop.clone()));
            }
        }
        let saved = state::save(&mut RunState::Paused);
        assert_eq!(saved, state::save(&mut RunState::Running));
        for (mut there, then) in [
            (RunState::Running, RunState::Running),
            (RunState::Paused, RunState::Paused),
            (RunState::Ended(Stop::User), RunState::Running),
        ] {
            state::load(&mut there, &saved).unwrap();
            assert_eq!(there, then);
        }
    }
}
