//! Cached translations: direct-mapped arrays, one pair for each context that was used lately.
//!
//! A context is everything but the address on which a translation depends. Trap entry, return and
//! writes of `satp` change the context and flush nothing. Nothing here can be seen by a guest: an
//! entry is dropped when the page-table entry that it came from changes, not at a fence.

use crate::walk::Access;

const N_ENTRIES: usize = 256;
const N_CONTEXTS: usize = 16;
/// Never equal to a masked address: those have zeros below the page number.
const NONE: u64 = u64::MAX;
pub(crate) const PAGE: u64 = 4096;
pub(crate) const PAGE_MASK: u64 = !(PAGE - 1);

/// A page for data: valid for loads, for stores, or both.
#[derive(Clone, Copy)]
pub(crate) struct DataEntry {
    pub(crate) load: u64,
    pub(crate) store: u64,
    /// Offset in RAM minus virtual address.
    pub(crate) addend: u64,
}

/// A page for instructions.
#[derive(Clone, Copy)]
pub(crate) struct FetchEntry {
    pub(crate) tag: u64,
    /// Offset in RAM of the page.
    pub(crate) page: u64,
}

const NO_DATA: DataEntry = DataEntry { load: NONE, store: NONE, addend: 0 };
const NO_FETCH: FetchEntry = FetchEntry { tag: NONE, page: 0 };

/// On what, but the address, a translation depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// `satp` or `vsatp`.
    pub(crate) atp: u64,
    /// `hgatp` or `hugatp`; zero with V=0.
    pub(crate) gatp: u64,
    /// Privilege, V, SUM, both MXR, PMC: see `Hart::key`.
    pub(crate) bits: u64,
}

#[derive(Clone)]
struct Context {
    key: Key,
    used: u64,
    clean: bool,
    data: Box<[DataEntry; N_ENTRIES]>,
    fetch: Box<[FetchEntry; N_ENTRIES]>,
}

impl Context {
    fn new() -> Self {
        Self {
            key: Key { atp: 0, gatp: 0, bits: NONE },
            used: 0,
            clean: true,
            data: Box::new([NO_DATA; N_ENTRIES]),
            fetch: Box::new([NO_FETCH; N_ENTRIES]),
        }
    }

    fn clear(&mut self) {
        if !self.clean {
            *self.data = [NO_DATA; N_ENTRIES];
            *self.fetch = [NO_FETCH; N_ENTRIES];
            self.clean = true;
        }
    }
}

/// All cached translations of a hart.
#[derive(Clone)]
pub(crate) struct Tlb {
    active: Context,
    others: Vec<Context>,
    clock: u64,
    /// What the walk under way finds is not to be kept.
    withheld: bool,
}

impl std::fmt::Debug for Tlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tlb").field("key", &self.active.key).finish_non_exhaustive()
    }
}

