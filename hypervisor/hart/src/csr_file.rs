//! Access to CSRs: `check` says who may, `read` is pure, `write` legalises.
//!
//! Not there, and why: `mcountinhibit` is hard-wired to zero (the counters derive from the step
//! counter), `hgeip`/`hgeie` are zero (no guest external interrupts: GEILEN is 0), `mseccfg` and
//! the trigger CSRs read zero.

use isa::csr::{CsrRow, Group};
use isa::fields::{HSTATUS, HUSTATUS, MSTATUS};
use isa::{Check, Csr, Ext};

use crate::bus::Bus;
use crate::checks::on;
use crate::hart::{Hart, Trap};

mod masks;
mod read;
mod write;

pub(crate) use masks::{HU_BITS, M_BITS, S_BITS, VS_BITS};
pub use read::NS_PER_TICK;

impl Hart {
    /// Whether the current mode may read (or write) this CSR.
    pub(crate) fn check_csr(&self, csr: Csr, read: bool, write: bool) -> Result<(), Trap> {
        let Some(row) = csr.row().filter(|row| self.has_csr(row)) else {
            return Err(Trap::illegal());
        };
        if write && csr.is_read_only() {
            return Err(Trap::illegal());
        }
        if matches!(row.group, Group::Dv | Group::Hu) {
            return self.check_dv(csr, read, write);
        }
        match (csr.level(), self.prv, self.virt) {
            (_, 3, _) => {}
            (3, ..) => return Err(Trap::illegal()),
            _ if self.lacks_timer(csr) => return Err(Trap::illegal()),
            // "In VS-mode, attempts to access an implemented non-high-half hypervisor CSR or VS
            // CSR when the same access … would be allowed in HS-mode"
            (2, _, true) => return Err(Trap::virtual_instruction()),
            (1, 0, true) => return Err(Trap::virtual_instruction()),
            (1 | 2, 0, false) => return Err(Trap::illegal()),
            _ => {}
        }
        self.check_special(csr)
    }

    fn check_special(&self, csr: Csr) -> Result<(), Trap> {
        match csr {
            Csr::FFLAGS | Csr::FRM | Csr::FCSR if self.lacks_fp() => Err(Trap::illegal()),
            Csr::SATP if self.prv == 1 && self.virt => {
                refuse(HSTATUS::VTVM.is_set(self.guest_status()), Trap::virtual_instruction())
            }
            Csr::SATP | Csr::HGATP if self.prv == 1 => {
                refuse(MSTATUS::TVM.is_set(self.csr.mstatus), Trap::illegal())
            }
            Csr::STIMECMP if self.prv != 3 => self.check_timer(),
            Csr(number) if (Csr::CYCLE.0..=Csr::HPMCOUNTER31.0).contains(&number) => {
                self.check_counter(number & 31)
            }
            _ => Ok(()),
        }
    }

    /// Sstc: "an attempt to access stimecmp or vstimecmp in a mode other than M-mode raises an
    /// illegal-instruction exception" if `STCE` in menvcfg or `TM` in mcounteren is clear.
    fn lacks_timer(&self, csr: Csr) -> bool {
        let on = self.csr.mcounteren & 2 != 0 && self.stce();
        matches!(csr, Csr::STIMECMP | Csr::VSTIMECMP) && !on
    }

    /// The virtual twin of that rule, with hcounteren and henvcfg.
    fn check_timer(&self) -> Result<(), Trap> {
        let on = self.guest_counteren() & 2 != 0 && self.vstce();
        refuse(self.virt && !on, Trap::virtual_instruction())
    }

    /// Privileged manual, "Machine Counter-Enable (mcounteren) Register", and its twins.
    fn check_counter(&self, n: u16) -> Result<(), Trap> {
        let off = |counteren: u64| counteren >> n & 1 == 0;
        if self.prv == 3 {
            return Ok(());
        }
        if off(self.csr.mcounteren) {
            return Err(Trap::illegal());
        }
        if self.virt && off(self.guest_counteren()) {
            return Err(Trap::virtual_instruction());
        }
        if self.prv == 0 && off(self.csr.scounteren) {
            return Err(if self.virt { Trap::virtual_instruction() } else { Trap::illegal() });
        }
        Ok(())
    }

