//! Free pages for tables, from the granted window and, when it is used up, from the driver.

use dv::{Denied, Dv, Window};

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

    /// Gives a page back.
    pub(super) fn give_back(&mut self, page: u64) {
        self.free.push(page);
    }
}
