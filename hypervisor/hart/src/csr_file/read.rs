//! What a CSR reads as. Reading changes nothing.

use isa::fields::{FCSR, HUSTATUS, MIP, MSTATUS, PMPCFG, SSTATUS, VTIMECTL};
use isa::{Check, Csr, Ext};

use super::masks::{HU_BITS, S_BITS, SSTATUS_VISIBLE, VS_BITS};
use crate::checks;
use crate::hart::Hart;
use crate::pmp::N_PMP;

/// Nanoseconds of guest time for one tick of `time`: the timebase is 10 MHz.
pub const NS_PER_TICK: u64 = 100;
/// MXL, SXL, UXL, VSXL: 64 bits.
const XLEN_64: u64 = 2;

impl Hart {
    /// Guest time in ns at the instruction that is being executed.
    #[inline(always)]
    pub(crate) fn now_here(&self) -> u64 {
        self.clock.wrapping_add(self.steps).wrapping_add(u64::from(self.at))
    }

    /// `time` with V=0.
    pub(crate) fn time(&self) -> u64 {
        self.now_here() / NS_PER_TICK
    }

    /// `time` as the guest reads it.
    pub(crate) fn guest_time(&self) -> u64 {
        self.time().wrapping_add(self.guest_time_delta())
    }

    /// Steps attempted before this instruction.
    fn steps_here(&self) -> u64 {
        self.steps + u64::from(self.at)
    }

    pub(crate) fn instret_base(&self) -> u64 {
        self.steps_here() - self.not_retired
    }

    /// Interrupts pending now: written bits, wires and timers.
    pub(crate) fn mip(&self) -> u64 {
        let csr = &self.csr;
        let mut mip = csr.mip | self.lines;
        if self.stce() {
            mip = MIP::STIP.with(mip, self.time() >= csr.stimecmp);
        }
        if self.vstce() && self.guest_time() >= csr.vstimecmp {
            mip |= MIP::VSTIP.mask();
        }
        if VTIMECTL::EN.is_set(csr.vtimectl) && self.vtimer_time() >= csr.vtimecmp {
            mip |= 1 << VTIMECTL::IRQ.get(csr.vtimectl);
        }
        mip
    }

    /// The time that the vCPU's timer compares.
    pub(crate) fn vtimer_time(&self) -> u64 {
        self.time().wrapping_add(self.csr.hutimedelta)
    }

    /// For CSRs whose read value is not what a read-modify-write starts from.
    pub(crate) fn written_csr(&self, csr: Csr) -> Option<u64> {
        let mip = self.csr.mip;
        match csr {
            Csr::MIP => Some(mip),
            Csr::SIP => Some(mip & self.csr.mideleg & S_BITS),
            Csr::HUIP => Some(mip & HU_BITS),
            _ => None,
        }
    }

    /// The CSR's value.
    pub(crate) fn read_csr(&self, csr: Csr) -> u64 {
        match csr.level() {
            _ if (Csr::CYCLE.0..=Csr::HPMCOUNTER31.0).contains(&csr.0) => self.read_counter(csr),
            3 => self.read_machine(csr),
            2 => self.read_hypervisor(csr),
            1 => self.read_supervisor(csr),
            _ => self.read_user(csr),
        }
    }

    fn read_counter(&self, csr: Csr) -> u64 {
        match csr {
            Csr::CYCLE => self.steps_here().wrapping_add(self.csr.mcycle),
            Csr::TIME if self.virt => self.guest_time(),
            Csr::TIME => self.time(),
            Csr::INSTRET => self.instret_base().wrapping_add(self.csr.minstret),
            _ => 0,
        }
    }

    fn read_machine(&self, csr: Csr) -> u64 {
        let state = &self.csr;
        match csr {
            Csr::MSTATUS => {
                let xl = MSTATUS::SXL.set(MSTATUS::UXL.set(0, XLEN_64), XLEN_64);
                state.mstatus | xl
            }
            Csr::MISA => self.isa.misa(),
            Csr::MEDELEG => state.medeleg,
            Csr::MIDELEG => state.mideleg | self.mideleg_fixed(),
            Csr::MIE => state.mie,
            Csr::MTVEC => state.mtvec,
            Csr::MCOUNTEREN => state.mcounteren,
            Csr::MENVCFG => state.menvcfg,
            Csr::MSCRATCH => state.mscratch,
            Csr::MEPC => state.mepc & self.pc_mask(),
            Csr::MCAUSE => state.mcause,
            Csr::MTVAL => state.mtval,
            Csr::MIP => self.mip(),
            Csr::MTINST => state.mtinst,
            Csr::MTVAL2 => state.mtval2,
            Csr::MCYCLE => self.read_counter(Csr::CYCLE),
            Csr::MINSTRET => self.read_counter(Csr::INSTRET),
            Csr::MHARTID => self.id as u64,
            Csr(n) if (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).contains(&n) => {
                self.read_pmpcfg(usize::from(n - Csr::PMPCFG0.0) * 4)
            }
            Csr(n) if (Csr::PMPADDR0.0..=Csr::PMPADDR63.0).contains(&n) => {
                self.read_pmpaddr(usize::from(n - Csr::PMPADDR0.0))
            }
            // mvendorid, marchid and mimpid: not a commercial, registered implementation.
            _ => 0,
        }
    }

    fn read_pmpcfg(&self, first: usize) -> u64 {
        let cfgs = self.csr.pmpcfg.iter().skip(first).take(8);
        cfgs.enumerate().fold(0, |word, (i, cfg)| word | cfg << (8 * i))
    }

