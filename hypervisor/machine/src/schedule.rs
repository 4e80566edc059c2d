//! Whose turn it is, and for how many steps: round robin in hart order.
//!
//! ```text
//!   ring:   0 → 1 → 2 → 3 → 0 …          a turn is one quantum of steps, or less
//!   stack:  [turn of 1, 4000 left]       while hart 3 waited, its timer came due in hart 1's
//!           [turn of 3, a quantum]       turn: hart 3 goes first, then hart 1 has its rest
//! ```
//! A hart is in the stack at most once, since one that is in it does not wait. All of this is part
//! of the machine's state: where a run is interrupted by a limit changes nothing here.

use state::{Codec, Damaged, State};

/// A turn that has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) hart: usize,
    /// Steps left.
    pub(crate) left: u64,
}

/// The order of turns.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    // Fixed configuration.
    n_harts: usize,
    // Runtime state.
    /// Steps of a turn. It is that of whoever has the harts.
    quantum: u64,
    /// The hart at which the search for the next turn begins.
    next: usize,
    /// The current turn on top of those that it interrupted.
    turns: Vec<Turn>,
    /// The hart that made the last step: no other one has a reservation.
    last: Option<usize>,
}

impl Schedule {
    pub(crate) fn new(n_harts: usize, quantum: u64) -> Self {
        Self { quantum: quantum.max(1), n_harts, next: 0, turns: Vec::new(), last: None }
    }

    /// Back to the beginning.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.n_harts, self.quantum);
    }

    /// The turn that goes on.
    pub(crate) fn current(&self) -> Option<Turn> {
        self.turns.last().copied()
    }

    /// The current turn is over.
    pub(crate) fn end_turn(&mut self) {
        self.turns.pop();
    }

    /// The turn of this hart is over, although others may have been put before it since.
    pub(crate) fn drop_turn(&mut self, hart: usize) {
        self.turns.retain(|turn| turn.hart != hart);
    }

    /// All harts, in the order in which they are asked whether they want the next turn.
    pub(crate) fn ring(&self) -> impl Iterator<Item = usize> + use<> {
        let (next, n_harts) = (self.next, self.n_harts);
        (0..n_harts).map(move |i| (next + i) % n_harts)
    }

    /// This hart has the next turn.
    pub(crate) fn begin_turn(&mut self, hart: usize) {
        self.next = (hart + 1) % self.n_harts;
        self.turns.push(Turn { hart, left: self.quantum });
    }

    /// These harts, in this order, have turns before the current one goes on.
    pub(crate) fn interrupt(&mut self, due: &[usize]) {
        for hart in due.iter().rev() {
            if !self.turns.iter().any(|turn| turn.hart == *hart) {
                self.turns.push(Turn { hart: *hart, left: self.quantum });
            }
        }
    }

    /// Counts steps of the current turn. Gives the hart whose turn is over for good with the first
    /// step of another one.
    pub(crate) fn count(&mut self, steps: u64) -> Option<usize> {
        let turn = self.turns.last_mut().filter(|_| steps != 0)?;
        turn.left = turn.left.saturating_sub(steps);
        let before = self.last.replace(turn.hart);
        before.filter(|before| *before != turn.hart)
    }

    pub(crate) fn digest(&self, feed: &mut dyn FnMut(u64)) {
        feed(self.next as u64);
        feed(self.last.map_or(u64::MAX, |hart| hart as u64));
        feed(self.turns.len() as u64);
        for turn in &self.turns {
            feed(turn.hart as u64);
            feed(turn.left);
        }
    }
}

impl State for Schedule {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let n_harts = self.n_harts;
        codec.u64(&mut self.quantum)?;
        codec.check(self.quantum != 0, "a turn has no steps")?;
        codec.index(&mut self.next, n_harts)?;
        codec.option(&mut self.last, |codec, hart| codec.index(hart, n_harts))?;
        let quantum = self.quantum;
        codec.list(&mut self.turns, n_harts, |codec, turn| {
            codec.index(&mut turn.hart, n_harts)?;
            codec.u64(&mut turn.left)?;
            codec.check(turn.left <= quantum, "a turn is too long")
        })?;
        let mut harts: Vec<usize> = self.turns.iter().map(|turn| turn.hart).collect();
        harts.sort_unstable();
        codec.check(harts.windows(2).all(|two| two[0] != two[1]), "a hart has two turns")
    }
}
