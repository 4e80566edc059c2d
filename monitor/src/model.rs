//! The state of the monitor; no terminal, no session, no clock.

use std::time::Duration;

use session::{Capabilities, RunState, Stop};

use crate::console::Console;
use crate::keys::Context;
use crate::rates::Meter;
use crate::shown::Shown;

/// Rows of the screen that are not the view's: header, tabs, keys, message.
pub(crate) const CHROME_ROWS: u16 = 4;
/// A message stays so long.
pub(crate) const MESSAGE_TIME: Duration = Duration::from_secs(4);

/// A full-screen view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Overview,
    Console,
}

/// The table that the moving keys move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Vcpus,
    Causes,
}

/// What lies over the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    Quit,
    Help { first: usize },
}

/// Who has the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyboard {
    Monitor,
    Guest,
    /// The guest's, but the next key is ours.
    GuestPrefix,
}

/// How the run went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// For a reason.
    Stopped(Stop),
    /// Nobody answers any more.
    Lost,
}

/// A sentence for the last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) warn: bool,
    /// When it goes away; set by the next tick.
    pub(crate) until: Option<Duration>,
}

/// Selected rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) vcpu: usize,
    pub(crate) cause: usize,
}

/// Everything that a frame is drawn from.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) capabilities: Capabilities,
    pub(crate) can_suspend: bool,
    pub(crate) size: (u16, u16),
    pub(crate) view: View,
    pub(crate) table: Table,
    pub(crate) selection: Selection,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) keyboard: Keyboard,
    pub(crate) live: Option<Shown>,
    pub(crate) frozen: Option<Shown>,
    pub(crate) end: Option<End>,
    pub(crate) console: Console,
    pub(crate) meter: Meter,
    pub(crate) message: Option<Message>,
    /// Whole seconds without an answer.
    pub(crate) stalled: Option<u64>,
    pub(crate) dirty: bool,
}

/// All sets of contexts that can hold together.
#[cfg(test)]
pub(crate) const CONTEXT_SETS: &[&[Context]] = &[
    &[Context::Global, Context::Move, Context::Overview],
    &[Context::Global, Context::Move, Context::Console],
    &[Context::Guest],
    &[Context::Prefix],
    &[Context::QuitDialog],
    &[Context::HelpDialog, Context::Move],
];

impl Model {
    pub(crate) fn new(name: &str, capabilities: Capabilities, size: (u16, u16)) -> Self {
        let (rows, columns) = console_size(size);
        Self {
            name: name.chars().filter(|c| !c.is_control()).collect(),
            capabilities,
            can_suspend: false,
            size,
            view: View::Overview,
            table: Table::Causes,
            selection: Selection::default(),
            dialog: None,
            keyboard: Keyboard::Monitor,
            live: None,
            frozen: None,
            end: None,
            console: Console::new(rows, columns),
            meter: Meter::default(),
            message: None,
            stalled: None,
            dirty: true,
        }
    }

    /// What the tables show: the frozen moment, else the newest.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.frozen.as_ref().or(self.live.as_ref())
    }

    /// Guest time between the frozen moment and the newest.
    pub(crate) fn ahead_ns(&self) -> Option<u64> {
        let frozen = self.frozen.as_ref()?;
        Some(self.live.as_ref()?.time_ns.saturating_sub(frozen.time_ns))
    }

    /// Whether the guest was paused, as far as we know.
    pub(crate) fn paused(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.run == RunState::Paused)
    }

    /// The contexts of the registry that hold now.
    pub(crate) fn contexts(&self) -> &'static [Context] {
        match (self.dialog, self.keyboard, self.view) {
            (Some(Dialog::Quit), _, _) => &[Context::QuitDialog],
            (Some(Dialog::Help { .. }), _, _) => &[Context::HelpDialog, Context::Move],
            (None, Keyboard::Guest, _) => &[Context::Guest],
            (None, Keyboard::GuestPrefix, _) => &[Context::Prefix],
            (None, Keyboard::Monitor, View::Overview) => {
                &[Context::Global, Context::Move, Context::Overview]
            }
            (None, Keyboard::Monitor, View::Console) => {
                &[Context::Global, Context::Move, Context::Console]
            }
        }
    }

    /// Says `text` on the last line for a while.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.put_message(text.into(), false);
    }

    /// As [`Model::say`], for what went wrong.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.put_message(text.into(), true);
    }

    fn put_message(&mut self, text: String, warn: bool) {
        if self.message.as_ref().is_none_or(|old| old.text != text || old.warn != warn) {
            self.dirty = true;
        }
        self.message = Some(Message { text, warn, until: None });
    }
}

/// Rows and columns of the console's pane on a screen of columns and rows.
pub(crate) fn console_size((columns, rows): (u16, u16)) -> (u16, u16) {
    // One row is the pane's title.
    (rows.saturating_sub(CHROME_ROWS + 1).max(1), columns.max(1))
}
