//! Every kind of violation, tried in a process of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use libc::c_long;
use sandbox::{Disk, Lack, Plan, Sandbox, Ui};
use signal_hook::consts::SIGSYS;

/// Tells a process which of the calls it tries, and what shows its run.
const CALL: &str = "SANDBOX_TEST_CALL";
const UI: &str = "SANDBOX_TEST_UI";

/// Exit codes of the process that tries.
const REFUSED: i32 = 50;
const CAUGHT: i32 = 51;
const MADE: i32 = 52;
const LACKS: i32 = 53;

/// A name, a number, and arguments that do no harm where nothing is held.
type Try = (&'static str, c_long, [c_long; 6]);

const EXEC: c_long = (libc::PROT_READ | libc::PROT_EXEC) as c_long;
const ANONYMOUS: c_long = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as c_long;
const TCGETS: c_long = 0x5401;
const TIOCSTI: c_long = 0x5412;

/// What ends the process, or raises SIGSYS.
#[rustfmt::skip]
const VIOLATIONS: &[Try] = &[
    ("execve",            libc::SYS_execve,            [0; 6]),
    ("execveat",          libc::SYS_execveat,          [-1, 0, 0, 0, 0, 0]),
    ("ptrace",            libc::SYS_ptrace,            [-1, 0, 0, 0, 0, 0]),
    ("process_vm_readv",  libc::SYS_process_vm_readv,  [0; 6]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [0; 6]),
    ("mmap executable",   libc::SYS_mmap,              [0, 4096, EXEC, ANONYMOUS, -1, 0]),
    ("mprotect executable", libc::SYS_mprotect,        [0, 0, EXEC, 0, 0, 0]),
    ("memfd_create",      libc::SYS_memfd_create,      [0; 6]),
    ("openat to write",   libc::SYS_openat,            [-1, 0, libc::O_WRONLY as c_long, 0, 0, 0]),
    ("openat to create",  libc::SYS_openat,
        [-1, 0, (libc::O_RDWR | libc::O_CREAT) as c_long, 0, 0, 0]),
    ("unlinkat",          libc::SYS_unlinkat,          [-1, 0, 0, 0, 0, 0]),
    ("socket",            libc::SYS_socket,            [2, 1, 0, 0, 0, 0]),
    ("connect",           libc::SYS_connect,           [-1, 0, 0, 0, 0, 0]),
    ("kill another",      libc::SYS_kill,              [1, 0, 0, 0, 0, 0]),
    ("kill the group",    libc::SYS_kill,              [0, 0, 0, 0, 0, 0]),
    ("unshare",           libc::SYS_unshare,           [0; 6]),
    ("bpf",               libc::SYS_bpf,               [-1, 0, 0, 0, 0, 0]),
    ("io_uring_setup",    libc::SYS_io_uring_setup,    [0; 6]),
];

/// What is refused, and nothing else.
#[rustfmt::skip]
const REFUSALS: &[Try] = &[
    ("openat",            libc::SYS_openat,            [-1, 0, 0, 0, 0, 0]),
    ("clone3",            libc::SYS_clone3,            [0; 6]),
    ("close",             libc::SYS_close,             [-1, 0, 0, 0, 0, 0]),
    ("getpid",            libc::SYS_getpid,            [0; 6]),
    ("getdents64",        libc::SYS_getdents64,        [-1, 0, 0, 0, 0, 0]),
    ("dup",               libc::SYS_dup,               [0; 6]),
    ("prctl",             libc::SYS_prctl,             [3, 0, 0, 0, 0, 0]),    // PR_GET_DUMPABLE
    ("ioctl TIOCSTI",     libc::SYS_ioctl,             [-1, TIOCSTI, 0, 0, 0, 0]),
    ("sendto",            libc::SYS_sendto,            [-1, 0, 0, 0, 0, 0]),
    ("pwrite64",          libc::SYS_pwrite64,          [-1, 0, 0, 0, 0, 0]),
    ("number 4095",       4095,                        [0; 6]),
];

/// What a process does only to die: it dies of it.
#[rustfmt::skip]
const DEATHS: &[Try] = &[
    ("rt_sigaction",      libc::SYS_rt_sigaction,      [0; 6]),
    ("tgkill",            libc::SYS_tgkill,            [0; 6]),
];

/// What is still there: these fail for reasons of their own, or do nothing.
#[rustfmt::skip]
const ALLOWED: &[Try] = &[
    ("read",              libc::SYS_read,              [-1, 0, 0, 0, 0, 0]),
    ("mmap",              libc::SYS_mmap,              [0, 0, 0, ANONYMOUS, -1, 0]),
    ("ioctl TCGETS",      libc::SYS_ioctl,             [-1, TCGETS, 0, 0, 0, 0]),
    ("pread64",           libc::SYS_pread64,           [-1, 0, 0, 0, 0, 0]),
];

fn all() -> impl Iterator<Item = &'static Try> {
    [VIOLATIONS, REFUSALS, DEATHS, ALLOWED].into_iter().flatten()
}

