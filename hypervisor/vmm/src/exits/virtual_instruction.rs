//! Virtual and illegal instructions: WFI waits, anything else is the guest's own mistake.

use dv::{Denied, Dv};
use isa::{Csr, Exception, Mode, Op};
use session::{ExitCause, Outcome};

use crate::exits::{Done, Next, Taken};
use crate::vm::Vm;

impl<D: Dv> Vm<D> {
    /// Cause 22: legal one level higher, so for a guest without a hypervisor extension of its own
    /// it is an illegal instruction. WFI in VS-mode traps here because `hustatus.VTW` is set; in
    /// VU-mode it is illegal, as it is in U-mode on a hart with S-mode.
    pub(super) fn virtual_instruction(
        &mut self,
        vcpu: usize,
        taken: &Taken,
    ) -> Result<Done, Denied> {
        let Some(insn) = self.trapped_insn(vcpu, taken)? else {
            let cause = ExitCause::VirtualInstruction { insn: 0 };
            return Ok(Done::enter(cause, Outcome::Handled));
        };
        if insn == Op::Wfi.row().value && taken.mode == Mode::Vs {
            return self.wfi(vcpu, taken);
        }
        let cause = ExitCause::VirtualInstruction { insn };
        let illegal = Exception::IllegalInstruction;
        self.give_back(vcpu, taken, illegal, u64::from(insn), cause)
    }

    /// Cause 2, where it is delegated to us: the guest gets what it would have got anyway.
    pub(super) fn illegal_instruction(
        &mut self,
        vcpu: usize,
        taken: &Taken,
    ) -> Result<Done, Denied> {
        let insn = self.trapped_insn(vcpu, taken)?.unwrap_or(0);
        let cause = ExitCause::IllegalInstruction { insn };
        let illegal = Exception::IllegalInstruction;
        self.give_back(vcpu, taken, illegal, u64::from(insn), cause)
    }

    /// The bits in `utval`, or, where hardware leaves it zero, those at the guest's pc. `None` if
    /// they are gone by now: the guest tries again and finds what has become of the page.
    fn trapped_insn(&mut self, vcpu: usize, taken: &Taken) -> Result<Option<u32>, Denied> {
        match u32::try_from(self.dv.csr(vcpu, Csr::UTVAL)?) {
            Ok(insn) if insn != 0 => Ok(Some(insn)),
            _ => Ok(self.fetch(vcpu, taken.pc)),
        }
    }

    /// The vCPU waits, unless it need not: "the hart must resume execution … if an interrupt is
    /// pending and enabled", whatever the global enable says.
    fn wfi(&mut self, vcpu: usize, taken: &Taken) -> Result<Done, Denied> {
        self.dv.set_csr(vcpu, Csr::UEPC, taken.pc.wrapping_add(4))?;
        if self.interrupt_waits(vcpu)? {
            return Ok(Done::enter(ExitCause::Wfi, Outcome::Handled));
        }
        Ok(Done { cause: ExitCause::Wfi, outcome: Outcome::Parked, next: Next::Park })
    }

    /// Whether an interrupt is pending and enabled in `vsie`.
    pub(crate) fn interrupt_waits(&mut self, vcpu: usize) -> Result<bool, Denied> {
        Ok(self.dv.csr(vcpu, Csr::HUVSIP)? & self.dv.csr(vcpu, Csr::HUVSIE)? != 0)
    }
}
