//! The state of a hart: registers, CSRs, privilege, step counter, and what is cached of it.

use isa::fields::{HGATP, HSTATUS, HUSTATUS, MSTATUS, SSTATUS};
use isa::{Cause, Check, Exception, Ext, Extensions, Mode};

use crate::bus::{Bus, Change};
use crate::checks::on;
use crate::csrs::Csrs;
use crate::pmp::{N_PMP, PmpRange};
use crate::probe::Probe;
use crate::tlb::{GuestTlb, Key, Tlb};
use crate::walk::{Rights, TableUse};

/// Number of slots for integer registers: 32, and sinks for writes of `x0`. As many as a `u8` can
/// name, so that no access needs a check.
pub(crate) const N_X: usize = 256;
/// Index of the slot that swallows writes of `x0`.
pub(crate) const SINK: u8 = 32;

/// A trap on its way: what the handler will find in its CSRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Why.
    pub cause: Cause,
    /// `*tval`.
    pub tval: u64,
    /// `*tval` holds a guest-virtual address.
    pub gva: bool,
    /// The guest-physical address of a guest-page fault, or zero.
    pub gpa: u64,
    /// A pseudo-instruction or a transformed instruction for `*tinst`, or zero.
    pub tinst: u64,
}

impl Trap {
    /// A trap without further information.
    pub(crate) fn plain(cause: impl Into<Cause>) -> Self {
        Self { cause: cause.into(), tval: 0, gva: false, gpa: 0, tinst: 0 }
    }

    /// A trap because of an address.
    pub(crate) fn memory(cause: Exception, va: u64, virt: bool) -> Self {
        Self { cause: cause.into(), tval: va, gva: virt, gpa: 0, tinst: 0 }
    }

    /// Illegal instruction; the instruction's bits are filled in where it was decoded.
    pub(crate) fn illegal() -> Self {
        Self::plain(Exception::IllegalInstruction)
    }

    /// Virtual instruction; the instruction's bits are filled in where it was decoded.
    pub(crate) fn virtual_instruction() -> Self {
        Self::plain(Exception::VirtualInstruction)
    }
}

/// A trap that was taken, as reported to whoever runs the hart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The mode that was left.
    pub from: Mode,
    /// The mode that handles it.
    pub to: Mode,
    /// The pc that was left.
    pub pc: u64,
    /// The trap.
    pub trap: Trap,
}

/// Of which traps the runner wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// None.
    #[default]
    Nothing,
    /// Those to HU or to HS: the VM plane or the driver has to act.
    Hypervisor,
    /// All.
    Everything,
}

/// One modelled hart.
#[derive(Clone, Debug)]
pub struct Hart {
    // Fixed configuration
    pub(crate) id: usize,
    pub(crate) isa: Extensions,
    /// `2` without compressed instructions, so that a jump to half a word is noticed.
    pub(crate) misaligned_jump: u64,

    // Architectural state
    pub(crate) x: [u64; N_X],
    pub(crate) f: [u64; 32],
    /// During a block: its first pc.
    pub(crate) pc: u64,
    pub(crate) prv: u8,
    pub(crate) virt: bool,
    pub(crate) csr: Csrs,
    /// Physical address of the reserved 64 bytes.
    pub(crate) reservation: Option<u64>,
    /// WFI or a wait on the reservation set found nothing to do.
    pub(crate) waiting: bool,

    // Counters
    pub(crate) steps: u64,
    /// Steps in which no instruction retired.
    pub(crate) not_retired: u64,
    /// Guest time in ns minus steps, as the machine last said.
    pub(crate) clock: u64,
    /// Bits of `mip` that wires drove when they were last looked at.
    pub(crate) lines: u64,

    // Within a block
    /// Index of the instruction that ended the block early.
    pub(crate) at: u8,
    pub(crate) trap: Trap,
    /// Floating-point instructions trap.
    pub(crate) fp_off: bool,

    // Cached
    pub(crate) tlb: Tlb,
    pub(crate) guest_tlb: GuestTlb,
    /// For each page of RAM its [`TableUse`].
    pub(crate) tables: Vec<u64>,
    pub(crate) seen_changes: u64,
    pub(crate) pmp: Vec<PmpRange>,
    pub(crate) pmp_any: bool,
    /// How data is accessed now.
    pub(crate) rights: Rights,
    /// Data accesses use other rights than fetches (MPRV).
    pub(crate) mprv: bool,
    /// The four above are those of another mode or of older CSRs: [`Hart::settle`].
    pub(crate) moved: bool,

    // Watching
    pub(crate) report: Report,
    pub(crate) probe: Probe,
}

