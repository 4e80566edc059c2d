//! Conversions between the precisions, and to and from integers.

use super::precision::{
    Parts, Precision, is_finite, is_infinite, is_nan, propagate, round, rounds_away, shift_jam,
    sign, signed,
};
use super::{Flags, Rounding};

/// An integer format, named as in the mnemonics of `fcvt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int {
    /// 32 bits, signed.
    W,
    /// 32 bits, unsigned.
    Wu,
    /// 64 bits, signed.
    L,
    /// 64 bits, unsigned.
    Lu,
}

impl Int {
    /// The greatest magnitude of a negative number and of a positive one.
    #[inline]
    const fn limits(self) -> (u64, u64) {
        match self {
            Self::W => (1 << 31, (1 << 31) - 1),
            Self::Wu => (0, (1 << 32) - 1),
            Self::L => (1 << 63, (1 << 63) - 1),
            Self::Lu => (0, u64::MAX),
        }
    }

    /// The register that holds a magnitude within the limits: words are sign-extended, unsigned
    /// ones too.
    #[inline]
    const fn register(self, sign: bool, magnitude: u64) -> u64 {
        let value = if sign { magnitude.wrapping_neg() } else { magnitude };
        match self {
            Self::W | Self::Wu => ((value << 32).cast_signed() >> 32).cast_unsigned(),
            Self::L | Self::Lu => value,
        }
    }
}

/// What `fcvt` to an integer leaves in `rd`.
// Unprivileged manual, "Single-Precision Floating-Point Conversion and Move Instructions":
// > If the rounded result is not representable in the destination format, it is clipped to the
// > nearest value and the invalid flag is set.
// A NaN counts as positive infinity.
#[inline]
pub fn to_int<F: Precision>(a: u64, int: Int, mode: Rounding) -> (u64, Flags) {
    let sign = sign::<F>(a) && !is_nan::<F>(a);
    let limit = if sign { int.limits().0 } else { int.limits().1 };
    let clipped = (int.register(sign, limit), Flags::NV);
    if !is_finite::<F>(a) {
        return clipped;
    }
    let Parts { exponent, significand, .. } = Parts::of::<F>(a);
    // The binary point is below bit 63 - exponent of the significand.
    let (whole, below) = match exponent {
        64.. => return clipped,
        63 => (significand, 0),
        0..63 => (significand >> (63 - exponent), significand << (exponent + 1)),
        ..0 => (0, shift_jam(significand, exponent.unsigned_abs() - 1)),
    };
    // Nothing is below a whole part of 64 bits, so the addition does not overflow.
    let magnitude = whole + u64::from(rounds_away(sign, whole & 1 != 0, below, mode));
    if magnitude > limit {
        return clipped;
    }
    (int.register(sign, magnitude), Flags::NX.when(below != 0))
}

/// The number nearest to the integer in a register.
#[inline]
pub fn from_int<F: Precision>(register: u64, int: Int, mode: Rounding) -> (u64, Flags) {
    // The unused half of a register is ignored.
    let value = match int {
        Int::W => ((register << 32).cast_signed() >> 32).cast_unsigned(),
        Int::Wu => register & 0xffff_ffff,
        Int::L | Int::Lu => register,
    };
    let sign = matches!(int, Int::W | Int::L) && value.cast_signed() < 0;
    let magnitude = if sign { value.wrapping_neg() } else { value };
    if magnitude == 0 {
        return (0, Flags::NONE);
    }
    let zeros = magnitude.leading_zeros();
    let exponent = 63 - zeros.cast_signed();
    round::<F>(Parts { sign, exponent, significand: magnitude << zeros }, mode)
}

/// A number of one precision in another: `fcvt.s.d` and `fcvt.d.s`.
#[inline]
pub fn convert<From: Precision, To: Precision>(a: u64, mode: Rounding) -> (u64, Flags) {
    if is_nan::<From>(a) {
        return (To::NAN, propagate::<From>(&[a]).1);
    }
    if is_infinite::<From>(a) {
        return (signed::<To>(sign::<From>(a), To::INFINITY), Flags::NONE);
    }
    let parts = Parts::of::<From>(a);
    if parts.significand == 0 {
        return (signed::<To>(parts.sign, 0), Flags::NONE);
    }
    round::<To>(parts, mode)
}
