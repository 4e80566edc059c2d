//! Values that mean something to whom they are given: addresses, entries of tables, CSRs.

use isa::{Csr, Mode};

use super::generator::{guest_pc, process_pc};
use super::layout::{
    GPA, HOST, HU_CODE, HU_DATA, HU_POOL, HU_RAM, HU_READ_ONLY, KERNEL_VA, POOL_PAGES, Place,
    RAM_PAGES, READ_ONLY_AT, READ_ONLY_PAGES, SECOND_ROOT, VS_ROOT, good_leaf, pte,
};
use super::rng::Rng;

/// Who runs, and when.
pub(crate) struct Scene<'a> {
    pub(crate) mode: Mode,
    /// A guest of the kernel, or a process without a VM.
    pub(crate) of_kernel: bool,
    pub(crate) place: &'a Place,
    pub(crate) other: &'a Place,
    /// `time` now.
    pub(crate) tick: u64,
}

/// A guest-virtual or guest-physical address.
pub(crate) fn guest_address(rng: &mut Rng) -> u64 {
    let page = match rng.below(8) {
        0 => VS_ROOT + rng.below(4),
        1 => rng.below(64),
        2 => READ_ONLY_AT + rng.below(2),
        _ => rng.below(RAM_PAGES),
    };
    let unaligned = if rng.one_in(8) { rng.below(8) } else { 0 };
    match rng.below(32) {
        0 => rng.next(),
        1 => page << 12,
        _ => GPA + (page << 12) + 8 * rng.below(512) + unaligned,
    }
}

/// An entry of a guest's own tables.
pub(crate) fn guest_pte(rng: &mut Rng) -> u64 {
    let page = match rng.below(8) {
        0 => rng.next() & 0xf_ffff,
        1 => (GPA >> 12) + rng.below(80),
        _ => (GPA >> 12) + rng.below(RAM_PAGES),
    };
    page << 10 | low_bits(rng)
}

/// V and rights, mostly of a leaf that can be used.
fn low_bits(rng: &mut Rng) -> u64 {
    rng.pick(&[
        0xcf,
        0xdf,
        0xcf,
        0xdf,
        0xdf,
        0x1f,
        0x0f,
        0x47,
        0x01,
        0x01,
        rng.clone().next() & 255,
    ])
}

/// Where a guest stores, and what.
pub(crate) fn guest_store(rng: &mut Rng) -> (u64, u64) {
    if !rng.one_in(4) {
        return (guest_address(rng), rng.next());
    }
    let page = rng.below(RAM_PAGES);
    let gpa = |page: u64| GPA + (page << 12);
    let user = if page.is_multiple_of(2) { 0 } else { 0x10 };
    let entry = gpa(VS_ROOT + 2) + 8 * page;
    match rng.below(6) {
        0 => (entry, guest_pte(rng)),
        1 => (gpa(VS_ROOT + 1), pte(gpa(VS_ROOT + 2), 1)),
        2 => (gpa(VS_ROOT) + 16, pte(gpa(VS_ROOT + 1), 1)),
        3 => (gpa(VS_ROOT + rng.below(3)) + 8 * rng.below(64), guest_pte(rng)),
        _ => (entry, pte(gpa(page), 0xcf | user)),
    }
}

/// Anything in the machine, and beyond.
fn any_page(rng: &mut Rng, scene: &Scene<'_>) -> u64 {
    let (own, other) = (scene.place, scene.other);
    match rng.below(12) {
        0 | 1 => other.ram.hpa + (rng.below(RAM_PAGES) << 12),
        2 => other.pool.hpa + (rng.below(POOL_PAGES) << 12),
        3 | 4 => own.pool.hpa + (rng.below(POOL_PAGES) << 12),
        5 => own.code() + (rng.below(7) << 12),
        6 => HOST + (rng.below(64) << 12),
        7 => own.read_only() + (rng.below(READ_ONLY_PAGES) << 12),
        8 => other.read_only(),
        9 => (rng.next() & 0xfff_ffff_ffff) << 12,
        10 => rng.below(1 << 20) << 12,
        _ => own.ram.hpa + (rng.below(RAM_PAGES) << 12),
    }
}

/// An entry of a G-stage table: its place in the pool, and its value.
pub(crate) fn g_stage_entry(rng: &mut Rng, scene: &Scene<'_>) -> (u64, u64) {
    let pool = scene.place.pool.hpa;
    let second = rng.one_in(3);
    let page = rng.below(RAM_PAGES);
    let (root, middle, leaves) =
        if second { (SECOND_ROOT, 0x6000, 0x7000) } else { (0, 0x4000, 0x5000) };
    let wrong = rng.one_in(3);
    match rng.below(12) {
        0 if wrong => (root + 8 * rng.below(2048), pte(any_page(rng, scene), low_bits(rng))),
        0 => (root + 8 * (GPA >> 30), pte(pool + middle, 1)),
        // A table that may only be read.
        1 if rng.one_in(4) => (middle, pte(scene.place.read_only(), 1)),
        1 if wrong => (middle, pte(any_page(rng, scene), rng.pick(&[1, 1, 0xdf]))),
        1 | 2 => (middle, pte(pool + leaves, 1)),
        3 => (8 * rng.below(POOL_PAGES * 512), pte(any_page(rng, scene), low_bits(rng))),
        4 | 5 => (leaves + 8 * rng.below(80), pte(any_page(rng, scene), low_bits(rng))),
        6 => (leaves + 8 * page, pte(any_page(rng, scene), 0xdf)),
        _ => (leaves + 8 * page, good_leaf(scene.place, page, second)),
    }
}

