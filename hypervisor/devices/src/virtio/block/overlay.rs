//! Disks whose writes stay in memory, and can be taken back page by page.
//!
//! ```text
//!   track ─▶ epoch ─▶ next_epoch: what was noted ─▶ epoch ─▶ …
//!               first write to a page: its content before is noted
//! ```
//! So a disk is saved, and taken back to an earlier moment, as RAM is.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Disk, DiskError, SECTOR, range};
use super::recorded::{Recorded, Witness};
use crate::{Digest, feed};

/// Bytes of a page, the unit that an overlay copies.
pub const PAGE: usize = 4096;
/// Sectors of a page.
pub(super) const PAGE_SECTORS: u64 = 8;

/// The content of a page; behind the end of the disk there are zeros.
pub type Page = Arc<[u8; PAGE]>;

/// A page that was written in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirtied {
    /// Its number on the disk.
    pub page: u64,
    /// What was in it at the begin of the epoch; `None` if it had never been written.
    pub before: Option<Page>,
}

/// The pages of a disk that were written since the run began: its state.
///
/// A content that is handed out is shared until the guest writes to the page again.
pub trait Overlay {
    /// From now on the first write to each page is noted, or no longer: an epoch begins, and what
    /// was noted before is gone.
    fn track(&mut self, on: bool);

    /// What was noted since the epoch began, by rising number; the next one begins.
    fn next_epoch(&mut self) -> Vec<Dirtied>;

    /// The numbers of all pages that were written, rising.
    fn pages(&self) -> Vec<u64>;

    /// The content of a page; `None` if it was never written.
    fn page(&self, page: u64) -> Option<Page>;

    /// Puts a page back; with `None` it is as if it had never been written. Nothing is noted, and
    /// the host's image stays as it is.
    ///
    /// # Errors
    /// [`DiskError::OutOfRange`] if it is no page of the disk, [`DiskError::Full`] if the overlay
    /// holds as much as it may.
    fn put_page(&mut self, page: u64, content: Option<Page>) -> Result<(), DiskError>;

    /// Whether writes reach the host's image, too, if they ever do: not while a run is in its
    /// past. Turned on again, the image is made what the guest's disk is now.
    ///
    /// # Errors
    /// [`DiskError::Host`] if the host could not write; it may be tried again.
    fn set_through(&mut self, on: bool) -> Result<(), DiskError>;
}

/// A disk whose writes stay in memory, above a base that is only read.
///
/// A clone shares the pages until one of the two writes to them, so it costs little.
#[derive(Clone, Debug)]
pub struct CowDisk<B> {
    // Fixed configuration.
    base: B,
    limit: u64,
    /// Writes also go to the base, which nevertheless reads as it was at the begin.
    writes_base: bool,
    // Runtime state.
    overlay: BTreeMap<u64, Page>,
    // For watchers; no part of the state.
    /// What was in the pages that were written in this epoch.
    noted: Option<BTreeMap<u64, Option<Page>>>,
    /// Whether writes go to the base now.
    through: bool,
    /// Pages that may be other ones in the base's image than here.
    stale: BTreeSet<u64>,
}

impl<B: Disk> CowDisk<B> {
    /// An overlay over `base` that may grow to `limit_bytes`; writes that need more fail.
    #[must_use]
    pub fn new(base: B, limit_bytes: u64) -> CowDisk<B> {
        CowDisk {
            base,
            limit: limit_bytes / PAGE as u64,
            writes_base: false,
            overlay: BTreeMap::new(),
            noted: None,
            through: true,
            stale: BTreeSet::new(),
        }
    }

    /// Bytes that the overlay holds.
    #[must_use]
    pub fn overlay_bytes(&self) -> u64 {
        (self.overlay.len() * PAGE) as u64
    }

    /// The bytes of a page that are on the disk: the last page may be a part of one.
    fn len_of(&self, page: u64) -> usize {
        let first = page.saturating_mul(PAGE_SECTORS);
        let there = self.base.sectors().saturating_sub(first).min(PAGE_SECTORS);
        usize::try_from(there * SECTOR).unwrap_or(0)
    }

    fn base_page(&mut self, page: u64) -> Result<[u8; PAGE], DiskError> {
        let mut bytes = [0; PAGE];
        let there = self.len_of(page);
        self.base.read(page * PAGE_SECTORS, &mut bytes[..there])?;
        Ok(bytes)
    }

    /// Whether the pages of so many bytes are there, or may be added.
    fn has_room(&self, at: u64, len: usize) -> bool {
        let pages = at / PAGE as u64..(at + len as u64).div_ceil(PAGE as u64);
        let there = self.overlay.range(pages.clone()).count() as u64;
        self.overlay.len() as u64 + (pages.end - pages.start) - there <= self.limit
    }

    /// The page to write to, copied from the base first unless all of it is replaced.
    fn page_mut(&mut self, page: u64, whole: bool) -> Result<&mut [u8; PAGE], DiskError> {
        if let Some(noted) = &mut self.noted {
            noted.entry(page).or_insert_with(|| self.overlay.get(&page).cloned());
        }
        if !self.overlay.contains_key(&page) {
            let bytes = if whole { [0; PAGE] } else { self.base_page(page)? };
            self.overlay.insert(page, Arc::new(bytes));
        }
        self.overlay.get_mut(&page).map(Arc::make_mut).ok_or(DiskError::Full)
    }

