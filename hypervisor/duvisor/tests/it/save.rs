//! Runs that nobody records, and that are saved all the same.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{duvisor, run, scratch, scratch_with, text};
use crate::programs::elf;

const PROGRAM: &str = env!("CARGO_BIN_EXE_duvisor");

/// A program that asks to be shut down for a failure.
pub(crate) fn failing() -> String {
    // li a7, 0x53525354; li a6, 0; li a0, 0; li a1, 1; ecall
    let code = [0x5352_58b7, 0x3548_8893, 0x0000_0813, 0x0000_0513, 0x0010_0593, 0x0000_0073];
    scratch_with("failing.elf", elf(&code))
}

fn gone(path: &Path) -> String {
    let _ = std::fs::remove_file(path);
    text(path.to_owned())
}

/// A recording is whole, and the same run.
#[track_caller]
fn replays(file: &str) -> String {
    let ran = duvisor(&["replay", file, "--verify"]).ended(0);
    assert!(ran.err.contains("the same run"), "{ran:#?}");
    ran.err
}

#[test]
fn a_run_that_fails_is_saved_and_replays_to_its_failure() {
    let program = failing();
    let file = gone(&scratch("crash.dvt"));
    let ran = run(&program, &["--save-on-crash", &file, "--digest"]).ended(1);
    assert!(ran.err.contains(&format!("saved {file}: ")), "{ran:#?}");
    let replayed = duvisor(&["replay", &file, "--digest"]).ended(0);
    assert_eq!(replayed.digests().1, ran.digests().1);
    assert!(replayed.err.contains("the guest reported failure"), "{replayed:#?}");
    let asked = duvisor(&["trace", "ask", &file, "exits"]).ended(0);
    assert!(asked.out.contains("sbi-call"), "{asked:#?}");
    // What is there is not written over.
    let again = run(&program, &["--save-on-crash", &file]).ended(2);
    assert!(again.err.contains("exists already"), "{again:#?}");
}

#[test]
fn a_run_that_ends_well_is_not_saved() {
    let file = gone(&scratch("no-crash.dvt"));
    run("hello", &["--save-on-crash", &file]).ended(0);
    assert!(!Path::new(&file).exists());
    let machine = duvisor(&[
        "machine",
        &text(crate::program::prebuilt("hello")),
        "--max-steps",
        "1000",
        "--save-on-crash",
        &file,
    ]);
    machine.ended(124);
    assert!(!Path::new(&file).exists());
}

#[test]
fn options_that_cannot_be_met_are_named_before_the_guest_runs() {
    let nowhere = text(scratch("no-such-folder").join("a.dvt"));
    let ran = run("hello", &["--save", &nowhere]).ended(2);
    assert!(ran.err.contains("no-such-folder is no folder"), "{ran:#?}");
    assert!(!ran.out.contains("PASS"), "{ran:#?}");
    let ran = run("hello", &["--save-on-crash", "a.dvt", "--history", "0"]).ended(2);
    assert!(ran.err.contains("there would be nothing to save"), "{ran:#?}");
    run("hello", &["--save", "a.dvt", "--record", "b.dvt"]).ended(2);
}

/// A run without end whose process gets signals.
struct Signalled {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Signalled {
    fn start(args: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(folder).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // Once the guest has said something, everything is there.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { child, said }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks for the run to be saved; gives what is said of it.
    fn save(&mut self) -> String {
        self.signal(Signal::USR1);
        let mut line = String::new();
        while !line.contains("saved") {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "nothing was said");
        }
        line
    }

    fn end(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn a_signal_saves_the_run_as_often_as_it_comes_and_the_run_goes_on() {
    let folder = scratch("signalled");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let mut run = Signalled::start(&["run", "demo", "--headless", "-c", "3"], &folder);
    let mut files = std::collections::BTreeSet::new();
    while files.len() < 2 {
        // Where the run has made no step in between, the file is there already.
        let line = run.save();
        let file = line.split_whitespace().find(|word| word.ends_with(".dvt:")).unwrap();
        files.insert(text(folder.join(file.trim_end_matches(':'))));
    }
    run.end();
    for file in &files {
        assert!(file.contains("/demo-"), "{file}");
        replays(file);
        let there = std::fs::metadata(file).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&there.permissions()) & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn a_file_that_was_named_is_the_last_save() {
    let folder = scratch("named");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let args = ["run", "demo", "--headless", "--warp", "--save", "it.dvt"];
    let mut run = Signalled::start(&args, &folder);
    for _ in 0..3 {
        let line = run.save();
        assert!(line.contains("saved it.dvt: "), "{line}");
    }
    run.end();
    replays(&text(folder.join("it.dvt")));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// A disk without room, as far as that can be had: a file system that takes nothing.
#[test]
fn a_save_that_fails_is_told_and_the_run_goes_on() {
    let folder = scratch("no-room");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let mut run = Signalled::start(&["run", "demo", "--headless", "--warp"], &folder);
    // Its folder is gone: nothing can be created there.
    std::fs::remove_dir(&folder).unwrap();
    let line = run.save();
    assert!(line.contains("was not saved") && line.contains("No such file"), "{line}");
    let line = run.save();
    assert!(line.contains("was not saved"), "{line}");
    run.end();
}

#[test]
fn a_run_without_history_says_so() {
    let folder = scratch("no-history");
    std::fs::create_dir_all(&folder).unwrap();
    // Without anybody to ask, the signal is one of those that end a run.
    let args = ["run", "demo", "--headless", "--warp", "--history", "0"];
    let run = Signalled::start(&args, &folder);
    run.signal(Signal::USR1);
    run.end();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

/// What is kept is seen by no guest.
#[test]
fn a_run_with_and_without_history_is_the_same() {
    let steps = ["--max-steps", "120000000", "--digest"];
    let with = run("demo", &steps).ended(124);
    let small = run("demo", &[&steps[..], &["--history", "64K"]].concat()).ended(124);
    let without = run("demo", &[&steps[..], &["--history", "0"]].concat()).ended(124);
    assert_eq!(with.digests(), without.digests());
    assert_eq!(small.digests(), without.digests());
}
