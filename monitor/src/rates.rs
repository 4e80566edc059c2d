//! Rates from successive exact counters, and their history; the only place that divides by time.

use std::collections::VecDeque;
use std::time::Duration;

use session::{ExitKind, Overview};

/// Kinds of exit.
pub(crate) const N_KINDS: usize = ExitKind::ALL.len();
/// A shown rate is the mean over this much host time.
const WINDOW: Duration = Duration::from_secs(1);
/// Two counters closer than this say nothing about a rate.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// Host time of one entry of the history.
pub(crate) const SLOT: Duration = Duration::from_millis(250);
/// Entries kept: more than two minutes.
const SLOTS_MAX: usize = 600;
/// The history shows at least so many entries: one minute.
pub(crate) const SLOTS_SHOWN: usize = 240;

/// The counters of one moment.
#[derive(Clone, Debug)]
struct Counters {
    at: Duration,
    steps: u64,
    exits: Vec<[u64; N_KINDS]>,
}

impl Counters {
    fn of(at: Duration, overview: &Overview) -> Self {
        let exits = overview.vcpus.iter().map(|vcpu| {
            let mut kinds = [0; N_KINDS];
            for kind in ExitKind::ALL {
                kinds[kind.index()] = vcpu.stats.kind(kind).n_exits;
            }
            kinds
        });
        let steps = overview.vcpus.iter().map(|vcpu| vcpu.steps).sum();
        Self { at, steps, exits: exits.collect() }
    }

    fn since(&self, earlier: &Self) -> Rates {
        let Some(time) = self.at.checked_sub(earlier.at).filter(|t| *t >= WINDOW_MIN) else {
            return Rates { steps: 0.0, exits: vec![[0.0; N_KINDS]; self.exits.len()] };
        };
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / time.as_secs_f64();
        let exits = self.exits.iter().enumerate().map(|(i, new)| {
            let old = earlier.exits.get(i).copied().unwrap_or([0; N_KINDS]);
            std::array::from_fn(|k| rate(new[k], old[k]))
        });
        Rates { steps: rate(self.steps, earlier.steps), exits: exits.collect() }
    }
}

/// Per second of host time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) steps: f64,
    /// Exits by vCPU and kind.
    pub(crate) exits: Vec<[f64; N_KINDS]>,
}

/// Exits per second over the last minutes, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    slots: VecDeque<[f64; N_KINDS]>,
    /// Number of the newest slot, counted from the start of the monitor.
    newest: u128,
}

impl History {
    fn push(&mut self, number: u128, kinds: [f64; N_KINDS]) {
        let n = number.saturating_sub(self.newest).min(SLOTS_MAX as u128);
        for _ in 0..n {
            self.slots.push_back(kinds);
        }
        while self.slots.len() > SLOTS_MAX {
            self.slots.pop_front();
        }
        self.newest = number;
    }

    /// How much host time `width` columns show.
    pub(crate) fn span(width: usize) -> Duration {
        let slots = width * per_column(width);
        SLOT * u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// `width` columns, the newest last; `None` where nothing was measured.
    ///
    /// A column holds the same slots for as long as it is shown: it moves but never flickers.
    pub(crate) fn columns(
        &self,
        width: usize,
        pick: impl Fn(&[f64; N_KINDS]) -> f64,
    ) -> Vec<Option<f64>> {
        let per = per_column(width);
        let mut columns = vec![None; width];
        let mut filled = vec![0u32; width];
        let newest_column = self.newest / per as u128;
        for (age, slot) in self.slots.iter().rev().enumerate() {
            let Some(number) = self.newest.checked_sub(age as u128) else { break };
            let back = usize::try_from(newest_column - number / per as u128).unwrap_or(width);
            let Some(column) = width.checked_sub(back + 1) else { break };
            let old = columns[column].unwrap_or(0.0);
            filled[column] += 1;
            columns[column] = Some(old + (pick(slot) - old) / f64::from(filled[column]));
        }
        columns
    }
}

fn per_column(width: usize) -> usize {
    SLOTS_SHOWN.div_ceil(width.max(1))
}

/// Turns overviews into rates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    window: VecDeque<Counters>,
    history: History,
    /// What the next slot of the history counts from.
    slot: Option<Counters>,
}

impl Meter {
    /// Takes the counters of this moment and says the rates that now hold.
    pub(crate) fn measure(&mut self, now: Duration, overview: &Overview, running: bool) -> Rates {
        let counters = Counters::of(now, overview);
        while self.window.get(1).is_some_and(|next| next.at + WINDOW <= now) {
            self.window.pop_front();
        }
        let rates = match self.window.front() {
            Some(first) => counters.since(first),
            None => counters.since(&counters),
        };
        self.window.push_back(counters.clone());
        self.extend(counters, running);
        rates
    }

    /// The rates so far.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Host time in which the guest was not to run is not part of the history.
    fn extend(&mut self, counters: Counters, running: bool) {
        let number = counters.at.as_millis() / SLOT.as_millis();
        let Some(last) = &self.slot else {
            self.history.newest = number;
            self.slot = Some(counters);
            return;
        };
        let gap = number.saturating_sub(last.at.as_millis() / SLOT.as_millis());
        if gap == 0 {
            return;
        }
        let mut kinds = [0.0; N_KINDS];
        for vcpu in counters.since(last).exits {
            kinds.iter_mut().zip(vcpu).for_each(|(sum, rate)| *sum += rate);
        }
        if running || kinds.iter().any(|rate| *rate > 0.0) {
            self.history.push(self.history.newest + gap, kinds);
        }
        self.slot = Some(counters);
    }
}

#[cfg(test)]
mod tests;
