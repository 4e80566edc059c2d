//! Interrupts, trap entry and trap return: to M, HS, HU or VS.

use isa::fields::{HSTATUS, HUSTATUS, MSTATUS, SSTATUS, TVEC};
use isa::{Cause, Check, Exception, Ext, Interrupt, Mode};

use crate::checks::on;
use crate::csr_file::{HU_BITS, NS_PER_TICK, VS_BITS};
use crate::hart::{Hart, Report, Taken, Trap};

#[cfg(test)]
mod tests;

/// Within a class, the order in which simultaneous interrupts are taken.
///
/// Privileged manual, "Machine Interrupt (mip and mie) Registers", and the H extension's addition;
/// the three of DV-ext come last.
const ORDER: [Interrupt; 13] = [
    Interrupt::MachineExternal,
    Interrupt::MachineSoftware,
    Interrupt::MachineTimer,
    Interrupt::SupervisorExternal,
    Interrupt::SupervisorSoftware,
    Interrupt::SupervisorTimer,
    Interrupt::SupervisorGuestExternal,
    Interrupt::VirtualSupervisorExternal,
    Interrupt::VirtualSupervisorSoftware,
    Interrupt::VirtualSupervisorTimer,
    Interrupt::UserExternal,
    Interrupt::UserSoftware,
    Interrupt::UserTimer,
];

/// The mode that handles a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    M,
    Hs,
    Hu,
    Vs,
}

impl Hart {
    /// Interrupts that are pending and enabled in `mie`, whatever the global enables say: what
    /// ends a WFI.
    pub(crate) fn wakeup(&self) -> bool {
        self.mip() & self.csr.mie != 0
    }

    /// The interrupt to be taken now, if there is one.
    pub(crate) fn pending_interrupt(&self) -> Option<Interrupt> {
        let pending = self.mip() & self.csr.mie;
        if pending == 0 {
            return None;
        }
        let mideleg = self.csr.mideleg | self.mideleg_fixed();
        let to_hu = self.hu_interrupts();
        let to_vs = self.csr.hideleg & VS_BITS;
        let if_on = |enabled: bool, mask: u64| if enabled { pending & mask } else { 0 };
        let m_on = self.prv < 3 || MSTATUS::MIE.is_set(self.csr.mstatus);
        let s_on =
            self.virt || self.prv == 0 || (self.prv == 1 && MSTATUS::SIE.is_set(self.csr.mstatus));
        // HU is not masked while its guest runs; in HU itself by UIE.
        let unmasked = HUSTATUS::UIE.is_set(self.csr.hustatus) || !on(Check::HuMasked);
        let hu_on = self.virt || (self.prv == 0 && unmasked);
        let vs_on = self.virt && (self.prv == 0 || SSTATUS::SIE.is_set(self.csr.vsstatus));
        let mut classes = [
            if_on(m_on, !mideleg),
            if_on(s_on, mideleg & !to_hu & !to_vs),
            if_on(hu_on, mideleg & to_hu),
            if_on(vs_on, mideleg & to_vs),
        ];
        if !on(Check::KernelFirst) {
            classes.rotate_left(2);
        }
        let class = classes.into_iter().find(|class| *class != 0)?;
        ORDER.into_iter().find(|interrupt| class & interrupt.bit() != 0)
    }

    /// Interrupts that go to HU now.
    fn hu_interrupts(&self) -> u64 {
        let hu = self.delegated() || !on(Check::InterruptNeedsHu);
        if hu { self.csr.sideleg & HU_BITS } else { 0 }
    }

