//! What a write of a CSR leaves there.

use isa::fields::{
    ENVCFG, HGATP, HU_VITR, HUSTATUS, MIP, MSTATUS, PMPCFG, SATP, SSTATUS, VTIMECTL,
};
use isa::{Check, Csr, Exception, Ext, Interrupt};

use super::masks::{
    HEDELEG, HSTATUS_WRITABLE, HU_BITS, HUSTATUS_WRITABLE, S_BITS, SEDELEG, SSTATUS_WRITABLE,
    VS_BITS,
};
use crate::bus::{Bus, Post};
use crate::checks::{self, on};
use crate::hart::{Hart, Trap};
use crate::pmp::{N_PMP, PMPADDR_MASK};

fn merge(old: u64, new: u64, mask: u64) -> u64 {
    old & !mask | new & mask
}

/// The value with SD telling whether FS is dirty.
fn with_sd(status: u64) -> u64 {
    SSTATUS::SD.with(status, SSTATUS::FS.get(status) == 3)
}

/// MODE values of 2 and 3 are reserved: the upper bit of MODE cannot be set.
fn tvec(value: u64) -> u64 {
    value & !2
}

impl Hart {
    /// Sets the CSRs to their values after reset.
    pub(crate) fn reset_csrs(&mut self) {
        // IRQ is WARL: 4 until something else is chosen.
        self.csr.vtimectl = VTIMECTL::IRQ.set(0, Interrupt::UserTimer.code());
        self.decode_pmp();
    }

    /// Writes a CSR that may be written. Fails only where DV-ext says so.
    pub(crate) fn write_csr<B: Bus>(
        &mut self,
        bus: &mut B,
        csr: Csr,
        value: u64,
    ) -> Result<(), Trap> {
        match csr.level() {
            3 => self.write_machine(csr, value),
            2 => self.write_hypervisor(csr, value),
            1 => self.write_supervisor(csr, value),
            _ => self.write_user(bus, csr, value)?,
        }
        if decides_context(csr) {
            self.moved = true;
        }
        Ok(())
    }

    fn write_machine(&mut self, csr: Csr, value: u64) {
        match csr {
            Csr::MSTATUS => self.write_mstatus(value),
            Csr::MEDELEG => self.csr.medeleg = value & self.medeleg_mask(),
            Csr::MIDELEG => self.csr.mideleg = value & self.mideleg_mask(),
            Csr::MIE => self.csr.mie = value & self.mie_mask(),
            Csr::MTVEC => self.csr.mtvec = tvec(value),
            Csr::MCOUNTEREN => self.csr.mcounteren = value & self.counteren_mask(),
            Csr::MENVCFG => {
                self.csr.menvcfg = envcfg(self.csr.menvcfg, value, self.menvcfg_mask());
                self.forget_translations();
            }
            Csr::MSCRATCH => self.csr.mscratch = value,
            Csr::MEPC => self.csr.mepc = value & !1,
            Csr::MCAUSE => self.csr.mcause = value,
            Csr::MTVAL => self.csr.mtval = value,
            Csr::MIP => self.csr.mip = merge(self.csr.mip, value, self.mip_mask()),
            Csr::MTINST => self.csr.mtinst = value,
            Csr::MTVAL2 => self.csr.mtval2 = value,
            // The write counts as the instruction's own increment.
            Csr::MCYCLE => {
                self.csr.mcycle = value.wrapping_sub(self.steps + u64::from(self.at) + 1);
            }
            Csr::MINSTRET => {
                self.csr.minstret = value.wrapping_sub(self.instret_base() + 1);
            }
            Csr(n) if (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).contains(&n) => {
                self.write_pmpcfg(usize::from(n - Csr::PMPCFG0.0) * 4, value);
            }
            Csr(n) if (Csr::PMPADDR0.0..=Csr::PMPADDR63.0).contains(&n) => {
                self.write_pmpaddr(usize::from(n - Csr::PMPADDR0.0), value);
            }
            _ => {}
        }
    }

    fn write_mstatus(&mut self, value: u64) {
        let mut new = merge(self.csr.mstatus, value, self.mstatus_mask());
        // MPP is WARL: there is no mode 2.
        if MSTATUS::MPP.get(value) != 2 {
            new = MSTATUS::MPP.set(new, MSTATUS::MPP.get(value));
        }
        self.csr.mstatus = with_sd(new);
    }

