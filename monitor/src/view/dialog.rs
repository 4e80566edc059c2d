//! What lies over a view: the question before the end, the list of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::paint;
use crate::keys::{Context, REGISTRY, footer};
use crate::model::Dialog;
use crate::theme::{Role, Theme};

/// Draws a dialog over `body`.
pub(crate) fn draw(dialog: Dialog, theme: Theme, body: Rect, buf: &mut Buffer) {
    match dialog {
        Dialog::Quit => quit(theme, body, buf),
        Dialog::Help { first } => help(first, theme, body, buf),
    }
}

/// Clears a place in the middle and puts a box there.
fn popup(title: &str, width: u16, height: u16, theme: Theme, body: Rect, buf: &mut Buffer) -> Rect {
    let (width, height) = (width.min(body.width), height.min(body.height));
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    };
    for position in area.positions() {
        buf[position].reset();
    }
    // A wide character cut by the box would cover its border.
    for y in area.y..area.bottom() {
        if area.x > body.x && Span::raw(buf[(area.x - 1, y)].symbol()).width() > 1 {
            buf[(area.x - 1, y)].set_symbol(" ");
        }
    }
    paint::boxed(buf, area, paint::title(title, theme), true, false, theme)
}

fn quit(theme: Theme, body: Rect, buf: &mut Buffer) {
    let inside = popup("end the run?", 46, 5, theme, body, buf);
    let line = |y: u16| Rect { y: inside.y + y, height: 1, ..inside }.intersection(inside);
    paint::left(buf, line(0), &Line::from(" The guest is still there."));
    let mut spans = vec![Span::raw(" ")];
    for row in footer(&[Context::QuitDialog]) {
        let key = row.keys.first().map(ToString::to_string).unwrap_or_default();
        spans.push(Span::styled(key, theme.style(Role::Key)));
        spans.push(Span::raw(format!(" {}   ", row.short)));
    }
    paint::left(buf, line(2), &Line::from(spans));
}

fn help(first: usize, theme: Theme, body: Rect, buf: &mut Buffer) {
    let lines = help_lines(theme);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let inside = popup("keys", 72, height, theme, body, buf);
    let first = first.min(lines.len().saturating_sub(usize::from(inside.height)));
    for (y, line) in (inside.y..inside.bottom()).zip(lines.iter().skip(first)) {
        paint::left(buf, Rect { y, height: 1, ..inside }, line);
    }
    let n_below = lines.len().saturating_sub(first + usize::from(inside.height));
    if n_below > 0 {
        let more =
            Line::styled(format!(" ▼ {n_below} more, j scrolls "), theme.style(Role::Strong));
        paint::right(buf, Rect { y: inside.bottom(), height: 1, ..inside }, &more);
    }
}

fn help_lines(theme: Theme) -> Vec<Line<'static>> {
    let contexts = [
        Context::Global,
        Context::Move,
        Context::Overview,
        Context::Console,
        Context::Guest,
        Context::Prefix,
        Context::QuitDialog,
        Context::HelpDialog,
    ];
    let mut lines = Vec::new();
    for context in contexts {
        lines.push(Line::styled(format!(" {}", context.title()), theme.style(Role::Title)));
        for row in REGISTRY.iter().filter(|row| row.context == context) {
            let keys: Vec<String> = row.keys.iter().map(ToString::to_string).collect();
            lines.push(Line::from(vec![
                Span::styled(format!("   {:<19}", keys.join("  ")), theme.style(Role::Key)),
                Span::raw(row.help),
            ]));
        }
    }
    lines
}
