//! What is asked of the session and when; answers nobody waits for any more are dropped.

use std::collections::VecDeque;
use std::time::Duration;

use session::{Answer, Command, Disconnected, Reply, Request, Session};

use crate::update::Msg;

/// Counters are asked for so often: numbers that change faster cannot be read.
const OVERVIEW_EVERY: Duration = Duration::from_millis(250);
/// Console output is asked for so often.
const CONSOLE_EVERY: Duration = Duration::from_millis(50);
/// As [`CONSOLE_EVERY`] while the user types and waits for the echo.
const ECHO_EVERY: Duration = Duration::from_millis(15);
/// A question without an answer is asked again after this time; the first answer is then stale.
const RETRY: Duration = Duration::from_secs(5);
/// Without an answer for so long, the header says so.
const STALLED: Duration = Duration::from_secs(1);
/// Typed bytes that wait for a guest that does not take them.
const TYPED_MAX: usize = 1 << 16;

/// One kind of question, at most one of which is on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// The generation on its way, and when it was sent.
    pending: Option<(u64, Duration)>,
    /// When to ask next.
    next: Duration,
}

impl Line {
    fn due(&self, now: Duration) -> bool {
        match self.pending {
            Some((_, sent)) => now >= sent + RETRY,
            None => now >= self.next,
        }
    }

    fn wake(&self) -> Duration {
        self.pending.map_or(self.next, |(_, sent)| sent + RETRY)
    }

    fn answered(&mut self, generation: u64, next: Duration) -> bool {
        let ours = self.pending.is_some_and(|(pending, _)| pending == generation);
        if ours {
            self.pending = None;
            self.next = next;
        }
        ours
    }
}

/// What the questions depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    /// Console output from this byte on; `None` while the display is frozen.
    pub(crate) console: Option<u64>,
    /// The user types into the guest.
    pub(crate) typing: bool,
}

/// The questions on their way.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    generation: u64,
    overview: Line,
    console: Line,
    control: Line,
    commands: VecDeque<Command>,
    gone: bool,
}

impl Feed {
    /// Whether nobody will answer any more.
    pub(crate) fn gone(&self) -> bool {
        self.gone
    }

    /// Lets a command be sent after those before it; false if too much waits already.
    pub(crate) fn command(&mut self, command: Command) -> bool {
        if let (Command::Type(new), Some(Command::Type(old))) = (&command, self.commands.back_mut())
        {
            let fits = old.len() + new.len() <= TYPED_MAX;
            if fits {
                old.extend_from_slice(new);
            }
            return fits;
        }
        // Commands other than typing come one per key press; more than these mean a dead session.
        let fits = self.commands.len() < 16;
        if fits {
            self.commands.push_back(command);
        }
        fits
    }

    /// Asks what is due.
    pub(crate) fn ask(&mut self, now: Duration, wants: Wants, session: &mut dyn Session) {
        if self.control.due(now) {
            if let Some(command) = self.commands.pop_front() {
                // The effect is looked for at once.
                self.overview.next = now;
                self.console.next = now;
                self.control.pending = self.send(now, command, session);
            } else {
                self.control.pending = None;
            }
        }
        if self.overview.due(now) {
            self.overview.pending = self.send(now, Command::Overview, session);
        }
        if let Some(from) = wants.console {
            if wants.typing {
                self.console.next = self.console.next.min(now + ECHO_EVERY);
            }
            if self.console.due(now) {
                self.console.pending = self.send(now, Command::Console { from }, session);
            }
        }
    }

    fn send(
        &mut self,
        now: Duration,
        command: Command,
        session: &mut dyn Session,
    ) -> Option<(u64, Duration)> {
        self.generation += 1;
        let request = Request { generation: self.generation, command };
        match session.send(request) {
            Ok(()) => Some((self.generation, now)),
            Err(Disconnected) => {
                self.gone = true;
                None
            }
        }
    }

    /// What an answer means, if somebody still waits for it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is asked for")]
    pub(crate) fn accept(&mut self, now: Duration, reply: Reply) -> Option<Msg> {
        let generation = reply.generation;
        // The end comes unasked.
        if let Answer::Ended(stop) = reply.answer {
            return Some(Msg::Ended(stop));
        }
        // Whoever asked, everybody wants to know.
        let told = match &reply.answer {
            Answer::Saved { file, steps, bytes } => {
                Some(Ok(format!("saved {file}: {steps} steps, {bytes} bytes")))
            }
            Answer::Failed(why) => Some(Err(why.clone())),
            _ => None,
        };
        let ours = self.control.answered(generation, now)
            || self.overview.answered(generation, now + OVERVIEW_EVERY)
            || self.console.answered(generation, now + CONSOLE_EVERY);
        if let Some(told) = told {
            return Some(Msg::Done(told));
        }
        if !ours {
            return None;
        }
        match reply.answer {
            Answer::Overview(overview) => Some(Msg::Overview(now, overview)),
            Answer::Console { from, bytes } => Some(Msg::Console { from, bytes }),
            Answer::Refused(why) => Some(Msg::Refused(why)),
            _ => None,
        }
    }

    /// Whole seconds for which the question for counters has had no answer, if it is too long.
    pub(crate) fn stalled(&self, now: Duration) -> Option<u64> {
        let (_, sent) = self.overview.pending?;
        now.checked_sub(sent).filter(|t| *t >= STALLED).map(|t| t.as_secs())
    }

    /// Whether an answer is to be expected any moment.
    pub(crate) fn waiting(&self) -> bool {
        [&self.overview, &self.console, &self.control].iter().any(|line| line.pending.is_some())
    }

    /// When [`Feed::ask`] is to be called next.
    pub(crate) fn wake(&self, wants: Wants) -> Duration {
        let console = wants.console.map(|_| self.console.wake());
        let control = (!self.commands.is_empty()).then(|| self.control.wake());
        [Some(self.overview.wake()), console, control]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_default()
    }
}
