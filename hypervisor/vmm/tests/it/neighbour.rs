//! VMs that take turns on the same harts: each is as if it were alone, whatever its neighbour does.

use driver::{Config, Driver, Harts, Hu, Next, Plane, Scheduler, Shift, VmRequest};
use dv::Dv;
use session::{Inputs, NoInputs, Position, Script};
use vmm::{Host, Rest, Vm, VmConfig};

use crate::dice::Dice;
use crate::machines::{Log, guest, request};
use crate::wild::{self, Wild};

const MEMORY: u64 = 16 << 20;
/// More steps than any guest that ends by itself makes.
const MANY: u64 = 20_000_000;

/// A guest, its vCPUs, so many steps of it, and the steps of a vCPU's turn.
#[derive(Clone, Copy, Debug)]
struct Case {
    guest: &'static str,
    vcpus: usize,
    steps: u64,
    quantum: u64,
}

const fn case(guest: &'static str, vcpus: usize, steps: u64, quantum: u64) -> Case {
    Case { guest, vcpus, steps, quantum }
}

/// Everything about a run that does not depend on where the VM is.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rest: Rest,
    events: (u64, blake3::Hash),
    at: Position,
    state: blake3::Hash,
    console: String,
}

fn seen(vm: &Vm<Hu>, log: &Log, rest: Rest) -> Seen {
    let mut hash = blake3::Hasher::new();
    let mut feed = |bytes: &[u8]| {
        hash.update(bytes);
    };
    vm.dv().digest(&mut feed);
    vm.digest(&mut feed);
    let ram = vm.dv().windows()[0];
    // The stage-2 table, with offsets in RAM in the place of physical addresses.
    for leaf in vm.mappings().unwrap() {
        let (gpa, size, offset) = (leaf.gpa, leaf.size, leaf.hpa - ram.hpa);
        feed(format!("{gpa:x} {size:x} {offset:x} {:?}\n", leaf.rights).as_bytes());
    }
    assert_eq!(vm.dv().driver_calls(), 0);
    let state = hash.finalize();
    Seen { rest, events: log.digest(), at: vm.position(), state, console: log.console.clone() }
}

/// A VM plane with all that is outside of it.
struct Tenant {
    vm: Vm<Hu>,
    log: Log,
    inputs: Box<dyn Inputs>,
    /// What is to be seen at the end.
    seen: Option<Seen>,
}

impl Tenant {
    fn new(hu: Hu, config: VmConfig) -> Self {
        let inputs: Box<dyn Inputs> = match config.name.as_str() {
            "demo" => Box::new(Script::parse("expect Type a line\nsend harts\n").unwrap()),
            _ => Box::new(NoInputs),
        };
        let log = Log::counted_from(hu.windows()[0].hpa);
        Self { vm: Vm::new(hu, config).unwrap(), log, inputs, seen: None }
    }
}

impl Plane for Tenant {
    fn hu(&mut self) -> &mut Hu {
        self.vm.dv_mut()
    }

    fn run(&mut self) -> Next {
        let mut host = Host::new(&mut *self.inputs);
        host.sinks.push(&mut self.log);
        let rest = self.vm.run_on(&mut host);
        drop(host);
        if rest == Rest::StepLimit && self.vm.dv().steps_left() != 0 {
            return Next::Again;
        }
        self.seen = Some(seen(&self.vm, &self.log, rest));
        Next::Over
    }
}

/// Who shares harts.
enum Resident {
    Guest(Box<Tenant>),
    Wild(Box<Wild>),
}

impl Resident {
    /// What was to be seen of a guest when it ended.
    fn seen(self) -> Option<Seen> {
        match self {
            Self::Guest(tenant) => tenant.seen,
            Self::Wild(_) => None,
        }
    }
}

impl Plane for Resident {
    fn hu(&mut self) -> &mut Hu {
        match self {
            Self::Guest(tenant) => tenant.hu(),
            Self::Wild(wild) => wild.hu(),
        }
    }

    fn run(&mut self) -> Next {
        match self {
            Self::Guest(tenant) => tenant.run(),
            Self::Wild(wild) => wild.run(),
        }
    }
}

fn config(case: Case) -> VmConfig {
    let mut config = guest(case.guest, case.vcpus);
    config.memory = MEMORY;
    config
}

fn shared(config: &VmConfig, case: Case) -> VmRequest {
    let harts = Harts::Shared { quantum: case.quantum };
    VmRequest { harts, max_steps: case.steps, ..request(config) }
}

