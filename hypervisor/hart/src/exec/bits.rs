//! Zba, Zbb and Zbs: address generation and bit manipulation.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::Op as Name;

use super::base::{compute, low, sext};
use super::imm;
use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::Hart;

fn zext(value: u64) -> u64 {
    u64::from(low(value))
}

fn bit(place: u64) -> u64 {
    1 << (place & 63)
}

fn amount(value: u64) -> u32 {
    (value & 63) as u32
}

fn orc_b(value: u64) -> u64 {
    u64::from_le_bytes(value.to_le_bytes().map(|byte| if byte == 0 { 0 } else { 0xff }))
}

fn rolw(a: u64, by: u64) -> u64 {
    sext(u64::from(low(a).rotate_left(amount(by) & 31)))
}

fn rorw(a: u64, by: u64) -> u64 {
    sext(u64::from(low(a).rotate_right(amount(by) & 31)))
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte or halfword")]
fn sext_b(value: u64) -> u64 {
    i64::from(value as i8).cast_unsigned()
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte or halfword")]
fn sext_h(value: u64) -> u64 {
    i64::from(value as i16).cast_unsigned()
}

compute! {
    add_uw(h, op) h.get(op.rs2).wrapping_add(zext(h.get(op.rs1)));
    sh1add(h, op) h.get(op.rs2).wrapping_add(h.get(op.rs1) << 1);
    sh2add(h, op) h.get(op.rs2).wrapping_add(h.get(op.rs1) << 2);
    sh3add(h, op) h.get(op.rs2).wrapping_add(h.get(op.rs1) << 3);
    sh1add_uw(h, op) h.get(op.rs2).wrapping_add(zext(h.get(op.rs1)) << 1);
    sh2add_uw(h, op) h.get(op.rs2).wrapping_add(zext(h.get(op.rs1)) << 2);
    sh3add_uw(h, op) h.get(op.rs2).wrapping_add(zext(h.get(op.rs1)) << 3);
    slli_uw(h, op) zext(h.get(op.rs1)) << (op.imm & 63);
    andn(h, op) h.get(op.rs1) & !h.get(op.rs2);
    orn(h, op) h.get(op.rs1) | !h.get(op.rs2);
    xnor(h, op) !(h.get(op.rs1) ^ h.get(op.rs2));
    clz(h, op) u64::from(h.get(op.rs1).leading_zeros());
    clzw(h, op) u64::from(low(h.get(op.rs1)).leading_zeros());
    ctz(h, op) u64::from(h.get(op.rs1).trailing_zeros());
    ctzw(h, op) u64::from(low(h.get(op.rs1)).trailing_zeros());
    cpop(h, op) u64::from(h.get(op.rs1).count_ones());
    cpopw(h, op) u64::from(low(h.get(op.rs1)).count_ones());
    min(h, op) h.get(op.rs1).cast_signed().min(h.get(op.rs2).cast_signed()).cast_unsigned();
    minu(h, op) h.get(op.rs1).min(h.get(op.rs2));
    max(h, op) h.get(op.rs1).cast_signed().max(h.get(op.rs2).cast_signed()).cast_unsigned();
    maxu(h, op) h.get(op.rs1).max(h.get(op.rs2));
    sext_b_(h, op) sext_b(h.get(op.rs1));
    sext_h_(h, op) sext_h(h.get(op.rs1));
    zext_h(h, op) h.get(op.rs1) & 0xffff;
    rol(h, op) h.get(op.rs1).rotate_left(amount(h.get(op.rs2)));
    ror(h, op) h.get(op.rs1).rotate_right(amount(h.get(op.rs2)));
    rori(h, op) h.get(op.rs1).rotate_right(amount(imm(op)));
    rolw_(h, op) rolw(h.get(op.rs1), h.get(op.rs2));
    rorw_(h, op) rorw(h.get(op.rs1), h.get(op.rs2));
    roriw(h, op) rorw(h.get(op.rs1), imm(op));
    orc_b_(h, op) orc_b(h.get(op.rs1));
    rev8(h, op) h.get(op.rs1).swap_bytes();
    bclr(h, op) h.get(op.rs1) & !bit(h.get(op.rs2));
    bclri(h, op) h.get(op.rs1) & !bit(imm(op));
    bext(h, op) h.get(op.rs1) >> (h.get(op.rs2) & 63) & 1;
    bexti(h, op) h.get(op.rs1) >> (op.imm & 63) & 1;
    binv(h, op) h.get(op.rs1) ^ bit(h.get(op.rs2));
    binvi(h, op) h.get(op.rs1) ^ bit(imm(op));
    bset(h, op) h.get(op.rs1) | bit(h.get(op.rs2));
    bseti(h, op) h.get(op.rs1) | bit(imm(op));
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::AddUw => add_uw,
        Name::Sh1add => sh1add,
        Name::Sh2add => sh2add,
        Name::Sh3add => sh3add,
        Name::Sh1addUw => sh1add_uw,
        Name::Sh2addUw => sh2add_uw,
        Name::Sh3addUw => sh3add_uw,
        Name::SlliUw => slli_uw,
        Name::Andn => andn,
        Name::Orn => orn,
        Name::Xnor => xnor,
        Name::Clz => clz,
        Name::Clzw => clzw,
        Name::Ctz => ctz,
        Name::Ctzw => ctzw,
        Name::Cpop => cpop,
        Name::Cpopw => cpopw,
        Name::Min => min,
        Name::Minu => minu,
        Name::Max => max,
        Name::Maxu => maxu,
        Name::SextB => sext_b_,
        Name::SextH => sext_h_,
        Name::ZextH => zext_h,
        Name::Rol => rol,
        Name::Rolw => rolw_,
        Name::Ror => ror,
        Name::Rorw => rorw_,
        Name::Rori => rori,
        Name::Roriw => roriw,
        Name::OrcB => orc_b_,
        Name::Rev8 => rev8,
        Name::Bclr => bclr,
        Name::Bclri => bclri,
        Name::Bext => bext,
        Name::Bexti => bexti,
        Name::Binv => binv,
        Name::Binvi => binvi,
        Name::Bset => bset,
        Name::Bseti => bseti,
        _ => return None,
    })
}
