//! The state of a hart as it is saved and restored, and what of it can be.
//!
//! Not saved: number and extensions, which are configuration; guest time and wires, which the
//! machine tells; what is cached, which is made anew; and what is watched, which is the watcher's.

use isa::fields::{HGATP, MSTATUS, PMPCFG, SATP, VTIMECTL};
use state::{Codec, Damaged, State};

use crate::bus::Post;
use crate::csr_file::{HU_BITS, M_BITS, S_BITS, VS_BITS};
use crate::csrs::Csrs;
use crate::hart::Hart;
use crate::pmp::PMPADDR_MASK;
use crate::switch::Unwritten;

/// More steps than a hart ever makes: what adds up steps of all harts of a machine stays far from
/// the end of its range.
const STEPS_MAX: u64 = 1 << 54;
/// Bytes of a reservation set.
const RESERVATION: u64 = 64;

impl Csrs {
    /// Whether no field holds a value that no write leaves there, as far as anybody relies on it.
    pub(crate) fn are_legal(&self) -> bool {
        let tvecs = [self.mtvec, self.stvec, self.vstvec, self.utvec];
        let epcs = [self.mepc, self.sepc, self.vsepc, self.uepc];
        let atps = [self.satp, self.vsatp, self.hgatp, self.hugatp];
        let interrupts = M_BITS | S_BITS | VS_BITS | HU_BITS | isa::fields::MIP::SGEIP.mask();
        let vmid = HGATP::VMID.get(u64::MAX);
        tvecs.iter().all(|tvec| tvec & 2 == 0)
            && epcs.iter().all(|epc| epc & 1 == 0)
            && atps.iter().all(|atp| matches!(SATP::MODE.get(*atp), 0 | 8..=10))
            && (self.mie | self.mip) & !interrupts == 0
            && MSTATUS::MPP.get(self.mstatus) != 2
            && self.fflags <= 31
            && self.frm <= 7
            && self.h_vmid <= vmid
            && self.hu_vcpuid <= 0xffff
            && self.vtimectl & !(VTIMECTL::EN.mask() | VTIMECTL::IRQ.mask()) == 0
            && matches!(VTIMECTL::IRQ.get(self.vtimectl), 4 | 6)
            && self.pmpcfg.iter().all(|cfg| cfg & !0xbf == 0 && PMPCFG::A.get(*cfg) != 2)
            && self.pmpaddr.iter().all(|addr| addr & !PMPADDR_MASK == 0)
    }
}

fn reservation(codec: &mut Codec<'_>, value: &mut Option<u64>) -> Result<(), Damaged> {
    codec.option(value, |codec, at| {
        codec.u64(at)?;
        let whole = at.is_multiple_of(RESERVATION) && at.checked_add(RESERVATION).is_some();
        codec.check(whole, "a reservation is of no 64 bytes")
    })
}

impl State for Unwritten {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        reservation(codec, &mut self.reservation)?;
        codec.bool(&mut self.waits)
    }
}

impl State for Post {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.u16(&mut self.vmid)?;
        codec.u16(&mut self.vcpu)?;
        codec.choice(&mut self.interrupt, &[0, 2, 6, 10])?;
        codec.bool(&mut self.level)
    }
}

impl State for Hart {
    /// After loading, [`Hart::set_now_ns`] and [`Hart::look`] tell it what the machine knows.
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.words(&mut self.x[..32])?;
        codec.check(self.x[0] == 0, "x0 is not zero")?;
        codec.words(&mut self.f)?;
        codec.u64(&mut self.pc)?;
        codec.check(self.pc & 1 == 0, "a pc is odd")?;
        codec.choice(&mut self.prv, &[0, 1, 3])?;
        codec.bool(&mut self.virt)?;
        codec.check(self.prv != 3 || !self.virt, "M-mode is no guest's")?;
        reservation(codec, &mut self.reservation)?;
        codec.bool(&mut self.waiting)?;
        codec.u64(&mut self.steps)?;
        codec.check(self.steps <= STEPS_MAX, "a hart has made too many steps")?;
        codec.u64(&mut self.not_retired)?;
        codec.check(self.not_retired <= self.steps, "more steps failed than were made")?;
        self.csr.state(codec)?;
        if codec.is_loading() {
            self.at = 0;
            self.decode_pmp();
            self.forget_translations();
            self.moved = true;
            self.probe.moved();
        }
        Ok(())
    }
}
