//! Device registers: every width and form of access, misaligned, across pages, as code, in storms.

use isa::{Insn, Op};
use vmm::layout::{FINISHER, PLIC, RTC, UART, virtio};

use super::asm::{A0, S0, S1, T6, ZERO};
use super::guest::{Guest, device_register};
use crate::dice::Dice;

/// Registers of the compressed forms' three bits are x8 to x15.
const A0_SHORT: u16 = 2;

#[rustfmt::skip]
const LOADS: [Op; 9] =
    [Op::Lb, Op::Lbu, Op::Lh, Op::Lhu, Op::Lw, Op::Lwu, Op::Ld, Op::Flw, Op::Fld];
const STORES: [Op; 6] = [Op::Sb, Op::Sh, Op::Sw, Op::Sd, Op::Fsw, Op::Fsd];
#[rustfmt::skip]
const ATOMICS: [Op; 10] = [
    Op::LrW, Op::LrD, Op::ScW, Op::ScD, Op::AmoswapW, Op::AmoaddD, Op::AmoorW, Op::AmominD,
    Op::AmomaxuW, Op::AmoxorD,
];
#[rustfmt::skip]
const BLOCKS: [Op; 7] = [
    Op::CboInval, Op::CboClean, Op::CboFlush, Op::CboZero, Op::PrefetchI, Op::PrefetchR,
    Op::PrefetchW,
];

pub(crate) fn action(guest: &mut Guest<'_>) {
    if guest.dice.one_in(guest.ends) {
        return finish(guest);
    }
    match guest.dice.below(6) {
        0 => serial(guest),
        1 => clock(guest),
        2 => let_interrupts_in(guest),
        _ => {}
    }
    let n = guest.dice.between(1, 8);
    for _ in 0..n {
        let addr = device_register(guest.dice);
        let value = guest.number();
        guest.asm.li(A0, addr);
        guest.asm.li(S1, value);
        let storm = guest.dice.one_in(6).then(|| guest.dice.between(2, 40));
        match storm {
            None => access(guest),
            Some(n) => {
                guest.asm.li(S0, n);
                let again = guest.asm.here();
                access(guest);
                guest.asm.i(Op::Addi, S0, S0, -1);
                guest.asm.branch(Op::Bne, S0, ZERO, again);
            }
        }
    }
}

/// One instruction that goes for what `a0` names, with `s1` or `fs1` if it stores.
pub(crate) fn access(guest: &mut Guest<'_>) {
    let dice = &mut *guest.dice;
    let asm = &mut guest.asm;
    match dice.below(16) {
        0..=4 => asm.i(dice.pick(&LOADS), target(dice), A0, near(dice)),
        5..=9 => asm.store(dice.pick(&STORES), S1, A0, near(dice)),
        10 => asm.half(compressed(dice)),
        11 => {
            let op = dice.pick(&ATOMICS);
            asm.insn(Insn { rd: target(dice), rs1: A0, rs2: S1, rm: 3, ..Insn::new(op) });
        }
        12 => {
            let op = dice.pick(&BLOCKS);
            asm.insn(Insn { rs1: A0, ..Insn::new(op) });
        }
        // Code there: the handler ends the action.
        13 => asm.i(Op::Jalr, target(dice), A0, 0),
        // For a hypervisor only.
        14 => asm.insn(Insn { rd: S1, rs1: A0, ..Insn::new(dice.pick(&[Op::HlvW, Op::HulvW])) }),
        _ => {
            // Across the end of a page, from RAM into a device or out of it.
            asm.i(Op::Ori, A0, A0, 0x7ff);
            asm.i(dice.pick(&LOADS), target(dice), A0, dice.pick(&[0, 1, 2, -1]));
            asm.store(dice.pick(&STORES), S1, A0, dice.pick(&[0, 1, 2, -1]));
        }
    }
}

fn target(dice: &mut Dice) -> u8 {
    dice.pick(&[ZERO, S1, S1, A0 + 1, T6])
}