    fn target(&self, trap: &Trap) -> Target {
        // Nothing is taken to a mode below the one that it comes from.
        if self.prv == 3 {
            return Target::M;
        }
        let code = trap.cause.code();
        let bit = |mask: u64| mask >> code & 1 != 0;
        let csr = &self.csr;
        let lower = self.prv == 0 || self.virt || !on(Check::KernelsOwn);
        let (m, hu, vs) = match trap.cause {
            Cause::Interrupt(_) => (
                bit(csr.mideleg | self.mideleg_fixed()),
                bit(self.hu_interrupts()),
                bit(csr.hideleg),
            ),
            Cause::Exception(exception) => {
                let fault = exception == Exception::DvFault && on(Check::FaultToKernel);
                if fault || self.is_confinement(exception) {
                    return Target::Hs;
                }
                let hu = self.delegated() || !on(Check::ExceptionNeedsHu);
                (bit(csr.medeleg), hu && bit(csr.sedeleg), bit(csr.hedeleg))
            }
        };
        if !m {
            return Target::M;
        }
        if self.virt && vs {
            return Target::Vs;
        }
        // A trap from HU while it handles one would overwrite what it is about: HS gets it.
        let nested = !self.virt && HUSTATUS::TA.is_set(csr.hustatus) && on(Check::NestedToKernel);
        if hu && lower && !nested { Target::Hu } else { Target::Hs }
    }

    /// An access fault of a delegated guest is a violation of its windows: only HS may know.
    fn is_confinement(&self, exception: Exception) -> bool {
        let access_fault = matches!(
            exception,
            Exception::InstructionAccessFault
                | Exception::LoadAccessFault
                | Exception::StoreAccessFault
        );
        access_fault && self.virt && self.delegated() && on(Check::WindowToKernel)
    }

    /// Takes a trap at `self.pc`.
    pub(crate) fn take_trap(&mut self, trap: Trap) -> Option<Taken> {
        let from = self.mode();
        let pc = self.pc;
        self.probe.stepped_at(pc);
        let target = self.target(&trap);
        match target {
            Target::M => self.trap_to_m(&trap),
            Target::Hs => self.trap_to_hs(&trap),
            Target::Hu => self.trap_to_hu(&trap),
            Target::Vs => self.trap_to_vs(&trap),
        }
        self.not_retired += 1;
        self.waiting = false;
        self.moved = true;
        let reported = match self.report {
            Report::Nothing => false,
            Report::Hypervisor => matches!(target, Target::Hs | Target::Hu),
            Report::Everything => true,
        };
        let to = match target {
            Target::M => Mode::M,
            Target::Hs => Mode::Hs,
            Target::Hu => Mode::Hu,
            Target::Vs => Mode::Vs,
        };
        reported.then_some(Taken { from, to, pc, trap })
    }

    fn trap_to_m(&mut self, trap: &Trap) {
        let mut status = self.csr.mstatus;
        status = MSTATUS::MPIE.with(status, MSTATUS::MIE.is_set(status));
        status = MSTATUS::MIE.with(status, false);
        status = MSTATUS::MPP.set(status, u64::from(self.prv));
        if self.isa.has(Ext::H) {
            status = MSTATUS::MPV.with(status, self.virt);
            status = MSTATUS::GVA.with(status, trap.gva);
            self.csr.mtval2 = trap.gpa >> 2;
            self.csr.mtinst = trap.tinst;
        }
        self.csr.mstatus = status;
        self.csr.mepc = self.pc;
        self.csr.mcause = trap.cause.bits();
        self.csr.mtval = trap.tval;
        self.pc = vector(self.csr.mtvec, trap.cause);
        self.prv = 3;
        self.virt = false;
    }

    fn trap_to_hs(&mut self, trap: &Trap) {
        if self.isa.has(Ext::H) {
            let mut status = self.csr.hstatus;
            status = HSTATUS::SPV.with(status, self.virt);
            if self.virt {
                status = HSTATUS::SPVP.set(status, u64::from(self.prv));
            }
            self.csr.hstatus = HSTATUS::GVA.with(status, trap.gva);
            self.csr.htval = trap.gpa >> 2;
            self.csr.htinst = trap.tinst;
        }
        self.csr.mstatus = stacked(self.csr.mstatus, self.prv);
        self.csr.sepc = self.pc;
        self.csr.scause = trap.cause.bits();
        self.csr.stval = trap.tval;
        self.pc = vector(self.csr.stvec, trap.cause);
        self.prv = 1;
        self.virt = false;
    }

