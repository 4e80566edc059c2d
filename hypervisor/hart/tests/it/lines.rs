//! The lines of `tests/*.ins`: each runs instructions from a known state and names what changes.
//!
//! ```text
//! 0x80000000 [aa 87] "c.mv a5,a0"  a0 = 0x10 => a5 = 0x10;
//! ```
//! On the left registers, CSRs (in the order of writing), `mode`, and words of memory
//! (`mem[0x80002000]`); on the right the same, `pc`, `trap = <cause> to <mode>` with `tval`,
//! `tinst` and `gpa`, and `halt = yield` or `wait`. What the right side does not name is as before:
//! all registers, and memory. A line without a trap that names no CSR leaves the CSRs alone too.
//! Several instructions in a line run one after another. `#` begins a comment.

use std::collections::BTreeSet;

use hart::{Bus, Engine, Halt, Hart, Report, Taken, Writer};
use isa::compressed::{COp, CROWS, row_of};
use isa::disasm::Text;
use isa::{Csr, Extensions, Mode, Op, ROWS};

use crate::ram::{BASE, Ram};

const N_PAGES: usize = 16;

struct Line<'a> {
    file: &'a str,
    n: usize,
    text: &'a str,
    pc: u64,
    insns: Vec<(Vec<u8>, &'a str)>,
    before: Vec<(&'a str, &'a str)>,
    after: Vec<(&'a str, &'a str)>,
}

impl Line<'_> {
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        panic!("{}:{}: {what}\n{}", self.file, self.n, self.text.trim())
    }
}

fn number(text: &str) -> Option<u64> {
    let (digits, negative) = text.strip_prefix('-').map_or((text, false), |d| (d, true));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once(" = ")).collect()
}

/// Reads one line without its comment.
fn parse<'a>(file: &'a str, n: usize, text: &'a str) -> Option<Line<'a>> {
    let (pc, mut rest) = text.trim().strip_suffix(';')?.split_once(' ')?;
    let mut insns = Vec::new();
    while let Some(open) = rest.trim_start().strip_prefix('[') {
        let (bytes, tail) = open.split_once(']')?;
        let (name, tail) = tail.trim_start().strip_prefix('"')?.split_once('"')?;
        let bytes: Option<_> = bytes.split(' ').map(|b| u8::from_str_radix(b, 16).ok()).collect();
        insns.push((bytes?, name));
        rest = tail;
    }
    let (before, after) = rest.split_once("=>")?;
    let (before, after) = (pairs(before)?, pairs(after)?);
    Some(Line { file, n, text, pc: number(pc)?, insns, before, after })
}

/// What a name stands for.
enum Place {
    X(u8),
    F(u8),
    Csr(Csr),
    Memory(u64),
}

fn place(name: &str) -> Option<Place> {
    if let Some(address) = name.strip_prefix("mem[") {
        return Some(Place::Memory(number(address.strip_suffix(']')?)?));
    }
    let x = isa::reg::parse_x(name).map(Place::X);
    let x = x.or_else(|| isa::reg::parse_f(name).map(Place::F));
    x.or_else(|| Csr::from_name(name).map(Place::Csr))
}

fn mode(name: &str) -> Option<Mode> {
    Mode::ALL.into_iter().find(|mode| mode.name() == name)
}

/// Everything that a line may change.
struct State {
    hart: Hart,
    ram: Ram,
}

impl State {
    /// M-mode, floating point on, all memory open, each trap vector at a place of its own.
    fn new() -> Self {
        let mut state = Self { hart: Hart::new(0, Extensions::ALL), ram: Ram::new(N_PAGES) };
        for (csr, value) in [
            (Csr::MSTATUS, 3 << 13),
            (Csr::VSSTATUS, 3 << 13),
            (Csr::PMPADDR0, u64::MAX),
            (Csr(Csr::PMPADDR0.0 + 1), u64::MAX),
            (Csr::PMPCFG0, 0x3f1f),
            (Csr::MTVEC, BASE + 0x1000),
            (Csr::STVEC, BASE + 0x1400),
            (Csr::UTVEC, BASE + 0x1800),
            (Csr::VSTVEC, BASE + 0x1c00),
        ] {
            state.hart.set_csr(&mut state.ram, csr, value);
        }
        state.hart.set_report(Report::Everything);
        state
    }

