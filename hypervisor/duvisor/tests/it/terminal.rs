//! The terminal UI on a real terminal: it is taken once, and always given back.

use std::io::Write;

use monitor::MonitorError;
use rustix::process::Signal;
use session::{Capabilities, Disconnected, Reply, Request, Session};

use crate::program::scratch_with;
use crate::programs::{SPEAKS_AND_SPINS, elf};
use crate::pty::Terminal;

/// One press of Ctrl-C.
const CTRL_C: &str = "\x03";

/// The demo guest, once its exits are on the screen.
#[track_caller]
fn demo(environment: &[(&str, &str)]) -> Terminal {
    let mut terminal = Terminal::duvisor(&["run"], environment);
    terminal.until(|it| it.screen().alternate_screen() && it.shows("exits by cause"));
    terminal.until(|it| it.shows("sbi-call"));
    terminal
}

#[test]
fn it_takes_the_other_screen_and_shows_the_overview() {
    let mut terminal = demo(&[]);
    let screen = terminal.screen();
    assert!(screen.hide_cursor() && screen.bracketed_paste());
    assert!(terminal.shows("1▸Overview") && terminal.shows("driver calls after start: 0"));
    terminal.send("2");
    terminal.until(|it| it.shows("2▸Console"));
    terminal.send("?");
    terminal.until(|it| it.shows("end the run and leave; asks first"));
    terminal.send("\x1b");
    terminal.until(|it| !it.shows("asks first"));
    terminal.signal(Signal::TERM);
    terminal.given_back();
}

#[test]
fn q_asks_and_powers_off() {
    let mut terminal = demo(&[]);
    terminal.send("q");
    terminal.until(|it| it.shows("end the run?"));
    terminal.send("n");
    terminal.until(|it| !it.shows("end the run?"));
    terminal.send("q");
    terminal.until(|it| it.shows("end the run?"));
    terminal.send("y");
    let left = terminal.given_back();
    assert_eq!(left.code, 0, "{}", left.contents);
    assert!(left.contents.contains("driver calls after start: 0"), "{}", left.contents);
}

#[test]
fn ctrl_c_asks_and_ctrl_c_again_interrupts() {
    let mut terminal = demo(&[]);
    terminal.send(CTRL_C);
    terminal.until(|it| it.shows("end the run?"));
    terminal.send(CTRL_C);
    let left = terminal.given_back();
    assert_eq!(left.code, 130, "{}", left.contents);
}

#[test]
fn ctrl_c_typed_twice_at_once_interrupts() {
    let mut terminal = demo(&[]);
    terminal.send("\x03\x03");
    assert_eq!(terminal.given_back().code, 130);
}

#[test]
fn every_signal_gives_the_terminal_back() {
    use Signal as S;
    for signal in [S::INT, S::TERM, S::HUP, S::QUIT, S::USR2, S::ALARM, S::XCPU] {
        let terminal = demo(&[]);
        terminal.signal(signal);
        let left = terminal.given_back();
        assert_eq!(left.code, 130, "{signal:?}\n{}", left.contents);
        assert!(left.contents.contains("stopped by the user"), "{signal:?}\n{}", left.contents);
    }
}

/// What a closed terminal, timeout(1) and service managers do.
#[test]
fn signals_in_quick_succession_end_the_run_in_good_order() {
    use Signal as S;
    let bursts: [&[Signal]; 4] =
        [&[S::TERM, S::HUP], &[S::INT, S::INT], &[S::TERM; 3], &[S::HUP, S::INT, S::TERM, S::QUIT]];
    for burst in bursts {
        let terminal = demo(&[]);
        for signal in burst {
            terminal.signal(*signal);
        }
        let left = terminal.given_back();
        assert_eq!(left.code, 130, "{burst:?}\n{}", left.contents);
        assert!(left.contents.contains("driver calls after start: 0"), "{}", left.contents);
    }
}

