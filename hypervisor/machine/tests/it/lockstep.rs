//! Differential testing: random programs of RV64GC and H, here and on Spike, instruction by
//! instruction; and what they were on this hart when both agreed.
//!
//! ```sh
//! SPIKE=PATH LOCKSTEP_SEEDS=0..1000 \
//!     cargo test --release -p machine --test it lockstep -- --nocapture
//! ```
//!
//! See `docs/src/verification.md` for what is compared, and what may differ.

pub(crate) mod asm;
mod body;
mod compare;
mod csrs;
mod elf;
pub(crate) mod layout;
pub(crate) mod program;
mod qemu;
mod special;
mod spike;
mod tables;
mod tame;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use compare::{Counts, End, Ours, compare};
use program::{FROMHOST, Program, TOHOST};
use spike::Spike;

/// Seeds without `LOCKSTEP_SEEDS`.
const SEEDS: Range<u64> = 0..20;
/// Seeds whose course is written down with `UPDATE=1`.
const RECORDED: usize = 40;
/// Seeds that fail before the rest is left.
const FAILURES_MAX: usize = 4;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("LOCKSTEP_SEEDS") else { return SEEDS };
    let number = |text: &str| {
        text.parse().unwrap_or_else(|_| panic!("LOCKSTEP_SEEDS={text}: write FIRST..END or SEED"))
    };
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

/// What all seeds together came to.
#[derive(Debug, Default)]
struct Total {
    counts: Counts,
    ends: BTreeMap<String, u64>,
    failures: Vec<String>,
    /// Seeds that came to their end without any influence of Spike: steps, and a hash.
    agreed: BTreeMap<u64, (u64, u64)>,
}

/// What one seed came to.
struct Outcome {
    end: Result<End, String>,
    counts: Counts,
    agreed: Option<(u64, u64)>,
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let (counts, all) = (outcome.counts, &mut self.counts);
        all.retired += counts.retired;
        all.traps += counts.traps;
        all.swept += counts.swept;
        all.tinst += counts.tinst;
        all.failed_sc += counts.failed_sc;
        all.stores += counts.stores;
        let name = match &outcome.end {
            Ok(End::Documented(choice)) => (*choice).to_owned(),
            Ok(end) => format!("{end:?}"),
            Err(_) => "Failed".to_owned(),
        };
        *self.ends.entry(name).or_default() += 1;
        self.failures.extend(outcome.end.err());
        self.agreed.extend(outcome.agreed.map(|agreed| (seed, agreed)));
    }
}

/// One seed on both sides.
fn run(spike: &Path, file: &Path, seed: u64) -> Outcome {
    let program = Program::new(seed);
    std::fs::write(file, elf::file(layout::RAM_BASE, program.image.bytes(), TOHOST, FROMHOST))
        .unwrap();
    let mut ours = Ours::new(&program);
    let (end, counts) = compare(&program, &mut ours, Spike::new(spike, file));
    let mut agreed = None;
    let end = end.and_then(|end| {
        if end == End::Done && counts.failed_sc == 0 {
            agreed = Some(run_alone(&program, &ours)?);
        }
        Ok(end)
    });
    let end = end.map_err(|story| {
        format!(
            "seed {seed}: {story}\n  again: SPIKE={} LOCKSTEP_SEEDS={seed} cargo test --release \
             -p machine --test it lockstep -- --nocapture\n",
            spike.display()
        )
    });
    Outcome { end, counts, agreed }
}

/// Whole blocks come to the same as single steps.
fn run_alone(program: &Program, stepped: &Ours) -> Result<(u64, u64), String> {
    let mut alone = Ours::new(program);
    let (end, steps, hash) = alone.run_alone(program);
    if end != End::Done || alone.digest() != stepped.digest() {
        return Err(format!("run alone, in whole blocks, it comes to something else: {end:?}"));
    }
    Ok((steps, hash))
}

#[test]
#[expect(clippy::print_stderr, reason = "what was done, and what was left out")]
fn spike_agrees() {
    let Some(spike) = std::env::var_os("SPIKE") else {
        eprintln!("LEFT OUT: lockstep with Spike, since SPIKE does not name its program");
        return;
    };
    let total = run_all(&spike, seeds());
    eprintln!("{:?}\n{:?}", total.counts, total.ends);
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        let lines = total
            .agreed
            .iter()
            .take(RECORDED)
            .map(|(seed, (steps, hash))| format!("{seed} {steps} {hash:016x}\n"));
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/lockstep/expected.txt");
        std::fs::write(file, lines.collect::<String>()).unwrap();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "what was done, and what was left out")]
fn qemu_agrees() {
    let Some(qemu) = std::env::var_os("QEMU") else {
        eprintln!("LEFT OUT: a second opinion, since QEMU does not name its program");
        return;
    };
    let file: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "qemu.elf"].iter().collect();
    let all: Vec<_> =
        seeds().filter_map(|seed| qemu::compare(Path::new(&qemu), &file, seed)).collect();
    let failures: Vec<_> = all.iter().filter_map(|one| one.as_ref().err()).collect();
    eprintln!("{} programs, {} of them differ", all.len(), failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

fn run_all(spike: &OsString, seeds: Range<u64>) -> Total {
    let total = Mutex::new(Total::default());
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (total, next, end) = (&total, &next, seeds.end);
            scope.spawn(move || run_some(Path::new(spike), thread, next, end, total));
        }
    });
    total.into_inner().unwrap()
}

/// What one thread does: seed after seed, until there is none or enough of them failed.
fn run_some(spike: &Path, thread: usize, next: &AtomicU64, end: u64, total: &Mutex<Total>) {
    let name = format!("lockstep{}-{thread}.elf", std::process::id());
    let file: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &name].iter().collect();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || total.lock().unwrap().failures.len() >= FAILURES_MAX {
            break;
        }
        let outcome = run(spike, &file, seed);
        total.lock().unwrap().add(seed, outcome);
    }
    // It is not there if there was no seed.
    let _ = std::fs::remove_file(&file);
}

/// The programs whose course is written down, and what it is: `seed steps hash`.
const EXPECTED: &str = include_str!("lockstep/expected.txt");

#[test]
fn programs_run_as_when_spike_agreed() {
    let mut text = String::new();
    for line in EXPECTED.lines() {
        let seed: u64 = line.split(' ').next().unwrap().parse().unwrap();
        let program = Program::new(seed);
        let (_, steps, hash) = Ours::new(&program).run_alone(&program);
        let _ = writeln!(text, "{seed} {steps} {hash:016x}");
    }
    assert_eq!(text, EXPECTED);
}
