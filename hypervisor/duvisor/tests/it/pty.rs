//! A program on a pseudo-terminal of 80x24, started by a shell as its users start it.
//!
//! The shell is there before and after: a terminal whose first process ends is reset by the kernel,
//! and nobody could tell in which mode it was left.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::Child;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();

/// A program that says nothing for so long hangs: far more than any needs on a slow machine.
const SILENT_MAX: Timespec = Timespec { tv_sec: 300, tv_nsec: 0 };
/// How long one who insists waits for an answer.
const IMPATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// Reads without what is waited for. A live view writes at most 25 frames a second.
const READS_MAX: usize = 10_000;

/// `stty -g` begins with a mode that is not the usual one, so that no reset looks like a return.
const SHELL: &str = r#"
stty eof '^X' -ixany
printf '<before %s>\n' "$(stty -g)"
sh -c 'printf "<pid %s>\n" $$; exec "$@"' sh "$@"
printf '<code %s>\n' $?
printf '<after %s>\n' "$(stty -g)"
"#;

/// The terminal, what it shows, and everything that was written to it.
pub(crate) struct Terminal {
    pty: Pty,
    shell: Child,
    screen: vt100::Parser,
    written: Vec<u8>,
}

impl Terminal {
    /// Starts a program with these arguments and variables.
    pub(crate) fn start(program: &OsStr, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).unwrap();
        let shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(program)
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .spawn(pts)
            .unwrap();
        Self { pty, shell, screen: vt100::Parser::new(ROWS, COLUMNS, 0), written: Vec::new() }
    }

    /// `duvisor` with these arguments.
    pub(crate) fn duvisor(args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_duvisor").as_ref(), args, environment)
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.screen.screen()
    }

    /// Whether the screen shows this.
    pub(crate) fn shows(&self, text: &str) -> bool {
        self.screen().contents().contains(text)
    }

    /// Types.
    pub(crate) fn send(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends a signal to the program, unless that is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.told("pid").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        // Between two signals it may end.
        let _ = kill_process(pid.unwrap(), signal);
    }

    /// Sends a signal again and again until the program ends.
    #[track_caller]
    pub(crate) fn insist(&mut self, signal: Signal) {
        for _ in 0..READS_MAX {
            if self.told("code").is_some() {
                return;
            }
            self.signal(signal);
            if self.is_ready(&IMPATIENCE) && !self.read() {
                return;
            }
        }
        panic!("it does not end:\n{}", self.screen().contents());
    }

    /// Whether the terminal hands over each key at once and makes no signals of them.
    pub(crate) fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.pty).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Reads until it is so.
    #[track_caller]
    pub(crate) fn until(&mut self, mut it_is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..READS_MAX {
            if it_is_so(self) {
                return;
            }
            assert!(self.read(), "it ended:\n{}", self.screen().contents());
        }
        panic!("it never came, but this:\n{}", self.screen().contents());
    }

    /// Whether there is something to read, or the end, within this time.
    fn is_ready(&self, timeout: &Timespec) -> bool {
        poll(&mut [PollFd::new(&self.pty, PollFlags::IN)], Some(timeout)).unwrap() > 0
    }

    /// Reads once; false at the end.
    #[track_caller]
    fn read(&mut self) -> bool {
        assert!(self.is_ready(&SILENT_MAX), "it hangs:\n{}", self.screen().contents());
        let mut buf = [0; 4096];
        // An error says that nobody has the other side any more.
        let n = self.pty.read(&mut buf).unwrap_or(0);
        self.screen.process(&buf[..n]);
        self.written.extend_from_slice(&buf[..n]);
        n > 0
    }

    /// What the shell told under this name.
    fn told(&self, name: &str) -> Option<String> {
        let written = String::from_utf8_lossy(&self.written);
        let (_, from) = written.rsplit_once(&format!("<{name} "))?;
        Some(from.split_once(">\r\n")?.0.to_owned())
    }

    /// Reads to the end: the terminal is as it was. Gives the exit code.
    #[track_caller]
    pub(crate) fn given_back(mut self) -> Left {
        while self.read() {}
        self.shell.wait().unwrap();
        let screen = self.screen();
        let contents = screen.contents();
        assert!(!screen.alternate_screen(), "the screen was not left:\n{contents}");
        assert!(!screen.hide_cursor(), "the cursor is hidden:\n{contents}");
        assert!(!screen.bracketed_paste(), "pastes are still in brackets:\n{contents}");
        let (before, after) = (self.told("before"), self.told("after"));
        assert!(before.is_some() && before == after, "{before:?}\n{after:?}\n{contents}");
        let code = self.told("code").unwrap().parse().unwrap();
        Left { code, contents, written: self.written }
    }
}

/// What is left of a program on a terminal.
pub(crate) struct Left {
    pub(crate) code: i32,
    /// The last screen.
    pub(crate) contents: String,
    pub(crate) written: Vec<u8>,
}
