//! Watchers of a machine: who wrote these bytes, and which steps changed this CSR.

use std::ops::Range;

use hart::{CannotWatch, CsrChange, Halt};
use isa::Csr;

use crate::machine::{Machine, Ran};
use crate::memory::Write;

impl Machine {
    /// From now on every write that touches these bytes of physical memory is logged, whoever makes
    /// it; with no bytes, none is. What was logged before is gone.
    ///
    /// With `stops`, [`Machine::run`] comes back with [`Halt::Written`] right after each step that
    /// wrote, or after the trap that is reported of it. It also does when there are
    /// [`WRITES_KEPT`](crate::WRITES_KEPT) writes to be taken.
    pub fn watch_writes(&mut self, ranges: &[Range<u64>], stops: bool) {
        self.memory_mut().watch_writes(ranges, stops);
        self.renew_watches();
    }

    /// Takes the writes that were logged, in their order.
    pub fn take_writes(&mut self) -> Vec<Write> {
        self.settle_writes();
        self.memory_mut().take_writes()
    }

    /// From now on [`Machine::run`] comes back with [`Halt::Changed`] right after each step that
    /// changed this CSR of this hart, or after the trap that is reported of it; with `None` no
    /// more. Where it is one that shows pending interrupts, the hart makes single steps meanwhile.
    ///
    /// # Errors
    /// [`CannotWatch`] says why not; what was watched before still is.
    pub fn watch_csr(&mut self, hart: usize, csr: Option<Csr>) -> Result<(), CannotWatch> {
        let (found, platform) = self.hart_mut(hart);
        found.follow_csr(platform, csr)?;
        self.renew_watches();
        Ok(())
    }

    /// From now on [`Machine::run`] comes back with [`Halt::Limit`] where this hart has made so
    /// many steps and would make the next one; with `None` no more.
    pub fn stop_hart_after(&mut self, stop: Option<(usize, u64)>) {
        self.stop = stop;
        self.renew_watches();
    }

    /// Steps that a hart may make.
    #[cold]
    pub(crate) fn steps_before_stop(&self, hart: usize) -> u64 {
        let stop = self.stop.filter(|(stopped, _)| *stopped == hart);
        stop.map_or(u64::MAX, |(_, steps)| steps.saturating_sub(self.harts()[hart].steps()))
    }

    /// Whether anything is watched.
    fn renew_watches(&mut self) {
        let follows_csr = self.harts().iter().any(hart::Hart::follows_csr);
        let watched = self.platform().memory().is_watched();
        self.watches = watched || follows_csr || self.stop.is_some();
    }

    /// Here a run may be cut: what happens from here on does so on the way to the next step.
    pub(crate) fn pass_cut(&mut self) {
        if self.watches {
            self.settle_writes();
        }
        self.cut = self.steps();
    }

    /// The step to which belongs what happens now, in no step: the one before, of which it is the
    /// work still, or the next one, if the run could have been cut since.
    fn step_between(&self) -> u64 {
        let steps = self.steps();
        if self.cut == steps { steps } else { steps.saturating_sub(1) }
    }

    /// What was written in no step belongs to one nevertheless.
    pub(crate) fn settle_writes(&mut self) {
        let step = self.step_between();
        self.memory_mut().settle_writes(step);
    }

    /// A run begins: whether it comes back at once.
    #[cold]
    pub(crate) fn begin_watching(&mut self) -> Option<Ran> {
        self.settle_writes();
        self.note_changes();
        if self.platform().memory().is_due() {
            let hart = self.written_last();
            return Some(Ran::Woken { hart, halt: Halt::Written });
        }
        self.changed_last()
    }

    /// Takes a change of the watched CSR of this hart that [`Machine::run`] has not told: of the
    /// last step, if the run ended with it.
    pub fn take_change(&mut self, hart: usize) -> Option<CsrChange> {
        self.note_changes();
        self.hart_mut(hart).0.take_change()
    }

    /// Looks at the watched CSRs: whoever changed them since the last step.
    fn note_changes(&mut self) {
        let step = self.step_between();
        for index in 0..self.harts().len() {
            let (hart, platform) = self.hart_mut(index);
            hart.note_between(platform, step);
        }
    }

    /// The run comes back because of a watched write: by which hart, or whose turn it is.
    pub(crate) fn written_last(&mut self) -> usize {
        let turn = self.turn().unwrap_or(0);
        self.memory_mut().take_due().unwrap_or(turn)
    }

    /// Takes what the last step changed of a watched CSR, if something else ended the run: it is
    /// told before anybody makes another step, and also if nobody makes any.
    fn changed_last(&mut self) -> Option<Ran> {
        (0..self.harts().len()).find_map(|hart| {
            let change = self.hart_mut(hart).0.take_change()?;
            Some(Ran::Woken { hart, halt: Halt::Changed(change) })
        })
    }

    /// Who watches knows steps of the machine, and not those of this hart.
    #[cold]
    pub(crate) fn tell_steps(&mut self, index: usize) {
        let machine_steps = self.steps();
        let (hart, platform) = self.hart_mut(index);
        let ahead = machine_steps.wrapping_sub(hart.steps());
        hart.set_steps_ahead(ahead);
        platform.memory_mut().set_steps_ahead(ahead);
    }
}
