//! The bytes that leave for the terminal.

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Cell;
use ratatui::style::{Modifier, Style};

use super::*;
use crate::theme::{Colors, Role};

/// crossterm reads `NO_COLOR` on its own; what it makes of it must not reach attributes.
#[test]
fn reverse_and_bold_survive_without_colours() {
    force_color_output(true);
    let theme = Theme::new(Colors::None);
    let mut bytes = Vec::new();
    let mut backend = CrosstermBackend::new(&mut bytes);
    let mut cell = Cell::new("x");
    cell.set_style(theme.style(Role::Select).patch(theme.style(Role::Err)));
    backend.draw([(0, 0, &cell), (1, 0, &cell)].into_iter()).unwrap();
    let mut screen = vt100::Parser::default();
    screen.process(&bytes);
    let shown = screen.screen().cell(0, 0).unwrap();
    assert!(shown.inverse() && shown.bold(), "{:?}", String::from_utf8_lossy(&bytes));
    assert_eq!(shown.fgcolor(), vt100::Color::Default);
    assert_eq!(Style::new().add_modifier, Modifier::empty());
}

#[test]
fn a_frame_leaves_only_while_the_terminal_is_ours() {
    let mut frame = Frame::default();
    assert_eq!(frame.write(b"half a frame").unwrap(), 12);
    frame.flush().unwrap();
    assert!(frame.0.is_empty());
}

#[test]
fn keys_are_translated() {
    let key = |code, modifiers| translate(KeyEvent::new(code, modifiers));
    let ctrl_a = Some(Key { code: Code::Char('a'), ctrl: true, alt: false });
    assert_eq!(key(KeyCode::Char('a'), KeyModifiers::CONTROL), ctrl_a);
    assert_eq!(key(KeyCode::Up, KeyModifiers::SHIFT), Some(Key::plain(Code::Up)));
    assert_eq!(key(KeyCode::CapsLock, KeyModifiers::NONE), None);
    let mut release = KeyEvent::new(KeyCode::Char('a'), KeyModifiers::NONE);
    release.kind = KeyEventKind::Release;
    assert_eq!(translate(release), None);
}
