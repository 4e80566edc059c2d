//! Page tables of both stages: most entries let a program get on, the others are of every kind.
//!
//! A first-stage table can be satp's or vsatp's, since a guest-physical address of RAM is mostly
//! the physical one. Translations of the handlers are never spoilt.

use isa::fields::{HGATP, PTE, SATP};

use super::layout::{
    CODE, DATA, DATA_OF_U, HOLE, HS_HANDLER, HTIF, Image, PAGE, RAM_PAGES, SPARE, TABLES,
    VS_HANDLER, WINDOW_PAGES, address, ppn,
};
use crate::rng::Rng;

const V: u64 = PTE::V.mask();
const R: u64 = PTE::R.mask();
const W: u64 = PTE::W.mask();
const X: u64 = PTE::X.mask();
const U: u64 = PTE::U.mask();
const AD: u64 = PTE::A.mask() | PTE::D.mask();

/// One tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// The value of satp, vsatp or hgatp, without ASID or VMID.
    pub(crate) atp: u64,
    /// The tables of 4 KiB pages that a program may change: RAM as it is, and anything.
    pub(crate) leaves: [usize; 2],
}

#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) image: &'a mut Image,
    pub(crate) rng: &'a mut Rng,
    /// For each page of code whether it is for U.
    pub(crate) user: Vec<bool>,
    pub(crate) next: usize,
}

fn pointer(page: usize) -> u64 {
    PTE::PPN.set(V, ppn(page))
}

impl Builder<'_> {
    fn table(&mut self, pages: usize) -> usize {
        let page = self.next.next_multiple_of(pages);
        self.next = page + pages;
        assert!(self.next <= CODE, "too many page tables");
        page
    }

    fn set(&mut self, table: usize, index: usize, pte: u64) {
        self.image.put64(address(table) + 8 * index as u64, pte);
    }

    /// The first-stage tree of this mode (8, 9 or 10).
    pub(crate) fn first(&mut self, mode: u64) -> Space {
        let [ram, mirror, window] = [0; 3].map(|_| self.table(1));
        for page in 0..RAM_PAGES {
            let pte = self.of_ram(page);
            self.set(ram, page, pte);
            let pte = self.of_ram(page);
            let turned = if page == HS_HANDLER || page == VS_HANDLER { pte } else { pte ^ U };
            self.set(mirror, page, turned);
        }
        let low = self.window(window, false);
        let [at_ram, at_mirror] = [0; 2].map(|_| self.table(1));
        self.set(at_ram, 0, pointer(ram));
        self.set(at_mirror, 0, pointer(mirror));
        let root = self.table(1);
        self.upper(root, [low, at_ram, at_mirror]);
        let root = self.levels(root, mode - 8, 1);
        Space { atp: SATP::MODE.set(ppn(root), mode), leaves: [ram, window] }
    }

    /// The G-stage tree of this mode.
    pub(crate) fn guest(&mut self, mode: u64) -> Space {
        let [ram, window] = [0; 2].map(|_| self.table(1));
        for page in 0..RAM_PAGES {
            let pte = self.of_guest_ram(page);
            self.set(ram, page, pte);
        }
        let low = self.window(window, true);
        let at_ram = self.table(1);
        self.set(at_ram, 0, pointer(ram));
        let root = self.table(if mode == 8 { 4 } else { 1 });
        self.upper(root, [low, at_ram, low]);
        let root = self.levels(root, mode - 8, 4);
        Space { atp: HGATP::MODE.set(ppn(root), mode), leaves: [ram, window] }
    }

    fn window(&mut self, leaves: usize, guest: bool) -> usize {
        for index in 0..WINDOW_PAGES {
            let pte = any_pte(self.rng) | if guest && !self.rng.one_in(8) { U } else { 0 };
            self.set(leaves, index, pte);
        }
        let table = self.table(1);
        self.set(table, 0, pointer(leaves));
        let large = self.large();
        self.set(table, 1, large);
        let misaligned = PTE::PPN.set(self.large(), ppn(DATA));
        self.set(table, 2, misaligned);
        let any = any_pte(self.rng);
        self.set(table, 3, any);
        table
    }

    /// The table whose entries stand for 1 GiB.
    fn upper(&mut self, table: usize, [low, ram, mirror]: [usize; 3]) {
        self.set(table, 1, pointer(low));
        self.set(table, 2, pointer(ram));
        self.set(table, 3, pointer(mirror));
        let large = self.large();
        self.set(table, 4, large);
        let misaligned = PTE::PPN.set(self.large(), ppn(DATA));
        self.set(table, 5, misaligned);
        let any = any_pte(self.rng);
        self.set(table, 6, any);
        let reserved = self.rng.pick(&[AD, U, PTE::N.mask(), PTE::PBMT.mask(), 1 << 54, W]);
        self.set(table, 7, pointer(ram) | reserved);
    }

    /// More levels above `table`, the last of so many pages.
    fn levels(&mut self, mut table: usize, more: u64, root_pages: usize) -> usize {
        for level in 0..more {
            let above = self.table(if level + 1 == more { root_pages } else { 1 });
            self.set(above, 0, pointer(table));
            let any = any_pte(self.rng);
            self.set(above, 1, any);
            table = above;
        }
        table
    }

    /// A leaf that is well aligned wherever it stands.
    fn large(&mut self) -> u64 {
        let bits = self.rng.next() & (R | W | X | U | AD | PTE::G.mask());
        let bits = if self.rng.one_in(8) { bits } else { bits | R | W | AD };
        PTE::PPN.set(V | bits, ppn(0))
    }

    fn of_ram(&mut self, page: usize) -> u64 {
        let pte = PTE::PPN.set(V, ppn(page));
        match page {
            HS_HANDLER | VS_HANDLER => pte | R | X | AD,
            HTIF => 0,
            TABLES..CODE => pte | R | W | AD,
            CODE..DATA => self.of_code(page, pte),
            DATA..SPARE if !self.rng.one_in(4) => {
                pte | R | W | AD | if page < DATA_OF_U { 0 } else { U }
            }
            DATA..SPARE => any_pte_of(self.rng, page),
            SPARE.. if page.is_multiple_of(4) => any_pte_of(self.rng, page),
            _ => 0,
        }
    }

    fn of_code(&mut self, page: usize, pte: u64) -> u64 {
        let user = if self.user[page - CODE] { U } else { 0 };
        let pte = pte | X | user | self.rng.pick(&[R, R | W, R | W, 0]) | AD;
        if self.rng.one_in(40) { pte ^ self.rng.pick(&[AD, X, U, PTE::D.mask()]) } else { pte }
    }

    fn of_guest_ram(&mut self, page: usize) -> u64 {
        let pte = PTE::PPN.set(V | U, ppn(page));
        let spoilt = self.rng.one_in(40);
        match page {
            HS_HANDLER | VS_HANDLER => pte | R | X | AD,
            TABLES..DATA if spoilt => pte | R | X,
            TABLES..CODE => pte | R | W | AD,
            CODE..DATA => pte | self.rng.pick(&[R, R | W, R | W, 0]) | X | AD,
            DATA..SPARE if !spoilt => pte | R | W | X | AD,
            DATA.. => any_pte_of(self.rng, page) | U,
            _ => 0,
        }
    }
}

