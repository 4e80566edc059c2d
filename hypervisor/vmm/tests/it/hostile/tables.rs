//! Page tables of every mode: they lead into RAM, devices, holes and themselves.
//!
//! ```text
//!   page  0..4  roots of Sv39   4 5  of Sv48   6 7  of Sv57   8..16  level 1   16..32  level 0
//! ```
//! A root maps RAM where it is, so that the guest goes on, but for one in 32.

use isa::{Csr, Insn, Op};
use vmm::layout::{FINISHER, PLIC, RAM_BASE, RTC, UART, virtio};

use super::asm::{A0, S0, S1, T6, ZERO};
use super::guest::{BUFFERS, Guest, N_TABLES, RINGS, TABLES};
use super::mmio;
use super::setting::Setting;
use crate::dice::Dice;

/// Entries that are filled in each table; most addresses lead there.
const N_ENTRIES: u64 = 64;
const V: u64 = 1;
const RWX: u64 = 7 << 1;
const U: u64 = 1 << 4;
const AD: u64 = 3 << 6;
const NAPOT: u64 = 1 << 63;
const SUM_MXR: u64 = 3 << 18;

/// The pages of tables of a level, 0 to 4.
fn pages(level: u64) -> std::ops::Range<u64> {
    match level {
        0 => 16..32,
        1 => 8..16,
        2 => 0..4,
        3 => 4..6,
        _ => 6..8,
    }
}

fn level_of(page: u64) -> u64 {
    (0..5).find(|level| pages(*level).contains(&page)).unwrap()
}

fn page(dice: &mut Dice, level: u64) -> u64 {
    let pages = pages(level);
    (TABLES >> 12) + dice.between(pages.start, pages.end - 1)
}

/// The images of all tables.
pub(crate) fn content(dice: &mut Dice, setting: &Setting) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(N_TABLES << 12).unwrap()];
    let wrong = dice.pick(&[u64::MAX, 100, 20, 4]);
    for page in 0..N_TABLES {
        for index in 0..N_ENTRIES {
            let pte = entry(dice, setting, level_of(page), index, wrong);
            let at = usize::try_from((page << 12) + index * 8).unwrap();
            bytes[at..at + 8].copy_from_slice(&pte.to_le_bytes());
        }
    }
    bytes
}

fn entry(dice: &mut Dice, setting: &Setting, level: u64, index: u64, wrong: u64) -> u64 {
    let keeps_going = level == 2 && index == 2 || level > 2 && index == 0;
    if keeps_going && !dice.one_in(32) {
        let pointer = page(dice, level.saturating_sub(1)) << 10 | V;
        return if level == 2 { (RAM_BASE >> 12) << 10 | AD | RWX | V } else { pointer };
    }
    let pte = match dice.below(16) {
        // Itself, or one of its own kind or above.
        0 => ((TABLES >> 12) + dice.below(N_TABLES)) << 10 | V,
        1 => target(dice, setting) << 10 | V,
        2..=10 if level > 0 => page(dice, level - 1) << 10 | V,
        _ => leaf(dice, setting, level),
    };
    if dice.one_in(wrong) { spoiled(dice, pte) } else { pte }
}

/// The number of a page of RAM, of a device, or of nothing.
fn target(dice: &mut Dice, setting: &Setting) -> u64 {
    let addr = match dice.below(16) {
        0 => UART.base,
        1 => PLIC.base + dice.pick(&[0, 0x1000, 0x2000, 0x20_0000]),
        2 => virtio(dice.pick(&[0, 1, 2])).base,
        3 => dice.pick(&[RTC.base, RTC.base, RTC.base, FINISHER.base]),
        4 => dice.pick(&[0, 0x2000_0000, 0x1000_4000]),
        5 => RAM_BASE + setting.memory,
        6 => RAM_BASE + setting.memory - 4096,
        7 => TABLES + (dice.below(N_TABLES) << 12),
        8 => RINGS + (dice.below(15) << 12),
        9 => dice.below(1 << 40),
        10 => RAM_BASE + (dice.below(16) << 12),
        _ => BUFFERS + (dice.below(32) << 12),
    };
    addr >> 12
}