impl Hart {
    /// A hart after reset: M-mode, pc 0, all registers zero.
    #[must_use]
    pub fn new(id: usize, isa: Extensions) -> Self {
        let rights = Rights {
            prv: 3,
            virt: false,
            delegated: false,
            sum: false,
            mxr: false,
            vmxr: false,
            hlvx: false,
        };
        let mut hart = Self {
            id,
            isa,
            misaligned_jump: if isa.has(Ext::C) { 0 } else { 2 },
            x: [0; N_X],
            f: [0; 32],
            pc: 0,
            prv: 3,
            virt: false,
            csr: Csrs::default(),
            reservation: None,
            waiting: false,
            steps: 0,
            not_retired: 0,
            clock: 0,
            lines: 0,
            at: 0,
            trap: Trap::plain(Exception::IllegalInstruction),
            fp_off: true,
            tlb: Tlb::new(),
            guest_tlb: GuestTlb::new(),
            tables: Vec::new(),
            seen_changes: 0,
            pmp: Vec::with_capacity(N_PMP),
            pmp_any: false,
            rights,
            mprv: false,
            moved: true,
            report: Report::Nothing,
            probe: Probe::default(),
        };
        hart.reset_csrs();
        hart.settle();
        hart
    }

    /// Back to the state after reset; the step counter and what is watched stay. What derives from
    /// the step counter and can be read by a guest begins at zero again.
    pub fn reset(&mut self) {
        let mut fresh = Self::new(self.id, self.isa);
        fresh.csr.mcycle = self.steps.wrapping_neg();
        fresh.csr.minstret = self.steps.wrapping_neg();
        *self = Self {
            steps: self.steps,
            clock: self.clock,
            seen_changes: self.seen_changes,
            report: self.report,
            probe: std::mem::take(&mut self.probe),
            ..fresh
        };
    }

    /// The hart's number.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Its extensions.
    #[must_use]
    pub fn isa(&self) -> Extensions {
        self.isa
    }

