//! Address translation: one walk for every stage and mode, as the manual numbers its steps.
//!
//! Reads of page-table entries and A/D updates go through the same checks as any access: the
//! G-stage if V=1, then PMP, or PMC for a delegated guest.

use isa::fields::{ENVCFG, PTE, SATP};
use isa::{Check, Exception, Ext};

use crate::bus::{Bus, Writer};
use crate::checks::on;
use crate::hart::{Hart, Trap};
use crate::pmp::Right;
use crate::tlb::PAGE_MASK;

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An instruction fetch.
    Fetch,
    /// A load.
    Load,
    /// A store or an atomic.
    Store,
}

impl Access {
    pub(crate) fn page_fault(self) -> Exception {
        match self {
            Self::Fetch => Exception::InstructionPageFault,
            Self::Load => Exception::LoadPageFault,
            Self::Store => Exception::StorePageFault,
        }
    }

    pub(crate) fn guest_page_fault(self) -> Exception {
        match self {
            Self::Fetch => Exception::InstructionGuestPageFault,
            Self::Load => Exception::LoadGuestPageFault,
            Self::Store => Exception::StoreGuestPageFault,
        }
    }

    pub(crate) fn access_fault(self) -> Exception {
        match self {
            Self::Fetch => Exception::InstructionAccessFault,
            Self::Load => Exception::LoadAccessFault,
            Self::Store => Exception::StoreAccessFault,
        }
    }

    pub(crate) fn right(self) -> Right {
        match self {
            Self::Fetch => Right::Execute,
            Self::Load => Right::Read,
            Self::Store => Right::Write,
        }
    }
}

/// With which rights an access is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Effective privilege: 0, 1 or 3.
    pub(crate) prv: u8,
    /// Effective V.
    pub(crate) virt: bool,
    /// The guest is HU's: `hugatp` translates, and the windows confine.
    pub(crate) delegated: bool,
    /// `sstatus.SUM`, or `vsstatus.SUM` with V=1.
    pub(crate) sum: bool,
    /// `sstatus.MXR`: loads may read executable pages, in both stages.
    pub(crate) mxr: bool,
    /// `vsstatus.MXR`: the same for the VS-stage only.
    pub(crate) vmxr: bool,
    /// HLVX: a load that needs the execute right instead.
    pub(crate) hlvx: bool,
}

/// Pseudo-instructions of `htinst` for a guest-page fault on a VS-stage page-table entry.
const PSEUDO_READ: u64 = 0x3000;
const PSEUDO_WRITE: u64 = 0x3020;

/// A paging mode: levels and the bits that the root adds.
#[derive(Clone, Copy)]
struct Scheme {
    levels: u32,
    root_bits: u32,
}

impl Scheme {
    /// Bits of an address that the tables translate.
    fn bits(self) -> u32 {
        12 + 9 * self.levels + self.root_bits
    }

    fn index(self, address: u64, level: u32) -> u64 {
        let extra = if level + 1 == self.levels { self.root_bits } else { 0 };
        (address >> (12 + 9 * level)) & ((1 << (9 + extra)) - 1)
    }
}

fn scheme(atp: u64, root_bits: u32) -> Option<Scheme> {
    let levels = match SATP::MODE.get(atp) {
        8 => 3,
        9 => 4,
        10 => 5,
        _ => return None,
    };
    Some(Scheme { levels, root_bits })
}

/// Where a table stands, as remembered for each page that fed a walk (zero: none).
///
/// ```text
///  63                       12   4     3      2    0
/// | first address it maps     | valid | G | level |
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableUse(pub(crate) u64);

impl TableUse {
    pub(crate) const NONE: Self = Self(0);

    fn new(scheme: Scheme, address: u64, level: u32, guest: bool) -> Self {
        let reach =
            12 + 9 * (level + 1) + if level + 1 == scheme.levels { scheme.root_bits } else { 0 };
        let base = address & u64::MAX.checked_shl(reach).unwrap_or(0);
        Self(base | 16 | u64::from(guest) << 3 | u64::from(level))
    }

    pub(crate) fn is_guest(self) -> bool {
        self.0 & 8 != 0
    }

    pub(crate) fn level(self) -> u64 {
        self.0 & 7
    }

    pub(crate) fn base(self) -> u64 {
        self.0 & PAGE_MASK
    }
}

/// What a walk is for, and how it complains.
#[derive(Clone, Copy)]
struct Purpose {
    /// What the instruction wanted.
    access: Access,
    rights: Rights,
    /// The address in the instruction.
    va: u64,
}

