//! Hostile guests from a seed: code, page tables, device accesses, SBI calls and virtio drivers at
//! random, on VMs of random shape. Each runs twice, and a third time back and forth, and all runs
//! have to be one.
//!
//! `HOSTILE_SEEDS=0..100000 cargo test --release -p vmm --test it hostile -- --nocapture` runs
//! these seeds and says on standard error how far it is; without the variable a few hundred run. A
//! seed that fails is named with the command that runs it alone.

mod asm;
mod code;
mod guest;
mod host;
mod mmio;
mod sbi;
mod setting;
mod tables;
mod tally;
mod virtio;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use driver::Hu;
use dv::Dv;
use session::{Event, Position, Sink, Stop};
use vmm::layout::RAM_BASE;
use vmm::{Host, Rest, Segment, Vm};

use crate::dice::Dice;
use crate::travel;
use setting::{Behind, Setting, Typing};
use tally::Tally;

/// Seeds that run when nobody asks for others.
const SEEDS: Range<u64> = 0..250;
/// One run in so many has all memory looked at that is not its own.
const OUTSIDE_EVERY: u64 = 16;
/// A console event is a line, or what a device gave at once: no more than a request and what
/// waited before it.
const CONSOLE_EVENT_MAX: usize = 2 << 20;
/// More failures than this end the test at once.
const FAILURES_MAX: usize = 10;

/// All events of a run; of the console's only how many bytes, and their hash.
#[derive(Clone, Debug, Default)]
struct Record {
    events: Vec<Event>,
    console: blake3::Hasher,
    console_bytes: u64,
}

impl Sink for Record {
    fn event(&mut self, event: &Event) {
        if let Event::Console { bytes, seq, step } = event {
            assert!(bytes.len() <= CONSOLE_EVENT_MAX, "{} bytes at once", bytes.len());
            self.console.update(bytes);
            self.console_bytes += bytes.len() as u64;
            self.events.push(Event::Console { seq: *seq, step: *step, bytes: Vec::new() });
        } else {
            self.events.push(event.clone());
        }
    }
}

/// What is left of a run.
#[derive(PartialEq)]
struct Run {
    stop: Stop,
    at: Position,
    events: Vec<Event>,
    console_bytes: u64,
    hashes: [blake3::Hash; 2],
    /// The used indexes of the four queues.
    used: [u16; 4],
    driver_calls: u64,
    n_resets: u64,
}

/// Runs a guest in pieces that end at these steps, and then to its end.
fn run(setting: &Setting, segments: &[Segment], cuts: Option<&[u64]>, outside: bool) -> Run {
    let mut vm = setting.vm(segments, guest::stream_of(0), cuts.is_some());
    let before = outside.then(|| not_its_own(&vm));
    let mut record = Record::default();
    let mut typing = setting.typing();
    let mut host = Host::new(&mut typing);
    host.sinks.push(&mut record);
    let mut stop = Stop::StepLimit;
    for limit in cuts.unwrap_or_default().iter().chain([&setting.max_steps]) {
        vm.dv_mut().set_max_steps(*limit);
        match vm.run_on(&mut host) {
            Rest::StepLimit => assert_eq!(vm.dv().steps(), *limit),
            Rest::Stopped(why) => stop = why,
            Rest::Debug(vcpu) => panic!("vCPU {vcpu} stands before a breakpoint"),
            Rest::Asked => panic!("nobody asks"),
        }
    }
    drop(host);
    if let Some(before) = before {
        assert!(before == not_its_own(&vm), "memory outside of the VM has changed");
    }
    left(&vm, record, stop)
}

/// Runs a guest in such pieces, but after each the run goes on for a while, and is taken back: in
/// the same VM, or in another one.
fn run_back_and_forth(
    setting: &Setting,
    segments: &[Segment],
    cuts: &[u64],
    dice: &mut Dice,
) -> Run {
    let mut vm = setting.vm(segments, guest::stream_of(0), dice.coin());
    let (mut record, mut typing) = (Record::default(), setting.typing());
    for limit in cuts {
        run_to(&mut vm, &mut record, &mut typing, *limit);
        let moment = travel::save(&mut vm);
        let beyond = limit + dice.below(3000);
        run_to(&mut vm, &mut record.clone(), &mut typing.clone(), beyond.min(setting.max_steps));
        if dice.coin() {
            vm = setting.vm(segments, guest::stream_of(0), dice.coin());
        }
        travel::restore(&mut vm, &moment).expect("it was saved");
    }
    let stop = run_to(&mut vm, &mut record, &mut typing, setting.max_steps);
    left(&vm, record, stop)
}

fn run_to(vm: &mut Vm<Hu>, record: &mut Record, typing: &mut Typing, limit: u64) -> Stop {
    let mut host = Host::new(typing);
    host.sinks.push(record);
    vm.dv_mut().set_max_steps(limit);
    match vm.run_on(&mut host) {
        Rest::StepLimit => Stop::StepLimit,
        Rest::Stopped(why) => why,
        Rest::Debug(vcpu) => panic!("vCPU {vcpu} stands before a breakpoint"),
        Rest::Asked => panic!("nobody asks"),
    }
}

