//! Quantiles over several histograms together.

use session::Histogram;

/// What several histograms say together.
///
/// A [`Histogram`] shows its quantiles by thousandths, not its buckets, so the ranks of the union
/// are exact to one thousandth of each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl Times {
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let parts: Vec<&Histogram> = histograms.filter(|h| h.count() > 0).collect();
        let max = parts.iter().map(|h| h.max()).max();
        if let [only] = parts[..] {
            return Self { p50: only.quantile(500), p99: only.quantile(990), max };
        }
        let mut runs: Vec<(u64, u64)> = parts.iter().flat_map(|h| runs(h)).collect();
        runs.sort_unstable();
        let total = runs.iter().map(|(_, weight)| weight).sum::<u64>();
        Self { p50: at(&runs, total, 500), p99: at(&runs, total, 990), max }
    }
}

/// The values of a histogram with their weights, which are counts times 1000.
fn runs(histogram: &Histogram) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut done = 0;
    while done < 1000 {
        let Some(value) = histogram.quantile(done + 1) else { break };
        // The last thousandth that still has this value.
        let (mut low, mut high) = (done + 1, 1000);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if histogram.quantile(middle) == Some(value) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        runs.push((value, histogram.count().saturating_mul(low - done)));
        done = low;
    }
    runs
}

fn at(runs: &[(u64, u64)], total: u64, permille: u64) -> Option<u64> {
    let rank = total / 1000 * permille;
    let mut seen = 0u64;
    runs.iter()
        .find(|(_, weight)| {
            seen = seen.saturating_add(*weight);
            seen >= rank
        })
        .map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut h = Histogram::default();
        values.iter().for_each(|v| h.record(*v));
        h
    }

    #[test]
    fn nothing_has_no_times() {
        assert_eq!(Times::of([].into_iter()), Times::default());
        assert_eq!(Times::of([&Histogram::default()].into_iter()), Times::default());
    }

    proptest! {
        #[test]
        fn the_union_is_the_histogram_of_all(
            a in prop::collection::vec(0u64..5000, 0..80),
            b in prop::collection::vec(0u64..500_000, 0..80),
        ) {
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            let times = Times::of([&histogram(&a), &histogram(&b)].into_iter());
            let whole = histogram(&all);
            prop_assert_eq!(times.max.unwrap_or(0), whole.max());
            // Right to some thousandths of rank and the width of a bucket.
            for (got, permille) in [(times.p50, 500), (times.p99, 990)] {
                let low = whole.quantile(permille - 20).map(|low| low - low / 8);
                let high = whole.quantile((permille + 10).min(1000)).map(|high| high * 9 / 8 + 1);
                prop_assert!(low <= got && got <= high, "{low:?} {got:?} {high:?}");
            }
        }
    }
}