#[inline(always)]
fn index(va: u64) -> usize {
    (va >> 12) as usize & (N_ENTRIES - 1)
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Self { active: Context::new(), others: Vec::new(), clock: 0, withheld: false }
    }

    /// A walk begins.
    pub(crate) fn begin(&mut self) {
        self.withheld = false;
    }

    /// What the walk under way finds depends on more than is remembered of it.
    pub(crate) fn withhold(&mut self) {
        self.withheld = true;
    }

    /// Whether the result of the last walk may be kept.
    pub(crate) fn keeps(&self) -> bool {
        !self.withheld
    }

    /// The entry that may hold the page of `va`.
    #[inline(always)]
    pub(crate) fn data(&self, va: u64) -> &DataEntry {
        &self.active.data[index(va)]
    }

    /// The offset in RAM of the page of `va`, if it is known to be executable.
    #[inline(always)]
    pub(crate) fn fetch(&self, va: u64) -> Option<u64> {
        let entry = &self.active.fetch[index(va)];
        (entry.tag == va & PAGE_MASK).then_some(entry.page)
    }

    /// Remembers that `access` to the page of `va` is allowed and where it goes.
    pub(crate) fn fill(&mut self, va: u64, page: u64, access: Access) {
        if self.withheld {
            return;
        }
        let tag = va & PAGE_MASK;
        self.active.clean = false;
        if access == Access::Fetch {
            self.active.fetch[index(va)] = FetchEntry { tag, page };
            return;
        }
        let addend = page.wrapping_sub(tag);
        let entry = &mut self.active.data[index(va)];
        if entry.addend != addend || (entry.load != tag && entry.store != tag) {
            *entry = DataEntry { addend, ..NO_DATA };
        }
        match access {
            Access::Load => entry.load = tag,
            Access::Store => entry.store = tag,
            Access::Fetch => {}
        }
    }

    /// Makes the context with this key the active one.
    pub(crate) fn activate(&mut self, key: Key) {
        if self.active.key == key {
            return;
        }
        self.clock += 1;
        self.active.used = self.clock;
        if let Some(found) = self.others.iter_mut().find(|c| c.key == key) {
            std::mem::swap(&mut self.active, found);
        } else if self.others.len() + 1 < N_CONTEXTS {
            let old = std::mem::replace(&mut self.active, Context::new());
            self.others.push(old);
        } else if let Some(oldest) = self.others.iter_mut().min_by_key(|c| c.used) {
            std::mem::swap(&mut self.active, oldest);
            self.active.clear();
        }
        self.active.key = key;
    }

    fn each(&mut self, mut f: impl FnMut(&mut Context)) {
        f(&mut self.active);
        self.others.iter_mut().for_each(f);
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        self.each(Context::clear);
    }

    /// Forgets what was translated by a guest's stage-2 table.
    pub(crate) fn flush_guest(&mut self) {
        self.each(|context| {
            if context.key.gatp != 0 {
                context.clear();
            }
        });
    }

    /// Forgets one page in every context.
    pub(crate) fn flush_page(&mut self, va: u64) {
        let tag = va & PAGE_MASK;
        self.each(|context| {
            let data = &mut context.data[index(va)];
            if data.load == tag || data.store == tag {
                *data = NO_DATA;
            }
            let fetch = &mut context.fetch[index(va)];
            if fetch.tag == tag {
                *fetch = NO_FETCH;
            }
        });
    }
}

/// Cached results of the G-stage alone: guest-physical page to physical page.
#[derive(Clone)]
pub(crate) struct GuestTlb {
    entries: Box<[GuestEntry; N_ENTRIES]>,
}

/// One guest-physical page.
#[derive(Clone, Copy)]
pub(crate) struct GuestEntry {
    tag: u64,
    gatp: u64,
    pub(crate) hpa: u64,
    /// Kinds of access, a bit each, that are known to be allowed.
    pub(crate) allowed: u8,
}

const NO_GUEST: GuestEntry = GuestEntry { tag: NONE, gatp: 0, hpa: 0, allowed: 0 };

impl GuestTlb {
    pub(crate) fn new() -> Self {
        Self { entries: Box::new([NO_GUEST; N_ENTRIES]) }
    }

    pub(crate) fn get(&self, gatp: u64, gpa: u64, kind: u8) -> Option<u64> {
        let entry = &self.entries[index(gpa)];
        let hit = entry.tag == gpa & PAGE_MASK && entry.gatp == gatp && entry.allowed & kind != 0;
        hit.then_some(entry.hpa)
    }

    pub(crate) fn fill(&mut self, gatp: u64, gpa: u64, hpa: u64, kind: u8) {
        let tag = gpa & PAGE_MASK;
        let entry = &mut self.entries[index(gpa)];
        let known = entry.tag == tag && entry.gatp == gatp && entry.hpa == hpa;
        let before = if known { entry.allowed } else { 0 };
        *entry = GuestEntry { tag, gatp, hpa, allowed: before | kind };
    }

    pub(crate) fn flush(&mut self) {
        *self.entries = [NO_GUEST; N_ENTRIES];
    }
}

impl std::fmt::Debug for GuestTlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuestTlb")
    }
}
