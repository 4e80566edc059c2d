//! The stage-2 (G-stage) table: Sv39x4, Sv48x4 or Sv57x4, kept in the VM plane's own window.
//!
//! ```text
//! window 1   ┌──────────────┐ hugatp.PPN, set by the driver; HU may only read hugatp
//!            │ root, 16 KiB │ 2048 entries: a guest-physical address has two bits more
//!            ├──────────────┤
//!            │ pool         │ tables of 512 entries, 4 KiB each, zeroed when taken
//!            └──────────────┘ more windows from `Dv::grow` when it runs dry: an emergency
//! ```
//! The guest cannot reach this window: no leaf of its table maps it. An entry that becomes valid
//! needs no fence, one that is taken away or loses rights is fenced by whoever calls here.

mod keep;
mod pool;
#[cfg(test)]
mod tests;

use dv::{Denied, Dv, Window};
use isa::fields::{HGATP, PTE, atp_mode};
use pool::Pool;
use thiserror::Error;

use crate::config::Leaf;
use crate::layout::PAGE;
use crate::memory::zero;

/// Bytes of the root table.
pub(crate) const ROOT_BYTES: u64 = 16 << 10;
const ENTRIES: u64 = 512;
const TABLE_LEN: usize = 4096;
const ROOT_ENTRIES: u64 = 2048;
const ENTRY_BYTES: u64 = 8;

/// What a guest may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u64);

impl Rights {
    /// Nothing is restricted.
    pub const ALL: Self = Self(PTE::R.mask() | PTE::W.mask() | PTE::X.mask());
    /// Loads only.
    pub const READ: Self = Self(PTE::R.mask());
    /// Loads and fetches.
    pub const READ_EXECUTE: Self = Self(PTE::R.mask() | PTE::X.mask());

    /// Whether loads are allowed.
    #[must_use]
    pub const fn read(self) -> bool {
        PTE::R.is_set(self.0)
    }

    /// Whether stores are allowed.
    #[must_use]
    pub const fn write(self) -> bool {
        PTE::W.is_set(self.0)
    }

    /// Whether fetches are allowed.
    #[must_use]
    pub const fn execute(self) -> bool {
        PTE::X.is_set(self.0)
    }
}

/// A leaf of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First guest-physical address.
    pub gpa: u64,
    /// First physical address.
    pub hpa: u64,
    /// Bytes.
    pub size: u64,
    /// What the guest may do there.
    pub rights: Rights,
}

/// Why the table was not changed as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MapError {
    /// Something is mapped there.
    #[error("something is mapped there already")]
    Mapped,
    /// An address is not aligned to the leaf, or beyond what the table can name.
    #[error("the addresses are not those of whole pages that the table can name")]
    Address,
    /// The driver refused memory or an access to it, and is stopping the VM.
    #[error("the driver refused memory")]
    Denied,
}

impl From<Denied> for MapError {
    fn from(Denied: Denied) -> Self {
        Self::Denied
    }
}

/// What to do with every leaf of a range.
#[derive(Clone, Copy)]
enum Edit {
    Unmap,
    Protect(Rights),
}

/// The table of a VM.
#[derive(Debug)]
pub(crate) struct GStage {
    // Fixed configuration.
    root: u64,
    levels: u8,
    // Runtime state.
    pool: Pool,
    // Statistics.
    mapped: u64,
}

impl GStage {
    /// The table whose root is at the begin of `window`, as `hugatp` says; `None` if it does not.
    pub(crate) fn new(hugatp: u64, window: Window) -> Option<Self> {
        let levels = match HGATP::MODE.get(hugatp) {
            atp_mode::SV39 => 3,
            atp_mode::SV48 => 4,
            atp_mode::SV57 => 5,
            _ => return None,
        };
        let root = HGATP::PPN.get(hugatp) * PAGE;
        if root != window.hpa || !root.is_multiple_of(ROOT_BYTES) || window.size < ROOT_BYTES {
            return None;
        }
        Some(Self { root, levels, pool: Pool::new(window, ROOT_BYTES), mapped: 0 })
    }

    /// Bytes that are mapped.
    pub(crate) fn mapped(&self) -> u64 {
        self.mapped
    }

    /// Takes everything away and gives all tables back to the pool.
    pub(crate) fn clear<D: Dv>(&mut self, dv: &mut D) -> Result<(), Denied> {
        self.pool.reset();
        self.mapped = 0;
        zero(dv, self.root, ROOT_BYTES)
    }

