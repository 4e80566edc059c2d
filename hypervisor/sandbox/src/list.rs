//! The system calls of a process in which a guest runs, each with its reason (table)

use libc::c_long;

use crate::{Disk, Plan, Ui};

/// Runs that make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Always,
    Disk,
    /// A writable disk, or a recording.
    Written,
    Recording,
    Terminal,
}

/// Which of a call's uses a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    All,
    /// Of `mmap` and `mprotect`: the memory cannot be executed.
    NotExecutable,
    /// The opposite.
    Executable,
    /// Of `ioctl`: a terminal's mode and size.
    OfTerminals,
    /// Of `kill`: SIGTSTP to the process's own group.
    Suspend,
    /// Of `kill`: everything else.
    OtherSignals,
    /// Of calls that open a file, the number of the argument with the flags: not only to read.
    Writing(u8),
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name in the manual pages.
    pub name: &'static str,
    /// Why it is made, or why it is refused.
    pub why: &'static str,
    pub(crate) number: c_long,
    pub(crate) uses: Uses,
    need: Need,
}

macro_rules! row {
    ($name:ident $number:ident, $need:ident, $uses:expr, $why:expr) => {
        Call {
            name: stringify!($name),
            why: $why,
            number: libc::$number,
            uses: $uses,
            need: Need::$need,
        }
    };
}

/// What a run may call, all kinds of runs together.
#[rustfmt::skip]
pub const CALLS: &[Call] = &[
    row!(read            SYS_read,            Always,   Uses::All, "standard input, the terminal"),
    row!(write SYS_write, Always, Uses::All,
        "console, screen, events, log, last words"),
    row!(brk             SYS_brk,             Always,   Uses::All, "memory"),
    row!(mmap SYS_mmap, Always, Uses::NotExecutable,
        "memory, not executable"),
    row!(mprotect SYS_mprotect, Always, Uses::NotExecutable,
        "memory of a thread's heap, not executable"),
    row!(mremap          SYS_mremap,          Always,   Uses::All, "memory that grows"),
    row!(munmap          SYS_munmap,          Always,   Uses::All, "memory given back"),
    row!(madvise         SYS_madvise,         Always,   Uses::All, "memory given back"),
    row!(futex SYS_futex, Always, Uses::All,
        "threads that wait for one another, and waits with an end"),
    row!(clock_gettime SYS_clock_gettime, Always, Uses::All,
        "time, where the vDSO does not have it"),
    row!(restart_syscall SYS_restart_syscall, Always, Uses::All,
        "a wait that goes on after Ctrl-Z and `fg`"),
    row!(rt_sigreturn    SYS_rt_sigreturn,    Always,   Uses::All, "the end of a signal's handler"),
    row!(ioctl SYS_ioctl, Always, Uses::OfTerminals,
        "a terminal's mode and size, nothing else"),
    row!(exit            SYS_exit,            Always,   Uses::All, "the end of a thread"),
    row!(exit_group      SYS_exit_group,      Always,   Uses::All, "the end of the process"),
    row!(pread64         SYS_pread64,         Disk,     Uses::All, "reads of the disk image"),
    row!(fdatasync SYS_fdatasync, Disk, Uses::All,
        "the guest's flushes of the disk image"),
    row!(pwrite64 SYS_pwrite64, Written, Uses::All,
        "writes to the disk image and to a recording"),
    row!(fallocate       SYS_fallocate,       Recording, Uses::All, "room for a recording"),
    row!(ftruncate       SYS_ftruncate,       Recording, Uses::All, "the end of a recording"),
    EPOLL,
    row!(kill SYS_kill, Terminal, Uses::Suspend,
        "Ctrl-Z: SIGTSTP to the own process group, nothing else"),
];