impl Purpose {
    fn page_fault(self) -> Trap {
        Trap::memory(self.access.page_fault(), self.va, self.rights.virt)
    }

    fn access_fault(self) -> Trap {
        Trap::memory(self.access.access_fault(), self.va, self.rights.virt)
    }

    fn guest_page_fault(self, gpa: u64, tinst: u64) -> Trap {
        let trap = Trap::memory(self.access.guest_page_fault(), self.va, self.rights.virt);
        Trap { gpa, tinst, ..trap }
    }
}

impl Hart {
    /// The offset in RAM or the physical address that `va` stands for; every check made.
    pub(crate) fn translate<B: Bus>(
        &mut self,
        bus: &mut B,
        va: u64,
        access: Access,
        rights: Rights,
    ) -> Result<u64, Trap> {
        let purpose = Purpose { access, rights, va };
        self.tlb.begin();
        let hpa = if rights.virt {
            let gpa = self.vs_stage(bus, purpose)?;
            self.g_stage(bus, gpa, access, purpose, 0)?
        } else if rights.prv == 3 {
            va
        } else {
            self.single_stage(bus, purpose)?
        };
        let check = if self.virt { Check::AddressInWindow } else { Check::AccessInWindow };
        let may = |right| self.may_guest(check, hpa, right, rights.prv, rights);
        // HLVX: "physical memory attributes must grant both execute and read permissions".
        if may(access.right()) && (!rights.hlvx || may(Right::Execute)) {
            Ok(hpa)
        } else {
            Err(purpose.access_fault())
        }
    }

    fn single_stage<B: Bus>(&mut self, bus: &mut B, purpose: Purpose) -> Result<u64, Trap> {
        match scheme(self.csr.satp, 0) {
            Some(scheme) => self.first_stage(bus, scheme, self.csr.satp, purpose),
            None => Ok(purpose.va),
        }
    }

    fn vs_stage<B: Bus>(&mut self, bus: &mut B, purpose: Purpose) -> Result<u64, Trap> {
        match scheme(self.csr.vsatp, 0) {
            Some(scheme) => self.first_stage(bus, scheme, self.csr.vsatp, purpose),
            None => Ok(purpose.va),
        }
    }

    /// Privileged manual, "Virtual Address Translation Process": satp's, or vsatp's with V=1.
    fn first_stage<B: Bus>(
        &mut self,
        bus: &mut B,
        scheme: Scheme,
        atp: u64,
        purpose: Purpose,
    ) -> Result<u64, Trap> {
        let va = purpose.va;
        let unused = 64 - scheme.bits();
        if ((va << unused).cast_signed() >> unused).cast_unsigned() != va {
            return Err(purpose.page_fault());
        }
        let envcfg = if purpose.rights.virt { self.henvcfg() } else { self.csr.menvcfg };
        let mut table = SATP::PPN.get(atp) << 12;
        // Steps 2 to 4: down to a leaf.
        for level in (0..scheme.levels).rev() {
            let address = table + 8 * scheme.index(va, level);
            let hpa = self.table_entry(bus, address, purpose, false)?;
            let (pte, offset) = self.read_entry(bus, hpa, purpose, Check::TableInWindow)?;
            self.note_table(bus, offset, TableUse::new(scheme, va, level, false));
            if !self.well_formed(pte, envcfg) {
                return Err(purpose.page_fault());
            }
            if pte & (PTE::R.mask() | PTE::X.mask()) == 0 {
                if !pointer_is_valid(pte) {
                    return Err(purpose.page_fault());
                }
                table = PTE::PPN.get(pte) << 12;
                continue;
            }
            let Some(page) = leaf_page(pte, va, level) else { return Err(purpose.page_fault()) };
            if !first_stage_allows(pte, purpose.access, purpose.rights) {
                return Err(purpose.page_fault());
            }
            let new = with_accessed(pte, purpose.access);
            if new != pte {
                if !ENVCFG::ADUE.is_set(envcfg) {
                    return Err(purpose.page_fault());
                }
                let hpa = self.table_entry(bus, address, purpose, true)?;
                self.update_entry(bus, hpa, offset, new, purpose)?;
            }
            return Ok(page);
        }
        Err(purpose.page_fault())
    }

    /// The physical address of a first-stage entry: itself, or through the G-stage with V=1.
    fn table_entry<B: Bus>(
        &mut self,
        bus: &mut B,
        address: u64,
        purpose: Purpose,
        write: bool,
    ) -> Result<u64, Trap> {
        if !purpose.rights.virt {
            return Ok(address);
        }
        let (access, tinst) =
            if write { (Access::Store, PSEUDO_WRITE) } else { (Access::Load, PSEUDO_READ) };
        self.g_stage(bus, address, access, purpose, tinst)
    }

