//! The screens themselves, with their styles, at three sizes and in five states.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use session::{Capabilities, RunState, Stop};

use super::*;
use crate::tests::{key, overview};
use crate::theme::Colors;
use crate::update::{Msg, update};

const OUTPUT: &str = "[    0.000000] Linux version 6.12.107+deb13-riscv64\r\n\
    [    0.412001] \x1b[1;32mvirtio_net\x1b[0m virtio0: registered as eth0\r\n\
    \x1b]0;a title\x07\x1b[31mred\x1b[0m, \x1b[7mreverse\x1b[0m, \
    \x1b[38;5;208morange\x1b[0m, 漢字, e\u{301}\r\n\
    debian login: ";

fn model(view: &str, state: &str, size: (u16, u16)) -> Model {
    let capabilities = Capabilities { live: true, control: true, time_travel: false };
    let mut model = Model::new("debian-13", capabilities, size);
    let at = |model: &mut Model, quarter: u64, run: RunState| {
        let mut overview = overview(4, quarter);
        overview.run = run;
        let now = Duration::from_millis(quarter * 250);
        update(model, Msg::Overview(now, Box::new(overview)));
    };
    if state != "empty" {
        (0..40).for_each(|quarter| at(&mut model, quarter, RunState::Running));
        update(&mut model, Msg::Console { from: 0, bytes: OUTPUT.into() });
    }
    match state {
        "frozen" => {
            update(&mut model, Msg::Key(key("Space")));
            at(&mut model, 53, RunState::Running);
        }
        "paused" => at(&mut model, 40, RunState::Paused),
        "ended" => {
            let reason = "refused access to CSR 0x5c0".into();
            at(&mut model, 40, RunState::Ended(Stop::Killed { reason }));
        }
        _ => {}
    }
    update(&mut model, Msg::Key(key(view)));
    model
}

fn render(model: &Model, theme: Theme) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, model.size.0, model.size.1));
    let _ = fill(model, theme, &mut buf);
    buf
}

fn text(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..buf.area.width {
            if skip == 0 {
                let symbol = buf[(x, y)].symbol();
                skip = ratatui::text::Span::raw(symbol).width().max(1);
                line.push_str(symbol);
            }
            skip -= 1;
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Per row, the runs of cells that do not look like plain text: `0-8 green bold`.
fn styles(buf: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for x in 0..buf.area.width {
            let cell = &buf[(x, y)];
            let mut style = String::new();
            if cell.fg != Color::Reset {
                let _ = write!(style, "{} ", cell.fg.to_string().to_lowercase());
            }
            if cell.bg != Color::Reset {
                let _ = write!(style, "on-{} ", cell.bg.to_string().to_lowercase());
            }
            for (name, _) in cell.modifier.iter_names() {
                let _ = write!(style, "{} ", name.to_lowercase());
            }
            match runs.last_mut() {
                Some((_, end, last)) if *last == style => *end = x,
                _ => runs.push((x, x, style)),
            }
        }
        runs.retain(|(_, _, style)| !style.is_empty());
        let runs: Vec<String> =
            runs.iter().map(|(a, b, style)| format!("{a}-{b} {}", style.trim())).collect();
        if !runs.is_empty() {
            let _ = writeln!(out, "{y}: {}", runs.join(", "));
        }
    }
    out
}

#[test]
fn screens() {
    let theme = Theme::new(Colors::Ansi16);
    for (view, name) in [("1", "overview"), ("2", "console")] {
        for size in [(80, 24), (120, 40), (160, 50)] {
            for state in ["live", "frozen", "paused", "ended", "empty"] {
                let buf = render(&model(view, state, size), theme);
                let id = format!("{name}-{}x{}-{state}", size.0, size.1);
                let mut shot = text(&buf);
                // One dump of styles per view and state is enough.
                if size == (80, 24) {
                    let _ = write!(shot, "styles\n{}", styles(&buf));
                }
                insta::assert_snapshot!(id, shot);
            }
        }
    }
}

#[test]
fn dialogs() {
    let theme = Theme::new(Colors::Ansi16);
    for (name, key_name) in [("quit", "q"), ("help", "?"), ("guest-input", "i")] {
        let mut model = model("2", "live", (80, 24));
        update(&mut model, Msg::Key(key(key_name)));
        let buf = render(&model, theme);
        insta::assert_snapshot!(name, format!("{}styles\n{}", text(&buf), styles(&buf)));
    }
}

#[test]
fn too_small_a_screen_says_so() {
    let buf = render(&model("1", "live", (39, 9)), Theme::new(Colors::Ansi16));
    assert!(text(&buf).contains("needs 40x10") && text(&buf).contains("have 39x9"));
}

#[test]
fn without_colours_the_selection_is_still_seen() {
    let buf = render(&model("1", "live", (80, 24)), Theme::new(Colors::None));
    let colored = buf.content().iter().any(|c| c.fg != Color::Reset || c.bg != Color::Reset);
    assert!(!colored);
    let reversed = |y: u16| buf[(10, y)].modifier.contains(Modifier::REVERSED);
    assert_eq!((0..24).filter(|y| reversed(*y)).count(), 2, "the tab and the selected cause");
}

#[test]
fn the_cursor_is_the_guests_while_typing() {
    let mut model = model("2", "live", (80, 24));
    let mut buf = Buffer::empty(Rect::new(0, 0, 80, 24));
    let theme = Theme::new(Colors::Ansi16);
    assert_eq!(fill(&model, theme, &mut buf), None);
    update(&mut model, Msg::Key(key("i")));
    assert_eq!(fill(&model, theme, &mut buf), Some(Position { x: 14, y: 6 }));
}

#[test]
fn panes_cover_the_body_and_share_borders() {
    for width in 40..200 {
        for height in 6..100 {
            for n in [1, 4, 64] {
                let body = Rect::new(0, 2, width, height);
                let panes = overview::panes(body, n, crate::model::Table::Causes);
                let stack = [panes.vcpus, panes.graph, panes.causes].map(|p| p.into_iter());
                let mut next = body.y;
                for pane in stack.into_iter().flatten() {
                    assert_eq!(pane.y, next, "{width}x{height}");
                    assert!(pane.height >= 4 || height < 9, "{width}x{height} {pane}");
                    next = pane.bottom() - 1;
                }
                assert_eq!(next + 1, body.bottom(), "{width}x{height}");
            }
        }
    }
}