/// How a C library waits for the terminal.
#[cfg(all(target_arch = "x86_64", not(target_env = "musl")))]
const EPOLL: Call = row!(epoll_wait SYS_epoll_wait, Terminal, Uses::All, "the terminal's input");
#[cfg(not(all(target_arch = "x86_64", not(target_env = "musl"))))]
const EPOLL: Call = row!(epoll_pwait SYS_epoll_pwait, Terminal, Uses::All, "the terminal's input");

/// What libraries do call while a guest runs or when it ends, but need not: they get `EPERM`.
#[rustfmt::skip]
pub const SPARED: &[Call] = &[
    row!(openat SYS_openat, Always, Uses::All,
        "a backtrace's names, `/dev/tty`'s size, the allocator's `/proc`: each has another way"),
    row!(close SYS_close, Always, Uses::All,
        "at the end of the run: the end of the process closes everything"),
    row!(fcntl SYS_fcntl, Always, Uses::All,
        "at the end of the run, in debug builds: whether what is closed was open"),
    row!(gettid         SYS_gettid,         Always, Uses::All,
        "the thread's number in the message of a panic, which then shows a wrong one"),
    row!(rt_sigprocmask SYS_rt_sigprocmask, Always, Uses::All,
        "at the end of a thread, which gets no more signals anyway"),
    row!(sigaltstack SYS_sigaltstack, Always, Uses::All,
        "at the end of a thread, which needs no stack for signals any more"),
    row!(sched_yield SYS_sched_yield, Always, Uses::All,
        "a lock that is taken at the moment: it is tried again at once"),
    row!(sendto SYS_sendto, Always, Uses::All,
        "a library's own handler of SIGWINCH: the terminal's size is looked at anyway"),
];

/// What ends the process before the filters' last part is in place, and after.
///
/// Nothing here is ever called in good faith: a process that tries is no longer ours.
#[rustfmt::skip]
pub const NEVER: &[Call] = &[
    row!(execve            SYS_execve,            Always, Uses::All, "another program"),
    row!(execveat          SYS_execveat,          Always, Uses::All, "another program"),
    row!(ptrace            SYS_ptrace,            Always, Uses::All, "another process"),
    row!(process_vm_readv  SYS_process_vm_readv,  Always, Uses::All, "another process"),
    row!(process_vm_writev SYS_process_vm_writev, Always, Uses::All, "another process"),
    row!(pidfd_open        SYS_pidfd_open,        Always, Uses::All, "another process"),
    row!(pidfd_getfd       SYS_pidfd_getfd,       Always, Uses::All, "another process"),
    row!(kill SYS_kill, Always, Uses::OtherSignals,
        "signals, but for Ctrl-Z"),
    row!(mmap              SYS_mmap,              Always, Uses::Executable, "executable memory"),
    row!(mprotect          SYS_mprotect,          Always, Uses::Executable, "executable memory"),
    row!(memfd_create      SYS_memfd_create,      Always, Uses::All, "executable memory"),
    row!(openat SYS_openat, Always, Uses::Writing(2),
        "a file opened to write"),
    row!(open_by_handle_at SYS_open_by_handle_at, Always, Uses::All, "a file without its path"),
    row!(unlinkat          SYS_unlinkat,          Always, Uses::All, "a file deleted"),
    row!(renameat2         SYS_renameat2,         Always, Uses::All, "a file renamed"),
    row!(linkat            SYS_linkat,            Always, Uses::All, "a file linked"),
    row!(symlinkat         SYS_symlinkat,         Always, Uses::All, "a file linked"),
    row!(fchmodat          SYS_fchmodat,          Always, Uses::All, "a file's rights"),
    row!(fchownat          SYS_fchownat,          Always, Uses::All, "a file's owner"),
    row!(socket            SYS_socket,            Always, Uses::All, "the network"),
    row!(connect           SYS_connect,           Always, Uses::All, "the network"),
    row!(bind              SYS_bind,              Always, Uses::All, "the network"),
    row!(listen            SYS_listen,            Always, Uses::All, "the network"),
    row!(accept4           SYS_accept4,           Always, Uses::All, "the network"),
    row!(sendmsg SYS_sendmsg, Always, Uses::All,
        "the network, files handed over"),
    row!(recvmsg SYS_recvmsg, Always, Uses::All,
        "the network, files handed over"),
    row!(mount             SYS_mount,             Always, Uses::All, "the system"),
    row!(umount2           SYS_umount2,           Always, Uses::All, "the system"),
    row!(pivot_root        SYS_pivot_root,        Always, Uses::All, "the system"),
    row!(chroot            SYS_chroot,            Always, Uses::All, "the system"),
    row!(unshare           SYS_unshare,           Always, Uses::All, "the system"),
    row!(setns             SYS_setns,             Always, Uses::All, "the system"),
    row!(setresuid         SYS_setresuid,         Always, Uses::All, "the system"),
    row!(setresgid         SYS_setresgid,         Always, Uses::All, "the system"),
    row!(bpf               SYS_bpf,               Always, Uses::All, "the kernel"),
    row!(perf_event_open   SYS_perf_event_open,   Always, Uses::All, "the kernel"),
    row!(userfaultfd       SYS_userfaultfd,       Always, Uses::All, "the kernel"),
    row!(io_uring_setup    SYS_io_uring_setup,    Always, Uses::All, "the kernel"),
    row!(init_module       SYS_init_module,       Always, Uses::All, "the kernel"),
    row!(finit_module      SYS_finit_module,      Always, Uses::All, "the kernel"),
    row!(kexec_load        SYS_kexec_load,        Always, Uses::All, "the kernel"),
    row!(keyctl            SYS_keyctl,            Always, Uses::All, "the kernel"),
];