/// Seldom misaligned, and seldom far away.
fn near(dice: &mut Dice) -> i64 {
    dice.pick(&[0, 0, 0, 0, 0, 0, 4, 8, 1, 2, 3, -1, 2047, -2048])
}

/// `c.lw`, `c.ld`, `c.fld`, `c.sw`, `c.sd` or `c.fsd` between `0(a0)` and `s1`, or with an offset.
fn compressed(dice: &mut Dice) -> u16 {
    let offset = if dice.coin() { 0 } else { dice.half() & 0x1c60 };
    dice.pick(&[0x4000, 0x6000, 0x2000, 0xc000, 0xe000, 0xa000]) | A0_SHORT << 7 | 1 << 2 | offset
}

/// Stores of these words at these offsets from `base`, in this order.
pub(crate) fn store_words(guest: &mut Guest<'_>, base: u64, words: &[(u64, u64)]) {
    let asm = &mut guest.asm;
    for (offset, word) in words {
        asm.li(S0, base + offset);
        asm.li(S1, *word);
        asm.store(Op::Sw, S1, S0, 0);
    }
}

/// Priorities, enables and thresholds of the PLIC as a kernel would set them, more or less.
pub(crate) fn let_interrupts_in(guest: &mut Guest<'_>) {
    let context = guest.vcpu;
    let mut words = Vec::new();
    for source in [1, 2, 3, 10, 11] {
        words.push((4 * source, guest.dice.pick(&[1, 1, 7, 0])));
    }
    let mask = if guest.dice.one_in(4) { guest.dice.roll() & 0xffff_ffff } else { 0xc0e };
    words.push((0x2000 + 0x80 * context, mask));
    words.push((0x20_0000 + 0x1000 * context, guest.dice.pick(&[0, 0, 0, 6])));
    store_words(guest, PLIC.base, &words);
}

/// The UART in one of its modes, and a run of bytes in and out.
fn serial(guest: &mut Guest<'_>) {
    let asm = &mut guest.asm;
    asm.li(A0, UART.base);
    for _ in 0..guest.dice.between(2, 10) {
        let offset = guest.dice.pick(&[0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
        match guest.dice.below(3) {
            0 => asm.i(Op::Lbu, S1, A0, offset),
            _ => {
                asm.li(S1, u64::from(guest.dice.byte()));
                asm.store(Op::Sb, S1, A0, offset);
            }
        }
    }
}

/// The real-time clock, with an alarm that may be near, over, or never.
fn clock(guest: &mut Guest<'_>) {
    let high = guest.dice.pick(&[0, 0, 1, 0x7fff_ffff, 0xffff_ffff]);
    let low = guest.dice.pick(&[0, 1000, 20_000, 0xffff_ffff]);
    let mut words = vec![(0x10, 1), (0x0c, high), (0x08, low)];
    if guest.dice.one_in(3) {
        words.insert(0, (0x04, high));
        words.insert(1, (0x00, low));
    }
    if guest.dice.one_in(3) {
        words.push((guest.dice.pick(&[0x14, 0x1c, 0x10]), 0));
    }
    store_words(guest, RTC.base, &words);
    guest.asm.li(S0, RTC.base);
    guest.asm.i(Op::Lw, S1, S0, guest.dice.pick(&[0, 4, 8, 12, 16, 24]));
}

/// The run ends, or begins anew.
fn finish(guest: &mut Guest<'_>) {
    let value = guest.dice.pick(&[0x5555, 0x7777, 0x7777, 0x7777, 0x2_3333, 0x3333]);
    guest.asm.li(A0, FINISHER.base);
    guest.asm.li(S1, value);
    let op = guest.dice.pick(&[Op::Sw, Op::Sw, Op::Sh, Op::Sd]);
    guest.asm.store(op, S1, A0, 0);
}

/// The window of a virtio device; now and then one that is not there.
pub(crate) fn window(slot: u8) -> u64 {
    virtio(slot).base
}
