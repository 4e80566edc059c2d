//! What a keyframe keeps of a subject beside its memory.
//!
//! ```text
//!   0  harts, 8 bytes      8  steps of each hart, 8 bytes each      then its saved state
//! ```
//! All numbers are little endian. The steps can be read where the state cannot be loaded: it would
//! need the memory that belongs to it.

use state::Damaged;

use crate::subject::Subject;

/// Bytes of a number.
const WORD: usize = 8;

/// Everything that is kept.
pub(crate) fn save(subject: &mut dyn Subject) -> Vec<u8> {
    let steps: Vec<u64> = subject.machine().harts().iter().map(hart::Hart::steps).collect();
    let n_harts = [steps.len() as u64];
    let words = n_harts.iter().chain(&steps).flat_map(|word| word.to_le_bytes());
    words.chain(state::save(subject)).collect()
}

/// Loads it into a subject whose memory is there.
pub(crate) fn load(subject: &mut dyn Subject, kept: &[u8]) -> Result<(), Damaged> {
    let (_, state) = split(kept)?;
    state::load(subject, state)
}

/// The steps of each hart.
pub(crate) fn hart_steps(kept: &[u8]) -> Result<Vec<u64>, Damaged> {
    let (words, _) = split(kept)?;
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// The steps, and the state.
fn split(kept: &[u8]) -> Result<(&[[u8; WORD]], &[u8]), Damaged> {
    let damaged = Damaged { what: "not even the steps of its harts are there" };
    let (n_harts, rest) = kept.split_first_chunk().ok_or(damaged)?;
    let n_harts = usize::try_from(u64::from_le_bytes(*n_harts)).ok();
    let n_bytes = n_harts.and_then(|n| n.checked_mul(WORD)).ok_or(damaged)?;
    let (steps, state) = rest.split_at_checked(n_bytes).ok_or(damaged)?;
    Ok((steps.as_chunks().0, state))
}