    /// Privileged manual, "Guest Physical Address Translation". `access` is what is done to `gpa`;
    /// `purpose` is what the instruction wanted, which names the fault.
    fn g_stage<B: Bus>(
        &mut self,
        bus: &mut B,
        gpa: u64,
        access: Access,
        purpose: Purpose,
        tinst: u64,
    ) -> Result<u64, Trap> {
        let rights = purpose.rights;
        let gatp = self.gatp(rights.delegated);
        let Some(scheme) = scheme(gatp, 2) else { return Ok(gpa) };
        let implicit = tinst != 0;
        let kind = guest_kind(access, rights, implicit);
        // PMC judges the tables of a delegated guest only: what one kind of guest may reach does
        // not hold for the other. Bit 58 of gatp is always zero.
        let by_hu = rights.delegated && on(Check::TaggedByHu);
        let by_root = if on(Check::TaggedByRoot) { gatp } else { gatp >> 60 << 60 };
        let tag = by_root | u64::from(by_hu) << 58;
        if let Some(page) = self.guest_tlb.get(tag, gpa, kind) {
            return Ok(page | (gpa & !PAGE_MASK));
        }
        let fault = purpose.guest_page_fault(gpa, tinst);
        if gpa >> scheme.bits() != 0 {
            return Err(fault);
        }
        let mut table = (SATP::PPN.get(gatp) & !3) << 12;
        for level in (0..scheme.levels).rev() {
            let hpa = table + 8 * scheme.index(gpa, level);
            let (pte, offset) = self.read_entry(bus, hpa, purpose, Check::GuestTableInWindow)?;
            self.note_table(bus, offset, TableUse::new(scheme, gpa, level, true));
            if !self.well_formed(pte, self.csr.menvcfg) {
                return Err(fault);
            }
            if pte & (PTE::R.mask() | PTE::X.mask()) == 0 {
                if !pointer_is_valid(pte) {
                    return Err(fault);
                }
                table = PTE::PPN.get(pte) << 12;
                continue;
            }
            let Some(page) = leaf_page(pte, gpa, level) else { return Err(fault) };
            if !g_stage_allows(pte, access, rights, implicit) {
                return Err(fault);
            }
            let new = with_accessed(pte, access);
            if new != pte {
                if !ENVCFG::ADUE.is_set(self.csr.menvcfg) {
                    return Err(fault);
                }
                self.update_entry(bus, hpa, offset, new, purpose)?;
            }
            if self.tlb.keeps() {
                self.guest_tlb.fill(tag, gpa, page & PAGE_MASK, kind);
            }
            return Ok(page);
        }
        Err(fault)
    }

    /// [`Hart::may`], where this check of DV-ext is about it.
    fn may_guest(&self, check: Check, hpa: u64, right: Right, prv: u8, rights: Rights) -> bool {
        self.may(hpa, right, prv, rights.delegated) || (rights.delegated && !on(check))
    }

    /// Reads an entry and says at which offset in RAM it stands.
    fn read_entry<B: Bus>(
        &self,
        bus: &B,
        hpa: u64,
        purpose: Purpose,
        check: Check,
    ) -> Result<(u64, usize), Trap> {
        // Implicit accesses are made as S-mode.
        if !self.may_guest(check, hpa, Right::Read, 1, purpose.rights) {
            return Err(purpose.access_fault());
        }
        let offset = ram_offset(bus, hpa, 8).ok_or_else(|| purpose.access_fault())?;
        Ok((u64::from_le_bytes(bus.load(offset)), offset))
    }

    fn update_entry<B: Bus>(
        &self,
        bus: &mut B,
        hpa: u64,
        offset: usize,
        new: u64,
        purpose: Purpose,
    ) -> Result<(), Trap> {
        if !self.may_guest(Check::UpdateInWindow, hpa, Right::Write, 1, purpose.rights) {
            return Err(purpose.access_fault());
        }
        // The G-stage walk to this entry may have set A and D in the same word: "if the values do
        // not match", the walk starts again and finds those bits set.
        let now = u64::from_le_bytes(bus.load(offset));
        bus.store(offset, (now | new).to_le_bytes(), Writer::Walker);
        Ok(())
    }