    fn trap_to_vs(&mut self, trap: &Trap) {
        // "the cause is … the interrupt number of the corresponding S-level interrupt"
        let shift = u64::from(trap.cause.is_interrupt());
        let bits = trap.cause.bits() - shift;
        self.csr.vsstatus = stacked(self.csr.vsstatus, self.prv);
        self.csr.vsepc = self.pc;
        self.csr.vscause = bits;
        self.csr.vstval = trap.tval;
        let offset = if shift == 1 && TVEC::MODE.get(self.csr.vstvec) == 1 {
            4 * (trap.cause.code() - shift)
        } else {
            0
        };
        self.pc = (self.csr.vstvec & !3).wrapping_add(offset);
        self.prv = 1;
    }

    /// DV-ext, "Trap entry to HU".
    fn trap_to_hu(&mut self, trap: &Trap) {
        let mut status = self.csr.hustatus;
        status = HUSTATUS::GVA.with(status, trap.gva);
        status = HUSTATUS::SPV.with(status, self.virt);
        if self.virt {
            status = HUSTATUS::SPVP.set(status, u64::from(self.prv));
        }
        status = HUSTATUS::UPIE.with(status, HUSTATUS::UIE.is_set(status));
        if on(Check::EntryMasks) {
            status = HUSTATUS::UIE.with(status, false);
        }
        if on(Check::EntrySetsTa) {
            status = HUSTATUS::TA.with(status, true);
        }
        self.csr.hustatus = status;
        self.csr.uepc = self.pc;
        self.csr.ucause = trap.cause.bits();
        self.csr.utval = trap.tval;
        self.csr.hutval = trap.gpa >> 2;
        self.csr.hutinst = trap.tinst;
        self.pc = vector(self.csr.utvec, trap.cause);
        self.prv = 0;
        self.virt = false;
    }

    /// MRET.
    pub(crate) fn mret(&mut self) -> Result<(), Trap> {
        if self.prv != 3 {
            return Err(self.above(3));
        }
        let mut status = self.csr.mstatus;
        let to = MSTATUS::MPP.get(status);
        self.virt = to != 3 && MSTATUS::MPV.is_set(status);
        self.prv = if to == 3 { 3 } else { u8::from(to == 1) };
        status = MSTATUS::MIE.with(status, MSTATUS::MPIE.is_set(status));
        status = MSTATUS::MPIE.with(status, true);
        status = MSTATUS::MPP.set(status, 0);
        status = MSTATUS::MPV.with(status, false);
        if to != 3 {
            status = MSTATUS::MPRV.with(status, false);
        }
        self.csr.mstatus = status;
        self.pc = self.csr.mepc & self.pc_mask();
        self.moved = true;
        Ok(())
    }

    /// SRET, of HS or of the guest.
    pub(crate) fn sret(&mut self) -> Result<(), Trap> {
        if self.prv == 0 {
            return Err(self.above(1));
        }
        if self.virt {
            if HSTATUS::VTSR.is_set(self.guest_status()) {
                return Err(Trap::virtual_instruction());
            }
            let (status, spp) = unstacked(self.csr.vsstatus);
            self.csr.vsstatus = status;
            self.prv = spp;
            self.pc = self.csr.vsepc & self.pc_mask();
        } else {
            if self.prv == 1 && MSTATUS::TSR.is_set(self.csr.mstatus) {
                return Err(Trap::illegal());
            }
            let (status, spp) = unstacked(self.csr.mstatus);
            self.csr.mstatus = MSTATUS::MPRV.with(status, false);
            self.prv = spp;
            self.virt = HSTATUS::SPV.is_set(self.csr.hstatus);
            self.csr.hstatus = HSTATUS::SPV.with(self.csr.hstatus, false);
            self.pc = self.csr.sepc & self.pc_mask();
        }
        self.moved = true;
        Ok(())
    }

