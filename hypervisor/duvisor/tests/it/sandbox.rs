//! The process itself: what it may still do while a guest runs, and who may look into it.
//!
//! The tests of the crate `sandbox` try what is forbidden; here is what the program does.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use sandbox::{Disk, Plan, SPARED, Ui, allowed};

use crate::debian::{boot_args, disk_script, fetched, image, left_out};
use crate::program::{duvisor, prebuilt, scratch, scratch_with, text};
use crate::programs::FILLS_MEMORY;
use crate::recordings::{fresh, replays};

const PROGRAM: &str = env!("CARGO_BIN_EXE_duvisor");

/// A call as `strace -f` shows it: its name, and whether it was refused.
fn call(line: &str) -> Option<(&str, bool)> {
    // "PID name(…) = result", or "PID <... name resumed>…) = result".
    let (_, line) = line.split_once(' ')?;
    let line = line.trim_start();
    let refused = line.contains(" = -1 EPERM");
    if let Some(rest) = line.strip_prefix("<... ") {
        return rest.split_once(" resumed>").map(|(name, _)| (name, refused));
    }
    let (name, _) = line.split_once('(')?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // What another thread interrupted is told of where it resumes, but for ends.
    let told = !line.ends_with("<unfinished ...>") || name.starts_with("exit");
    (is_name && told).then_some((name, refused))
}

