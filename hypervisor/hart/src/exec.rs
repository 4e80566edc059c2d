//! From a decoded instruction to its handler: one `match` that knows every instruction.

use isa::{Ext, Extensions, Format, Insn, Op as Name};

use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op};
use crate::hart::{Hart, SINK, Trap};

mod atomic;
mod base;
mod bits;
mod cache;
mod csr;
mod fp;
mod hypervisor;
mod memory;
mod multiply;
mod privileged;
#[cfg(test)]
mod tests;

/// What an instruction does to its block.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    /// It is the last one.
    pub(crate) ends: bool,
    /// It may change a CSR, and does not leave the block at its own pc.
    pub(crate) loud: bool,
}

/// The handler for the instruction `raw`, which begins `begin` halfwords after its block's first
/// and is the block's number `at`; and whether the block ends with it.
pub(crate) fn lower<B: Bus>(raw: u32, begin: u8, at: u8, isa: Extensions) -> (Op<B>, Traits) {
    match isa::decode(raw) {
        Some(insn) if is_there(&insn, isa) => {
            let op = operands(&insn, begin, at);
            let run = handler(&insn);
            (Op { run, ..op }, Traits { ends: ends_block(insn.op), loud: is_loud::<B>(&insn) })
        }
        _ => {
            let op = Op { run: illegal, imm: 0, rd: SINK, rs1: 0, rs2: 0, at };
            (op, Traits { ends: true, loud: false })
        }
    }
}

fn is_there(insn: &Insn, isa: Extensions) -> bool {
    (insn.op.is_hint() || isa.has(insn.row().ext)) && (insn.len == 4 || isa.has(Ext::C))
}

/// Whether an instruction may change a CSR where it cannot be seen afterwards which one it was: its
/// block goes on, or the pc is another one.
fn is_loud<B: Bus>(insn: &Insn) -> bool {
    let returns = matches!(insn.op, Name::Mret | Name::Sret | Name::Huret);
    returns || csr::is_plain_access(insn) || fp::handler::<B>(insn.op).is_some()
}

fn ends_block(name: Name) -> bool {
    use Name::{Ebreak, Ecall, FenceI, Huret, Jal, Jalr, Mret, Pause, Sret, Wfi, WrsNto, WrsSto};
    matches!(
        name,
        Jal | Jalr | Ecall | Ebreak | Mret | Sret | Huret | Wfi | FenceI | Pause | WrsNto | WrsSto
    )
}

/// The operands as the handlers want them: `imm` of jumps, branches and `auipc` from the block's
/// first pc on.
#[expect(clippy::cast_possible_truncation, reason = "immediates have at most 32 bits")]
#[expect(clippy::wildcard_enum_match_arm, reason = "all other formats are plain")]
fn operands<B: Bus>(insn: &Insn, begin: u8, at: u8) -> Op<B> {
    let begin_bytes = i64::from(begin) * 2;
    let sink = |reg: u8| if reg == 0 { SINK } else { reg };
    let end = begin + insn.len / 2;
    let (imm, rd, rs1, rs2) = match insn.row().fmt {
        Format::B => (insn.imm + begin_bytes, insn.rd, insn.rs1, insn.rs2),
        // Where the link points, for the jumps.
        Format::J => (insn.imm + begin_bytes, sink(insn.rd), end, 0),
        Format::Load if insn.op == Name::Jalr => (insn.imm, sink(insn.rd), insn.rs1, end),
        Format::U => (insn.imm, sink(insn.rd), begin, 0),
        Format::Csr | Format::CsrImm => (insn.imm, insn.rd, insn.rs1, 0),
        Format::R4 => (i64::from(insn.rm) | i64::from(insn.rs3) << 3, insn.rd, insn.rs1, insn.rs2),
        Format::FpRm | Format::Fp1Rm | Format::FpFromXRm => {
            (i64::from(insn.rm), insn.rd, insn.rs1, insn.rs2)
        }
        Format::FpToXRm => (i64::from(insn.rm), sink(insn.rd), insn.rs1, insn.rs2),
        Format::FLoad | Format::Fp | Format::FpFromX => (insn.imm, insn.rd, insn.rs1, insn.rs2),
        _ => (insn.imm, sink(insn.rd), insn.rs1, insn.rs2),
    };
    Op { run: illegal, imm: imm as i32, rd, rs1, rs2, at }
}

fn illegal<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    trapped(hart, op, Trap::illegal())
}

/// Leaves the block because this instruction trapped.
#[cold]
pub(crate) fn trapped<B>(hart: &mut Hart, op: &Op<B>, trap: Trap) -> Flow {
    hart.at = op.at;
    hart.trap = trap;
    Flow::Trap
}

impl Hart {
    /// The integer register in slot `reg`.
    #[inline(always)]
    pub(crate) fn get(&self, reg: u8) -> u64 {
        self.x[usize::from(reg)]
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, reg: u8, value: u64) {
        self.x[usize::from(reg)] = value;
    }
}

/// The immediate, sign-extended.
#[inline(always)]
pub(crate) fn imm<B>(op: &Op<B>) -> u64 {
    i64::from(op.imm).cast_unsigned()
}

fn handler<B: Bus>(insn: &Insn) -> Handler<B> {
    None.or_else(|| base::handler(insn))
        .or_else(|| memory::handler(insn))
        .or_else(|| multiply::handler(insn.op))
        .or_else(|| bits::handler(insn.op))
        .or_else(|| atomic::handler(insn.op))
        .or_else(|| csr::handler(insn))
        .or_else(|| privileged::handler(insn.op))
        .or_else(|| hypervisor::handler(insn.op))
        .or_else(|| cache::handler(insn.op))
        .or_else(|| fp::handler(insn.op))
        .unwrap_or(illegal)
}
