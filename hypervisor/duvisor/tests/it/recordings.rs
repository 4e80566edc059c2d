//! Recordings as their users meet them: made, looked at, replayed; damaged, killed, on a full disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

use crate::program::{Ran, duvisor, duvisor_unread, prebuilt, run, scratch, scratch_with, text};
use crate::programs::{FILLS_MEMORY, elf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_duvisor");
const SIGKILL: i32 = 9;

/// The name of a recording that is not there yet.
pub(crate) fn fresh(name: &str) -> String {
    let path = scratch(name);
    let _ = fs::remove_file(&path);
    text(path)
}

/// Records a headless run that nobody paces.
#[track_caller]
pub(crate) fn record(guest: &str, file: &str, args: &[&str]) -> Ran {
    let mut all = vec!["record", guest, "-o", file, "--warp"];
    all.extend(args);
    duvisor(&all)
}

/// A recording is whole, and a replay of it is the same run.
#[track_caller]
pub(crate) fn replays(file: &str) -> Ran {
    duvisor(&["trace", "verify", file]).ended(0);
    let ran = duvisor(&["replay", "--verify", file]).ended(0);
    assert!(ran.err.contains("duvisor: the same run: "), "{ran:#?}");
    ran
}

pub(crate) fn info(file: &str) -> Value {
    serde_json::from_str(&duvisor(&["trace", "info", "--json", file]).out).unwrap()
}

/// Types two lines to the demo, then ends it.
fn typed(name: &str) -> String {
    scratch_with(
        name,
        "expect Type a line\nsend hello\nexpect you typed: hello\nsleep 300ms\nsend world\n\
         expect you typed: world\nsleep 300ms\nsend off\n",
    )
}

#[test]
fn a_recorded_demo_is_told_of_printed_verified_and_asked() {
    let (file, events) = (fresh("demo.dvt"), fresh("demo-recorded.jsonl"));
    let script = typed("recorded.script");
    let ran = record("demo", &file, &["--script", &script, "--events", &events]).ended(0);

    let told = duvisor(&["trace", "info", &file]).ended(0).out;
    for said in ["recording of  a VM", "end           the guest powered off", "  vcpus = 4"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let info = info(&file);
    let hash = blake3::hash(&fs::read(prebuilt("demo")).unwrap()).to_hex().to_string();
    assert_eq!(
        (&info["images"][0]["blake3"], &info["end"]["stop"]),
        (&hash.into(), &"power_off".into())
    );
    assert_eq!(info["bytes"], fs::metadata(&file).unwrap().len());
    let bytes =
        info["chunks"].as_object().unwrap().values().map(|it| it["bytes"].as_u64().unwrap());
    assert!(bytes.sum::<u64>() < fs::metadata(&file).unwrap().len());

    // The events are those that the run wrote, byte for byte.
    let printed = duvisor(&["trace", "cat", "--json", &file]).ended(0).out;
    assert!(printed == fs::read_to_string(&events).unwrap(), "other events");
    let replayed = fresh("demo-replayed.jsonl");
    let again = duvisor(&["replay", "--verify", "--events", &replayed, &file]).ended(0);
    assert!(printed == fs::read_to_string(&replayed).unwrap(), "other events: {again:#?}");
    replays(&file);
    // A replay prints the same console as the run did.
    let console = duvisor(&["replay", &file]).ended(0).out;
    assert!(ran.out.starts_with(&console) && console.contains("you typed: world"), "{console}");

    let ask = |question: &str| duvisor(&["trace", "ask", &file, question]);
    assert!(ask("exits sbi-call limit 1").ended(0).out.contains(" sbi-call eid 0x10 fid 0x3 "));
    assert!(ask("exec 0x80200000").ended(0).out.contains(" vcpu 0 pc 0x80200000 executed\n"));
    assert_eq!(ask("exec 0x1234").ended(1).out, "");
    assert!(ask("who").ended(2).err.contains("\"who\" is no question"));
}

#[test]
fn events_are_printed_by_window_kind_and_vcpu() {
    let file = fresh("windows.dvt");
    record("demo", &file, &["--script", &typed("windows.script")]).ended(0);
    let cat = |args: &[&str]| {
        let all = [&["trace", "cat", &file][..], args].concat();
        duvisor(&all).ended(0).out
    };
    let all = cat(&[]);
    let number = |line: &str| line.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    let middle = cat(&["--from", "#100", "--to", "#109"]);
    assert_eq!(middle.lines().map(number).collect::<Vec<_>>(), (100..110).collect::<Vec<_>>());
    // The parts between any two moments are the whole.
    for at in ["50%", "400000", "300ms"] {
        let (before, after) = (cat(&["--to", at]), cat(&["--from", at]));
        let twice = before.lines().count() + after.lines().count() - all.lines().count();
        assert!(all.starts_with(&before) && all.ends_with(&after) && twice < 3, "{at}: {twice}");
    }
    let inputs = cat(&["--kind", "input"]);
    let said: Vec<&str> =
        inputs.lines().map(|line| line.split_once("  input ").unwrap().1).collect();
    assert_eq!(said, [r#"console "hello\n""#, r#"console "world\n""#, r#"console "off\n""#]);
    let waits = cat(&["--kind", "wfi,u-timer", "--vcpu", "2"]);
    assert!(waits.lines().count() > 10);
    assert!(waits.lines().all(|line| line.contains(" vcpu 2 ")));
    let kinds = |line: &str| line.contains(" wfi -> ") || line.contains(" u-timer -> ");
    assert!(waits.lines().all(kinds), "{waits}");
    let own = cat(&["--kind", "record"]);
    assert!(own.lines().last().unwrap().contains("stop=power_off"), "{own}");
    let ran = duvisor(&["trace", "cat", &file, "--kind", "sbi"]).ended(2);
    assert!(ran.err.contains("a kind of exit: sbi-call, virt-insn"), "{ran:#?}");
    // A reader that has seen enough is no error.
    duvisor_unread(&["trace", "cat", &file]).ended(0);
}

#[test]
fn a_bare_machine_is_recorded_too() {
    let program = text(prebuilt("hello"));
    let file = fresh("machine.dvt");
    let args = ["machine", &program, "--warp", "--max-steps", "200000", "--record", &file];
    duvisor(&args).ended(124);
    let told = duvisor(&["trace", "info", &file]).ended(0).out;
    assert!(told.contains("recording of  a bare machine"), "{told}");
    assert!(told.contains(&format!("payload       {program}, ")), "{told}");
    assert!(duvisor(&["trace", "cat", &file]).ended(0).out.contains(" trap 0x"));
    replays(&file);
    assert!(duvisor(&["trace", "ask", &file, "insns 10..12"]).ended(0).out.lines().count() == 2);
}

/// A recording of a program in a file of its own.
fn of_program(name: &str, args: &[&str]) -> (String, String) {
    let program = scratch_with(&format!("{name}.elf"), fs::read(prebuilt("hello")).unwrap());
    let file = fresh(&format!("{name}.dvt"));
    record(&program, &file, args).ended(0);
    (program, file)
}

#[test]
fn a_changed_image_is_refused_and_both_hashes_are_named() {
    let (program, file) = of_program("changed", &[]);
    let mut bytes = fs::read(&program).unwrap();
    let recorded = blake3::hash(&bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&program, &bytes).unwrap();
    let changed = blake3::hash(&bytes);
    let ran = duvisor(&["replay", &file]).ended(2);
    let said = format!("has changed: its BLAKE3 is {changed}, it was recorded with {recorded}");
    assert!(ran.err.contains(&said), "{ran:#?}");
    // What needs no image still works; and one in another folder serves.
    duvisor(&["trace", "cat", &file]).ended(0);
    let folder = scratch("changed-images");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(prebuilt("hello"), folder.join("any-name")).unwrap();
    duvisor(&["replay", "--verify", &file, "--images", &text(folder)]).ended(0);
    fs::remove_file(&program).unwrap();
    let ran = duvisor(&["replay", &file]).ended(2);
    assert!(ran.err.contains("--images names a folder with it"), "{ran:#?}");
}

/// The disk's blocks are hashed when they are first read.
#[test]
fn a_changed_disk_is_noticed_where_the_guest_reads_it() {
    // The demo asks no disk; its device is there all the same, and the length is checked.
    let disk = scratch_with("changed.img", vec![7; 1 << 20]);
    let (_, file) = of_program("disk", &["--disk", &disk]);
    replays(&file);
    fs::write(&disk, vec![7; 1 << 19]).unwrap();
    let ran = duvisor(&["replay", &file]).ended(2);
    assert!(ran.err.contains("has 524288 bytes, it was recorded with 1048576"), "{ran:#?}");
}

#[test]
fn what_is_no_recording_is_refused_in_a_sentence() {
    let (_, file) = of_program("refused", &[]);
    let whole = fs::read(&file).unwrap();
    // One with the chunks of this version is a damaged header, of which there is a copy.
    let mut newer = whole[..64].to_vec();
    newer[8] = 9;
    let foreign = scratch_with("foreign.dvt", b"\x7fELF and so on, not a recording at all");
    let newer = scratch_with("newer.dvt", newer);
    let short = scratch_with("short.dvt", &whole[..20]);
    let empty = scratch_with("empty.dvt", b"");
    let gone = fresh("gone.dvt");
    for (file, said) in [
        (&foreign, "this is not a recording: it does not begin as a .dvt file does"),
        (&newer, "the recording has format 9, this program reads up to 1"),
        (&short, "the recording is cut off in its header: it has 20 bytes"),
        (&empty, "the recording is cut off in its header: it has 0 bytes"),
        (&gone, "No such file or directory"),
    ] {
        for verb in [&["trace", "info"][..], &["trace", "cat"], &["trace", "verify"], &["replay"]] {
            let ran = duvisor(&[verb, &[file]].concat()).ended(2);
            assert!(ran.err.contains(said), "{verb:?}: {ran:#?}");
        }
    }
    // Nothing is written over.
    let ran = duvisor(&["record", "hello", "-o", &foreign]).ended(2);
    assert!(ran.err.contains("File exists"), "{ran:#?}");
    duvisor(&["trace", "repair", &file, "-o", &file]).ended(2);
    assert_eq!(fs::read(&file).unwrap(), whole);
}

/// A recording with enough chunks that one can be lost.
fn long(name: &str) -> String {
    let file = fresh(name);
    record("demo", &file, &["--max-steps", "30000000"]).ended(124);
    file
}

#[test]
fn a_flipped_byte_is_named_and_the_rest_is_repaired() {
    let file = long("flipped.dvt");
    let whole = fs::read(&file).unwrap();
    let repaired = fresh("repaired.dvt");
    for share in [3, 5, 8] {
        let at = whole.len() * share / 10;
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let ran = duvisor(&["trace", "verify", &file]).ended(1);
        let named = ran.out.lines().find(|line| line.starts_with("bytes ")).unwrap();
        let range = named.split_whitespace().nth(1).unwrap().trim_end_matches(':');
        let (from, to) = range.split_once("..").unwrap();
        assert!((from.parse().unwrap()..to.parse().unwrap()).contains(&at), "{at}: {named}");
        let ran = duvisor(&["trace", "repair", &file, "-o", &repaired]).ended(1);
        assert!(ran.out.contains(named), "{ran:#?}");
        replays(&repaired);
        fs::remove_file(&repaired).unwrap();
    }
    fs::write(&file, &whole).unwrap();
    let ran = duvisor(&["trace", "repair", &file, "-o", &repaired]).ended(0);
    assert!(ran.out.contains(" keyframes\nchain "), "{ran:#?}");
    replays(&repaired);
}

#[test]
fn a_truncated_file_is_read_and_replayed_up_to_its_end() {
    let file = long("truncated.dvt");
    let whole = fs::read(&file).unwrap();
    // The first keyframe is behind the header.
    for share in [4, 6, 9] {
        let cut = scratch_with("cut-off.dvt", &whole[..whole.len() * share / 10]);
        let ran = duvisor(&["trace", "info", &cut]).ended(1);
        assert!(ran.out.contains("damage"), "{ran:#?}");
        let ran = duvisor(&["replay", "--verify", &cut]).ended(1);
        assert!(ran.err.contains("duvisor: the same run: "), "{ran:#?}");
        let repaired = fresh("cut-off-repaired.dvt");
        duvisor(&["trace", "repair", &cut, "-o", &repaired]).ended(1);
        replays(&repaired);
    }
}

#[test]
fn a_part_is_a_recording_that_begins_at_a_keyframe() {
    // Far enough for keyframes.
    let file = fresh("parts.dvt");
    record("demo", &file, &["--max-steps", "250000000"]).ended(124);
    let keyframes = info(&file)["keyframes"].as_array().unwrap().len();
    assert!(keyframes > 3, "{keyframes} keyframes");
    let state =
        |file: &str, at: &str| duvisor(&["replay", "--to", at, "--digest", file]).ended(0).out;
    for (from, to, begins_later) in [("0", "1M", false), ("60%", "80%", true), ("99%", "end", true)]
    {
        let part = fresh("part.dvt");
        duvisor(&["trace", "cut", &file, "--from", from, "--to", to, "-o", &part]).ended(0);
        replays(&part);
        let info = info(&part);
        let (first, last) = (&info["first"]["step"], &info["last"]["step"]);
        assert_eq!(first.as_u64().unwrap() > 0, begins_later, "{from}..{to}");
        for at in [first, last] {
            assert_eq!(state(&part, &at.to_string()), state(&file, &at.to_string()));
        }
    }
}

/// A recording process that has said so much.
fn said(command: &mut Command, lines: usize) -> (Child, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    for _ in 0..lines {
        assert!(out.read_line(&mut shown).unwrap() > 0, "it ended: {shown}");
    }
    child.stdout = Some(out.into_inner());
    (child, shown)
}

#[test]
fn a_killed_run_replays_up_to_its_last_input() {
    let words: Vec<String> = (0..200).map(|n| format!("word{n}")).collect();
    let lines = words.iter().map(|it| format!("send {it}\nexpect you typed: {it}\nsleep 1ms\n"));
    let script = format!("expect Type a line\n{}", lines.collect::<String>());
    let script = scratch_with("killed.script", script);
    for lines in [1, 6, 9, 12, 40, 77, 150, 300] {
        let file = fresh("killed.dvt");
        let mut command = Command::new(PROGRAM);
        command.args(["record", "demo", "--warp", "--script", &script, "-o", &file]);
        let (mut child, shown) = said(&mut command, lines);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        duvisor(&["trace", "info", &file]).ended(0);
        let ran = duvisor(&["replay", &file]).ended(0);
        assert!(ran.err.contains("duvisor: the recording breaks off here"), "{ran:#?}");
        // What was printed last may not be on record yet; what was typed before it is.
        let inputs = duvisor(&["trace", "cat", "--kind", "input", &file]).ended(0).out;
        for word in &words {
            if shown.contains(&format!("you typed: {word}\r\n")) {
                assert!(inputs.contains(&format!("\"{word}\\n\"")), "{lines}: {word}\n{inputs}");
                assert!(ran.out.contains(&format!("{word}\r\n")), "{lines}: {word}\n{}", ran.out);
            }
        }
        let (short, long) =
            if shown.len() < ran.out.len() { (&shown, &ran.out) } else { (&ran.out, &shown) };
        assert!(long.starts_with(short.as_str()), "{shown}\n{}", ran.out);
        replays(&file);
    }
}

/// Records a guest whose memory cannot be made smaller, where files may have `blocks` of 512 bytes
/// (of 1024, some shells say).
fn on_a_full_disk(name: &str, policy: &str) -> (Child, String) {
    let program = scratch_with(&format!("{name}.elf"), elf(FILLS_MEMORY));
    let file = fresh(&format!("{name}.dvt"));
    let script = "trap '' XFSZ; ulimit -S -f 12288; exec \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script, "sh", PROGRAM, "record", &program, "-o", &file, "--warp"])
        .args(["--max-steps", "150000000", "--on-full", policy])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, file)
}

fn output(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    Ran { code: output.status.code(), out, err }
}

fn is_valid(file: &str) {
    duvisor(&["trace", "info", file]).ended(0);
    replays(file);
    assert!(fs::metadata(file).unwrap().len() < 13 << 20);
}

#[test]
fn on_a_full_disk_a_run_that_goes_on_leaves_a_recording_of_its_begin() {
    for policy in ["continue", "stop"] {
        let (child, file) = on_a_full_disk(&format!("full-{policy}"), policy);
        let ran = output(child).ended(1);
        let said = "the recording is not complete: it ends before the run does: no space is left";
        assert!(ran.err.contains(said), "{ran:#?}");
        is_valid(&file);
    }
}

/// A run that waits, and what it said.
fn waiting_for_room(child: &mut Child) -> String {
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("the guest waits for room") {
        assert!(err.read_line(&mut shown).unwrap() > 0, "it ended: {shown}");
    }
    child.stderr = Some(err.into_inner());
    shown
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[test]
fn on_a_full_disk_a_guest_waits_until_there_is_room() {
    let (mut child, file) = on_a_full_disk("full-room", "pause");
    waiting_for_room(&mut child);
    let limit = Rlimit { current: None, maximum: None };
    prlimit(Some(pid(&child)), Resource::Fsize, limit).unwrap();
    let ran = output(child).ended(124);
    assert!(!ran.err.contains("not complete"), "{ran:#?}");
    replays(&file);
    assert!(fs::metadata(&file).unwrap().len() > 16 << 20, "not all of memory is there");
}

#[test]
fn whoever_does_not_want_to_wait_for_room_ends_the_run() {
    let (mut child, file) = on_a_full_disk("full-quit", "pause");
    waiting_for_room(&mut child);
    kill_process(pid(&child), Signal::INT).unwrap();
    let ran = output(child).ended(1);
    assert!(ran.err.contains("the recording is not complete"), "{ran:#?}");
    is_valid(&file);
}

/// What a run is does not depend on whether it is recorded.
#[test]
fn recording_changes_nothing_of_the_run() {
    let plain = run("demo", &["--max-steps", "3000000", "--digest"]).ended(124);
    for options in [&["--inputs-only"][..], &[]] {
        let file = fresh("same-run.dvt");
        let args = [&["--max-steps", "3000000", "--digest"], options].concat();
        let recorded = record("demo", &file, &args).ended(124);
        assert_eq!(recorded.digests(), plain.digests());
        let replayed = duvisor(&["replay", "--digest", &file]).ended(0);
        assert_eq!(replayed.digests(), plain.digests());
        assert!(Path::new(&file).exists());
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

/// The recording of a run, said to be of another one.
fn with_other_setting(file: &str, setting: &[u8], value: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    let end = 32 + usize::try_from(u32::from_le_bytes(bytes[12..16].try_into().unwrap())).unwrap();
    let found = bytes[..end].windows(setting.len()).position(|it| it == setting).unwrap();
    bytes[found + setting.len() - value.len()..found + setting.len()].copy_from_slice(value);
    let crc = crc32c(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn another_run_is_told_with_both_sides() {
    let file = fresh("other-run.dvt");
    record("demo", &file, &["--max-steps", "300000"]).ended(124);
    with_other_setting(&file, b"quantum\x0510000", b"17000");
    let ran = duvisor(&["replay", "--verify", &file]).ended(3);
    for said in [
        "duvisor: the replay is another run: noticed at step ",
        "up to step 0 it was the same\n  recorded: ",
        "\n  replayed: ",
        "duvisor: how many blocks are kept makes no difference",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    // The chain begins with the header.
    let ran = duvisor(&["trace", "verify", &file]).ended(1);
    assert!(ran.out.contains("does not follow from the one before"), "{ran:#?}");
}

#[test]
fn the_step_at_which_two_programs_part_is_found() {
    let file = fresh("bisected.dvt");
    record("demo", &file, &["--max-steps", "120000000"]).ended(124);
    let same = duvisor(&["trace", "bisect", &file, "--with", PROGRAM]).ended(0);
    assert!(same.out.starts_with("the same in all "), "{same:#?}");
    for at in [1_u64, 700_001, 90_000_000] {
        // A program that gets everything right up to this step.
        let script = format!(
            "#!/bin/sh\n[ \"$4\" -lt {at} ] && exec {PROGRAM} \"$@\"\n\
             {PROGRAM} \"$@\" | sed 's/^digest of state  ./digest of state  x/'\n"
        );
        let other = scratch_with(&format!("other-{at}.sh"), script);
        fs::set_permissions(&other, PermissionsExt::from_mode(0o755)).unwrap();
        let ran = duvisor(&["trace", "bisect", &file, "--with", &other]).ended(1);
        let first = ran.out.lines().next().unwrap();
        assert_eq!(
            first,
            format!("step {at} is the first at which the replays differ; before it:")
        );
        assert!(ran.out.contains(&format!("\nstep {} event ", at - 1)), "{ran:#?}");
    }
    let ran = duvisor(&["trace", "bisect", &file, "--with", "/bin/false"]).ended(2);
    assert!(ran.err.contains("/bin/false ended with exit status: 1"), "{ran:#?}");
}

/// Whatever is kept of decoded code, the replays are the same.
#[test]
fn this_programs_replays_do_not_part() {
    let file = fresh("not-parted.dvt");
    record("smc", &file, &[]).ended(0);
    duvisor(&["trace", "bisect", &file]).ended(0);
    duvisor(&["trace", "bisect", "--blocks", "64", &file]).ended(0);
}
