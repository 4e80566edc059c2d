//! However a run is cut, watched or cached, the guest ends in the same state.
//!
//! Random programs: arithmetic, branches, loads and stores, stores to their own code, CSRs, calls,
//! all in a kilobyte that lies in two pages. Each is run once as it is, and then with other block
//! caches, random limits, breakpoints and watchpoints that are passed, and translations asked for.

use hart::{Access, Bus, Engine, Halt, Hart, Watch, Writer};
use isa::{Csr, Extensions, Insn, Mode, Op};

use crate::ram::{BASE, Ram};
use crate::rng::Rng;

const N_PROGRAMS: u64 = 50;
const N_STEPS: u64 = 4_000;
/// After so many steps the program goes on at another place, lest it stay in a small loop.
const N_KICK: u64 = 40;
const N_PAGES: usize = 8;
/// Code stands around the end of a page, so little of it that it soon changes what it has run.
const CODE: std::ops::Range<usize> = 0xe00..0x1200;

const PLAIN: &[Op] = &[
    Op::Add,
    Op::Sub,
    Op::Xor,
    Op::Mul,
    Op::Divu,
    Op::Sltu,
    Op::Sraw,
    Op::Andn,
    Op::Cpop,
    Op::AmoaddD,
    Op::LrD,
    Op::ScD,
    Op::FaddD,
    Op::FcvtDL,
    Op::FmvXD,
];
const MEMORY: &[Op] = &[Op::Ld, Op::Lw, Op::Lbu, Op::Sd, Op::Sw, Op::Sb, Op::Fld, Op::Fsd];
const BRANCHES: &[Op] = &[Op::Beq, Op::Bne, Op::Bltu, Op::Bge];
const SYSTEM: &[Op] =
    &[Op::Ecall, Op::Ebreak, Op::FenceI, Op::Pause, Op::Mret, Op::Sret, Op::SfenceVma, Op::Huret];
const CSRS: &[Csr] = &[
    Csr::INSTRET,
    Csr::CYCLE,
    Csr::TIME,
    Csr::MSCRATCH,
    Csr::SSCRATCH,
    Csr::FCSR,
    Csr::MIP,
    Csr::MIE,
    Csr::SIP,
    Csr::MCAUSE,
    Csr::STIMECMP,
    Csr::MINSTRET,
    Csr::SATP,
];

/// One of the registers for numbers: `x8` holds an address of data, `x9` one of code,
/// `x16` to `x22` instructions.
fn reg(rng: &mut Rng) -> u8 {
    rng.pick(&[10, 11, 12, 13, 14, 15, 1, 5])
}

fn insn(rng: &mut Rng) -> Insn {
    let (rd, rs1, rs2) = (reg(rng), reg(rng), reg(rng));
    let imm = |rng: &mut Rng, n: u64| i64::try_from(rng.below(n)).unwrap_or(0);
    match rng.below(21) {
        0..=6 => {
            let op = rng.pick(PLAIN);
            let atomic = matches!(op, Op::AmoaddD | Op::LrD | Op::ScD);
            Insn { rd, rs1: if atomic { 8 } else { rs1 }, rs2, ..Insn::new(op) }
        }
        7 | 8 => Insn { rd, rs1, imm: imm(rng, 4096) - 2048, ..Insn::new(Op::Addi) },
        9..=11 => {
            let imm = imm(rng, 2048);
            Insn { rd, rs1: 8, rs2, imm, ..Insn::new(rng.pick(MEMORY)) }
        }
        // Its own code: a legal instruction or anything else.
        12 | 19 => {
            let imm = imm(rng, 0x400) & !3;
            let rs2 = rng.pick(&[rs2, 16, 17, 18, 19, 20, 21, 22]);
            Insn { rs1: 9, rs2, imm, ..Insn::new(Op::Sw) }
        }
        13 | 14 => {
            let imm = (imm(rng, 64) - 24) * 4;
            Insn { rs1, rs2, imm, ..Insn::new(rng.pick(BRANCHES)) }
        }
        15 => Insn { rd: 1, imm: (imm(rng, 512) - 256) * 4, ..Insn::new(Op::Jal) },
        16 => Insn { rd, imm: imm(rng, 8) << 12, ..Insn::new(Op::Auipc) },
        17 | 18 => {
            let csr = i64::from(rng.pick(CSRS).0);
            let op = rng.pick(&[Op::Csrrs, Op::Csrrw, Op::Csrrc, Op::Csrrs]);
            let rs1 = if rng.one_in(2) { 0 } else { rs1 };
            Insn { rd, rs1, imm: csr, ..Insn::new(op) }
        }
        _ => Insn::new(rng.pick(SYSTEM)),
    }
}