fn thread_of(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// The threads that have begun a call and not ended it.
fn in_calls(trace: &str) -> BTreeSet<&str> {
    let mut threads = BTreeSet::new();
    for line in trace.lines() {
        let thread = thread_of(line);
        if line.ends_with("<unfinished ...>") {
            threads.insert(thread);
        } else {
            threads.remove(thread);
        }
    }
    threads
}

/// The calls of a traced run once it was closed are those that such a run may make.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the list is there to be read")]
fn only_allowed(plan: Plan, trace: &Path) {
    let trace = std::fs::read_to_string(trace).unwrap();
    let allowed: BTreeSet<&str> = allowed(plan).iter().map(|call| call.name).collect();
    let spared: BTreeSet<&str> = SPARED.iter().map(|call| call.name).collect();
    // Landlock is for the thread that asks for it and those that it starts: there is no other yet.
    if let Some((before, _)) = trace.split_once("landlock_restrict_self(") {
        let mut clones = before.lines().filter(|line| line.contains("clone"));
        assert!(clones.all(|line| !line.contains("CLONE_THREAD")), "{plan:?}: a thread was early");
    }
    // Two steps, three filters; the last one is that which closes.
    let closed = trace.match_indices("seccomp").map(|(at, _)| at).filter(|at| {
        let line = trace[*at..].lines().next().unwrap_or_default();
        line.ends_with("= 0") && !line.starts_with("seccomp(SECCOMP_GET")
    });
    let closed: Vec<usize> = closed.collect();
    assert_eq!(closed.len(), 3, "filters that were taken: {closed:?}");
    let mut in_calls = in_calls(&trace[..closed[2]]);
    let mut made = BTreeSet::new();
    let saver = saver(&trace);
    for line in trace[closed[2]..].lines().skip(1) {
        if saver.is_some_and(|saver| line.starts_with(saver)) {
            continue;
        }
        let Some((name, refused)) = call(line) else { continue };
        // What began before the filter came is none of what it is to stop.
        if line.contains(" resumed>") && in_calls.remove(thread_of(line)) {
            continue;
        }
        made.insert(name);
        let expected = allowed.contains(name) && !refused || spared.contains(name) && refused;
        assert!(expected, "{plan:?}: {line}");
    }
    let made: Vec<&str> = made.into_iter().collect();
    println!("{plan:?} called {}: {}", made.len(), made.join(" "));
    assert!(made.contains(&"exit_group"), "the trace is not whole: {made:?}");
}

/// The process that writes files for this one, as `strace` names it: it is started before.
fn saver(trace: &str) -> Option<&str> {
    let programs = trace.lines().filter(|line| line.contains(" execve("));
    programs.skip(1).find_map(|line| line.split_once(' ')).map(|(process, _)| process)
}

fn strace() -> bool {
    let there = Command::new("strace").arg("-V").output().is_ok();
    there || left_out("strace is not here: install strace")
}

/// A command under strace, whose file is this.
fn traced(trace: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "0", "-o"]).arg(trace).arg(PROGRAM).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn headless(name: &str, disk: Disk, args: &[&str], code: i32) {
    let records = args.contains(&"--record");
    let trace = scratch(name);
    let output = traced(&trace, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    only_allowed(Plan { ui: Ui::Headless, disk, records }, &trace);
}

#[test]
fn a_headless_run_calls_what_is_on_the_list_and_nothing_else() {
    if !strace() {
        return;
    }
    headless("hello.strace", Disk::None, &["run", "hello", "--headless"], 0);
    let events = text(scratch("sandbox.jsonl"));
    let log = text(scratch("sandbox.log"));
    let steps = ["--max-steps", "3000000", "--digest", "--events", &events, "--log", &log];
    let mut demo = vec!["run", "demo", "--headless"];
    demo.extend(steps);
    headless("demo.strace", Disk::None, &demo, 124);
    let program = text(prebuilt("hello"));
    let machine = ["machine", "--max-steps", "100000", &program];
    headless("machine.strace", Disk::None, &machine, 124);
    // What writes the file is another process.
    let (failing, file) = (crate::save::failing(), scratch("traced-crash.dvt"));
    let _ = std::fs::remove_file(&file);
    let file = text(file);
    let crash = ["run", &failing, "--headless", "--save-on-crash", &file];
    headless("crash.strace", Disk::None, &crash, 1);
}

/// Far enough for keyframes, and for room that is made for them; and a run that goes on.
#[test]
fn a_recorded_run_calls_what_is_on_the_list_and_nothing_else() {
    if !strace() {
        return;
    }
    let program = scratch_with("recorded-strace.elf", crate::programs::elf(FILLS_MEMORY));
    let (file, again) = (fresh("strace.dvt"), fresh("strace-again.dvt"));
    let disk = scratch_with("recorded-strace.img", vec![0; 1 << 20]);
    let run = ["run", &program, "--headless", "--disk", &disk, "--record", &file];
    let args = [&run[..], &["--max-steps", "120000000"]].concat();
    headless("recorded.strace", Disk::Read, &args, 124);
    let trace = std::fs::read_to_string(scratch("recorded.strace")).unwrap();
    for call in ["fallocate(", "pwrite64(", "ftruncate("] {
        assert!(trace.contains(call), "{call}");
    }
    replays(&file);
    let restore = ["snapshot", "restore", &file, "--headless", "--record", &again];
    let args = [&restore[..], &["--max-steps", "1000000"]].concat();
    headless("resumed.strace", Disk::Read, &args, 124);
    replays(&again);
}

#[test]
fn a_recorded_run_with_the_terminal_ui_calls_what_is_on_the_list() {
    if !strace() {
        return;
    }
    let (file, again) = (fresh("ui.dvt"), fresh("ui-again.dvt"));
    let plan = Plan { ui: Ui::Terminal, disk: Disk::None, records: true };
    for args in [
        &["run", "demo", "--record", &file][..],
        &["snapshot", "restore", &file, "--record", &again],
    ] {
        let trace = scratch("ui-recorded.strace");
        let mut run = Watched::start(traced(&trace, args));
        run.expect("LIVE");
        assert_eq!(run.quit(), Some(0));
        only_allowed(plan, &trace);
    }
    replays(&file);
    replays(&again);
}

#[test]
fn a_boot_with_a_disk_calls_what_is_on_the_list_and_nothing_else() {
    if !strace() || !fetched() {
        return;
    }
    let Some(image) = image("sandbox.img") else { return };
    let script = disk_script("sandbox.script", "");
    let disk = format!("{},rw", text(image));
    let args = boot_args(&script, &["-c", "4", "--disk", &disk]);
    headless("debian.strace", Disk::Write, &args, 0);
}

/// A host that does not have these system calls.
fn without(calls: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]);
    for call in calls {
        command.arg("-e").arg(format!("inject={call}:error=ENOSYS"));
    }
    command.arg(PROGRAM).stdin(Stdio::null());
    command
}

