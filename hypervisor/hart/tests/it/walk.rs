//! The hart's translation against the naive one, access by access, with every cache in play.
//!
//! Each step runs one instruction in some mode at some address. The pages hold blocks of an id and
//! of loads and stores, so that a wrong page is seen by its id. Between steps entries of tables
//! change, by stores of the hart and by the VM plane; no fence is ever executed.

use hart::{Engine, Halt, Hart, Report, Trap};
use isa::{Cause, Csr, Exception, Extensions, Mode, Op};

use crate::model::Model;
use crate::ram::{BASE, Ram};
use crate::rng::Rng;
use crate::world::{World, step};

/// Worlds, and steps in each.
const N_WORLDS: u64 = 250;
const N_STEPS: u64 = 400;

fn run_world(seed: u64) -> Counts {
    let mut rng = Rng(seed);
    let mut world = World::new(&mut rng);
    let mut model = Model::new();
    let mut last = [0; 2];
    let mut counts = Counts::default();
    for _ in 0..N_STEPS {
        world.disturb(&mut rng);
        world.aim(&mut rng, &mut last);
        if step(&mut world, &mut model) {
            counts.add(&model);
        }
    }
    counts
}

/// What the steps came to, so that the test cannot become empty unseen.
#[derive(Debug, Default)]
struct Counts {
    compared: u64,
    done: u64,
    faults: u64,
    guest: u64,
}

impl Counts {
    fn add(&mut self, model: &Model) {
        self.compared += 1;
        match model.last {
            Some(Trap { gpa, .. }) => {
                self.faults += 1;
                self.guest += u64::from(gpa != 0);
            }
            None => self.done += 1,
        }
    }
}

#[test]
fn translation_equals_a_fresh_walk_by_the_manual() {
    let mut all = Counts::default();
    let first = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    for seed in first.map_or(0..N_WORLDS, |seed| seed..seed + 1) {
        let counts = std::panic::catch_unwind(|| run_world(seed))
            .unwrap_or_else(|_| panic!("SEED={seed} shows it again"));
        all.compared += counts.compared;
        all.done += counts.done;
        all.faults += counts.faults;
        all.guest += counts.guest;
    }
    if first.is_none() {
        assert!(all.compared > 10_000 && all.done > 2_000, "{all:?}");
        assert!(all.faults > 2_000 && all.guest > 500, "{all:?}");
    }
}

/// The level-1 table is its own level-0 table, so that the walk depends on two of its entries.
#[test]
fn a_table_that_points_at_itself_is_never_stale() {
    let mut ram = Ram::new(8);
    let page = |n: u64| BASE + (n << 12);
    let ppn = |n: u64| page(n) >> 2;
    let load = isa::Insn { rd: 10, rs1: 11, ..isa::Insn::new(Op::Ld) };
    ram.set_word(BASE, u64::from(isa::encode(&load)));
    for (hpa, pte) in [
        (page(2) + 8, ppn(3) | 1),
        (page(2) + 16, ppn(0) | 0xcf),
        (page(3) + 8, ppn(3) | 1),
        (page(3) + 40, ppn(4) | 0xcf),
        (page(4), 0x77),
    ] {
        ram.set_word(hpa, pte);
    }
    let mut hart = Hart::new(0, Extensions::ALL);
    let mut engine = Engine::new(Extensions::ALL, 4);
    hart.set_csr(&mut ram, Csr::PMPADDR0, u64::MAX);
    hart.set_csr(&mut ram, Csr::PMPCFG0, 0x1f);
    hart.set_csr(&mut ram, Csr::SATP, 8 << 60 | page(2) >> 12);
    hart.set_report(Report::Everything);
    hart.set_mode(Mode::Hs);
    hart.set_x(11, 1 << 30 | 1 << 21 | 5 << 12);
    for _ in 0..3 {
        hart.set_pc(BASE);
        let limit = hart.steps() + 1;
        assert_eq!(hart.run(&mut engine, &mut ram, limit), Halt::Limit);
        assert_eq!(hart.x(10), 0x77);
    }
    ram.set_word(page(3) + 8, 0);
    hart.set_pc(BASE);
    let limit = hart.steps() + 1;
    let Halt::Trap(taken) = hart.run(&mut engine, &mut ram, limit) else {
        panic!("the entry is gone, but what came from it is not")
    };
    assert_eq!(taken.trap.cause, Cause::Exception(Exception::LoadPageFault));
}