/// An entry for this page.
pub(crate) fn any_pte_of(rng: &mut Rng, page: usize) -> u64 {
    let rights = rng.pick(&[
        R | W,
        R | W,
        R | W,
        R | W,
        R | W,
        R | W,
        R | W | X,
        R | W | X,
        R,
        R | X,
        R | X,
        X,
        W,
        W | X,
        0,
    ]);
    let mut pte = PTE::PPN.set(V | AD | rights, ppn(page));
    for (bit, odds) in [(U, 2), (PTE::G.mask(), 4), (1 << 8, 4), (1 << 9, 4)] {
        if rng.one_in(odds) {
            pte |= bit;
        }
    }
    if rng.one_in(5) {
        pte ^= rng.pick(&[AD, PTE::D.mask(), PTE::A.mask()]);
    }
    if rng.one_in(12) {
        pte = PTE::PBMT.set(pte, rng.below(4));
    }
    if rng.one_in(20) {
        let napot = PTE::PPN.get(pte) & !0xf | 8;
        pte = PTE::PPN.set(pte, if rng.one_in(4) { rng.next() } else { napot }) | PTE::N.mask();
    }
    if rng.one_in(40) {
        pte ^= rng.pick(&[V, 1 << 54, 1 << 60, 1 << 63, 1 << 62]);
    }
    pte
}

/// An entry for some page, which is never one of the kernel or a table.
pub(crate) fn any_pte(rng: &mut Rng) -> u64 {
    let page = match rng.below(20) {
        0..12 => DATA as u64 + rng.below((SPARE - DATA) as u64),
        12..14 => CODE as u64 + rng.below((DATA - CODE) as u64),
        14..18 => SPARE as u64 + rng.below((RAM_PAGES - SPARE) as u64),
        18 => return PTE::PPN.set(any_pte_of(rng, DATA), HOLE / PAGE),
        _ => return PTE::PPN.set(any_pte_of(rng, DATA), 0xfff_ffff_f000 | rng.below(4096)),
    };
    any_pte_of(rng, usize::try_from(page).unwrap())
}
