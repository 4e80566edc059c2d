//! What is printed when a headless run has ended.

use std::fmt::Write as _;

use session::{ExitKind, Histogram, Overview, Stop};

/// The exits by cause, and the driver's calls.
pub(crate) fn summary(overview: &Overview) -> String {
    let mut out = String::new();
    let steps: u64 = overview.vcpus.iter().map(|vcpu| vcpu.steps).sum();
    let exits: u64 = overview.vcpus.iter().map(|vcpu| vcpu.stats.total()).sum();
    let seconds = overview.time_ns / 1_000_000_000;
    let millis = overview.time_ns / 1_000_000 % 1000;
    let _ = writeln!(
        out,
        "{exits} exits in {steps} steps on {} vCPUs, {seconds}.{millis:03} s of guest time",
        overview.vcpus.len(),
    );
    if exits > 0 {
        let _ = writeln!(
            out,
            "{:<12} {:>11} {:>7} {:>13} {:>9} {:>9} {:>8}",
            "exit", "count", "share", "steps between", "p50 ns", "p99 ns", "sampled"
        );
    }
    for row in rows(overview) {
        let share = row.count * 1000 / exits.max(1);
        let _ = writeln!(
            out,
            "{:<12} {:>11} {:>4}.{}% {:>13} {:>9} {:>9} {:>8}",
            row.kind.name(),
            row.count,
            share / 10,
            share % 10,
            row.guest_steps / row.count,
            ns(row.p50),
            ns(row.p99),
            row.sampled,
        );
    }
    let _ = writeln!(
        out,
        "stage-2 maps {} of {} MiB; resets: {}",
        overview.mapped_bytes >> 20,
        overview.memory_bytes >> 20,
        overview.n_resets
    );
    let _ = writeln!(out, "driver calls after start: {}", overview.driver_calls);
    out
}

/// What a bare machine did.
pub(crate) fn machine_summary(overview: &Overview) -> String {
    let steps: u64 = overview.vcpus.iter().map(|hart| hart.steps).sum();
    let (harts, ns) = (overview.vcpus.len(), overview.time_ns);
    format!(
        "{steps} steps on {harts} harts, {}.{:03} s of guest time\n",
        ns / 1_000_000_000,
        ns / 1_000_000 % 1000
    )
}

fn ns(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |ns| ns.to_string())
}

/// One kind of exit over all vCPUs.
struct Row {
    kind: ExitKind,
    count: u64,
    guest_steps: u64,
    p50: Option<u64>,
    p99: Option<u64>,
    sampled: u64,
}

/// The kinds that occurred, the most frequent first.
fn rows(overview: &Overview) -> Vec<Row> {
    let mut rows: Vec<Row> = ExitKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let mut times = Histogram::default();
            let (mut count, mut guest_steps) = (0, 0);
            for vcpu in &overview.vcpus {
                let stats = vcpu.stats.kind(kind);
                count += stats.n_exits;
                guest_steps += stats.guest_steps;
                times.add(&stats.handler_ns);
            }
            (count > 0).then(|| Row {
                kind,
                count,
                guest_steps,
                p50: times.quantile(500),
                p99: times.quantile(990),
                sampled: times.count(),
            })
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// Whether a run ended in a way that nobody wanted.
pub(crate) fn is_crash(stop: &Stop) -> bool {
    exit_code(stop) == crate::EXIT_FINDINGS
}

/// The exit code that tells it.
pub(crate) fn exit_code(stop: &Stop) -> u8 {
    match stop {
        Stop::PowerOff | Stop::Reset | Stop::User => 0,
        Stop::StepLimit => 124,
        Stop::Failed { .. } | Stop::Deadlock | Stop::Killed { .. } | Stop::Crashed { .. } => 1,
        // A reason that this program does not know cannot be a good one.
        _ => 1,
    }
}
