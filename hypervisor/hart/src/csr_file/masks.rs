//! Which bits of which CSR can be written, by extension.

use isa::fields::{ENVCFG, HSTATUS, HUSTATUS, MIP, MSTATUS, SSTATUS};
use isa::{Exception as E, Ext};

use crate::hart::Hart;

/// Interrupts of a guest: VSSI, VSTI, VSEI.
pub(crate) const VS_BITS: u64 = MIP::VSSIP.mask() | MIP::VSTIP.mask() | MIP::VSEIP.mask();
/// Interrupts that HS may delegate to HU: USOFT, UTIMER, UEXT.
pub(crate) const HU_BITS: u64 = MIP::USIP.mask() | MIP::UTIP.mask() | MIP::UEIP.mask();
/// Interrupts of S.
pub(crate) const S_BITS: u64 = MIP::SSIP.mask() | MIP::STIP.mask() | MIP::SEIP.mask();
/// Interrupts of M.
pub(crate) const M_BITS: u64 = MIP::MSIP.mask() | MIP::MTIP.mask() | MIP::MEIP.mask();

/// What `sstatus` shows of `mstatus` and can write there; `vsstatus` has the same.
pub(crate) const SSTATUS_WRITABLE: u64 = SSTATUS::SIE.mask()
    | SSTATUS::SPIE.mask()
    | SSTATUS::SPP.mask()
    | SSTATUS::SUM.mask()
    | SSTATUS::MXR.mask();
pub(crate) const SSTATUS_VISIBLE: u64 =
    SSTATUS_WRITABLE | SSTATUS::FS.mask() | SSTATUS::SD.mask() | SSTATUS::UXL.mask();

pub(crate) const HSTATUS_WRITABLE: u64 = HSTATUS::GVA.mask()
    | HSTATUS::SPV.mask()
    | HSTATUS::SPVP.mask()
    | HSTATUS::HU.mask()
    | HSTATUS::VTVM.mask()
    | HSTATUS::VTW.mask()
    | HSTATUS::VTSR.mask();

/// `TA` is not among them: hardware sets and clears it, and HS when it switches threads.
pub(crate) const HUSTATUS_WRITABLE: u64 = HUSTATUS::UIE.mask()
    | HUSTATUS::UPIE.mask()
    | HUSTATUS::GVA.mask()
    | HUSTATUS::SPV.mask()
    | HUSTATUS::SPVP.mask()
    | HUSTATUS::VTVM.mask()
    | HUSTATUS::VTW.mask()
    | HUSTATUS::VTSR.mask()
    | HUSTATUS::GLF.mask()
    | HUSTATUS::VIE.mask();

/// The bits of `henvcfg` that `menvcfg` lets it have.
const OF_MENVCFG: u64 = ENVCFG::ADUE.mask() | ENVCFG::PBMTE.mask() | ENVCFG::STCE.mask();

const fn bits(causes: &[E]) -> u64 {
    let mut mask = 0;
    let mut i = 0;
    while i < causes.len() {
        mask |= 1 << causes[i] as u64;
        i += 1;
    }
    mask
}

const ORDINARY: u64 = bits(&[
    E::InstructionMisaligned,
    E::InstructionAccessFault,
    E::IllegalInstruction,
    E::Breakpoint,
    E::LoadMisaligned,
    E::LoadAccessFault,
    E::StoreMisaligned,
    E::StoreAccessFault,
    E::EcallFromU,
    E::InstructionPageFault,
    E::LoadPageFault,
    E::StorePageFault,
]);
const OF_GUEST: u64 = bits(&[
    E::EcallFromVs,
    E::InstructionGuestPageFault,
    E::LoadGuestPageFault,
    E::VirtualInstruction,
    E::StoreGuestPageFault,
]);
/// Privileged manual, "Bits of hedeleg that must be writable or must be read-only zero".
pub(crate) const HEDELEG: u64 = ORDINARY;
/// DV-ext: what HS may hand on to HU.
pub(crate) const SEDELEG: u64 = OF_GUEST
    | bits(&[
        E::InstructionAccessFault,
        E::IllegalInstruction,
        E::Breakpoint,
        E::LoadMisaligned,
        E::LoadAccessFault,
        E::StoreMisaligned,
        E::StoreAccessFault,
    ]);

