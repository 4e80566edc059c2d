//! A hart in a world of random page tables, and one step of it against the model.

use hart::{Engine, Halt, Hart, Report, Writer};
use isa::{Csr, Extensions, Mode, Op};

use crate::model::{Effect, Model};
use crate::ram::{BASE, Ram};
use crate::rng::Rng;
use crate::tables::{FIRST_DATA, N_PAGES, Shape};

/// What a data page is made of.
fn block() -> [u32; 14] {
    let load = |op| word(op, 10, 0);
    let store = |op| word(op, 0, 12);
    [
        load(Op::Ld),
        store(Op::Sd),
        word(Op::AmoaddD, 10, 12),
        load(Op::HlvD),
        load(Op::HlvxWu),
        store(Op::HsvD),
        load(Op::Lb),
        store(Op::Sb),
        load(Op::Ld),
        store(Op::Sw),
        load(Op::LrD),
        load(Op::Lhu),
        load(Op::HulvW),
        load(Op::Ld),
    ]
}

/// The instruction with `a1` as its address.
fn word(op: Op, rd: u8, rs2: u8) -> u32 {
    isa::encode(&isa::Insn { rd, rs1: 11, rs2, ..isa::Insn::new(op) })
}

/// A hart and the world around it.
pub(crate) struct World {
    pub(crate) hart: Hart,
    pub(crate) engine: Engine<Ram>,
    pub(crate) ram: Ram,
    pub(crate) shape: Shape,
}

