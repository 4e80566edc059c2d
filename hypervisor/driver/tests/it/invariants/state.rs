//! The CSRs that are watched, and which of them which kind of step may change.

use hart::Hart;
use isa::fields::{HSTATUS, HUSTATUS, MIP, MSTATUS};
use isa::{Csr, Mode};

const fn pmp(base: Csr, n: u16) -> Csr {
    Csr(base.0 + n)
}

/// Everything that holds state, but counters.
pub(crate) const WATCHED: [Csr; 78] = [
    Csr::MSTATUS,
    Csr::MEDELEG,
    Csr::MIDELEG,
    Csr::MIE,
    Csr::MTVEC,
    Csr::MCOUNTEREN,
    Csr::MENVCFG,
    Csr::MSCRATCH,
    Csr::MEPC,
    Csr::MCAUSE,
    Csr::MTVAL,
    Csr::MIP,
    Csr::MTINST,
    Csr::MTVAL2,
    Csr::PMPCFG0,
    pmp(Csr::PMPCFG0, 2),
    Csr::PMPADDR0,
    pmp(Csr::PMPADDR0, 1),
    pmp(Csr::PMPADDR0, 2),
    pmp(Csr::PMPADDR0, 3),
    pmp(Csr::PMPADDR0, 4),
    pmp(Csr::PMPADDR0, 5),
    pmp(Csr::PMPADDR0, 6),
    pmp(Csr::PMPADDR0, 7),
    pmp(Csr::PMPADDR0, 8),
    pmp(Csr::PMPADDR0, 9),
    pmp(Csr::PMPADDR0, 10),
    pmp(Csr::PMPADDR0, 11),
    pmp(Csr::PMPADDR0, 12),
    pmp(Csr::PMPADDR0, 13),
    pmp(Csr::PMPADDR0, 14),
    pmp(Csr::PMPADDR0, 15),
    Csr::STVEC,
    Csr::SCOUNTEREN,
    Csr::SENVCFG,
    Csr::SSCRATCH,
    Csr::SEPC,
    Csr::SCAUSE,
    Csr::STVAL,
    Csr::STIMECMP,
    Csr::SATP,
    Csr::HSTATUS,
    Csr::HEDELEG,
    Csr::HIDELEG,
    Csr::HTIMEDELTA,
    Csr::HCOUNTEREN,
    Csr::HENVCFG,
    Csr::HTVAL,
    Csr::HTINST,
    Csr::HGATP,
    Csr::VSSTATUS,
    Csr::VSTVEC,
    Csr::VSSCRATCH,
    Csr::VSEPC,
    Csr::VSCAUSE,
    Csr::VSTVAL,
    Csr::VSTIMECMP,
    Csr::VSATP,
    Csr::SEDELEG,
    Csr::SIDELEG,
    Csr::H_VMID,
    Csr::UTVEC,
    Csr::USCRATCH,
    Csr::UEPC,
    Csr::UCAUSE,
    Csr::UTVAL,
    Csr::VTIMECMP,
    Csr::VTIMECTL,
    Csr::HU_VCPUID,
    Csr::HUSTATUS,
    Csr::HUTIMEDELTA,
    Csr::HUCOUNTEREN,
    Csr::HUTVAL,
    Csr::HUTINST,
    Csr::HUGATP,
    Csr::FFLAGS,
    Csr::FRM,
    // A view, for the line of text that names what changed.
    Csr::HUVIP,
];

/// What HU finds in its CSRs about a trap.
pub(crate) const TRAP_STATE: [Csr; 5] =
    [Csr::UEPC, Csr::UCAUSE, Csr::UTVAL, Csr::HUTVAL, Csr::HUTINST];

const NONE: u8 = u8::MAX;

/// For each number its place among the watched.
static PLACES: [u8; 4096] = {
    let mut places = [NONE; 4096];
    let mut i = 0;
    while i < WATCHED.len() {
        #[expect(clippy::cast_possible_truncation, reason = "fewer than 256 are watched")]
        let place = i as u8;
        places[WATCHED[i].0 as usize] = place;
        i += 1;
    }
    places
};

/// A hart between two steps.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) mode: Mode,
    pub(crate) pc: u64,
    pub(crate) steps: u64,
    csrs: [u64; WATCHED.len()],
}

impl State {
    /// `lines` is what the wires drive now.
    pub(crate) fn of(hart: &Hart, lines: u64) -> Self {
        let mut csrs = WATCHED.map(|csr| hart.csr(csr).unwrap_or(0));
        let mip = &mut csrs[usize::from(PLACES[usize::from(Csr::MIP.0)])];
        *mip = *mip & !MIP::MTIP.mask() | lines;
        Self { mode: hart.mode(), pc: hart.pc(), steps: hart.steps(), csrs }
    }

    pub(crate) fn get(&self, csr: Csr) -> u64 {
        self.csrs[usize::from(PLACES[usize::from(csr.0)])]
    }

    /// The guest's owner is HU.
    pub(crate) fn delegated(&self) -> bool {
        self.get(Csr::HSTATUS) >> 9 & 1 == 1
    }

    pub(crate) fn virt(&self) -> bool {
        self.mode.is_virtual()
    }

