//! The event stream as a file, the digests, and what may change them.

use crate::program::{
    Ran, bytes, duvisor, duvisor_unread, json_lines, prebuilt, run, scratch, scratch_with, text,
};

/// Enough for the demo to show everything it does.
const STEPS: &[&str] = &["--max-steps", "1000000"];

fn demo(args: &[&str]) -> Ran {
    let mut all = STEPS.to_vec();
    all.extend(args);
    run("demo", &all).ended(124)
}

#[test]
fn the_file_is_json_lines_without_a_gap_and_its_blake3_is_the_digest() {
    let file = text(scratch("gap.jsonl"));
    let ran = demo(&["--events", &file, "--digest"]);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(ran.digests().0, blake3::hash(written.as_bytes()).to_hex().as_str());
    let lines = json_lines(&written);
    assert_eq!(lines[0]["schema"], "duvisor-events");
    assert_eq!(lines[0]["version"], 1);
    let mut before = (0, 0);
    for (event, number) in lines[1..].iter().zip(0_u64..) {
        assert_eq!(event["seq"], number, "{event}");
        let step = event["step"].as_u64().unwrap();
        let time_ns = event["time_ns"].as_u64().unwrap_or(before.1);
        assert!((step, time_ns) >= before && time_ns >= step, "time runs backwards: {event}");
        before = (step, time_ns);
    }
    assert_eq!(lines[1]["state"], "started");
    assert_eq!(lines[lines.len() - 1]["state"]["ended"], "step_limit");
}

#[test]
fn the_console_is_in_the_events() {
    let file = text(scratch("console.jsonl"));
    let ran = demo(&["--events", &file]);
    let lines = json_lines(&std::fs::read_to_string(&file).unwrap());
    let said = lines.iter().filter(|event| event["event"] == "console");
    let said: String = said.map(|event| bytes(&event["bytes"])).collect();
    assert!(!said.is_empty() && ran.out.starts_with(&said), "{said}\n{}", ran.out);
}

#[test]
fn on_standard_output_there_are_events_only() {
    let file = text(scratch("stdout.jsonl"));
    demo(&["--events", &file]);
    let ran = demo(&["--events", "-"]);
    assert!(ran.out == std::fs::read_to_string(&file).unwrap(), "not the lines of the file");
    assert!(ran.err.contains("driver calls after start: 0"), "{}", ran.err);
}

/// Nobody who looks changes what is seen.
#[test]
fn watching_changes_nothing() {
    let file = text(scratch("watching.jsonl"));
    let quiet = demo(&["--digest"]);
    let told = demo(&["--digest", "--events", &file, "--time-exits"]);
    assert_eq!(told.digests(), quiet.digests());
    let bare = duvisor(&["run", "demo", "--headless", "--warp", "--max-steps", "1000000"]);
    assert_eq!(bare.ended(124).line("driver calls after start:"), "0");
}

#[test]
fn a_dumped_device_tree_can_be_given_back() {
    for vcpus in ["1", "4"] {
        let file = text(scratch(&format!("demo-{vcpus}.dtb")));
        let dump = ["run", "demo", "-c", vcpus, "--dump-dtb", &file];
        let ran = duvisor(&dump).ended(0);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
        let blob = std::fs::read(&file).unwrap();
        assert_eq!(blob[..4], 0xd00d_feed_u32.to_be_bytes());
        let (own, given) =
            (demo(&["-c", vcpus, "--digest"]), demo(&["-c", vcpus, "--digest", "--dtb", &file]));
        assert_eq!(own.digests(), given.digests());
    }
    let file = text(scratch("bare.dtb"));
    duvisor(&["machine", &text(prebuilt("hello")), "--dump-dtb", &file]).ended(0);
    assert_eq!(std::fs::read(&file).unwrap()[..4], 0xd00d_feed_u32.to_be_bytes());
}

#[test]
fn a_script_types_what_it_says() {
    let script = scratch_with("demo.script", "expect Type a line\nsleep 2ms\nsend off\n");
    let file = text(scratch("script.jsonl"));
    let ran = run("demo", &["--script", &script, "--events", &file]).ended(0);
    assert!(ran.err.contains("the guest powered off"), "{}", ran.err);
    let lines = json_lines(&std::fs::read_to_string(&file).unwrap());
    let inputs: Vec<_> = lines.iter().filter(|event| event["event"] == "input").collect();
    assert_eq!(inputs.len(), 1);
    assert_eq!(bytes(&inputs[0]["input"]["console"]), "off\n");
}