    fn write_pmpcfg(&mut self, first: usize, value: u64) {
        let with_v = if self.isa.has(Ext::Xdv) { PMPCFG::V.mask() } else { 0 };
        let mask = 0x9f | with_v;
        for i in first..(first + 8).min(N_PMP) {
            if PMPCFG::L.is_set(self.csr.pmpcfg[i]) {
                continue;
            }
            let mut cfg = value >> (8 * (i - first)) & mask;
            // "The combination R=0 and W=1 is reserved"; NA4 is finer than the granularity.
            if !PMPCFG::R.is_set(cfg) {
                cfg = PMPCFG::W.set(cfg, 0);
            }
            if PMPCFG::A.get(cfg) == 2 {
                cfg = PMPCFG::A.set(cfg, PMPCFG::A.get(self.csr.pmpcfg[i]));
            }
            self.csr.pmpcfg[i] = cfg;
        }
        self.decode_pmp();
        if on(Check::RevokedCfg) {
            self.forget_translations();
        }
    }

    fn write_pmpaddr(&mut self, i: usize, value: u64) {
        if i >= N_PMP {
            return;
        }
        let locked = |cfg: u64| PMPCFG::L.is_set(cfg);
        let next = self.csr.pmpcfg.get(i + 1).copied().unwrap_or(0);
        if locked(self.csr.pmpcfg[i]) || (locked(next) && PMPCFG::A.get(next) == 1) {
            return;
        }
        self.csr.pmpaddr[i] = value & PMPADDR_MASK;
        self.decode_pmp();
        if on(Check::RevokedAddr) {
            self.forget_translations();
        }
    }

    fn write_supervisor(&mut self, csr: Csr, value: u64) {
        let mideleg = self.csr.mideleg;
        match csr {
            Csr::SSTATUS => {
                let mask = SSTATUS_WRITABLE | self.fs_mask();
                self.csr.mstatus = with_sd(merge(self.csr.mstatus, value, mask));
            }
            Csr::SIE => self.csr.mie = merge(self.csr.mie, value, mideleg & S_BITS),
            Csr::SIP => {
                let mask = mideleg & MIP::SSIP.mask();
                self.csr.mip = merge(self.csr.mip, value, mask);
            }
            Csr::STVEC => self.csr.stvec = tvec(value),
            Csr::SCOUNTEREN => self.csr.scounteren = value & self.counteren_mask(),
            Csr::SENVCFG => {
                self.csr.senvcfg = envcfg(self.csr.senvcfg, value, self.senvcfg_mask());
            }
            Csr::SSCRATCH => self.csr.sscratch = value,
            Csr::SEPC => self.csr.sepc = value & !1,
            Csr::SCAUSE => self.csr.scause = value,
            Csr::STVAL => self.csr.stval = value,
            Csr::STIMECMP => self.csr.stimecmp = value,
            Csr::SATP => self.csr.satp = self.satp(self.csr.satp, value),
            Csr::SEDELEG => self.csr.sedeleg = value & checks::mask(Check::SedelegBits, SEDELEG),
            Csr::SIDELEG => self.csr.sideleg = value & checks::mask(Check::SidelegBits, HU_BITS),
            _ => {}
        }
    }

    fn mode_exists(&self, mode: u64) -> bool {
        match mode {
            0 => true,
            8 => self.isa.has(Ext::Sv39),
            9 => self.isa.has(Ext::Sv48),
            10 => self.isa.has(Ext::Sv57),
            _ => false,
        }
    }

    /// "If satp is written with an unsupported MODE, the entire write has no effect".
    fn satp(&self, old: u64, new: u64) -> u64 {
        if self.mode_exists(SATP::MODE.get(new)) { new } else { old }
    }

    /// "When V=0, a write to vsatp with an unsupported MODE value is not ignored as it is for satp.
    /// Instead, the fields of vsatp are WARL in the normal way."
    fn vsatp(&self, old: u64, new: u64) -> u64 {
        if self.virt || self.mode_exists(SATP::MODE.get(new)) {
            return self.satp(old, new);
        }
        SATP::MODE.set(new, SATP::MODE.get(old))
    }

    /// WARL field by field; the root is 16 KiB, so its number's low two bits are zero.
    fn hgatp(&self, old: u64, new: u64) -> u64 {
        let mode = HGATP::MODE.get(new);
        let there = self.mode_exists(mode) || !on(Check::GatpMode);
        let mode = if there { mode } else { HGATP::MODE.get(old) };
        let ppn = HGATP::PPN.get(new) & !3;
        HGATP::MODE.set(HGATP::VMID.set(ppn, HGATP::VMID.get(new)), mode)
    }

