//! What a kernel does to take a thread off a hart, and to put another one there.
//!
//! ```text
//!   off:  a trap to HS ─▶ csrr, one by one ─▶ what no CSR tells
//!   on:   csrw, one by one ─▶ sret ─▶ what no CSR tells
//! ```
//! No step is counted: as in `hu.rs` these stand for instructions of software that the engine does
//! not run.

use isa::{Interrupt, Mode};

use crate::hart::{Hart, Trap};
use crate::probe::unwritten_by;

/// What of a thread on a hart is in no register.
///
/// On silicon a switch ends both: an SC may fail and a WFI may end early, and software has to
/// expect it. Here they come back with the thread, so that it cannot find out that it was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Physical address of the reserved 64 bytes.
    pub reservation: Option<u64>,
    /// It waits for an interrupt.
    pub waits: bool,
}

impl Hart {
    /// The kernel's own timer takes the hart before the next instruction: a trap to HS. Nothing
    /// happens if it is in HS already. `false` if it is not there afterwards.
    pub fn hs_take(&mut self) -> bool {
        if self.mode() != Mode::Hs {
            let not_retired = self.not_retired;
            self.take_trap(Trap::plain(Interrupt::SupervisorTimer));
            self.not_retired = not_retired;
        }
        self.mode() == Mode::Hs
    }

    /// `SRET` in HS.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hs_ret(&mut self) -> Result<(), Trap> {
        if self.mode() == Mode::Hs { self.sret() } else { Err(Trap::illegal()) }
    }

    /// Takes away what no register holds.
    pub fn take_unwritten(&mut self) -> Unwritten {
        Unwritten { reservation: self.reservation.take(), waits: std::mem::take(&mut self.waiting) }
    }

    /// Gives back what no register holds.
    pub fn set_unwritten(&mut self, kept: Unwritten) {
        self.reservation = kept.reservation;
        self.waiting = kept.waits;
    }
}

impl Unwritten {
    /// A write by somebody else to these bytes of physical memory.
    pub fn written(&mut self, hpa: u64, len: u64) {
        self.reservation = unwritten_by(self.reservation, hpa, len);
    }
}
