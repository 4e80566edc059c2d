//! Decodes the load or store that reached for a device register.
//!
//! `hutinst` holds the instruction in transformed form (Privileged manual, "Transformed
//! Instruction or Pseudoinstruction for mtinst or htinst"): a load or store with its offset
//! cleared, and bit 1 cleared if it was compressed. Where it is zero the instruction is fetched
//! from the guest. Both give the same, because only operation, data register and length matter.

#[cfg(test)]
mod tests;

use devices::Width;
use isa::{Insn, Op};

/// Pseudoinstructions for a 64-bit implicit access to a VS-stage page table: read and write.
const PSEUDO_READ: u64 = 0x3000;
const PSEUDO_WRITE: u64 = 0x3020;

/// Which register a value moves to or from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// An integer register.
    X(u8),
    /// A floating-point register.
    F(u8),
}

/// A load or store that a device can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Whether the guest writes.
    pub(crate) store: bool,
    pub(crate) width: Width,
    /// A load fills the register with copies of the sign bit.
    pub(crate) signed: bool,
    pub(crate) register: Register,
    /// Bytes of the instruction.
    pub(crate) len: u64,
}

/// What `hutinst` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Nothing: the instruction has to be fetched.
    None,
    /// The access was one of the guest's page-table walk.
    Walk,
    /// The instruction, transformed.
    Insn(u32),
}

/// Reads `hutinst`.
pub(crate) fn hint(hutinst: u64) -> Hint {
    match u32::try_from(hutinst) {
        _ if hutinst == PSEUDO_READ || hutinst == PSEUDO_WRITE => Hint::Walk,
        Ok(word) if word & 1 != 0 => Hint::Insn(word),
        _ => Hint::None,
    }
}

/// Decodes a transformed instruction.
pub(crate) fn from_hint(word: u32) -> Option<Transfer> {
    let len = if word & 2 == 0 { 2 } else { 4 };
    isa::decode(word | 2).and_then(|insn| transfer(&insn, len))
}

/// Decodes a fetched instruction.
pub(crate) fn from_fetched(word: u32) -> Option<Transfer> {
    isa::decode(word).and_then(|insn| transfer(&insn, u64::from(insn.len)))
}

/// The transfer that `insn` makes; `None` for what no device can answer (atomics, cache blocks).
#[expect(clippy::wildcard_enum_match_arm, reason = "the other instructions are no plain accesses")]
fn transfer(insn: &Insn, len: u64) -> Option<Transfer> {
    let load = |register: Register, width: Width, signed: bool| {
        Some(Transfer { store: false, width, signed, register, len })
    };
    let store = |register: Register, width: Width| {
        Some(Transfer { store: true, width, signed: false, register, len })
    };
    let (rd, rs2) = (Register::X(insn.rd), Register::X(insn.rs2));
    match insn.op {
        Op::Lb => load(rd, Width::Byte, true),
        Op::Lbu => load(rd, Width::Byte, false),
        Op::Lh => load(rd, Width::Half, true),
        Op::Lhu => load(rd, Width::Half, false),
        Op::Lw => load(rd, Width::Word, true),
        Op::Lwu => load(rd, Width::Word, false),
        Op::Ld => load(rd, Width::Double, false),
        Op::Flw => load(Register::F(insn.rd), Width::Word, false),
        Op::Fld => load(Register::F(insn.rd), Width::Double, false),
        Op::Sb => store(rs2, Width::Byte),
        Op::Sh => store(rs2, Width::Half),
        Op::Sw => store(rs2, Width::Word),
        Op::Sd => store(rs2, Width::Double),
        Op::Fsw => store(Register::F(insn.rs2), Width::Word),
        Op::Fsd => store(Register::F(insn.rs2), Width::Double),
        _ => None,
    }
}

/// What a load leaves in its register, given what the device returned.
pub(crate) fn loaded(transfer: &Transfer, value: u64) -> u64 {
    let shift = 64 - 8 * transfer.width.bytes();
    let low = value << shift;
    match transfer.register {
        Register::X(_) if transfer.signed => (low.cast_signed() >> shift).cast_unsigned(),
        Register::X(_) => low >> shift,
        // "NaN Boxing of Narrower Values": the upper bits are all ones.
        Register::F(_) if transfer.width == Width::Word => low >> shift | 0xffff_ffff << 32,
        Register::F(_) => value,
    }
}

/// What a store of this width writes of a register's `value`.
pub(crate) fn stored(width: Width, value: u64) -> u64 {
    let shift = 64 - 8 * width.bytes();
    value << shift >> shift
}
