//! Interrupts that make a vCPU leave the guest: a kick, and the virtual timer.

use dv::{Denied, Dv};
use isa::Csr;
use isa::fields::{MIP, VTIMECTL};
use session::{ExitCause, Outcome};

use crate::exits::Done;
use crate::vm::Vm;

impl<D: Dv> Vm<D> {
    /// Interrupt 0: somebody wanted this vCPU out of the guest. That has happened.
    pub(super) fn kick(&mut self, vcpu: usize) -> Result<Done, Denied> {
        let pending = self.dv.csr(vcpu, Csr::HUIP)?;
        self.dv.set_csr(vcpu, Csr::HUIP, MIP::USIP.with(pending, false))?;
        Ok(Done::enter(ExitCause::Kick, Outcome::Handled))
    }

    /// Interrupt 4: the vtimer, where it is not wired to VSTI directly (here it always is, so
    /// this is for a driver that set it up otherwise). The guest gets VSTI until it sets the next
    /// deadline; the level goes away with the enable bit.
    pub(super) fn vtimer(&mut self, vcpu: usize) -> Result<Done, Denied> {
        let control = self.dv.csr(vcpu, Csr::VTIMECTL)?;
        self.dv.set_csr(vcpu, Csr::VTIMECTL, VTIMECTL::EN.with(control, false))?;
        let pending = self.dv.csr(vcpu, Csr::HUIP)?;
        self.dv.set_csr(vcpu, Csr::HUIP, MIP::UTIP.with(pending, false))?;
        let injected = self.dv.csr(vcpu, Csr::HUVIP)?;
        self.dv.set_csr(vcpu, Csr::HUVIP, MIP::VSTIP.with(injected, true))?;
        let interrupt = session::Interrupt::Timer;
        Ok(Done::enter(ExitCause::Timer, Outcome::Raised { interrupt }))
    }
}
