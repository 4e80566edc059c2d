//! Which pages were written since when, and what was in them; and pages that are put back.
//!
//! ```text
//!   track ─▶ epoch ─▶ next_epoch: what was noted ─▶ epoch ─▶ …
//!               first write to a page: it is noted, and loses its TRACKED flag
//!               later writes to it:    as without tracking
//! ```

use std::sync::Arc;

use hart::Change;

use super::{CODE, GRANULE, Memory, PAGE, TABLE, TRACKED, UNTOUCHED, ZEROS};

/// What is noted of the first write to a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// Nothing.
    #[default]
    Off,
    /// That there was one.
    Numbers,
    /// Also what was in the page before.
    Images,
}

/// What was in a page at the begin of the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// That is not kept: [`Tracking::Numbers`].
    NotKept,
    /// It was never written, so zeros.
    Untouched,
    /// This.
    Bytes(Arc<[u8; PAGE]>),
}

/// A page that was written in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirtied {
    /// Its number in RAM.
    pub page: u32,
    /// What was in it.
    pub before: Before,
}

/// The epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracked {
    tracking: Tracking,
    /// Each page once, in the order of their first writes.
    dirtied: Vec<Dirtied>,
}

impl Memory {
    /// From now on the first write to each page is noted: an epoch begins, and what was noted
    /// before is gone. The cost is one byte for each page of RAM.
    pub fn track(&mut self, tracking: Tracking) {
        self.tracked = Tracked { tracking, dirtied: Vec::new() };
        let flag = if tracking == Tracking::Off { 0 } else { TRACKED };
        self.flags.iter_mut().for_each(|flags| *flags = *flags & !TRACKED | flag);
    }

    /// What is noted.
    #[must_use]
    pub fn tracking(&self) -> Tracking {
        self.tracked.tracking
    }

    /// What was noted since the epoch began, in the order of the first writes; the next one
    /// begins. The cost grows with these pages, not with RAM.
    pub fn next_epoch(&mut self) -> Vec<Dirtied> {
        let dirtied = std::mem::take(&mut self.tracked.dirtied);
        for Dirtied { page, .. } in &dirtied {
            self.flags[*page as usize] |= TRACKED;
        }
        dirtied
    }

    /// The content of a page; `None` if it was never written, or is none of RAM.
    #[must_use]
    pub fn page(&self, page: u32) -> Option<&[u8; PAGE]> {
        let page = page as usize;
        let touched = self.flags.get(page)? & UNTOUCHED == 0;
        self.bytes[page * PAGE..].first_chunk().filter(|_| touched)
    }

    /// Puts a page's content back, whoever watches: code and translations that derive from it are
    /// forgotten as by a write, but nothing is noted and no watched write happens. With `None` it
    /// is as if it had never been written.
    ///
    /// # Panics
    /// If it is no page of RAM.
    pub fn put_page(&mut self, page: u32, content: Option<&[u8; PAGE]>) {
        let page = page as usize;
        let was_touched = self.flags[page] & UNTOUCHED == 0;
        // The host has not even given that memory yet.
        if content.is_none() && !was_touched {
            return;
        }
        if content.is_some() != was_touched {
            self.flags[page] ^= UNTOUCHED;
            self.n_touched = self.n_touched + u64::from(!was_touched) - u64::from(was_touched);
        }
        let content = content.unwrap_or(&ZEROS);
        let bytes = page * PAGE..(page + 1) * PAGE;
        if self.bytes[bytes.clone()] == *content {
            return;
        }
        if self.flags[page] & CODE != 0 {
            self.put_code(page, content);
        }
        if self.flags[page] & TABLE != 0 {
            self.flags[page] &= !TABLE;
            self.note(Change::Table { offset: page * PAGE });
        }
        self.bytes[bytes].copy_from_slice(content);
    }

    /// Instructions of the granules that will be others are forgotten.
    fn put_code(&mut self, page: usize, content: &[u8; PAGE]) {
        let mut granules = self.code[page];
        while granules != 0 {
            let start = granules.trailing_zeros() as usize * GRANULE;
            granules &= granules - 1;
            let offset = page * PAGE + start;
            if self.bytes[offset..offset + GRANULE] != content[start..start + GRANULE] {
                self.change_code(offset, GRANULE);
            }
        }
    }

    /// The first write of the epoch to this page, before it happens.
    #[cold]
    pub(super) fn note_dirtied(&mut self, page: usize) {
        if self.flags[page] & TRACKED == 0 {
            return;
        }
        self.flags[page] &= !TRACKED;
        let before = match self.tracked.tracking {
            Tracking::Images if self.flags[page] & UNTOUCHED != 0 => Before::Untouched,
            Tracking::Images => match self.bytes[page * PAGE..].first_chunk::<PAGE>() {
                Some(bytes) => Before::Bytes(Arc::new(*bytes)),
                None => Before::NotKept,
            },
            Tracking::Off | Tracking::Numbers => Before::NotKept,
        };
        // A machine has fewer pages than that: 16 TiB.
        let page = u32::try_from(page).unwrap_or(u32::MAX);
        self.tracked.dirtied.push(Dirtied { page, before });
    }

    /// All pages that hold something will be zero.
    pub(super) fn note_clearing(&mut self) {
        for page in 0..self.flags.len() {
            if self.flags[page] & (UNTOUCHED | TRACKED) == TRACKED {
                self.note_dirtied(page);
            }
        }
    }
}
