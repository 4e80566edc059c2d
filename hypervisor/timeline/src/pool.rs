//! Questions about a whole recording: several players look at its intervals at the same time.
//!
//! ```text
//!   keyframes   0 ──── 1 ──── 2 ──── 3 ──── 4 ──── end
//!   looked at          ╰player╯      ╰player╯ ╰player╯        the newest first, for "the last"
//! ```
//! Intervals are independent of each other, for a keyframe has the whole state. The page numbers
//! of a keyframe say what was written before it, so that most intervals need no look at all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::error::TravelError;
use crate::looking::{Hit, Looking};
use crate::player::{Player, Progress};

/// How often the user is asked whether to go on.
const LOOK_UP: Duration = Duration::from_millis(10);

/// Which of the hits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first so many.
    First(usize),
    /// The last so many.
    Last(usize),
}

/// Steps of a recording: from the first, to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first step.
    pub from: u64,
    /// The step after the last.
    pub to: u64,
}

/// An interval between keyframes, or a part of it.
#[derive(Clone, Copy, Debug)]
struct Interval {
    from: u64,
    to: u64,
    /// Nothing that is looked for can be there.
    skip: bool,
}

/// Players of the same recording.
#[derive(Debug)]
pub struct Pool {
    players: Vec<Player>,
}

/// What one player found in one interval.
type Found = (usize, Result<Vec<Hit>, TravelError>);

impl Pool {
    /// A pool of these players, at least one.
    #[must_use]
    pub fn new(players: Vec<Player>) -> Self {
        Self { players }
    }

    /// One of the players, for what needs no more.
    pub fn player(&mut self) -> Option<&mut Player> {
        self.players.first_mut()
    }

    /// Looks for something in a window. The hits are in the order in which they happened.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn find(
        &mut self,
        looking: &Looking,
        window: Window,
        wanted: Wanted,
        progress: Progress<'_>,
    ) -> Result<Vec<Hit>, TravelError> {
        let first = self.players.first().ok_or(TravelError::NoKeyframe)?;
        let mut intervals = intervals(first, looking, window);
        if matches!(wanted, Wanted::Last(_)) {
            intervals.reverse();
        }
        let total: u64 = intervals.iter().map(|interval| interval.to - interval.from).sum();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = AtomicU64::new(0);
        let work =
            Work { intervals: &intervals, looking, wanted, next: &next, stop: &stop, done: &done };
        let (tell, told) = channel::<Found>();
        thread::scope(|scope| {
            for player in &mut self.players {
                let (work, tell) = (work, tell.clone());
                scope.spawn(move || work.run(player, &tell));
            }
            drop(tell);
            let mut gathered =
                Gathered { wanted, n: intervals.len(), by_interval: BTreeMap::new() };
            let answer = loop {
                let enough = match told.recv_timeout(LOOK_UP) {
                    Ok((index, Ok(hits))) => gathered.add(index, hits),
                    Ok((_, Err(error))) => break Err(error),
                    Err(RecvTimeoutError::Disconnected) => true,
                    Err(RecvTimeoutError::Timeout) => false,
                };
                if enough {
                    break Ok(());
                }
                if !progress(done.load(Ordering::Relaxed), total) {
                    break Err(TravelError::Interrupted);
                }
            };
            stop.store(true, Ordering::Relaxed);
            answer.map(|()| gathered.hits())
        })
    }
}

/// The intervals of a window, by rising step.
fn intervals(player: &Player, looking: &Looking, window: Window) -> Vec<Interval> {
    let pages = looking.pages(player.subject().machine());
    let frames = player.reader().keyframes();
    let mut intervals = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let end = frames.get(index + 1).map_or(player.last().step, |next| next.at.step);
        let (from, to) = (frame.at.step.max(window.from), end.min(window.to));
        if from < to {
            let skip = !player.may_hit(index, pages.as_deref());
            intervals.push(Interval { from, to, skip });
        }
    }
    intervals
}

/// What all players work on.
#[derive(Clone, Copy)]
struct Work<'a> {
    intervals: &'a [Interval],
    looking: &'a Looking,
    wanted: Wanted,
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
    done: &'a AtomicU64,
}

impl Work<'_> {
    /// Takes one interval after the other.
    fn run(self, player: &mut Player, tell: &Sender<Found>) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(interval) = self.intervals.get(index) else { return };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let found = if interval.skip { Ok(Vec::new()) } else { self.look(player, *interval) };
            if interval.skip {
                self.done.fetch_add(interval.to - interval.from, Ordering::Relaxed);
            }
            if tell.send((index, found)).is_err() {
                return;
            }
        }
    }

    fn look(self, player: &mut Player, interval: Interval) -> Result<Vec<Hit>, TravelError> {
        let mut go_on = |_, _| !self.stop.load(Ordering::Relaxed);
        player.seek(interval.from, &mut go_on)?;
        let mut hits = std::collections::VecDeque::new();
        let mut found = |hit: Hit| {
            hits.push_back(hit);
            match self.wanted {
                Wanted::First(n) => hits.len() < n,
                Wanted::Last(n) => {
                    if hits.len() > n {
                        hits.pop_front();
                    }
                    true
                }
            }
        };
        let mut before = 0;
        let mut count = |now: u64, _| {
            self.done.fetch_add(now - before, Ordering::Relaxed);
            before = now;
            !self.stop.load(Ordering::Relaxed)
        };
        player.scan_only(interval.to, self.looking, &mut found, &mut count)?;
        Ok(hits.into())
    }
}

/// Hits by interval, until there are enough.
struct Gathered {
    wanted: Wanted,
    n: usize,
    by_interval: BTreeMap<usize, Vec<Hit>>,
}

impl Gathered {
    /// Adds what an interval has; says whether that is enough: all intervals before it in the
    /// order of looking are known, too.
    fn add(&mut self, index: usize, hits: Vec<Hit>) -> bool {
        self.by_interval.insert(index, hits);
        let (Wanted::First(enough) | Wanted::Last(enough)) = self.wanted;
        let mut n = 0;
        for (expected, (index, hits)) in self.by_interval.iter().enumerate() {
            if *index != expected {
                return false;
            }
            n += hits.len();
            if n >= enough {
                return true;
            }
        }
        self.by_interval.len() == self.n
    }

    fn hits(self) -> Vec<Hit> {
        let (enough, last) = match self.wanted {
            Wanted::First(n) => (n, false),
            Wanted::Last(n) => (n, true),
        };
        let mut hits: Vec<Hit> = if last {
            self.by_interval.into_values().rev().flatten().collect()
        } else {
            self.by_interval.into_values().flatten().collect()
        };
        if last {
            hits.drain(..hits.len().saturating_sub(enough));
        } else {
            hits.truncate(enough);
        }
        hits
    }
}
