//! Random code: rows of `isa` whose operands are mostly registers that hold something.

use isa::compressed::CROWS;
use isa::csr::{CSRS, Group};
use isa::{Csr, Format, Insn, Op, ROWS, decode, encode};

use super::asm::{A0, Asm, RA, S0, S1, S2, T4, T6, ZERO};
use super::guest::{BUFFERS, Guest};
use crate::dice::Dice;

/// Registers that get a value before the code runs.
const LOADED: std::ops::RangeInclusive<u8> = 1..=28;
const HAS_OFFSET: [Format; 5] =
    [Format::I, Format::Load, Format::Store, Format::FLoad, Format::FStore];
const HAS_ROUNDING: [Format; 5] =
    [Format::R4, Format::FpRm, Format::Fp1Rm, Format::FpToXRm, Format::FpFromXRm];
/// `jalr zero, 0(ra)`.
const RET: u32 = 0x0000_8067;
const SSTATUS_SPP: u64 = 1 << 8;

pub(crate) fn action(guest: &mut Guest<'_>) {
    load_registers(guest);
    if guest.dice.one_in(3) {
        return rewrites(guest);
    }
    if guest.dice.one_in(4) {
        // The code is VU-mode's; its first `ecall` ends it.
        let asm = &mut guest.asm;
        asm.li(T6, SSTATUS_SPP);
        asm.csr(Op::Csrrc, ZERO, Csr::SSTATUS, T6);
        let after = asm.here() + 16;
        asm.la(T6, after);
        asm.csrw(Csr::SEPC, T6);
        asm.op(Op::Sret);
    }
    let n = guest.dice.between(4, 100);
    for _ in 0..n {
        instruction(guest.dice, &mut guest.asm);
    }
}

/// Numbers that mean something, in most registers of both files.
pub(crate) fn load_registers(guest: &mut Guest<'_>) {
    let values: Vec<u64> = LOADED.map(|_| value(guest)).collect();
    let pool = guest.asm.pool(&values);
    guest.asm.la(T4, pool);
    for (reg, at) in LOADED.zip((0..).step_by(8)) {
        match guest.dice.below(4) {
            0 => guest.asm.insn(Insn { rd: reg, rs1: T4, imm: at, ..Insn::new(Op::Fld) }),
            _ => guest.asm.i(Op::Ld, reg, T4, at),
        }
    }
}

fn value(guest: &mut Guest<'_>) -> u64 {
    if guest.dice.coin() { guest.buffer() } else { guest.number() }
}

/// A small function among the buffers, called again and again while it is changed: by stores of
/// every width, by atomics, and by whatever devices and other vCPUs write there.
fn rewrites(guest: &mut Guest<'_>) {
    let (dice, asm) = (&mut *guest.dice, &mut guest.asm);
    // Two vCPUs may have one place, and it may cross a page.
    let place = BUFFERS + dice.pick(&[0, 0, 0xff8, 0xffe, 0x2000]) + 0x4000 * dice.below(2);
    let n = dice.between(1, 6);
    asm.li(S0, place);
    for at in 0..n {
        asm.li(S1, u64::from(small(dice)));
        asm.store(Op::Sw, S1, S0, 4 * at.cast_signed());
    }
    asm.li(S1, u64::from(RET));
    asm.store(Op::Sw, S1, S0, 4 * n.cast_signed());
    asm.li(S2, dice.between(2, 6));
    let again = asm.here();
    for _ in 0..dice.between(1, 4) {
        asm.i(Op::Jalr, RA, S0, 0);
        let at = 4 * dice.below(n).cast_signed();
        // The upper half of an instruction, and its last byte, are immediate and source.
        let (op, shift, offset) =
            dice.pick(&[(Op::Sw, 0, 0), (Op::Sh, 16, 2), (Op::Sb, 24, 3), (Op::AmoswapW, 0, 0)]);
        asm.li(S1, u64::from(small(dice) >> shift));
        if op == Op::AmoswapW {
            asm.i(Op::Addi, T4, S0, at);
            asm.insn(Insn { rd: ZERO, rs1: T4, rs2: S1, ..Insn::new(op) });
        } else {
            asm.store(op, S1, S0, at + offset);
        }
        if dice.one_in(4) {
            asm.op(Op::FenceI);
        }
    }
    asm.i(Op::Addi, S2, S2, -1);
    asm.branch(Op::Bne, S2, ZERO, again);
    asm.i(Op::Jalr, RA, S0, 0);
}

