//! Where a run is cut, and who looks at it meanwhile, cannot be seen by the guest or in its events.

use dv::Dv;
use hart::{Access, Halt, Watch};
use session::{Idle, Input, Inputs, NoInputs, Position, Script};
use vmm::layout::RAM_BASE;
use vmm::{Host, Rest, Vm};

use crate::dice::Dice;
use crate::machines::{Left, Log, MEMORY, assemble, guest, left, request};

/// Where the guests are loaded.
const CODE: u64 = RAM_BASE + (2 << 20);
/// Guests with fewer instructions than this; addresses above are data.
const CODE_SIZE: u64 = 0x2800;
/// Halts of the debug module in one run, before nothing is watched any more.
const HALTS_MAX: u32 = 300;

/// A guest, its vCPUs, and so many steps of it.
struct Case {
    guest: &'static str,
    vcpus: usize,
    steps: u64,
}

impl Case {
    fn vm(&self) -> Vm<driver::Hu> {
        let config = guest(self.guest, self.vcpus);
        let request = request(&config);
        assemble(config, &request)
    }

    fn inputs(&self) -> Script {
        Script::parse("expect Type a line\nsleep 1ms\nsend harts\nsleep 20ms\nsend help\n").unwrap()
    }

    /// In one piece, and nobody looks.
    fn whole(&self) -> Left {
        let (mut vm, mut log, mut inputs) = (self.vm(), Log::default(), self.inputs());
        vm.dv_mut().set_max_steps(self.steps);
        let mut host = Host::new(&mut inputs);
        host.sinks.push(&mut log);
        let rest = vm.run_on(&mut host);
        drop(host);
        assert!(matches!(rest, Rest::StepLimit | Rest::Stopped(_)), "{rest:?}");
        left(&vm, &log)
    }

    /// In pieces, and watched. Says how often the debug module halted it, too.
    fn cut(&self, dice: &mut Dice) -> (Left, u32) {
        let (mut vm, mut log, mut inputs) = (self.vm(), Log::default(), self.inputs());
        let mut host = Host::new(&mut inputs);
        host.sinks.push(&mut log);
        let pieces = 1 + dice.below(6);
        let mut cuts: Vec<u64> = (0..pieces).map(|_| dice.below(self.steps)).collect();
        cuts.push(self.steps);
        cuts.sort_unstable();
        let mut halts = 0;
        for limit in cuts {
            vm.dv_mut().set_max_steps(limit);
            loop {
                match vm.run_on(&mut host) {
                    Rest::Debug(vcpu) => {
                        halts += 1;
                        halted(&mut vm, vcpu, dice, halts);
                    }
                    Rest::StepLimit => {
                        assert_eq!(vm.dv().steps(), limit);
                        break;
                    }
                    Rest::Asked | Rest::Stopped(_) => break,
                }
            }
            look(&vm, dice);
            watch(&mut vm, dice, halts);
        }
        drop(host);
        (left(&vm, &log), halts)
    }
}

/// A breakpoint or watchpoint was reached: go on over it, in either way.
fn halted(vm: &mut Vm<driver::Hu>, vcpu: usize, dice: &mut Dice, halts: u32) {
    look(vm, dice);
    if halts >= HALTS_MAX || dice.below(20) == 0 {
        watch(vm, dice, halts);
    }
    // Whoever does not take it lets the next wait go on over it.
    if dice.coin() {
        let (stopped, halt) = vm.dv_mut().stopped_at().unwrap();
        assert_eq!(stopped, vcpu);
        assert!(matches!(halt, Halt::Breakpoint | Halt::Watchpoint(_)), "{halt:?}");
        let driver = vm.dv_mut().driver_mut();
        driver.machine_mut().hart_mut(vcpu).0.pass_once();
    }
}

/// Other breakpoints and watchpoints; none once there were enough halts.
fn watch(vm: &mut Vm<driver::Hu>, dice: &mut Dice, halts: u32) {
    let machine = vm.dv_mut().driver_mut().machine_mut();
    let n = if halts < HALTS_MAX { 1 + dice.below(20) } else { 0 };
    let breakpoints: Vec<u64> = (0..n).map(|_| CODE + dice.below(CODE_SIZE) / 2 * 2).collect();
    machine.set_breakpoints(&breakpoints);
    let n = if halts < HALTS_MAX { dice.below(4) } else { 0 };
    let watches: Vec<Watch> = (0..n)
        .map(|_| Watch {
            start: CODE + dice.below(0x8000),
            len: 1 + dice.below(64),
            load: dice.coin(),
            store: dice.coin(),
        })
        .collect();
    machine.set_watches(&watches);
}