    /// DV-ext: HU CSRs are for HU and HS; HS's own controls for HS; `vipi` also for a guest that
    /// HU lets post.
    fn check_dv(&self, csr: Csr, read: bool, write: bool) -> Result<(), Trap> {
        let vipi = csr.0 >= Csr::VIPI0.0 && csr.0 <= Csr::VIPI3.0;
        if self.virt {
            let posts = self.delegated() && HUSTATUS::VIE.is_set(self.csr.hustatus);
            let refused =
                if vipi { on(Check::VipiNeedsVie) && !posts } else { on(Check::HuCsrInGuest) };
            return refuse(refused, Trap::virtual_instruction());
        }
        if csr == Csr::HU_VITR && read && on(Check::VitrWriteOnly) {
            return Err(Trap::illegal());
        }
        if self.prv != 0 {
            return Ok(());
        }
        let plain = on(Check::HuCsrInU) && !self.delegated();
        let own =
            on(Check::KernelCsrInHu) && matches!(csr, Csr::SEDELEG | Csr::SIDELEG | Csr::H_VMID);
        let fixed = on(Check::HugatpReadOnly) && csr == Csr::HUGATP && write;
        let timer =
            on(Check::TimerNeedsStce) && csr == Csr::HUVSTIMECMP && !(self.stce() && self.vstce());
        refuse(plain || own || fixed || timer, Trap::illegal())
    }

    fn has_csr(&self, row: &CsrRow) -> bool {
        let has = |ext: Ext| self.isa.has(ext);
        match (row.csr, row.group) {
            // First, for the VM plane asks most.
            (csr, Group::Dv | Group::Hu) => {
                has(Ext::Xdv) && (csr != Csr::HUVSTIMECMP || has(Ext::Sstc))
            }
            (Csr::FFLAGS | Csr::FRM | Csr::FCSR, _) => has(Ext::F),
            (Csr::CYCLE | Csr::TIME | Csr::INSTRET, _) => has(Ext::Zicntr),
            (Csr::STIMECMP, _) => has(Ext::Sstc),
            (Csr::VSTIMECMP, _) => has(Ext::Sstc) && has(Ext::H),
            (Csr::MTINST | Csr::MTVAL2, _) => has(Ext::H),
            (_, Group::User) => has(Ext::Zihpm),
            (_, Group::Hypervisor | Group::Vs) => has(Ext::H),
            (_, Group::Supervisor | Group::Machine | Group::Debug) => true,
        }
    }

    /// `menvcfg.STCE`: `stimecmp` drives STIP.
    pub(crate) fn stce(&self) -> bool {
        isa::fields::ENVCFG::STCE.is_set(self.csr.menvcfg)
    }

    /// `henvcfg.STCE` as far as `menvcfg` lets it: `vstimecmp` drives VSTIP.
    pub(crate) fn vstce(&self) -> bool {
        isa::fields::ENVCFG::STCE.is_set(self.henvcfg())
    }

    /// A CSR instruction: checks, reads, writes what `change` makes of the old value.
    pub(crate) fn csr_access<B: Bus>(
        &mut self,
        bus: &mut B,
        csr: Csr,
        read: bool,
        change: Option<impl FnOnce(u64) -> u64>,
    ) -> Result<u64, Trap> {
        self.check_csr(csr, read, change.is_some())?;
        let actual = self.guest_alias(csr);
        let old = if read { self.read_csr(actual) } else { 0 };
        if let Some(change) = change {
            // Bits of mip and its views that wires drive do not stick: "csrrs/csrrc … the value
            // used for the modification" is the software part only.
            let base = if read { self.written_csr(actual).unwrap_or(old) } else { old };
            self.write_csr(bus, actual, change(base))?;
        }
        Ok(old)
    }

    /// With V=1 the supervisor's CSRs are the guest's.
    fn guest_alias(&self, csr: Csr) -> Csr {
        let replaced = matches!(
            csr,
            Csr::SSTATUS
                | Csr::SIE
                | Csr::STVEC
                | Csr::SSCRATCH
                | Csr::SEPC
                | Csr::SCAUSE
                | Csr::STVAL
                | Csr::SIP
                | Csr::STIMECMP
                | Csr::SATP
        );
        if self.virt && replaced { Csr(csr.0 + 0x100) } else { csr }
    }
}

fn refuse(refused: bool, trap: Trap) -> Result<(), Trap> {
    if refused { Err(trap) } else { Ok(()) }
}
