//! F and D by their instructions: registers, boxing, rounding modes and flags around the functions
//! that are compared with Berkeley SoftFloat by themselves.

use hart::float::{self, Double, Flags, Int, Precision, Rounding, Single};
use hart::{Bus, Engine, Halt, Hart, Report, Writer};
use isa::{Cause, Csr, Exception, Extensions, Format, Insn, Op, ROWS};

use crate::ram::{BASE, Ram};
use crate::rng::Rng;

const RD: u8 = 10;
const SOURCES: [u8; 3] = [11, 12, 13];
const MSTATUS_FS: u64 = 3 << 13;
/// FS before each instruction: clean.
const CLEAN: u64 = 2 << 13;

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Illegal,
    X(u64, Flags),
    F(u64, Flags),
}

/// The operands: x and f registers of the same numbers.
#[derive(Clone, Copy, Debug)]
struct Operands {
    x: u64,
    f: [u64; 3],
    rm: u8,
    frm: u64,
}

fn int(name: &str) -> Option<Int> {
    Some(match name {
        "w" => Int::W,
        "wu" => Int::Wu,
        "l" => Int::L,
        "lu" => Int::Lu,
        _ => return None,
    })
}

/// Operations that take their operands from registers of one precision.
fn plain<F: Precision>(name: &str, operands: &Operands) -> Outcome {
    let [a, b, c] = operands.f.map(F::unbox);
    let rounding = Rounding::of(operands.rm, operands.frm);
    let to_f = |(bits, flags): (u64, Flags)| Outcome::F(F::boxed(bits), flags);
    let truth = |(truth, flags): (bool, Flags)| Outcome::X(u64::from(truth), flags);
    let rounded = |f: &dyn Fn(Rounding) -> (u64, Flags)| match rounding {
        Some(mode) => to_f(f(mode)),
        None => Outcome::Illegal,
    };
    match name {
        "fadd" => rounded(&|mode| float::add::<F>(a, b, mode)),
        "fsub" => rounded(&|mode| float::sub::<F>(a, b, mode)),
        "fmul" => rounded(&|mode| float::mul::<F>(a, b, mode)),
        "fdiv" => rounded(&|mode| float::div::<F>(a, b, mode)),
        "fsqrt" => rounded(&|mode| float::sqrt::<F>(a, mode)),
        "fmadd" => rounded(&|mode| float::fmadd::<F>(a, b, c, mode)),
        "fmsub" => rounded(&|mode| float::fmsub::<F>(a, b, c, mode)),
        "fnmsub" => rounded(&|mode| float::fnmsub::<F>(a, b, c, mode)),
        "fnmadd" => rounded(&|mode| float::fnmadd::<F>(a, b, c, mode)),
        "fmin" => to_f(float::min::<F>(a, b)),
        "fmax" => to_f(float::max::<F>(a, b)),
        "fsgnj" => to_f((float::sgnj::<F>(a, b), Flags::NONE)),
        "fsgnjn" => to_f((float::sgnjn::<F>(a, b), Flags::NONE)),
        "fsgnjx" => to_f((float::sgnjx::<F>(a, b), Flags::NONE)),
        "feq" => truth(float::eq::<F>(a, b)),
        "flt" => truth(float::lt::<F>(a, b)),
        "fle" => truth(float::le::<F>(a, b)),
        "fclass" => Outcome::X(float::class::<F>(a), Flags::NONE),
        _ => panic!("{name} has no meaning here"),
    }
}

fn from_int<F: Precision>(int: Int, operands: &Operands) -> Outcome {
    let Some(mode) = Rounding::of(operands.rm, operands.frm) else { return Outcome::Illegal };
    let (bits, flags) = float::from_int::<F>(operands.x, int, mode);
    Outcome::F(F::boxed(bits), flags)
}

fn to_int<F: Precision>(int: Int, operands: &Operands) -> Outcome {
    let Some(mode) = Rounding::of(operands.rm, operands.frm) else { return Outcome::Illegal };
    let (bits, flags) = float::to_int::<F>(F::unbox(operands.f[0]), int, mode);
    Outcome::X(bits, flags)
}

fn convert<From: Precision, To: Precision>(operands: &Operands) -> Outcome {
    let Some(mode) = Rounding::of(operands.rm, operands.frm) else { return Outcome::Illegal };
    let (bits, flags) = float::convert::<From, To>(From::unbox(operands.f[0]), mode);
    Outcome::F(To::boxed(bits), flags)
}