/// With harts of its own, on a machine of its own, in one piece.
fn alone(case: Case) -> Seen {
    let config = config(case);
    let request = VmRequest { harts: Harts::Own, ..shared(&config, case) };
    let fitting = Config { quantum: case.quantum, ..Config::fitting(config.isa, &request) };
    let mut tenant = Tenant::new(Hu::start(fitting, &request).unwrap(), config);
    assert_eq!(tenant.run(), Next::Over);
    tenant.seen.unwrap()
}

/// A machine with that many harts, and with room for three VMs.
fn scheduler(n_harts: usize, shift: u64) -> Scheduler<Resident> {
    let request = VmRequest { vcpus: n_harts, ..VmRequest::new(MEMORY) };
    let fitting = Config::fitting(isa::Extensions::ALL, &request);
    // The quantum of VMs with harts of their own, of which there are none.
    let driver = Driver::new(Config { ram_size: 80 << 20, quantum: 123, ..fitting }).unwrap();
    Scheduler::new(driver, shift)
}

fn add(scheduler: &mut Scheduler<Resident>, case: Case) -> u16 {
    let config = config(case);
    let request = shared(&config, case);
    let tenant = |hu| Resident::Guest(Box::new(Tenant::new(hu, config)));
    scheduler.add(&request, tenant).unwrap()
}

/// All of them on as many harts as the largest one has vCPUs.
fn together(cases: &[Case], shift: u64) -> Vec<Seen> {
    let n_harts = cases.iter().map(|case| case.vcpus).max().unwrap();
    let mut scheduler = scheduler(n_harts, shift);
    let ids: Vec<u16> = cases.iter().map(|case| add(&mut scheduler, *case)).collect();
    let mut left = scheduler.run();
    left.sort_by_key(|(vmid, _)| *vmid);
    assert!(left.iter().map(|(vmid, _)| *vmid).eq(ids));
    left.into_iter().map(|(_, resident)| resident.seen().unwrap()).collect()
}

/// Whoever shares harts sees what it would see alone. Done twice.
#[track_caller]
fn check(cases: &[Case], shifts: &[u64]) {
    let alone: Vec<Seen> = cases.iter().map(|case| alone(*case)).collect();
    for shift in shifts {
        let first = together(cases, *shift);
        for ((case, together), alone) in cases.iter().zip(&first).zip(&alone) {
            assert_eq!(together, alone, "{case:?} in shifts of {shift}");
        }
        assert_eq!(first, together(cases, *shift), "two runs differ");
    }
}

#[test]
fn guests_of_one_vcpu() {
    let guests = ["timer", "wfi", "uart_irq", "fp", "smc", "lr_sc", "amo_fault", "satp_switch"];
    let cases = guests.map(|guest| case(guest, 1, MANY, 10_000));
    for pair in cases.chunks(2) {
        check(pair, &[97, 10_007, u64::MAX]);
    }
    check(&[cases[0], cases[0]], &[1009]);
}

#[test]
fn guests_of_several_vcpus() {
    check(&[case("ipi", 4, MANY, 10_000), case("hsm", 4, MANY, 10_000)], &[97, 10_007]);
    check(&[case("amo_contend", 4, 90_000, 300), case("ipi", 4, MANY, 37)], &[401, u64::MAX]);
    check(&[case("demo", 4, 200_000, 10_000), case("demo", 4, 200_000, 10_000)], &[3001]);
}

#[test]
fn vms_of_different_sizes_and_quanta_on_the_same_harts() {
    check(&[case("demo", 1, 150_000, 10_000), case("amo_contend", 4, 90_000, 211)], &[1009]);
    let three = [
        case("two_stage_fault", 1, MANY, 5000),
        case("hsm", 2, MANY, 10_000),
        case("lr_sc", 3, MANY, 17),
    ];
    check(&three, &[53, 10_000]);
}

/// A switch between any two steps.
#[test]
fn shifts_of_one_step() {
    check(&[case("lr_sc", 2, 5000, 100), case("wfi", 1, MANY, 10_000)], &[1]);
    check(&[case("amo_contend", 2, 4000, 7), case("timer", 1, 4000, 10_000)], &[1]);
}

/// Runs shifts until this VM has left, with something done after each. Says what was seen of it,
/// and of those that left before.
fn until_left(
    scheduler: &mut Scheduler<Resident>,
    victim: u16,
    mut between: impl FnMut(&mut Scheduler<Resident>),
) -> (Seen, Vec<Option<Seen>>) {
    let mut before = Vec::new();
    loop {
        let next = scheduler.planes().next().map(|(vmid, _)| vmid);
        match scheduler.run_shift() {
            Shift::Left(resident) if next == Some(victim) => {
                return (resident.seen().unwrap(), before);
            }
            Shift::Left(resident) => before.push(resident.seen()),
            Shift::Done => {}
            Shift::Nobody => panic!("the victim is gone"),
        }
        between(scheduler);
    }
}