    fn set(&mut self, line: &Line<'_>, name: &str, value: &str) {
        if name == "mode" {
            let Some(mode) = mode(value) else { line.fail("no such mode") };
            return self.hart.set_mode(mode);
        }
        let Some(value) = number(value) else { line.fail(&format!("{name}: no number")) };
        match place(name) {
            Some(Place::X(reg)) => self.hart.set_x(reg, value),
            Some(Place::F(reg)) => self.hart.set_f(reg, value),
            Some(Place::Csr(csr)) => self.hart.set_csr(&mut self.ram, csr, value),
            Some(Place::Memory(hpa)) if self.ram.offset(hpa, 8).is_some() => {
                self.ram.set_word(hpa, value);
            }
            Some(Place::Memory(_)) => line.fail("no RAM there"),
            None => line.fail(&format!("what is {name}?")),
        }
    }

    fn csrs(&self) -> Vec<(&'static str, u64)> {
        let counts = |csr: Csr| matches!(csr.0 & 0xfff, 0xb00..=0xb1f | 0xc00..=0xc1f);
        isa::csr::CSRS
            .iter()
            .filter(|row| !counts(row.csr))
            .map(|row| (row.name, self.hart.csr(row.csr).unwrap_or(0)))
            .collect()
    }
}

/// What the right side asks for, apart from places.
#[derive(Default)]
struct Wanted<'a> {
    pc: Option<u64>,
    trap: Option<&'a str>,
    tval: u64,
    tinst: u64,
    gpa: u64,
    halt: Option<&'a str>,
    mode: Option<Mode>,
    names_csr: bool,
}

fn wanted<'a>(line: &Line<'a>, expected: &mut State) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    for (name, value) in line.after.iter().copied() {
        let number = || number(value).unwrap_or_else(|| line.fail("no number"));
        match name {
            "pc" => wanted.pc = Some(number()),
            "trap" => wanted.trap = Some(value),
            "tval" => wanted.tval = number(),
            "tinst" => wanted.tinst = number(),
            "gpa" => wanted.gpa = number(),
            "halt" => wanted.halt = Some(value),
            "mode" => wanted.mode = mode(value),
            _ => match place(name) {
                Some(Place::Csr(_)) => wanted.names_csr = true,
                Some(Place::X(_) | Place::F(_) | Place::Memory(_)) => {
                    expected.set(line, name, value);
                }
                None => line.fail(&format!("what is {name}?")),
            },
        }
    }
    wanted
}

fn check_trap(line: &Line<'_>, wanted: &Wanted<'_>, taken: &Taken) {
    let found = format!("{} to {}", taken.trap.cause.short_name(), taken.to);
    let trap = &taken.trap;
    let right = wanted.trap == Some(&found)
        && (trap.tval, trap.tinst, trap.gpa) == (wanted.tval, wanted.tinst, wanted.gpa);
    if !right {
        line.fail(&format!("{found}, {trap:x?}"));
    }
}

fn check_places(line: &Line<'_>, expected: &State, found: &State) {
    for reg in 0..32 {
        let (a, b) = (expected.hart.x(reg), found.hart.x(reg));
        if a != b {
            line.fail(&format!("{} is {b:#x}, not {a:#x}", isa::reg::x_name(reg)));
        }
        let (a, b) = (expected.hart.f(reg), found.hart.f(reg));
        if a != b {
            line.fail(&format!("{} is {b:#x}, not {a:#x}", isa::reg::f_name(reg)));
        }
    }
    if expected.ram.bytes != found.ram.bytes {
        let differs = |at: &usize| expected.ram.bytes[*at..at + 8] != found.ram.bytes[*at..at + 8];
        let at = (0..expected.ram.bytes.len()).step_by(8).find(differs).unwrap_or(0);
        let word = u64::from_le_bytes(found.ram.load(at));
        line.fail(&format!("mem[{:#x}] is {word:#x}", BASE + at as u64));
    }
}

fn check_csrs(line: &Line<'_>, wanted: &Wanted<'_>, expected: &State, found: &State) {
    for (name, value) in line.after.iter().copied() {
        if let Some(Place::Csr(csr)) = place(name) {
            let (found, value) = (found.hart.csr(csr), number(value));
            if found != value {
                line.fail(&format!("{name} is {found:x?}, not {value:x?}"));
            }
        }
    }
    if wanted.names_csr || wanted.trap.is_some() {
        return;
    }
    for ((name, before), (_, after)) in expected.csrs().into_iter().zip(found.csrs()) {
        if before != after {
            line.fail(&format!("{name} has become {after:#x} and was {before:#x}"));
        }
    }
}