/// Where a process stores, and what: half of the time into the tables of its guest.
pub(crate) fn process_store(rng: &mut Rng, scene: &Scene<'_>) -> (u64, u64) {
    let unaligned = if rng.one_in(10) { rng.below(8) } else { 0 };
    let within = 8 * rng.below(512) + unaligned;
    let at = |base: u64, pages: u64, rng: &mut Rng| base + (rng.below(pages) << 12) + within;
    match rng.below(16) {
        0..8 => {
            let (place, entry) = g_stage_entry(rng, scene);
            (HU_POOL + place, entry)
        }
        8 | 9 => (at(HU_DATA, 2, rng), rng.next()),
        10 | 11 => (at(HU_RAM, RAM_PAGES, rng), guest_pte(rng)),
        12 => (at(HU_READ_ONLY, READ_ONLY_PAGES, rng), rng.next()),
        13 => (at(HU_CODE, 2, rng), rng.next()),
        14 => (at(KERNEL_VA, 1, rng), rng.next()),
        _ => (rng.next(), rng.next()),
    }
}

/// A value for this CSR.
pub(crate) fn of_csr(rng: &mut Rng, scene: &Scene<'_>, csr: Csr) -> u64 {
    if rng.one_in(10) {
        return anything(rng);
    }
    match csr {
        Csr::HUSTATUS => hustatus(rng),
        Csr::UEPC if rng.one_in(4) => process_pc(rng),
        Csr::UEPC | Csr::SEPC | Csr::HUVSEPC => guest_pc(rng),
        Csr::UTVEC => process_pc(rng) | rng.below(2),
        Csr::STVEC | Csr::HUVSTVEC => guest_pc(rng) | rng.below(2),
        Csr::SATP | Csr::HUVSATP | Csr::VSATP => guest_satp(rng),
        Csr::SSTATUS | Csr::HUVSSTATUS => {
            rng.next() & (1 << 1 | 1 << 5 | 1 << 8 | 3 << 18) | rng.pick(&[0, 3 << 13])
        }
        Csr::VTIMECMP | Csr::STIMECMP | Csr::HUVSTIMECMP => {
            (scene.tick + rng.below(100)).wrapping_sub(10)
        }
        Csr::VTIMECTL => rng.pick(&[9, 9, 13, 13, 0, 11, rng.clone().next() & 0x7f]),
        Csr::HU_VCPUID => rng.pick(&[0, 1, 0, 1, 0, 1, 2, 7, 0x1_0000]),
        Csr::HU_VITR => {
            let id = rng.pick(&[0, 1, 0, 1, 0, 1, 2, 57]);
            let interrupt = rng.pick(&[0, 2, 6, 10, 2, 6, 10, 1, 5, 9, 7]);
            id | interrupt << 16 | rng.below(2) << 24
        }
        Csr::VIPI0 => rng.pick(&[1, 2, 3, 1, 2, 4, 1 << 40]),
        Csr::HUTIMEDELTA => rng.below(1000),
        Csr::HUCOUNTEREN | Csr::SCOUNTEREN => rng.below(8),
        Csr::HUIE | Csr::HUIP => rng.next() & 0x111,
        Csr::SIE | Csr::SIP | Csr::HUVSIE | Csr::HUVSIP => rng.next() & 0x222,
        Csr::HUVIP => rng.next() & 0x444,
        Csr::HUGATP => (8 + rng.below(3)) << 60 | any_page(rng, scene) >> 12,
        _ => anything(rng),
    }
}

fn hustatus(rng: &mut Rng) -> u64 {
    let status = rng.pick(&[0x180, 0x180, 0x80, 0x180, 0, 0x100]) | rng.next() & 0x11;
    let more = if rng.one_in(3) { rng.next() & 0x370_0000 } else { 0 };
    status | more | rng.below(2) << 26
}

fn guest_satp(rng: &mut Rng) -> u64 {
    let root = (GPA >> 12) + VS_ROOT;
    match rng.below(8) {
        0..3 => 0,
        3 => 8 << 60 | ((GPA >> 12) + rng.below(RAM_PAGES)),
        4 => (9 + rng.below(2)) << 60 | root,
        _ => 8 << 60 | rng.below(2) << 44 | root,
    }
}

fn anything(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << rng.below(64),
        _ => rng.next(),
    }
}
