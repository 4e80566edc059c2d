//! Writes instructions into memory; a branch is patched when its label is known.

use isa::{Csr, Insn, Op, encode};

pub(crate) const ZERO: u8 = 0;

/// A place that a jump or a branch may name before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// Code that is being written.
#[derive(Debug)]
pub(crate) struct Code {
    base: u64,
    bytes: Vec<u8>,
    labels: Vec<Option<usize>>,
    /// Where an instruction waits for which label.
    fixups: Vec<(usize, Insn, Label)>,
}

impl Code {
    pub(crate) fn at(base: u64) -> Self {
        Self { base, bytes: Vec::new(), labels: Vec::new(), fixups: Vec::new() }
    }

    /// The address of the next instruction.
    pub(crate) fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.bytes.len());
    }

    pub(crate) fn address(&self, label: Label) -> u64 {
        self.base + self.labels[label.0].unwrap() as u64
    }

    /// The bytes, with every jump patched. A label that was never bound is the end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (at, insn, label) in std::mem::take(&mut self.fixups) {
            let to = self.labels[label.0].unwrap_or(self.bytes.len());
            let imm = i64::try_from(to).unwrap() - i64::try_from(at).unwrap();
            let word = encode(&Insn { imm, ..insn });
            self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        self.bytes
    }

    pub(crate) fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    pub(crate) fn half(&mut self, half: u16) {
        self.bytes.extend_from_slice(&half.to_le_bytes());
    }

    pub(crate) fn put(&mut self, insn: Insn) {
        self.word(encode(&insn));
    }

    pub(crate) fn op(&mut self, op: Op) {
        self.put(Insn::new(op));
    }

    pub(crate) fn r(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8) {
        self.put(Insn { rd, rs1, rs2, ..Insn::new(op) });
    }

    pub(crate) fn i(&mut self, op: Op, rd: u8, rs1: u8, imm: i64) {
        self.put(Insn { rd, rs1, imm, ..Insn::new(op) });
    }

    pub(crate) fn s(&mut self, op: Op, rs2: u8, rs1: u8, imm: i64) {
        self.put(Insn { rs1, rs2, imm, ..Insn::new(op) });
    }

    pub(crate) fn csr(&mut self, op: Op, rd: u8, csr: Csr, rs1: u8) {
        self.put(Insn { rd, rs1, imm: i64::from(csr.0), ..Insn::new(op) });
    }

    pub(crate) fn csrr(&mut self, rd: u8, csr: Csr) {
        self.csr(Op::Csrrs, rd, csr, ZERO);
    }

    pub(crate) fn csrw(&mut self, csr: Csr, rs1: u8) {
        self.csr(Op::Csrrw, ZERO, csr, rs1);
    }

    /// A branch or `jal` to a label.
    pub(crate) fn to(&mut self, op: Op, rd_or_rs1: u8, rs2: u8, label: Label) {
        let insn = if op == Op::Jal {
            Insn { rd: rd_or_rs1, ..Insn::new(op) }
        } else {
            Insn { rs1: rd_or_rs1, rs2, ..Insn::new(op) }
        };
        self.fixups.push((self.bytes.len(), insn, label));
        self.word(0);
    }

    pub(crate) fn jump(&mut self, label: Label) {
        self.to(Op::Jal, ZERO, ZERO, label);
    }

    /// Any constant, in as few instructions as are easily found.
    pub(crate) fn li(&mut self, rd: u8, value: u64) {
        let signed = value.cast_signed();
        if (-2048..2048).contains(&signed) {
            self.i(Op::Addi, rd, ZERO, signed);
            return;
        }
        let low = (signed << 52) >> 52;
        let rest = signed.wrapping_sub(low);
        if i64::from(i32::MIN) <= signed && signed <= i64::from(i32::MAX) {
            let upper = (rest << 32) >> 32;
            self.put(Insn { rd, imm: upper, ..Insn::new(Op::Lui) });
            if low != 0 {
                self.i(Op::Addiw, rd, rd, low);
            }
            return;
        }
        let shift = rest.trailing_zeros().max(12);
        self.li(rd, (rest >> shift).cast_unsigned());
        self.i(Op::Slli, rd, rd, i64::from(shift));
        if low != 0 {
            self.i(Op::Addi, rd, rd, low);
        }
    }

    /// `csrw csr, value`, by way of a register.
    pub(crate) fn set(&mut self, csr: Csr, value: u64, by: u8) {
        self.li(by, value);
        self.csrw(csr, by);
    }
}
