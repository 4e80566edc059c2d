//! Physical memory: bytes, one function that writes them, and the log of writes that matter.
//!
//! ```text
//! page flags   UNTOUCHED  never written: the first write is counted
//!              CODE       instructions were decoded from it: `code` says from which 64 bytes
//!              TABLE      a page walk went through it: changes of valid entries are logged
//!              TRACKED    the first write of this epoch is noted, see `track`
//!              WATCHED    writes to some of its bytes are logged, see `watch`
//! ```
//! A store whose page has no flag is a bounds check, a move and a test. Everything else happens in
//! [`Memory::store_slow`], and the effects are the same whoever writes.

#[cfg(test)]
mod tests;
mod track;
mod watch;

use hart::{Change, Writer};

pub use track::{Before, Dirtied, Tracking};
pub use watch::{WRITES_KEPT, Write};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Changes that are kept at least; who looks less often has to forget everything.
pub const CHANGES_KEPT: usize = 1024;
/// So many changed entries of a page, and it is not watched as a page table any more.
const TABLE_CHANGES: u8 = 64;
/// Bytes that one bit of a page's code mask stands for.
const GRANULE: usize = 64;

/// Compared as a whole, which is many times faster than byte by byte.
static ZEROS: [u8; PAGE] = [0; PAGE];

const UNTOUCHED: u8 = 1;
const CODE: u8 = 2;
const TABLE: u8 = 4;
const TRACKED: u8 = 8;
const WATCHED: u8 = 16;

/// Not all of the range is RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RAM at {hpa:#x}")]
pub struct NotRam {
    /// Physical address of the range's first byte.
    pub hpa: u64,
}

/// RAM.
#[derive(Clone)]
pub struct Memory {
    // Fixed configuration.
    base: u64,
    // Runtime state.
    bytes: Vec<u8>,
    /// For each page what a write to it has to do.
    flags: Vec<u8>,
    n_touched: u64,
    // What the harts' caches need to know; no part of the state.
    /// For each page the granules that hold decoded instructions.
    code: Vec<u64>,
    /// For each page the changed entries since it was last marked as a table.
    table_changes: Vec<u8>,
    log: Vec<Change>,
    /// Number of the first change in `log`.
    log_first: u64,
    // For watchers; no part of the state.
    tracked: track::Tracked,
    watched: Option<Box<watch::Watched>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("base", &self.base)
            .field("size", &self.bytes.len())
            .field("touched", &self.touched_bytes())
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// `size` zeros from physical address `base` on, both multiples of [`PAGE`]. The host gives
    /// its memory when a page is first used.
    ///
    /// # Panics
    /// If the two are no such multiples.
    #[must_use]
    pub fn new(base: u64, size: usize) -> Self {
        assert!(size.is_multiple_of(PAGE), "{size:#x} bytes of RAM are not whole pages");
        assert!(base.is_multiple_of(PAGE as u64), "RAM at {base:#x} does not begin with a page");
        let n_pages = size / PAGE;
        Self {
            base,
            bytes: vec![0; size],
            flags: vec![UNTOUCHED; n_pages],
            n_touched: 0,
            code: vec![0; n_pages],
            table_changes: vec![0; n_pages],
            log: Vec::new(),
            log_first: 0,
            tracked: track::Tracked::default(),
            watched: None,
        }
    }

    /// All zeros again; everything that derives from the old content is to be forgotten.
    pub fn clear(&mut self) {
        self.note_clearing();
        self.log_clearing();
        let mut fresh = Self::new(self.base, self.bytes.len());
        for (flags, old) in fresh.flags.iter_mut().zip(&self.flags) {
            *flags |= old & (TRACKED | WATCHED);
        }
        fresh.tracked = std::mem::take(&mut self.tracked);
        fresh.watched = self.watched.take();
        *self = Self { log_first: self.n_changes() + 1, ..fresh };
    }

    /// Physical address of the first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the pages that were ever written.
    #[must_use]
    pub fn touched_bytes(&self) -> u64 {
        self.n_touched * PAGE as u64
    }

    /// The offset of `len` bytes at `hpa`.
    ///
    /// # Errors
    /// [`NotRam`] if not all of them are RAM.
    pub fn offset(&self, hpa: u64, len: usize) -> Result<usize, NotRam> {
        let offset = hpa.checked_sub(self.base).and_then(|offset| usize::try_from(offset).ok());
        offset
            .filter(|offset| offset.checked_add(len).is_some_and(|end| end <= self.bytes.len()))
            .ok_or(NotRam { hpa })
    }

    /// The bytes at a physical address.
    ///
    /// # Errors
    /// [`NotRam`] if not all of them are RAM.
    pub fn slice(&self, hpa: u64, len: usize) -> Result<&[u8], NotRam> {
        let offset = self.offset(hpa, len)?;
        Ok(&self.bytes[offset..offset + len])
    }

    /// Fills `buf` from a physical address.
    ///
    /// # Errors
    /// [`NotRam`] if not all of it is RAM; `buf` is then as before.
    pub fn read(&self, hpa: u64, buf: &mut [u8]) -> Result<(), NotRam> {
        buf.copy_from_slice(self.slice(hpa, buf.len())?);
        Ok(())
    }

