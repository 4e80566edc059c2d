//! Exact counters by kind of exit, and a log-linear histogram of sampled handler times.

use state::{Codec, Damaged, State};

use crate::ExitKind;

const SUB_BITS: u32 = 3;
const N_BUCKETS: usize = 40 << SUB_BITS;

/// A histogram whose buckets are at most 12.5 % wide, up to 2^40 (ns: 18 minutes).
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u32]>,
    count: u64,
    max: u64,
    sum: u64,
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("max", &self.max)
            .field("sum", &self.sum)
            .finish_non_exhaustive()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; N_BUCKETS].into_boxed_slice(), count: 0, max: 0, sum: 0 }
    }
}

impl Histogram {
    fn bucket(value: u64) -> usize {
        let first = 1 << SUB_BITS;
        let index = if value < first {
            value
        } else {
            let shift = u64::from(value.ilog2() - SUB_BITS);
            ((shift + 1) << SUB_BITS) + ((value >> shift) - first)
        };
        usize::try_from(index).unwrap_or(N_BUCKETS - 1).min(N_BUCKETS - 1)
    }

    /// The largest value that falls in bucket `index`.
    fn upper(index: usize) -> u64 {
        let index = index as u64;
        let first = 1 << SUB_BITS;
        if index < first {
            return index;
        }
        let shift = (index >> SUB_BITS) - 1;
        ((first + (index & (first - 1)) + 1) << shift) - 1
    }

    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        let bucket = &mut self.buckets[Self::bucket(value)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value added, exact.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The sum of all values, exact.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value below which `permille` thousandths of the values lie, to the bucket's width.
    #[must_use]
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = (self.count * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, n) in self.buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= rank {
                return Some(Self::upper(index).min(self.max));
            }
        }
        Some(self.max)
    }

    /// Adds all values of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&*other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was added since `earlier`, which must be an older state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&*earlier.buckets).map(|(a, b)| a.saturating_sub(*b));
        Self {
            buckets: buckets.collect(),
            count: self.count.saturating_sub(earlier.count),
            max: self.max,
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }
}

/// What is known of one kind of exit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Exits, exact.
    pub n_exits: u64,
    /// Guest steps that the vCPU made before these exits since its exit before, exact.
    pub guest_steps: u64,
    /// Host nanoseconds spent in handlers, of the exits that were sampled.
    pub handler_ns: Histogram,
}

/// Counters of one vCPU, one entry per [`ExitKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    kinds: Vec<KindStats>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { kinds: vec![KindStats::default(); ExitKind::ALL.len()] }
    }
}

impl State for Stats {
    /// The exact counters. What was sampled of the host's time is none of the run's.
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.each(&mut self.kinds, |codec, kind| {
            codec.count(&mut kind.n_exits)?;
            codec.count(&mut kind.guest_steps)
        })
    }
}

impl Stats {
    /// Counts one exit.
    pub fn count(&mut self, kind: ExitKind, guest_steps: u64) {
        let entry = &mut self.kinds[kind.index()];
        entry.n_exits += 1;
        entry.guest_steps += guest_steps;
    }

    /// Adds one sampled handler time.
    pub fn sample(&mut self, kind: ExitKind, handler_ns: u64) {
        self.kinds[kind.index()].handler_ns.record(handler_ns);
    }

    /// The counters of one kind.
    #[must_use]
    pub fn kind(&self, kind: ExitKind) -> &KindStats {
        &self.kinds[kind.index()]
    }

    /// All exits.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kinds.iter().map(|k| k.n_exits).sum()
    }
}
