//! A VM that is taken to a moment that was saved goes on as it did, and so does another one.

use std::collections::VecDeque;

use devices::virtio::block::Page;
use driver::Hu;
use dv::Dv;
use session::{Idle, Input, Inputs, Position, Script, Stop};
use state::Damaged;
use vmm::{Host, Rest, Vm};

use crate::dice::Dice;
use crate::machines::{Left, Log, assemble, guest, left, request};

const PAGE: usize = 4096;

/// Everything of a VM at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    memory: Vec<(u32, Box<[u8; PAGE]>)>,
    disk: Vec<(u64, Page)>,
    below: Vec<u8>,
    plane: Vec<u8>,
}

fn n_pages(vm: &Vm<Hu>) -> u32 {
    let memory = vm.dv().driver().machine().platform().memory();
    u32::try_from(memory.size() / PAGE).unwrap()
}

pub(crate) fn save(vm: &mut Vm<Hu>) -> Moment {
    let memory = vm.dv().driver().machine().platform().memory();
    let content = |page| Some((page, Box::new(*memory.page(page)?)));
    let memory = (0..n_pages(vm)).filter_map(content).collect();
    let disk = vm.overlay().map_or(Vec::new(), |disk| {
        disk.pages().into_iter().map(|page| (page, disk.page(page).unwrap())).collect()
    });
    let below = state::save(vm.dv_mut());
    Moment { memory, disk, below, plane: state::save(vm) }
}

pub(crate) fn restore(vm: &mut Vm<Hu>, moment: &Moment) -> Result<(), Damaged> {
    let pages = n_pages(vm);
    let memory = vm.dv_mut().driver_mut().machine_mut().memory_mut();
    let mut saved = moment.memory.iter().peekable();
    for page in 0..pages {
        let content = saved.next_if(|(saved, _)| *saved == page);
        memory.put_page(page, content.map(|(_, content)| &**content));
    }
    if let Some(disk) = vm.overlay() {
        for page in disk.pages() {
            disk.put_page(page, None).unwrap();
        }
        for (page, content) in &moment.disk {
            disk.put_page(*page, Some(content.clone())).unwrap();
        }
    }
    state::load(vm.dv_mut(), &moment.below)?;
    state::load(vm, &moment.plane)
}

/// What came in, and at which question: position, guest time, whether it was a wait.
type Came = (Position, u64, bool, Input, u64);

/// Inputs at random, which come at the first question at a position and time only.
struct Live {
    dice: Dice,
    asked: Option<(Position, u64)>,
    came: Vec<Came>,
}

impl Inputs for Live {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        let first = self.asked.replace((at, time_ns)) != Some((at, time_ns));
        if !first || !self.dice.one_in(8) {
            return None;
        }
        let input = Input::Console(self.dice.pick(&[&b"help\n"[..], b"harts\n", b"x"]).to_vec());
        self.came.push((at, time_ns, false, input.clone(), time_ns));
        Some(input)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        match (self.dice.below(4), deadline_ns) {
            (0, _) => Idle::Attention,
            (1, Some(_)) => Idle::Deadline,
            _ => {
                let then = time_ns + self.dice.below(2_000_000);
                let input = Input::Console(b"harts\n".to_vec());
                self.came.push((at, time_ns, true, input.clone(), then));
                Idle::Input { time_ns: then, input }
            }
        }
    }
}

/// The same inputs once more.
#[derive(Clone)]
struct Again(VecDeque<Came>);

impl Again {
    fn take(&mut self, at: Position, time_ns: u64, waits: bool) -> Option<Came> {
        self.0.pop_front_if(|came| (came.0, came.1, came.2) == (at, time_ns, waits))
    }
}

impl Inputs for Again {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        self.take(at, time_ns, false).map(|came| came.3)
    }

    fn idle(&mut self, at: Position, time_ns: u64, _deadline_ns: Option<u64>) -> Idle {
        match self.take(at, time_ns, true) {
            Some((_, _, _, input, time_ns)) => Idle::Input { time_ns, input },
            None => Idle::Deadline,
        }
    }
}

/// A guest, its vCPUs, and so many steps of it.
struct Case {
    guest: &'static str,
    vcpus: usize,
    steps: u64,
}

impl Case {
    fn vm(&self) -> Vm<Hu> {
        let config = guest(self.guest, self.vcpus);
        let request = request(&config);
        assemble(config, &request)
    }

    fn inputs(&self) -> Script {
        Script::parse("expect Type a line\nsleep 1ms\nsend harts\nsleep 20ms\nsend help\n").unwrap()
    }

    fn whole(&self) -> Left {
        let (mut vm, mut log, mut inputs) = (self.vm(), Log::default(), self.inputs());
        run(&mut vm, &mut log, &mut inputs, self.steps);
        left(&vm, &log)
    }
}

/// Runs up to that step.
fn run(vm: &mut Vm<Hu>, log: &mut Log, inputs: &mut dyn Inputs, limit: u64) -> Rest {
    vm.dv_mut().set_max_steps(limit);
    let mut host = Host::new(inputs);
    host.sinks.push(log);
    vm.run_on(&mut host)
}