    /// Remembers what the table at this offset maps, so that a change of it drops just that.
    fn note_table<B: Bus>(&mut self, bus: &mut B, offset: usize, table_use: TableUse) {
        let page = offset >> 12;
        if page >= self.tables.len() {
            self.tables.resize(page + 1, TableUse::NONE.0);
        }
        let known = TableUse(self.tables[page]);
        if known != table_use {
            if known != TableUse::NONE {
                // The same page at two places of one or two trees: nothing that came from the
                // first use may stay, since only the second is remembered; nor what this very walk
                // finds, since it may come from both (a table that points at itself).
                self.forget_translations();
                self.tlb.withhold();
            }
            self.tables[page] = table_use.0;
        }
        bus.mark_table(offset);
    }

    /// "If pte.v = 0, or if pte.r = 0 and pte.w = 1, or if any bits or encodings that are
    /// reserved for future standard use are set": step 3.
    fn well_formed(&self, pte: u64, envcfg: u64) -> bool {
        let reserved =
            PTE::RESERVED.get(pte) != 0 || (PTE::N.is_set(pte) && !self.isa.has(Ext::Svnapot));
        let pbmt = PTE::PBMT.get(pte);
        let types = pbmt == 0 || (pbmt != 3 && ENVCFG::PBMTE.is_set(envcfg));
        PTE::V.is_set(pte) && (PTE::R.is_set(pte) || !PTE::W.is_set(pte)) && !reserved && types
    }
}

/// "For non-leaf PTEs, the D, A, and U bits are reserved", and so are N and PBMT.
fn pointer_is_valid(pte: u64) -> bool {
    let reserved = PTE::D.mask() | PTE::A.mask() | PTE::U.mask() | PTE::N.mask() | PTE::PBMT.mask();
    pte & reserved == 0
}

/// The address in the leaf that stands for `va`: steps 5 and 8, with Svnapot's 64 KiB pages.
fn leaf_page(pte: u64, va: u64, level: u32) -> Option<u64> {
    let mut low = (1u64 << (12 + 9 * level)) - 1;
    let mut ppn = PTE::PPN.get(pte);
    if PTE::N.is_set(pte) {
        if level != 0 || ppn & 0xf != 8 {
            return None;
        }
        ppn &= !0xf;
        low = 0xffff;
    }
    let base = ppn << 12;
    (base & low == 0).then_some(base | (va & low))
}

fn with_accessed(pte: u64, access: Access) -> u64 {
    let dirty = if access == Access::Store { PTE::D.mask() } else { 0 };
    pte | PTE::A.mask() | dirty
}

fn first_stage_allows(pte: u64, access: Access, rights: Rights) -> bool {
    let user_page = PTE::U.is_set(pte);
    let user_ok = match (rights.prv, user_page) {
        (0, user) => user,
        (_, false) => true,
        (_, true) => rights.sum && access != Access::Fetch,
    };
    // In VS-mode both MXR bits make an executable page readable for the VS-stage.
    user_ok && allows(pte, access, rights, rights.mxr || (rights.virt && rights.vmxr))
}

fn g_stage_allows(pte: u64, access: Access, rights: Rights, implicit: bool) -> bool {
    // "all memory accesses (including those made to access data structures for VS-stage address
    // translation) are considered to be user-level accesses"
    if !PTE::U.is_set(pte) {
        return false;
    }
    if implicit {
        let plain = Rights { hlvx: false, ..rights };
        return allows(pte, access, plain, false);
    }
    allows(pte, access, rights, rights.mxr)
}

fn allows(pte: u64, access: Access, rights: Rights, mxr: bool) -> bool {
    match access {
        Access::Fetch => PTE::X.is_set(pte),
        Access::Load if rights.hlvx => PTE::X.is_set(pte),
        Access::Load => PTE::R.is_set(pte) || (mxr && PTE::X.is_set(pte)),
        Access::Store => PTE::W.is_set(pte),
    }
}

/// The bit under which the G-stage's answer is cached.
fn guest_kind(access: Access, rights: Rights, implicit: bool) -> u8 {
    match access {
        Access::Fetch => 1,
        Access::Store => 2,
        Access::Load if implicit => 4,
        Access::Load if rights.hlvx => 1,
        Access::Load if rights.mxr => 8,
        Access::Load => 4,
    }
}

/// The offset in RAM of `len` bytes at `hpa`, if all of them are RAM.
#[expect(clippy::cast_possible_truncation, reason = "an offset below the size of RAM")]
pub(crate) fn ram_offset<B: Bus>(bus: &B, hpa: u64, len: u64) -> Option<usize> {
    let offset = hpa.checked_sub(bus.ram_base())?;
    (offset.checked_add(len)? <= bus.ram_size()).then_some(offset as usize)
}
