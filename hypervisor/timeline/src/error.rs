//! Why a run could not be visited.

use session::Position;

/// Why a run could not be visited.
#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    /// The user ended it.
    #[error("interrupted")]
    Interrupted,
    /// The recording could not be read.
    #[error(transparent)]
    Trace(#[from] traces::ReadError),
    /// A keyframe is not one of this guest.
    #[error("the keyframe at step {step} cannot be used: {damaged}")]
    Keyframe {
        /// Where it is.
        step: u64,
        /// Why.
        damaged: state::Damaged,
    },
    /// There is nothing to begin with.
    #[error("the recording has no keyframe: expected one at its beginning")]
    NoKeyframe,
    /// An input of the recording could not be given: the replay is not the same run.
    #[error(
        "the replay left the recording: an input of step {} (event {}) found no place; \
         `duvisor replay --verify` says where they part",
        .at.step, .at.seq
    )]
    Diverged {
        /// Where the input belongs.
        at: Position,
    },
    /// The run is over there: it cannot go on.
    #[error("at step {step} the run is over ({stop}): expected an earlier moment")]
    Over {
        /// Where it ended.
        step: u64,
        /// Why.
        stop: session::Stop,
    },
    /// Another replica of the guest could not be made.
    #[error("another replica of the guest: {0}")]
    Replica(String),
    /// What was asked for cannot be answered.
    #[error("{0}")]
    Query(String),
}
