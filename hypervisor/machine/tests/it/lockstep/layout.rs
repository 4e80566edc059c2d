//! Where everything of a program is. All of it lies in one large page of 2 MiB.
//!
//! ```text
//! page   0  kernel: prologue, and for each episode its set-up and its M handler; at last the sweep
//!      120  HS handler      121  VS handler      122  tohost, fromhost
//!      128  page tables of both stages
//!      256  code: a page for each episode
//!      304  data
//!      336  nothing
//! ```

use std::ops::Range;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const RAM_BASE: u64 = 0x8000_0000;
pub(crate) const RAM_PAGES: usize = 512;
pub(crate) const KERNEL_PAGES: usize = HS_HANDLER;
pub(crate) const HS_HANDLER: usize = 120;
pub(crate) const VS_HANDLER: usize = 121;
pub(crate) const HTIF: usize = 122;
pub(crate) const TABLES: usize = 128;
pub(crate) const CODE: usize = 256;
pub(crate) const DATA: usize = 304;
/// From here on mostly for U.
pub(crate) const DATA_OF_U: usize = 320;
pub(crate) const SPARE: usize = 336;

/// With translation, the same pages again with their U bits turned round.
pub(crate) const MIRROR: u64 = 0xc000_0000;
/// With translation, pages of any kind: 64 small ones, and large ones behind them.
pub(crate) const WINDOW: u64 = 0x4000_0000;
pub(crate) const WINDOW_PAGES: usize = 64;
/// With translation, a page of 1 GiB.
pub(crate) const HUGE: u64 = 0x1_0000_0000;
/// Neither simulator has anything here.
pub(crate) const HOLE: u64 = 0x4000_0000;

pub(crate) fn address(page: usize) -> u64 {
    RAM_BASE + page as u64 * PAGE
}

pub(crate) fn ppn(page: usize) -> u64 {
    address(page) / PAGE
}

/// The bytes of RAM before the first step.
#[derive(Debug)]
pub(crate) struct Image(Vec<u8>);

impl Image {
    pub(crate) fn new() -> Self {
        Self(vec![0; SPARE * 4096])
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at - RAM_BASE).unwrap();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Clears bits of all words of these pages.
    pub(crate) fn keep(&mut self, pages: Range<usize>, mask: u64) {
        for word in self.0[pages.start * 4096..pages.end * 4096].chunks_exact_mut(8) {
            let kept = mask.to_le_bytes();
            word.iter_mut().zip(kept).for_each(|(byte, kept)| *byte &= kept);
        }
    }

    pub(crate) fn put64(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}