#[expect(unsafe_code, reason = "no safe interface makes calls that are not to be made")]
fn errno((_, number, args): &Try) -> Option<i32> {
    let [a, b, c, d, e, f] = *args;
    // SAFETY: where the call is made, its arguments name no memory, file or process.
    let result = unsafe { libc::syscall(*number, a, b, c, d, e, f) };
    if result == -1 { std::io::Error::last_os_error().raw_os_error() } else { None }
}

/// Not a test by itself: what the process of a test does.
#[test]
fn probe() {
    let Ok(name) = std::env::var(CALL) else { return };
    let ui = if std::env::var(UI).unwrap() == "terminal" { Ui::Terminal } else { Ui::Headless };
    let caught = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGSYS, Arc::clone(&caught)).unwrap();
    let sandbox = Sandbox::begin(Plan { ui, disk: Disk::Read, records: false });
    if sandbox.lacks().iter().any(|lack| matches!(lack, Lack::Seccomp(_))) {
        std::process::exit(LACKS);
    }
    if name == "open a file before the end of set-up" {
        let lacks = sandbox.lacks().iter().any(|lack| matches!(lack, Lack::Landlock(_)));
        let opened = std::fs::File::open("/proc/self/status").map_err(|error| error.kind());
        let refused = matches!(opened, Err(std::io::ErrorKind::PermissionDenied));
        std::process::exit(if lacks {
            LACKS
        } else if refused {
            REFUSED
        } else {
            MADE
        });
    }
    // The call is made by a thread that did not close the process.
    let (go, wait) = sync_channel(0);
    let thread = std::thread::spawn(move || {
        wait.recv().and_then(|()| wait.recv()).unwrap();
        errno(all().find(|(this, ..)| *this == name).unwrap())
    });
    go.send(()).unwrap();
    sandbox.close().unwrap();
    go.send(()).unwrap();
    let errno = thread.join().unwrap();
    std::process::exit(match (caught.load(Ordering::Relaxed), errno) {
        (true, _) => CAUGHT,
        (false, Some(libc::EPERM)) => REFUSED,
        (false, _) => MADE,
    });
}

fn try_it(name: &str, ui: &str) -> ExitStatus {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "violations::probe", "--nocapture"])
        .envs([(CALL, name), (UI, ui)])
        .output()
        .unwrap();
    output.status
}

#[expect(clippy::print_stderr, reason = "what a test leaves out, it says")]
fn left_out(status: ExitStatus, what: &str) -> bool {
    if status.code() == Some(LACKS) {
        eprintln!("LEFT OUT: this host has no {what}");
        return true;
    }
    false
}

#[test]
fn a_violation_kills_a_headless_run() {
    for (name, ..) in VIOLATIONS.iter().chain(DEATHS) {
        let status = try_it(name, "headless");
        if left_out(status, "seccomp") {
            return;
        }
        assert_eq!(status.signal(), Some(SIGSYS), "{name}: {status}");
    }
}

#[test]
fn a_violation_is_refused_and_told_where_there_is_a_terminal_to_give_back() {
    for (name, ..) in VIOLATIONS {
        let status = try_it(name, "terminal");
        if left_out(status, "seccomp") {
            return;
        }
        assert_eq!(status.code(), Some(CAUGHT), "{name}: {status}");
    }
    for (name, ..) in DEATHS {
        let status = try_it(name, "terminal");
        assert_eq!(status.signal(), Some(SIGSYS), "{name}: {status}");
    }
}

#[test]
fn what_is_not_on_the_list_is_refused() {
    for ui in ["headless", "terminal"] {
        for (name, ..) in REFUSALS {
            let status = try_it(name, ui);
            if left_out(status, "seccomp") {
                return;
            }
            assert_eq!(status.code(), Some(REFUSED), "{ui}, {name}: {status}");
        }
        for (name, ..) in ALLOWED {
            let status = try_it(name, ui);
            assert_eq!(status.code(), Some(MADE), "{ui}, {name}: {status}");
        }
    }
}

#[test]
fn only_the_terminal_ui_can_suspend() {
    let calls = |ui| sandbox::allowed(Plan { ui, disk: Disk::None, records: false });
    assert!(calls(Ui::Terminal).iter().any(|call| call.name == "kill"));
    assert!(!calls(Ui::Headless).iter().any(|call| call.name == "kill"));
}

#[test]
fn no_path_can_be_opened_while_threads_are_still_started() {
    let status = try_it("open a file before the end of set-up", "headless");
    if !left_out(status, "Landlock") {
        assert_eq!(status.code(), Some(REFUSED), "{status}");
    }
}
