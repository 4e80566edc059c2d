//! Watched writes and CSRs, against single steps that look at everything after each one.

use std::ops::Range;

use hart::{CannotWatch, CsrChange, Halt, Writer};
use isa::Csr;
use machine::{BARE_RAM_BASE, BareMachine, Rest, Write};
use proptest::prelude::*;

use crate::programs::digest;
use crate::rig::{DATA, RAM, busy, random, run};

/// What single steps see.
struct Naive {
    /// For each step its hart and the pc before it.
    steps: Vec<(usize, u64)>,
    /// For each step the watched bytes after it.
    bytes: Vec<Vec<u8>>,
    /// What the devices left there before the step.
    before: Vec<Vec<u8>>,
    end: Vec<u8>,
}

fn bytes(machine: &BareMachine, range: &Range<u64>) -> Vec<u8> {
    let len = usize::try_from(range.end - range.start).unwrap();
    machine.machine().platform().memory().slice(range.start, len).unwrap().to_vec()
}

/// The number of steps and the pc of each hart.
fn harts(machine: &BareMachine) -> Vec<(u64, u64)> {
    machine.machine().harts().iter().map(|hart| (hart.steps(), hart.pc())).collect()
}

/// Makes so many single steps, and shows the machine before and after each of them.
fn step_by_step(
    machine: &mut BareMachine,
    n: u64,
    mut after: impl FnMut(&mut BareMachine, (usize, u64)),
) {
    for _ in 0..n {
        let before = harts(machine);
        if run(machine, 1) != Rest::StepLimit {
            return;
        }
        let now = harts(machine);
        let hart = (0..now.len()).find(|hart| now[*hart].0 != before[*hart].0).unwrap();
        after(machine, (hart, before[hart].1));
    }
}

fn naive(mut machine: BareMachine, n: u64, range: &Range<u64>) -> Naive {
    let mut naive =
        Naive { steps: Vec::new(), bytes: Vec::new(), before: Vec::new(), end: Vec::new() };
    run(&mut machine, 1);
    naive.before.push(bytes(&machine, range));
    step_by_step(&mut machine, n, |machine, step| {
        naive.steps.push(step);
        naive.bytes.push(bytes(machine, range));
    });
    naive.end = digest(&machine);
    naive
}

/// Runs on, whatever a watcher is told.
fn run_through(machine: &mut BareMachine, n: u64, mut told: impl FnMut(&mut BareMachine, Halt)) {
    let limit = machine.machine().steps() + n;
    loop {
        let left = limit - machine.machine().steps();
        match run(machine, left) {
            Rest::Debug { halt, .. } => told(machine, halt),
            Rest::StepLimit | Rest::Asked | Rest::Stopped(_) => return,
        }
    }
}

/// Makes these writes and says what is then there.
fn apply(bytes: &mut [u8], range: &Range<u64>, write: &Write) {
    for i in 0..write.len {
        let hpa = write.hpa + u64::from(i);
        if range.contains(&hpa) {
            let at = usize::try_from(hpa - range.start).unwrap();
            assert_eq!(bytes[at], write.old[usize::from(i)], "{write:x?}");
            bytes[at] = write.new[usize::from(i)];
        }
    }
}

/// The log explains every change of every step, and names who made it.
fn compare_writes(naive: &Naive, range: &Range<u64>, log: &[Write]) {
    let mut now = naive.before[0].clone();
    let mut rest = log.iter().peekable();
    // What devices write at the end of a slice is part of the step before it.
    for (step, (after, who)) in (1u64..).zip(naive.bytes.iter().zip(&naive.steps)) {
        while let Some(write) = rest.next_if(|write| write.step <= step) {
            assert_eq!(write.step, step, "out of order: {write:x?}");
            apply(&mut now, range, write);
            match write.writer {
                Writer::Hart | Writer::Walker => {
                    assert_eq!((write.hart, write.pc), (Some(who.0), who.1), "{write:x?}");
                }
                Writer::Dma | Writer::VmPlane | Writer::Debugger | Writer::Loader => {
                    assert_eq!(write.hart, None);
                }
            }
        }
        assert!(now == *after, "step {step} by {who:x?}: not all that changed was logged");
    }
    assert_eq!(rest.next(), None);
}

fn range() -> impl Strategy<Value = Range<u64>> {
    let few = (0..RAM - 64, 1..64_u64).prop_map(|(at, len)| at..at + len);
    let page = (0..RAM / 4096 - 3, 1..3_u64).prop_map(|(page, n)| page * 4096..(page + n) * 4096);
    // Page tables, code, and what programs work on.
    let hot = (0..9_u64).prop_map(|i| (128 + 16 * i) << 12..(128 + 16 * (i + 1)) << 12);
    let busy = prop_oneof![
        Just(0x1_0000..0x1_0008),
        Just(0x1_0040..0x1_0080),
        Just(0x1_0ffc..0x1_1004),
        Just(0x1_3000..0x1_3010),
        Just(0x1_4ff8..0x1_5008),
        Just(0x1_0000..0x1_6000),
    ];
    prop_oneof![1 => few, 1 => page, 3 => hot, 3 => busy]
        .prop_map(|range| BARE_RAM_BASE + range.start..BARE_RAM_BASE + range.end)
}