    /// Writes any number of bytes to a physical address.
    ///
    /// # Errors
    /// [`NotRam`] if not all of it is RAM; nothing is then written.
    pub fn write(&mut self, hpa: u64, bytes: &[u8], writer: Writer) -> Result<(), NotRam> {
        let mut offset = self.offset(hpa, bytes.len())?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PAGE - offset % PAGE));
            self.store_slow(offset, now, writer);
            offset += now.len();
            rest = later;
        }
        Ok(())
    }

    /// Reads at an offset.
    #[inline(always)]
    #[must_use]
    pub fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[offset..offset + N]);
        value
    }

    /// Writes at an offset, within one page. `true` if the log of changes has grown.
    #[inline(always)]
    pub fn store<const N: usize>(&mut self, offset: usize, value: [u8; N], writer: Writer) -> bool {
        !self.store_quick(offset, value) && self.store_slow(offset, &value, writer)
    }

    /// What [`Memory::store`] does with a page that has no flag; `false`, and nothing written, if
    /// it has one.
    #[inline(always)]
    pub fn store_quick<const N: usize>(&mut self, offset: usize, value: [u8; N]) -> bool {
        debug_assert!(offset % PAGE + N <= PAGE, "a store at {offset:#x} leaves its page");
        if self.flags[offset / PAGE] != 0 {
            return false;
        }
        self.bytes[offset..offset + N].copy_from_slice(&value);
        true
    }

    /// The write function: bytes of one page, and what its flags ask for.
    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, offset: usize, value: &[u8], writer: Writer) -> bool {
        let page = offset / PAGE;
        let before = self.n_changes();
        if self.flags[page] & WATCHED != 0 {
            self.log_write(offset, value, writer);
        }
        if self.flags[page] & UNTOUCHED != 0 {
            // Nothing changes, and whoever zeroes much memory does not make the host give it. And
            // yet it was written.
            if value == ZEROS {
                self.note_dirtied(page);
                return before != self.n_changes();
            }
            self.note_dirtied(page);
            self.flags[page] &= !UNTOUCHED;
            self.n_touched += 1;
        }
        if self.flags[page] & TRACKED != 0 {
            self.note_dirtied(page);
        }
        if self.flags[page] & CODE != 0 {
            self.change_code(offset, value.len());
        }
        if self.flags[page] & TABLE != 0 && writer != Writer::Walker {
            self.change_table(offset, value);
        }
        self.bytes[offset..offset + value.len()].copy_from_slice(value);
        before != self.n_changes()
    }

    /// Instructions of the granules that are written to are forgotten.
    fn change_code(&mut self, offset: usize, len: usize) {
        let page = offset / PAGE;
        let hit = self.code[page] & granules(offset % PAGE, len);
        if hit == 0 {
            return;
        }
        self.code[page] &= !hit;
        if self.code[page] == 0 {
            self.flags[page] &= !CODE;
        }
        let first = hit.trailing_zeros() as usize;
        let end = GRANULE - hit.leading_zeros() as usize;
        let offset = page * PAGE + first * GRANULE;
        self.note(Change::Code { offset, len: (end - first) * GRANULE });
    }

    /// Notes each valid entry that will be another one. Called before the bytes change.
    fn change_table(&mut self, offset: usize, value: &[u8]) {
        let page = offset / PAGE;
        let end = offset + value.len();
        for entry in (offset & !7..end).step_by(8) {
            let old: [u8; 8] = self.load(entry);
            let mut new = old;
            let (from, to) = (offset.max(entry), end.min(entry + 8));
            new[from - entry..to - entry].copy_from_slice(&value[from - offset..to - offset]);
            if old == new || old[0] & 1 == 0 {
                continue;
            }
            self.table_changes[page] += 1;
            if self.table_changes[page] >= TABLE_CHANGES {
                self.flags[page] &= !TABLE;
                self.note(Change::Table { offset: page * PAGE });
                return;
            }
            self.note(Change::Entry { offset: entry });
        }
    }

    fn note(&mut self, change: Change) {
        if self.log.len() >= 2 * CHANGES_KEPT {
            self.log.drain(..CHANGES_KEPT);
            self.log_first += CHANGES_KEPT as u64;
        }
        self.log.push(change);
    }

    /// Instructions were decoded from these bytes.
    pub fn mark_code(&mut self, offset: usize, len: usize) {
        let mut offset = offset;
        let end = offset + len;
        while offset < end {
            let page = offset / PAGE;
            let n = (end - offset).min(PAGE - offset % PAGE);
            self.code[page] |= granules(offset % PAGE, n);
            self.flags[page] |= CODE;
            offset += n;
        }
    }

    /// A walk went through the page at this offset.
    pub fn mark_table(&mut self, offset: usize) {
        self.flags[offset / PAGE] |= TABLE;
        self.table_changes[offset / PAGE] = 0;
    }

    /// Number of changes so far.
    #[inline(always)]
    #[must_use]
    pub fn n_changes(&self) -> u64 {
        self.log_first + self.log.len() as u64
    }

    /// The changes from number `from` on; `None` if they are not kept any more.
    #[must_use]
    pub fn changes(&self, from: u64) -> Option<&[Change]> {
        let skip = usize::try_from(from.checked_sub(self.log_first)?).ok()?;
        Some(self.log.get(skip..).unwrap_or(&[]))
    }

    /// Feeds every page that is not zero, with its number, to a hash.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        for (number, (page, flags)) in self.bytes.chunks(PAGE).zip(&self.flags).enumerate() {
            if flags & UNTOUCHED == 0 && page != ZEROS {
                sink(&(number as u64).to_le_bytes());
                sink(page);
            }
        }
    }
}

/// The bits of the granules that `len` bytes at `start` of a page lie in; `len` is not zero.
fn granules(start: usize, len: usize) -> u64 {
    let (first, last) = (start / GRANULE, (start + len - 1) / GRANULE);
    (u64::MAX << first) & (u64::MAX >> (GRANULE - 1 - last))
}
