//! Random page tables over a small RAM, mostly right, and the addresses that lead into them.
//!
//! ```text
//!  page   0..4  5 6 | 7 8 | 9 10 |   11   | 12 13 | 14 15 | 16 17 | 18 19 | 20..32 | 32..64
//!        G root  L2 | L1  |  L0  | VS root|  L3   |  L2   |  L1   |  L0   | unused | code, data
//! ```
//! Page 4 is the G-stage's level 3. The first stage serves `satp` and `vsatp` alike, since the
//! G-stage is mostly the identity.

use crate::ram::BASE;
use crate::rng::Rng;

pub(crate) const N_PAGES: u64 = 64;
pub(crate) const FIRST_DATA: u64 = 32;
const PAGE: u64 = BASE >> 12;
const G_LEVELS: [&[u64]; 4] = [&[9, 10], &[7, 8], &[5, 6], &[4]];
const VS_LEVELS: [&[u64]; 4] = [&[18, 19], &[16, 17], &[14, 15], &[12, 13]];
const VS_ROOT: u64 = 11;
/// Entries that are filled in each table.
const N_ENTRIES: u64 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    First,
    Guest,
}

/// Shape of one world.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) levels: u64,
    pub(crate) guest_levels: u64,
    /// One entry in so many is wrong in some way.
    pub(crate) wrong: u64,
    /// One pointer in so many leads just anywhere.
    pub(crate) chaos: u64,
}

impl Shape {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            levels: 3 + rng.below(3),
            guest_levels: 3 + rng.below(3),
            wrong: rng.pick(&[u64::MAX, 200, 50, 12]),
            chaos: rng.pick(&[u64::MAX, 60, 10]),
        }
    }

    pub(crate) fn satp(&self) -> u64 {
        (self.levels + 5) << 60 | (PAGE + VS_ROOT)
    }

    pub(crate) fn gatp(&self) -> u64 {
        (self.guest_levels + 5) << 60 | PAGE
    }

    fn roots(stage: Stage) -> &'static [u64] {
        if stage == Stage::Guest { &[0, 1, 2, 3] } else { &[VS_ROOT] }
    }

    fn tables(stage: Stage, level: u64) -> &'static [u64] {
        let all = if stage == Stage::Guest { G_LEVELS } else { VS_LEVELS };
        usize::try_from(level).ok().and_then(|level| all.get(level).copied()).unwrap_or(&[])
    }

    /// All tables with what stands in them: stage and level.
    fn pages(&self) -> Vec<(u64, Stage, u64)> {
        let mut pages = Vec::new();
        for (stage, levels) in [(Stage::First, self.levels), (Stage::Guest, self.guest_levels)] {
            for level in 0..levels - 1 {
                pages.extend(Self::tables(stage, level).iter().map(|p| (*p, stage, level)));
            }
            pages.extend(Self::roots(stage).iter().map(|p| (*p, stage, levels - 1)));
        }
        pages
    }

    /// Every entry of the world: its physical address and value.
    pub(crate) fn fill(&self, rng: &mut Rng) -> Vec<(u64, u64)> {
        let mut entries = Vec::new();
        for (page, stage, level) in self.pages() {
            for index in 0..N_ENTRIES {
                let pte = self.entry(rng, stage, level, index);
                entries.push((BASE + (page << 12) + index * 8, pte));
            }
        }
        entries
    }

    /// A new value for some entry.
    pub(crate) fn change(&self, rng: &mut Rng) -> (u64, u64) {
        let pages = self.pages();
        let (page, stage, level) = rng.pick(&pages);
        let index = rng.below(if level == 0 { N_ENTRIES } else { 4 });
        (BASE + (page << 12) + index * 8, self.entry(rng, stage, level, index))
    }

    fn entry(&self, rng: &mut Rng, stage: Stage, level: u64, index: u64) -> u64 {
        if rng.one_in(self.chaos) {
            let page = PAGE + rng.below(N_PAGES);
            return page << 10 | rng.pick(&[0x01, 0xdf, 0xcf, 0x5f, 0x41]);
        }
        let pte = if level > 0 && !rng.one_in(6) {
            (PAGE + rng.pick(Self::tables(stage, level - 1))) << 10 | 1
        } else {
            leaf(rng, stage, level, index)
        };
        if rng.one_in(self.wrong) { wrong(rng, pte) } else { pte }
    }

    /// An address that means something to this world.
    pub(crate) fn address(&self, rng: &mut Rng) -> u64 {
        let mut va = (rng.below(N_ENTRIES)) << 12;
        for level in 1..self.levels.max(self.guest_levels) {
            let index = if level == 2 { rng.pick(&[2, 2, 2, 0, 1, 3]) } else { rng.below(5) / 4 };
            va |= index << (12 + 9 * level);
        }
        let bits = 12 + 9 * self.levels;
        match rng.below(40) {
            0 => va | 1 << (bits + rng.below(64 - bits)),
            1 => va | u64::MAX << (bits - 1),
            2 => va | rng.below(4) << (12 + 9 * self.guest_levels),
            3 => crate::ram::DEVICE | va & 0xfff,
            _ => va & ((1 << (bits - 1)) - 1),
        }
    }
}

fn leaf(rng: &mut Rng, stage: Stage, level: u64, index: u64) -> u64 {
    let identity = if level == 0 { PAGE + index } else { index << (9 * level) };
    let page = match (level, stage) {
        (0, Stage::Guest) if !rng.one_in(8) => identity,
        (0, _) if rng.one_in(30) => crate::ram::DEVICE >> 12,
        (0, _) => PAGE + if rng.one_in(4) { rng.below(N_PAGES) } else { 32 + rng.below(32) },
        (1 | 2, _) if rng.one_in(2) => PAGE,
        _ => identity,
    };
    let rwx = rng.pick(&[0b111, 0b111, 0b111, 0b111, 0b011, 0b001, 0b100, 0b101]) << 1;
    let user = match stage {
        Stage::Guest => u64::from(!rng.one_in(40)),
        Stage::First => rng.below(2),
    };
    let dirty = rng.pick(&[3, 3, 3, 3, 3, 1, 0]);
    let mut pte = page << 10 | rwx | user << 4 | rng.below(2) << 5 | dirty << 6 | 1;
    if level == 0 && rng.one_in(10) {
        pte = (pte & !(15 << 10)) | 8 << 10 | 1 << 63;
    }
    if rng.one_in(20) {
        pte |= rng.below(3) << 61;
    }
    pte
}

fn wrong(rng: &mut Rng, pte: u64) -> u64 {
    match rng.below(9) {
        0 => pte & !1,
        1 => pte | 1 << (54 + rng.below(7)),
        2 => pte | 3 << 61,
        3 => pte ^ 1 << 63,
        4 => pte & !0xe | 4,
        5 => pte ^ 1 << rng.below(64),
        6 => pte ^ 1 << (10 + rng.below(18)),
        7 => pte & !(((1 << 44) - 1) << 10) | rng.below(1 << 44) << 10,
        _ => pte | rng.below(8) << 61,
    }
}
