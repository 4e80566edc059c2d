//! Time travel: recording, checkpoints, replay, seek, reverse, and questions about a run.
//!
//! A run is deterministic, so a recording is configuration, inputs, and keyframes that make seeking
//! fast. A [`Player`] takes a guest to any step of a recording, forwards and backwards; a [`Pool`]
//! of players looks for something in all of it; [`verify()`] compares a whole replay with what was
//! recorded, and [`bisect()`] finds the step at which two replays part.
#![forbid(unsafe_code)]

mod base;
mod bisect;
mod checkpoints;
mod error;
mod history;
mod home;
mod kept;
mod looking;
mod place;
mod player;
mod point;
mod pool;
mod question;
mod recorder;
mod saved;
mod scan;
mod seek;
mod snapshot;
mod subject;
mod tape;
#[cfg(test)]
mod testing;
mod verify;

/// Version of what a keyframe holds: raised whenever the saved state of anything changes.
pub const MODEL: u32 = 2;

pub use bisect::{bisect, first_difference, same};
pub use checkpoints::{Chain, Grain, Mark};
pub use error::TravelError;
pub use history::{Held, History};
pub use looking::{Hit, Looking, Predicate, What};
pub use player::{Player, Progress, Source};
pub use point::{Point, share};
pub use pool::{Pool, Wanted, Window};
pub use question::{
    Answer, GRAMMAR, LIMIT_DEFAULT, Place, Question, Space, Subject as Asked, describe,
};
pub use recorder::{Full, OnFull, Recorded, Recorder, Spacing};
pub use saved::{Kept, Means, Save, SaveError, Saved, Told, Why, refuse};
pub use snapshot::{Origin, Resumed, origin_text, put_on_record};
pub use subject::{Around, Delegated, Rest, Subject, Vm};
pub use tape::{Recording, Tape};
pub use verify::{Difference, Divergence, Meddle, Verified, verify};