    /// "the NAPOT … bits pmpaddr[G-2:0] read as all ones", OFF and TOR "read as all zeros".
    fn read_pmpaddr(&self, i: usize) -> u64 {
        if i >= N_PMP {
            return 0;
        }
        let addr = self.csr.pmpaddr[i];
        if PMPCFG::A.get(self.csr.pmpcfg[i]) >= 2 { addr | 0x1ff } else { addr & !0x3ff }
    }

    fn read_supervisor(&self, csr: Csr) -> u64 {
        let state = &self.csr;
        match csr {
            Csr::SSTATUS => SSTATUS::UXL.set(state.mstatus & SSTATUS_VISIBLE, XLEN_64),
            Csr::SIE => state.mie & state.mideleg & S_BITS,
            Csr::SIP => self.mip() & state.mideleg & S_BITS,
            Csr::STVEC => state.stvec,
            Csr::SCOUNTEREN => state.scounteren,
            Csr::SENVCFG => state.senvcfg,
            Csr::SSCRATCH => state.sscratch,
            Csr::SEPC => state.sepc & self.pc_mask(),
            Csr::SCAUSE => state.scause,
            Csr::STVAL => state.stval,
            Csr::STIMECMP => state.stimecmp,
            Csr::SATP => state.satp,
            Csr::SEDELEG => state.sedeleg,
            Csr::SIDELEG => state.sideleg,
            _ => 0,
        }
    }

    fn read_hypervisor(&self, csr: Csr) -> u64 {
        let state = &self.csr;
        let of_hs = VS_BITS | MIP::SGEIP.mask();
        match csr {
            Csr::HSTATUS => isa::fields::HSTATUS::VSXL.set(state.hstatus, XLEN_64),
            Csr::HEDELEG => state.hedeleg,
            Csr::HIDELEG => state.hideleg,
            Csr::HIE => state.mie & of_hs,
            Csr::HIP => self.mip() & of_hs,
            Csr::HVIP => state.mip & VS_BITS,
            Csr::HTIMEDELTA => state.htimedelta,
            Csr::HCOUNTEREN => state.hcounteren,
            Csr::HENVCFG => self.henvcfg(),
            Csr::HTVAL => state.htval,
            Csr::HTINST => state.htinst,
            Csr::HGATP => state.hgatp,
            Csr::H_VMID => state.h_vmid,
            _ => self.read_guest(csr),
        }
    }

    /// The guest's supervisor CSRs.
    fn read_guest(&self, csr: Csr) -> u64 {
        let state = &self.csr;
        match csr {
            Csr::VSSTATUS => SSTATUS::UXL.set(state.vsstatus, XLEN_64),
            Csr::VSIE => (state.mie & state.hideleg & VS_BITS) >> 1,
            Csr::VSIP => (self.mip() & state.hideleg & VS_BITS) >> 1,
            Csr::VSTVEC => state.vstvec,
            Csr::VSSCRATCH => state.vsscratch,
            Csr::VSEPC => state.vsepc & self.pc_mask(),
            Csr::VSCAUSE => state.vscause,
            Csr::VSTVAL => state.vstval,
            Csr::VSTIMECMP => state.vstimecmp,
            Csr::VSATP => state.vsatp,
            _ => 0,
        }
    }

    fn read_user(&self, csr: Csr) -> u64 {
        let state = &self.csr;
        match csr {
            Csr::FFLAGS => state.fflags,
            Csr::FRM => state.frm,
            Csr::FCSR => FCSR::FRM.set(state.fflags, state.frm),
            Csr::UIE | Csr::HUIE => state.mie & checks::mask(Check::HuieShown, HU_BITS),
            Csr::UIP | Csr::HUIP => self.mip() & checks::mask(Check::HuipShown, HU_BITS),
            Csr::UTVEC => state.utvec,
            Csr::USCRATCH => state.uscratch,
            Csr::UEPC => state.uepc & self.pc_mask(),
            Csr::UCAUSE => state.ucause,
            Csr::UTVAL => state.utval,
            Csr::HUSTATUS => {
                let status = HUSTATUS::VSXL.set(state.hustatus, XLEN_64);
                HUSTATUS::HU.with(status, self.delegated())
            }
            Csr::HUTIMEDELTA => state.hutimedelta,
            Csr::HUCOUNTEREN => state.hucounteren,
            Csr::HUTVAL => state.hutval,
            Csr::HUTINST => state.hutinst,
            Csr::HUVIP => state.mip & VS_BITS,
            Csr::HUGATP => state.hugatp,
            Csr::VTIMECMP => state.vtimecmp,
            Csr::VTIMECTL => state.vtimectl,
            Csr::HU_VCPUID => state.hu_vcpuid,
            // The views of the guest's CSRs; vipi0..3 read zero.
            _ => csr.row().and_then(|row| row.mirror).map_or(0, |mirror| self.read_guest(mirror)),
        }
    }

    /// What can be set in an address of an instruction.
    pub(crate) fn pc_mask(&self) -> u64 {
        if self.isa.has(Ext::C) { !1 } else { !3 }
    }

    /// Whether `cbo.*` and the like are allowed by the environments above the current mode:
    /// the field's value in `menvcfg`, `henvcfg` and `senvcfg`, as far as they apply.
    pub(crate) fn envcfgs(&self) -> (u64, u64, u64) {
        let all = u64::MAX;
        let menvcfg = if self.prv == 3 { all } else { self.csr.menvcfg };
        let henvcfg = if self.virt { self.csr.henvcfg } else { all };
        let senvcfg = if self.prv == 0 { self.csr.senvcfg } else { all };
        (menvcfg, henvcfg, senvcfg)
    }
}
