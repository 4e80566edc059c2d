//! Moments of recordings that are gone on from: with other inputs, as new runs, recorded again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::dice::Dice;
use crate::program::{Ran, duvisor, prebuilt, scratch_with, text};
use crate::programs::{WAITS_FOR_NOTHING, elf};
use crate::recordings::{fresh, info, record, replays};

#[track_caller]
fn save(from: &str, at: &str, to: &str) {
    duvisor(&["snapshot", "save", from, "--at", at, "-o", to]).ended(0);
}

fn restore(from: &str, args: &[&str]) -> Ran {
    let all = [&["snapshot", "restore", from, "--headless", "--warp"][..], args].concat();
    duvisor(&all)
}

fn last_step(file: &str) -> u64 {
    info(file)["last"]["step"].as_u64().unwrap()
}

#[test]
fn any_moment_goes_on_with_other_inputs_and_that_run_replays() {
    let typed = "expect Type a line\nsend one\nsleep 200ms\nsend two\nsleep 200ms\n";
    let first = scratch_with("first.script", typed);
    let other = "send other\nexpect you typed: other\nsleep 10ms\nsend off\nexpect Good-bye.\n";
    let other = scratch_with("other.script", other);
    let (file, snapshot) = (fresh("resumed.dvt"), fresh("snapshot.dvt"));
    let again = fresh("resumed-again.dvt");
    record("demo", &file, &["--script", &first, "--max-steps", "1500000"]).ended(124);
    let (mut dice, last) = (Dice(0x5eed), last_step(&file));
    for n in 0..20 {
        // Later than the guest's first words, which say that it listens.
        let at = (400_000 + dice.below(last - 400_000)).to_string();
        let options = ["--script", &other, "--record", &again];
        let ran = if n % 2 == 0 {
            restore(&file, &[&["--at", &at][..], &options].concat())
        } else {
            save(&file, &at, &snapshot);
            replays(&snapshot);
            let ran = restore(&snapshot, &options);
            fs::remove_file(&snapshot).unwrap();
            ran
        };
        let ran = ran.ended(0);
        assert!(ran.out.contains("you typed: other\r\n"), "{at}: {ran:#?}");
        let told = info(&again);
        assert_eq!(told["first"]["step"].to_string(), at, "{told}");
        replays(&again);
        // What it was asked for: also its end, and what is between.
        let asked = duvisor(&["trace", "ask", &again, "exits sbi-call limit 3"]).ended(0);
        assert_eq!(asked.out.lines().count(), 3, "{asked:#?}");
        duvisor(&["replay", "--to", "50%", &again]).ended(0);
        fs::remove_file(&again).unwrap();
    }
}

#[test]
fn without_other_inputs_it_ends_as_the_run_that_was_recorded() {
    let mut dice = Dice(7);
    for (guest, vcpus, limit) in
        [("ipi", "4", "200000000"), ("amo_contend", "8", "200000000"), ("demo", "4", "2000000")]
    {
        let (file, again) = (fresh("same-end.dvt"), fresh("same-end-again.dvt"));
        let ran = record(guest, &file, &["-c", vcpus, "--max-steps", limit, "--digest"]);
        let last = last_step(&file);
        for n in 0..7 {
            let at = if n == 0 { 0 } else { dice.below(last) };
            let left = if ran.code == Some(124) { last - at } else { 200_000_000 };
            let [at, left] = [at, left].map(|it| it.to_string());
            let args = ["--at", &at, "--max-steps", &left, "--digest", "--record", &again];
            let resumed: Ran = restore(&file, &args);
            assert_eq!(resumed.code, ran.code, "{guest} from {at}: {resumed:#?}");
            assert_eq!(resumed.digests().1, ran.digests().1, "{guest} from {at}");
            replays(&again);
            fs::remove_file(&again).unwrap();
        }
    }
}

