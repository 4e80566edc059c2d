//! Virtio drivers that start a device properly, as a rule, and then hand it whatever they like.
//!
//! ```text
//!   area of a queue   0x0000 descriptors   0x1000 available ring   0x2000 used ring
//!                     0x1800 headers of requests                   0x2c00 status bytes
//!   area  0 block   1 2 console, received and sent   3 entropy   4 indirect tables
//! ```

use isa::{Csr, Op};

use super::asm::{S0, S1, T3, T4, T6, ZERO};
use super::guest::{BUFFERS, BUFFERS_BYTES, Guest, RINGS};
use super::mmio::{store_words, window};
use crate::dice::Dice;

const AREA: u64 = 0x3000;
const N_AREAS: u64 = 5;
const INDIRECT: u64 = 4;
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const HEADERS: u64 = 0x1800;
const STATUS_BYTES: u64 = 0x2c00;
/// Descriptors of an area that are filled.
const N_DESCS: u64 = 128;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT_FLAG: u16 = 4;

// Registers.
const FEATURES: u64 = 0x20;
const FEATURES_SEL: u64 = 0x24;
const SEL: u64 = 0x30;
const NUM: u64 = 0x38;
const READY: u64 = 0x44;
const NOTIFY: u64 = 0x50;
pub(crate) const INTERRUPT: u64 = 0x60;
const ACK: i64 = 0x64;
pub(crate) const STATUS: u64 = 0x70;
const RINGS_AT: [u64; 3] = [0x80, 0x90, 0xa0];

/// The areas of a device's queues, and how large the queues may be.
fn queues(slot: u8) -> &'static [(u64, u64)] {
    match slot {
        0 => &[(0, 128)],
        1 => &[(1, 64), (2, 64)],
        _ => &[(3, 8)],
    }
}

fn area(index: u64) -> u64 {
    RINGS + index * AREA
}

/// Where the used indexes are.
pub(crate) fn used_indexes() -> [u64; 4] {
    [0, 1, 2, 3].map(|index| area(index) + USED + 2)
}

/// The images of all areas.
pub(crate) fn content(dice: &mut Dice) -> Vec<u8> {
    let wrong = dice.pick(&[u64::MAX, u64::MAX, 100, 30, 4]);
    let indirect = dice.pick(&[u64::MAX, 100, 6]);
    let mut bytes = vec![0; usize::try_from(N_AREAS * AREA).unwrap()];
    for index in 0..N_AREAS {
        let mut put = |offset: u64, from: &[u8]| {
            let at = usize::try_from(index * AREA + offset).unwrap();
            bytes[at..at + from.len()].copy_from_slice(from);
        };
        for desc in 0..N_DESCS {
            put(16 * desc, &descriptor(dice, index, desc, wrong, indirect));
        }
        // Flags, index, heads; the event index where queues of 8 have it.
        let begin: u16 = dice.pick(&[0, 0, 0, 0, 1, 8, 100]);
        put(AVAIL, &u16::from(dice.one_in(6)).to_le_bytes());
        put(AVAIL + 2, &begin.to_le_bytes());
        for slot in 0..N_DESCS {
            let head = if dice.one_in(wrong) { u64::from(dice.half()) } else { head(index, slot) };
            put(AVAIL + 4 + 2 * slot, &head.to_le_bytes()[..2]);
        }
        if index == 0 {
            (0..N_DESCS).for_each(|n| put(HEADERS + 16 * n, &header(dice)));
        }
    }
    bytes
}

/// Requests of a disk take three descriptors, all others one; the first ones suit a queue of 8.
fn head(index: u64, slot: u64) -> u64 {
    if index != 0 {
        slot % 8
    } else if slot < 8 {
        3 * (slot % 2)
    } else {
        3 * (slot % 42)
    }
}

/// Type, reserved, sector.
fn header(dice: &mut Dice) -> [u8; 16] {
    let kind = dice.pick(&[0, 0, 0, 1, 1, 1, 4, 8, 11, 13, 99]);
    let sector = match dice.below(12) {
        0 => dice.roll(),
        1 => u64::MAX - dice.below(3),
        _ => dice.below(16),
    };
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&u32::to_le_bytes(kind));
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

