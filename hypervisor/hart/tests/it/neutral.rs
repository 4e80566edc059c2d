//! However a run is cut, watched or cached, the guest ends in the same state.
//!
//! Random programs: arithmetic, branches, loads and stores, stores to their own code, CSRs, calls,
//! all in a loop of two pages that never ends. Each is run once as it is, and then with other block
//! caches, random limits, breakpoints and watchpoints that are passed, and translations asked for.

use hart::{Access, Bus, Engine, Halt, Hart, Watch, Writer};
use isa::{Csr, Extensions, Insn, Mode, Op};

use crate::ram::{BASE, Ram};
use crate::rng::Rng;

const N_PROGRAMS: u64 = 100;
const N_STEPS: u64 = 4_000;
const N_PAGES: usize = 8;
/// Code, and behind it data that code can reach.
const CODE_END: usize = 0x2000;

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

/// One of eight registers: `x8` holds an address of data, `x9` one of code.
fn reg(rng: &mut Rng) -> u8 {
    rng.pick(&[10, 11, 12, 13, 14, 15, 1, 5])
}

fn insn(rng: &mut Rng) -> Insn {
    let (rd, rs1, rs2) = (reg(rng), reg(rng), reg(rng));
    let imm = |rng: &mut Rng, n: u64| i64::try_from(rng.below(n)).unwrap_or(0);
    match rng.below(20) {
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
        12 => {
            let imm = imm(rng, 2048) & !3;
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
    let mut offset = 0;
    while offset < CODE_END {
        let word = isa::encode(&insn(&mut rng));
        ram.store(offset, word.to_le_bytes(), Writer::Loader);
        offset += 4;
        if rng.one_in(9) && offset < CODE_END {
            // c.addi a0,1: from here on instructions may cross the end of a page.
            ram.store(offset, 0x0505u16.to_le_bytes(), Writer::Loader);
            offset += 2;
        }
    }
    let mut hart = Hart::new(0, isa);
    let handler = BASE + rng.below(0x400) * 4;
    for (csr, value) in [
        (Csr::MSTATUS, 3 << 13 | rng.below(2) << 3),
        (Csr::PMPADDR0, u64::MAX),
        (Csr::PMPCFG0, 0x1f),
        (Csr::MTVEC, handler),
        (Csr::STVEC, handler),
        (Csr::MEPC, BASE + 0x100),
        (Csr::SEPC, BASE + 0x200),
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
    hart.set_x(8, BASE + 0x2800 - 8 * rng.below(300));
    hart.set_x(9, BASE + 0x800 * rng.below(3));
    hart.set_x(5, u64::from(isa::encode(&insn(&mut rng))));
    hart.set_pc(BASE + rng.below(0x100) * 4);
    hart.set_mode(rng.pick(&[Mode::M, Mode::M, Mode::Hs, Mode::U]));
    Machine { hart, ram, engine: Engine::new(isa, n_blocks) }
}

/// Runs up to `limit`; somebody gives a turn back or ends a wait at once.
fn run(machine: &mut Machine, limit: u64) {
    let Machine { hart, ram, engine } = machine;
    loop {
        match hart.run(engine, ram, limit) {
            Halt::Limit | Halt::Waiting => return,
            Halt::Breakpoint | Halt::Watchpoint(_) => hart.pass_once(),
            Halt::Yield | Halt::Trap(_) => {}
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
    let mut far = 0;
    for seed in 0..N_PROGRAMS {
        let mut plain = machine(seed, 1 << 16);
        run(&mut plain, N_STEPS);
        let expected = digest(&plain);
        far += u64::from(plain.hart.steps() == N_STEPS);
        for (i, n_blocks) in [1, 64, 1 << 16].into_iter().enumerate() {
            let mut other = machine(seed, n_blocks);
            let mut rng = Rng(seed << 8 | i as u64);
            let longest = rng.pick(&[1, 3, 40, 1000]);
            while other.hart.steps() < plain.hart.steps() {
                if longest > 100 || rng.one_in(30) {
                    meddle(&mut other, &mut rng);
                }
                let limit = other.hart.steps() + 1 + rng.below(longest);
                run(&mut other, limit.min(N_STEPS));
            }
            let same = digest(&other);
            let at = expected.iter().zip(&same).position(|(a, b)| a != b);
            assert_eq!(at, None, "seed {seed}, {n_blocks} blocks, cut at most {longest} steps");
        }
    }
    assert!(far > N_PROGRAMS / 2, "{far} programs kept running");
}
