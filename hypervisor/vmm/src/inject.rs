//! Gives the guest an exception, as its own hart would have done.

use dv::{Denied, Dv};
use isa::fields::{HUSTATUS, SSTATUS, TVEC};
use isa::{Csr, Exception, Mode};

/// Takes an exception into VS-mode on a vCPU that trapped: at `pc`, from `mode`.
///
/// Privileged manual, "Trap Entry" of the hypervisor extension: what hardware does when `hedeleg`
/// delegates. Guest-page faults are no business of the guest: an access fault takes their place.
pub(crate) fn exception<D: Dv>(
    dv: &mut D,
    vcpu: usize,
    exception: Exception,
    pc: u64,
    mode: Mode,
    stval: u64,
) -> Result<(), Denied> {
    let status = dv.csr(vcpu, Csr::HUVSSTATUS)?;
    let status = SSTATUS::SPP.with(status, mode == Mode::Vs);
    let status = SSTATUS::SPIE.with(status, SSTATUS::SIE.is_set(status));
    dv.set_csr(vcpu, Csr::HUVSSTATUS, SSTATUS::SIE.with(status, false))?;
    dv.set_csr(vcpu, Csr::HUVSEPC, pc)?;
    dv.set_csr(vcpu, Csr::HUVSCAUSE, exception.code())?;
    dv.set_csr(vcpu, Csr::HUVSTVAL, stval)?;
    // Exceptions go to the base address in both modes of the vector.
    let vector = dv.csr(vcpu, Csr::HUVSTVEC)?;
    dv.set_csr(vcpu, Csr::UEPC, TVEC::MODE.set(vector, 0))?;
    let hustatus = dv.csr(vcpu, Csr::HUSTATUS)?;
    dv.set_csr(vcpu, Csr::HUSTATUS, HUSTATUS::SPVP.with(hustatus, true))
}
