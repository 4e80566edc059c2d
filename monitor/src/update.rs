//! The only writer of the model: what happened goes in, what is to be done comes out.

use std::time::Duration;

use session::{Command, Overview, RunState, Stop};

use crate::Outcome;
use crate::encode::{encode, paste};
use crate::keys::{Action, Key, REGISTRY, lookup};
use crate::model::{
    Dialog, End, Keyboard, MESSAGE_TIME, Model, Selection, Table, View, console_size,
};
use crate::shown::Shown;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Msg {
    Key(Key),
    Paste(String),
    Resize(u16, u16),
    /// Host time went on.
    Tick(Duration),
    Overview(Duration, Box<Overview>),
    Console {
        from: u64,
        bytes: Vec<u8>,
    },
    Refused(&'static str),
    /// Something is done, or was not, for this reason.
    Done(Result<String, String>),
    Ended(Stop),
    /// The run went away without a word.
    Lost,
    /// Whole seconds without an answer, if it is too long.
    Stalled(Option<u64>),
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Send(Command),
    Redraw,
    Suspend,
    Exit(Outcome),
}

/// Takes one message.
pub(crate) fn update(model: &mut Model, msg: Msg) -> Option<Effect> {
    match msg {
        Msg::Key(key) => return on_key(model, key),
        Msg::Paste(text) => return on_paste(model, &text),
        Msg::Resize(columns, rows) => {
            model.size = (columns, rows);
            let (rows, columns) = console_size(model.size);
            model.console.resize(rows, columns);
            model.dirty = true;
        }
        Msg::Tick(now) => tick(model, now),
        Msg::Overview(now, overview) => on_overview(model, now, &overview),
        Msg::Console { from, bytes } => {
            let seen = model.view == View::Console;
            model.dirty |= model.console.write(from, &bytes) && seen;
        }
        Msg::Refused(why) => model.warn(why),
        Msg::Done(Ok(text)) => model.say(printable(&text)),
        Msg::Done(Err(text)) => model.warn(printable(&text)),
        Msg::Ended(stop) => end(model, End::Stopped(stop)),
        Msg::Lost => {
            if model.end.is_none() {
                end(model, End::Lost);
            }
        }
        Msg::Stalled(seconds) => {
            model.dirty |= model.stalled != seconds;
            model.stalled = seconds;
        }
    }
    None
}

/// A file may be called anything.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn tick(model: &mut Model, now: Duration) {
    if let Some(message) = &mut model.message {
        let until = *message.until.get_or_insert(now + MESSAGE_TIME);
        if now >= until {
            model.message = None;
            model.dirty = true;
        }
    }
}

fn on_overview(model: &mut Model, now: Duration, overview: &Overview) {
    if let RunState::Ended(stop) = &overview.run {
        end(model, End::Stopped(stop.clone()));
    }
    let ahead = model.ahead_ns().map(crate::format::ahead);
    let shown = Shown::new(now, overview, &mut model.meter);
    let changed = model.live.as_ref() != Some(&shown);
    let state_changed = model.live.as_ref().is_none_or(|live| live.run != shown.run);
    model.live = Some(shown);
    // Behind a frozen display only the header moves.
    model.dirty |= match model.frozen {
        Some(_) => state_changed || ahead != model.ahead_ns().map(crate::format::ahead),
        None => changed,
    };
}

fn end(model: &mut Model, end: End) {
    if model.end.as_ref() != Some(&end) {
        model.end = Some(end);
        model.stalled = None;
        model.keyboard = Keyboard::Monitor;
        model.dirty = true;
    }
}

fn on_key(model: &mut Model, key: Key) -> Option<Effect> {
    let action = lookup(model.contexts(), key);
    match model.keyboard {
        Keyboard::Guest if model.dialog.is_none() && action.is_none() => {
            let bytes = encode(key, model.console.screen().application_cursor());
            return type_bytes(model, bytes);
        }
        Keyboard::GuestPrefix => {
            model.keyboard = Keyboard::Guest;
            model.dirty = true;
            if action.is_none() {
                model.warn("after Ctrl-A: x leaves the guest, a sends Ctrl-A");
            }
        }
        Keyboard::Guest | Keyboard::Monitor => {}
    }
    act(model, action?)
}

