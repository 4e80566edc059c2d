//! What HS and firmware do to a hart before a vCPU runs there, and after it is gone.

use dv::Window;
use hart::checks::on;
use hart::{Bus, Hart};
use isa::fields::{ENVCFG, HGATP, HSTATUS, PMPCFG, SSTATUS};
use isa::{Check, Csr, Exception, Ext, Interrupt, Mode};

use crate::config::{CreateError, VmRequest};

/// `utvec` of a fresh vCPU. No code of the VM plane is modelled, so nothing is ever fetched there:
/// it is an address that is easy to recognise, until the VM plane writes its own.
pub const HU_VECTOR: u64 = 0x7fff_f000;

/// Entries of `pmpcfg` and `pmpaddr`: a window takes two (its begin, and its end as TOR).
const N_PMP: u16 = 16;
/// Windows of a VM: what the entries can hold.
pub(crate) const WINDOWS_MAX: usize = N_PMP as usize / 2;
/// Entries in one `pmpcfg` CSR.
const PER_CFG: usize = 8;

/// Exceptions that the guest's kernel handles by itself, unless the VM plane wants them.
///
/// Misaligned loads and stores are among them: atomics that are not aligned take these, and
/// nobody but the guest can know what to do about it.
const HEDELEG: u64 = Exception::InstructionMisaligned.bit()
    | Exception::IllegalInstruction.bit()
    | Exception::Breakpoint.bit()
    | Exception::LoadMisaligned.bit()
    | Exception::StoreMisaligned.bit()
    | Exception::EcallFromU.bit()
    | Exception::InstructionPageFault.bit()
    | Exception::LoadPageFault.bit()
    | Exception::StorePageFault.bit();
const HIDELEG: u64 = Interrupt::VirtualSupervisorSoftware.bit()
    | Interrupt::VirtualSupervisorTimer.bit()
    | Interrupt::VirtualSupervisorExternal.bit();
/// cycle, time and instret.
const COUNTERS: u64 = 7;
/// `sstatus.FS` at first: the guest may use floating point as its own status says.
const FS_INITIAL: u64 = 1;

/// What is set on every hart of a VM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) request: &'a VmRequest,
    pub(crate) vmid: u16,
    pub(crate) vcpu: u64,
    pub(crate) windows: &'a [Window],
    /// Physical address of the G-stage root.
    pub(crate) root: u64,
}

/// Puts a hart in HU, ready for the first `huret` of this vCPU.
pub(crate) fn set_up<B: Bus>(
    hart: &mut Hart,
    bus: &mut B,
    setup: &Setup<'_>,
) -> Result<(), CreateError> {
    clear(hart, bus);
    set_windows(hart, bus, setup.windows);
    let request = setup.request;
    let envcfg = ENVCFG::CBCFE.mask()
        | ENVCFG::CBZE.mask()
        | ENVCFG::ADUE.mask()
        | ENVCFG::PBMTE.mask()
        | ENVCFG::STCE.mask();
    // A guest's cbo.inval writes back first: it must not bring older content to light.
    let henvcfg = ENVCFG::CBIE.set(envcfg, 1);
    let hugatp = HGATP::MODE.set(setup.root >> 12, request.gstage.mode());
    let kept = if on(Check::KeptFromGuest) { request.exceptions } else { 0 };
    let sideleg = request.interrupts | Interrupt::UserSoftware.bit();
    for (csr, value) in [
        (Csr::HSTATUS, HSTATUS::HU.mask()),
        (Csr::HEDELEG, HEDELEG & !kept),
        (Csr::HIDELEG, HIDELEG),
        (Csr::SEDELEG, request.exceptions),
        (Csr::SIDELEG, sideleg),
        (Csr::HENVCFG, henvcfg),
        // The guest's own afterwards: there is no vs twin of it.
        (Csr::SCOUNTEREN, COUNTERS),
        (Csr::SSTATUS, SSTATUS::FS.set(0, FS_INITIAL)),
        (Csr::H_VMID, u64::from(setup.vmid)),
        (Csr::HUGATP, hugatp),
        (Csr::HU_VCPUID, setup.vcpu),
        (Csr::UTVEC, HU_VECTOR),
    ] {
        hart.hs_csr_write(bus, csr, value).or(Err(CreateError::Refused { csr }))?;
    }
    if hart.isa().has(Ext::Sstc) {
        // After a reset both compares are zero, and so have been reached.
        for csr in [Csr::STIMECMP, Csr::VSTIMECMP] {
            hart.hs_csr_write(bus, csr, u64::MAX).or(Err(CreateError::Refused { csr }))?;
        }
    }
    hart.set_mode(Mode::Hu);
    Ok(())
}

/// Leaves nothing of a vCPU on its hart, which is as firmware hands it to the kernel.
pub(crate) fn clear<B: Bus>(hart: &mut Hart, bus: &mut B) {
    hart.reset();
    firmware(hart, bus);
    set_windows(hart, bus, &[]);
}

/// What firmware sets before a kernel starts: all that may be delegated is, counters and
/// environments are open.
fn firmware<B: Bus>(hart: &mut Hart, bus: &mut B) {
    for (csr, value) in [
        (Csr::MEDELEG, u64::MAX),
        (Csr::MIDELEG, u64::MAX),
        (Csr::MCOUNTEREN, COUNTERS),
        (Csr::MENVCFG, ENVCFG::CBIE.set(u64::MAX, 3)),
    ] {
        hart.set_csr(bus, csr, value);
    }
}

/// Has firmware set what `cycle` and `instret` read next: they are the vCPU's, not the hart's.
pub(crate) fn set_counters<B: Bus>(hart: &mut Hart, bus: &mut B, cycle: u64, instret: u64) {
    // A write counts as the instruction that makes it, and here is none.
    hart.set_csr(bus, Csr::MCYCLE, cycle.wrapping_add(1));
    hart.set_csr(bus, Csr::MINSTRET, instret.wrapping_add(1));
}

/// Has firmware confine the guest of this hart to these windows, at most [`WINDOWS_MAX`]. Cached
/// translations are dropped.
///
/// ```text
///   entry 2n     off           pmpaddr = begin of window n
///   entry 2n+1   TOR, V, RW(X) pmpaddr = end of window n
/// ```
/// Only the first window may hold instructions.
pub(crate) fn set_windows<B: Bus>(hart: &mut Hart, bus: &mut B, windows: &[Window]) {
    let mut cfgs = [0u64; WINDOWS_MAX / (PER_CFG / 2)];
    for i in 0..WINDOWS_MAX {
        let window = windows.get(i).copied().unwrap_or(Window { hpa: 0, size: 0 });
        let (begin, end) = (window.hpa >> 2, (window.hpa + window.size) >> 2);
        if window.size != 0 {
            let execute = PMPCFG::X.with(0, i == 0 || !on(Check::CodeInRam));
            let cfg = PMPCFG::R.mask() | PMPCFG::W.mask() | PMPCFG::V.mask() | execute;
            let place = 2 * i + 1;
            cfgs[place / PER_CFG] |= PMPCFG::A.set(cfg, 1) << (8 * (place % PER_CFG));
        }
        for (addr, value) in (Csr::PMPADDR0.0..).skip(2 * i).zip([begin, end]) {
            hart.set_csr(bus, Csr(addr), value);
        }
    }
    for (number, cfg) in (Csr::PMPCFG0.0..).step_by(2).zip(cfgs) {
        hart.set_csr(bus, Csr(number), cfg);
    }
}
