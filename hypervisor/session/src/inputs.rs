//! The one door through which anything that the guest does not decide enters a run.

use crate::Position;

/// One value from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Input {
    /// Bytes typed on the guest's console.
    Console(Vec<u8>),
    /// Somebody at the outside wants the run to end.
    Quit,
}

/// How a wait with every vCPU idle ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Idle {
    /// Guest time goes on at the deadline.
    Deadline,
    /// An input came first, when guest time had reached `time_ns` (before the deadline).
    Input {
        /// Guest time in nanoseconds at which the input arrives.
        time_ns: u64,
        /// The input.
        input: Input,
    },
    /// The run was asked to look at its commands; guest time has not moved.
    Attention,
    /// There is no deadline, and no input will ever come.
    Never,
}

/// Where inputs come from: the host (live), a trace (replay) or a script (test).
///
/// Consulted only where a slice ends, or nobody can run. There is no `time()` here on purpose.
///
/// Where it is consulted is a function of the run alone, but for waits that end with
/// [`Idle::Attention`]: these are asked about again, with the same position and time. Slices that
/// end without a step, and waits right behind them, make more than one [`Inputs::next`] with the
/// same position and time, too; an input that is handed out changes the position, for it is an
/// event. Who records inputs and hands one out at the first of such questions only can therefore
/// find it again by position and time. A wait that ends at its deadline ends later than it began.
pub trait Inputs {
    /// The next input that is due at this position, if any. `time_ns` is guest time.
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input>;

    /// Every vCPU waits: goes on at `deadline_ns` (guest time), or earlier with an input.
    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle;

    /// A watcher of the run wants this input to reach the guest. A source that takes it hands it
    /// out in a later [`Inputs::next`] or [`Inputs::idle`], so that it enters at a position like
    /// any other; false means that this run takes none (a replay, a script). Of a
    /// [`Quit`](Input::Quit) that it does not take the run ends at once, and no source knows: who
    /// records takes it.
    fn offer(&mut self, input: &Input) -> bool {
        let _ = input;
        false
    }

    /// The guest wrote these bytes to its console (a script waits for them).
    fn output(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// A run without any input: idle time is jumped over.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInputs;

impl Inputs for NoInputs {
    fn next(&mut self, _at: Position, _time_ns: u64) -> Option<Input> {
        None
    }

    fn idle(&mut self, _at: Position, _time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        if deadline_ns.is_some() { Idle::Deadline } else { Idle::Never }
    }
}