/// A signal before the first frame is no different.
#[test]
fn a_signal_while_the_terminal_is_being_taken() {
    for burst in [&[Signal::TERM][..], &[Signal::INT, Signal::HUP]] {
        let mut terminal = Terminal::duvisor(&["run"], &[]);
        terminal.until(|it| it.screen().alternate_screen());
        for signal in burst {
            terminal.signal(*signal);
        }
        assert_eq!(terminal.given_back().code, 130);
    }
}

/// A turn of so many steps does not end: only whoever insists ends the program.
#[test]
fn who_insists_ends_a_run_that_does_not_stop() {
    let file = scratch_with("spins.elf", elf(SPEAKS_AND_SPINS));
    let args = ["run", &file, "--quantum", "1000000000000000", "--headless"];
    for args in [&args[..], &args[..4]] {
        let mut terminal = Terminal::duvisor(args, &[]);
        terminal.until(|it| it.screen().alternate_screen() || it.is_raw());
        terminal.insist(Signal::TERM);
        let left = terminal.given_back();
        assert_eq!(left.code, 130, "{}", left.contents);
        assert!(!left.contents.contains("stopped by the user"), "{}", left.contents);
    }
}

#[test]
fn a_headless_run_gives_the_mode_of_its_terminal_back() {
    for burst in [&[Signal::TERM][..], &[Signal::TERM, Signal::HUP], &[Signal::INT, Signal::INT]] {
        let mut terminal = Terminal::duvisor(&["run", "--headless"], &[]);
        terminal.until(|it| it.shows("Type a line"));
        assert!(terminal.is_raw());
        for signal in burst {
            terminal.signal(*signal);
        }
        assert_eq!(terminal.given_back().code, 130);
    }
    let mut terminal = Terminal::duvisor(&["run", "--headless"], &[]);
    terminal.until(|it| it.shows("Type a line"));
    terminal.send("\x01x");
    assert_eq!(terminal.given_back().code, 0);
}

#[test]
fn events_that_cannot_be_written_leave_the_terminal_ui() {
    let terminal = Terminal::duvisor(&["run", "--events", "/dev/full"], &[]);
    let left = terminal.given_back();
    assert_eq!(left.code, 1, "{}", left.contents);
    assert!(
        left.contents.contains("the events in /dev/full are not complete"),
        "{}",
        left.contents
    );
}

#[test]
fn a_script_that_never_heard_what_it_expected_is_told_when_the_ui_is_left() {
    let script = scratch_with("unheard.script", "expect it never says this\n");
    let mut terminal = Terminal::duvisor(&["run", "hello", "--script", &script], &[]);
    terminal.until(|it| it.shows("ENDED"));
    terminal.send("q");
    let left = terminal.given_back();
    assert_eq!(left.code, 1, "{}", left.contents);
    assert!(left.contents.contains("the script still expected"), "{}", left.contents);
}

#[test]
fn what_cannot_be_run_is_said_before_the_terminal_is_touched() {
    let rubbish = scratch_with("terminal.dtb", [0xd0; 64]);
    for args in [
        &["run", "hello", "--dtb", &rubbish][..],
        &["run", "hello", "-m", "1M"],
        &["run", "hello", "--events", "-"],
        &["run", "hello", "--log", "-"],
        &["run", "hello", "--script", &rubbish],
    ] {
        let left = Terminal::duvisor(args, &[]).given_back();
        let written = String::from_utf8_lossy(&left.written);
        assert_eq!(left.code, 2, "{written}");
        assert!(!written.contains('\x1b'), "{written:?}");
    }
    // Nor is one that cannot move its cursor.
    let left = Terminal::duvisor(&["run", "hello"], &[("TERM", "dumb")]).given_back();
    assert_eq!(left.code, 2, "{}", left.contents);
    assert!(left.contents.contains("use --headless"), "{}", left.contents);
}

/// A call that is never made raises this.
#[test]
fn a_violation_ends_the_run_and_gives_the_terminal_back() {
    let terminal = demo(&[]);
    terminal.signal(Signal::SYS);
    let left = terminal.given_back();
    assert_eq!(left.code, 3, "{}", left.contents);
    assert!(left.contents.contains("tried a system call that it never makes"), "{}", left.contents);
}

