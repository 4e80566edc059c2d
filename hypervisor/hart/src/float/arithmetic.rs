//! Sums, products, and the fused operations that round only once.

use super::precision::{
    Parts, Precision, invalid, is_finite, is_infinite, is_nan, is_zero, propagate, round,
    shift_jam, shift_jam_wide, sign, signed, upper_jam,
};
use super::{Flags, Rounding};

/// `a + b`.
#[inline]
pub fn add<F: Precision>(a: u64, b: u64, mode: Rounding) -> (u64, Flags) {
    if !is_finite::<F>(a) || !is_finite::<F>(b) {
        return add_special::<F>(a, b);
    }
    let (a, b) = (Parts::of::<F>(a), Parts::of::<F>(b));
    let (big, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    // Bit 63 is left for the carry. Ten bits below the significand are enough to round: when more
    // than one leading bit cancels, the exponents differ by one at most and nothing is jammed.
    let upper = big.significand >> 1;
    let lower = shift_jam(small.significand >> 1, big.exponent.abs_diff(small.exponent));
    let (sign, sum) = if big.sign == small.sign {
        (big.sign, upper + lower)
    } else if upper >= lower {
        (big.sign, upper - lower)
    } else {
        (small.sign, lower - upper)
    };
    if sum == 0 {
        return zero_sum::<F>(a.sign, b.sign, mode);
    }
    let zeros = sum.leading_zeros();
    let exponent = big.exponent + 1 - zeros.cast_signed();
    round::<F>(Parts { sign, exponent, significand: sum << zeros }, mode)
}

/// `a - b`.
#[inline]
pub fn sub<F: Precision>(a: u64, b: u64, mode: Rounding) -> (u64, Flags) {
    // A NaN may be negated too: no result shows its sign.
    add::<F>(a, b ^ F::SIGN, mode)
}

/// `a * b`.
#[inline]
pub fn mul<F: Precision>(a: u64, b: u64, mode: Rounding) -> (u64, Flags) {
    if !is_finite::<F>(a) || !is_finite::<F>(b) {
        return mul_special::<F>(a, b);
    }
    let (a, b) = (Parts::of::<F>(a), Parts::of::<F>(b));
    let sign = a.sign != b.sign;
    let product = upper_jam(u128::from(a.significand) * u128::from(b.significand));
    if product == 0 {
        return (signed::<F>(sign, 0), Flags::NONE);
    }
    let zeros = product.leading_zeros();
    let exponent = a.exponent + b.exponent + 1 - zeros.cast_signed();
    round::<F>(Parts { sign, exponent, significand: product << zeros }, mode)
}

/// `a * b + c`, rounded once.
#[inline]
pub fn fmadd<F: Precision>(a: u64, b: u64, c: u64, mode: Rounding) -> (u64, Flags) {
    if !is_finite::<F>(a) || !is_finite::<F>(b) || !is_finite::<F>(c) {
        return fmadd_special::<F>(a, b, c);
    }
    let (a, b, c) = (Parts::of::<F>(a), Parts::of::<F>(b), Parts::of::<F>(c));
    let product_sign = a.sign != b.sign;
    // As in `add`, on twice the bits: the product with its leading bit at 126, nothing lost.
    let product = (u128::from(a.significand) * u128::from(b.significand)) >> 1;
    let zeros = u32::from(product >> 126 == 0);
    let (product, product_exponent) =
        (product << zeros, a.exponent + b.exponent + 1 - zeros.cast_signed());
    let addend = u128::from(c.significand) << 63;

    let distance = product_exponent.abs_diff(c.exponent);
    let (product, addend) = if product_exponent >= c.exponent {
        (product, shift_jam_wide(addend, distance))
    } else {
        (shift_jam_wide(product, distance), addend)
    };
    let (sign, sum) = if product_sign == c.sign {
        (product_sign, product + addend)
    } else if product >= addend {
        (product_sign, product - addend)
    } else {
        (c.sign, addend - product)
    };
    if sum == 0 {
        return zero_sum::<F>(product_sign, c.sign, mode);
    }
    let zeros = sum.leading_zeros();
    let exponent = product_exponent.max(c.exponent) + 1 - zeros.cast_signed();
    round::<F>(Parts { sign, exponent, significand: upper_jam(sum << zeros) }, mode)
}

/// `a * b - c`, rounded once.
#[inline]
pub fn fmsub<F: Precision>(a: u64, b: u64, c: u64, mode: Rounding) -> (u64, Flags) {
    fmadd::<F>(a, b, c ^ F::SIGN, mode)
}

/// `-(a * b) + c`, rounded once.
#[inline]
pub fn fnmsub<F: Precision>(a: u64, b: u64, c: u64, mode: Rounding) -> (u64, Flags) {
    fmadd::<F>(a ^ F::SIGN, b, c, mode)
}

/// `-(a * b) - c`, rounded once.
#[inline]
pub fn fnmadd<F: Precision>(a: u64, b: u64, c: u64, mode: Rounding) -> (u64, Flags) {
    fmadd::<F>(a ^ F::SIGN, b, c ^ F::SIGN, mode)
}

/// A sum that is exactly zero: its sign is that of the operands if they agree.
fn zero_sum<F: Precision>(a: bool, b: bool, mode: Rounding) -> (u64, Flags) {
    let sign = if a == b { a } else { mode == Rounding::Rdn };
    (signed::<F>(sign, 0), Flags::NONE)
}

#[cold]
fn add_special<F: Precision>(a: u64, b: u64) -> (u64, Flags) {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        propagate::<F>(&[a, b])
    } else if is_infinite::<F>(a) && is_infinite::<F>(b) && a != b {
        invalid::<F>()
    } else {
        (if is_infinite::<F>(a) { a } else { b }, Flags::NONE)
    }
}

#[cold]
fn mul_special<F: Precision>(a: u64, b: u64) -> (u64, Flags) {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        propagate::<F>(&[a, b])
    } else if is_zero::<F>(a) || is_zero::<F>(b) {
        invalid::<F>()
    } else {
        (signed::<F>(sign::<F>(a) != sign::<F>(b), F::INFINITY), Flags::NONE)
    }
}

#[cold]
fn fmadd_special<F: Precision>(a: u64, b: u64, c: u64) -> (u64, Flags) {
    let (nan, mut flags) = propagate::<F>(&[a, b, c]);
    // > The fused multiply-add instructions must set the invalid operation exception flag when
    // > the multiplicands are infinity and zero, even when the addend is a quiet NaN.
    // Unprivileged manual, "Single-Precision Floating-Point Computational Instructions".
    if is_infinite::<F>(a) && is_zero::<F>(b) || is_zero::<F>(a) && is_infinite::<F>(b) {
        flags |= Flags::NV;
        return (nan, flags);
    }
    if is_nan::<F>(a) || is_nan::<F>(b) || is_nan::<F>(c) {
        return (nan, flags);
    }
    if is_finite::<F>(a) && is_finite::<F>(b) {
        return (c, Flags::NONE);
    }
    let product = signed::<F>(sign::<F>(a) != sign::<F>(b), F::INFINITY);
    if is_infinite::<F>(c) && c != product { invalid::<F>() } else { (product, Flags::NONE) }
}
