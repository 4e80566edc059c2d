//! Which CSRs a program touches, and with what values.
//!
//! Left out is what the two sides may legally do differently, see `docs/src/verification.md`.

use isa::csr::{CSRS, Group};
use isa::fields::{ENVCFG, HGATP, MIP, MSTATUS, SATP};
use isa::{Csr, Exception};

use super::layout::{DATA, PAGE, SPARE, address};
use super::tables::Space;
use crate::rng::Rng;

/// The first of the protection entries that a program may change; the last one stays, too.
pub(crate) const PMP_FREE: usize = 6;
pub(crate) const PMP_LAST: usize = 15;

/// How an instruction may name a CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Read and write, anything.
    All,
    /// Read.
    Read,
    /// Look whether it may be read: the value goes nowhere.
    Check,
    /// Write without reading.
    Write,
    /// Not at all.
    Never,
}

pub(crate) fn usage(csr: Csr) -> Use {
    let number = csr.0;
    match csr {
        Csr::MARCHID | Csr::MSECCFG | Csr::MCOUNTINHIBIT => Use::Never,
        Csr::MTVEC | Csr::STVEC | Csr::VSTVEC | Csr::MISA => Use::Read,
        Csr::MSCRATCH | Csr::SSCRATCH | Csr::VSSCRATCH => Use::Read,
        Csr::STIMECMP | Csr::VSTIMECMP => Use::Read,
        Csr::TSELECT | Csr::TDATA1 | Csr::TDATA2 | Csr::TDATA3 => Use::Read,
        Csr::MTINST | Csr::HTINST => Use::Write,
        Csr::MCYCLE | Csr::MINSTRET => Use::Write,
        Csr::CYCLE | Csr::TIME | Csr::INSTRET => Use::Check,
        _ if (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).contains(&number) => Use::All,
        _ if (Csr::PMPADDR0.0..=Csr::PMPADDR63.0).contains(&number) => {
            let entry = usize::from(number - Csr::PMPADDR0.0);
            if (PMP_FREE..PMP_LAST).contains(&entry) || entry > PMP_LAST {
                Use::All
            } else {
                Use::Read
            }
        }
        // Numbers of debug, triggers and contexts: only the other side has them.
        Csr(0x5a8 | 0x6a8 | 0x7a4 | 0x7a5 | 0x7a8) => Use::Never,
        _ if csr.row().is_none_or(|row| matches!(row.group, Group::Dv | Group::Hu)) => Use::Read,
        _ => Use::All,
    }
}

/// Numbers of the CSRs that are there, without those of DV-ext.
pub(crate) fn standard() -> Vec<Csr> {
    let rows = CSRS.iter().filter(|row| !matches!(row.group, Group::Dv | Group::Hu));
    rows.map(|row| row.csr).filter(|csr| usage(*csr) != Use::Never).collect()
}

/// A number with few or many bits set.
pub(crate) fn any_word(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << rng.below(64),
        3 => rng.below(4096),
        4 => rng.next() & rng.next() & rng.next(),
        5 => rng.next() | rng.next(),
        6 => ((rng.next().cast_signed() << 32) >> 32).cast_unsigned(),
        _ => rng.next(),
    }
}

/// What of a CSR must not be touched bit by bit.
pub(crate) fn untouched(csr: Csr) -> u64 {
    match csr {
        Csr::MSTATUS => MSTATUS::MPP.mask(),
        Csr::MENVCFG | Csr::HENVCFG | Csr::SENVCFG => {
            ENVCFG::FIOM.mask() | ENVCFG::CBIE.mask() | ENVCFG::STCE.mask()
        }
        Csr::MEDELEG | Csr::HEDELEG => NOT_DELEGATED,
        Csr::SATP | Csr::VSATP | Csr::HGATP => u64::MAX >> 20,
        _ if (Csr::PMPCFG0.0..=Csr::PMPADDR63.0).contains(&csr.0) => u64::MAX,
        _ => 0,
    }
}

/// Not delegated: misaligned fetches, which cannot happen; hardware errors, which we do not have;
/// calls from HS, which are how a handler gives up.
const NOT_DELEGATED: u64 =
    Exception::InstructionMisaligned.bit() | Exception::EcallFromHs.bit() | 1 << 19;

/// What CSR values are made of.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) firsts: Vec<Space>,
    pub(crate) guests: Vec<Space>,
    /// `menvcfg.STCE` and `henvcfg.STCE` of this episode.
    pub(crate) stce: [bool; 2],
}

