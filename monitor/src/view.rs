//! Frames: functions of the model that fill a buffer, and change nothing.

mod chrome;
mod console;
mod dialog;
mod guest;
mod overview;
mod paint;
mod table;
mod words;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::model::{CHROME_ROWS, Model, View};
use crate::theme::{Role, Theme};

/// Below this there is a sentence instead of a view.
const COLUMNS_MIN: u16 = 40;
const ROWS_MIN: u16 = 10;

/// Draws the whole screen.
pub(crate) fn draw(model: &Model, theme: Theme, frame: &mut Frame<'_>) {
    if let Some(cursor) = fill(model, theme, frame.buffer_mut()) {
        frame.set_cursor_position(cursor);
    }
}

/// Fills the buffer; says where the cursor is to be, if it is to be seen.
fn fill(model: &Model, theme: Theme, buf: &mut Buffer) -> Option<Position> {
    let area = buf.area;
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        let have = format!("needs {COLUMNS_MIN}x{ROWS_MIN}");
        let size = format!("have {}x{}", area.width, area.height);
        let middle = area.y + area.height / 2;
        paint::centred(buf, area, middle.saturating_sub(1), &have, theme.style(Role::Strong));
        paint::centred(buf, area, middle, &size, theme.style(Role::Text));
        return None;
    }
    let row = |y: u16| Rect { y, height: 1, ..area };
    chrome::header(model, theme, row(area.y), buf);
    chrome::tabs(model, theme, row(area.y + 1), buf);
    let body = Rect { y: area.y + 2, height: area.height - CHROME_ROWS, ..area };
    let mut cursor = None;
    match model.view {
        View::Overview => overview::draw(model, theme, body, buf),
        View::Console => cursor = console::draw(model, theme, body, buf),
    }
    chrome::keys(model, theme, row(area.bottom() - 2), buf);
    chrome::message(model, theme, row(area.bottom() - 1), buf);
    if let Some(dialog) = model.dialog {
        dialog::draw(dialog, theme, body, buf);
        cursor = None;
    }
    cursor
}

#[cfg(test)]
mod tests;
