//! The guest's screen, cell by cell: of what the guest wrote only printable text gets through.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::paint;
use crate::model::{Keyboard, Model};
use crate::theme::{Role, Theme};

/// Draws the pane; says where the guest's cursor is while the user types.
pub(crate) fn draw(model: &Model, theme: Theme, body: Rect, buf: &mut Buffer) -> Option<Position> {
    let screen = model.console.screen();
    title(model, theme, body, buf);
    let pane = Rect { y: body.y + 1, height: body.height.saturating_sub(1), ..body };
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get().min(pane.height), columns.get().min(pane.width));
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            column += cell(screen, row, column, columns, theme, pane, buf);
        }
    }
    if model.console.next() == 0 {
        let style = theme.style(Role::Dim);
        let text = "the guest has not written anything yet";
        paint::centred(buf, pane, pane.y + pane.height / 2, text, style);
    }
    let typing = model.keyboard != Keyboard::Monitor;
    if !typing || screen.hide_cursor() || screen.scrollback() > 0 {
        return None;
    }
    let (row, column) = screen.cursor_position();
    let inside = row < rows && column < columns;
    inside.then(|| Position { x: pane.x + column, y: pane.y + row })
}

fn title(model: &Model, theme: Theme, body: Rect, buf: &mut Buffer) {
    let typing = model.keyboard != Keyboard::Monitor;
    let style = theme.style(if typing { Role::Focus } else { Role::Border });
    let line = Rect { height: 1, ..body };
    for x in line.x..line.right() {
        buf[(x, line.y)].set_symbol("─").set_style(style);
    }
    let after = Rect { x: line.x + 1, width: line.width.saturating_sub(1), ..line };
    paint::left(buf, after, &paint::title("console", theme));
    let above = model.console.screen().scrollback();
    if above > 0 {
        let text = format!(" ▲ {above} lines above the newest, G follows ");
        let line = Rect { width: line.width.saturating_sub(1), ..line };
        paint::right(buf, line, &Line::styled(text, theme.style(Role::Warn)));
    }
}

/// Draws one cell; returns how many columns it takes.
fn cell(
    screen: &vt100::Screen,
    row: u16,
    column: u16,
    columns: u16,
    theme: Theme,
    pane: Rect,
    buf: &mut Buffer,
) -> u16 {
    let Some(cell) = screen.cell(row, column) else { return 1 };
    let mut style = Style::new().fg(theme.guest(cell.fgcolor())).bg(theme.guest(cell.bgcolor()));
    for (set, modifier) in [
        (cell.bold(), Modifier::BOLD),
        (cell.dim(), Modifier::DIM),
        (cell.italic(), Modifier::ITALIC),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
    ] {
        if set {
            style = style.add_modifier(modifier);
        }
    }
    let width = if cell.is_wide() { 2 } else { 1 };
    let fits = column + width <= columns;
    let symbol = if fits { symbol(cell.contents(), width) } else { " ".into() };
    let (x, y) = (pane.x + column, pane.y + row);
    buf[(x, y)].set_symbol(&symbol).set_style(style);
    if width == 2 && fits {
        buf[(x + 1, y)].set_symbol(" ").set_style(style);
    }
    width
}

/// The text of a cell if it is as wide as the emulator believes, else as much of it as is.
fn symbol(contents: &str, width: u16) -> String {
    let printable = |c: &char| !c.is_control() && !invisible(*c);
    let whole: String = contents.chars().filter(printable).collect();
    let is_wide = |text: &str| Span::raw(text).width() == usize::from(width);
    if is_wide(&whole) {
        return whole;
    }
    let first: String = whole.chars().take(1).collect();
    match () {
        () if is_wide(&first) => first,
        () if whole.is_empty() && width == 1 => " ".into(),
        () => "·".repeat(usize::from(width)),
    }
}

/// Characters that draw nothing but change how their neighbours are drawn.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}