/// `duvisor run` behind another program whose standard input is no terminal.
fn without_a_keyboard(through: &str) -> Terminal {
    let line = format!("exec {through} \"$0\" run </dev/null");
    Terminal::start("sh".as_ref(), &["-c", &line, env!("CARGO_BIN_EXE_duvisor")], &[])
}

#[test]
fn keys_come_from_the_terminal_where_standard_input_is_none() {
    let mut terminal = without_a_keyboard("");
    terminal.until(|it| it.shows("sbi-call"));
    assert!(terminal.is_raw());
    terminal.send("qy");
    assert_eq!(terminal.given_back().code, 0);
}

#[test]
fn a_session_without_a_terminal_has_no_keys() {
    let left = without_a_keyboard("setsid -w").given_back();
    assert_eq!(left.code, 2, "{}", left.contents);
    assert!(left.contents.contains("standard input is not a terminal: use --headless"));
    assert!(!String::from_utf8_lossy(&left.written).contains('\x1b'));
}

/// The parameters of every `ESC [ … m`.
fn colours(written: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(written);
    let attributes = text.split("\x1b[").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
        rest[end..].starts_with('m').then(|| rest[..end].to_owned())
    });
    let is_colour = |code: &str| matches!(code.parse(), Ok(30..=38 | 40..=48 | 90..=107));
    attributes.filter(|it| it.split(';').any(is_colour)).collect()
}

#[test]
fn no_color_means_none() {
    for (environment, coloured) in [(&[("NO_COLOR", "1")][..], false), (&[], true)] {
        let mut terminal = demo(environment);
        terminal.send("2");
        terminal.until(|it| it.shows("Type a line"));
        terminal.signal(Signal::TERM);
        let written = terminal.given_back().written;
        assert_eq!(!colours(&written).is_empty(), coloured, "{:?}", colours(&written));
        // Bold and reverse are no colours.
        assert!(String::from_utf8_lossy(&written).contains("\x1b[1m"));
    }
}

/// A session that panics where it is asked, in this thread or in another one.
struct Panics {
    elsewhere: bool,
    /// Once the monitor has drawn.
    left: u32,
}

impl Session for Panics {
    fn capabilities(&self) -> Capabilities {
        Capabilities { live: true, control: true, time_travel: false }
    }

    fn send(&mut self, _request: Request) -> Result<(), Disconnected> {
        Ok(())
    }

    fn poll(&mut self) -> Option<Reply> {
        self.left = self.left.saturating_sub(1);
        let panic = || panic!("not a good day");
        match (self.left, self.elsewhere) {
            (0, false) => panic(),
            (0, true) => {
                std::thread::spawn(panic).join().unwrap_err();
            }
            _ => {}
        }
        None
    }
}

/// This very test is also the program on the terminal.
#[test]
fn a_panic_of_any_thread_gives_the_terminal_back() {
    const WHERE: &str = "DUVISOR_TEST_PANICS";
    if let Some(thread) = std::env::var_os(WHERE) {
        let mut session = Panics { elsewhere: thread == "elsewhere", left: 20 };
        let monitor = monitor::Monitor::enter(monitor::Options::default()).unwrap();
        let outcome = monitor.run(&mut session);
        let given_back = matches!(outcome, Err(MonitorError::GivenBack));
        writeln!(std::io::stdout(), "given back: {given_back}").unwrap();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let name = "terminal::a_panic_of_any_thread_gives_the_terminal_back";
    let args = ["--exact", name, "--nocapture"];
    for (thread, code) in [("here", 101), ("elsewhere", 0)] {
        let mut terminal =
            Terminal::start(program.as_ref(), &args, &[(WHERE, thread), ("RUST_BACKTRACE", "0")]);
        terminal.until(|it| it.screen().alternate_screen() && it.shows("Overview"));
        let left = terminal.given_back();
        assert_eq!(left.code, code, "{}", left.contents);
        // What it has to say is on the screen that one sees.
        assert!(left.contents.contains("not a good day"), "{}", left.contents);
        assert_eq!(left.contents.contains("given back: true"), code == 0, "{}", left.contents);
    }
}
