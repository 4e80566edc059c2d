//! The programs of riscv-tests, from the directory that `RISCV_TESTS` names.

use std::path::{Path, PathBuf};

use machine::{BareMachine, Host};
use session::{NoInputs, Stop};

use crate::programs::{config, digest, read};

/// The longest one needs a small part of it.
const MAX_STEPS: u64 = 1_000_000;
const MEMORY: u64 = 16 << 20;

/// Groups of programs that cannot pass: the extensions that they are about are not modelled.
const EXCEPTIONS: [(&str, &str); 5] = [
    ("rv64uzbc", "zbc"),
    ("rv64uzbkb", "zbkb"),
    ("rv64uzbkx", "zbkx"),
    ("rv64uzfh", "zfh"),
    ("rv64uzicond", "zicond"),
];

fn programs(dir: &Path) -> Vec<PathBuf> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let wanted = |path: &PathBuf| {
        let name = name(path);
        path.is_file() && !name.contains('.') && (name.contains("-p-") || name.contains("-v-"))
    };
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(wanted).collect();
    found.sort();
    found
}

/// Runs a program twice; the two must be the same run.
fn run(path: &Path) -> (Stop, u64) {
    let program = read(path);
    let once = || {
        let mut machine = BareMachine::new(config("riscv-tests", &program, MEMORY)).unwrap();
        let stop = machine.run(&mut Host::new(&mut NoInputs), Some(MAX_STEPS));
        (stop, machine.position().step, digest(&machine))
    };
    let (stop, steps, first) = once();
    assert!(once() == (stop.clone(), steps, first), "{} runs differently", path.display());
    (stop, steps)
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that was left out says so")]
fn all_of_them_pass() {
    let Some(dir) = std::env::var_os("RISCV_TESTS") else {
        eprintln!("LEFT OUT: riscv-tests, since RISCV_TESTS does not name their directory");
        return;
    };
    let programs = programs(Path::new(&dir));
    assert!(!programs.is_empty(), "no programs in {}", dir.display());
    let mut failures = Vec::new();
    let mut longest = (0, String::new());
    let mut left_out = 0;
    for path in &programs {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let group = name.split('-').next().unwrap();
        if let Some((_, ext)) = EXCEPTIONS.iter().find(|(exception, _)| *exception == group) {
            assert!(isa::Ext::from_name(ext).is_none(), "{ext} is modelled: run {group}");
            left_out += 1;
            continue;
        }
        let (stop, steps) = run(path);
        longest = longest.max((steps, name.clone()));
        if stop != Stop::PowerOff {
            failures.push(format!("{name}: {stop:?} after {steps} steps"));
        }
    }
    let n = programs.len();
    eprintln!("{n} programs, {left_out} left out (extensions), longest {longest:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