fn outcome(mnemonic: &str, operands: &Operands) -> Outcome {
    let parts: Vec<&str> = mnemonic.split('.').collect();
    match parts[..] {
        // Moves of bits: the narrow ones take the low half as it is, boxed or not.
        ["fmv", "x", "w"] => {
            Outcome::X(((operands.f[0].cast_signed() << 32) >> 32).cast_unsigned(), Flags::NONE)
        }
        ["fmv", "w", "x"] => Outcome::F(operands.x | 0xffff_ffff << 32, Flags::NONE),
        ["fmv", "x", "d"] => Outcome::X(operands.f[0], Flags::NONE),
        ["fmv", "d", "x"] => Outcome::F(operands.x, Flags::NONE),
        ["fcvt", "s", "d"] => convert::<Double, Single>(operands),
        ["fcvt", "d", "s"] => convert::<Single, Double>(operands),
        ["fcvt", "s", from] => from_int::<Single>(int(from).unwrap(), operands),
        ["fcvt", "d", from] => from_int::<Double>(int(from).unwrap(), operands),
        ["fcvt", to, "s"] => to_int::<Single>(int(to).unwrap(), operands),
        ["fcvt", to, "d"] => to_int::<Double>(int(to).unwrap(), operands),
        [name, "s"] => plain::<Single>(name, operands),
        [name, "d"] => plain::<Double>(name, operands),
        _ => panic!("{mnemonic} has no meaning here"),
    }
}

fn fraction(rng: &mut Rng, bits: u32) -> u64 {
    let all = (1u64 << bits) - 1;
    let (first, second) = (rng.below(u64::from(bits)), rng.below(u64::from(bits)));
    match rng.below(7) {
        0 => 0,
        1 => all,
        2 => (u64::MAX << first ^ u64::MAX << second) & all,
        3 => !(u64::MAX << first ^ u64::MAX << second) & all,
        4 => 1 << first | 1 << second,
        5 => 1 << (bits - 1) | rng.below(4),
        _ => rng.next() & all,
    }
}

/// A number at the edges of its format, or next to a power of two that an integer has.
fn number(rng: &mut Rng, exponent_bits: u32, fraction_bits: u32) -> u64 {
    let max = (1u64 << exponent_bits) - 1;
    let bias = max / 2;
    let exponent = match rng.below(8) {
        0 => 0,
        1 => max,
        2 => 1 + rng.below(3),
        3 => max - 1 - rng.below(3),
        4 => bias + rng.pick(&[0, 1, 23, 24, 30, 31, 32, 52, 53, 62, 63, 64]),
        5 => bias - rng.below(70),
        6 => bias + rng.below(70),
        _ => rng.below(max + 1),
    };
    let sign = rng.below(2) << (exponent_bits + fraction_bits);
    sign | exponent << fraction_bits | fraction(rng, fraction_bits)
}

/// A register: mostly of the precision that is wanted, and at times of the other one.
fn register(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0..4 => number(rng, 11, 52),
        4..7 => number(rng, 8, 23) | 0xffff_ffff << 32,
        // Not boxed, by one bit or by many.
        _ => (number(rng, 8, 23) | 0xffff_ffff << 32) ^ 1 << (32 + rng.below(32)),
    }
}

fn integer(rng: &mut Rng) -> u64 {
    match rng.below(5) {
        0 => rng.below(256).wrapping_sub(128),
        1 => (1 << rng.below(64)) + rng.below(3) - 1,
        2 => (1u64 << rng.below(64)).wrapping_neg().wrapping_add(rng.below(3)),
        3 => fraction(rng, 63) << rng.below(2),
        _ => rng.next(),
    }
}

struct Machine {
    hart: Hart,
    ram: Ram,
    engine: Engine<Ram>,
}

