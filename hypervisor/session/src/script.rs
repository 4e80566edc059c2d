//! A script as a source of inputs: waits for text on the guest's console, types, and lets guest
//! time pass.
//!
//! ```text
//! # a comment
//! expect ~ #
//! send uname -a
//! sleep 100ms
//! ```
//!
//! One action a line, in order. `send` adds a newline. `sleep` counts guest time from the moment
//! at which the action before it was done.

use std::collections::VecDeque;

use crate::{Idle, Input, Inputs, Position};

/// Console output kept while an `expect` waits; a text that is longer cannot be expected.
const KEPT_MAX: usize = 64 * 1024;

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Expect(Vec<u8>),
    Send(Vec<u8>),
    Sleep(u64),
}

/// A line that is not an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// Its number, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// What is wrong.
    pub what: &'static str,
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {:?}", self.line, self.what, self.text)
    }
}

impl std::error::Error for ScriptError {}

/// A script that is being played.
#[derive(Clone, Debug)]
pub struct Script {
    actions: VecDeque<Action>,
    /// Output that no `expect` has used yet.
    heard: Vec<u8>,
    /// When the `sleep` at the front ends, once it has begun.
    until_ns: Option<u64>,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first line that is not an action.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut actions = VecDeque::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            let error = |what| ScriptError { line: index + 1, text: line.to_owned(), what };
            actions.push_back(action(line).map_err(error)?);
        }
        Ok(Self { actions, heard: Vec::new(), until_ns: None })
    }

    /// Whether every action was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.actions.is_empty()
    }

    /// The text that is being waited for.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        match self.actions.front() {
            Some(Action::Expect(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// The first text that was never heard, also behind what is still to be typed.
    #[must_use]
    pub fn unheard(&self) -> Option<String> {
        self.actions.iter().find_map(|action| match action {
            Action::Expect(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Action::Send(_) | Action::Sleep(_) => None,
        })
    }

    /// Guest time at which the script will type next, if nothing has to be heard before.
    pub fn due_ns(&mut self, time_ns: u64) -> Option<u64> {
        self.due(time_ns).map(|(at_ns, _)| at_ns)
    }

    /// Uses up what was heard, as far as it satisfies the front of the script.
    fn listen(&mut self) {
        while let Some(Action::Expect(text)) = self.actions.front() {
            let found = self.heard.windows(text.len()).position(|window| window == text);
            let Some(at) = found else {
                let excess = self.heard.len().saturating_sub(KEPT_MAX);
                self.heard.drain(..excess);
                return;
            };
            self.heard.drain(..at + text.len());
            self.actions.pop_front();
        }
        if self.actions.is_empty() {
            self.heard.clear();
        }
    }

    /// When the next `send` is due, and what it types; `None` if an `expect` stands before it.
    fn due(&mut self, time_ns: u64) -> Option<(u64, Vec<u8>)> {
        while let Some(Action::Sleep(ns)) = self.actions.front() {
            let until = *self.until_ns.get_or_insert(time_ns.saturating_add(*ns));
            if until > time_ns {
                return self.after_sleeps(until);
            }
            self.until_ns = None;
            self.actions.pop_front();
            self.listen();
        }
        match self.actions.front() {
            Some(Action::Send(bytes)) => Some((time_ns, bytes.clone())),
            _ => None,
        }
    }

    fn after_sleeps(&self, first_ends: u64) -> Option<(u64, Vec<u8>)> {
        let mut at = first_ends;
        for action in self.actions.iter().skip(1) {
            match action {
                Action::Sleep(ns) => at = at.saturating_add(*ns),
                Action::Send(bytes) => return Some((at, bytes.clone())),
                Action::Expect(_) => return None,
            }
        }
        None
    }

    /// The `send` that was due is done, and so are the sleeps before it.
    fn sent(&mut self) {
        self.until_ns = None;
        while let Some(action) = self.actions.pop_front() {
            if matches!(action, Action::Send(_)) {
                break;
            }
        }
        self.listen();
    }
}

impl Inputs for Script {
    fn next(&mut self, _at: Position, time_ns: u64) -> Option<Input> {
        let (at_ns, bytes) = self.due(time_ns)?;
        if at_ns > time_ns {
            return None;
        }
        self.sent();
        Some(Input::Console(bytes))
    }

    fn idle(&mut self, _at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        match (self.due(time_ns), deadline_ns) {
            (Some((at_ns, bytes)), deadline) if deadline.is_none_or(|end| at_ns < end) => {
                self.sent();
                Idle::Input { time_ns: at_ns, input: Input::Console(bytes) }
            }
            (_, Some(_)) => Idle::Deadline,
            (_, None) => Idle::Never,
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        if !self.actions.is_empty() {
            self.heard.extend_from_slice(bytes);
            self.listen();
        }
    }
}

fn action(line: &str) -> Result<Action, &'static str> {
    let line = line.trim_start();
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "expect" if rest.is_empty() => Err("expect needs a text"),
        "expect" if rest.len() > KEPT_MAX => Err("the text is longer than 64 KiB"),
        "expect" => Ok(Action::Expect(rest.as_bytes().to_vec())),
        "send" => Ok(Action::Send(format!("{rest}\n").into_bytes())),
        "sleep" => nanoseconds(rest.trim()).map(Action::Sleep),
        _ => Err("expected `expect TEXT`, `send TEXT`, `sleep 100ms` or `# comment`"),
    }
}

fn nanoseconds(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "expected a time such as 250us, 100ms or 2s";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(WRONG)?;
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return Err(WRONG),
    };
    let number: u64 = number.parse().or(Err(WRONG))?;
    number.checked_mul(scale).ok_or("the time is longer than 584 years")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Position = Position { step: 0, seq: 0 };

    fn typed(input: Option<Input>) -> Option<String> {
        match input? {
            Input::Console(bytes) => Some(String::from_utf8(bytes).unwrap()),
            Input::Quit => None,
        }
    }

    #[test]
    fn sends_after_the_expected_text_only() {
        let mut script = Script::parse("# hello\nexpect ~ # \nsend ls\nexpect done\n").unwrap();
        assert_eq!(script.next(HERE, 0), None);
        script.output(b"boot\n~ #");
        assert_eq!(script.next(HERE, 1), None);
        script.output(b" ");
        assert_eq!(typed(script.next(HERE, 2)), Some("ls\n".to_owned()));
        assert_eq!(script.next(HERE, 3), None);
        assert_eq!(script.waiting_for().as_deref(), Some("done"));
        assert_eq!(script.unheard().as_deref(), Some("done"));
        script.output(b"done");
        assert!(script.is_done() && script.unheard().is_none());
    }

    #[test]
    fn what_stands_behind_a_send_that_never_came_is_unheard() {
        let script = Script::parse("sleep 1s\nsend a\nexpect b\nexpect c").unwrap();
        assert_eq!(script.unheard().as_deref(), Some("b"));
        assert_eq!(Script::parse("sleep 1s\nsend a").unwrap().unheard(), None);
    }

    #[test]
    fn sleeps_in_guest_time_also_when_idle() {
        let mut script = Script::parse("sleep 1us\nsleep 500ns\nsend x").unwrap();
        assert_eq!(script.idle(HERE, 100, Some(900)), Idle::Deadline);
        let input = Input::Console(b"x\n".to_vec());
        assert_eq!(script.idle(HERE, 900, Some(9_000)), Idle::Input { time_ns: 1_600, input });
        assert_eq!(script.idle(HERE, 1_600, None), Idle::Never);
    }

    #[test]
    fn a_sleep_that_runs_out_while_the_guest_is_busy_is_over() {
        let mut script = Script::parse("sleep 10ns\nsend a\nsend b").unwrap();
        assert_eq!(script.next(HERE, 5), None);
        assert_eq!(typed(script.next(HERE, 20)), Some("a\n".to_owned()));
        assert_eq!(typed(script.next(HERE, 20)), Some("b\n".to_owned()));
        assert_eq!(script.next(HERE, 21), None);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let wrong = |text: &str| Script::parse(text).unwrap_err().to_string();
        assert_eq!(
            wrong("send a\nsleep 5"),
            "line 2: expected a time such as 250us, 100ms or 2s: \"sleep 5\""
        );
        assert_eq!(wrong("expect"), "line 1: expect needs a text: \"expect\"");
        assert!(wrong("type x").starts_with("line 1: expected `expect TEXT`"));
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "(expect|send) [ab]{1,3}",
            "sleep [0-9]{1,3}(ns|us|ms|s)",
            "(expect|send|sleep|#)? ?[0-9a-z ]{0,4}",
        ]
    }

    proptest! {
        /// It ends, types nothing before its time, and never waits behind its own `send`.
        #[test]
        fn any_script_against_any_output(
            lines in prop::collection::vec(line(), 0..8),
            world in prop::collection::vec((any::<bool>(), 0u64..2_000_000_000, "[ab]{0,6}"), 0..8),
        ) {
            let Ok(mut script) = Script::parse(&lines.join("\n")) else { return Ok(()) };
            let mut now = 0;
            for (waits, pause, output) in world {
                script.output(output.as_bytes());
                let due = script.due_ns(now);
                prop_assert_eq!(
                    script.next(HERE, now).is_some(),
                    due.is_some_and(|at| at <= now)
                );
                let deadline = waits.then_some(now + pause);
                if let Idle::Input { time_ns, .. } = script.idle(HERE, now, deadline) {
                    prop_assert!(time_ns >= now && deadline.is_none_or(|end| time_ns < end));
                    now = time_ns;
                } else {
                    now += pause;
                }
            }
            for _ in 0..=lines.len() {
                if let Idle::Input { time_ns, .. } = script.idle(HERE, now, None) {
                    now = time_ns;
                }
            }
            let still_waits = script.waiting_for().is_some() || script.due_ns(now).is_none();
            prop_assert!(script.is_done() || still_waits);
        }

        #[test]
        fn any_text_is_a_script_or_not(text in "\\PC{0,60}") {
            let _ = Script::parse(&text);
        }
    }
}