fn leaf(dice: &mut Dice, setting: &Setting, level: u64) -> u64 {
    let page = target(dice, setting);
    // Aligned as a superpage has to be, mostly.
    let page = if dice.one_in(8) { page } else { page >> (9 * level) << (9 * level) };
    let rights = dice.pick(&[7, 7, 7, 3, 1, 4, 5]) << 1;
    let dirty = dice.pick(&[3, 3, 3, 3, 1, 0, 2]) << 6;
    let mut pte = page << 10 | rights | dice.below(4) << 4 | dirty | dice.below(4) << 8 | V;
    if dice.one_in(10) {
        pte = pte & !(15 << 10) | 8 << 10 | NAPOT;
    }
    if dice.one_in(10) {
        pte |= dice.below(4) << 61;
    }
    pte
}

fn spoiled(dice: &mut Dice, pte: u64) -> u64 {
    match dice.below(8) {
        0 => pte & !V,
        1 => pte | 1 << (54 + dice.below(7)),
        2 => pte ^ NAPOT,
        3 => pte & !RWX | 4,
        4 => pte ^ U,
        5 => pte | ((1 << 44) - 1) << 10,
        6 => dice.roll(),
        _ => pte ^ 1 << dice.below(64),
    }
}

/// A virtual address that the tables say something about.
fn address(dice: &mut Dice) -> u64 {
    let mut va = dice.below(N_ENTRIES) << 12 | dice.below(4096) & dice.pick(&[!7, !7, !3, !0]);
    va |= dice.below(N_ENTRIES) << 21;
    va |= dice.below(N_ENTRIES / 4) << 30;
    match dice.below(12) {
        0 => va |= dice.below(N_ENTRIES) << 39,
        1 => va |= dice.below(N_ENTRIES) << 48,
        2 => va |= u64::MAX << dice.between(38, 57),
        3 => va |= 0xfff,
        4 => return RAM_BASE + dice.below(1 << 20),
        _ => {}
    }
    va
}

/// Translation on, accesses through it, entries changed under them.
pub(crate) fn action(guest: &mut Guest<'_>) {
    let mode = guest.dice.pick(&[8, 8, 8, 9, 10]);
    let root = page(guest.dice, mode - 6);
    let asid = guest.dice.pick(&[0, 0, 1, 0xffff]);
    guest.asm.li(S0, mode << 60 | asid << 44 | root);
    guest.asm.csrw(Csr::SATP, S0);
    fence(guest);
    if guest.dice.coin() {
        let bits = guest.dice.roll() & SUM_MXR;
        guest.asm.li(S0, bits);
        let op = guest.dice.pick(&[Op::Csrrs, Op::Csrrc]);
        guest.asm.csr(op, ZERO, Csr::SSTATUS, S0);
    }
    let n = guest.dice.between(2, 14);
    for _ in 0..n {
        if guest.dice.one_in(3) {
            change(guest);
        }
        let addr = address(guest.dice);
        let value = guest.number();
        guest.asm.li(A0, addr);
        guest.asm.li(S1, value);
        mmio::access(guest);
    }
    if !guest.dice.one_in(4) {
        guest.asm.csrw(Csr::SATP, ZERO);
    }
}

/// Another entry somewhere, or a few of its bits.
fn change(guest: &mut Guest<'_>) {
    let page = guest.dice.below(N_TABLES);
    let index = guest.dice.below(N_ENTRIES);
    let pte = entry(guest.dice, guest.setting, level_of(page), index, 4);
    guest.asm.li(S0, TABLES + (page << 12) + index * 8);
    guest.asm.li(S1, pte);
    match guest.dice.below(6) {
        0 => {
            let op = guest.dice.pick(&[Op::AmoswapD, Op::AmoorD, Op::AmoandD, Op::ScD]);
            guest.asm.insn(Insn { rd: T6, rs1: S0, rs2: S1, ..Insn::new(op) });
        }
        1 => guest.asm.store(Op::Sb, S1, S0, guest.dice.pick(&[0, 1, 7])),
        _ => guest.asm.store(Op::Sd, S1, S0, 0),
    }
    if guest.dice.coin() {
        fence(guest);
    }
}

fn fence(guest: &mut Guest<'_>) {
    let op = guest.dice.pick(&[Op::SfenceVma, Op::SfenceVma, Op::SinvalVma, Op::SfenceWInval]);
    let (rs1, rs2) = guest.dice.pick(&[(ZERO, ZERO), (ZERO, ZERO), (A0, ZERO), (A0, S1)]);
    guest.asm.insn(Insn { rs1, rs2, ..Insn::new(op) });
}
