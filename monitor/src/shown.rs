//! What the overview says of one moment: counters, rates and times joined into rows.

use std::time::Duration;

use session::{ExitKind, Overview, RunState, VcpuView};

use crate::quantiles::Times;
use crate::rates::{History, Meter, Rates};

/// One line of the table of causes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CauseRow {
    pub(crate) kind: ExitKind,
    pub(crate) rate: f64,
    pub(crate) total: u64,
    /// Of all exits per second; of all exits while there are none.
    pub(crate) share: f64,
    pub(crate) times: Times,
    /// Guest steps before such an exit, on average.
    pub(crate) steps: Option<f64>,
}

/// One line of the table of vCPUs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VcpuRow {
    pub(crate) view: VcpuSummary,
    pub(crate) rate: f64,
    pub(crate) total: u64,
    pub(crate) steps: Option<f64>,
    pub(crate) times: Times,
    pub(crate) top: Option<ExitKind>,
}

/// The parts of a [`VcpuView`] that are shown as they are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VcpuSummary {
    pub(crate) id: session::VcpuId,
    pub(crate) state: session::VcpuState,
    pub(crate) mode: isa::Mode,
    pub(crate) pc: u64,
    pub(crate) steps: u64,
}

/// One moment, ready to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) run: RunState,
    pub(crate) time_ns: u64,
    pub(crate) n_resets: u64,
    pub(crate) driver_calls: u64,
    pub(crate) sample_every: u32,
    pub(crate) memory_bytes: u64,
    pub(crate) mapped_bytes: u64,
    pub(crate) exits_rate: f64,
    pub(crate) exits_total: u64,
    pub(crate) steps_rate: f64,
    pub(crate) vcpus: Vec<VcpuRow>,
    pub(crate) causes: Vec<CauseRow>,
    pub(crate) history: History,
}

impl Shown {
    /// Joins `overview` with the rates that it completes.
    pub(crate) fn new(now: Duration, overview: &Overview, meter: &mut Meter) -> Self {
        let running = matches!(overview.run, RunState::Running);
        let rates = meter.measure(now, overview, running);
        let exits_total = overview.vcpus.iter().map(|v| v.stats.total()).sum();
        let exits_rate = rates.exits.iter().flatten().sum();
        Self {
            name: overview.name.chars().filter(|c| !c.is_control()).collect(),
            run: overview.run.clone(),
            time_ns: overview.time_ns,
            n_resets: overview.n_resets,
            driver_calls: overview.driver_calls,
            sample_every: overview.sample_every,
            memory_bytes: overview.memory_bytes,
            mapped_bytes: overview.mapped_bytes,
            exits_rate,
            exits_total,
            steps_rate: rates.steps,
            vcpus: vcpu_rows(overview, &rates),
            causes: cause_rows(overview, &rates, exits_rate, exits_total),
            history: meter.history().clone(),
        }
    }
}

fn mean(sum: u64, n: u64) -> Option<f64> {
    (n > 0).then(|| sum as f64 / n as f64)
}

fn vcpu_rows(overview: &Overview, rates: &Rates) -> Vec<VcpuRow> {
    let row = |(vcpu, rates): (&VcpuView, &[f64; ExitKind::ALL.len()])| {
        let kinds = || ExitKind::ALL.iter().map(|kind| vcpu.stats.kind(*kind));
        let total = vcpu.stats.total();
        let busiest = |a: &ExitKind, b: &ExitKind| {
            let key = |k: &ExitKind| (rates[k.index()], vcpu.stats.kind(*k).n_exits);
            let ((ra, na), (rb, nb)) = (key(a), key(b));
            ra.total_cmp(&rb).then(na.cmp(&nb)).then(b.index().cmp(&a.index()))
        };
        VcpuRow {
            view: VcpuSummary {
                id: vcpu.id,
                state: vcpu.state,
                mode: vcpu.mode,
                pc: vcpu.pc,
                steps: vcpu.steps,
            },
            rate: rates.iter().sum(),
            total,
            steps: mean(kinds().map(|k| k.guest_steps).sum(), total),
            times: Times::of(kinds().map(|k| &k.handler_ns)),
            top: ExitKind::ALL.into_iter().max_by(busiest).filter(|_| total > 0),
        }
    };
    overview.vcpus.iter().zip(&rates.exits).map(row).collect()
}

/// The kinds that occurred, the most frequent now first, then the most frequent ever.
fn cause_rows(overview: &Overview, rates: &Rates, all_rate: f64, all: u64) -> Vec<CauseRow> {
    let row = |kind: ExitKind| {
        let stats = || overview.vcpus.iter().map(move |vcpu| vcpu.stats.kind(kind));
        let total: u64 = stats().map(|k| k.n_exits).sum();
        let rate: f64 = rates.exits.iter().map(|vcpu| vcpu[kind.index()]).sum();
        let share = if all_rate > 0.0 { rate / all_rate } else { total as f64 / all.max(1) as f64 };
        CauseRow {
            kind,
            rate,
            total,
            share,
            times: Times::of(stats().map(|k| &k.handler_ns)),
            steps: mean(stats().map(|k| k.guest_steps).sum(), total),
        }
    };
    let mut rows: Vec<CauseRow> =
        ExitKind::ALL.into_iter().map(row).filter(|row| row.total > 0).collect();
    rows.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.total.cmp(&a.total)));
    rows
}
