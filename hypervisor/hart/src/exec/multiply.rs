//! M: multiplication and division.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::Op as Name;

use super::base::{compute, low, sext};
use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::Hart;

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "the high half")]
fn high(product: i128) -> u64 {
    (product >> 64) as u64
}

#[inline(always)]
fn signed(value: u64) -> i128 {
    i128::from(value.cast_signed())
}

#[inline(always)]
fn unsigned(value: u64) -> i128 {
    i128::from(value)
}

/// Unprivileged manual, "Semantics for division by zero and division overflow".
fn div(a: u64, b: u64) -> u64 {
    if b == 0 { u64::MAX } else { a.cast_signed().wrapping_div(b.cast_signed()).cast_unsigned() }
}

fn rem(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { a.cast_signed().wrapping_rem(b.cast_signed()).cast_unsigned() }
}

fn divu(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(u64::MAX)
}

fn remu(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

fn zext(value: u64) -> u64 {
    u64::from(low(value))
}

compute! {
    mul(h, op) h.get(op.rs1).wrapping_mul(h.get(op.rs2));
    mulh(h, op) high(signed(h.get(op.rs1)) * signed(h.get(op.rs2)));
    mulhsu(h, op) high(signed(h.get(op.rs1)) * unsigned(h.get(op.rs2)));
    mulhu(h, op) ((u128::from(h.get(op.rs1)) * u128::from(h.get(op.rs2))) >> 64) as u64;
    div_(h, op) div(h.get(op.rs1), h.get(op.rs2));
    divu_(h, op) divu(h.get(op.rs1), h.get(op.rs2));
    rem_(h, op) rem(h.get(op.rs1), h.get(op.rs2));
    remu_(h, op) remu(h.get(op.rs1), h.get(op.rs2));
    mulw(h, op) sext(h.get(op.rs1).wrapping_mul(h.get(op.rs2)));
    divw(h, op) sext(div(sext(h.get(op.rs1)), sext(h.get(op.rs2))));
    divuw(h, op) sext(divu(zext(h.get(op.rs1)), zext(h.get(op.rs2))));
    remw(h, op) sext(rem(sext(h.get(op.rs1)), sext(h.get(op.rs2))));
    remuw(h, op) sext(remu(zext(h.get(op.rs1)), zext(h.get(op.rs2))));
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::Mul => mul,
        Name::Mulh => mulh,
        Name::Mulhsu => mulhsu,
        Name::Mulhu => mulhu,
        Name::Div => div_,
        Name::Divu => divu_,
        Name::Rem => rem_,
        Name::Remu => remu_,
        Name::Mulw => mulw,
        Name::Divw => divw,
        Name::Divuw => divuw,
        Name::Remw => remw,
        Name::Remuw => remuw,
        _ => return None,
    })
}
