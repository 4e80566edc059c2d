//! Inputs from the host: what is typed, and the pace of real time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use session::{Idle, Input, Inputs, Position, Script};

/// Longest wait before commands of a watcher are looked at again.
const ATTENTION: Duration = Duration::from_millis(10);

/// The host's time: the only place of this program, but the monitor, that asks for it.
#[expect(clippy::disallowed_methods, reason = "paces idle guests; no guest ever sees the value")]
pub(crate) fn host_now() -> Instant {
    Instant::now()
}

/// Inputs of a run that is paced: guest time does not run ahead of the host's.
///
/// Where every vCPU waits, the host waits, too, until the guest's deadline or an input. A guest
/// that was slower than real time owes nothing: the clocks are aligned anew.
pub(crate) struct Live {
    typed: Option<Receiver<Vec<u8>>>,
    waiting: VecDeque<Input>,
    script: Option<Script>,
    pace: bool,
    quit: Arc<AtomicBool>,
    /// Host and guest time that were equal last.
    anchor: (Instant, u64),
}

impl Live {
    /// Inputs from a terminal's bytes and a script; paced or not.
    pub(crate) fn new(
        typed: Option<Receiver<Vec<u8>>>,
        script: Option<Script>,
        pace: bool,
        quit: Arc<AtomicBool>,
    ) -> Self {
        let anchor = (host_now(), 0);
        Self { typed, waiting: VecDeque::new(), script, pace, quit, anchor }
    }

    /// The script, to see how far it came.
    pub(crate) fn script(&self) -> Option<&Script> {
        self.script.as_ref()
    }

    /// What has come from the host since the last look.
    fn collect(&mut self) {
        if self.quit.swap(false, Ordering::Relaxed) {
            self.waiting.push_back(Input::Quit);
        }
        while let Some(typed) = &self.typed {
            match typed.try_recv() {
                Ok(bytes) => self.waiting.push_back(Input::Console(bytes)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.typed = None,
            }
        }
    }

    /// Guest time that the host's clock stands for, from the last anchor on.
    fn paced_ns(&self) -> u64 {
        let passed = host_now().saturating_duration_since(self.anchor.0);
        self.anchor.1.saturating_add(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Waits for typing, at most until the guest's time is `until_ns`.
    fn wait(&mut self, until_ns: u64) {
        let left = Duration::from_nanos(until_ns.saturating_sub(self.paced_ns())).min(ATTENTION);
        match &self.typed {
            Some(typed) => match typed.recv_timeout(left) {
                Ok(bytes) => self.waiting.push_back(Input::Console(bytes)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.typed = None,
            },
            // Nobody wakes this thread, and if so it only looks once more: the wait of a process
            // that is closed to the host, of which there is one kind.
            None => std::thread::park_timeout(left),
        }
    }

    /// The script's answer to the same question.
    fn script_idle(&mut self, at: Position, time_ns: u64, deadline: Option<u64>) -> Idle {
        match &mut self.script {
            Some(script) => script.idle(at, time_ns, deadline),
            None if deadline.is_some() => Idle::Deadline,
            None => Idle::Never,
        }
    }
}

impl Inputs for Live {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        self.collect();
        if let Some(input) = self.waiting.pop_front() {
            return Some(input);
        }
        self.script.as_mut()?.next(at, time_ns)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        self.collect();
        if !self.pace {
            let quit = self.waiting.pop_front().map(|input| Idle::Input { time_ns, input });
            return quit.unwrap_or_else(|| self.script_idle(at, time_ns, deadline_ns));
        }
        // The guest may be behind the host's clock: then it owes nothing.
        let reached = self.paced_ns();
        if reached < time_ns || deadline_ns.is_some_and(|deadline| reached > deadline) {
            self.anchor = (host_now(), time_ns);
        }
        if self.waiting.is_empty() {
            // A script's time is guest time, and what it types is due as if it were a deadline.
            let script_due = self.script.as_mut().and_then(|script| script.due_ns(time_ns));
            let until = [deadline_ns, script_due].into_iter().flatten().min();
            self.wait(until.unwrap_or(u64::MAX));
            if until.is_some_and(|until| self.paced_ns() >= until) && self.waiting.is_empty() {
                return self.script_idle(at, time_ns, deadline_ns);
            }
        }
        let time_ns = self.paced_ns().max(time_ns);
        match self.waiting.pop_front() {
            Some(input) => Idle::Input { time_ns, input },
            None if deadline_ns.is_none() && self.typed.is_none() && self.script.is_none() => {
                Idle::Never
            }
            None => Idle::Attention,
        }
    }

    fn offer(&mut self, input: &Input) -> bool {
        self.waiting.push_back(input.clone());
        true
    }

    fn output(&mut self, bytes: &[u8]) {
        if let Some(script) = &mut self.script {
            script.output(bytes);
        }
    }
}