impl Machine {
    /// Runs one instruction, and gives what became of it, of `fflags` and of FS.
    fn run(&mut self, op: Op, operands: &Operands, fflags: u64) -> (Outcome, u64, u64) {
        let Operands { x, f, rm, frm } = *operands;
        let [rs1, rs2, rs3] = SOURCES;
        let insn = Insn { rd: RD, rs1, rs2, rs3, rm, ..Insn::new(op) };
        self.ram.store(0, isa::encode(&insn).to_le_bytes(), Writer::Debugger);
        let hart = &mut self.hart;
        SOURCES.into_iter().zip(f).for_each(|(reg, value)| hart.set_f(reg, value));
        hart.set_x(rs1, x);
        for (csr, value) in [(Csr::FCSR, frm << 5 | fflags), (Csr::MSTATUS, CLEAN)] {
            hart.set_csr(&mut self.ram, csr, value);
        }
        let (old_x, old_f) = (hart.x(RD), hart.f(RD));
        hart.set_pc(BASE);
        let limit = hart.steps() + 1;
        let halt = hart.run(&mut self.engine, &mut self.ram, limit);
        let csr = |csr| hart.csr(csr).unwrap();
        let (flags, fs) = (csr(Csr::FFLAGS), csr(Csr::MSTATUS) & MSTATUS_FS);
        let done = if let Halt::Trap(taken) = halt {
            let illegal = Cause::Exception(Exception::IllegalInstruction);
            assert_eq!(taken.trap.cause, illegal, "{op:?} {operands:x?}");
            assert_eq!((hart.x(RD), hart.f(RD)), (old_x, old_f));
            Outcome::Illegal
        } else if is_to_x(op) {
            Outcome::X(hart.x(RD), Flags::NONE)
        } else {
            Outcome::F(hart.f(RD), Flags::NONE)
        };
        (done, flags, fs)
    }
}

fn is_to_x(op: Op) -> bool {
    matches!(op.row().fmt, Format::FpCmp | Format::FpToX | Format::FpToXRm)
}

fn check(machine: &mut Machine, op: Op, operands: &Operands, fflags: u64) {
    let (done, flags, fs) = machine.run(op, operands, fflags);
    let (wanted, raised, to_f) = match outcome(op.row().mnemonic, operands) {
        Outcome::Illegal => (Outcome::Illegal, 0, false),
        Outcome::X(value, flags) => (Outcome::X(value, Flags::NONE), flags.bits(), false),
        Outcome::F(value, flags) => (Outcome::F(value, Flags::NONE), flags.bits(), true),
    };
    // State is dirty if a register or a flag was written, and not otherwise.
    let dirty = to_f || raised != 0;
    let wanted = (wanted, fflags | raised, if dirty { MSTATUS_FS } else { CLEAN });
    assert_eq!((done, flags, fs), wanted, "{} of {operands:x?}", op.row().mnemonic);
}

/// Every instruction of F and D with operands of both precisions, each rounding mode, static and
/// dynamic, the reserved ones as well, and any flags raised before.
#[test]
#[expect(clippy::print_stderr, reason = "how many cases there were is of interest")]
fn instructions_are_the_functions_around_their_registers() {
    let isa = Extensions::ALL;
    let mut machine =
        Machine { hart: Hart::new(0, isa), ram: Ram::new(1), engine: Engine::new(isa, 4) };
    machine.hart.set_report(Report::Everything);
    machine.hart.set_csr(&mut machine.ram, Csr::MSTATUS, CLEAN);
    let mut rng = Rng(0xf10a7);
    let n = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 1_000_000 } else { 5_000 };
    let formats = [
        Format::R4,
        Format::FpRm,
        Format::Fp1Rm,
        Format::Fp,
        Format::FpCmp,
        Format::FpToXRm,
        Format::FpFromXRm,
        Format::FpToX,
        Format::FpFromX,
    ];
    let ops: Vec<Op> =
        ROWS.iter().filter(|row| formats.contains(&row.fmt)).map(|row| row.op).collect();
    for op in &ops {
        for _ in 0..n {
            let f = [0; 3].map(|_| register(&mut rng));
            // Equal and opposite operands are rare otherwise.
            let f = match rng.below(8) {
                0 => [f[0], f[0], f[2]],
                1 => [f[0], f[0] ^ 1 << 63, f[0]],
                2 => [f[0], f[0] ^ 1 << 31, f[1]],
                _ => f,
            };
            let rm = u8::try_from(rng.below(8)).unwrap();
            let operands = Operands { x: integer(&mut rng), f, rm, frm: rng.below(8) };
            check(&mut machine, *op, &operands, rng.below(32));
        }
    }
    eprintln!("{} instructions, {n} cases each", ops.len());
}