/// The same for calls that only x86-64 has.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
pub(crate) const NEVER_OLD: &[Call] = &[
    row!(fork   SYS_fork,   Always, Uses::All, "another process"),
    row!(vfork  SYS_vfork,  Always, Uses::All, "another process"),
    row!(open   SYS_open,   Always, Uses::Writing(1), "a file opened to write"),
    row!(creat  SYS_creat,  Always, Uses::All, "a file opened to write"),
    row!(unlink SYS_unlink, Always, Uses::All, "a file deleted"),
    row!(rename SYS_rename, Always, Uses::All, "a file renamed"),
    row!(chmod  SYS_chmod,  Always, Uses::All, "a file's rights"),
    row!(accept SYS_accept, Always, Uses::All, "the network"),
];
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const NEVER_OLD: &[Call] = &[];

/// What a process calls only to die of a fault or of `abort`: it dies of the call.
///
/// A handler of a fault that cannot put the fault's own action back would run for ever.
#[rustfmt::skip]
pub(crate) const DYING: &[Call] = &[
    row!(rt_sigaction SYS_rt_sigaction, Always, Uses::All, "a fault goes on to its usual end"),
    row!(tgkill       SYS_tgkill,       Always, Uses::All, "abort"),
    row!(tkill        SYS_tkill,        Always, Uses::All, "abort"),
];

/// The calls of [`CALLS`] that such a run may make.
#[must_use]
pub fn allowed(plan: Plan) -> Vec<Call> {
    let needed = |call: &&Call| match call.need {
        Need::Always => true,
        Need::Disk => plan.disk != Disk::None,
        Need::Written => plan.disk == Disk::Write || plan.records,
        Need::Recording => plan.records,
        Need::Terminal => plan.ui == Ui::Terminal,
    };
    CALLS.iter().filter(needed).copied().collect()
}

impl Call {
    /// Which runs may make it, in words.
    #[must_use]
    pub fn runs(&self) -> &'static str {
        match self.need {
            Need::Always => "all",
            Need::Disk => "with `--disk`",
            Need::Written => "with `--disk IMG,rw` or `--record`",
            Need::Recording => "with `--record`",
            Need::Terminal => "with the terminal UI",
        }
    }
}
