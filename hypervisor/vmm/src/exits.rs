//! One handler per cause of a VM exit, and the policy for each.
//!
//! | `ucause` | what it is | policy |
//! |---|---|---|
//! | 1, 5, 7 | access fault | the guest gets it |
//! | 2 | illegal instruction | the guest gets it |
//! | 3 | breakpoint | the guest gets it |
//! | 4, 6 | misaligned access | the guest gets it |
//! | 10 | `ecall` from VS | SBI |
//! | 20, 21, 23 | guest-page fault | map RAM, ask a device, or access fault |
//! | 22 | virtual instruction | WFI parks, the others are illegal instructions for the guest |
//! | interrupt 0 | kick | back to the guest |
//! | interrupt 4 | vtimer | becomes VSTI |
//! | interrupt 8 | user external | stop: no device of a VM raises it |
//! | else | cannot be delegated | stop |

mod interrupt;
mod page_fault;
mod virtual_instruction;

use dv::{Denied, Dv};
use isa::{Cause, Csr, Exception, Interrupt, Mode};
use session::{ExitCause, Outcome};

use crate::inject;
use crate::vm::Vm;

/// An exit as the HU CSRs tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// `ucause`.
    pub(crate) cause: u64,
    /// `uepc`.
    pub(crate) pc: u64,
    /// The guest's mode.
    pub(crate) mode: Mode,
}

/// What a handler did, and what comes next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) cause: ExitCause,
    pub(crate) outcome: Outcome,
    pub(crate) next: Next,
}

/// What becomes of the vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Back to the guest.
    Enter,
    /// Back to the guest as soon as an interrupt wants it.
    Park,
    /// It stopped itself.
    Halt,
    /// The run ends.
    End(End),
}

/// Why the run ends, or starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerOff,
    Failed(u64),
    Reset,
    StepLimit,
    Deadlock,
    User,
    /// An exit for which there is no policy.
    Unexpected {
        cause: u64,
        tval: u64,
        pc: u64,
    },
}

impl Done {
    pub(crate) fn enter(cause: ExitCause, outcome: Outcome) -> Self {
        Self { cause, outcome, next: Next::Enter }
    }
}

impl<D: Dv> Vm<D> {
    /// Calls the one handler of the cause.
    pub(crate) fn handle(&mut self, vcpu: usize, taken: &Taken) -> Result<Done, Denied> {
        match Cause::from_bits(taken.cause) {
            Some(Cause::Exception(exception)) => self.exception(vcpu, taken, exception),
            Some(Cause::Interrupt(interrupt)) => self.interrupt(vcpu, taken, interrupt),
            None => self.unexpected(vcpu, taken),
        }
    }

    fn exception(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        exception: Exception,
    ) -> Result<Done, Denied> {
        match exception {
            Exception::EcallFromVs => self.sbi_call(vcpu, taken),
            Exception::InstructionGuestPageFault
            | Exception::LoadGuestPageFault
            | Exception::StoreGuestPageFault => self.guest_page_fault(vcpu, taken, exception),
            Exception::VirtualInstruction => self.virtual_instruction(vcpu, taken),
            Exception::IllegalInstruction => self.illegal_instruction(vcpu, taken),
            Exception::Breakpoint => {
                let tval = self.dv.csr(vcpu, Csr::UTVAL)?;
                self.give_back(vcpu, taken, exception, tval, ExitCause::Breakpoint)
            }
            Exception::InstructionAccessFault
            | Exception::LoadAccessFault
            | Exception::StoreAccessFault
            | Exception::LoadMisaligned
            | Exception::StoreMisaligned => {
                let tval = self.dv.csr(vcpu, Csr::UTVAL)?;
                let cause = ExitCause::Other { cause: taken.cause, tval };
                self.give_back(vcpu, taken, exception, tval, cause)
            }
            // Not delegable to HU: `sedeleg` has no such bits.
            Exception::InstructionMisaligned
            | Exception::EcallFromU
            | Exception::EcallFromHs
            | Exception::EcallFromM
            | Exception::InstructionPageFault
            | Exception::LoadPageFault
            | Exception::StorePageFault
            | Exception::DvFault => self.unexpected(vcpu, taken),
        }
    }

    fn interrupt(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        interrupt: Interrupt,
    ) -> Result<Done, Denied> {
        match interrupt {
            Interrupt::UserSoftware => self.kick(vcpu),
            Interrupt::UserTimer => self.vtimer(vcpu),
            // Not delegable to HU, or raised by nothing that a VM has.
            Interrupt::UserExternal
            | Interrupt::SupervisorSoftware
            | Interrupt::VirtualSupervisorSoftware
            | Interrupt::MachineSoftware
            | Interrupt::SupervisorTimer
            | Interrupt::VirtualSupervisorTimer
            | Interrupt::MachineTimer
            | Interrupt::SupervisorExternal
            | Interrupt::VirtualSupervisorExternal
            | Interrupt::MachineExternal
            | Interrupt::SupervisorGuestExternal => self.unexpected(vcpu, taken),
        }
    }

    /// Gives the guest an exception in the place of what happened.
    pub(crate) fn give_back(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        exception: Exception,
        stval: u64,
        cause: ExitCause,
    ) -> Result<Done, Denied> {
        inject::exception(&mut self.dv, vcpu, exception, taken.pc, taken.mode, stval)?;
        Ok(Done::enter(cause, Outcome::Injected { cause: exception.code() }))
    }

    fn unexpected(&mut self, vcpu: usize, taken: &Taken) -> Result<Done, Denied> {
        let tval = self.dv.csr(vcpu, Csr::UTVAL)?;
        let cause = if taken.cause == Cause::Interrupt(Interrupt::UserExternal).bits() {
            ExitCause::External
        } else {
            ExitCause::Other { cause: taken.cause, tval }
        };
        let end = End::Unexpected { cause: taken.cause, tval, pc: taken.pc };
        Ok(Done { cause, outcome: Outcome::Stopped, next: Next::End(end) })
    }

    /// The instruction at the guest's pc; `None` if the guest itself could not fetch it now.
    pub(crate) fn fetch(&mut self, vcpu: usize, pc: u64) -> Option<u32> {
        let low = self.dv.fetch(vcpu, pc).ok()?;
        if isa::fetch_len(low) == 2 {
            return Some(u32::from(low));
        }
        let high = self.dv.fetch(vcpu, pc.wrapping_add(2)).ok()?;
        Some(u32::from(low) | u32::from(high) << 16)
    }
}
