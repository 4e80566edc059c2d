//! What Berkeley SoftFloat answers, and what it has no operation for, in terms of those it has.

use std::num::FpCategory;

use softfloat_wrapper::{ExceptionFlags, F32, F64, Float, RoundingMode};

use super::{Op, Tested};
use crate::float::{Double, Flags, Int, Precision, Rounding, Single};

/// A precision that SoftFloat knows.
pub(super) trait Oracle: Precision {
    type Soft: Float + Copy;
    fn soft(bits: u64) -> Self::Soft;
    fn bits(soft: Self::Soft) -> u64;
    /// In the other precision.
    fn convert(bits: u64, mode: RoundingMode) -> u64;
    /// What the host says the number is.
    fn category(bits: u64) -> FpCategory;
}

impl Oracle for Single {
    type Soft = F32;

    fn soft(bits: u64) -> F32 {
        F32::from_bits(u32::try_from(bits).unwrap())
    }

    fn bits(soft: F32) -> u64 {
        soft.to_bits().into()
    }

    fn convert(bits: u64, mode: RoundingMode) -> u64 {
        Self::soft(bits).to_f64(mode).to_bits()
    }

    fn category(bits: u64) -> FpCategory {
        f32::from_bits(u32::try_from(bits).unwrap()).classify()
    }
}

impl Oracle for Double {
    type Soft = F64;

    fn soft(bits: u64) -> F64 {
        F64::from_bits(bits)
    }

    fn bits(soft: F64) -> u64 {
        soft.to_bits()
    }

    fn convert(bits: u64, mode: RoundingMode) -> u64 {
        Self::soft(bits).to_f32(mode).to_bits().into()
    }

    fn category(bits: u64) -> FpCategory {
        f64::from_bits(bits).classify()
    }
}

/// Fails, and tells the case, unless SoftFloat agrees.
pub(super) fn compare<F: Tested>(
    op: Op,
    operands: [u64; 3],
    mode: Rounding,
    result: u64,
    flags: Flags,
) {
    ExceptionFlags::default().set();
    let expected = answer::<F>(op, operands, soft_mode(mode));
    let mut raised = ExceptionFlags::default();
    raised.get();
    assert!(
        result == expected && flags.bits() == u64::from(raised.to_bits()),
        "{op:?}.{} of {operands:#x?} in {mode:?}: {result:#x} with {flags:?}, not {expected:#x} \
         with {raised:?}",
        F::LETTER
    );
}

fn soft_mode(mode: Rounding) -> RoundingMode {
    match mode {
        Rounding::Rne => RoundingMode::TiesToEven,
        Rounding::Rtz => RoundingMode::TowardZero,
        Rounding::Rdn => RoundingMode::TowardNegative,
        Rounding::Rup => RoundingMode::TowardPositive,
        Rounding::Rmm => RoundingMode::TiesToAway,
    }
}

fn answer<F: Oracle>(op: Op, operands: [u64; 3], mode: RoundingMode) -> u64 {
    if let Op::FromInt(int) = op {
        return from_int::<F>(operands[0], int, mode);
    }
    let [a, b, c] = operands.map(F::soft);
    let fused = |product_sign: u64, addend_sign: u64| {
        let (a, c) = (F::soft(operands[0] ^ product_sign), F::soft(operands[2] ^ addend_sign));
        F::bits(a.fused_mul_add(b, c, mode))
    };
    match op {
        Op::Add => F::bits(a.add(b, mode)),
        Op::Sub => F::bits(a.sub(b, mode)),
        Op::Mul => F::bits(a.mul(b, mode)),
        Op::Div => F::bits(a.div(b, mode)),
        Op::Sqrt => F::bits(a.sqrt(mode)),
        Op::Fmadd => F::bits(a.fused_mul_add(b, c, mode)),
        Op::Fmsub => fused(0, F::SIGN),
        Op::Fnmsub => fused(F::SIGN, 0),
        Op::Fnmadd => fused(F::SIGN, F::SIGN),
        Op::Min => extreme::<F>(operands[0], operands[1], false),
        Op::Max => extreme::<F>(operands[0], operands[1], true),
        Op::Eq => a.eq(b).into(),
        Op::Lt => a.lt(b).into(),
        Op::Le => a.le(b).into(),
        Op::Class => class::<F>(operands[0]),
        Op::ToInt(Int::W) => word(a.to_i32(mode, true)),
        Op::ToInt(Int::Wu) => word(a.to_u32(mode, true).cast_signed()),
        Op::ToInt(Int::L) => a.to_i64(mode, true).cast_unsigned(),
        Op::ToInt(Int::Lu) => a.to_u64(mode, true),
        Op::FromInt(_) => unreachable!("answered above"),
        Op::Convert => F::convert(operands[0], mode),
    }
}

fn from_int<F: Oracle>(register: u64, int: Int, mode: RoundingMode) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "only the low half of a register counts")]
    let low = register as u32;
    F::bits(match int {
        Int::W => F::Soft::from_i32(low.cast_signed(), mode),
        Int::Wu => F::Soft::from_u32(low, mode),
        Int::L => F::Soft::from_i64(register.cast_signed(), mode),
        Int::Lu => F::Soft::from_u64(register, mode),
    })
}

/// A register that holds 32 bits.
fn word(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

/// What the manual says of `fmin` and `fmax`. The quiet comparisons used raise the invalid flag for
/// signalling NaNs only, as `fmin` and `fmax` do.
fn extreme<F: Oracle>(a: u64, b: u64, is_max: bool) -> u64 {
    let (soft_a, soft_b) = (F::soft(a), F::soft(b));
    let are_numbers = (soft_a.eq(soft_a), soft_b.eq(soft_b));
    let is_less = soft_a.lt_quiet(soft_b) || soft_a.eq(soft_b) && a & F::SIGN != 0;
    match are_numbers {
        (true, true) if is_less == is_max => b,
        (true, _) => a,
        (false, true) => b,
        (false, false) => F::NAN,
    }
}

fn class<F: Oracle>(a: u64) -> u64 {
    let is_negative = a & F::SIGN != 0;
    let bit = match (F::category(a), is_negative) {
        (FpCategory::Infinite, true) => 0,
        (FpCategory::Normal, true) => 1,
        (FpCategory::Subnormal, true) => 2,
        (FpCategory::Zero, true) => 3,
        (FpCategory::Zero, false) => 4,
        (FpCategory::Subnormal, false) => 5,
        (FpCategory::Normal, false) => 6,
        (FpCategory::Infinite, false) => 7,
        (FpCategory::Nan, _) if F::soft(a).is_signaling_nan() => 8,
        (FpCategory::Nan, _) => 9,
    };
    1 << bit
}