/// Reads whatever there is to read.
fn look(vm: &Vm<driver::Hu>, dice: &mut Dice) {
    let machine = vm.dv().driver().machine();
    let window = vm.dv().windows()[0];
    let mut bytes = vec![0; usize::try_from(1 + dice.below(9000)).unwrap()];
    machine.read(window.hpa + dice.below(MEMORY - 9000), &mut bytes).unwrap();
    for hart in machine.harts() {
        let va = if dice.coin() { CODE + dice.below(1 << 16) } else { dice.roll() };
        for access in [Access::Fetch, Access::Load, Access::Store] {
            let _ = hart.probe_translate(machine.platform(), va, access);
        }
        hart.for_each_word(|_| {});
    }
    vm.mappings().unwrap();
    assert_eq!(vm.overview().driver_calls, 0);
}

#[track_caller]
fn check(case: &Case, seed: u64, splits: u32) {
    let whole = case.whole();
    let mut dice = Dice(seed);
    let mut halts = 0;
    for split in 0..splits {
        let before = dice.0;
        let (cut, n) = case.cut(&mut dice);
        halts += n;
        let Case { guest, vcpus, .. } = case;
        assert_eq!(cut, whole, "{guest} with {vcpus} vCPUs, split {split}, seed {before:#x}");
    }
    assert!(halts > splits, "{halts} halts: hardly anything was watched");
}

#[test]
fn a_demo_with_one_vcpu() {
    check(&Case { guest: "demo", vcpus: 1, steps: 250_000 }, 1, 25);
}

#[test]
fn a_demo_with_four_vcpus() {
    check(&Case { guest: "demo", vcpus: 4, steps: 400_000 }, 2, 25);
}

#[test]
fn reservations_with_one_vcpu() {
    check(&Case { guest: "amo_contend", vcpus: 1, steps: 20_000 }, 3, 25);
}

#[test]
fn reservations_with_four_vcpus() {
    check(&Case { guest: "amo_contend", vcpus: 4, steps: 90_000 }, 4, 25);
}

/// The inputs of a run that is asked to look at its commands, time and again.
struct Interrupted {
    inputs: Script,
    dice: Dice,
    /// Where the last wait was that was not interrupted.
    waited: Option<(Position, u64)>,
    interruptions: u32,
}

impl Inputs for Interrupted {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        self.inputs.next(at, time_ns)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        assert!(deadline_ns.is_none_or(|deadline| deadline > time_ns), "a wait for nothing");
        if self.dice.coin() {
            self.interruptions += 1;
            return Idle::Attention;
        }
        let before = self.waited.replace((at, time_ns));
        assert_ne!(before, Some((at, time_ns)), "asked twice");
        self.inputs.idle(at, time_ns, deadline_ns)
    }

    fn output(&mut self, bytes: &[u8]) {
        self.inputs.output(bytes);
    }
}

#[test]
fn a_wait_that_is_interrupted_goes_on() {
    for vcpus in [1, 4] {
        let case = Case { guest: "demo", vcpus, steps: 400_000 };
        let whole = case.whole();
        let (mut vm, mut log) = (case.vm(), Log::default());
        let dice = Dice(u64::try_from(vcpus).unwrap());
        let inputs = case.inputs();
        let mut inputs = Interrupted { inputs, dice, waited: None, interruptions: 0 };
        vm.dv_mut().set_max_steps(case.steps);
        let mut host = Host::new(&mut inputs);
        host.sinks.push(&mut log);
        let _ = vm.run_on(&mut host);
        drop(host);
        assert!(inputs.interruptions > 0);
        assert_eq!(left(&vm, &log), whole, "{vcpus} vCPUs");
    }
}

/// Also where the run ends by itself.
#[test]
fn guests_that_end() {
    for name in ["timer", "hsm", "ipi", "uart_irq", "smc", "lr_sc", "wfi"] {
        for vcpus in [1, 4] {
            let case = Case { guest: name, vcpus, steps: 20_000_000 };
            let whole = case.whole();
            // One step at a time for a while, then in ever larger pieces.
            let (mut vm, mut log) = (case.vm(), Log::default());
            let mut inputs = NoInputs;
            let mut host = Host::new(&mut inputs);
            host.sinks.push(&mut log);
            let mut limit: u64 = 0;
            let rest = loop {
                limit += 1 + limit.saturating_sub(500) / 16;
                vm.dv_mut().set_max_steps(limit);
                match vm.run_on(&mut host) {
                    Rest::StepLimit => assert_eq!(vm.dv().steps(), limit),
                    rest @ (Rest::Debug(_) | Rest::Asked | Rest::Stopped(_)) => break rest,
                }
            };
            assert_eq!(rest, Rest::Stopped(session::Stop::PowerOff), "{name}");
            assert_eq!(vm.run_on(&mut host), rest, "{name}");
            drop(host);
            assert_eq!(left(&vm, &log), whole, "{name} with {vcpus} vCPUs");
        }
    }
}