fn run(line: &Line<'_>) {
    let mut state = State::new();
    for (name, value) in line.before.iter().copied() {
        state.set(line, name, value);
    }
    let mut end = line.pc;
    for (bytes, _) in &line.insns {
        for byte in bytes {
            if let Some(offset) = state.ram.offset(end, 1) {
                state.ram.store(offset, [*byte], Writer::Loader);
            }
            end += 1;
        }
    }
    state.hart.set_pc(line.pc);
    let mut expected = State { hart: state.hart.clone(), ram: state.ram.clone() };
    let wanted = wanted(line, &mut expected);
    let mut engine = Engine::new(Extensions::ALL, 4);
    let limit = state.hart.steps() + line.insns.len() as u64;
    let halt = state.hart.run(&mut engine, &mut state.ram, limit);
    match halt {
        Halt::Trap(taken) => check_trap(line, &wanted, &taken),
        Halt::Yield if wanted.halt == Some("yield") => {}
        Halt::Waiting if wanted.halt == Some("wait") => {}
        Halt::Limit if wanted.trap.is_none() && wanted.halt.is_none() => {}
        Halt::Limit
        | Halt::Waiting
        | Halt::Yield
        | Halt::Breakpoint
        | Halt::Watchpoint(_)
        | Halt::Written
        | Halt::Changed(_) => {
            line.fail(&format!("the run ends with {halt:x?}"));
        }
    }
    check_places(line, &expected, &state);
    check_csrs(line, &wanted, &expected, &state);
    if wanted.mode.is_some_and(|mode| mode != state.hart.mode()) {
        line.fail(&format!("the mode is {}", state.hart.mode()));
    }
    if wanted.trap.is_none() || wanted.pc.is_some() {
        let (found, pc) = (state.hart.pc(), wanted.pc.unwrap_or(end));
        if found != pc {
            line.fail(&format!("pc is {found:#x}, not {pc:#x}"));
        }
    }
}

/// That the bytes mean what the text says; gives what they are.
fn check_text(line: &Line<'_>, seen: &mut Seen) {
    let mut pc = line.pc;
    for (bytes, text) in &line.insns {
        let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let found = Text::of_word(word, pc).to_string();
        if found != *text {
            line.fail(&format!("the bytes mean {found:?}"));
        }
        if let Some(insn) = isa::decode(word) {
            seen.ops.insert(insn.op);
            let half = u16::try_from(word).ok().filter(|_| insn.len == 2);
            seen.compressed.extend(half.and_then(row_of).map(|row| row.op));
        }
        pc += bytes.len() as u64;
    }
}

#[derive(Default)]
struct Seen {
    ops: BTreeSet<Op>,
    compressed: BTreeSet<COp>,
    n_lines: usize,
}

const FILES: &[(&str, &str)] = &[
    ("base.ins", include_str!("../base.ins")),
    ("m.ins", include_str!("../m.ins")),
    ("a.ins", include_str!("../a.ins")),
    ("f.ins", include_str!("../f.ins")),
    ("d.ins", include_str!("../d.ins")),
    ("c.ins", include_str!("../c.ins")),
    ("zba.ins", include_str!("../zba.ins")),
    ("zbb.ins", include_str!("../zbb.ins")),
    ("zbs.ins", include_str!("../zbs.ins")),
    ("zicbo.ins", include_str!("../zicbo.ins")),
    ("zicsr.ins", include_str!("../zicsr.ins")),
    ("privileged.ins", include_str!("../privileged.ins")),
    ("hypervisor.ins", include_str!("../hypervisor.ins")),
    ("dv.ins", include_str!("../dv.ins")),
];

fn each(mut f: impl FnMut(&Line<'_>)) {
    for (file, contents) in FILES {
        for (n, text) in contents.lines().enumerate() {
            let text = text.split('#').next().unwrap_or("");
            if text.trim().is_empty() {
                continue;
            }
            match parse(file, n + 1, text) {
                Some(line) => f(&line),
                None => panic!("{file}:{}: not understood\n{text}", n + 1),
            }
        }
    }
}

#[test]
fn every_line_comes_true() {
    let mut n_wrong = 0;
    each(|line| n_wrong += usize::from(std::panic::catch_unwind(|| run(line)).is_err()));
    assert_eq!(n_wrong, 0, "lines are wrong: see above");
}

#[test]
fn every_line_says_what_its_bytes_mean_and_none_is_missing() {
    let mut seen = Seen::default();
    each(|line| {
        check_text(line, &mut seen);
        seen.n_lines += 1;
    });
    let rows: Vec<_> = ROWS.iter().filter(|row| !seen.ops.contains(&row.op)).collect();
    let missing: Vec<_> = rows.iter().map(|row| row.mnemonic).collect();
    assert!(missing.is_empty(), "no line for {missing:?}");
    let short: Vec<_> = CROWS.iter().filter(|row| !seen.compressed.contains(&row.op)).collect();
    let missing: Vec<_> = short.iter().map(|row| row.mnemonic).collect();
    assert!(missing.is_empty(), "no line for {missing:?}");
    assert!(seen.n_lines > 500, "{}", seen.n_lines);
}