    /// Steps made so far: instructions attempted, and interrupts taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Guest time in ns, now.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.clock.wrapping_add(self.steps)
    }

    /// Sets guest time; from here on each step takes one nanosecond.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.clock = now_ns.wrapping_sub(self.steps);
    }

    /// The privilege mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.prv, self.virt) {
            (3, _) => Mode::M,
            (1, false) => Mode::Hs,
            (1, true) => Mode::Vs,
            (_, true) => Mode::Vu,
            (_, false) if self.delegated() => Mode::Hu,
            (_, false) => Mode::U,
        }
    }

    /// Whether the guest of this hart belongs to HU: DV-ext is there and `hstatus.HU` is set.
    ///
    /// Then HU's twins of the H extension's CSRs take effect in V=1; otherwise HS's own do, and the
    /// hart is a standard one.
    #[inline]
    pub(crate) fn delegated(&self) -> bool {
        HSTATUS::HU.is_set(self.csr.hstatus) && self.isa.has(Ext::Xdv)
    }

    /// The G-stage root of a guest of HU, or of one of HS.
    pub(crate) fn gatp(&self, delegated: bool) -> u64 {
        if delegated && on(Check::RootOfHu) { self.csr.hugatp } else { self.csr.hgatp }
    }

    /// VTVM, VTW, VTSR and VSXL in effect, at the places of `hstatus`.
    pub(crate) fn guest_status(&self) -> u64 {
        if self.delegated() { self.csr.hustatus } else { self.csr.hstatus }
    }

    /// What is added to the time that the guest reads.
    pub(crate) fn guest_time_delta(&self) -> u64 {
        if self.delegated() { self.csr.hutimedelta } else { self.csr.htimedelta }
    }

    /// The counters that the guest may read.
    pub(crate) fn guest_counteren(&self) -> u64 {
        if self.delegated() { self.csr.hucounteren } else { self.csr.hcounteren }
    }

    /// Privileged manual, "Hypervisor Virtual-Machine Load and Store Instructions".
    ///
    /// From HU they reach HU's guest. From HS they reach its own, whoever's thread it runs for:
    /// HU has nothing to say in `hgatp` and `hstatus`.
    pub(crate) fn guest_rights(&self, hlvx: bool) -> Rights {
        let delegated = self.delegated() && self.prv == 0;
        let spvp = if delegated && on(Check::AccessPrivilege) {
            HUSTATUS::SPVP.is_set(self.csr.hustatus)
        } else {
            HSTATUS::SPVP.is_set(self.csr.hstatus)
        };
        Rights {
            prv: u8::from(spvp),
            virt: true,
            delegated,
            sum: SSTATUS::SUM.is_set(self.csr.vsstatus),
            mxr: MSTATUS::MXR.is_set(self.csr.mstatus),
            vmxr: SSTATUS::MXR.is_set(self.csr.vsstatus),
            hlvx,
        }
    }

    fn rights_of(&self, prv: u8, virt: bool) -> Rights {
        let status = if virt { self.csr.vsstatus } else { self.csr.mstatus };
        Rights {
            prv,
            virt,
            delegated: virt && self.delegated(),
            sum: MSTATUS::SUM.is_set(status),
            mxr: MSTATUS::MXR.is_set(self.csr.mstatus),
            vmxr: SSTATUS::MXR.is_set(self.csr.vsstatus),
            hlvx: false,
        }
    }

    /// The rights of a fetch.
    pub(crate) fn fetch_rights(&self) -> Rights {
        self.rights_of(self.prv, self.virt)
    }

    /// MPRV is in effect.
    fn borrows_rights(&self) -> bool {
        let mstatus = self.csr.mstatus;
        self.prv == 3 && MSTATUS::MPRV.is_set(mstatus) && MSTATUS::MPP.get(mstatus) != 3
    }

    /// The rights of a load or store.
    pub(crate) fn data_rights(&self) -> Rights {
        if !self.borrows_rights() {
            return self.fetch_rights();
        }
        let mstatus = self.csr.mstatus;
        let prv = if MSTATUS::MPP.get(mstatus) == 1 { 1 } else { 0 };
        self.rights_of(prv, MSTATUS::MPV.is_set(mstatus))
    }

    /// Floating-point instructions and CSRs are illegal.
    pub(crate) fn lacks_fp(&self) -> bool {
        MSTATUS::FS.get(self.csr.mstatus) == 0
            || (self.virt && SSTATUS::FS.get(self.csr.vsstatus) == 0)
    }

    /// Before the next instruction, after anything on which translation or the legality of
    /// instructions depends may have changed: chooses the translations that are in effect.
    ///
    /// Not at once where it changes: a guest's exit to HU and its return leave everything as it
    /// was, for the VM plane's instructions are not the engine's.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        if self.moved {
            self.choose_context();
        }
    }

    fn choose_context(&mut self) {
        self.moved = false;
        self.mprv = self.borrows_rights();
        let fetch = self.fetch_rights();
        self.rights = if self.mprv { self.data_rights() } else { fetch };
        self.fp_off = self.lacks_fp();
        let key = self.key(fetch);
        self.tlb.activate(key);
    }

    fn key(&self, rights: Rights) -> Key {
        let bit = |set: bool, place: u32| u64::from(set) << place;
        let gatp = self.gatp(rights.delegated);
        let guest = rights.virt && HGATP::MODE.get(gatp) != 0;
        Key {
            atp: match (rights.virt, rights.prv) {
                (true, _) => self.csr.vsatp,
                (false, 3) => 0,
                (false, _) => self.csr.satp,
            },
            gatp: if guest && on(Check::TaggedByRoot) { gatp } else { 0 },
            bits: u64::from(rights.prv)
                | bit(rights.virt, 2)
                | bit(rights.sum, 3)
                | bit(rights.mxr, 4)
                | bit(rights.virt && rights.vmxr, 5)
                | bit(rights.delegated && on(Check::TaggedByHu), 6)
                | bit(self.mprv, 7),
        }
    }

    /// Drops every cached translation.
    pub(crate) fn forget_translations(&mut self) {
        self.tlb.flush();
        self.guest_tlb.flush();
    }

    /// Drops what derives from page-table entries that changed since the last look. Says whether
    /// anything changed at all.
    pub(crate) fn catch_up<B: Bus>(&mut self, bus: &B) -> bool {
        if self.seen_changes == bus.n_changes() {
            return false;
        }
        match bus.changes(self.seen_changes) {
            None => {
                self.tables.iter_mut().for_each(|table| *table = TableUse::NONE.0);
                self.forget_translations();
            }
            Some(changes) => {
                for change in changes {
                    self.apply_change(*change);
                }
            }
        }
        self.seen_changes = bus.n_changes();
        true
    }

    fn apply_change(&mut self, change: Change) {
        let (offset, whole) = match change {
            Change::Code { .. } | Change::Watched { .. } => return,
            Change::Entry { offset } => (offset, false),
            Change::Table { offset } => (offset, true),
        };
        let Some(slot) = self.tables.get_mut(offset >> 12) else { return };
        let table = TableUse(*slot);
        if table == TableUse::NONE {
            return;
        }
        if whole {
            *slot = TableUse::NONE.0;
        }
        if table.is_guest() {
            self.guest_tlb.flush();
            self.tlb.flush_guest();
        } else if whole || table.level() != 0 {
            self.tlb.flush();
        } else {
            let index = (offset as u64 & 0xfff) >> 3;
            self.tlb.flush_page(table.base() | index << 12);
        }
    }

    /// Marks the floating-point state dirty.
    #[inline(always)]
    pub(crate) fn fp_dirty(&mut self) {
        self.csr.mstatus |= MSTATUS::FS.mask() | MSTATUS::SD.mask();
        if self.virt {
            self.csr.vsstatus |= SSTATUS::FS.mask() | SSTATUS::SD.mask();
        }
    }
}