    fn write_hypervisor(&mut self, csr: Csr, value: u64) {
        match csr {
            Csr::HSTATUS => self.csr.hstatus = value & HSTATUS_WRITABLE,
            Csr::HEDELEG => self.csr.hedeleg = value & checks::mask(Check::HedelegBits, HEDELEG),
            Csr::HIDELEG => self.csr.hideleg = value & VS_BITS,
            Csr::HIE => {
                self.csr.mie = merge(self.csr.mie, value, VS_BITS | MIP::SGEIP.mask());
            }
            Csr::HIP => self.csr.mip = merge(self.csr.mip, value, MIP::VSSIP.mask()),
            Csr::HVIP => self.csr.mip = merge(self.csr.mip, value, VS_BITS),
            Csr::HTIMEDELTA => self.csr.htimedelta = value,
            Csr::HCOUNTEREN => self.csr.hcounteren = value & self.counteren_mask(),
            Csr::HENVCFG => {
                self.csr.henvcfg = envcfg(self.csr.henvcfg, value, self.henvcfg_mask());
                self.forget_translations();
            }
            Csr::HTVAL => self.csr.htval = value,
            Csr::HTINST => self.csr.htinst = value,
            Csr::HGATP => self.csr.hgatp = self.hgatp(self.csr.hgatp, value),
            Csr::H_VMID => {
                self.csr.h_vmid = HGATP::VMID.get(value << HGATP::VMID.lsb);
                self.csr.hugatp = HGATP::VMID.set(self.csr.hugatp, self.csr.h_vmid);
            }
            _ => self.write_guest(csr, value),
        }
    }

    fn write_guest(&mut self, csr: Csr, value: u64) {
        let hideleg = self.csr.hideleg;
        match csr {
            Csr::VSSTATUS => {
                let mask = SSTATUS_WRITABLE | self.fs_mask();
                self.csr.vsstatus = with_sd(value & mask);
            }
            Csr::VSIE => {
                self.csr.mie = merge(self.csr.mie, value << 1, hideleg & VS_BITS);
            }
            Csr::VSIP => {
                let mask = hideleg & MIP::VSSIP.mask();
                self.csr.mip = merge(self.csr.mip, value << 1, mask);
            }
            Csr::VSTVEC => self.csr.vstvec = tvec(value),
            Csr::VSSCRATCH => self.csr.vsscratch = value,
            Csr::VSEPC => self.csr.vsepc = value & !1,
            Csr::VSCAUSE => self.csr.vscause = value,
            Csr::VSTVAL => self.csr.vstval = value,
            Csr::VSTIMECMP => self.csr.vstimecmp = value,
            Csr::VSATP => self.csr.vsatp = self.vsatp(self.csr.vsatp, value),
            _ => {}
        }
    }

    fn write_user<B: Bus>(&mut self, bus: &mut B, csr: Csr, value: u64) -> Result<(), Trap> {
        match csr {
            Csr::FFLAGS | Csr::FRM | Csr::FCSR => {
                if csr != Csr::FRM {
                    self.csr.fflags = value & 31;
                }
                if csr != Csr::FFLAGS {
                    let frm = if csr == Csr::FCSR { value >> 5 } else { value };
                    self.csr.frm = frm & 7;
                }
                self.fp_dirty();
                return Ok(());
            }
            Csr::HU_VCPUID => self.write_vcpuid(bus, value)?,
            Csr::HU_VITR => return self.write_vitr(bus, value),
            Csr::VIPI0 | Csr::VIPI1 | Csr::VIPI2 | Csr::VIPI3 => {
                return self.write_vipi(bus, csr.0 - Csr::VIPI0.0, value);
            }
            _ => self.write_hu(csr, value),
        }
        Ok(())
    }

