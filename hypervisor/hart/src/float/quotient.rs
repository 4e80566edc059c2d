//! Quotients and square roots: a guess by the host's floating-point unit, made exact by integers.
//!
//! Both work on 53 bits whatever the precision, with operands scaled so that the result is in
//! [1, 2). The guess, an integer in units of 2^-52, is then off by less than one unit however the
//! host rounds: it is the integer part of the true result or one more, and the remainder tells.

use super::precision::{
    Parts, Precision, invalid, is_finite, is_infinite, is_nan, is_zero, propagate, round, sign,
    signed,
};
use super::{Flags, Rounding};

/// The implied bit of a significand in units of 2^-52.
const UNIT: u64 = 1 << 52;
/// The bits of the host's 1.0; those of numbers in [1, 2] follow it in units of 2^-52.
const ONE: u64 = 1.0_f64.to_bits();

/// `a / b`.
#[inline]
pub fn div<F: Precision>(a: u64, b: u64, mode: Rounding) -> (u64, Flags) {
    if !is_finite::<F>(a) || !is_finite::<F>(b) || is_zero::<F>(a) || is_zero::<F>(b) {
        return div_special::<F>(a, b);
    }
    let (a, b) = (Parts::of::<F>(a), Parts::of::<F>(b));
    let (mut dividend, divisor) = (a.significand >> 11, b.significand >> 11);
    let mut exponent = a.exponent - b.exponent;
    let mut scaled = host(dividend);
    if dividend < divisor {
        dividend <<= 1;
        scaled *= 2.0;
        exponent -= 1;
    }
    let mut quotient = units(scaled / host(divisor));
    // Less than one divisor in magnitude, so what wraps cancels out.
    let mut rest = (dividend << 52).wrapping_sub(quotient.wrapping_mul(divisor)).cast_signed();
    if rest < 0 {
        quotient -= 1;
        rest += divisor.cast_signed();
    }
    let half = 2 * rest >= divisor.cast_signed();
    let below = u64::from(half) << 10 | u64::from(rest != 0);
    let significand = quotient << 11 | below;
    round::<F>(Parts { sign: a.sign != b.sign, exponent, significand }, mode)
}

/// The square root of `a`.
#[inline]
pub fn sqrt<F: Precision>(a: u64, mode: Rounding) -> (u64, Flags) {
    if !is_finite::<F>(a) || is_zero::<F>(a) || sign::<F>(a) {
        return sqrt_special::<F>(a);
    }
    let Parts { exponent, significand, .. } = Parts::of::<F>(a);
    let mut radicand = significand >> 11;
    let mut scaled = host(radicand);
    if exponent & 1 != 0 {
        radicand <<= 1;
        scaled *= 2.0;
    }
    let mut root = units(scaled.sqrt());
    // About two roots in magnitude at most, so what wraps cancels out.
    let mut rest = (radicand << 52).wrapping_sub(root.wrapping_mul(root)).cast_signed();
    if rest < 0 {
        root -= 1;
        rest += (2 * root + 1).cast_signed();
    }
    // (root + 1/2)^2 = root^2 + root + 1/4.
    let half = rest > root.cast_signed();
    let below = u64::from(half) << 10 | u64::from(rest != 0);
    let significand = root << 11 | below;
    round::<F>(Parts { sign: false, exponent: exponent >> 1, significand }, mode)
}

/// A significand, its leading bit at 52, as a number of the host in [1, 2).
#[inline]
fn host(significand: u64) -> f64 {
    f64::from_bits(ONE | significand & (UNIT - 1))
}

/// A number of the host in [1, 2], in units of 2^-52.
#[inline]
fn units(number: f64) -> u64 {
    number.to_bits() - ONE + UNIT
}

#[cold]
fn div_special<F: Precision>(a: u64, b: u64) -> (u64, Flags) {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b]);
    }
    let sign = sign::<F>(a) != sign::<F>(b);
    match (is_infinite::<F>(a), is_infinite::<F>(b)) {
        (true, true) => invalid::<F>(),
        (true, false) => (signed::<F>(sign, F::INFINITY), Flags::NONE),
        (false, true) => (signed::<F>(sign, 0), Flags::NONE),
        (false, false) if !is_zero::<F>(b) => (signed::<F>(sign, 0), Flags::NONE),
        (false, false) if is_zero::<F>(a) => invalid::<F>(),
        (false, false) => (signed::<F>(sign, F::INFINITY), Flags::DZ),
    }
}

#[cold]
fn sqrt_special<F: Precision>(a: u64) -> (u64, Flags) {
    if is_nan::<F>(a) {
        propagate::<F>(&[a])
    } else if is_zero::<F>(a) || !sign::<F>(a) {
        (a, Flags::NONE)
    } else {
        invalid::<F>()
    }
}
