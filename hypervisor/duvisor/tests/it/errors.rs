//! Bad input gets one sentence, exit code 2 and nothing on standard output; bad guests get an end.

use std::fs::File;

use crate::program::{Ran, duvisor, prebuilt, run, scratch, scratch_with, text};
use crate::programs::{
    BREAKS_A_RING, CLASS, ENTRY, FAULTS_FOR_EVER, LOOKS_AT_A1, MACHINE, PADDR, TO_NOWHERE,
    WAITS_FOR_NOTHING, elf,
};

/// What is said of these arguments, with `[DIR]` for the folder of scratch files.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let Ran { code, out, err } = duvisor(args);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    let folder = text(scratch(""));
    let prebuilt = text(prebuilt("hello")).replace("hello.elf", "");
    let shown = err.replace(&folder, "[DIR]/").replace(&prebuilt, "[GUESTS]/");
    shown.trim_end().to_owned()
}

/// The same of several lists of arguments, each with its answer, is the snapshot of that name.
#[track_caller]
fn all_refused(name: &str, table: &[&[&str]]) {
    let shown = table.iter().map(|args| {
        let said = refused(args);
        // Ours are one line; clap adds how the verb is used.
        let first = said.split("\n\n").next().unwrap_or_default().replace("\n  [", " [");
        let file = |arg: &&str| arg.rsplit('/').next().unwrap_or_default().to_owned();
        let args: Vec<String> = args.iter().map(file).collect();
        format!("duvisor {}\n  {first}", args.join(" "))
    });
    let shown = shown.collect::<Vec<_>>().join("\n");
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

#[test]
fn files_that_are_no_guest() {
    let patched = |name: &str, at: usize, byte: u8| {
        let mut file = elf(TO_NOWHERE);
        file[at] = byte;
        scratch_with(name, file)
    };
    let text = scratch_with("text", "hello\n");
    let empty = scratch_with("empty", "");
    let small = patched("elf32", CLASS, 1);
    let arm = patched("elf-aarch64", MACHINE, 183);
    let low = patched("elf-low", PADDR + 3, 0x10);
    let cut = scratch_with("elf-cut", &elf(TO_NOWHERE)[..100]);
    all_refused(
        "files_that_are_no_guest",
        &[
            &["run", "nothing-of-this-name"],
            &["run", "--kernel", "/nonexistent/Image"],
            &["run", &text],
            &["run", &empty],
            &["run", &small],
            &["run", &arm],
            &["run", &low],
            &["run", &cut],
            &["run", "."],
            &["run", "hello", "--headless", "--initrd", "/nonexistent/initrd"],
            &["machine"],
            &["machine", "/nonexistent/program.elf"],
            &["machine", &text],
            &["machine", &small],
            &["machine", "--firmware", "/nonexistent/fw_jump.bin"],
        ],
    );
}

#[test]
fn memory_and_what_does_not_fit_in_it() {
    let initrd = scratch("large.cpio");
    File::create(&initrd).unwrap().set_len(64 << 20).unwrap();
    let initrd = text(initrd);
    let line = "x".repeat(5000);
    all_refused(
        "memory_and_what_does_not_fit_in_it",
        &[
            &["run", "hello", "-m", "1M"],
            &["run", "hello", "-m", "4K"],
            &["run", "hello", "--kernel", &text(prebuilt("wfi")), "-m", "1M"],
            &["run", "hello", "-m", "4T"],
            &["run", "hello", "-m", "64G"],
            &["run", "hello", "-m", "4096G"],
            &["run", "hello", "-m", "32M", "--initrd", &initrd],
            &["run", "hello", "-m", "32M", "--initrd", &initrd, "--dump-dtb", "/nonexistent"],
            &["machine", &text(prebuilt("hello")), "-m", "1M"],
            &["machine", &text(prebuilt("hello")), "-m", "32M", "--initrd", &initrd],
        ],
    );
    // As much as no host has, or no machine may have.
    let much = refused(&["machine", &text(prebuilt("hello")), "-m", "16777216G"]);
    assert!(much.starts_with("duvisor: --mem: "), "{much}");
    let long = refused(&["run", "hello", "--append", &line]);
    assert!(long.contains("the command line has 5000 bytes, at most 4096"), "{long}");
}

#[test]
fn values_that_options_do_not_take() {
    all_refused(
        "values_that_options_do_not_take",
        &[
            &["run", "--leaf", "3m"],
            &["run", "--mem", "12Q"],
            &["run", "--mem", "100"],
            &["run", "--vcpus", "0"],
            &["run", "--vcpus", "9"],
            &["run", "--vcpus", "many"],
            &["run", "--isa", "rv32i"],
            &["run", "--isa", "no-such"],
            &["run", "--isa", "no-xdv"],
            &["run", "--seed", "x"],
            &["run", "--rtc-base", "99999999999999"],
            &["run", "--quantum", "0"],
            &["run", "--blocks", "0"],
            &["run", "--max-steps", "-1"],
            &["run", "--max-steps", "1e9"],
            &["run", "--colors", "pink"],
            &["run", "--frobnicate"],
            &["machine", &text(prebuilt("hello")), "--smp", "0"],
            &["machine", &text(prebuilt("hello")), "--smp", "9"],
            &["guest", "path", "hello"],
            &["guest", "fetch", "no-such-guest"],
            &["completions", "tcsh"],
            &["frobnicate"],
        ],
    );
}

#[test]
fn disks_that_cannot_be_opened() {
    let odd = scratch_with("odd.img", [0; 1000]);
    let empty = scratch_with("empty.img", "");
    let busy = scratch_with("busy.img", [0; 1024]);
    let lock = File::open(&busy).unwrap();
    lock.try_lock().unwrap();
    all_refused(
        "disks_that_cannot_be_opened",
        &[
            &["run", "hello", "--disk", "/nonexistent/disk.img"],
            &["run", "hello", "--disk", &text(scratch(""))],
            &["run", "hello", "--disk", &odd],
            &["run", "hello", "--disk", &empty],
            &["run", "hello", "--disk", &format!("{busy},rw")],
            &["run", "hello", "--disk", "disk.img,xx"],
            &["run", "hello", "--disk", ",rw"],
        ],
    );
    drop(lock);
}

#[test]
fn scripts_trees_and_files_to_write() {
    let wrong = scratch_with("wrong.script", "# begin\nexpect a\nsleep 5\n");
    let binary = scratch_with("binary.script", [0xff, 0xfe]);
    let rubbish = scratch_with("rubbish.dtb", [0xd0; 64]);
    let mut tree = 0xd00d_feed_u32.to_be_bytes().to_vec();
    tree.extend(1_000_000_u32.to_be_bytes());
    tree.resize(64, 0);
    let long = scratch_with("long.dtb", tree);
    all_refused(
        "scripts_trees_and_files_to_write",
        &[
            &["run", "hello", "--headless", "--script", "/nonexistent/script"],
            &["run", "hello", "--headless", "--script", &wrong],
            &["run", "hello", "--script", &wrong],
            &["run", "hello", "--headless", "--script", &binary],
            &["run", "hello", "--dtb", "/nonexistent/dtb"],
            &["run", "hello", "--dtb", &rubbish],
            &["run", "hello", "--dtb", &long],
            &["run", "hello", "--dtb", &long, "--dump-dtb", "/nonexistent/dtb"],
            &["run", "hello", "--dtb", &long, "--append", "quiet"],
            &["machine", &text(prebuilt("hello")), "--dtb", "/nonexistent/dtb"],
            &["machine", &text(prebuilt("hello")), "--dtb", &rubbish],
            &["machine", &text(prebuilt("hello")), "--signature", "/nonexistent/signature"],
            &["run", "hello", "--events", "-"],
            &["run", "hello", "--headless", "--events", "/nonexistent/events"],
            &["run", "hello", "--dump-dtb", "/nonexistent/dtb"],
            &["run", "hello", "--headless", "--log", "/nonexistent/log"],
        ],
    );
}

/// Whoever mistypes an option keeps the events of the run before.
#[test]
fn an_event_file_is_not_touched_by_a_run_that_is_refused() {
    let events = scratch_with("kept.jsonl", "precious\n");
    let rubbish = scratch_with("kept.dtb", [0xd0; 64]);
    let wrong = scratch_with("kept.script", "sleep 5\n");
    let hello = text(prebuilt("hello"));
    for args in [
        &["run", "hello"][..],
        &["run", "hello", "--headless", "--dtb", &rubbish],
        &["run", "hello", "--headless", "--script", &wrong],
        &["run", "hello", "--headless", "-m", "1M"],
        &["machine", &hello, "--dtb", &rubbish],
        &["machine", &hello, "--script", &wrong],
        &["machine", &hello, "--signature", "/nonexistent/signature"],
    ] {
        let args = [args, &["--events", &events]].concat();
        refused(&args);
        assert_eq!(std::fs::read_to_string(&events).unwrap(), "precious\n", "{args:?}");
    }
}

/// Without a terminal there is nothing to show the exits on.
#[test]
fn the_terminal_ui_needs_a_terminal() {
    let said = refused(&["run", "hello"]);
    assert!(said.contains("standard output is not a terminal: use --headless"), "{said}");
}

#[test]
fn guests_that_get_nowhere_end_with_their_steps() {
    for (name, code) in [("nowhere.elf", TO_NOWHERE), ("faults.elf", FAULTS_FOR_EVER)] {
        let file = scratch_with(name, elf(code));
        let ran = run(&file, &["--max-steps", "100000"]).ended(124);
        assert!(ran.err.contains("--max-steps was reached"), "{ran:#?}");
        assert_eq!(ran.line("driver calls after start:"), "0");
    }
    // The bare machine: no hypervisor, the same end.
    let file = scratch_with("bare-nowhere.elf", elf(TO_NOWHERE));
    duvisor(&["machine", &file, "--max-steps", "100000"]).ended(124);
}

#[test]
fn a_broken_ring_is_told_to_the_guest() {
    let file = scratch_with("ring.elf", elf(BREAKS_A_RING));
    let ran = run(&file, &["--max-steps", "100000"]).ended(0);
    assert!(ran.err.contains("the guest powered off"), "{ran:#?}");
}

#[test]
fn a_guest_that_waits_for_nothing_is_stopped_with_a_reason() {
    let file = scratch_with("waits.elf", elf(WAITS_FOR_NOTHING));
    let ran = run(&file, &["--max-steps", "100000"]).ended(1);
    assert!(ran.err.contains("every vCPU waits, no timer is set and no input"), "{ran:#?}");
    let script = scratch_with("waits.script", "expect a prompt\nsend a line\n");
    let ran = run(&file, &["--script", &script]).ended(1);
    assert!(ran.err.contains("the script still expected \"a prompt\""), "{ran:#?}");
}

#[test]
fn a_script_that_never_heard_what_it_expected_is_a_finding() {
    let script = scratch_with("never.script", "send x\nexpect it never says this\n");
    let file = scratch_with("passes.elf", elf(LOOKS_AT_A1));
    let said = "the script still expected \"it never says this\"";
    let ran = run("hello", &["--script", &script]).ended(1);
    assert!(ran.err.contains("the guest powered off") && ran.err.contains(said), "{ran:#?}");
    let ran = duvisor(&["machine", &file, "--warp", "--script", &script]).ended(1);
    assert!(ran.err.contains("the guest powered off") && ran.err.contains(said), "{ran:#?}");
    // What it ended with is not forgotten.
    run("demo", &["--max-steps", "1000", "--script", &script]).ended(124);
    let heard = scratch_with("heard.script", "expect PASS\nsend too late to be typed\n");
    run("hello", &["--script", &heard]).ended(0);
}

/// `a1` is zero for a program that needs nothing.
#[test]
fn a_bare_program_finds_the_device_tree_that_it_is_given() {
    let file = scratch_with("a1.elf", elf(LOOKS_AT_A1));
    let (tree, initrd) = (text(scratch("a1.dtb")), scratch_with("a1.cpio", "initrd"));
    duvisor(&["machine", &file]).ended(0);
    duvisor(&["machine", &file, "--append", "quiet", "--dump-dtb", &tree]).ended(0);
    for given in [["--append", "quiet"], ["--initrd", &initrd], ["--dtb", &tree]] {
        let ran = duvisor(&["machine", &file, given[0], given[1]]).ended(1);
        assert!(ran.err.contains("the guest reported failure 208"), "{ran:#?}");
    }
}

#[test]
fn a_payload_lies_where_it_says() {
    let file = scratch_with("entry.elf", elf(TO_NOWHERE));
    let events = text(scratch("entry.jsonl"));
    run(&file, &["--max-steps", "10", "--events", &events]).ended(124);
    let first = std::fs::read_to_string(events).unwrap();
    assert!(first.contains(&format!("\"pc\":{ENTRY}")), "{first}");
}