#[track_caller]
fn check(case: &Case, seed: u64, jumps: u32) {
    let whole = case.whole();
    let mut dice = Dice(seed);
    let mut other = case.vm();
    for _ in 0..jumps {
        let (mut vm, mut log, mut inputs) = (case.vm(), Log::default(), case.inputs());
        let at = dice.below(case.steps);
        run(&mut vm, &mut log, &mut inputs, at);
        let moment = save(&mut vm);
        // On, and back: in the same VM, and in one that was anywhere.
        let then = at + dice.below(case.steps - at);
        run(&mut vm, &mut log.clone(), &mut inputs.clone(), then);
        for vm in [&mut vm, &mut other] {
            restore(vm, &moment).unwrap();
            let again = save(vm);
            assert!(again.below == moment.below && again.plane == moment.plane, "not canonical");
            let (mut log, mut inputs) = (log.clone(), inputs.clone());
            run(vm, &mut log, &mut inputs, case.steps);
            let Case { guest, vcpus, .. } = case;
            assert_eq!(left(vm, &log), whole, "{guest} with {vcpus} vCPUs from step {at}");
        }
    }
}

#[test]
fn a_demo_with_one_vcpu() {
    check(&Case { guest: "demo", vcpus: 1, steps: 250_000 }, 1, 12);
}

#[test]
fn a_demo_with_four_vcpus() {
    check(&Case { guest: "demo", vcpus: 4, steps: 400_000 }, 2, 12);
}

#[test]
fn reservations() {
    check(&Case { guest: "amo_contend", vcpus: 1, steps: 20_000 }, 3, 12);
    check(&Case { guest: "amo_contend", vcpus: 4, steps: 90_000 }, 4, 12);
}

/// Also where the run ends by itself, and is taken back from its end.
#[test]
fn guests_that_end() {
    for name in ["timer", "hsm", "ipi", "uart_irq", "smc", "lr_sc", "wfi"] {
        for vcpus in [1, 4] {
            let case = Case { guest: name, vcpus, steps: 20_000_000 };
            let (mut vm, mut log, mut inputs) = (case.vm(), Log::default(), case.inputs());
            let rest = run(&mut vm, &mut log, &mut inputs, case.steps);
            assert_eq!(rest, Rest::Stopped(Stop::PowerOff), "{name}");
            let steps = vm.dv().steps();
            check(&Case { steps: steps + 1, ..case }, steps, 3);
            // The end is a moment, too.
            let end = save(&mut vm);
            let mut other = case.vm();
            restore(&mut other, &end).unwrap();
            assert_eq!(run(&mut other, &mut log, &mut inputs, case.steps), rest, "{name}");
            assert_eq!(other.position(), vm.position());
        }
    }
}

/// Position, guest time and kind of question say where an input came in, from the begin of a run as
/// from the middle.
#[test]
fn inputs_come_again_where_they_came() {
    for (seed, vcpus) in (1..=12).zip([1, 2, 4].into_iter().cycle()) {
        let case = Case { guest: "demo", vcpus, steps: 300_000 };
        let (mut vm, mut log) = (case.vm(), Log::default());
        let mut live = Live { dice: Dice(seed), asked: None, came: Vec::new() };
        let at = live.dice.below(case.steps);
        run(&mut vm, &mut log, &mut live, at);
        let (moment, log_then, n_then) = (save(&mut vm), log.clone(), live.came.len());
        run(&mut vm, &mut log, &mut live, case.steps);
        let want = left(&vm, &log);
        assert!(live.came.len() > 20, "{} inputs", live.came.len());
        let mut again = Again(live.came.clone().into());
        let (mut other, mut log) = (case.vm(), Log::default());
        run(&mut other, &mut log, &mut again, case.steps);
        assert_eq!(left(&other, &log), want, "from the begin, seed {seed}");
        let mut again = Again(live.came[n_then..].to_vec().into());
        restore(&mut other, &moment).unwrap();
        let mut log = log_then;
        run(&mut other, &mut log, &mut again, case.steps);
        assert_eq!(left(&other, &log), want, "from step {at}, seed {seed}");
        assert!(again.0.is_empty());
    }
}

/// Whatever the bytes are: they are refused, or a VM runs.
#[test]
fn damaged_bytes_make_no_panic() {
    let case = Case { guest: "demo", vcpus: 2, steps: 0 };
    let (mut vm, mut log, mut inputs) = (case.vm(), Log::default(), case.inputs());
    run(&mut vm, &mut log, &mut inputs, 150_000);
    let good = save(&mut vm);
    let mut dice = Dice(5);
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..1500 {
        let mut bad = good.clone();
        for _ in 0..=dice.below(2) {
            match dice.below(8) {
                0 => flip(&mut bad.below, &mut dice),
                1..=5 => flip(&mut bad.plane, &mut dice),
                _ => {
                    // A page at the begin of the table pool, or any other.
                    let n = bad.memory.len() as u64;
                    let at = usize::try_from(dice.below(n)).unwrap();
                    flip(&mut bad.memory[at].1[..], &mut dice);
                }
            }
        }
        if round % 5 == 0 {
            bad.plane.truncate(usize::try_from(dice.below(bad.plane.len() as u64)).unwrap());
        }
        if restore(&mut vm, &bad).is_err() {
            refused += 1;
            if restore(&mut vm, &good).is_err() {
                vm = case.vm();
            }
            continue;
        }
        loaded += 1;
        let limit = vm.dv().steps() + 2000;
        run(&mut vm, &mut Log::default(), &mut inputs.clone(), limit);
        let _ = vm.overview();
        if !matches!(vm.overview().run, session::RunState::Ended(_)) {
            let _ = vm.mappings();
        }
    }
    assert!(loaded > 200 && refused > 200, "{loaded} were loaded, {refused} refused");
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
    bytes[at] = if dice.coin() { bytes[at] ^ 1 << dice.below(8) } else { dice.byte() };
}
