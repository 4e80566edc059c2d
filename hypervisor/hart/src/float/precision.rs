//! The two formats, taking their bit patterns apart, and rounding a result into one.

use super::{Flags, Rounding};

/// A format with `SIGNIFICAND` bits of precision, counting the implied one, in `WIDTH` bits.
///
/// ```text
///   WIDTH-1   WIDTH-2          SIGNIFICAND-1   SIGNIFICAND-2                       0
///  +--------+-------------------------------+---------------------------------------+
///  |  sign  |   exponent, biased by BIAS    |   fraction, below the implied bit     |
///  +--------+-------------------------------+---------------------------------------+
/// ```
pub trait Precision {
    /// Bits in all.
    const WIDTH: u32;
    /// Bits of a significand, the implied leading one among them.
    const SIGNIFICAND: u32;

    /// Bits of the fraction.
    const FRACTION: u32 = Self::SIGNIFICAND - 1;
    /// The bit of the sign.
    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    /// Positive infinity; also the mask of the exponent.
    const INFINITY: u64 = Self::SIGN - (1 << Self::FRACTION);
    /// The bit that tells a quiet NaN from a signalling one.
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    /// The canonical NaN.
    const NAN: u64 = Self::INFINITY | Self::QUIET;
    /// The biased exponent of infinities and NaNs.
    const EXPONENT_MAX: i32 = (1 << (Self::WIDTH - Self::SIGNIFICAND)) - 1;
    /// What is added to an exponent to store it.
    const BIAS: i32 = Self::EXPONENT_MAX / 2;

    /// The value in a floating-point register: canonical NaN unless it is boxed properly.
    fn unbox(register: u64) -> u64;

    /// The register that holds a value.
    fn boxed(bits: u64) -> u64;
}

/// The format of the F extension.
#[derive(Clone, Copy, Debug)]
pub struct Single;

/// The format of the D extension.
#[derive(Clone, Copy, Debug)]
pub struct Double;

impl Precision for Single {
    const WIDTH: u32 = 32;
    const SIGNIFICAND: u32 = 24;

    // Unprivileged manual, "NaN Boxing of Narrower Values".
    #[inline]
    fn unbox(register: u64) -> u64 {
        if register >> 32 == 0xffff_ffff { register & 0xffff_ffff } else { Self::NAN }
    }

    #[inline]
    fn boxed(bits: u64) -> u64 {
        bits | 0xffff_ffff << 32
    }
}

impl Precision for Double {
    const WIDTH: u32 = 64;
    const SIGNIFICAND: u32 = 53;

    #[inline]
    fn unbox(register: u64) -> u64 {
        register
    }

    #[inline]
    fn boxed(bits: u64) -> u64 {
        bits
    }
}

/// Whether the sign bit is set.
#[inline]
pub(super) fn sign<F: Precision>(bits: u64) -> bool {
    bits & F::SIGN != 0
}

/// `magnitude` with a sign.
#[inline]
pub(super) fn signed<F: Precision>(sign: bool, magnitude: u64) -> u64 {
    if sign { F::SIGN | magnitude } else { magnitude }
}

/// The bits without the sign.
#[inline]
pub(super) fn magnitude<F: Precision>(bits: u64) -> u64 {
    bits & !F::SIGN
}

#[inline]
pub(super) fn is_zero<F: Precision>(bits: u64) -> bool {
    magnitude::<F>(bits) == 0
}

#[inline]
pub(super) fn is_infinite<F: Precision>(bits: u64) -> bool {
    magnitude::<F>(bits) == F::INFINITY
}

#[inline]
pub(super) fn is_finite<F: Precision>(bits: u64) -> bool {
    magnitude::<F>(bits) < F::INFINITY
}

#[inline]
pub(super) fn is_nan<F: Precision>(bits: u64) -> bool {
    magnitude::<F>(bits) > F::INFINITY
}

#[inline]
pub(super) fn is_signalling<F: Precision>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// What an operation with a NaN among its operands gives.
#[inline]
pub(super) fn propagate<F: Precision>(operands: &[u64]) -> (u64, Flags) {
    (F::NAN, Flags::NV.when(operands.iter().any(|bits| is_signalling::<F>(*bits))))
}

/// What an invalid operation gives.
#[inline]
pub(super) fn invalid<F: Precision>() -> (u64, Flags) {
    (F::NAN, Flags::NV)
}

/// A finite number taken apart: `significand / 2^63 * 2^exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) sign: bool,
    pub(super) exponent: i32,
    /// Its bit 63 is set, also for what was subnormal, unless the number is zero.
    pub(super) significand: u64,
}

/// The exponent of a zero: below that of any number and of any product of two.
const ZERO_EXPONENT: i32 = -0x10000;