fn descriptor(dice: &mut Dice, index: u64, desc: u64, wrong: u64, indirect: u64) -> [u8; 16] {
    let buffer = BUFFERS + (dice.below(BUFFERS_BYTES - 0x8000) & !0xff);
    let size = dice.pick(&[512, 512, 1024, 4096, 0x7e00]);
    let next = u16::try_from(desc + 1).unwrap();
    let writes = if dice.coin() { WRITE } else { 0 };
    let (addr, len, flags) = match (index, desc % 3) {
        (0, 0) => (area(0) + HEADERS + 16 * (desc / 3), 16, NEXT),
        (0, 1) => (buffer, size, NEXT | writes),
        (0, _) => (area(0) + STATUS_BYTES + desc / 3, 1, WRITE),
        (2, _) => (buffer, size, 0),
        (INDIRECT, 2) => (buffer, size, WRITE),
        (INDIRECT, _) => (buffer, size, NEXT | if desc.is_multiple_of(2) { 0 } else { WRITE }),
        _ => (buffer, size, WRITE),
    };
    let (mut addr, mut len, mut flags, mut next) = (addr, len, flags, next);
    if index != INDIRECT && dice.one_in(indirect) {
        addr = area(INDIRECT) + 16 * dice.below(8);
        (len, flags) = (16 * dice.pick(&[3, 3, 1, 100, 65_537]), INDIRECT_FLAG);
        if dice.one_in(wrong) {
            addr = u64::MAX - (dice.below(AREA) >> dice.below(13));
        }
    }
    if dice.one_in(wrong) {
        match dice.below(7) {
            0 => addr = dice.pick(&[0, 0x1000_1000, 0x9fff_ffff, u64::MAX, u64::MAX - 15]),
            1 => addr = RINGS + dice.below(N_AREAS * AREA),
            2 => len = dice.pick(&[0, 1, 0xffff_ffff, 0x8000_0000, 0x10_0000]),
            3 => flags = dice.half() & 15,
            4 => next = dice.half() & dice.pick(&[0x7f, 0xffff]),
            5 => (flags, next) = (NEXT, u16::try_from(desc).unwrap()),
            _ => (addr, len) = (BUFFERS - 8, 0x1_0000),
        }
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&addr.to_le_bytes());
    bytes[8..12].copy_from_slice(&u32::to_le_bytes(len));
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}

pub(crate) fn action(guest: &mut Guest<'_>) {
    let slot = guest.dice.pick(&[0, 0, 1, 1, 2]);
    if !guest.dice.one_in(4) {
        handshake(guest, slot);
    }
    let n = guest.dice.between(1, 4);
    for _ in 0..n {
        match guest.dice.below(8) {
            0 => spoil(guest, slot),
            1 => registers(guest, slot),
            2 => storm(guest, slot),
            _ => request(guest, slot),
        }
    }
}

/// "Device Initialization", with a step left out, doubled or wrong now and then.
fn handshake(guest: &mut Guest<'_>, slot: u8) {
    let dice = &mut *guest.dice;
    let features = dice.pick(&[0, 0, 1 << 28, 1 << 29, 3 << 28, 3 << 28]) | dice.pick(&[0, 0x246]);
    let features = if dice.one_in(12) { dice.roll() & 0xffff_ffff } else { features };
    let mut words = vec![(STATUS, 0), (STATUS, 1), (STATUS, 3)];
    // Only the disk has feature bits of its own.
    let own = if slot == 0 { 0xffff_ffff } else { 3 << 28 };
    words.extend([(FEATURES_SEL, 1), (FEATURES, 1), (FEATURES_SEL, 0), (FEATURES, features & own)]);
    words.push((STATUS, 11));
    for (queue, (index, max)) in (0..).zip(queues(slot)) {
        let size = dice.pick(&[*max, *max, *max, *max, *max, *max, 8, 8, 8, 8, 2, 1]);
        words.extend([(SEL, queue), (NUM, size)]);
        let index = if dice.one_in(16) { dice.below(N_AREAS) } else { *index };
        for (register, offset) in RINGS_AT.into_iter().zip([0, AVAIL, USED]) {
            let addr = match dice.below(160) {
                0..=2 => area(index) + dice.below(AREA),
                3 => dice.roll(),
                4 | 5 => u64::MAX - (dice.below(AREA) >> dice.below(13)),
                _ => area(index) + offset,
            };
            words.extend([(register, addr & 0xffff_ffff), (register + 4, addr >> 32)]);
        }
        words.push((READY, 1));
    }
    words.push((STATUS, 15));
    let at = dice.below(words.len() as u64);
    let at = usize::try_from(at).unwrap();
    match dice.below(24) {
        0 => {
            words.remove(at);
        }
        1 => words[at].1 = u64::from(dice.word()),
        2 => words.swap(at, 0),
        _ => {}
    }
    store_words(guest, window(slot), &words);
    // Rings that are used anew begin at zero.
    for (index, _) in queues(slot) {
        for ring in [AVAIL, USED] {
            if !guest.dice.one_in(16) {
                guest.asm.li(S0, area(*index) + ring);
                guest.asm.store(Op::Sh, ZERO, S0, 2);
            }
        }
    }
}

fn a_queue(guest: &mut Guest<'_>, slot: u8) -> (u64, u64) {
    let queues = queues(slot);
    let queue = guest.dice.below(queues.len() as u64);
    (queue, area(queues[usize::try_from(queue).unwrap()].0))
}