#[test]
fn a_neighbour_that_attacks() {
    let cases = [
        case("demo", 2, 60_000, 500),
        case("amo_contend", 2, 60_000, 300),
        case("timer", 1, MANY, 10_000),
        case("ipi", 4, MANY, 10_000),
    ];
    let mut attackers = 0;
    for case in cases {
        let alone = alone(case);
        for seed in 1..=2 {
            let first = attacked(case, seed);
            assert_eq!(first.0, alone, "{case:?}, seed {seed}");
            assert_eq!(first, attacked(case, seed), "two runs differ");
            attackers += first.1;
        }
    }
    assert!(attackers > 40, "only {attackers} attackers: they hardly did anything");
}

/// What is seen of a VM that always has a wild neighbour, and how many there were.
fn attacked(case: Case, seed: u64) -> (Seen, u32) {
    let mut scheduler = scheduler(4, 499);
    let victim = add(&mut scheduler, case);
    let mut dice = Dice(seed);
    let mut n = 0;
    let (seen, _) = until_left(&mut scheduler, victim, |scheduler| {
        if scheduler.planes().count() == 2 {
            return;
        }
        // When one was killed, the next one has its id and its memory.
        n += 1;
        let wild = |hu| Resident::Wild(Box::new(Wild::new(hu, dice.roll())));
        let vmid = scheduler.add(&wild::request(), wild).unwrap();
        assert_ne!(vmid, victim);
    });
    (seen, n)
}

/// A victim, and a neighbour whose VM plane ends it at a step, or that is taken away about there;
/// then another one that gets its id and its memory. What is seen of the victim and of the heir.
fn death(victim: Case, dying: Case, heir: Case, taken_away: bool) -> (Seen, Seen) {
    let mut scheduler = scheduler(4, 1009);
    let free = scheduler.driver().free_bytes();
    let victim = add(&mut scheduler, victim);
    let after_victim = scheduler.driver().free_bytes();
    let leaving = if taken_away { Case { steps: MANY, ..dying } } else { dying };
    let leaving = add(&mut scheduler, leaving);
    let windows = scheduler.with(leaving, |resident| resident.hu().windows().to_vec()).unwrap();
    let mut replaced = false;
    let (seen, before) = until_left(&mut scheduler, victim, |scheduler| {
        if taken_away && !replaced && steps(scheduler, leaving) >= dying.steps {
            scheduler.remove(leaving).unwrap();
        }
        if !replaced && scheduler.planes().all(|(vmid, _)| vmid != leaving) {
            assert_eq!(scheduler.driver().free_bytes(), after_victim);
            for window in &windows {
                assert!(is_zero(scheduler.driver(), window.hpa, window.size));
            }
            assert_eq!(add(scheduler, heir), leaving, "its id is free");
            replaced = true;
        }
    });
    let after = scheduler.run().into_iter().map(|(_, resident)| resident.seen());
    let heir = before.into_iter().chain(after).next_back().flatten().unwrap();
    assert!(replaced, "the victim ended first");
    assert_eq!(scheduler.driver().free_bytes(), free);
    let (base, size) = (0x8000_0000, scheduler.driver().machine().platform().memory().size());
    assert!(is_zero(scheduler.driver(), base, size as u64));
    (seen, heir)
}

#[test]
fn a_neighbour_that_dies_at_any_step() {
    let victim = case("demo", 2, 60_000, 700);
    let heir = case("lr_sc", 2, MANY, 10_000);
    let alone = (alone(victim), alone(heir));
    let mut dice = Dice(0x5eed);
    for n in 0..20 {
        let dying = case("demo", 4, 1 + dice.below(50_000), 400);
        let run = || death(victim, dying, heir, n % 2 == 0);
        assert_eq!(run(), alone, "the neighbour dies at {}", dying.steps);
        assert_eq!(run(), alone, "two runs differ");
    }
}

fn steps(scheduler: &mut Scheduler<Resident>, vmid: u16) -> u64 {
    scheduler.with(vmid, |resident| resident.hu().steps()).unwrap_or(0)
}

fn is_zero(driver: &Driver, hpa: u64, size: u64) -> bool {
    let memory = driver.machine().platform().memory();
    let mut pages = (hpa..hpa + size).step_by(4096);
    pages.all(|hpa| *memory.slice(hpa, 4096).unwrap() == [0; 4096])
}