impl Hart {
    fn only_with(&self, ext: Ext, mask: u64) -> u64 {
        if self.isa.has(ext) { mask } else { 0 }
    }

    pub(crate) fn medeleg_mask(&self) -> u64 {
        ORDINARY | bits(&[E::EcallFromHs]) | self.only_with(Ext::H, OF_GUEST)
    }

    /// The bits of VS are read-only one: "mideleg … bits 10, 6, and 2".
    pub(crate) fn mideleg_mask(&self) -> u64 {
        S_BITS | self.only_with(Ext::Xdv, HU_BITS)
    }

    pub(crate) fn mideleg_fixed(&self) -> u64 {
        self.only_with(Ext::H, VS_BITS | MIP::SGEIP.mask())
    }

    pub(crate) fn mie_mask(&self) -> u64 {
        M_BITS
            | S_BITS
            | self.only_with(Ext::H, VS_BITS | MIP::SGEIP.mask())
            | self.only_with(Ext::Xdv, HU_BITS)
    }

    pub(crate) fn mip_mask(&self) -> u64 {
        let timer = if self.stce() { 0 } else { MIP::STIP.mask() };
        MIP::SSIP.mask()
            | MIP::SEIP.mask()
            | timer
            | self.only_with(Ext::H, MIP::VSSIP.mask())
            | self.only_with(Ext::Xdv, MIP::USIP.mask() | MIP::UEIP.mask())
    }

    pub(crate) fn mstatus_mask(&self) -> u64 {
        SSTATUS_WRITABLE
            | MSTATUS::MIE.mask()
            | MSTATUS::MPIE.mask()
            | MSTATUS::MPRV.mask()
            | MSTATUS::TVM.mask()
            | MSTATUS::TW.mask()
            | MSTATUS::TSR.mask()
            | self.fs_mask()
            | self.only_with(Ext::H, MSTATUS::MPV.mask() | MSTATUS::GVA.mask())
    }

    pub(crate) fn fs_mask(&self) -> u64 {
        self.only_with(Ext::F, MSTATUS::FS.mask())
    }

    pub(crate) fn senvcfg_mask(&self) -> u64 {
        ENVCFG::FIOM.mask()
            | self.only_with(Ext::Zicbom, ENVCFG::CBIE.mask() | ENVCFG::CBCFE.mask())
            | self.only_with(Ext::Zicboz, ENVCFG::CBZE.mask())
    }

    pub(crate) fn menvcfg_mask(&self) -> u64 {
        self.senvcfg_mask()
            | self.only_with(Ext::Svadu, ENVCFG::ADUE.mask())
            | self.only_with(Ext::Svpbmt, ENVCFG::PBMTE.mask())
            | self.only_with(Ext::Sstc, ENVCFG::STCE.mask())
    }

    /// "If PBMTE in menvcfg is zero, PBMTE in henvcfg is read-only zero", and so are the others:
    /// what is read-only is not written either.
    pub(crate) fn henvcfg_mask(&self) -> u64 {
        self.menvcfg_mask() & (self.csr.menvcfg | !OF_MENVCFG)
    }

    /// `henvcfg` as it takes effect: its upper bits only where `menvcfg` has them.
    pub(crate) fn henvcfg(&self) -> u64 {
        self.csr.henvcfg & (self.csr.menvcfg | !OF_MENVCFG)
    }

    pub(crate) fn counteren_mask(&self) -> u64 {
        // TM is also what lets S and VS have their `stimecmp`, with or without `time`.
        let counters = self.only_with(Ext::Zicntr, 7) | self.only_with(Ext::Sstc, 2);
        counters | self.only_with(Ext::Zihpm, 0xffff_fff8)
    }
}