/// More heads are available; the device hears of it, and its answer is waited for, or not.
fn request(guest: &mut Guest<'_>, slot: u8) {
    let (queue, rings) = a_queue(guest, slot);
    let more = guest.dice.pick(&[1, 1, 1, 1, 2, 2, 2, 3, 3, 8, 8, 60, -1]);
    // What the device has answered, and then so many more.
    guest.asm.li(S0, rings + USED);
    guest.asm.i(Op::Lhu, S1, S0, 2);
    guest.asm.i(Op::Addi, S1, S1, more);
    guest.asm.li(S0, rings + AVAIL);
    guest.asm.store(Op::Sh, S1, S0, 2);
    store_words(guest, window(slot), &[(NOTIFY, queue)]);
    match guest.dice.below(4) {
        0 => {}
        1 => guest.asm.op(Op::Pause),
        _ => {
            // Until an interrupt is pending, which is not taken; 2000 ticks are two requests.
            let ticks = guest.dice.pick(&[20, 2000, 2000]);
            guest.deadline(ticks);
            guest.asm.i(Op::Csrrci, ZERO, 2, i64::from(Csr::SSTATUS.0));
            guest.asm.op(Op::Wfi);
        }
    }
    let asm = &mut guest.asm;
    asm.li(S0, window(slot));
    asm.i(Op::Lw, T6, S0, STATUS.cast_signed());
    asm.i(Op::Lw, S1, S0, INTERRUPT.cast_signed());
    if !guest.dice.one_in(4) {
        asm.store(Op::Sw, S1, S0, ACK);
    }
    asm.li(S0, rings + USED);
    asm.i(Op::Lhu, S1, S0, 2);
}

/// A descriptor, an index or a head is not what it was.
fn spoil(guest: &mut Guest<'_>, slot: u8) {
    let (_, rings) = a_queue(guest, slot);
    let n = guest.dice.between(1, 6);
    for _ in 0..n {
        let value = guest.number();
        let dice = &mut *guest.dice;
        let (offset, op) = match dice.below(6) {
            0 => (16 * dice.below(N_DESCS), Op::Sd),
            1 => (16 * dice.below(N_DESCS) + 8, Op::Sw),
            2 => (16 * dice.below(N_DESCS) + 12 + dice.pick(&[0, 2]), Op::Sh),
            3 => (AVAIL + dice.pick(&[0, 2, 2]), Op::Sh),
            4 => (AVAIL + 4 + 2 * dice.below(N_DESCS + 1), Op::Sh),
            _ => (HEADERS + 8 * dice.below(32), Op::Sd),
        };
        guest.asm.li(S0, rings + offset);
        guest.asm.li(S1, value);
        guest.asm.store(op, S1, S0, 0);
    }
}

/// Registers at a moment when nobody expects it: reset, queues off and on, other sizes, selectors.
fn registers(guest: &mut Guest<'_>, slot: u8) {
    let dice = &mut *guest.dice;
    let mut words = Vec::new();
    for _ in 0..dice.between(1, 5) {
        let queue = dice.pick(&[0, 0, 1, 2, 0xffff_ffff]);
        let ring = dice.pick(&RINGS_AT);
        words.push(dice.pick(&[
            (STATUS, 0),
            (STATUS, 15),
            (STATUS, 128),
            (SEL, queue),
            (READY, 0),
            (READY, 1),
            (NUM, 4),
            (NUM, 3),
            (NOTIFY, queue),
            (ring, 0),
            (ring, 0x8006_0000),
            (FEATURES, 3 << 28),
            (FEATURES_SEL, queue),
            (0x14, queue),
            (0xac, queue),
            (0x100, 1),
        ]));
    }
    store_words(guest, window(slot), &words);
    guest.asm.li(S0, window(slot));
    let offsets = [0, 4, 8, 0xc, 0x10, 0x34, 0x44, 0x60, 0x70, 0xb0, 0xfc, 0x100, 0x104, 0x13c];
    for _ in 0..guest.dice.between(1, 5) {
        let op = guest.dice.pick(&[Op::Lw, Op::Lw, Op::Ld, Op::Lbu]);
        guest.asm.i(op, S1, S0, guest.dice.pick(&offsets));
    }
}

/// One notification after another.
fn storm(guest: &mut Guest<'_>, slot: u8) {
    let (queue, rings) = a_queue(guest, slot);
    let n = guest.dice.between(2, 40);
    guest.asm.li(S0, n);
    guest.asm.li(T4, window(slot) + NOTIFY);
    guest.asm.li(T3, rings + AVAIL);
    guest.asm.li(S1, queue);
    let again = guest.asm.here();
    guest.asm.store(Op::Sw, S1, T4, 0);
    if guest.dice.one_in(6) {
        guest.asm.store(Op::Sh, S0, T3, 2);
    }
    guest.asm.i(Op::Addi, S0, S0, -1);
    guest.asm.branch(Op::Bne, S0, ZERO, again);
}