fn left(vm: &Vm<Hu>, record: Record, stop: Stop) -> Run {
    let mut state = blake3::Hasher::new();
    let mut feed = |bytes: &[u8]| {
        state.update(bytes);
    };
    vm.dv().driver().digest(&mut feed);
    vm.digest(&mut feed);
    Run {
        stop,
        at: vm.position(),
        events: record.events,
        console_bytes: record.console_bytes,
        hashes: [record.console.finalize(), state.finalize()],
        used: virtio::used_indexes().map(|gpa| half_of(vm, gpa)),
        driver_calls: vm.dv().driver_calls(),
        n_resets: vm.overview().n_resets,
    }
}

/// Two bytes of the guest's RAM.
fn half_of(vm: &Vm<Hu>, gpa: u64) -> u16 {
    let mut bytes = [0; 2];
    vm.dv().read(vm.dv().windows()[0].hpa + gpa - RAM_BASE, &mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}

/// The hash of all memory but the VM's windows.
fn not_its_own(vm: &Vm<Hu>) -> blake3::Hash {
    let memory = vm.dv().driver().machine().platform().memory();
    let end = memory.base() + memory.size() as u64;
    let mut windows: Vec<_> = vm.dv().windows().to_vec();
    windows.sort_by_key(|window| window.hpa);
    let mut hash = blake3::Hasher::new();
    let mut at = memory.base();
    for (begin, size) in windows.iter().map(|window| (window.hpa, window.size)).chain([(end, 0)]) {
        hash.update(memory.slice(at, usize::try_from(begin - at).unwrap()).unwrap());
        at = begin + size;
    }
    hash.finalize()
}

/// Runs the guest of a seed twice, once in pieces and with another block cache, and checks what
/// every run promises.
fn check(seed: u64, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let setting = Setting::draw(&mut dice);
    let segments = guest::guest(&mut dice, &setting);
    let n_cuts = dice.below(4);
    let mut cuts: Vec<u64> = (0..n_cuts).map(|_| dice.below(setting.max_steps)).collect();
    cuts.sort_unstable();
    // A window that the driver adds was outside before.
    let plain = !setting.is_huge() && !setting.is_tight();
    let outside = seed.is_multiple_of(OUTSIDE_EVERY) && plain;
    let first = run(&setting, &segments, None, outside);
    let again = run(&setting, &segments, Some(&cuts), false);
    assert!(
        matches!(
            first.stop,
            Stop::PowerOff | Stop::Failed { .. } | Stop::Reset | Stop::StepLimit | Stop::Deadlock
        ),
        "{:?}",
        first.stop
    );
    assert!(first.at.step <= setting.max_steps, "{:?}", first.at);
    assert!(first.driver_calls == 0 || setting.is_tight(), "{} driver calls", first.driver_calls);
    if let Some(at) =
        (0..first.events.len()).find(|at| first.events.get(*at) != again.events.get(*at))
    {
        let (one, other) = (first.events.get(at), again.events.get(at));
        panic!("event {at} differs between two runs:\n{one:?}\n{other:?}");
    }
    assert_eq!((&first.stop, first.at), (&again.stop, again.at), "two runs end differently");
    assert_eq!(first.hashes, again.hashes, "two runs differ in console or state");
    assert_eq!(first.driver_calls, again.driver_calls, "two runs differ in driver calls");
    // Where the host fails it does so in its own time, which nobody can take back.
    if !setting.is_huge() && setting.behind != Behind::Failing {
        cuts.truncate(2);
        let there = run_back_and_forth(&setting, &segments, &cuts, &mut dice);
        assert!(there == first, "a run that was taken back differs");
    }
    tally.add(&setting, &first);
}

/// The seeds of the environment.
fn asked() -> Option<Range<u64>> {
    let text = std::env::var("HOSTILE_SEEDS").ok()?;
    let ends = text
        .split_once("..")
        .and_then(|(begin, end)| Some(begin.trim().parse().ok()?..end.trim().parse().ok()?));
    Some(
        ends.unwrap_or_else(|| panic!("HOSTILE_SEEDS={text}: expected two numbers, as in 0..1000")),
    )
}

#[test]
fn hostile_guests_end_the_same_way_twice() {
    let seeds = asked();
    let mut watch = host::Watch::new(seeds.is_some());
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for seed in seeds.clone().unwrap_or(SEEDS) {
        watch.before(seed, &tally);
        let done = catch_unwind(AssertUnwindSafe(|| check(seed, &mut tally))).is_ok();
        if !watch.after(seed) || !done {
            let end = seed + 1;
            failed.push(format!(
                "HOSTILE_SEEDS={seed}..{end} cargo test -p vmm --test it hostile -- --nocapture"
            ));
            host::say(&format!("failed, or took too long: {}", failed[failed.len() - 1]));
            if failed.len() > FAILURES_MAX {
                break;
            }
        }
    }
    watch.end(&tally);
    assert!(failed.is_empty(), "seeds failed; to run one of them:\n{}", failed.join("\n"));
    if seeds.is_none() {
        tally.goes_deep();
    }
}