impl World {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let isa = Extensions::ALL;
        let shape = Shape::random(rng);
        let mut ram = Ram::new(usize::try_from(N_PAGES).unwrap_or(0));
        for (hpa, pte) in shape.fill(rng) {
            ram.set_word(hpa, pte);
        }
        let code = block();
        for start in (FIRST_DATA << 12..N_PAGES << 12).step_by(64) {
            ram.set_word(BASE + start, BASE + start);
            for (i, word) in code.into_iter().enumerate() {
                let offset = usize::try_from(start).unwrap_or(0) + 8 + 4 * i;
                hart::Bus::store(&mut ram, offset, word.to_le_bytes(), Writer::Loader);
            }
        }
        let mut hart = Hart::new(0, isa);
        hart.set_report(Report::Everything);
        let mut world = Self { hart, engine: Engine::new(isa, 64), ram, shape };
        world.open_memory(rng);
        world.new_environment(rng);
        world.new_context(rng);
        world
    }

    fn set(&mut self, csr: Csr, value: u64) {
        self.hart.set_csr(&mut self.ram, csr, value);
    }

    /// PMP and PMC: all is open, and before that there may be a hole of either kind.
    fn open_memory(&mut self, rng: &mut Rng) {
        let everything = u64::MAX >> 10;
        let hole = match rng.below(4) {
            0 => 0,
            1 => 0x18 | rng.below(8),
            2 => 0x38 | rng.below(8),
            _ => 0x08 | rng.below(8) | rng.below(2) << 5,
        };
        let page = (BASE >> 12) + rng.below(N_PAGES);
        let size = rng.below(4);
        let napot = (page << 10) & !((1 << (10 + size)) - 1) | ((1 << (9 + size)) - 1);
        let tor = (page + size) << 10;
        self.set(Csr::PMPADDR0, page << 10);
        self.set(Csr(Csr::PMPADDR0.0 + 1), if hole & 0x18 == 0x18 { napot } else { tor });
        self.set(Csr(Csr::PMPADDR0.0 + 2), everything);
        self.set(Csr(Csr::PMPADDR0.0 + 3), everything);
        let confined = if rng.one_in(10) { 0 } else { 0x3f };
        self.set(Csr::PMPCFG0, hole << 8 | 0x1f << 16 | confined << 24);
    }

    fn new_environment(&mut self, rng: &mut Rng) {
        let bits = |rng: &mut Rng| rng.below(4) << 61;
        let (menvcfg, henvcfg) = (bits(rng), bits(rng));
        self.set(Csr::MENVCFG, menvcfg);
        self.set(Csr::HENVCFG, henvcfg);
    }

    fn new_context(&mut self, rng: &mut Rng) {
        let (satp, gatp) = (self.shape.satp(), self.shape.gatp());
        let asid = rng.below(3) << 44;
        let atps = [satp | asid, satp, 0];
        self.set(Csr::SATP, rng.pick(&atps));
        self.set(Csr::VSATP, rng.pick(&[satp | asid, satp, satp, 0]));
        self.set(Csr::HGATP, rng.pick(&[gatp | asid, gatp, gatp, gatp, 0]));
        self.set(Csr::H_VMID, rng.below(2));
        self.set(Csr::HUGATP, rng.pick(&[gatp, gatp, gatp, 0]));
        let sum_mxr = |rng: &mut Rng| rng.below(4) << 18;
        let mprv = rng.below(2) << 17 | rng.pick(&[0u64, 1, 3]) << 11 | rng.below(2) << 39;
        self.set(Csr::MSTATUS, sum_mxr(rng) | mprv | 3 << 13);
        self.set(Csr::VSSTATUS, sum_mxr(rng) | 3 << 13);
        self.set(Csr::HSTATUS, rng.below(2) << 9 | rng.below(2) << 8);
        self.set(Csr::HUSTATUS, rng.below(2) << 8);
    }

    /// Something other than the hart's own accesses happens.
    pub(crate) fn disturb(&mut self, rng: &mut Rng) {
        match rng.below(16) {
            0..=5 => {
                let (hpa, pte) = self.shape.change(rng);
                self.ram.set_word(hpa, pte);
            }
            6 | 7 => self.new_context(rng),
            8 if rng.one_in(4) => self.new_environment(rng),
            9 if rng.one_in(8) => self.open_memory(rng),
            _ => {}
        }
    }

    /// Chooses a mode, a pc and an address.
    pub(crate) fn aim(&mut self, rng: &mut Rng, last: &mut [u64; 2]) {
        let mode = rng.pick(&[Mode::M, Mode::Hs, Mode::U, Mode::Vs, Mode::Vs, Mode::Vs, Mode::Vu]);
        self.hart.set_mode(mode);
        // Half of the time an address from just before, which should be cached.
        if rng.one_in(2) {
            last[0] = self.shape.address(rng) | rng.below(64) << 6;
        }
        if rng.one_in(2) {
            last[1] = self.shape.address(rng) | rng.below(512) << 3;
        }
        let unaligned = if rng.one_in(8) { rng.below(4096) } else { 0 };
        let pc = if mode == Mode::M || rng.one_in(4) {
            BASE + (FIRST_DATA << 12) + (rng.below(64) << 6)
        } else {
            last[0]
        };
        self.hart.set_pc(pc + 8 + 4 * rng.below(14));
        self.hart.set_x(11, last[1] ^ unaligned);
        let (_, pte) = self.shape.change(rng);
        self.hart.set_x(12, pte);
    }
}

/// Compares one step; false if it was left out.
pub(crate) fn step(world: &mut World, model: &mut Model) -> bool {
    let expected = model.step(&world.hart, &mut world.ram.bytes.clone());
    let Some((effect, bytes)) = expected else { return false };
    let World { hart, engine, ram, .. } = world;
    let before = (hart.pc(), hart.mode(), hart.x(11));
    let limit = hart.steps() + 1;
    let halt = hart.run(engine, ram, limit);
    let found = match halt {
        Halt::Trap(taken) => Effect::Trap(taken.trap),
        Halt::Limit => Effect::Done { a0: hart.x(10) },
        Halt::Waiting
        | Halt::Yield
        | Halt::Breakpoint
        | Halt::Watchpoint(_)
        | Halt::Written
        | Halt::Changed(_) => {
            panic!("the run ended with {halt:?}")
        }
    };
    if effect != found || bytes != ram.bytes {
        let wrong = bytes.iter().zip(&ram.bytes).position(|(a, b)| a != b);
        panic!(
            "pc {:#x} mode {} a1 {:#x}\nexpected {effect:x?}\nfound    {found:x?}\n\
             bytes {wrong:x?}",
            before.0, before.1, before.2
        );
    }
    if halt == Halt::Limit {
        assert_eq!(hart.pc(), before.0 + 4);
    }
    true
}