struct Machine {
    hart: Hart,
    ram: Ram,
    engine: Engine<Ram>,
}

/// The same machine for the same seed, but for the size of the block cache.
fn machine(seed: u64, n_blocks: usize) -> Machine {
    let mut rng = Rng(seed);
    let isa = Extensions::ALL;
    let mut ram = Ram::new(N_PAGES);
    let mut offset = CODE.start;
    while offset < CODE.end {
        let word = isa::encode(&insn(&mut rng));
        ram.store(offset, word.to_le_bytes(), Writer::Loader);
        offset += 4;
        if rng.one_in(9) && offset < CODE.end {
            // c.addi a0,1: from here on instructions may cross the end of a page.
            ram.store(offset, 0x0505u16.to_le_bytes(), Writer::Loader);
            offset += 2;
        }
    }
    let mut hart = Hart::new(0, isa);
    let handler = within(&mut rng);
    for (csr, value) in [
        (Csr::MSTATUS, 3 << 13 | rng.below(2) << 3),
        (Csr::PMPADDR0, u64::MAX),
        (Csr::PMPCFG0, 0x1f),
        (Csr::MTVEC, handler),
        (Csr::STVEC, handler),
        (Csr::MEPC, handler + 8),
        (Csr::SEPC, handler + 16),
        (Csr::MEDELEG, rng.next()),
        (Csr::MIDELEG, rng.next()),
        (Csr::MIE, rng.next()),
        (Csr::MENVCFG, 1 << 63),
        (Csr::STIMECMP, rng.below(60)),
        (Csr::MCOUNTEREN, 7),
    ] {
        hart.set_csr(&mut ram, csr, value);
    }
    for reg in 1..32 {
        hart.set_x(reg, rng.next() >> rng.below(64));
        hart.set_f(reg, rng.next());
    }
    hart.set_mode(rng.pick(&[Mode::M, Mode::M, Mode::Hs, Mode::U]));
    let mut machine = Machine { hart, ram, engine: Engine::new(isa, n_blocks) };
    kick(&mut machine, seed);
    machine
}

fn within(rng: &mut Rng) -> u64 {
    BASE + CODE.start as u64 + rng.below(0x100) * 4
}

/// Goes on elsewhere, with fresh instructions to store.
fn kick(machine: &mut Machine, seed: u64) {
    let mut rng = Rng(seed ^ machine.hart.steps() << 32);
    let hart = &mut machine.hart;
    hart.set_x(8, BASE + 0x2800 - 8 * rng.below(300));
    hart.set_x(9, BASE + CODE.start as u64);
    for reg in 16..23 {
        hart.set_x(reg, u64::from(isa::encode(&insn(&mut rng))));
    }
    hart.set_pc(within(&mut rng));
}

/// Runs to the next kick, cut by `limits`; false when all is done.
fn leg(machine: &mut Machine, seed: u64, mut limits: impl FnMut(&mut Machine) -> u64) -> bool {
    let end = machine.hart.steps() / N_KICK * N_KICK + N_KICK;
    while machine.hart.steps() < end {
        let before = machine.hart.steps();
        let limit = limits(machine).min(end);
        run(machine, limit);
        if machine.hart.steps() == before {
            return false;
        }
    }
    kick(machine, seed);
    end < N_STEPS
}

