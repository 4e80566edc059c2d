//! What an exit costs: a guest that makes null SBI calls, by what is kept of each of them.
//!
//! `cargo bench -p vmm` prints the medians; the differences between the rows are what counting,
//! listing and timing add.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::time::Instant;

use driver::{Config, Hu, VmRequest};
use isa::{Insn, Op, encode};
use session::{Event, ExitKind, NoInputs, Sink, Stats};
use vmm::{Host, Segment, Vm, VmConfig, layout::RAM_BASE};

const MEMORY: u64 = 16 << 20;
/// Each turn of the guest's loop is one call and four steps.
const CALLS: u64 = 2_000_000;
const STEPS_PER_CALL: u64 = 4;
const RUNS: usize = 7;

/// Takes every exit, and does nothing with it.
struct Lister(u64);

impl Sink for Lister {
    fn event(&mut self, event: &Event) {
        self.0 = self.0.wrapping_add(event.position().seq);
    }
}

/// `loop { a6 = 0; a7 = 0x10; ecall }`: "Get SBI specification version".
fn guest() -> Vec<u8> {
    const A6: u8 = 16;
    const A7: u8 = 17;
    let li = |rd, imm| Insn { rd, imm, ..Insn::new(Op::Addi) };
    let code =
        [li(A6, 0), li(A7, 0x10), Insn::new(Op::Ecall), Insn { imm: -12, ..Insn::new(Op::Jal) }];
    code.iter().flat_map(|insn| encode(insn).to_le_bytes()).collect()
}

fn vm() -> Vm<Hu> {
    let mut config = VmConfig::new("null calls", MEMORY);
    let bytes = guest();
    config.entry = RAM_BASE;
    config.segments = vec![Segment { addr: RAM_BASE, mem_size: bytes.len() as u64, bytes }];
    config.sample_every = 1;
    let request = VmRequest { max_steps: CALLS * STEPS_PER_CALL, ..VmRequest::new(MEMORY) };
    let hu = Hu::start(Config::fitting(config.isa, &request), &request);
    Vm::new(hu.expect("the driver grants a small VM"), config).expect("the configuration is right")
}

/// Nanoseconds per call: the median of some runs.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(listed: bool, kept: bool, timed: bool) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let mut vm = vm();
            if kept {
                vm.keep_exits();
            }
            let (mut inputs, mut lister) = (NoInputs, Lister(0));
            let start = Instant::now();
            let mut watch = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut host = Host::new(&mut inputs);
            if listed {
                host.sinks.push(&mut lister);
            }
            if timed {
                host.stopwatch = Some(&mut watch);
            }
            vm.run(&mut host);
            start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

/// Nanoseconds that counting alone takes of an exit: it cannot be turned off, so it is done once
/// more, outside.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure_counting() -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let mut stats = Stats::default();
            let start = Instant::now();
            for call in 0..CALLS {
                stats.count(black_box(ExitKind::ALL[0]), black_box(call));
            }
            black_box(&stats);
            start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

fn main() {
    let counted = measure(false, false, false);
    println!("{:<34} {counted:>6.1} ns per null call", "exits are counted");
    println!("{:<34} {:>6.1} ns of it", "the counting alone", measure_counting());
    for (what, listed, kept, timed) in [
        ("and listed to a sink", true, false, false),
        ("and listed, and kept for watchers", true, true, false),
        ("and each handler is timed", false, false, true),
    ] {
        let ns = measure(listed, kept, timed);
        println!("{what:<34} {ns:>6.1} ns: {:+.1} ns", ns - counted);
    }
}
