//! Keys, and the one registry of what they do: dispatch, footer and help all read it.

use std::fmt;

/// A key as the terminal names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Char(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    Insert,
    Delete,
    F(u8),
}

/// A key with its modifiers. Shift is part of the character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) code: Code,
    pub(crate) ctrl: bool,
    pub(crate) alt: bool,
}

impl Key {
    /// A key without modifiers.
    pub(crate) const fn plain(code: Code) -> Self {
        Self { code, ctrl: false, alt: false }
    }
}

const fn ch(c: char) -> Key {
    Key::plain(Code::Char(c))
}

const fn ctrl(c: char) -> Key {
    Key { code: Code::Char(c), ctrl: true, alt: false }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alt {
            f.write_str("Alt-")?;
        }
        match self.code {
            Code::Char(' ') => f.write_str("Space"),
            Code::Char(c) if self.ctrl => write!(f, "Ctrl-{}", c.to_ascii_uppercase()),
            Code::Char(c) => write!(f, "{c}"),
            Code::BackTab => f.write_str("Shift-Tab"),
            Code::PageUp => f.write_str("PgUp"),
            Code::PageDown => f.write_str("PgDn"),
            Code::Up => f.write_str("↑"),
            Code::Down => f.write_str("↓"),
            Code::Left => f.write_str("←"),
            Code::Right => f.write_str("→"),
            Code::F(n) => write!(f, "F{n}"),
            Code::Enter
            | Code::Esc
            | Code::Tab
            | Code::Backspace
            | Code::Home
            | Code::End
            | Code::Insert
            | Code::Delete => write!(f, "{:?}", self.code),
        }
    }
}

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    ShowOverview,
    ShowConsole,
    Freeze,
    Pause,
    Save,
    Help,
    Quit,
    Redraw,
    Suspend,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    NextTable,
    PreviousTable,
    Type,
    Prefix,
    LeaveGuest,
    SendPrefix,
    PowerOff,
    Kill,
    Cancel,
    CloseHelp,
}

/// Where a binding holds. Several contexts hold at once, see [`crate::model::Model::contexts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Context {
    /// In every view.
    Global,
    /// Where something can be scrolled.
    Move,
    /// In the overview.
    Overview,
    /// In the console, while keys are ours.
    Console,
    /// In the console, while keys go to the guest.
    Guest,
    /// After the prefix key, for one key.
    Prefix,
    /// In the question whether to end the run.
    QuitDialog,
    /// In the list of keys.
    HelpDialog,
}

impl Context {
    /// The heading in the list of keys.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Global => "everywhere",
            Self::Move => "moving",
            Self::Overview => "overview",
            Self::Console => "console",
            Self::Guest => "console, typing into the guest",
            Self::Prefix => "after Ctrl-A",
            Self::QuitDialog => "ending the run",
            Self::HelpDialog => "this help",
        }
    }
}

/// One row of the registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) context: Context,
    pub(crate) action: Action,
    pub(crate) keys: &'static [Key],
    /// A word for the footer; empty if the binding is not shown there.
    pub(crate) short: &'static str,
    pub(crate) help: &'static str,
}

const fn row(
    context: Context,
    action: Action,
    keys: &'static [Key],
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { context, action, keys, short, help }
}

const ESC: Key = Key::plain(Code::Esc);
const PAGE_DOWN: Key = Key::plain(Code::PageDown);
const PAGE_UP: Key = Key::plain(Code::PageUp);
const END: Key = Key::plain(Code::End);

/// Every key that the monitor itself answers to, in the order of the list of keys.
#[rustfmt::skip]
pub(crate) const REGISTRY: &[Binding] = {
    use Action as A;
    use Context as C;
    const HELP: &[Key] = &[ESC, ch('q'), ch('?'), ctrl('c')];
    &[
        row(C::Global, A::ShowOverview, &[ch('1')], "", "the overview: vCPUs, exits, rates"),
        row(C::Global, A::ShowConsole, &[ch('2')], "", "the guest's console"),
        row(C::Console, A::Type, &[ch('i')], "type into the guest", "the keyboard is the guest's"),
        row(C::Global, A::Freeze, &[ch(' ')], "freeze", "freeze or thaw the display only"),
        row(C::Global, A::Pause, &[ch('P')], "pause", "pause the guest, or let it go on"),
        row(C::Global, A::Save, &[ch('S')], "", "save the run as a recording; it goes on"),
        row(C::Overview, A::NextTable, &[Key::plain(Code::Tab)], "table", "the next table"),
        row(C::Overview, A::PreviousTable, &[Key::plain(Code::BackTab)], "", "the previous table"),
        row(C::Move, A::Down, &[ch('j'), Key::plain(Code::Down)], "", "one line down"),
        row(C::Move, A::Up, &[ch('k'), Key::plain(Code::Up)], "", "one line up"),
        row(C::Move, A::PageDown, &[PAGE_DOWN, ctrl('d')], "scroll", "one page down"),
        row(C::Move, A::PageUp, &[PAGE_UP, ctrl('u')], "", "one page up"),
        row(C::Move, A::Top, &[ch('g'), Key::plain(Code::Home)], "", "to the first line"),
        row(C::Move, A::Bottom, &[ch('G'), END], "", "to the last line, and follow it"),
        row(C::Global, A::Help, &[ch('?')], "help", "this list"),
        row(C::Global, A::Quit, &[ch('q'), ctrl('c')], "quit", "end the run and leave; asks first"),
        row(C::Global, A::Redraw, &[ctrl('l')], "", "draw the screen anew"),
        row(C::Global, A::Suspend, &[ctrl('z')], "", "back to the shell; `fg` returns"),
        row(C::Guest, A::Prefix, &[ctrl('a')], "", "the next key is for the monitor"),
        row(C::Prefix, A::LeaveGuest, &[ch('x'), ESC], "leave the guest", "take the keyboard"),
        row(C::Prefix, A::SendPrefix, &[ch('a'), ctrl('a')], "send Ctrl-A", "type a Ctrl-A"),
        row(C::QuitDialog, A::PowerOff, &[ch('y')], "power off", "end the run in good order"),
        row(C::QuitDialog, A::Kill, &[ch('k'), ctrl('c')], "kill", "end the run at once"),
        row(C::QuitDialog, A::Cancel, &[ch('n'), ESC, ch('q')], "go on", "do not end the run"),
        row(C::HelpDialog, A::CloseHelp, HELP, "close", "close the list"),
    ]
};

/// What `key` means while `contexts` hold.
pub(crate) fn lookup(contexts: &[Context], key: Key) -> Option<Action> {
    REGISTRY
        .iter()
        .find(|row| contexts.contains(&row.context) && row.keys.contains(&key))
        .map(|row| row.action)
}

/// The bindings with a word for the footer, while `contexts` hold.
pub(crate) fn footer(contexts: &[Context]) -> impl Iterator<Item = &'static Binding> {
    REGISTRY.iter().filter(move |row| contexts.contains(&row.context) && !row.short.is_empty())
}

#[cfg(test)]
mod tests;
