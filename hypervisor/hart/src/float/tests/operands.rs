//! Operands that lie where arithmetic goes wrong: at the edges of formats and next to each other.

use crate::float::Precision;

/// A generator of which every run gives the same numbers (SplitMix64).
pub(super) struct Source(pub(super) u64);

impl Source {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The bits of a positive number with this biased exponent and this fraction.
fn number<F: Precision>(exponent: u64, fraction: u64) -> u64 {
    let exponent = exponent.min(u64::from(F::EXPONENT_MAX.unsigned_abs()));
    exponent << F::FRACTION | fraction & ((1 << F::FRACTION) - 1)
}

/// The few values that every combination is made of where there are three operands.
pub(super) fn corners<F: Precision>() -> Vec<u64> {
    let bias = u64::from(F::BIAS.unsigned_abs());
    let least_normal = 1 << F::FRACTION;
    both_signs::<F>(&[
        0,
        1,
        least_normal - 1,
        least_normal,
        number::<F>(bias, 0) - 1,
        number::<F>(bias, 0),
        number::<F>(bias, 1),
        number::<F>(bias + 1, 0),
        F::INFINITY - 1,
        F::INFINITY,
        F::INFINITY + 1,
        F::NAN,
    ])
}

/// The values that every combination is made of where there are one or two operands.
pub(super) fn specials<F: Precision>() -> Vec<u64> {
    let bias = u64::from(F::BIAS.unsigned_abs());
    let fraction = u64::from(F::FRACTION);
    let mut magnitudes = vec![2, 3, number::<F>(bias, F::QUIET), F::NAN + 1, F::NAN - 1];
    let exponents =
        [1, fraction, fraction + 1, bias / 2, bias - fraction, bias - 1, bias, bias + 1];
    let integers = [7, 8, 23, 24, 31, 32, 52, 53, 62, 63, 64].map(|power| bias + power);
    for exponent in exponents.into_iter().chain(integers).chain([bias + bias / 2, 2 * bias]) {
        let power = number::<F>(exponent, 0);
        magnitudes.extend([power - 1, power, power + 1]);
    }
    let mut all = both_signs::<F>(&magnitudes);
    all.extend(corners::<F>());
    all
}

fn both_signs<F: Precision>(magnitudes: &[u64]) -> Vec<u64> {
    magnitudes.iter().flat_map(|magnitude| [*magnitude, *magnitude | F::SIGN]).collect()
}

/// Fractions of few runs of equal bits, where carries go far, beside any fraction.
fn fraction<F: Precision>(source: &mut Source) -> u64 {
    let (first, second) = (source.below(64), source.below(64));
    let runs = u64::MAX << first ^ u64::MAX << second;
    match source.below(6) {
        0 => runs,
        1 => !runs,
        2 => 1 << first | 1 << second,
        3 => !(1 << first | 1 << second),
        4 => u64::MAX << (u64::from(F::FRACTION) / 2 + first / 4),
        _ => source.next(),
    }
}

/// An operand; `specials` are those of its precision, `other` is one that it may lie next to.
pub(super) fn operand<F: Precision>(source: &mut Source, specials: &[u64], other: u64) -> u64 {
    let bias = u64::from(F::BIAS.unsigned_abs());
    let width = u64::from(F::SIGNIFICAND);
    let exponent = match source.below(9) {
        0 => return pick(source, specials),
        1 => return source.next() & (F::SIGN | (F::SIGN - 1)),
        2 => return next_to::<F>(source, other),
        3 => source.below(width + 4),
        4 => 2 * bias - source.below(width + 4),
        5 => bias / 2 + source.below(4),
        6 => bias + bias / 2 + source.below(4),
        _ => bias - width - 4 + source.below(width + 4 + 68),
    };
    let magnitude = number::<F>(exponent, fraction::<F>(source));
    magnitude | if source.below(2) == 0 { F::SIGN } else { 0 }
}

pub(super) fn pick(source: &mut Source, from: &[u64]) -> u64 {
    let count = u64::try_from(from.len()).unwrap();
    from[usize::try_from(source.below(count)).unwrap()]
}

/// A few units in the last place or a few binary orders away, of either sign.
pub(super) fn next_to<F: Precision>(source: &mut Source, other: u64) -> u64 {
    let all = F::SIGN | (F::SIGN - 1);
    let step = source.below(9).wrapping_sub(4) << pick(source, &[0, 0, F::FRACTION.into()]);
    let sign = if source.below(2) == 0 { F::SIGN } else { 0 };
    (other.wrapping_add(step) ^ sign) & all
}

/// An integer of any length, often next to a power of two.
pub(super) fn integer(source: &mut Source) -> u64 {
    let power = 1_u64 << source.below(64);
    match source.below(5) {
        0 => source.next(),
        1 => source.next() >> source.below(64),
        2 => (source.next() >> source.below(64)).wrapping_neg(),
        3 => power.wrapping_add(source.below(9)).wrapping_sub(4),
        _ => power.wrapping_add(1 << source.below(64)).wrapping_neg(),
    }
}
