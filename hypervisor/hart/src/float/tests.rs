//! Every operation in every rounding mode, result and flags, against Berkeley SoftFloat as
//! specialised for RISC-V.
//!
//! What SoftFloat answers is kept as one digest for each operation, so nothing of it is needed to
//! run the tests. The feature `softfloat` builds it (with a C compiler and CMake) and compares case
//! by case, which tells where a digest differs; new digests are to come from such a run:
//! `cargo test -p hart --release --features softfloat float -- --nocapture`.
//!
//! With `RUN_SLOW_TESTS` there are a hundred times as many random operands.

mod digests;
mod operands;
#[cfg(feature = "softfloat")]
mod oracle;

use super::{Double, Flags, Int, Precision, Rounding, Single};
use digests::DIGESTS;
use operands::{Source, corners, integer, next_to, operand, specials};

#[cfg(feature = "softfloat")]
use oracle::Oracle;
#[cfg(not(feature = "softfloat"))]
trait Oracle {}
#[cfg(not(feature = "softfloat"))]
impl<F: Precision> Oracle for F {}

/// A precision, as the tests see it.
trait Tested: Precision + Oracle {
    /// What `fcvt` converts it to.
    type Other: Tested;
    /// Its letter in mnemonics.
    const LETTER: char;
}

impl Tested for Single {
    type Other = Double;
    const LETTER: char = 's';
}

impl Tested for Double {
    type Other = Single;
    const LETTER: char = 'd';
}

/// What is tested. Comparisons and the class need no rounding mode, and are tested in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Sqrt,
    Fmadd,
    Fmsub,
    Fnmsub,
    Fnmadd,
    Min,
    Max,
    Eq,
    Lt,
    Le,
    Class,
    ToInt(Int),
    FromInt(Int),
    Convert,
}

const INTS: [Int; 4] = [Int::W, Int::Wu, Int::L, Int::Lu];

impl Op {
    fn all() -> impl Iterator<Item = Self> {
        let sums = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::Sqrt];
        let fused = [Self::Fmadd, Self::Fmsub, Self::Fnmsub, Self::Fnmadd];
        let others =
            [Self::Min, Self::Max, Self::Eq, Self::Lt, Self::Le, Self::Class, Self::Convert];
        let integers = INTS.into_iter().flat_map(|int| [Self::ToInt(int), Self::FromInt(int)]);
        sums.into_iter().chain(fused).chain(others).chain(integers)
    }

    fn n_operands(self) -> usize {
        match self {
            Self::Sqrt | Self::Class | Self::ToInt(_) | Self::FromInt(_) | Self::Convert => 1,
            Self::Add | Self::Sub | Self::Mul | Self::Div => 2,
            Self::Min | Self::Max | Self::Eq | Self::Lt | Self::Le => 2,
            Self::Fmadd | Self::Fmsub | Self::Fnmsub | Self::Fnmadd => 3,
        }
    }

    /// Our result.
    fn ours<F: Tested>(self, [a, b, c]: [u64; 3], mode: Rounding) -> (u64, Flags) {
        let truth = |(truth, flags): (bool, Flags)| (u64::from(truth), flags);
        match self {
            Self::Add => super::add::<F>(a, b, mode),
            Self::Sub => super::sub::<F>(a, b, mode),
            Self::Mul => super::mul::<F>(a, b, mode),
            Self::Div => super::div::<F>(a, b, mode),
            Self::Sqrt => super::sqrt::<F>(a, mode),
            Self::Fmadd => super::fmadd::<F>(a, b, c, mode),
            Self::Fmsub => super::fmsub::<F>(a, b, c, mode),
            Self::Fnmsub => super::fnmsub::<F>(a, b, c, mode),
            Self::Fnmadd => super::fnmadd::<F>(a, b, c, mode),
            Self::Min => super::min::<F>(a, b),
            Self::Max => super::max::<F>(a, b),
            Self::Eq => truth(super::eq::<F>(a, b)),
            Self::Lt => truth(super::lt::<F>(a, b)),
            Self::Le => truth(super::le::<F>(a, b)),
            Self::Class => (super::class::<F>(a), Flags::NONE),
            Self::ToInt(int) => super::to_int::<F>(a, int, mode),
            Self::FromInt(int) => super::from_int::<F>(a, int, mode),
            Self::Convert => super::convert::<F, F::Other>(a, mode),
        }
    }
}

fn is_slow() -> bool {
    std::env::var_os("RUN_SLOW_TESTS").is_some()
}

fn n_random() -> u64 {
    if is_slow() { 1_000_000 } else { 10_000 }
}

