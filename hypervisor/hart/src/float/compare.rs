//! Comparisons, minimum and maximum, sign injection and classification: nothing is rounded.

use super::Flags;
use super::precision::{Precision, is_nan, is_signalling, magnitude, sign};

/// `a == b`. Quiet: only a signalling NaN is invalid.
#[inline]
pub fn eq<F: Precision>(a: u64, b: u64) -> (bool, Flags) {
    let invalid = is_signalling::<F>(a) || is_signalling::<F>(b);
    let ordered = !is_nan::<F>(a) && !is_nan::<F>(b);
    (ordered && order::<F>(a) == order::<F>(b), Flags::NV.when(invalid))
}

/// `a < b`. Signalling: any NaN is invalid.
#[inline]
pub fn lt<F: Precision>(a: u64, b: u64) -> (bool, Flags) {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return (false, Flags::NV);
    }
    (order::<F>(a) < order::<F>(b), Flags::NONE)
}

/// `a <= b`. Signalling: any NaN is invalid.
#[inline]
pub fn le<F: Precision>(a: u64, b: u64) -> (bool, Flags) {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return (false, Flags::NV);
    }
    (order::<F>(a) <= order::<F>(b), Flags::NONE)
}

/// The lesser of two numbers, -0 being less than +0, or the one that is a number.
#[inline]
pub fn min<F: Precision>(a: u64, b: u64) -> (u64, Flags) {
    let first = (order::<F>(a), !sign::<F>(a)) <= (order::<F>(b), !sign::<F>(b));
    select::<F>(a, b, first)
}

/// The greater of two numbers, +0 being greater than -0, or the one that is a number.
#[inline]
pub fn max<F: Precision>(a: u64, b: u64) -> (u64, Flags) {
    let first = (order::<F>(a), !sign::<F>(a)) >= (order::<F>(b), !sign::<F>(b));
    select::<F>(a, b, first)
}

/// `a` with the sign of `b`.
#[inline]
pub fn sgnj<F: Precision>(a: u64, b: u64) -> u64 {
    magnitude::<F>(a) | b & F::SIGN
}

/// `a` with the opposite of the sign of `b`.
#[inline]
pub fn sgnjn<F: Precision>(a: u64, b: u64) -> u64 {
    sgnj::<F>(a, b ^ F::SIGN)
}

/// `a`, its sign inverted if `b` is negative.
#[inline]
pub fn sgnjx<F: Precision>(a: u64, b: u64) -> u64 {
    a ^ b & F::SIGN
}

/// The mask, with one bit set, that `fclass` gives.
pub fn class<F: Precision>(a: u64) -> u64 {
    let least_normal = 1 << F::FRACTION;
    let magnitude = magnitude::<F>(a);
    if magnitude > F::INFINITY {
        return if is_signalling::<F>(a) { 1 << 8 } else { 1 << 9 };
    }
    // Counted from zero outwards; negative numbers mirror positive ones.
    let outwards = if magnitude == 0 {
        0
    } else if magnitude < least_normal {
        1
    } else if magnitude < F::INFINITY {
        2
    } else {
        3
    };
    if sign::<F>(a) { 1 << (3 - outwards) } else { 1 << (4 + outwards) }
}

/// `a` or `b` where both are numbers, else what `fmin` and `fmax` give for a NaN.
// Unprivileged manual, "Single-Precision Floating-Point Computational Instructions":
// > If both inputs are NaNs, the result is the canonical NaN. If only one operand is a NaN, the
// > result is the non-NaN operand. Signaling NaN inputs set the invalid operation exception flag
#[inline]
fn select<F: Precision>(a: u64, b: u64, first: bool) -> (u64, Flags) {
    let invalid = is_signalling::<F>(a) || is_signalling::<F>(b);
    let chosen = match (is_nan::<F>(a), is_nan::<F>(b)) {
        (false, false) if first => a,
        (false, false) | (true, false) => b,
        (false, true) => a,
        (true, true) => F::NAN,
    };
    (chosen, Flags::NV.when(invalid))
}

/// An integer that compares as the number does; both zeros are 0. Of no use for NaNs.
#[inline]
fn order<F: Precision>(bits: u64) -> i64 {
    let magnitude = magnitude::<F>(bits).cast_signed();
    if sign::<F>(bits) { -magnitude } else { magnitude }
}
