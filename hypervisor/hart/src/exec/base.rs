//! RV64I: arithmetic, jumps and branches.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::{Exception, Insn, Op as Name};

use super::{imm, trapped};
use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::{Hart, Trap};

/// A handler that computes `rd` from the hart and the operands.
macro_rules! compute {
    ($( $name:ident($hart:ident, $op:ident) $value:expr; )*) => {
        $(
            pub(super) fn $name<B: Bus>(
                $hart: &mut Hart,
                bus: &mut B,
                $op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                let value = $value;
                $hart.set($op.rd, value);
                next($hart, bus, rest)
            }
        )*
    };
}
pub(super) use compute;

/// The low 32 bits, sign-extended.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a W instruction")]
pub(super) fn sext(value: u64) -> u64 {
    i64::from(value as i32).cast_unsigned()
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub(super) fn low(value: u64) -> u32 {
    value as u32
}

compute! {
    lui(h, op) imm(op);
    auipc(h, op) h.pc.wrapping_add(2 * u64::from(op.rs1)).wrapping_add(imm(op));
    addi(h, op) h.get(op.rs1).wrapping_add(imm(op));
    li(h, op) imm(op);
    mv(h, op) h.get(op.rs1);
    slti(h, op) u64::from(h.get(op.rs1).cast_signed() < i64::from(op.imm));
    sltiu(h, op) u64::from(h.get(op.rs1) < imm(op));
    xori(h, op) h.get(op.rs1) ^ imm(op);
    ori(h, op) h.get(op.rs1) | imm(op);
    andi(h, op) h.get(op.rs1) & imm(op);
    slli(h, op) h.get(op.rs1) << (op.imm & 63);
    srli(h, op) h.get(op.rs1) >> (op.imm & 63);
    srai(h, op) (h.get(op.rs1).cast_signed() >> (op.imm & 63)).cast_unsigned();
    add(h, op) h.get(op.rs1).wrapping_add(h.get(op.rs2));
    sub(h, op) h.get(op.rs1).wrapping_sub(h.get(op.rs2));
    sll(h, op) h.get(op.rs1) << (h.get(op.rs2) & 63);
    slt(h, op) u64::from(h.get(op.rs1).cast_signed() < h.get(op.rs2).cast_signed());
    sltu(h, op) u64::from(h.get(op.rs1) < h.get(op.rs2));
    xor(h, op) h.get(op.rs1) ^ h.get(op.rs2);
    srl(h, op) h.get(op.rs1) >> (h.get(op.rs2) & 63);
    sra(h, op) (h.get(op.rs1).cast_signed() >> (h.get(op.rs2) & 63)).cast_unsigned();
    or(h, op) h.get(op.rs1) | h.get(op.rs2);
    and(h, op) h.get(op.rs1) & h.get(op.rs2);
    addiw(h, op) sext(h.get(op.rs1).wrapping_add(imm(op)));
    slliw(h, op) sext(h.get(op.rs1) << (op.imm & 31));
    srliw(h, op) sext(u64::from(low(h.get(op.rs1)) >> (op.imm & 31)));
    sraiw(h, op) (sext(h.get(op.rs1)).cast_signed() >> (op.imm & 31)).cast_unsigned();
    addw(h, op) sext(h.get(op.rs1).wrapping_add(h.get(op.rs2)));
    subw(h, op) sext(h.get(op.rs1).wrapping_sub(h.get(op.rs2)));
    sllw(h, op) sext(h.get(op.rs1) << (h.get(op.rs2) & 31));
    srlw(h, op) sext(u64::from(low(h.get(op.rs1)) >> (h.get(op.rs2) & 31)));
    sraw(h, op) (sext(h.get(op.rs1)).cast_signed() >> (h.get(op.rs2) & 31)).cast_unsigned();
}

/// Nothing: fences (memory is in order, and translations are never stale), hints.
fn nop<B: Bus>(hart: &mut Hart, bus: &mut B, _op: &Op<B>, rest: &[Op<B>]) -> Flow {
    next(hart, bus, rest)
}

/// "An instruction-address-misaligned exception is raised … on the branch or jump": only without
/// compressed instructions.
#[inline(always)]
fn jump<B: Bus>(hart: &mut Hart, op: &Op<B>, target: u64) -> Flow {
    if target & hart.misaligned_jump != 0 {
        let trap = Trap::memory(Exception::InstructionMisaligned, target, hart.virt);
        return trapped(hart, op, trap);
    }
    hart.at = op.at;
    hart.pc = target;
    Flow::Jump
}

fn jal<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let link = hart.pc.wrapping_add(2 * u64::from(op.rs1));
    let target = hart.pc.wrapping_add(imm(op));
    let flow = jump(hart, op, target);
    if flow == Flow::Jump {
        hart.set(op.rd, link);
    }
    flow
}

fn jalr<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let link = hart.pc.wrapping_add(2 * u64::from(op.rs2));
    let target = hart.get(op.rs1).wrapping_add(imm(op)) & !1;
    let flow = jump(hart, op, target);
    if flow == Flow::Jump {
        hart.set(op.rd, link);
    }
    flow
}

macro_rules! branches {
    ($( $name:ident($a:ident, $b:ident) $taken:expr; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                let ($a, $b) = (hart.get(op.rs1), hart.get(op.rs2));
                if $taken {
                    let target = hart.pc.wrapping_add(imm(op));
                    return jump(hart, op, target);
                }
                next(hart, bus, rest)
            }
        )*
    };
}

branches! {
    beq(a, b) a == b;
    bne(a, b) a != b;
    blt(a, b) a.cast_signed() < b.cast_signed();
    bge(a, b) a.cast_signed() >= b.cast_signed();
    bltu(a, b) a < b;
    bgeu(a, b) a >= b;
}

pub(super) fn handler<B: Bus>(insn: &Insn) -> Option<Handler<B>> {
    Some(match insn.op {
        Name::Lui => lui,
        Name::Auipc => auipc,
        Name::Addi if insn.rs1 == 0 => li,
        Name::Addi if insn.imm == 0 => mv,
        Name::Addi => addi,
        Name::Slti => slti,
        Name::Sltiu => sltiu,
        Name::Xori => xori,
        Name::Ori => ori,
        Name::Andi => andi,
        Name::Slli => slli,
        Name::Srli => srli,
        Name::Srai => srai,
        Name::Add => add,
        Name::Sub => sub,
        Name::Sll => sll,
        Name::Slt => slt,
        Name::Sltu => sltu,
        Name::Xor => xor,
        Name::Srl => srl,
        Name::Sra => sra,
        Name::Or => or,
        Name::And => and,
        Name::Addiw => addiw,
        Name::Slliw => slliw,
        Name::Srliw => srliw,
        Name::Sraiw => sraiw,
        Name::Addw => addw,
        Name::Subw => subw,
        Name::Sllw => sllw,
        Name::Srlw => srlw,
        Name::Sraw => sraw,
        Name::Jal => jal,
        Name::Jalr => jalr,
        Name::Beq => beq,
        Name::Bne => bne,
        Name::Blt => blt,
        Name::Bge => bge,
        Name::Bltu => bltu,
        Name::Bgeu => bgeu,
        Name::Fence | Name::FenceTso | Name::PrefetchI | Name::PrefetchR | Name::PrefetchW => nop,
        _ => return None,
    })
}