/// A snapshot is a recording: of it there is one, too.
#[test]
fn a_snapshot_is_shown_cut_saved_and_restored_like_any_recording() {
    let file = fresh("chain-0.dvt");
    record("demo", &file, &["--max-steps", "900000"]).ended(124);
    let state =
        |file: &str, at: &str| duvisor(&["replay", "--to", at, "--digest", file]).ended(0).out;
    let expected = state(&file, "600000");
    let mut before = file;
    for n in 1..4 {
        let next = fresh(&format!("chain-{n}.dvt"));
        save(&before, "600000", &next);
        assert_eq!(state(&next, "start"), expected);
        assert_eq!(state(&next, "end"), expected);
        before = next;
    }
    let part = fresh("chain-part.dvt");
    duvisor(&["trace", "cut", &before, "-o", &part]).ended(0);
    assert_eq!(state(&part, "end"), expected);
    let told = info(&before);
    assert_eq!((&told["records"], told["keyframes"].as_array().unwrap().len()), (&0.into(), 1));
    assert_eq!(duvisor(&["trace", "cat", &before]).ended(0).out, "");
    let ran = duvisor(&["snapshot", "save", &before, "-o", &part]).ended(2);
    assert!(ran.err.contains("File exists"), "{ran:#?}");
    let ran = duvisor(&["snapshot", "save", &before, "--at", "1", "-o", "/none"]).ended(2);
    assert!(ran.err.contains("step 1 is not recorded: 600000 to 600000 are"), "{ran:#?}");
}

#[test]
fn what_is_over_cannot_go_on_and_what_a_user_ended_can() {
    let program = text(prebuilt("hello"));
    let file = fresh("over.dvt");
    record(&program, &file, &[]).ended(0);
    let ran = restore(&file, &[]).ended(2);
    let said = "the run is over (the guest powered off): expected an earlier moment\n";
    assert!(ran.err.ends_with(said), "{ran:#?}");
    let ran = restore(&file, &["--at", "99%"]).ended(0);
    assert!(ran.err.contains("the guest powered off"), "{ran:#?}");

    // A run that nothing can wake goes on, and waits again.
    let waits = scratch_with("waits.elf", elf(WAITS_FOR_NOTHING));
    let file = fresh("waits.dvt");
    record(&waits, &file, &[]).ended(1);
    replays(&file);
    let ran = restore(&file, &[]).ended(1);
    assert!(ran.err.contains("every vCPU waits"), "{ran:#?}");
}

#[test]
fn a_run_that_was_interrupted_goes_on_where_it_was() {
    let file = fresh("interrupted.dvt");
    let mut child = Command::new(env!("CARGO_BIN_EXE_duvisor"))
        .args(["record", "demo", "-o", &file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("Type a line") {
        assert!(out.read_line(&mut shown).unwrap() > 0, "it ended: {shown}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    out.read_line(&mut shown).unwrap();
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(info(&file)["end"]["stop"], "user");
    replays(&file);
    let again = fresh("interrupted-again.dvt");
    let script = scratch_with("interrupted.script", "send on\nexpect typed: on\nsend off\n");
    restore(&file, &["--script", &script, "--record", &again]).ended(0);
    replays(&again);
    assert_eq!(last_step(&file).to_string(), info(&again)["first"]["step"].to_string());
}

#[test]
fn a_bare_machine_goes_on_too() {
    let program = text(prebuilt("hello"));
    let (file, again) = (fresh("bare-resumed.dvt"), fresh("bare-resumed-again.dvt"));
    let limits = ["--max-steps", "200000", "--digest"];
    let run = ["machine", &program, "--warp", "--record", &file];
    let ran = duvisor(&[&run[..], &limits].concat()).ended(124);
    let args = ["--at", "50000", "--max-steps", "150000", "--digest", "--record", &again];
    let resumed = restore(&file, &args).ended(124);
    assert_eq!(resumed.digests().1, ran.digests().1);
    replays(&again);
}

/// Steps are counted from where it goes on; the events are those from there on.
#[test]
fn the_rest_of_a_run_has_the_events_of_that_rest() {
    let file = fresh("rest.dvt");
    let (all, rest) = (fresh("rest-all.jsonl"), fresh("rest.jsonl"));
    record("demo", &file, &["--max-steps", "1000000", "--events", &all]).ended(124);
    let args = ["--at", "700000", "--max-steps", "300000", "--events", &rest];
    restore(&file, &args).ended(124);
    let (all, rest) = (fs::read_to_string(all).unwrap(), fs::read_to_string(rest).unwrap());
    let (_, rest) = rest.split_once('\n').unwrap();
    assert!(all.ends_with(rest) && rest.lines().count() > 10, "{rest}");
}
