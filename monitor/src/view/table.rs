//! Tables whose columns come and go with the width; only visible rows are ever looked at.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::paint;
use crate::theme::{Role, Theme};

/// A column of a table of `R`.
pub(crate) struct Column<R> {
    pub(crate) title: &'static str,
    pub(crate) width: u16,
    /// Columns that it takes more if they are there.
    pub(crate) grow: u16,
    /// Numbers stand at the right.
    pub(crate) right: bool,
    /// The larger, the earlier the column is left out.
    pub(crate) rank: u8,
    pub(crate) cell: fn(&R, usize, Theme) -> Vec<Span<'static>>,
}

/// A table and which of its rows is selected.
pub(crate) struct Table<'a, R> {
    pub(crate) columns: &'a [Column<R>],
    pub(crate) rows: &'a [R],
    pub(crate) selected: usize,
    pub(crate) focus: bool,
}

impl<R> Table<'_, R> {
    /// Draws the heading and as many rows as fit, the selected one among them.
    pub(crate) fn draw(&self, area: Rect, theme: Theme, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        // The marker and a blank at the left, a blank at the right.
        let columns = fit(self.columns, area.width.saturating_sub(3));
        let mut x = area.x + 2;
        for (column, width, gap) in &columns {
            let cell = Rect { x, width: *width, height: 1, ..area };
            put(buf, cell, column.right, Line::styled(column.title, theme.style(Role::Dim)));
            x += width + gap;
        }
        let selected = self.selected.min(self.rows.len().saturating_sub(1));
        let n_visible = usize::from(area.height - 1);
        let first = (selected + 1).saturating_sub(n_visible);
        let visible = self.rows.iter().enumerate().skip(first).take(n_visible);
        for (y, (index, row)) in (area.y + 1..).zip(visible) {
            let line = Rect { y, height: 1, ..area };
            let mut x = area.x + 2;
            for (column, width, gap) in &columns {
                let cell = Rect { x, width: *width, ..line };
                let content = (column.cell)(row, usize::from(*width), theme);
                put(buf, cell, column.right, Line::from(content));
                x += width + gap;
            }
            if index == selected && self.focus {
                paint::left(buf, line, &Line::from("▸"));
                // The colours of a row would make patches of its reverse.
                buf.set_style(line, ratatui::style::Style::reset());
                buf.set_style(line, theme.style(Role::Select));
            }
        }
        let n_below = self.rows.len().saturating_sub(first + n_visible);
        if n_below > 0 {
            let more = format!(" ▼ {n_below} more ");
            let line = Rect { y: area.bottom(), height: 1, ..area };
            paint::right(buf, line, &Line::styled(more, theme.style(Role::Strong)));
        }
    }
}

fn put(buf: &mut Buffer, cell: Rect, right: bool, line: Line<'_>) {
    if right && line.width() <= usize::from(cell.width) {
        paint::right(buf, cell, &line);
    } else {
        paint::left(buf, cell, &line);
    }
}

/// The columns that fit, with their widths and the gap after each.
fn fit<R>(columns: &[Column<R>], width: u16) -> Vec<(&Column<R>, u16, u16)> {
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|i| columns[*i].rank);
    let mut taken = vec![false; columns.len()];
    let mut used = 0;
    for i in order {
        // The gap before the first column is its marker's.
        let need = columns[i].width + u16::from(used > 0);
        if used + need > width {
            break;
        }
        taken[i] = true;
        used += need;
    }
    let n_taken = taken.iter().filter(|t| **t).count();
    let mut free = width - used;
    // Air first, then room for the columns that have a use for it.
    let gaps = u16::try_from(n_taken.saturating_sub(1)).unwrap_or(0);
    let wide = gaps > 0 && free >= gaps;
    if wide {
        free -= gaps;
    }
    let mut fitted = Vec::with_capacity(n_taken);
    for (column, _) in columns.iter().zip(taken).filter(|(_, taken)| *taken) {
        let more = column.grow.min(free);
        free -= more;
        fitted.push((column, column.width + more, 1 + u16::from(wide)));
    }
    fitted
}