fn fresh(seed: Option<u64>) -> BareMachine {
    let mut machine = seed.map_or_else(busy, |seed| random(seed, 2));
    // Nothing is loaded before the first step.
    run(&mut machine, 1);
    machine
}

fn machine_of(seed: Option<u64>) -> BareMachine {
    seed.map_or_else(busy, |seed| random(seed, 2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_log_names_every_write(
        seed in prop::option::weighted(0.7, 0..1000_u64), n in 1..3000_u64, range in range(),
    ) {
        let naive = naive(machine_of(seed), n, &range);
        let mut machine = fresh(seed);
        machine.machine_mut().watch_writes(std::slice::from_ref(&range), false);
        run_through(&mut machine, n, |_, halt| panic!("{halt:?}"));
        let log = machine.machine_mut().take_writes();
        compare_writes(&naive, &range, &log);
        prop_assert!(digest(&machine) == naive.end, "watching changes nothing");
    }

    #[test]
    fn the_run_comes_back_after_each_step_that_wrote(
        seed in prop::option::weighted(0.7, 0..1000_u64), n in 1..2000_u64, range in range(),
    ) {
        let naive = naive(machine_of(seed), n, &range);
        let mut machine = fresh(seed);
        machine.machine_mut().watch_writes(std::slice::from_ref(&range), true);
        let mut log = Vec::new();
        run_through(&mut machine, n, |machine, halt| {
            assert_eq!(halt, Halt::Written);
            let steps = machine.machine().steps();
            let writes = machine.machine_mut().take_writes();
            let last = writes.last().unwrap().step;
            assert_eq!(last + 1, steps, "{writes:x?}");
            let by_harts = writes.iter().filter(|write| write.hart.is_some());
            assert!(by_harts.clone().all(|write| write.step == last), "{writes:x?}");
            log.extend(writes);
        });
        log.extend(machine.machine_mut().take_writes());
        compare_writes(&naive, &range, &log);
        prop_assert!(digest(&machine) == naive.end, "watching changes nothing");
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_change_of_a_csr_is_told(
        seed in prop::option::weighted(0.8, 0..1000_u64),
        n in 1..2000_u64,
        csr in any_csr(),
    ) {
        let mut want = Vec::new();
        let mut naive = fresh(seed);
        let mut last = read(&mut naive, csr);
        let mut step = naive.machine().steps();
        step_by_step(&mut naive, n, |machine, (hart, pc)| {
            let new = read(machine, csr);
            if new != last {
                want.push((last, new, step, (hart == 0).then_some(pc)));
            }
            (last, step) = (new, step + 1);
        });
        let mut machine = fresh(seed);
        machine.machine_mut().watch_csr(0, Some(csr)).unwrap();
        let mut told = Vec::new();
        run_through(&mut machine, n, |machine, halt| {
            let Halt::Changed(CsrChange { csr: of, old, new, step, pc }) = halt else {
                panic!("{halt:?}")
            };
            assert_eq!(of, csr);
            assert_eq!(machine.machine().steps(), step + u64::from(pc.is_some()));
            told.push((old, new, step, pc));
        });
        prop_assert!(digest(&machine) == digest(&naive), "watching changes nothing");
        // Between the steps of this hart, only what it is told of its wires and the time changes.
        if !is_timed(csr) {
            prop_assert_eq!(told, want);
        } else {
            let by_step = |list: &[(u64, u64, u64, Option<u64>)]| {
                list.iter().filter(|change| change.3.is_some()).copied().collect::<Vec<_>>()
            };
            prop_assert!(by_step(&told).iter().all(|change| want.iter().any(|w| w.2 == change.2)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_hart_stops_before_the_step_that_it_may_not_make(
        seed in prop::option::weighted(0.8, 0..1000_u64), n in 1..2000_u64, part in 0..100_u64,
    ) {
        let mut naive = fresh(seed);
        let begin = harts(&naive)[0].0;
        let mut before = Vec::new();
        let first = naive.machine().steps();
        step_by_step(&mut naive, n, |machine, (hart, _)| {
            if hart == 0 {
                before.push(machine.machine().steps() - 1);
            }
        });
        let nth = part * before.len() as u64 / 100;
        let Some(want) = before.get(usize::try_from(nth).unwrap()) else { return Ok(()) };
        let mut machine = fresh(seed);
        prop_assert_eq!(machine.machine().steps(), first);
        machine.machine_mut().stop_hart_after(Some((0, begin + nth)));
        prop_assert_eq!(run(&mut machine, n), Rest::Debug { hart: 0, halt: Halt::Limit });
        prop_assert_eq!(machine.machine().steps(), *want);
        machine.machine_mut().stop_hart_after(None);
        run_through(&mut machine, first + n - want, |_, halt| panic!("{halt:?}"));
        prop_assert!(digest(&machine) == digest(&naive), "stopping changes nothing");
    }
}

/// Those that are most often changed, and those that are not there to be watched.
const BUSY: [Csr; 14] = [
    Csr::MSTATUS,
    Csr::SSTATUS,
    Csr::VSSTATUS,
    Csr::HSTATUS,
    Csr::FFLAGS,
    Csr::FRM,
    Csr::FCSR,
    Csr::MEPC,
    Csr::SEPC,
    Csr::MCAUSE,
    Csr::SSCRATCH,
    Csr::SATP,
    Csr::MIP,
    Csr::HVIP,
];

/// One of all CSRs that can be watched.
fn any_csr() -> impl Strategy<Value = Csr> {
    let all = isa::csr::CSRS.iter().map(|row| row.csr).collect::<Vec<_>>();
    let all = prop::sample::select(all);
    let counts = [Csr::CYCLE, Csr::TIME, Csr::INSTRET, Csr::MCYCLE, Csr::MINSTRET];
    let all = all.prop_filter("it counts", move |csr| !counts.contains(csr));
    prop_oneof![prop::sample::select(&BUSY[..]), all]
}

/// Whether it is changed by wires and the time.
fn is_timed(csr: Csr) -> bool {
    let csr = csr.row().and_then(|row| row.mirror).unwrap_or(csr);
    [Csr::MIP, Csr::SIP, Csr::HIP, Csr::VSIP, Csr::UIP, Csr::HUIP].contains(&csr)
}

/// A CSR of the first hart, which has looked at its wires.
fn read(machine: &mut BareMachine, csr: Csr) -> u64 {
    let (hart, platform) = machine.machine_mut().hart_mut(0);
    hart.look(platform);
    hart.csr(csr).unwrap()
}

#[test]
fn counters_and_what_is_not_there_cannot_be_watched() {
    let mut machine = busy();
    let machine = machine.machine_mut();
    for csr in [Csr::CYCLE, Csr::TIME, Csr::INSTRET, Csr::MCYCLE, Csr::MINSTRET] {
        assert_eq!(machine.watch_csr(0, Some(csr)), Err(CannotWatch::Counts(csr)));
    }
    let none = Csr(0x7ff);
    assert_eq!(machine.watch_csr(0, Some(none)), Err(CannotWatch::NoSuchCsr(none)));
}

#[test]
fn devices_loaders_and_resets_are_logged_too() {
    let mut machine = busy();
    let ring = BARE_RAM_BASE + 0x1_2100..BARE_RAM_BASE + 0x1_2108;
    let random = BARE_RAM_BASE + 0x1_4ffc..BARE_RAM_BASE + 0x1_5004;
    machine.machine_mut().watch_writes(&[random.clone(), ring.clone()], false);
    run(&mut machine, 5000);
    let log = machine.machine_mut().take_writes();
    assert_eq!((log[0].writer, log[0].step, log[0].hpa), (Writer::Loader, 0, ring.start));
    let dma: Vec<&Write> = log[1..].iter().collect();
    assert!(dma.len() > 4);
    for write in dma {
        assert_eq!((write.writer, write.hart, write.len), (Writer::Dma, None, 4));
        assert!(random.contains(&write.hpa));
    }
    let at = DATA + 3;
    machine.machine_mut().watch_writes(std::slice::from_ref(&(at..at + 1)), true);
    machine.machine_mut().write(Writer::Debugger, DATA, &[1; 8]).unwrap();
    let steps = machine.machine().steps();
    let log = machine.machine_mut().take_writes();
    let [Write { step, hart: None, writer: Writer::Debugger, len: 8, new, .. }] = log[..] else {
        panic!("{log:?}")
    };
    assert_eq!((step, new), (steps, [1; 8]));
}

#[test]
fn every_kind_of_writer_is_met() {
    let mut writers = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..20 {
        let mut machine = fresh(Some(seed));
        let all = BARE_RAM_BASE..BARE_RAM_BASE + RAM;
        machine.machine_mut().watch_writes(&[all], false);
        run(&mut machine, 5000);
        for write in machine.machine_mut().take_writes() {
            *writers.entry(format!("{:?} {}", write.writer, write.len)).or_default() += 1;
        }
    }
    let kinds = ["Hart 1", "Hart 2", "Hart 4", "Hart 8", "Walker 8"];
    assert!(kinds.iter().all(|kind| writers.contains_key(*kind)), "{writers:?}");
}

#[test]
fn a_full_log_ends_the_run() {
    let mut machine = busy();
    run(&mut machine, 100);
    machine.machine_mut().watch_writes(std::slice::from_ref(&(DATA..DATA + 4096)), false);
    let limit = 10_000_000;
    assert!(matches!(run(&mut machine, limit), Rest::Debug { halt: Halt::Written, .. }));
    assert_eq!(machine.machine_mut().take_writes().len(), machine::WRITES_KEPT);
    machine.machine_mut().watch_writes(&[], false);
    assert_eq!(run(&mut machine, 1000), Rest::StepLimit);
    assert_eq!(machine.machine_mut().take_writes(), vec![]);
}
