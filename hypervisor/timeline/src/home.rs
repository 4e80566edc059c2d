//! Going to a keyframe: only what is not there yet is loaded.
//!
//! ```text
//!   keyframes   2 ────── 3 ────── 4 ────── 5
//!                        │ listed ∪ listed │     to go from behind 5 to 3: these pages,
//!                        ●                 ╰──▶  and those that were written on the way from 5
//! ```

use machine::PAGE;
use traces::PageId;

use crate::base;
use crate::checkpoints::Chain;
use crate::error::TravelError;
use crate::kept;
use crate::place;
use crate::player::{Player, Progress};

/// The keyframe from which a subject came.
#[derive(Debug)]
pub(crate) struct Home {
    keyframe: usize,
    /// For each page of RAM whether it was written on the way from there to the chain's begin.
    moved: Vec<bool>,
}

impl Player {
    /// Forgets all checkpoints: only keyframes lead back from here.
    pub fn forget(&mut self) {
        if let Some(mut home) = self.home.take() {
            self.chain.mark_written(&mut *self.subject, &mut home.moved);
            self.home = Some(home);
        }
        self.chain = Chain::begin(&mut *self.subject, self.grain.budget);
    }

    /// Goes to a keyframe. One that cannot be used leaves the player at its first one.
    pub(crate) fn load(&mut self, index: usize, progress: Progress<'_>) -> Result<(), TravelError> {
        let loaded = self.load_only(index, progress);
        if index != 0 && matches!(loaded, Err(TravelError::Keyframe { .. })) {
            self.load_only(0, &mut |_, _| true)?;
        }
        loaded
    }

    fn load_only(&mut self, index: usize, progress: Progress<'_>) -> Result<(), TravelError> {
        let frame = self.reader.keyframes().get(index).ok_or(TravelError::NoKeyframe)?;
        let step = frame.at.step;
        let changed = self.changed_since(index);
        let wanted = |id: PageId| {
            let page = usize::try_from(id.page).unwrap_or(usize::MAX);
            // A page that is not in memory is refused where it is put.
            id.space != base::RAM || changed.get(page).is_none_or(|changed| *changed)
        };
        let loaded = self.reader.load_some(index, &wanted, &mut || progress(0, step))?;
        let loaded = loaded.ok_or(TravelError::Interrupted)?;
        // Until everything is in its place it is nowhere.
        self.home = None;
        self.meddled = false;
        place::go(&mut *self.subject, &self.base, &loaded, &changed, step)?;
        self.chain = Chain::begin(&mut *self.subject, self.grain.budget);
        self.home = Some(Home { keyframe: index, moved: vec![false; changed.len()] });
        self.arrived();
        Ok(())
    }

    /// For each page of RAM whether it may be another one here than at a keyframe.
    fn changed_since(&mut self, keyframe: usize) -> Vec<bool> {
        let n_pages = self.subject.machine().platform().memory().size() / PAGE;
        let Some(home) = &self.home else { return vec![true; n_pages] };
        let mut changed = home.moved.clone();
        self.chain.mark_written(&mut *self.subject, &mut changed);
        let (first, last) = (home.keyframe.min(keyframe), home.keyframe.max(keyframe));
        for page in self.written[first + 1..=last].iter().flatten() {
            if let Some(changed) = changed.get_mut(*page as usize) {
                *changed = true;
            }
        }
        changed
    }

    /// The last keyframe at which a hart had made fewer steps than that.
    pub(crate) fn keyframe_before_hart_step(
        &self,
        hart: usize,
        steps: u64,
    ) -> Result<Option<usize>, TravelError> {
        let mut low = 0;
        let mut high = self.keyframe_before(self.chain.first_step()).map_or(0, |last| last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let kept = self.reader.load_state(middle)?;
            let step = self.reader.keyframes()[middle].at.step;
            let of_harts = kept::hart_steps(&kept);
            let of_harts = of_harts.map_err(|damaged| TravelError::Keyframe { step, damaged })?;
            let made = of_harts.get(hart).copied().unwrap_or(0);
            if made < steps { low = middle + 1 } else { high = middle }
        }
        Ok(low.checked_sub(1))
    }
}