#[test]
fn a_host_that_lacks_something_is_told_and_the_guest_runs() {
    if !strace() {
        return;
    }
    let landlock = ("landlock_create_ruleset", "this host has no Landlock");
    let seccomp = ("seccomp", "this host takes no seccomp filter");
    for lacking in [&[landlock][..], &[seccomp], &[landlock, seccomp]] {
        let calls: Vec<&str> = lacking.iter().map(|(call, _)| *call).collect();
        let output = without(&calls).args(["run", "hello", "--headless"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{calls:?}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("PASS hello"));
        for (_, sentence) in [landlock, seccomp] {
            let lacks = lacking.iter().any(|(_, wanted)| *wanted == sentence);
            assert_eq!(said.matches(sentence).count(), usize::from(lacks), "{calls:?}: {said}");
        }
    }
}

/// A run with the terminal UI on a terminal of its own.
struct Watched {
    child: Child,
    terminal: std::fs::File,
    shown: String,
}

impl Watched {
    fn start(mut command: Command) -> Self {
        let terminal =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        resize(&terminal, 100, 30);
        let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let open = || std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let child = command
            .env("TERM", "xterm")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        Self { child, terminal: terminal.into(), shown: String::new() }
    }

    /// Reads until this is shown; what was shown before does not count.
    fn expect(&mut self, what: &str) {
        let mut bytes = [0; 4096];
        while !self.shown.contains(what) {
            let n = self.terminal.read(&mut bytes).unwrap_or_else(|error| {
                panic!("{what:?} was not shown: {error}: {}", self.shown);
            });
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        self.shown.clear();
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Leaves by the keys; gives the exit code.
    fn quit(mut self) -> Option<i32> {
        self.press("qy");
        self.expect("driver calls after start: 0");
        self.child.wait().unwrap().code()
    }
}

fn resize(terminal: &impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn the_terminal_ui_calls_what_is_on_the_list_and_nothing_else() {
    if !strace() {
        return;
    }
    let trace = scratch("terminal.strace");
    let saved = scratch("terminal-saved.dvt");
    let _ = std::fs::remove_file(&saved);
    let saved = text(saved);
    let mut run = Watched::start(traced(&trace, &["run", "demo", "--save", &saved]));
    run.expect("LIVE");
    run.press("S");
    run.expect("saved ");
    // A smaller screen is drawn anew.
    resize(&run.terminal, 90, 25);
    run.expect("LIVE");
    assert_eq!(run.quit(), Some(0));
    only_allowed(Plan { ui: Ui::Terminal, disk: Disk::None, records: false }, &trace);
    let replayed = duvisor(&["replay", &saved, "--verify"]).ended(0);
    assert!(replayed.err.contains("the same run"), "{replayed:#?}");
}

/// Nobody opens another terminal to give that one back.
#[test]
fn a_terminal_that_was_closed_is_no_violation() {
    let events = text(scratch("closed-terminal.jsonl"));
    let mut command = Command::new(PROGRAM);
    command.args(["run", "demo", "--events", &events]);
    let mut run = Watched::start(command);
    run.expect("LIVE");
    let Watched { mut child, terminal, .. } = run;
    drop(terminal);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let written = std::fs::read_to_string(&events).unwrap();
    assert!(written.ends_with("\"state\":{\"ended\":\"user\"}}\n"), "the file is not whole");
}

/// A line of a status file of each thread.
fn each_thread(pid: u32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")));
    let line = |status: std::io::Result<String>| {
        let status = status.unwrap();
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim().to_owned()
    };
    status.map(line).collect()
}

#[test]
fn every_thread_is_closed_before_the_guest_runs_and_none_without_a_sandbox() {
    let filters = each_thread(std::process::id(), "Seccomp_filters:")[0].parse::<u32>().unwrap();
    let expect = |more: u32| (filters + more).to_string();
    for (option, more) in [("--warp", 3), ("--no-sandbox", 0)] {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "demo", option]);
        let mut run = Watched::start(command);
        run.expect("LIVE");
        let threads = each_thread(run.child.id(), "Seccomp_filters:");
        assert!(threads.len() >= 3, "{threads:?}");
        assert!(threads.iter().all(|filters| *filters == expect(more)), "{option}: {threads:?}");
        assert_eq!(run.quit(), Some(0));

        let mut headless = waiting(&["run", "demo", "--headless", option], None);
        let threads = each_thread(headless.id(), "Seccomp_filters:");
        assert!(threads.iter().all(|filters| *filters == expect(more)), "{option}: {threads:?}");
        headless.kill().unwrap();
        headless.wait().unwrap();
    }
}

/// A headless run whose guest has said something already.
fn waiting(args: &[&str], user: Option<u32>) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "{args:?} said nothing");
    child.stdout = Some(out.into_inner());
    child
}