    /// Bytes that one entry of a table at `level` spans.
    fn span(level: u8) -> u64 {
        1 << (12 + 9 * u32::from(level))
    }

    fn top(&self) -> u8 {
        self.levels - 1
    }

    /// First address beyond what the table can name.
    fn limit(&self) -> u64 {
        Self::span(self.top()) * ROOT_ENTRIES
    }

    /// Address of the entry for `gpa` in the table at `table`.
    fn entry(&self, table: u64, level: u8, gpa: u64) -> u64 {
        let entries = if level == self.top() { ROOT_ENTRIES } else { ENTRIES };
        table + (gpa / Self::span(level) % entries) * ENTRY_BYTES
    }

    /// The leaf that `gpa` is in.
    pub(crate) fn lookup<D: Dv>(&self, dv: &D, gpa: u64) -> Result<Option<Mapping>, Denied> {
        if gpa >= self.limit() {
            return Ok(None);
        }
        let mut table = self.root;
        for level in (0..self.levels).rev() {
            let pte = read(dv, self.entry(table, level, gpa))?;
            if !PTE::V.is_set(pte) {
                return Ok(None);
            }
            if is_leaf(pte) {
                return Ok(Some(mapping(pte, level, gpa)));
            }
            table = PTE::PPN.get(pte) * PAGE;
        }
        Ok(None)
    }

    /// Makes one leaf.
    pub(crate) fn map<D: Dv>(
        &mut self,
        dv: &mut D,
        gpa: u64,
        hpa: u64,
        leaf: Leaf,
        rights: Rights,
    ) -> Result<(), MapError> {
        let size = leaf.bytes();
        if !(gpa | hpa).is_multiple_of(size) || gpa >= self.limit() {
            return Err(MapError::Address);
        }
        let mut table = self.root;
        for level in (leaf.level() + 1..self.levels).rev() {
            let at = self.entry(table, level, gpa);
            let pte = read(dv, at)?;
            table = if !PTE::V.is_set(pte) {
                self.link_new(dv, at)?
            } else if is_leaf(pte) {
                return Err(MapError::Mapped);
            } else {
                PTE::PPN.get(pte) * PAGE
            };
        }
        let at = self.entry(table, leaf.level(), gpa);
        if PTE::V.is_set(read(dv, at)?) {
            return Err(MapError::Mapped);
        }
        write(dv, at, leaf_pte(hpa, rights))?;
        self.mapped += size;
        Ok(())
    }

    /// Puts an empty table behind the entry at `at`.
    fn link_new<D: Dv>(&mut self, dv: &mut D, at: u64) -> Result<u64, Denied> {
        let table = self.pool.take(dv)?;
        zero(dv, table, PAGE)?;
        write(dv, at, table_pte(table))?;
        Ok(table)
    }

    /// Takes the leaves of a page-aligned range away; larger ones are split first.
    pub(crate) fn unmap<D: Dv>(&mut self, dv: &mut D, gpa: u64, len: u64) -> Result<(), MapError> {
        self.edit_range(dv, gpa, len, Edit::Unmap)
    }

    /// Changes the rights of the leaves of a page-aligned range; larger ones are split first.
    pub(crate) fn protect<D: Dv>(
        &mut self,
        dv: &mut D,
        gpa: u64,
        len: u64,
        rights: Rights,
    ) -> Result<(), MapError> {
        self.edit_range(dv, gpa, len, Edit::Protect(rights))
    }

    fn edit_range<D: Dv>(
        &mut self,
        dv: &mut D,
        gpa: u64,
        len: u64,
        edit: Edit,
    ) -> Result<(), MapError> {
        let end = gpa.checked_add(len).filter(|end| *end <= self.limit());
        let Some(end) = end.filter(|end| (gpa | end).is_multiple_of(PAGE)) else {
            return Err(MapError::Address);
        };
        self.edit(dv, self.root, self.top(), gpa, end, edit)?;
        Ok(())
    }

    /// Edits `gpa..end`, which lies within the table at `table`.
    fn edit<D: Dv>(
        &mut self,
        dv: &mut D,
        table: u64,
        level: u8,
        gpa: u64,
        end: u64,
        edit: Edit,
    ) -> Result<(), Denied> {
        let span = Self::span(level);
        let mut at = gpa;
        while at < end {
            let next = (at / span + 1) * span;
            let entry = self.entry(table, level, at);
            let pte = read(dv, entry)?;
            let whole = at.is_multiple_of(span) && next <= end;
            if PTE::V.is_set(pte) {
                if is_leaf(pte) && whole {
                    self.edit_leaf(dv, entry, pte, span, edit)?;
                } else {
                    let below = self.table_behind(dv, entry, pte, level)?;
                    self.edit(dv, below, level - 1, at, next.min(end), edit)?;
                    self.drop_if_empty(dv, entry, below)?;
                }
            }
            at = next;
        }
        Ok(())
    }

