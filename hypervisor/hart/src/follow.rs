//! A CSR that is followed: the run comes back after each step that changed it.
//!
//! ```text
//!   an instruction that leaves its block (most writes of CSRs, accesses to devices), a trap
//!                                        the run comes back behind it, and knows its pc
//!   floating point, a CSR on which       "loud": they leave no block, or with another pc, so
//!   nothing depends, a return            blocks that have one are made step by step
//!   pending interrupts                   change with time, too: if they are followed, every step
//!                                        is a single one
//!   everything else                      changes no CSR, and runs as ever
//! ```

use isa::Csr;

use crate::bus::Bus;
use crate::engine::Engine;
use crate::hart::Hart;
use crate::run::Halt;

/// A CSR has another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsrChange {
    /// Which one.
    pub csr: Csr,
    /// What it read before.
    pub old: u64,
    /// What it reads now.
    pub new: u64,
    /// Steps that were made before the one that changed it: the machine's, or the hart's if no
    /// machine runs it. What changes it between steps is part of one of them, as a write is.
    pub step: u64,
    /// The pc before that step. `None` if it changed between steps: by a post, by the VM plane or a
    /// debugger, or because guest time went on while nobody ran.
    pub pc: Option<u64>,
}

/// Why a CSR cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotWatch {
    /// There is none with this number.
    NoSuchCsr(Csr),
    /// It counts, so it changes with every step.
    Counts(Csr),
}

impl std::fmt::Display for CannotWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchCsr(csr) => write!(f, "there is no CSR {:#x}", csr.0),
            Self::Counts(csr) => {
                write!(f, "{csr} changes with every step: watch one that does not count")
            }
        }
    }
}

impl std::error::Error for CannotWatch {}

/// What is followed, and what was last seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    csr: Csr,
    last: u64,
    /// What the machine's steps are ahead of the hart's, in this turn.
    ahead: u64,
    /// It shows what is pending, which time and wires change.
    timed: bool,
    /// The pc of the last step, if that step may have changed it.
    stepped_at: Option<u64>,
    /// Not told yet, since something else ended the run.
    change: Option<CsrChange>,
}

impl Follow {
    pub(crate) fn new(csr: Csr, last: u64) -> Self {
        Self { csr, last, ahead: 0, timed: is_timed(csr), stepped_at: None, change: None }
    }

    pub(crate) fn stepped_at(&mut self, pc: u64) {
        self.stepped_at = Some(pc);
    }

    pub(crate) fn csr(&self) -> Csr {
        self.csr
    }
}

impl Hart {
    /// From now on [`Hart::run`] comes back with [`Halt::Changed`] after each step that changed
    /// this CSR, as [`Hart::csr`] reads it; with `None` no more. A trap that is reported comes
    /// first.
    ///
    /// # Errors
    /// [`CannotWatch`] says why not; what was followed before still is.
    pub fn follow_csr<B: Bus>(&mut self, bus: &B, csr: Option<Csr>) -> Result<(), CannotWatch> {
        let Some(csr) = csr else {
            self.probe.follow = None;
            return Ok(());
        };
        let counts = [Csr::CYCLE, Csr::TIME, Csr::INSTRET, Csr::MCYCLE, Csr::MINSTRET];
        if counts.contains(&csr) {
            return Err(CannotWatch::Counts(csr));
        }
        if csr.row().is_none() {
            return Err(CannotWatch::NoSuchCsr(csr));
        }
        self.look(bus);
        self.probe.follow = Some(Box::new(Follow::new(csr, self.read_csr(csr))));
        Ok(())
    }

    /// Whether a CSR is followed.
    #[must_use]
    pub fn follows_csr(&self) -> bool {
        self.probe.follows()
    }

    /// What is to be added to this hart's steps for [`CsrChange::step`].
    pub fn set_steps_ahead(&mut self, ahead: u64) {
        if let Some(follow) = &mut self.probe.follow {
            follow.ahead = ahead;
        }
    }

    /// Looks at the CSR, if one is followed, between two steps of the machine.
    pub fn note_between<B: Bus>(&mut self, bus: &B, machine_step: u64) {
        if let Some(follow) = &self.probe.follow {
            let step = machine_step.wrapping_sub(follow.ahead);
            self.note_change(bus, step, None);
        }
    }

    /// Looks at the CSR. `step` and `pc` are those before the step that was made, if one was.
    fn note_change<B: Bus>(&mut self, bus: &B, step: u64, pc: Option<u64>) {
        self.look(bus);
        let Some(mut follow) = self.probe.follow.take() else { return };
        let new = self.read_csr(follow.csr);
        if new != follow.last && follow.change.is_none() {
            let (csr, old, step) = (follow.csr, follow.last, step.wrapping_add(follow.ahead));
            follow.change = Some(CsrChange { csr, old, new, step, pc });
            follow.last = new;
        }
        self.probe.follow = Some(follow);
    }

    /// The change that is to be told next: that of the last step, if something else ended the run.
    pub fn take_change(&mut self) -> Option<CsrChange> {
        self.probe.follow.as_mut()?.change.take()
    }

    /// [`Hart::run`], which comes back where the CSR may have changed.
    pub(crate) fn run_followed<B: Bus>(
        &mut self,
        engine: &mut Engine<B>,
        bus: &mut B,
        limit: u64,
    ) -> Halt {
        loop {
            self.note_change(bus, self.steps, None);
            if let Some(change) = self.take_change() {
                return Halt::Changed(change);
            }
            let (before, pc) = (self.steps, self.pc);
            let single = self.probe.follow.as_mut().is_some_and(|follow| {
                follow.stepped_at = None;
                follow.timed
            });
            let end = if single { limit.min(before.saturating_add(1)) } else { limit };
            let halt = self.run_on(engine, bus, end);
            let follow = self.probe.follow.as_mut();
            let stepped_at = follow.and_then(|follow| follow.stepped_at.take());
            if self.steps != before {
                let pc = stepped_at.unwrap_or(pc);
                self.note_change(bus, self.steps - 1, Some(pc));
            }
            if halt != Halt::Limit {
                return halt;
            }
            if let Some(change) = self.take_change() {
                return Halt::Changed(change);
            }
            if self.steps >= limit {
                return halt;
            }
        }
    }
}

/// Whether a CSR shows what is pending.
fn is_timed(csr: Csr) -> bool {
    let csr = csr.row().and_then(|row| row.mirror).unwrap_or(csr);
    [Csr::MIP, Csr::SIP, Csr::HIP, Csr::VSIP, Csr::UIP, Csr::HUIP].contains(&csr)
}