impl Values {
    /// A value for a write of this CSR.
    pub(crate) fn of(&self, rng: &mut Rng, csr: Csr) -> u64 {
        let word = any_word(rng);
        match csr {
            Csr::MSTATUS if MSTATUS::MPP.get(word) == 2 => MSTATUS::MPP.set(word, 1),
            Csr::MSTATUS | Csr::SSTATUS | Csr::VSSTATUS if rng.one_in(2) => {
                let word = MSTATUS::FS.set(word, 3);
                if csr == Csr::MSTATUS {
                    MSTATUS::MPP.set(word, rng.pick(&[0, 1, 3]))
                } else {
                    word
                }
            }
            Csr::MENVCFG => ENVCFG::STCE.with(envcfg(word), self.stce[0]),
            Csr::HENVCFG => ENVCFG::STCE.with(envcfg(word), self.stce[1]),
            Csr::SENVCFG => envcfg(word),
            Csr::MEDELEG | Csr::HEDELEG => {
                let word = if rng.one_in(2) { word | rng.next() | rng.next() } else { word };
                word & !NOT_DELEGATED
            }
            Csr::MIE | Csr::MIDELEG | Csr::HIDELEG => word | rng.next() & 0x1fff,
            Csr::MIP if rng.one_in(2) => word & MIP::SSIP.mask(),
            Csr::MCOUNTEREN | Csr::HCOUNTEREN | Csr::SCOUNTEREN => word | rng.next() & 7,
            Csr::SATP | Csr::VSATP => self.first(rng, 24),
            Csr::HGATP => self.guest(rng, 24),
            _ if (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).contains(&csr.0) => {
                pmpcfg(rng, usize::from(csr.0 - Csr::PMPCFG0.0) * 4)
            }
            _ if (Csr::PMPADDR0.0..=Csr::PMPADDR63.0).contains(&csr.0) => pmpaddr(rng),
            _ => word,
        }
    }

    /// A value for satp or vsatp; one in so many has a mode that there is not.
    pub(crate) fn first(&self, rng: &mut Rng, odds: u64) -> u64 {
        let atp = match rng.below(odds) {
            0..2 => 0,
            2 => SATP::MODE.set(rng.pick(&self.firsts).atp, rng.below(16) & 7),
            _ => rng.pick(&self.firsts).atp,
        };
        SATP::ASID.set(atp, rng.next())
    }

    /// A value for hgatp, likewise.
    pub(crate) fn guest(&self, rng: &mut Rng, odds: u64) -> u64 {
        let atp = match rng.below(odds) {
            0..2 => 0,
            2 => HGATP::MODE.set(rng.pick(&self.guests).atp, rng.below(16) & 7) | rng.below(4),
            _ => rng.pick(&self.guests).atp,
        };
        HGATP::VMID.set(atp, rng.next())
    }
}

/// The value 2 of CBIE is reserved, and FIOM is always zero there.
fn envcfg(word: u64) -> u64 {
    let word = ENVCFG::FIOM.set(word, 0);
    if ENVCFG::CBIE.get(word) == 2 { ENVCFG::CBIE.set(word, 3) } else { word }
}

/// Eight bytes of protection. The fixed entries are what [`FIXED_PMP`] says.
pub(crate) fn pmpcfg(rng: &mut Rng, first: usize) -> u64 {
    let mut word = 0;
    for entry in (first..first + 8).rev() {
        let cfg = match entry {
            0..PMP_FREE => FIXED_PMP[entry].0,
            PMP_LAST => 0x1f,
            // The first free one would reach from the tables on.
            PMP_FREE => 0,
            // Off mostly; NA4 is finer than the granularity.
            _ if rng.one_in(2) => {
                rng.pick(&[0, 0x1f, 0x0f, 0x1b, 0x19, 0x1d, 0x18, 0x09, 0x1a, 0x1c])
            }
            _ => 0,
        };
        word = word << 8 | cfg;
    }
    word
}

/// An address for protection: pages of data, and a few of what is around them.
pub(crate) fn pmpaddr(rng: &mut Rng) -> u64 {
    let page = DATA as u64 - 4 + rng.below((SPARE - DATA) as u64 + 8);
    let at = (address(0) + page * PAGE) >> 2;
    match rng.below(4) {
        0 => at,
        1 => at | 0x1ff,
        2 => at | 0x7ff,
        _ => at | rng.next() & 0xfff,
    }
}

/// Configuration and end (TOR) of the first entries: what only one side has is hidden, the kernel
/// and the handlers are safe.
pub(crate) const FIXED_PMP: [(u64, u64); PMP_FREE] = [
    (0x88, 0x200_0000),
    (0x08, 0x201_0000),
    (0x88, 0x8000_0000),
    (0x8d, 0x8007_a000),
    (0x08, 0x8007_b000),
    (0x00, 0x8007_b000),
];
