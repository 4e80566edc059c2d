//! Every operation in every rounding mode, result and flags, against Berkeley SoftFloat as
//! specialised for RISC-V, which is built for these tests only.
//!
//! With `RUN_SLOW_TESTS` a hundred times as many operands; then better with `--release`.

mod operands;

use std::num::FpCategory;

use softfloat_wrapper::{ExceptionFlags, F32, F64, Float, RoundingMode};

use super::{Double, Flags, Int, Precision, Rounding, Single};
use operands::{Source, corners, integer, next_to, operand, specials};

/// A precision that the oracle knows.
trait Oracle: Precision {
    type Soft: Float + Copy;
    fn soft(bits: u64) -> Self::Soft;
    fn bits(soft: Self::Soft) -> u64;
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

    fn category(bits: u64) -> FpCategory {
        f64::from_bits(bits).classify()
    }
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

fn is_slow() -> bool {
    std::env::var_os("RUN_SLOW_TESTS").is_some()
}

#[expect(clippy::print_stdout, reason = "how much was compared is to be seen")]
fn report(name: &str, cases: u64) {
    println!("{name}: {cases} cases agree");
}

/// Compares in every mode, for each of the operand tuples that `each` hands out.
fn compare<const N: usize>(
    name: &str,
    each: impl FnOnce(&mut dyn FnMut([u64; N])),
    ours: impl Fn([u64; N], Rounding) -> (u64, Flags),
    theirs: impl Fn([u64; N], RoundingMode) -> u64,
) {
    let mut cases = 0;
    each(&mut |operands| {
        for mode in Rounding::ALL {
            let (result, flags) = ours(operands, mode);
            ExceptionFlags::default().set();
            let expected = theirs(operands, soft_mode(mode));
            let mut expected_flags = ExceptionFlags::default();
            expected_flags.get();
            let expected = (expected, u64::from(expected_flags.to_bits()));
            assert!(
                (result, flags.bits()) == expected,
                "{name}({operands:#x?}) in {mode:?}: {result:#x} with flags {:#x}, not {:#x?}",
                flags.bits(),
                expected
            );
            cases += 1;
        }
    });
    if is_slow() {
        report(name, cases);
    }
}

/// Hands out every combination of special values, then many random ones.
fn tuples<F: Oracle, const N: usize>(seed: u64) -> impl FnOnce(&mut dyn FnMut([u64; N])) {
    move |each| {
        let specials = specials::<F>();
        let combined = if N < 3 { specials.clone() } else { corners::<F>() };
        let n_combinations = combined.len().pow(u32::try_from(N).unwrap());
        for number in 0..n_combinations {
            let mut rest = number;
            each([(); N].map(|()| {
                let chosen = combined[rest % combined.len()];
                rest /= combined.len();
                chosen
            }));
        }
        let mut source = Source(seed);
        for _ in 0..if is_slow() { 1_000_000 } else { 10_000 } {
            let mut operands = [0; N];
            let mut other = source.next() & (F::SIGN | (F::SIGN - 1));
            for place in &mut operands {
                other = operand::<F>(&mut source, &specials, other);
                *place = other;
            }
            // An addend that nearly cancels the product.
            if N == 3 && source.below(4) == 0 {
                let product =
                    F::soft(operands[0]).mul(F::soft(operands[1]), RoundingMode::TiesToEven);
                operands[2] = next_to::<F>(&mut source, F::bits(product));
            }
            each(operands);
        }
    }
}

fn sums_and_products<F: Oracle>(name: &str) {
    type Ours = fn(u64, u64, Rounding) -> (u64, Flags);
    type Theirs<S> = fn(&S, S, RoundingMode) -> S;
    let all: [(&str, Ours, Theirs<F::Soft>); 4] = [
        ("add", super::add::<F>, |a, b, mode| a.add(b, mode)),
        ("sub", super::sub::<F>, |a, b, mode| a.sub(b, mode)),
        ("mul", super::mul::<F>, |a, b, mode| a.mul(b, mode)),
        ("div", super::div::<F>, |a, b, mode| a.div(b, mode)),
    ];
    for (op, ours, theirs) in all {
        compare(
            &format!("{op}.{name}"),
            tuples::<F, 2>(1),
            |[a, b], mode| ours(a, b, mode),
            |[a, b], mode| F::bits(theirs(&F::soft(a), F::soft(b), mode)),
        );
    }
}

fn roots<F: Oracle>(name: &str) {
    compare(
        &format!("sqrt.{name}"),
        tuples::<F, 1>(2),
        |[a], mode| super::sqrt::<F>(a, mode),
        |[a], mode| F::bits(F::soft(a).sqrt(mode)),
    );
}

fn fused<F: Oracle>(name: &str) {
    type Ours = fn(u64, u64, u64, Rounding) -> (u64, Flags);
    let all: [(&str, Ours, u64, u64); 4] = [
        ("fmadd", super::fmadd::<F>, 0, 0),
        ("fmsub", super::fmsub::<F>, 0, F::SIGN),
        ("fnmsub", super::fnmsub::<F>, F::SIGN, 0),
        ("fnmadd", super::fnmadd::<F>, F::SIGN, F::SIGN),
    ];
    for (op, ours, product_sign, addend_sign) in all {
        compare(
            &format!("{op}.{name}"),
            tuples::<F, 3>(3),
            |[a, b, c], mode| ours(a, b, c, mode),
            |[a, b, c], mode| {
                let (a, c) = (F::soft(a ^ product_sign), F::soft(c ^ addend_sign));
                F::bits(a.fused_mul_add(F::soft(b), c, mode))
            },
        );
    }
}

fn comparisons<F: Oracle>(name: &str) {
    type Ours = fn(u64, u64) -> (bool, Flags);
    type Theirs<S> = fn(&S, S) -> bool;
    let all: [(&str, Ours, Theirs<F::Soft>); 3] = [
        ("feq", super::eq::<F>, |a, b| a.eq(b)),
        ("flt", super::lt::<F>, |a, b| a.lt(b)),
        ("fle", super::le::<F>, |a, b| a.le(b)),
    ];
    for (op, ours, theirs) in all {
        compare(
            &format!("{op}.{name}"),
            tuples::<F, 2>(4),
            |[a, b], _| {
                let (result, flags) = ours(a, b);
                (result.into(), flags)
            },
            |[a, b], _| theirs(&F::soft(a), F::soft(b)).into(),
        );
    }
}

/// What the manual says of `fmin` and `fmax`, in terms of the oracle's quiet comparisons.
fn extreme<F: Oracle>(a: u64, b: u64, is_max: bool) -> u64 {
    let (soft_a, soft_b) = (F::soft(a), F::soft(b));
    // Both raise the invalid flag for a signalling NaN, and both tell whether there is a NaN.
    let (a_is_number, b_is_number) = (soft_a.eq(soft_a), soft_b.eq(soft_b));
    let negative_zero_first = soft_a.eq(soft_b) && a & F::SIGN != 0;
    let a_is_less = soft_a.lt_quiet(soft_b) || negative_zero_first;
    match (a_is_number, b_is_number) {
        (true, true) => {
            if a_is_less == is_max {
                b
            } else {
                a
            }
        }
        (true, false) => a,
        (false, true) => b,
        (false, false) => F::NAN,
    }
}

fn extremes<F: Oracle>(name: &str) {
    for (op, is_max) in [("fmin", false), ("fmax", true)] {
        compare(
            &format!("{op}.{name}"),
            tuples::<F, 2>(5),
            |[a, b], _| if is_max { super::max::<F>(a, b) } else { super::min::<F>(a, b) },
            |[a, b], _| extreme::<F>(a, b, is_max),
        );
    }
}

fn classes<F: Oracle>(name: &str) {
    compare(
        &format!("fclass.{name}"),
        tuples::<F, 1>(6),
        |[a], _| (super::class::<F>(a), Flags::NONE),
        |[a], _| {
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
        },
    );
}

/// A register that holds 32 bits.
fn word(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

fn to_integers<F: Oracle>(name: &str) {
    for int in [Int::W, Int::Wu, Int::L, Int::Lu] {
        compare(
            &format!("fcvt.{int:?}.{name}"),
            tuples::<F, 1>(7),
            |[a], mode| super::to_int::<F>(a, int, mode),
            |[a], mode| match int {
                Int::W => word(F::soft(a).to_i32(mode, true)),
                Int::Wu => word(F::soft(a).to_u32(mode, true).cast_signed()),
                Int::L => F::soft(a).to_i64(mode, true).cast_unsigned(),
                Int::Lu => F::soft(a).to_u64(mode, true),
            },
        );
    }
}

fn integers(each: &mut dyn FnMut([u64; 1])) {
    let mut source = Source(8);
    each([0]);
    for _ in 0..if is_slow() { 1_000_000 } else { 10_000 } {
        each([integer(&mut source)]);
    }
}

fn from_integers<F: Oracle>(name: &str) {
    #[expect(clippy::cast_possible_truncation, reason = "only the low half of a register counts")]
    fn low(register: u64) -> u32 {
        register as u32
    }
    for int in [Int::W, Int::Wu, Int::L, Int::Lu] {
        compare(
            &format!("fcvt.{name}.{int:?}"),
            integers,
            |[value], mode| super::from_int::<F>(value, int, mode),
            |[value], mode| {
                F::bits(match int {
                    Int::W => F::Soft::from_i32(low(value).cast_signed(), mode),
                    Int::Wu => F::Soft::from_u32(low(value), mode),
                    Int::L => F::Soft::from_i64(value.cast_signed(), mode),
                    Int::Lu => F::Soft::from_u64(value, mode),
                })
            },
        );
    }
}

#[test]
fn sums_and_products_agree() {
    sums_and_products::<Single>("s");
    sums_and_products::<Double>("d");
}

#[test]
fn roots_agree() {
    roots::<Single>("s");
    roots::<Double>("d");
}

#[test]
fn fused_agree() {
    fused::<Single>("s");
    fused::<Double>("d");
}

#[test]
fn comparisons_agree() {
    comparisons::<Single>("s");
    comparisons::<Double>("d");
    extremes::<Single>("s");
    extremes::<Double>("d");
    classes::<Single>("s");
    classes::<Double>("d");
}

#[test]
fn conversions_to_integers_agree() {
    to_integers::<Single>("s");
    to_integers::<Double>("d");
}

#[test]
fn conversions_from_integers_agree() {
    from_integers::<Single>("s");
    from_integers::<Double>("d");
}

#[test]
fn conversions_of_precision_agree() {
    compare(
        "fcvt.s.d",
        tuples::<Double, 1>(9),
        |[a], mode| super::convert::<Double, Single>(a, mode),
        |[a], mode| F64::from_bits(a).to_f32(mode).to_bits().into(),
    );
    compare(
        "fcvt.d.s",
        tuples::<Single, 1>(10),
        |[a], mode| super::convert::<Single, Double>(a, mode),
        |[a], mode| Single::soft(a).to_f64(mode).to_bits(),
    );
    // Doubles that lie next to singles and half-way between them.
    let near_singles = |each: &mut dyn FnMut([u64; 1])| {
        let mut source = Source(11);
        let specials = specials::<Single>();
        for _ in 0..if is_slow() { 1_000_000 } else { 10_000 } {
            let other = source.next() >> 32;
            let single = operand::<Single>(&mut source, &specials, other);
            let wide = Single::soft(single).to_f64(RoundingMode::TiesToEven).to_bits();
            let half = source.below(2) << 28;
            each([wide.wrapping_add(half).wrapping_add(source.below(3)).wrapping_sub(1)]);
        }
    };
    compare(
        "fcvt.s.d next to singles",
        near_singles,
        |[a], mode| super::convert::<Double, Single>(a, mode),
        |[a], mode| F64::from_bits(a).to_f32(mode).to_bits().into(),
    );
}

/// A second witness, for the mode that hosts have: the floating-point unit itself.
#[test]
fn host_agrees() {
    type Host = fn(f64, f64, f64) -> f64;
    type Ours = fn(u64, u64, u64) -> u64;
    let all: [(&str, Host, Ours); 5] = [
        ("add", |a, b, _| a + b, |a, b, _| super::add::<Double>(a, b, Rounding::Rne).0),
        ("mul", |a, b, _| a * b, |a, b, _| super::mul::<Double>(a, b, Rounding::Rne).0),
        ("div", |a, b, _| a / b, |a, b, _| super::div::<Double>(a, b, Rounding::Rne).0),
        ("sqrt", |a, _, _| a.sqrt(), |a, _, _| super::sqrt::<Double>(a, Rounding::Rne).0),
        ("fmadd", f64::mul_add, |a, b, c| super::fmadd::<Double>(a, b, c, Rounding::Rne).0),
    ];
    tuples::<Double, 3>(12)(&mut |operands| {
        let [a, b, c] = operands.map(f64::from_bits);
        for (name, host, ours) in all {
            let expected = host(a, b, c);
            let result = ours(operands[0], operands[1], operands[2]);
            let expected = if expected.is_nan() { Double::NAN } else { expected.to_bits() };
            assert_eq!(result, expected, "{name}({operands:#x?})");
        }
    });
}

#[test]
fn signs_are_injected() {
    let (one, minus_two) = (0x3f80_0000, 0xc000_0000);
    assert_eq!(super::sgnj::<Single>(one, minus_two), 0xbf80_0000);
    assert_eq!(super::sgnjn::<Single>(one, minus_two), one);
    assert_eq!(super::sgnjx::<Single>(minus_two, minus_two), 0x4000_0000);
    let nan = Double::NAN | 5;
    assert_eq!(super::sgnj::<Double>(nan, Double::SIGN), nan | Double::SIGN);
    assert_eq!(super::sgnjn::<Double>(nan, 0), nan | Double::SIGN);
    assert_eq!(super::sgnjx::<Double>(nan, Double::SIGN), nan | Double::SIGN);
}

#[test]
fn singles_are_boxed() {
    assert_eq!(Single::boxed(0x3f80_0000), 0xffff_ffff_3f80_0000);
    assert_eq!(Single::unbox(0xffff_ffff_3f80_0000), 0x3f80_0000);
    assert_eq!(Single::unbox(0xffff_fffe_3f80_0000), 0x7fc0_0000);
    assert_eq!(Single::unbox(0x3f80_0000), 0x7fc0_0000);
    assert_eq!(Double::unbox(Double::boxed(7)), 7);
    assert_eq!((Single::NAN, Double::NAN), (0x7fc0_0000, 0x7ff8_0000_0000_0000));
}

#[test]
fn reserved_modes_are_refused() {
    for (encoding, mode) in (0..).zip(Rounding::ALL) {
        assert_eq!(Rounding::of(encoding, 6), Some(mode));
        assert_eq!(Rounding::of(7, encoding.into()), Some(mode));
    }
    for (rm, frm) in [(5, 0), (6, 0), (7, 5), (7, 6), (7, 7)] {
        assert_eq!(Rounding::of(rm, frm), None);
    }
}