/// The state of a run does not depend on what its process may do.
#[test]
fn a_run_without_a_sandbox_is_the_same_run() {
    let closed = duvisor(&["run", "hello", "--headless", "--warp", "--digest"]).ended(0);
    let open = duvisor(&["run", "hello", "--headless", "--warp", "--digest", "--no-sandbox"]);
    let open = open.ended(0);
    assert_eq!(closed.digests(), open.digests());
    assert_eq!((closed.out, closed.err), (open.out, open.err));
}

#[test]
fn files_are_for_their_owner_only() {
    let files = ["private.jsonl", "private.log", "private.dtb"].map(scratch);
    for file in &files {
        let _ = std::fs::remove_file(file);
    }
    let [events, log, tree] = files.clone().map(text);
    duvisor(&["run", "hello", "--headless", "--events", &events, "--log", &log]).ended(0);
    duvisor(&["run", "hello", "--dump-dtb", &tree]).ended(0);
    for file in &files {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

/// Two users of this machine who are nobody else.
const USERS: [u32; 2] = [64_321, 64_322];

/// What another process finds out about a run: one word for each file that it could read.
fn readable(pid: u32, user: u32, also: &str) -> String {
    let proc = format!("/proc/{pid}");
    let script = format!(
        "for f in mem maps environ fd/0 auxv; do (: <{proc}/$f) 2>/dev/null && echo $f; done; \
         (: <{also}) 2>/dev/null && echo events; true"
    );
    let said = Command::new("sh").args(["-c", &script]).uid(user).gid(user).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn neither_another_user_nor_another_process_of_the_same_user_can_look_inside() {
    if !rustix::process::geteuid().is_root() {
        left_out_here("a second user needs root: it was not tried what one can read");
        return;
    }
    let works = |user| Command::new(PROGRAM).arg("-V").uid(user).gid(user).output().is_ok();
    if !works(USERS[0]) {
        left_out_here("other users cannot start the program where it is: none was tried");
        return;
    }
    let folder = std::env::temp_dir().join(format!("duvisor-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let events = text(folder.join("events"));
    let run = |options: &[&str]| {
        let mut args = vec!["run", "demo", "--headless", "--warp"];
        args.extend(options);
        waiting(&args, Some(USERS[0]))
    };
    let mut closed = run(&["--events", &events]);
    let found = USERS.map(|user| readable(closed.id(), user, &events));
    closed.kill().unwrap();
    closed.wait().unwrap();
    // The owner can read the file; that is all.
    assert_eq!(found, ["events", ""]);
    let mut open = run(&["--no-sandbox"]);
    let found = USERS.map(|user| readable(open.id(), user, "/nonexistent"));
    open.kill().unwrap();
    open.wait().unwrap();
    assert!(found[0].starts_with("mem maps environ"), "{found:?}");
    assert_eq!(found[1], "");
    std::fs::remove_dir_all(folder).unwrap();
}

#[expect(clippy::print_stderr, reason = "what a test leaves out, it says")]
fn left_out_here(what: &str) {
    eprintln!("LEFT OUT: {what}");
}

#[test]
fn files_that_are_written_at_the_end_are_opened_at_the_begin() {
    let program = scratch_with("no-signature.elf", crate::programs::elf(&[0x0000_006f]));
    let file = text(scratch("no-signature"));
    let ran = duvisor(&["machine", &program, "--signature", &file]).ended(2);
    assert!(ran.err.contains("the program has no begin_signature"), "{ran:#?}");
}