/// Runs up to `limit`; somebody gives a turn back or ends a wait at once.
fn run(machine: &mut Machine, limit: u64) {
    let Machine { hart, ram, engine } = machine;
    loop {
        match hart.run(engine, ram, limit) {
            Halt::Limit | Halt::Waiting => return,
            Halt::Breakpoint | Halt::Watchpoint(_) => hart.pass_once(),
            Halt::Yield | Halt::Trap(_) | Halt::Written | Halt::Changed(_) => {}
        }
        if hart.steps() >= limit {
            return;
        }
    }
}

fn digest(machine: &Machine) -> Vec<u64> {
    let mut words = Vec::new();
    machine.hart.for_each_word(|word| words.push(word));
    let bytes = machine.ram.bytes.chunks_exact(8);
    words.extend(bytes.map(|b| u64::from_le_bytes(std::array::from_fn(|i| b[i]))));
    words
}

/// What a debugger might do between two runs.
fn meddle(machine: &mut Machine, rng: &mut Rng) {
    let Machine { hart, ram, engine } = machine;
    let place = |rng: &mut Rng| BASE + rng.below(N_PAGES as u64 * 0x1000);
    match rng.below(5) {
        0 => {
            let stops: Vec<u64> = (0..rng.below(12)).map(|_| place(rng) & !1 & !0x6000).collect();
            engine.set_cuts(stops.iter().copied());
            hart.set_breakpoints(stops);
        }
        1 => {
            let watch = |rng: &mut Rng| Watch {
                start: place(rng),
                len: 1 + rng.below(64),
                load: rng.one_in(2),
                store: rng.one_in(2),
            };
            hart.set_watches((0..rng.below(3)).map(|_| watch(rng)).collect());
        }
        2 => {
            for access in [Access::Fetch, Access::Load, Access::Store] {
                let _ = hart.probe_translate(ram, place(rng), access);
            }
        }
        3 => engine.clear(),
        _ => {}
    }
}

#[test]
fn cuts_caches_and_watching_change_nothing() {
    let (mut far, mut changed) = (0, 0);
    for seed in 0..N_PROGRAMS {
        let mut plain = machine(seed, 1 << 16);
        while leg(&mut plain, seed, |_| u64::MAX) {}
        let expected = digest(&plain);
        changed += plain.ram.n_changes();
        far += u64::from(plain.hart.steps() == N_STEPS);
        for (i, n_blocks) in [1, 64, 1 << 16].into_iter().enumerate() {
            let mut other = machine(seed, n_blocks);
            let mut rng = Rng(seed << 8 | i as u64);
            let longest = rng.pick(&[1, 3, 17, 40]);
            while leg(&mut other, seed, |machine| {
                if rng.one_in(8) {
                    meddle(machine, &mut rng);
                }
                machine.hart.steps() + 1 + rng.below(longest)
            }) {}
            let same = digest(&other);
            let at = expected.iter().zip(&same).position(|(a, b)| a != b);
            assert_eq!(at, None, "seed {seed}, {n_blocks} blocks, cut at most {longest} steps");
        }
    }
    assert!(far > N_PROGRAMS / 2, "{far} programs kept running");
    assert!(changed > 50 * N_PROGRAMS, "{changed} stores to code");
}

#[test]
fn every_byte_of_an_instruction_that_was_run_counts() {
    let isa = Extensions::ALL;
    let place = 0x808;
    for byte in 0..8 {
        let mut ram = Ram::new(1);
        let mut engine = Engine::new(isa, 64);
        // addi a0,a0,1 twice, in one block.
        ram.store(place, 0x0015_0513_0015_0513_u64.to_le_bytes(), Writer::Loader);
        let mut hart = Hart::new(0, isa);
        let mut twice = |hart: &mut Hart, ram: &mut Ram| {
            hart.set_pc(BASE + place as u64);
            let limit = hart.steps() + 2;
            let _ = hart.run(&mut engine, ram, limit);
            hart.pc()
        };
        assert_eq!(twice(&mut hart, &mut ram), BASE + place as u64 + 8);
        let before = hart.x(10);
        ram.store(place + byte, [0xff], Writer::Hart);
        twice(&mut hart, &mut ram);
        assert_ne!(hart.x(10), before + 2, "byte {byte}");
    }
}
