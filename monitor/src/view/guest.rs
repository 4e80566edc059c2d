//! The facts about the guest as a whole, where there is room for them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::paint;
use crate::format::{bytes, clock, count, percent, si};
use crate::shown::Shown;
use crate::theme::{Role, Theme};

/// Rows that it fills.
pub(crate) const ROWS: u16 = 7;

/// How much of the guest's memory stage-2 maps: the numbers, and the share.
pub(crate) fn memory(shown: &Shown) -> (String, f64) {
    let share = shown.mapped_bytes as f64 / shown.memory_bytes.max(1) as f64;
    (format!("{} of {}", bytes(shown.mapped_bytes), bytes(shown.memory_bytes)), share)
}

/// How handler times came about.
pub(crate) fn timing(shown: &Shown) -> String {
    match shown.sample_every {
        0 => "handlers are not timed".into(),
        1 => "every handler timed".into(),
        n => format!("handlers timed 1:{n}"),
    }
}

/// Draws one fact per row.
pub(crate) fn draw(shown: &Shown, theme: Theme, area: Rect, buf: &mut Buffer) {
    let steps: u64 = shown.vcpus.iter().map(|vcpu| vcpu.view.steps).sum();
    let per_exit = match shown.exits_total {
        0 => "–".into(),
        n => si(steps as f64 / n as f64),
    };
    let (mapped, share) = memory(shown);
    let mut memory = vec![Span::raw(format!("{mapped} {:>4} ", percent(share)))];
    let cells = usize::from(area.width).saturating_sub(42).min(24);
    memory.extend(paint::bar(share, cells, theme));
    let exact = |n: u64| vec![Span::raw(format!("{} ({n})", count(n)))];
    let facts: [(&str, Vec<Span<'static>>); ROWS as usize] = [
        ("guest time", vec![Span::raw(clock(shown.time_ns))]),
        ("steps", exact(steps)),
        ("exits", exact(shown.exits_total)),
        ("steps/exit", vec![Span::raw(per_exit)]),
        ("mapped", memory),
        ("resets", vec![Span::raw(shown.n_resets.to_string())]),
        ("driver calls", vec![Span::raw(format!("{} after start", shown.driver_calls))]),
    ];
    for (y, (label, value)) in (area.y..area.bottom()).zip(facts) {
        let mut spans = vec![Span::styled(format!(" {label:<13}"), theme.style(Role::Dim))];
        spans.extend(value);
        paint::left(buf, Rect { y, height: 1, ..area }, &Line::from(spans));
    }
}