#[test]
fn a_seed_and_a_clock_are_part_of_what_the_guest_sees() {
    let usual = demo(&["--digest"]);
    assert_eq!(usual.digests(), demo(&["--digest", "--seed", "0"]).digests());
    assert_ne!(usual.digests().1, demo(&["--digest", "--seed", "1"]).digests().1);
    let clock = |base: &str| {
        let ran = run("demo", &["--max-steps", "20000000", "--rtc-base", base]).ended(124);
        let line = ran.out.lines().find(|line| line.contains(" RTC ")).unwrap().to_owned();
        line.split_once(" RTC ").unwrap().1.to_owned()
    };
    assert!(clock("0").starts_with("00:00:"), "{}", clock("0"));
    assert!(clock("45240").starts_with("12:34:"), "{}", clock("45240"));
}

/// Nobody can do anything with half of the events: the run ends, and says so.
#[test]
fn events_that_cannot_be_written_end_the_run() {
    let hello = text(prebuilt("hello"));
    for args in [
        // More than a buffer: without a limit, it ends by nothing else.
        &["run", "demo", "--headless", "--warp"][..],
        &["run", "hello", "--headless", "--warp"],
        &["machine", &hello, "--warp", "--max-steps", "1000"],
    ] {
        let ran = duvisor(&[args, &["--events", "/dev/full"]].concat()).ended(1);
        let said = "duvisor: the events in /dev/full are not complete, since writing them failed: \
                    No space left on device (os error 28)\n";
        assert!(ran.err.ends_with(said), "{ran:#?}");
    }
}

#[test]
fn a_reader_of_events_that_went_away_ends_nothing() {
    let args = ["run", "demo", "--headless", "--warp", "--max-steps", "1000000", "--events", "-"];
    let ran = duvisor_unread(&args).ended(124);
    assert!(ran.err.contains("driver calls after start: 0"), "{ran:#?}");
    assert!(!ran.err.contains("not complete"), "{ran:#?}");
}

#[test]
fn a_log_says_what_was_loaded_and_how_it_ended() {
    let log = text(scratch("run.log"));
    let ran = run("hello", &["--log", &log]).ended(0);
    assert!(ran.out.starts_with("Hello from S-mode.\r\nPASS hello\r\n"), "{}", ran.out);
    let logged = std::fs::read_to_string(&log).unwrap();
    for said in [
        "guest hello",
        "RAM at 0x80000000 to 0x88000000, entry 0x80200000",
        "payload at 0x80200000",
        "the device tree at 0x",
        "thread signals started",
        "the guest powered off",
        "the end code=0",
    ] {
        assert!(logged.contains(said), "{said}\n{logged}");
    }
    assert!(!logged.contains("Hello from S-mode"), "{logged}");
}

#[test]
fn a_log_has_the_errors_too_and_standard_error_has_them_once() {
    let log = text(scratch("refused.log"));
    let ran = duvisor(&["machine", "/nonexistent/program.elf", "--log", &log]).ended(2);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("ERROR reading the program /nonexistent/program.elf"), "{logged}");
}

/// A log is for whoever looks; a run does not hang on it.
#[test]
fn a_log_that_cannot_be_written_is_lost_without_a_word() {
    let (quiet, lost) = (run("hello", &[]), run("hello", &["--log", "/dev/full"]));
    assert_eq!((lost.code, lost.out.lines().next()), (Some(0), quiet.out.lines().next()));
    assert_eq!(lost.err, quiet.err);
}

#[test]
fn a_log_changes_nothing_of_what_is_seen() {
    let log = text(scratch("same.log"));
    assert_eq!(demo(&["--digest"]).digests(), demo(&["--digest", "--log", &log]).digests());
    let file = text(scratch("same.jsonl"));
    demo(&["--events", &file]);
    let ran = demo(&["--events", "-", "--log", "-"]);
    assert!(ran.out == std::fs::read_to_string(&file).unwrap(), "not the lines of the file");
    assert!(ran.err.contains("the end code=124"), "{}", ran.err);
}

#[test]
fn completions_print_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = duvisor(&["completions", shell]).ended(0);
        assert!(ran.out.contains("duvisor") && ran.out.contains("completions"), "{shell}");
        assert_eq!(ran.err, "");
    }
}

#[test]
fn completions_that_cannot_be_written_are_an_error_and_no_panic() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_duvisor"));
    let output = command.args(["completions", "bash"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("duvisor: writing the completion script to standard output: "));
    duvisor_unread(&["completions", "zsh"]).ended(0);
}

#[test]
fn guests_are_listed_with_what_they_show() {
    let list = duvisor(&["guest", "list"]).ended(0).out;
    for guest in images::Catalogue::new().iter() {
        let row = list.lines().find(|row| row.split_whitespace().next() == Some(&guest.name));
        assert!(row.is_some_and(|row| row.ends_with(&guest.description)), "{}", guest.name);
    }
}