    /// Writes to the base's image, or remembers to.
    fn pass(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        let passed = if self.through { self.base.write(sector, buf) } else { Ok(()) };
        if passed.is_err() || !self.through {
            self.stale.extend(parts(sector * SECTOR, buf.len()).map(|(page, _)| page));
        }
        passed
    }
}

impl<B: Disk> CowDisk<Recorded<B>> {
    /// An overlay whose writes reach the image of `base` as well: what is behind it at the end is
    /// what the guest wrote, and yet each earlier moment can be had again.
    #[must_use]
    pub fn write_through(base: Recorded<B>, limit_bytes: u64) -> CowDisk<Recorded<B>> {
        CowDisk { writes_base: true, ..CowDisk::new(base, limit_bytes) }
    }
}

/// The parts of pages that `len` bytes from byte `at` of the disk on are in.
pub(super) fn parts(at: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let (mut at, mut left) = (at, len);
    std::iter::from_fn(move || {
        let (page, inside) = part(at, left);
        at += inside.len() as u64;
        left -= inside.len();
        (!inside.is_empty()).then_some((page, inside))
    })
}

/// The part of a page that begins at byte `at` of the disk and has at most `left` bytes.
fn part(at: u64, left: usize) -> (u64, Range<usize>) {
    let page = PAGE as u64;
    let begin = usize::try_from(at % page).unwrap_or(0);
    (at / page, begin..PAGE.min(begin.saturating_add(left)))
}

impl<B: Disk> Disk for CowDisk<B> {
    fn sectors(&self) -> u64 {
        self.base.sectors()
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (at, _) = range(self.sectors(), sector, buf.len())?;
        // The base once, in one piece, and then what was written since.
        self.base.read(sector, buf)?;
        patch(&self.overlay, at, buf);
        Ok(())
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        let (at, _) = range(self.sectors(), sector, buf.len())?;
        if !self.has_room(at, buf.len()) {
            return Err(DiskError::Full);
        }
        // What can fail comes first.
        for (page, inside) in parts(at, buf.len()) {
            if inside.len() < PAGE {
                self.page_mut(page, false)?;
            }
        }
        if self.writes_base {
            self.pass(sector, buf)?;
        }
        let mut left = buf;
        for (page, inside) in parts(at, buf.len()) {
            let (now, later) = left.split_at(inside.len());
            self.page_mut(page, now.len() == PAGE)?[inside].copy_from_slice(now);
            left = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.writes_base && self.through { self.base.flush() } else { Ok(()) }
    }

    fn read_only(&self) -> bool {
        false
    }

    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        Some(self)
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.base.witness()
    }
}

/// Lays pages over what was read from byte `at` on.
pub(super) fn patch(pages: &BTreeMap<u64, Page>, at: u64, buf: &mut [u8]) {
    let end = at + buf.len() as u64;
    for (page, bytes) in pages.range(at / PAGE as u64..end.div_ceil(PAGE as u64)) {
        let begin = at.max(page * PAGE as u64);
        let done = usize::try_from(begin - at).unwrap_or(buf.len());
        let (_, inside) = part(begin, buf.len() - done);
        buf[done..done + inside.len()].copy_from_slice(&bytes[inside]);
    }
}

impl<B: Disk> Overlay for CowDisk<B> {
    fn track(&mut self, on: bool) {
        self.noted = on.then(BTreeMap::new);
    }

    fn next_epoch(&mut self) -> Vec<Dirtied> {
        let noted = self.noted.as_mut().map(std::mem::take).unwrap_or_default();
        noted.into_iter().map(|(page, before)| Dirtied { page, before }).collect()
    }

    fn pages(&self) -> Vec<u64> {
        self.overlay.keys().copied().collect()
    }

    fn page(&self, page: u64) -> Option<Page> {
        self.overlay.get(&page).cloned()
    }

    fn put_page(&mut self, page: u64, content: Option<Page>) -> Result<(), DiskError> {
        if page >= self.base.sectors().div_ceil(PAGE_SECTORS) {
            return Err(DiskError::OutOfRange);
        }
        match content {
            None => {
                self.overlay.remove(&page);
            }
            Some(_) if !self.has_room(page * PAGE as u64, PAGE) => return Err(DiskError::Full),
            Some(content) => {
                self.overlay.insert(page, content);
            }
        }
        if self.writes_base {
            self.stale.insert(page);
        }
        Ok(())
    }

    fn set_through(&mut self, on: bool) -> Result<(), DiskError> {
        self.through = on;
        if !on || !self.writes_base {
            return Ok(());
        }
        while let Some(page) = self.stale.first().copied() {
            let bytes = match self.overlay.get(&page) {
                Some(bytes) => **bytes,
                None => self.base_page(page)?,
            };
            let there = self.len_of(page);
            self.base.write(page * PAGE_SECTORS, &bytes[..there])?;
            self.stale.remove(&page);
        }
        Ok(())
    }
}

impl<B: Disk> Digest for CowDisk<B> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed(sink, self.limit);
        feed(sink, self.overlay.len() as u64);
        for (index, bytes) in &self.overlay {
            feed(sink, *index);
            sink(&bytes[..]);
        }
    }
}