    /// HURET: never to a privilege above U with V=0.
    pub(crate) fn huret(&mut self) -> Result<(), Trap> {
        if self.virt && on(Check::HuretInGuest) {
            return Err(Trap::virtual_instruction());
        }
        if (self.prv != 0 || !self.delegated()) && on(Check::HuretOutsideHu) {
            return Err(Trap::illegal());
        }
        let mut status = self.csr.hustatus;
        let spv = HUSTATUS::SPV.is_set(status);
        let spvp = HUSTATUS::SPVP.is_set(status);
        status = HUSTATUS::UIE.with(status, HUSTATUS::UPIE.is_set(status));
        status = HUSTATUS::UPIE.with(status, true);
        status = HUSTATUS::SPV.with(status, false);
        self.csr.hustatus = HUSTATUS::TA.with(status, false);
        self.virt = spv;
        self.prv = u8::from((spv || !on(Check::HuretNeverRises)) && spvp);
        self.pc = self.csr.uepc & self.pc_mask();
        self.moved = true;
        Ok(())
    }

    /// The exception for an instruction of a mode above the current one.
    pub(crate) fn above(&self, needs: u8) -> Trap {
        // "In VU-mode, attempts to execute … a supervisor instruction" is virtual; what belongs to
        // M is illegal everywhere.
        if self.virt && needs < 3 { Trap::virtual_instruction() } else { Trap::illegal() }
    }

    /// WFI: whether it may wait.
    pub(crate) fn may_wait(&self) -> Result<(), Trap> {
        let tw = MSTATUS::TW.is_set(self.csr.mstatus);
        let vtw = HSTATUS::VTW.is_set(self.guest_status());
        match (self.prv, self.virt) {
            (3, _) => Ok(()),
            _ if tw => Err(Trap::illegal()),
            (0, true) => Err(Trap::virtual_instruction()),
            (_, true) if vtw => Err(Trap::virtual_instruction()),
            (0, false) => Err(Trap::illegal()),
            _ => Ok(()),
        }
    }

    /// Guest time in ns after `now_ns` at which a timer compare of this hart comes true; `u64::MAX`
    /// if none will.
    #[must_use]
    pub fn timer_deadline_ns(&self, now_ns: u64) -> u64 {
        let now = now_ns / NS_PER_TICK;
        let csr = &self.csr;
        let mut next = u64::MAX;
        if self.stce() {
            next = next.min(deadline(now, csr.stimecmp, 0));
        }
        if self.vstce() {
            next = next.min(deadline(now, csr.vstimecmp, self.guest_time_delta()));
        }
        if isa::fields::VTIMECTL::EN.is_set(csr.vtimectl) {
            next = next.min(deadline(now, csr.vtimecmp, csr.hutimedelta));
        }
        next
    }
}

/// When `time + delta >= compare` comes true, in ns; never, if it is true already.
fn deadline(now: u64, compare: u64, delta: u64) -> u64 {
    let guest_now = now.wrapping_add(delta);
    match compare.checked_sub(guest_now) {
        None | Some(0) => u64::MAX,
        Some(ticks) => now.saturating_add(ticks).saturating_mul(NS_PER_TICK),
    }
}

fn vector(tvec: u64, cause: Cause) -> u64 {
    let vectored = cause.is_interrupt() && TVEC::MODE.get(tvec) == 1;
    (tvec & !3).wrapping_add(if vectored { 4 * cause.code() } else { 0 })
}

/// `sstatus` or `vsstatus` after a trap from `prv`.
fn stacked(status: u64, prv: u8) -> u64 {
    let status = SSTATUS::SPIE.with(status, SSTATUS::SIE.is_set(status));
    let status = SSTATUS::SIE.with(status, false);
    SSTATUS::SPP.set(status, u64::from(prv))
}

/// `sstatus` or `vsstatus` after SRET, and the privilege it returns to.
fn unstacked(status: u64) -> (u64, u8) {
    let spp = u8::from(SSTATUS::SPP.is_set(status));
    let status = SSTATUS::SIE.with(status, SSTATUS::SPIE.is_set(status));
    let status = SSTATUS::SPIE.with(status, true);
    (SSTATUS::SPP.set(status, 0), spp)
}
