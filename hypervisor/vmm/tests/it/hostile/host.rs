//! What a long series of runs costs the host: memory, which must not grow, and processor time.

use super::tally::Tally;

/// A report every so many seeds.
const EVERY: u64 = 500;
/// So many reports set what memory is compared with: an allocator keeps what the largest run took.
const WARM_UP: u64 = 10;
const GROWTH_MAX_KIB: u64 = 32 << 10;
/// A seed that takes longer than this on the processor is as good as a hang.
const SEED_MAX_MS: u64 = 30_000;

/// Watches a series, if it is a long one.
#[derive(Debug)]
pub(crate) struct Watch {
    on: bool,
    n: u64,
    first_kib: Option<u64>,
    warm_kib: u64,
    reports: u64,
    peak_kib: u64,
    cpu_ns: u64,
    slowest: (u64, u64),
    last: u64,
}

impl Watch {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            n: 0,
            first_kib: None,
            warm_kib: 0,
            reports: 0,
            peak_kib: 0,
            cpu_ns: cpu_ns(),
            slowest: (0, 0),
            last: 0,
        }
    }

    /// Says now and then how far the series is: before a seed, so that one that hangs is known.
    pub(crate) fn before(&mut self, seed: u64, tally: &Tally) {
        self.n += 1;
        if self.on && self.n.is_multiple_of(EVERY) {
            self.report(seed, tally);
        }
    }

    /// Says whether the seed was quick enough.
    pub(crate) fn after(&mut self, seed: u64) -> bool {
        self.last = seed;
        if !self.on {
            return true;
        }
        let now = cpu_ns();
        let took_ms = (now - self.cpu_ns) / 1_000_000;
        self.cpu_ns = now;
        self.slowest = self.slowest.max((took_ms, seed));
        took_ms < SEED_MAX_MS
    }

    pub(crate) fn end(&mut self, tally: &Tally) {
        if self.on {
            self.report(self.last + 1, tally);
        }
    }

    fn report(&mut self, seed: u64, tally: &Tally) {
        let Some(kib) = resident_kib() else { return };
        let first = *self.first_kib.get_or_insert(kib);
        self.peak_kib = self.peak_kib.max(kib);
        let (peak, cpu_s) = (self.peak_kib, self.cpu_ns / 1_000_000_000);
        let (slow_ms, slow) = self.slowest;
        say(&format!("{cpu_s} s on the processor, the slowest seed {slow} with {slow_ms} ms"));
        say(&format!("{tally}\n  resident {kib} KiB, at first {first}, at most {peak}"));
        say(&format!("next is seed {seed}"));
        self.reports += 1;
        if self.reports <= WARM_UP {
            self.warm_kib = self.peak_kib;
        }
        let warm = self.warm_kib;
        assert!(kib < warm + GROWTH_MAX_KIB, "memory grew from {warm} to {kib} KiB");
    }
}

#[expect(clippy::print_stderr, reason = "a long series says how far it is")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Memory of this process; `None` where the host is not Linux.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Processor time of this thread; zero where the host is not Linux.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
