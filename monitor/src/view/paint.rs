//! Text, boxes and bars in a buffer; everything is cut at the area it is given.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::format::whole;
use crate::theme::{Role, Theme};

/// Eighths of a cell, from below.
const RISING: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Writes `line` at the left of `area`'s first row; returns the column after it.
pub(crate) fn left(buf: &mut Buffer, area: Rect, line: &Line<'_>) -> u16 {
    if area.is_empty() {
        return area.x;
    }
    // What was there, a border perhaps, must not lend its style.
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX).min(area.width);
    buf.set_style(Rect { width, height: 1, ..area }, Style::reset());
    buf.set_line(area.x, area.y, line, area.width).0
}

/// Writes `line` at the right of `area`'s first row, if it fits; returns the column it begins at.
pub(crate) fn right(buf: &mut Buffer, area: Rect, line: &Line<'_>) -> u16 {
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX);
    let Some(x) = area.right().checked_sub(width).filter(|x| *x >= area.x) else {
        return area.right();
    };
    left(buf, Rect { x, width, ..area }, line);
    x
}

/// Writes `text` in the middle of row `y`.
pub(crate) fn centred(buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
    let line = Line::styled(text, style);
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX).min(area.width);
    let x = area.x + (area.width - width) / 2;
    left(buf, Rect { x, y, width, height: 1 }.intersection(area), &line);
}

/// A box with a title; returns what is inside. `joined` if it shares its top row with a box above.
pub(crate) fn boxed(
    buf: &mut Buffer,
    area: Rect,
    title: Line<'_>,
    focus: bool,
    joined: bool,
    theme: Theme,
) -> Rect {
    if area.width < 2 || area.height < 2 {
        return Rect { width: 0, height: 0, ..area };
    }
    let style = Style::reset().patch(theme.style(if focus { Role::Focus } else { Role::Border }));
    let corners = if joined { ["├", "┤"] } else { ["┌", "┐"] };
    let (last_x, last_y) = (area.right() - 1, area.bottom() - 1);
    for x in area.x..=last_x {
        buf[(x, area.y)].set_symbol("─").set_style(style);
        buf[(x, last_y)].set_symbol("─").set_style(style);
    }
    for y in area.y..=last_y {
        buf[(area.x, y)].set_symbol("│").set_style(style);
        buf[(last_x, y)].set_symbol("│").set_style(style);
    }
    buf[(area.x, area.y)].set_symbol(corners[0]);
    buf[(last_x, area.y)].set_symbol(corners[1]);
    buf[(area.x, last_y)].set_symbol("└");
    buf[(last_x, last_y)].set_symbol("┘");
    let inside = area.inner(ratatui::layout::Margin::new(1, 1));
    let top = Rect { x: area.x + 1, y: area.y, width: area.width - 2, height: 1 };
    left(buf, top, &title);
    inside
}

/// A title in a border, with a blank at each side.
pub(crate) fn title(text: &str, theme: Theme) -> Line<'static> {
    Line::styled(format!(" {text} "), theme.style(Role::Title))
}

/// A bar of `width` cells of which `share` is full; half cells count.
pub(crate) fn bar(share: f64, width: usize, theme: Theme) -> Vec<Span<'static>> {
    let halves = whole((share.clamp(0.0, 1.0) * 2.0 * width as f64).round());
    let halves = usize::try_from(halves).unwrap_or(0);
    // Something is never drawn as nothing.
    let halves = if share > 0.0 { halves.max(1) } else { 0 };
    let mut full = "█".repeat(halves / 2);
    if halves % 2 == 1 {
        full.push('▌');
    }
    let empty = "░".repeat(width.saturating_sub(halves.div_ceil(2)));
    vec![Span::styled(full, theme.style(Role::Bar)), Span::styled(empty, theme.style(Role::Dim))]
}

/// One character per column, relative to `max`; a middle dot for a measured zero.
pub(crate) fn sparkline(columns: &[Option<f64>], max: f64) -> String {
    let cell = |value: &Option<f64>| match value {
        None => " ",
        Some(value) if *value <= 0.0 || max <= 0.0 => "·",
        Some(value) => RISING[level(*value, max, 8).clamp(1, 8) - 1],
    };
    columns.iter().map(cell).collect()
}

fn level(value: f64, max: f64, levels: usize) -> usize {
    usize::try_from(whole((value / max * levels as f64).round())).unwrap_or(levels).min(levels)
}

/// Columns over the whole height of `area`; the last column is now.
pub(crate) fn graph(
    buf: &mut Buffer,
    area: Rect,
    columns: &[Option<f64>],
    max: f64,
    style: Style,
    dim: Style,
) {
    let levels = usize::from(area.height) * 8;
    for (x, value) in (area.x..area.right()).zip(columns) {
        let Some(value) = value else { continue };
        let level = if max > 0.0 { level(*value, max, levels) } else { 0 };
        let level = if *value > 0.0 { level.max(1) } else { 0 };
        for (above, y) in (area.y..area.bottom()).rev().enumerate() {
            match level.saturating_sub(above * 8).min(8) {
                0 if above == 0 => {
                    buf[(x, y)].set_symbol("·").set_style(dim);
                }
                0 => break,
                n => {
                    buf[(x, y)].set_symbol(RISING[n - 1]).set_style(style);
                }
            }
        }
    }
}

/// A round number not below `value`, for the top of a scale.
pub(crate) fn ceiling(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let base = 10f64.powf(value.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0]
        .into_iter()
        .map(|step| step * base)
        .find(|step| *step >= value * 0.999_999)
        .unwrap_or(value)
}
