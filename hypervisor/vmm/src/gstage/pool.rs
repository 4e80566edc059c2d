//! Free pages for tables, from the granted window and, when it is used up, from the driver.

use dv::{Denied, Dv, Window};
use state::{Codec, Damaged};

use crate::layout::PAGE;

/// What one emergency call asks of the driver.
const GROW_BYTES: u64 = 1 << 20;

/// Pages for tables.
#[derive(Debug)]
pub(super) struct Pool {
    /// Windows that pages come from, each with the bytes that are not for the pool.
    windows: Vec<(Window, u64)>,
    /// Pages given back.
    free: Vec<u64>,
    /// Which window, and where in it, the next untouched page is.
    next: (usize, u64),
}

impl Pool {
    /// The pages of `window` behind the first `reserved` bytes.
    pub(super) fn new(window: Window, reserved: u64) -> Self {
        Self { windows: vec![(window, reserved)], free: Vec::new(), next: (0, reserved) }
    }

    /// All pages are free again.
    pub(super) fn reset(&mut self) {
        self.free.clear();
        self.next = (0, self.windows.first().map_or(0, |(_, reserved)| *reserved));
    }

    /// Takes a page, of whatever content.
    pub(super) fn take<D: Dv>(&mut self, dv: &mut D) -> Result<u64, Denied> {
        if let Some(page) = self.free.pop() {
            return Ok(page);
        }
        if let Some(page) = self.untouched() {
            return Ok(page);
        }
        let window = dv.grow(GROW_BYTES)?;
        self.windows.push((window, 0));
        self.untouched().ok_or(Denied)
    }

    fn untouched(&mut self) -> Option<u64> {
        loop {
            let (index, offset) = self.next;
            let (window, _) = self.windows.get(index)?;
            if window.size.saturating_sub(offset) >= PAGE {
                self.next.1 += PAGE;
                return Some(window.hpa + offset);
            }
            let reserved = self.windows.get(index + 1)?.1;
            self.next = (index + 1, reserved);
        }
    }

    /// Goes through the state: of the windows, which `granted` names, what is used and free.
    pub(super) fn state(
        &mut self,
        codec: &mut Codec<'_>,
        granted: &[Window],
    ) -> Result<(), Damaged> {
        codec.check(
            granted.first() == self.windows.first().map(|(window, _)| window),
            "the table pool is another window",
        )?;
        if codec.is_loading() {
            // The first one is configuration, what was granted later follows it.
            self.windows.truncate(1);
            self.windows.extend(granted.iter().skip(1).map(|window| (*window, 0)));
        }
        let (index, offset) = &mut self.next;
        codec.index(index, self.windows.len())?;
        codec.u64(offset)?;
        let (window, reserved) = self.windows[*index];
        let within = (reserved..=window.size).contains(offset) && offset.is_multiple_of(PAGE);
        codec.check(within, "a table pool that is used beyond its end")?;
        let pages: u64 = self.windows.iter().map(|(window, _)| window.size / PAGE).sum();
        codec.list(&mut self.free, usize::try_from(pages).unwrap_or(usize::MAX), Codec::u64)?;
        let taken = self.free.iter().all(|page| self.is_taken(*page));
        codec.check(taken, "a free page of tables that was never used")
    }

    /// Whether it is a page that was taken; it may have been given back.
    pub(super) fn is_taken(&self, page: u64) -> bool {
        let (current, offset) = self.next;
        let within = |(index, (window, reserved)): (usize, &(Window, u64))| {
            let end = if index < current { window.size } else { offset };
            index <= current && (*reserved..end).contains(&page.wrapping_sub(window.hpa))
        };
        page.is_multiple_of(PAGE) && self.windows.iter().enumerate().any(within)
    }

    /// Pages that were given back.
    pub(super) fn free(&self) -> &[u64] {
        &self.free
    }

    /// Gives a page back.
    pub(super) fn give_back(&mut self, page: u64) {
        self.free.push(page);
    }
}