/// An instruction on `a0` to `a5` that neither jumps nor traps.
fn small(dice: &mut Dice) -> u32 {
    let mut reg = || A0 + u8::try_from(dice.below(6)).unwrap();
    let (rd, rs1, rs2) = (reg(), reg(), reg());
    let op = dice.pick(&[Op::Addi, Op::Xori, Op::Add, Op::Sub, Op::Sltu, Op::Addiw]);
    let imm = dice.pick(&[1, 2, -1, 77, 2047, -2048]);
    encode(&Insn { rd, rs1, rs2, imm, ..Insn::new(op) })
}

fn instruction(dice: &mut Dice, asm: &mut Asm) {
    match dice.below(20) {
        0..=3 => {
            let row = &CROWS[usize::try_from(dice.below(CROWS.len() as u64)).unwrap()];
            asm.half(row.value | dice.half() & !row.mask);
        }
        4 => asm.word(dice.word()),
        5 => asm.half(dice.half() & !3 | dice.pick(&[0, 1, 2])),
        _ => asm.word(word(dice)),
    }
}

/// A 32-bit instruction that means something, as a rule.
fn word(dice: &mut Dice) -> u32 {
    let row = &ROWS[usize::try_from(dice.below(ROWS.len() as u64)).unwrap()];
    let bits = row.value | dice.word() & !row.mask;
    let Some(mut insn) = decode(bits) else { return bits };
    insn.rd = register(dice);
    insn.rs2 = register(dice);
    let fmt = row.fmt;
    if fmt != Format::CsrImm {
        insn.rs1 = register(dice);
    }
    if matches!(fmt, Format::B | Format::J) {
        insn.imm = displacement(dice);
    } else if matches!(fmt, Format::Csr | Format::CsrImm) {
        insn.imm = i64::from(csr(dice).0);
    } else if HAS_OFFSET.contains(&fmt) && !dice.one_in(8) {
        insn.imm = dice.pick(&[0, 0, 0, 8, -8, 1, 64, 2047, -2048]);
    } else if HAS_ROUNDING.contains(&fmt) && !dice.one_in(8) {
        insn.rm = dice.pick(&[0, 1, 2, 3, 4, 7]);
    }
    encode(&insn)
}

/// One that was given a value, and is not the handler's.
fn register(dice: &mut Dice) -> u8 {
    if dice.one_in(16) { dice.byte() & 31 } else { S0 + u8::try_from(dice.below(10)).unwrap() }
}

/// Mostly a little ahead: what goes back may go round for long.
fn displacement(dice: &mut Dice) -> i64 {
    let ahead = i64::try_from(dice.between(2, 24)).unwrap() * 2;
    if dice.one_in(10) { -ahead } else { ahead }
}

/// One of the guest's own, as a rule; seldom those that take its handler away.
fn csr(dice: &mut Dice) -> Csr {
    if dice.one_in(24) {
        return Csr(dice.half() & 0xfff);
    }
    let own = !dice.one_in(4);
    loop {
        let row = &CSRS[usize::try_from(dice.below(CSRS.len() as u64)).unwrap()];
        let is_own = matches!(row.group, Group::User | Group::Supervisor);
        let takes_away = row.csr == Csr::STVEC || row.csr == Csr::SATP;
        if is_own == own && (!takes_away || dice.one_in(8)) {
            return row.csr;
        }
    }
}
