//! The loop: asks, listens, updates, and draws only what has changed and only as fast as it may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session::Session;

use crate::feed::{Feed, Wants};
use crate::keys::Key;
use crate::model::{Keyboard, Model};
use crate::update::{Effect, Msg, update};
use crate::{MonitorError, Outcome};

/// Time between two frames, at least.
const FRAME: Duration = Duration::from_millis(40);
/// Drawing takes at most one part in so many of the time: a slow terminal gets fewer frames.
const DRAW_PART: u32 = 10;
/// Time between two looks at the stop flag, at most.
const IDLE: Duration = Duration::from_millis(250);
/// Time between two looks for an answer that is on its way.
const WAITING: Duration = Duration::from_millis(10);
/// Events and answers taken in one turn, so that neither side can starve the other.
const TURN_MAX: usize = 64;

/// What comes from the user's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Key(Key),
    Paste(String),
    Resize(u16, u16),
    /// The terminal is gone.
    HungUp,
}

/// The world around the loop: the real terminal and clock, or a test's.
pub(crate) trait Host {
    /// Time since some moment.
    fn now(&self) -> Duration;
    /// Waits for an event, at most so long.
    fn wait(&mut self, timeout: Duration) -> Result<Option<Event>, MonitorError>;
    /// Draws a frame.
    fn draw(&mut self, model: &Model) -> Result<(), MonitorError>;
    /// Forgets what is on the screen, so that the next frame is drawn whole.
    fn redraw(&mut self) -> Result<(), MonitorError>;
    /// Gives the terminal back, stops the process, and comes back.
    fn suspend(&mut self) -> Result<(), MonitorError>;
}

/// Decides when a frame is due.
#[derive(Debug, Default)]
struct Pacer {
    next: Duration,
    /// Running mean of what a frame costs.
    cost: Duration,
}

impl Pacer {
    fn drawn(&mut self, start: Duration, end: Duration) {
        let cost = end.saturating_sub(start);
        self.cost = (self.cost * 3 + cost) / 4;
        self.next = start + FRAME.max(self.cost * DRAW_PART);
    }
}

fn wants(model: &Model) -> Wants {
    let console = model.frozen.is_none().then(|| model.console.next());
    Wants { console, typing: model.keyboard != Keyboard::Monitor }
}

/// Runs until the user leaves, or `stop` is set.
pub(crate) fn drive(
    session: &mut dyn Session,
    host: &mut dyn Host,
    model: &mut Model,
    stop: &AtomicBool,
) -> Result<Outcome, MonitorError> {
    let mut feed = Feed::default();
    let mut pacer = Pacer::default();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(Outcome::Stopped);
        }
        exchange(session, host.now(), model, &mut feed);
        let now = host.now();
        if model.dirty && now >= pacer.next {
            model.dirty = false;
            host.draw(model)?;
            pacer.drawn(now, host.now());
        }
        let timeout = timeout(host.now(), model, &feed, &pacer);
        let mut event = host.wait(timeout)?;
        for _ in 0..TURN_MAX {
            let Some(this) = event else { break };
            // What a key does is seen at once, unless the terminal is slow.
            pacer.next = pacer.next.min(host.now() + pacer.cost);
            let msg = match this {
                Event::Key(key) => Msg::Key(key),
                Event::Paste(text) => Msg::Paste(text),
                Event::Resize(columns, rows) => Msg::Resize(columns, rows),
                Event::HungUp => return Ok(Outcome::Stopped),
            };
            if let Some(outcome) = perform(update(model, msg), host, model, &mut feed)? {
                return Ok(outcome);
            }
            event = host.wait(Duration::ZERO)?;
        }
    }
}

/// Asks the session what is due and takes its answers.
fn exchange(session: &mut dyn Session, now: Duration, model: &mut Model, feed: &mut Feed) {
    if !feed.gone() {
        feed.ask(now, wants(model), session);
    }
    let mut n_replies = 0;
    while n_replies < TURN_MAX {
        let Some(reply) = session.poll() else { break };
        n_replies += 1;
        if let Some(msg) = feed.accept(now, reply) {
            update(model, msg);
        }
    }
    // What was said before the session went away is heard first.
    if feed.gone() && n_replies == 0 {
        update(model, Msg::Lost);
    }
    update(model, Msg::Tick(now));
    if model.end.is_none() {
        update(model, Msg::Stalled(feed.stalled(now)));
    }
}

fn timeout(now: Duration, model: &Model, feed: &Feed, pacer: &Pacer) -> Duration {
    let mut until = now + IDLE;
    if !feed.gone() {
        until = until.min(feed.wake(wants(model)));
        if feed.waiting() {
            until = until.min(now + WAITING);
        }
    }
    if model.dirty {
        until = until.min(pacer.next);
    }
    if let Some(at) = model.message.as_ref().and_then(|message| message.until) {
        until = until.min(at);
    }
    // Never a busy loop, even if something is overdue that this turn could not do.
    until.saturating_sub(now).max(Duration::from_millis(1))
}

fn perform(
    effect: Option<Effect>,
    host: &mut dyn Host,
    model: &mut Model,
    feed: &mut Feed,
) -> Result<Option<Outcome>, MonitorError> {
    match effect {
        Some(Effect::Send(command)) => {
            let taken = feed.command(command);
            if !taken {
                model.warn("the run does not take its commands: this one was dropped");
            }
        }
        Some(Effect::Redraw) => host.redraw()?,
        Some(Effect::Suspend) => {
            host.suspend()?;
            model.dirty = true;
        }
        Some(Effect::Exit(outcome)) => return Ok(Some(outcome)),
        None => {}
    }
    Ok(None)
}
