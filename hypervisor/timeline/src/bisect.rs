//! The first step at which two replays of the same recording are not the same any more.

use machine::PAGE;

use crate::error::TravelError;
use crate::player::{Player, Progress};
use crate::subject::Subject;

/// Whether two guests are in the same state: harts, devices, memory, disk.
pub fn same(one: &mut dyn Subject, other: &mut dyn Subject) -> bool {
    if state::save(one) != state::save(other) {
        return false;
    }
    let (a, b) = (one.machine().platform().memory(), other.machine().platform().memory());
    let zeros = [0; PAGE];
    let n_pages = u32::try_from(a.size() / PAGE).unwrap_or(u32::MAX);
    let content = |page| (a.page(page).unwrap_or(&zeros), b.page(page).unwrap_or(&zeros));
    if (0..n_pages).map(content).any(|(a, b)| a != b) {
        return false;
    }
    match (one.overlay(), other.overlay()) {
        (Some(a), Some(b)) => {
            let pages = a.pages();
            pages == b.pages() && pages.iter().all(|page| a.page(*page) == b.page(*page))
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The first step in `good..=bad` at which the two differ, given that they are the same at `good`;
/// `None` if they are the same at `bad`, too.
///
/// `go` takes a player to a step; for the suspect it does there what is suspected.
///
/// # Errors
/// [`TravelError`]
pub fn bisect(
    reference: &mut Player,
    suspect: &mut Player,
    good: u64,
    bad: u64,
    go: &mut dyn FnMut(&mut Player, u64) -> Result<(), TravelError>,
    progress: Progress<'_>,
) -> Result<Option<u64>, TravelError> {
    first_difference(good, bad, &mut |step| {
        reference.seek(step, progress)?;
        go(suspect, step)?;
        Ok(!same(&mut *reference.subject, &mut *suspect.subject))
    })
}

/// The first step in `good..=bad` at which `differ` holds, given that it does not at `good`;
/// `None` if it does not at `bad`, either.
///
/// # Errors
/// Those of `differ`.
pub fn first_difference(
    good: u64,
    bad: u64,
    differ: &mut dyn FnMut(u64) -> Result<bool, TravelError>,
) -> Result<Option<u64>, TravelError> {
    if !differ(bad)? {
        return Ok(None);
    }
    let (mut low, mut high) = (good, bad);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if differ(middle)? { high = middle } else { low = middle }
    }
    Ok(Some(high))
}