fn on_paste(model: &mut Model, text: &str) -> Option<Effect> {
    if model.keyboard == Keyboard::Monitor || model.dialog.is_some() {
        model.say("pasted text goes to the guest only: i in the console gives it the keyboard");
        return None;
    }
    let bytes = paste(text, model.console.screen().bracketed_paste());
    type_bytes(model, bytes)
}

/// Typing shows what the guest says to it, as in every terminal.
fn type_bytes(model: &mut Model, bytes: Vec<u8>) -> Option<Effect> {
    model.dirty |= model.console.scroll(isize::MIN);
    (!bytes.is_empty()).then_some(Effect::Send(Command::Type(bytes)))
}

fn act(model: &mut Model, action: Action) -> Option<Effect> {
    model.dirty = true;
    match action {
        Action::ShowOverview => model.view = View::Overview,
        Action::ShowConsole => model.view = View::Console,
        Action::Freeze => freeze(model),
        Action::Pause => return pause(model),
        // Also of a run that has ended.
        Action::Save => return Some(Effect::Send(Command::Save)),
        Action::Help => model.dialog = Some(Dialog::Help { first: 0 }),
        Action::Quit => match &model.end {
            // Nothing is left to be lost.
            Some(End::Stopped(stop)) => return Some(Effect::Exit(Outcome::Ended(stop.clone()))),
            Some(End::Lost) => return Some(Effect::Exit(Outcome::Lost)),
            None => model.dialog = Some(Dialog::Quit),
        },
        Action::Redraw => return Some(Effect::Redraw),
        Action::Suspend if model.can_suspend => return Some(Effect::Suspend),
        Action::Suspend => model.warn("this program cannot be suspended"),
        Action::Up => scroll(model, 1),
        Action::Down => scroll(model, -1),
        Action::PageUp => scroll(model, page(model)),
        Action::PageDown => scroll(model, -page(model)),
        Action::Top => scroll(model, isize::MAX),
        Action::Bottom => scroll(model, isize::MIN),
        Action::NextTable | Action::PreviousTable => {
            model.table = match model.table {
                Table::Vcpus => Table::Causes,
                Table::Causes => Table::Vcpus,
            }
        }
        Action::Type => give_keyboard(model),
        Action::Prefix => model.keyboard = Keyboard::GuestPrefix,
        Action::LeaveGuest => model.keyboard = Keyboard::Monitor,
        Action::SendPrefix => return type_bytes(model, vec![1]),
        Action::PowerOff => return Some(Effect::Exit(Outcome::PowerOff)),
        Action::Kill => return Some(Effect::Exit(Outcome::Kill)),
        Action::Cancel | Action::CloseHelp => model.dialog = None,
    }
    None
}

fn freeze(model: &mut Model) {
    model.frozen = if model.frozen.is_some() { None } else { model.live.clone() };
}

fn pause(model: &mut Model) -> Option<Effect> {
    if !may_control(model) {
        return None;
    }
    Some(Effect::Send(if model.paused() { Command::Resume } else { Command::Pause }))
}

fn give_keyboard(model: &mut Model) {
    if may_control(model) {
        // One types at what is on the screen now.
        model.frozen = None;
        model.keyboard = Keyboard::Guest;
        model.console.scroll(isize::MIN);
    }
}

fn may_control(model: &mut Model) -> bool {
    if model.end.is_some() {
        model.warn("the run has ended");
        return false;
    }
    if !model.capabilities.control {
        model.warn("this session only watches: it cannot change the guest");
    }
    model.capabilities.control
}

fn page(model: &Model) -> isize {
    let (rows, _) = console_size(model.size);
    let rows = match model.view {
        View::Console => rows,
        View::Overview => rows / 3,
    };
    isize::try_from(rows.saturating_sub(1).max(1)).unwrap_or(1)
}

/// Moves by lines, up if positive.
fn scroll(model: &mut Model, up: isize) {
    let moved = |row: usize, n: usize| {
        row.min(n.saturating_sub(1)).saturating_add_signed(up.saturating_neg()).min(n.max(1) - 1)
    };
    if let Some(Dialog::Help { first }) = &mut model.dialog {
        *first = moved(*first, REGISTRY.len());
        return;
    }
    if model.view == View::Console {
        model.console.scroll(up);
        return;
    }
    let Some(shown) = model.shown() else { return };
    let Selection { vcpu, cause } = model.selection;
    match model.table {
        Table::Vcpus => model.selection.vcpu = moved(vcpu, shown.vcpus.len()),
        Table::Causes => model.selection.cause = moved(cause, shown.causes.len()),
    }
}