    /// The first watched CSR with a change that the kind of step does not explain.
    pub(crate) fn unexplained(&self, after: &Self, may: &Explained) -> Option<(Csr, u64, u64)> {
        let all = self.csrs.iter().zip(&after.csrs).zip(&may.0).zip(WATCHED);
        all.filter(|(((old, new), may), _)| (*old ^ *new) & !**may != 0)
            .map(|(((old, new), _), csr)| (csr, *old, *new))
            .next()
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An instruction of VS or VU.
    Guest,
    /// An instruction of HU.
    Hu,
    /// An instruction of U.
    User,
    /// An instruction of HS: not judged.
    Hs,
    /// A trap.
    To(Mode),
    /// No step of this hart.
    Nothing,
    /// No step of this hart, but a post of another one.
    Posted,
}

/// For each watched CSR the bits that may change.
pub(crate) struct Explained([u64; WATCHED.len()]);

impl Explained {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(WATCHED.map(|csr| bits(kind, csr)))
    }
}

/// Timers drive these by themselves.
const TIMERS: u64 = 1 << 4 | 1 << 5 | 1 << 6;
const OF_VS: u64 = 1 << 2 | 1 << 6 | 1 << 10;
const OF_HU: u64 = 1 | 1 << 4 | 1 << 8;

fn bits(kind: Kind, csr: Csr) -> u64 {
    let timers = if csr == Csr::MIP { TIMERS } else { 0 };
    let own = match kind {
        Kind::Guest => guest(csr),
        Kind::Hu => hu(csr),
        Kind::User => fp(csr),
        Kind::Hs => u64::MAX,
        Kind::Nothing => 0,
        Kind::Posted => match csr {
            Csr::MIP | Csr::HUVIP => 1 << 2,
            _ => 0,
        },
        Kind::To(Mode::Vs) => match csr {
            Csr::VSSTATUS | Csr::VSEPC | Csr::VSCAUSE | Csr::VSTVAL => u64::MAX,
            _ => 0,
        },
        Kind::To(Mode::Hu) => to_hu(csr),
        Kind::To(Mode::Hs) => to_hs(csr),
        Kind::To(_) => to_m(csr),
    };
    timers | own
}

fn fp(csr: Csr) -> u64 {
    match csr {
        Csr::FFLAGS | Csr::FRM => u64::MAX,
        // "The FS field … also in vsstatus": using the unit makes it dirty in both.
        Csr::MSTATUS => MSTATUS::FS.mask() | MSTATUS::SD.mask(),
        _ => 0,
    }
}

fn of_guest(csr: Csr) -> u64 {
    match csr {
        Csr::VSSTATUS
        | Csr::VSTVEC
        | Csr::VSSCRATCH
        | Csr::VSEPC
        | Csr::VSCAUSE
        | Csr::VSTVAL
        | Csr::VSTIMECMP
        | Csr::VSATP => u64::MAX,
        Csr::MIE => OF_VS,
        _ => fp(csr),
    }
}

fn guest(csr: Csr) -> u64 {
    match csr {
        // They have no twins: the guest's own while it runs.
        Csr::SCOUNTEREN | Csr::SENVCFG => u64::MAX,
        Csr::MIP | Csr::HUVIP => 1 << 2,
        _ => of_guest(csr),
    }
}

fn hu(csr: Csr) -> u64 {
    match csr {
        Csr::UTVEC
        | Csr::USCRATCH
        | Csr::UEPC
        | Csr::UCAUSE
        | Csr::UTVAL
        | Csr::VTIMECMP
        | Csr::VTIMECTL
        | Csr::HU_VCPUID
        | Csr::HUTIMEDELTA
        | Csr::HUCOUNTEREN
        | Csr::HUTVAL
        | Csr::HUTINST => u64::MAX,
        Csr::HUSTATUS => !HUSTATUS::HU.mask(),
        Csr::MIE => OF_HU | OF_VS,
        Csr::MIP => 1 | 1 << 8 | OF_VS,
        Csr::HUVIP => OF_VS,
        _ => of_guest(csr),
    }
}

fn to_hu(csr: Csr) -> u64 {
    match csr {
        Csr::UEPC | Csr::UCAUSE | Csr::UTVAL | Csr::HUTVAL | Csr::HUTINST => u64::MAX,
        Csr::HUSTATUS => {
            HUSTATUS::UIE.mask()
                | HUSTATUS::UPIE.mask()
                | HUSTATUS::GVA.mask()
                | HUSTATUS::SPV.mask()
                | HUSTATUS::SPVP.mask()
                | HUSTATUS::TA.mask()
        }
        _ => 0,
    }
}

fn to_hs(csr: Csr) -> u64 {
    match csr {
        Csr::SEPC | Csr::SCAUSE | Csr::STVAL | Csr::HTVAL | Csr::HTINST => u64::MAX,
        Csr::HSTATUS => HSTATUS::SPV.mask() | HSTATUS::SPVP.mask() | HSTATUS::GVA.mask(),
        Csr::MSTATUS => MSTATUS::SIE.mask() | MSTATUS::SPIE.mask() | MSTATUS::SPP.mask(),
        _ => 0,
    }
}

fn to_m(csr: Csr) -> u64 {
    match csr {
        Csr::MEPC | Csr::MCAUSE | Csr::MTVAL | Csr::MTVAL2 | Csr::MTINST => u64::MAX,
        Csr::MSTATUS => {
            MSTATUS::MIE.mask()
                | MSTATUS::MPIE.mask()
                | MSTATUS::MPP.mask()
                | MSTATUS::MPV.mask()
                | MSTATUS::GVA.mask()
        }
        _ => 0,
    }
}