    fn edit_leaf<D: Dv>(
        &mut self,
        dv: &mut D,
        entry: u64,
        pte: u64,
        span: u64,
        edit: Edit,
    ) -> Result<(), Denied> {
        match edit {
            Edit::Unmap => {
                self.mapped -= span;
                write(dv, entry, 0)
            }
            Edit::Protect(rights) => write(dv, entry, leaf_pte(PTE::PPN.get(pte) * PAGE, rights)),
        }
    }

    /// The table behind an entry; a leaf becomes one that maps the same in smaller leaves.
    fn table_behind<D: Dv>(
        &mut self,
        dv: &mut D,
        entry: u64,
        pte: u64,
        level: u8,
    ) -> Result<u64, Denied> {
        if !is_leaf(pte) {
            return Ok(PTE::PPN.get(pte) * PAGE);
        }
        let Mapping { hpa, rights, .. } = mapping(pte, level, 0);
        let below = self.pool.take(dv)?;
        for i in 0..ENTRIES {
            let piece = hpa + i * Self::span(level - 1);
            write(dv, below + i * ENTRY_BYTES, leaf_pte(piece, rights))?;
        }
        // Linked when it is complete: a walk sees either the leaf or all of its pieces.
        write(dv, entry, table_pte(below))?;
        Ok(below)
    }

    fn drop_if_empty<D: Dv>(&mut self, dv: &mut D, entry: u64, table: u64) -> Result<(), Denied> {
        let mut bytes = [0; TABLE_LEN];
        dv.read(table, &mut bytes)?;
        if bytes.iter().all(|byte| *byte == 0) {
            write(dv, entry, 0)?;
            self.pool.give_back(table);
        }
        Ok(())
    }

    /// Calls `seen` with every leaf, by rising guest-physical address.
    pub(crate) fn walk<D: Dv>(&self, dv: &D, seen: &mut dyn FnMut(Mapping)) -> Result<(), Denied> {
        self.walk_table(dv, self.root, self.top(), 0, seen)
    }

    fn walk_table<D: Dv>(
        &self,
        dv: &D,
        table: u64,
        level: u8,
        base: u64,
        seen: &mut dyn FnMut(Mapping),
    ) -> Result<(), Denied> {
        let entries = if level == self.top() { ROOT_ENTRIES } else { ENTRIES };
        for i in 0..entries {
            let gpa = base + i * Self::span(level);
            let pte = read(dv, table + i * ENTRY_BYTES)?;
            if !PTE::V.is_set(pte) {
                continue;
            }
            if is_leaf(pte) {
                seen(mapping(pte, level, gpa));
            } else if level > 0 {
                self.walk_table(dv, PTE::PPN.get(pte) * PAGE, level - 1, gpa, seen)?;
            }
        }
        Ok(())
    }
}

fn read<D: Dv>(dv: &D, hpa: u64) -> Result<u64, Denied> {
    let mut bytes = [0; 8];
    dv.read(hpa, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn write<D: Dv>(dv: &mut D, hpa: u64, pte: u64) -> Result<(), Denied> {
    dv.write(hpa, &pte.to_le_bytes())
}

fn is_leaf(pte: u64) -> bool {
    pte & Rights::ALL.0 != 0
}

/// A and D are set beforehand: nothing here watches them, and a hart that does not update them
/// would fault. "For G-stage, the U bit must be 1", as all accesses count as those of a user.
fn leaf_pte(hpa: u64, rights: Rights) -> u64 {
    let flags = PTE::V.mask() | PTE::U.mask() | PTE::A.mask() | PTE::D.mask() | rights.0;
    PTE::PPN.set(flags, hpa / PAGE)
}

fn table_pte(hpa: u64) -> u64 {
    PTE::PPN.set(PTE::V.mask(), hpa / PAGE)
}

/// The leaf `pte` at `level` that `gpa` is in.
fn mapping(pte: u64, level: u8, gpa: u64) -> Mapping {
    let size = GStage::span(level);
    let rights = Rights(pte & Rights::ALL.0);
    Mapping { gpa: gpa & !(size - 1), hpa: PTE::PPN.get(pte) * PAGE, size, rights }
}