    fn write_hu(&mut self, csr: Csr, value: u64) {
        match csr {
            Csr::UTVEC => self.csr.utvec = tvec(value),
            Csr::USCRATCH => self.csr.uscratch = value,
            Csr::UEPC => self.csr.uepc = value & !1,
            Csr::UCAUSE => self.csr.ucause = value,
            Csr::UTVAL => self.csr.utval = value,
            Csr::HUSTATUS => {
                let by_hu = self.prv == 0 && on(Check::TaOfHardware);
                let of_hs = if by_hu { 0 } else { HUSTATUS::TA.mask() };
                let mask = HUSTATUS_WRITABLE | of_hs;
                self.csr.hustatus = merge(self.csr.hustatus, value, mask);
            }
            Csr::HUIE => {
                let mask = checks::mask(Check::HuieBits, HU_BITS);
                self.csr.mie = merge(self.csr.mie, value, mask);
            }
            Csr::HUIP => {
                let mask = MIP::USIP.mask() | MIP::UEIP.mask();
                let mask = checks::mask(Check::HuipBits, mask);
                self.csr.mip = merge(self.csr.mip, value, mask);
            }
            Csr::HUVIP => {
                let mask = checks::mask(Check::HuvipBits, VS_BITS);
                self.csr.mip = merge(self.csr.mip, value, mask);
            }
            Csr::HUTIMEDELTA => self.csr.hutimedelta = value,
            Csr::HUCOUNTEREN => self.csr.hucounteren = value & self.counteren_mask(),
            Csr::HUTVAL => self.csr.hutval = value,
            Csr::HUTINST => self.csr.hutinst = value,
            // Only HS gets here: see `check_dv`. The VMID is that of `h_vmid`.
            Csr::HUGATP => {
                let new = self.hgatp(self.csr.hugatp, value);
                self.csr.hugatp = HGATP::VMID.set(new, self.csr.h_vmid);
            }
            Csr::VTIMECMP => self.csr.vtimecmp = value,
            Csr::VTIMECTL => {
                let legal = matches!(VTIMECTL::IRQ.get(value), 4 | 6) || !on(Check::VtimectlIrq);
                let mask = VTIMECTL::EN.mask() | if legal { VTIMECTL::IRQ.mask() } else { 0 };
                self.csr.vtimectl = merge(self.csr.vtimectl, value, mask);
            }
            _ => {
                if let Some(mirror) = csr.row().and_then(|row| row.mirror) {
                    self.write_guest(mirror, value);
                }
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a VMID has 14 bits")]
    fn vmid(&self) -> u16 {
        self.csr.h_vmid as u16
    }

    /// "HU writes an id that the driver registered for this VM; any other value is a DV fault."
    fn write_vcpuid<B: Bus>(&mut self, bus: &B, value: u64) -> Result<(), Trap> {
        let known = u16::try_from(value).is_ok_and(|id| bus.owns_vcpu(self.vmid(), id));
        if !known && self.prv == 0 && on(Check::VcpuidKnown) {
            return Err(dv_fault(value));
        }
        self.csr.hu_vcpuid = value & 0xffff;
        Ok(())
    }

    fn write_vitr<B: Bus>(&mut self, bus: &mut B, value: u64) -> Result<(), Trap> {
        let interrupt = HU_VITR::IRQ.get(value);
        if !matches!(interrupt, 0 | 2 | 6 | 10) && on(Check::PostInterrupt) {
            return Err(dv_fault(value));
        }
        let vcpu = HU_VITR::VCPU.get(value);
        self.may_post(bus, vcpu, value)?;
        self.post(bus, vcpu, interrupt, HU_VITR::LEVEL.is_set(value));
        Ok(())
    }

    fn write_vipi<B: Bus>(&mut self, bus: &mut B, word: u16, value: u64) -> Result<(), Trap> {
        let ids = (0..64).filter(|bit| value >> bit & 1 != 0).map(|bit| u64::from(word) * 64 + bit);
        // All or nothing: an instruction that traps has posted to nobody.
        for vcpu in ids.clone() {
            self.may_post(bus, vcpu, value)?;
        }
        for vcpu in ids {
            self.post(bus, vcpu, 2, true);
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 bits, by its field")]
    fn may_post<B: Bus>(&self, bus: &B, vcpu: u64, value: u64) -> Result<(), Trap> {
        let known = bus.owns_vcpu(self.vmid(), vcpu as u16) || !on(Check::PostKnown);
        if known { Ok(()) } else { Err(dv_fault(value)) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 and 8 bits, by their fields")]
    fn post<B: Bus>(&mut self, bus: &mut B, vcpu: u64, interrupt: u64, level: bool) {
        let post = Post { vmid: self.vmid(), vcpu: vcpu as u16, interrupt: interrupt as u8, level };
        if vcpu == self.csr.hu_vcpuid {
            self.receive(interrupt, level);
        } else {
            bus.post(post);
        }
    }

    /// A posted interrupt arrives: a level of the guest's, or a kick (USIP).
    pub fn receive(&mut self, interrupt: u64, level: bool) {
        let bit = 1 << interrupt;
        self.csr.mip = merge(self.csr.mip, if level || interrupt == 0 { bit } else { 0 }, bit);
    }
}

/// Whether translation, or the legality of floating point, can be another one after a write.
fn decides_context(csr: Csr) -> bool {
    matches!(
        csr,
        Csr::MSTATUS
            | Csr::SSTATUS
            | Csr::HSTATUS
            | Csr::VSSTATUS
            | Csr::HUSTATUS
            | Csr::HUVSSTATUS
            | Csr::SATP
            | Csr::VSATP
            | Csr::HGATP
            | Csr::HUVSATP
            | Csr::HUGATP
            | Csr::H_VMID
    )
}

fn dv_fault(value: u64) -> Trap {
    Trap { tval: value, ..Trap::plain(Exception::DvFault) }
}

/// "The encoding 2 of CBIE is reserved": it leaves the field as it was.
fn envcfg(old: u64, new: u64, mask: u64) -> u64 {
    let kept = if ENVCFG::CBIE.get(new) == 2 { mask & !ENVCFG::CBIE.mask() } else { mask };
    old & !kept | new & kept
}