/// Hands out every combination of special values, then many random ones. Unused operands are zero.
fn tuples<F: Tested>(n_operands: usize, each: &mut dyn FnMut([u64; 3])) {
    let specials = specials::<F>();
    let combined = if n_operands < 3 { specials.clone() } else { corners::<F>() };
    let n_combinations = combined.len().pow(u32::try_from(n_operands).unwrap());
    for number in 0..n_combinations {
        let (mut operands, mut rest) = ([0; 3], number);
        for place in operands.iter_mut().take(n_operands) {
            *place = combined[rest % combined.len()];
            rest /= combined.len();
        }
        each(operands);
    }
    let mut source = Source(1);
    for _ in 0..n_random() {
        let mut operands = [0; 3];
        let mut other = source.next() & (F::SIGN | (F::SIGN - 1));
        for place in operands.iter_mut().take(n_operands) {
            other = operand::<F>(&mut source, &specials, other);
            *place = other;
        }
        // An addend that nearly cancels the product.
        if n_operands == 3 && source.below(4) == 0 {
            let (product, _) = super::mul::<F>(operands[0], operands[1], Rounding::Rne);
            operands[2] = next_to::<F>(&mut source, product);
        }
        each(operands);
    }
}

/// Integers of every length, and those next to powers of two.
fn integers(each: &mut dyn FnMut([u64; 3])) {
    let mut source = Source(2);
    each([0; 3]);
    for _ in 0..n_random() {
        each([integer(&mut source), 0, 0]);
    }
}

/// Numbers of the wider precision that lie next to those of the narrower and half-way between.
fn near_singles(each: &mut dyn FnMut([u64; 3])) {
    let mut source = Source(3);
    let specials = specials::<Single>();
    for _ in 0..n_random() {
        let other = source.next() >> 32;
        let single = operand::<Single>(&mut source, &specials, other);
        let (wide, _) = super::convert::<Single, Double>(single, Rounding::Rne);
        let half = source.below(2) << 28;
        each([wide.wrapping_add(half).wrapping_add(source.below(3)).wrapping_sub(1), 0, 0]);
    }
}

/// What was compared for an operation: how many cases, and the digest of their results and flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Compared {
    n_cases: u64,
    digest: u64,
}

impl Compared {
    fn add(&mut self, result: u64, flags: Flags) {
        self.n_cases += 1;
        for word in [result, flags.bits()] {
            self.digest = (self.digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
}

fn compared<F: Tested>(op: Op) -> Compared {
    let mut compared = Compared::default();
    let mut each = |operands| {
        for mode in Rounding::ALL {
            let (result, flags) = op.ours::<F>(operands, mode);
            #[cfg(feature = "softfloat")]
            oracle::compare::<F>(op, operands, mode, result, flags);
            compared.add(result, flags);
        }
    };
    if matches!(op, Op::FromInt(_)) {
        integers(&mut each);
    } else {
        tuples::<F>(op.n_operands(), &mut each);
    }
    if op == Op::Convert && F::WIDTH == Double::WIDTH {
        near_singles(&mut each);
    }
    compared
}

#[expect(clippy::print_stdout, reason = "how much was compared is to be seen")]
fn report(name: &str, compared: Compared) {
    println!("{name}: {} cases, digest {:#018x}", compared.n_cases, compared.digest);
}

fn all_agree<F: Tested>() {
    let mut differing = Vec::new();
    for op in Op::all() {
        let name = format!("{op:?}.{}", F::LETTER);
        let compared = compared::<F>(op);
        report(&name, compared);
        let expected = DIGESTS.iter().find(|row| row.0 == name);
        let expected = expected.map(|row| if is_slow() { row.2 } else { row.1 });
        if expected != Some(compared.digest) {
            differing.push(name);
        }
    }
    assert!(differing.is_empty(), "unlike SoftFloat: {differing:?}; its feature tells where");
}

#[test]
fn singles_agree() {
    all_agree::<Single>();
}

#[test]
fn doubles_agree() {
    all_agree::<Double>();
}

/// A second witness, for the mode that hosts have: the floating-point unit itself.
#[test]
fn host_agrees() {
    type Host = fn(f64, f64, f64) -> f64;
    let all: [(Op, Host); 5] = [
        (Op::Add, |a, b, _| a + b),
        (Op::Mul, |a, b, _| a * b),
        (Op::Div, |a, b, _| a / b),
        (Op::Sqrt, |a, _, _| a.sqrt()),
        (Op::Fmadd, f64::mul_add),
    ];
    tuples::<Double>(3, &mut |operands| {
        let [a, b, c] = operands.map(f64::from_bits);
        for (op, host) in all {
            let expected = host(a, b, c);
            let (result, _) = op.ours::<Double>(operands, Rounding::Rne);
            let expected = if expected.is_nan() { Double::NAN } else { expected.to_bits() };
            assert_eq!(result, expected, "{op:?}({operands:#x?})");
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
