//! Rates and history from counters with an injected clock.

use isa::Mode;
use session::{RunState, Stats, VcpuId, VcpuState, VcpuView};

use super::*;

fn overview(n_exits: u64) -> Overview {
    let mut stats = Stats::default();
    (0..n_exits).for_each(|_| stats.count(ExitKind::Sbi, 100));
    let id = VcpuId(0);
    let (state, mode) = (VcpuState::Running, Mode::Vs);
    let vcpu = VcpuView { id, state, mode, pc: 0, steps: n_exits * 100, stats };
    Overview {
        name: "test".into(),
        run: RunState::Running,
        time_ns: 0,
        n_resets: 0,
        driver_calls: 0,
        sample_every: 0,
        memory_bytes: 0,
        mapped_bytes: 0,
        vcpus: vec![vcpu],
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_rate_is_the_mean_of_the_last_second() {
    let mut meter = Meter::default();
    assert_eq!(meter.measure(ms(0), &overview(500), true).exits[0][0], 0.0);
    for quarter in 1..=8u64 {
        let rates = meter.measure(ms(quarter * 250), &overview(500 + quarter * 25), true);
        assert_eq!(rates.exits[0][0], 100.0);
        assert_eq!(rates.steps, 10_000.0);
    }
    // Half a second of silence halves it; a whole one ends it.
    assert_eq!(meter.measure(ms(2500), &overview(700), true).exits[0][0], 50.0);
    assert_eq!(meter.measure(ms(3000), &overview(700), true).exits[0][0], 0.0);
}

#[test]
fn counters_that_go_back_are_no_rate() {
    let mut meter = Meter::default();
    meter.measure(ms(0), &overview(500), true);
    assert_eq!(meter.measure(ms(1000), &overview(3), true).exits[0][0], 0.0);
}

#[test]
fn a_late_poll_fills_the_slots_between() {
    let mut meter = Meter::default();
    meter.measure(ms(0), &overview(0), true);
    meter.measure(ms(1000), &overview(100), true);
    let columns = meter.history().columns(240, |kinds| kinds.iter().sum());
    let measured: Vec<f64> = columns.into_iter().flatten().collect();
    assert_eq!(measured, [100.0; 4]);
}

#[test]
fn a_full_column_never_changes_while_it_moves() {
    let mut meter = Meter::default();
    let mut before: Option<Vec<Option<f64>>> = None;
    for i in 0..600u64 {
        meter.measure(ms(i * 250), &overview(i * i / 7), true);
        let columns = meter.history().columns(40, |kinds| kinds.iter().sum());
        if let Some(before) = before {
            // All but the newest column were there before, in place or one further right.
            let n = columns.len() - 1;
            let same = columns[..n] == before[..n] || columns[..n] == before[1..];
            assert!(same, "column changed at {i}");
        }
        before = Some(columns);
    }
}

#[test]
fn a_paused_guest_has_no_history() {
    let mut meter = Meter::default();
    for i in 0..8 {
        meter.measure(ms(i * 250), &overview(7), false);
    }
    assert_eq!(meter.history(), &History { slots: VecDeque::new(), newest: 0 });
}

#[test]
fn a_minute_fits_every_width() {
    for width in 1..400 {
        assert!(History::span(width) >= Duration::from_secs(60), "{width}");
    }
}
