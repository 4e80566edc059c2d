//! A small assembler: instructions of `isa` one after another, from some address on.

use isa::{Csr, Insn, Op, encode};

pub(crate) const ZERO: u8 = 0;
pub(crate) const RA: u8 = 1;
/// Where a function's own registers begin: what an action works with.
pub(crate) const S0: u8 = 8;
pub(crate) const S1: u8 = 9;
pub(crate) const A0: u8 = 10;
pub(crate) const A6: u8 = 16;
pub(crate) const A7: u8 = 17;
pub(crate) const S2: u8 = 18;
pub(crate) const T3: u8 = 28;
pub(crate) const T4: u8 = 29;
/// The two registers that belong to the trap handler; nobody else's value lives in them.
pub(crate) const T5: u8 = 30;
pub(crate) const T6: u8 = 31;

/// Code that is being written.
#[derive(Debug)]
pub(crate) struct Asm {
    base: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A branch or jump whose target comes later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    at: usize,
    insn: Insn,
}

impl Asm {
    pub(crate) fn new(base: u64) -> Self {
        Self { base, bytes: Vec::new() }
    }

    /// The address of what comes next.
    pub(crate) fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(crate) fn word(&mut self, word: u32) {
        self.bytes.extend(word.to_le_bytes());
    }

    pub(crate) fn half(&mut self, half: u16) {
        self.bytes.extend(half.to_le_bytes());
    }

    pub(crate) fn insn(&mut self, insn: Insn) {
        self.word(encode(&insn));
    }

    /// An instruction without operands.
    pub(crate) fn op(&mut self, op: Op) {
        self.insn(Insn::new(op));
    }

    /// `rd, rs1, imm`, and `rd, imm(rs1)`.
    pub(crate) fn i(&mut self, op: Op, rd: u8, rs1: u8, imm: i64) {
        self.insn(Insn { rd, rs1, imm, ..Insn::new(op) });
    }

    /// `rs2, imm(rs1)`.
    pub(crate) fn store(&mut self, op: Op, rs2: u8, rs1: u8, imm: i64) {
        self.insn(Insn { rs1, rs2, imm, ..Insn::new(op) });
    }

    /// `rd, csr, rs1`.
    pub(crate) fn csr(&mut self, op: Op, rd: u8, csr: Csr, rs1: u8) {
        self.insn(Insn { rd, rs1, imm: i64::from(csr.0), ..Insn::new(op) });
    }

    pub(crate) fn csrw(&mut self, csr: Csr, rs1: u8) {
        self.csr(Op::Csrrw, ZERO, csr, rs1);
    }

    pub(crate) fn csrr(&mut self, rd: u8, csr: Csr) {
        self.csr(Op::Csrrs, rd, csr, ZERO);
    }

    /// Any constant, by the shortest of the usual ways.
    pub(crate) fn li(&mut self, rd: u8, value: u64) {
        let value = value.cast_signed();
        let low = value << 52 >> 52;
        if low == value {
            self.i(Op::Addi, rd, ZERO, low);
        } else if i32::try_from(value).is_ok() {
            self.insn(Insn { rd, imm: value.wrapping_sub(low), ..Insn::new(Op::Lui) });
            self.i(Op::Addiw, rd, rd, low);
        } else {
            self.li(rd, (value.wrapping_sub(low) >> 12).cast_unsigned());
            self.i(Op::Slli, rd, rd, 12);
            self.i(Op::Addi, rd, rd, low);
        }
    }

    /// An address within 2 GiB.
    pub(crate) fn la(&mut self, rd: u8, addr: u64) {
        let offset = addr.wrapping_sub(self.here()).cast_signed();
        let low = offset << 52 >> 52;
        self.insn(Insn { rd, imm: offset - low, ..Insn::new(Op::Auipc) });
        self.i(Op::Addi, rd, rd, low);
    }

    /// `jal zero`, to a place already known.
    pub(crate) fn jump(&mut self, to: u64) {
        let imm = to.wrapping_sub(self.here()).cast_signed();
        self.insn(Insn { imm, ..Insn::new(Op::Jal) });
    }

    /// A conditional branch back to a place already known.
    pub(crate) fn branch(&mut self, op: Op, rs1: u8, rs2: u8, to: u64) {
        let imm = to.wrapping_sub(self.here()).cast_signed();
        self.insn(Insn { rs1, rs2, imm, ..Insn::new(op) });
    }

    /// A jump (`Op::Jal`) or branch whose target is wherever [`Asm::land`] is called.
    pub(crate) fn later(&mut self, op: Op, rs1: u8, rs2: u8) -> Later {
        let later = Later { at: self.bytes.len(), insn: Insn { rs1, rs2, ..Insn::new(op) } };
        self.word(0);
        later
    }

    /// The target of the jumps is here.
    pub(crate) fn land(&mut self, all: &[Later]) {
        for Later { at, insn } in all {
            let imm = i64::try_from(self.bytes.len() - at).unwrap();
            let word = encode(&Insn { imm, ..*insn });
            self.bytes[*at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Puts numbers here, jumps over them, and says where they are.
    pub(crate) fn pool(&mut self, words: &[u64]) -> u64 {
        let over = self.later(Op::Jal, ZERO, ZERO);
        while !self.here().is_multiple_of(8) {
            self.half(0);
        }
        let at = self.here();
        words.iter().for_each(|word| self.bytes.extend(word.to_le_bytes()));
        self.land(&[over]);
        at
    }
}
