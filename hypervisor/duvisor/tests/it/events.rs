//! The event stream as a file, the digests, and what may change them.

use crate::program::{Ran, bytes, duvisor, json_lines, prebuilt, run, scratch, scratch_with, text};

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

#[test]
fn a_log_is_a_file_of_its_own() {
    let log = text(scratch("run.log"));
    let ran = run("hello", &["--log", &log]).ended(0);
    assert!(std::path::Path::new(&log).exists());
    assert!(ran.out.starts_with("Hello from S-mode.\r\nPASS hello\r\n"), "{}", ran.out);
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
fn guests_are_listed_with_what_they_show() {
    let list = duvisor(&["guest", "list"]).ended(0).out;
    for guest in images::Catalogue::new().iter() {
        let row = list.lines().find(|row| row.split_whitespace().next() == Some(&guest.name));
        assert!(row.is_some_and(|row| row.ends_with(&guest.description)), "{}", guest.name);
    }
}
