//! "Timer Extension": the deadline of a vCPU's timer interrupt.

use dv::{Denied, Dv};
use isa::fields::VTIMECTL;
use isa::{Csr, Interrupt};

use super::{Call, SbiError};
use crate::vm::Vm;

const SET_TIMER: u64 = 0;

impl<D: Dv> Vm<D> {
    pub(super) fn sbi_time(
        &mut self,
        vcpu: usize,
        fid: u64,
        deadline: u64,
    ) -> Result<Call, Denied> {
        if fid != SET_TIMER {
            return Ok(Call::Return(Err(SbiError::NotSupported)));
        }
        self.set_timer(vcpu, deadline)?;
        Ok(Call::Return(Ok(0)))
    }

    /// Sets the deadline, in ticks of `time`. Both timers are levels: "the pending timer interrupt
    /// bit" of a deadline that is not over goes away by itself.
    ///
    /// With Sstc there is one deadline for the guest's own `stimecmp` and for this call. Without
    /// it the vtimer raises VSTI itself, so a tick costs one exit and not two.
    pub(crate) fn set_timer(&mut self, vcpu: usize, deadline: u64) -> Result<(), Denied> {
        if self.sstc {
            return self.dv.set_csr(vcpu, Csr::HUVSTIMECMP, deadline);
        }
        let control = VTIMECTL::IRQ.set(0, Interrupt::VirtualSupervisorTimer.code());
        self.dv.set_csr(vcpu, Csr::VTIMECMP, deadline)?;
        self.dv.set_csr(vcpu, Csr::VTIMECTL, VTIMECTL::EN.with(control, true))
    }
}