impl Parts {
    #[inline]
    pub(super) fn of<F: Precision>(bits: u64) -> Self {
        let sign = sign::<F>(bits);
        let magnitude = magnitude::<F>(bits);
        let stored = magnitude >> F::FRACTION;
        if stored != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "it has 11 bits at most")]
            let exponent = (stored as u32).cast_signed() - F::BIAS;
            let significand = 1 << 63 | magnitude << (64 - F::SIGNIFICAND);
            Self { sign, exponent, significand }
        } else if magnitude == 0 {
            Self { sign, exponent: ZERO_EXPONENT, significand: 0 }
        } else {
            let zeros = magnitude.leading_zeros();
            let exponent = (64 - F::FRACTION).cast_signed() - F::BIAS - zeros.cast_signed();
            Self { sign, exponent, significand: magnitude << zeros }
        }
    }
}

/// `value >> distance`, its lowest bit set if a one was shifted out.
#[inline]
pub(super) fn shift_jam(value: u64, distance: u32) -> u64 {
    match value.checked_shr(distance) {
        Some(kept) => kept | u64::from(kept << distance != value),
        None => u64::from(value != 0),
    }
}

/// [`shift_jam`] of twice the width.
#[inline]
pub(super) fn shift_jam_wide(value: u128, distance: u32) -> u128 {
    match value.checked_shr(distance) {
        Some(kept) => kept | u128::from(kept << distance != value),
        None => u128::from(value != 0),
    }
}

/// The upper half, its lowest bit set if the lower half is not zero.
#[inline]
pub(super) fn upper_jam(value: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "to take the halves apart")]
    let (upper, lower) = ((value >> 64) as u64, value as u64);
    upper | u64::from(lower != 0)
}

/// Whether a magnitude is rounded away from zero, given if it is odd and what lies below it: the
/// binary point is above bit 63 of `below`, whose lowest bit may be jammed.
#[inline]
pub(super) fn rounds_away(sign: bool, odd: bool, below: u64, mode: Rounding) -> bool {
    const HALF: u64 = 1 << 63;
    match mode {
        Rounding::Rne => below > HALF || below == HALF && odd,
        Rounding::Rtz => false,
        Rounding::Rdn => sign && below != 0,
        Rounding::Rup => !sign && below != 0,
        Rounding::Rmm => below >= HALF,
    }
}

/// The upper `SIGNIFICAND` bits, rounded (perhaps up to one bit more), and whether that is inexact.
#[inline]
fn rounded<F: Precision>(sign: bool, significand: u64, mode: Rounding) -> (u64, bool) {
    let kept = significand >> (64 - F::SIGNIFICAND);
    let below = significand << F::SIGNIFICAND;
    (kept + u64::from(rounds_away(sign, kept & 1 != 0, below, mode)), below != 0)
}

/// The number nearest to these parts, as `mode` has it. The lowest bit of the significand, which
/// is not zero, may be jammed.
#[inline]
pub(super) fn round<F: Precision>(parts: Parts, mode: Rounding) -> (u64, Flags) {
    let Parts { sign, exponent, significand } = parts;
    let biased = exponent + F::BIAS;
    if biased <= 0 {
        return round_subnormal::<F>(parts, mode);
    }
    if biased >= F::EXPONENT_MAX {
        return overflow::<F>(sign, mode);
    }
    let (kept, inexact) = rounded::<F>(sign, significand, mode);
    // The implied bit, and what rounding carries out, is added to the exponent.
    let stored = u64::from(biased.unsigned_abs() - 1) << F::FRACTION;
    if stored + kept >= F::INFINITY {
        return overflow::<F>(sign, mode);
    }
    (signed::<F>(sign, stored + kept), Flags::NX.when(inexact))
}

#[cold]
fn round_subnormal<F: Precision>(parts: Parts, mode: Rounding) -> (u64, Flags) {
    let Parts { sign, exponent, significand } = parts;
    let biased = exponent + F::BIAS;
    let shifted = shift_jam(significand, 1 + biased.unsigned_abs());
    let (kept, inexact) = rounded::<F>(sign, shifted, mode);
    // Tiny after rounding: tiny even if the exponent had no lower bound. Only a number just below
    // the least normal one can be rounded out of that.
    let carried = rounded::<F>(sign, significand, mode).0 >> F::SIGNIFICAND != 0;
    let tiny = biased < 0 || !carried;
    let flags = Flags::NX.when(inexact) | Flags::UF.when(inexact && tiny);
    (signed::<F>(sign, kept), flags)
}

#[cold]
fn overflow<F: Precision>(sign: bool, mode: Rounding) -> (u64, Flags) {
    let to_infinity = match mode {
        Rounding::Rne | Rounding::Rmm => true,
        Rounding::Rtz => false,
        Rounding::Rdn => sign,
        Rounding::Rup => !sign,
    };
    let magnitude = F::INFINITY - u64::from(!to_infinity);
    (signed::<F>(sign, magnitude), Flags::OF | Flags::NX)
}
