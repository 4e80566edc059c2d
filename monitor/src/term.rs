//! The user's terminal: taken once, always given back, also by a panic of any thread.

mod reader;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, Once};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, EnableBracketedPaste, KeyCode, KeyEvent, KeyEventKind,
    KeyModifiers,
};
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute, queue};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::drive::{Event, Host};
use crate::keys::{Code, Key};
use crate::model::Model;
use crate::theme::Theme;
use crate::{MonitorError, Options, view};

use reader::Reader;
use screen::Screen;

/// Whose the terminal is. Whoever writes to it, takes it or gives it back holds the lock until that
/// is done: nobody ends the program between two halves of it.
static OWNER: Mutex<Owner> = Mutex::new(Owner::Shell);
static HOOK: Once = Once::new();

/// Whose the terminal is at this moment.
#[derive(Debug)]
enum Owner {
    /// Whoever started this program.
    Shell,
    /// The monitor; the mode is that of before.
    Monitor(Termios),
    /// Whoever started this program, and the monitor does not get it again.
    ShellForGood,
}

fn owner() -> MutexGuard<'static, Owner> {
    // A panic under the lock leaves an owner that is right.
    OWNER.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_ours() -> bool {
    matches!(*owner(), Owner::Monitor(_))
}

/// A frame's bytes. They leave only by `flush`, so that an unwinding loop leaves no half frame
/// on a terminal that was given back.
#[derive(Debug, Default)]
struct Frame(Vec<u8>);

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.0);
        let owner = owner();
        if bytes.is_empty() || !matches!(*owner, Owner::Monitor(_)) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Term {
    terminal: Terminal<Screen>,
    theme: Theme,
    start: Instant,
    suspend: Option<fn()>,
    reader: Reader,
}

impl Term {
    /// Takes the terminal.
    pub(crate) fn enter(options: &Options) -> Result<Self, MonitorError> {
        check()?;
        HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                previous(info);
            }));
        });
        // crossterm 0.29 with NO_COLOR turns "no colour" into SGR 0, which takes bold and reverse
        // with it; the theme leaves colours out instead.
        force_color_output(true);
        let colors = options.colors.resolve(|name| std::env::var(name).ok());
        take()?;
        // From here on dropping `term` gives the terminal back; before, a failure does.
        let made =
            Terminal::new(Screen::new()).and_then(|terminal| Ok((terminal, Reader::start()?)));
        let (terminal, reader) = made.inspect_err(|_| give_back())?;
        let mut term = Self {
            terminal,
            theme: Theme::new(colors),
            start: clock(),
            suspend: options.suspend,
            reader,
        };
        term.redraw()?;
        Ok(term)
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> Result<(u16, u16), MonitorError> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }
}

#[expect(clippy::disallowed_methods, reason = "the monitor's own pace; no guest sees it")]
fn clock() -> Instant {
    Instant::now()
}

/// Whether there is a terminal to be taken.
pub(crate) fn check() -> Result<(), MonitorError> {
    if !io::stdout().is_terminal() {
        return Err(MonitorError::NotATerminal);
    }
    if !io::stdin().is_terminal() {
        return Err(MonitorError::NoKeyboard);
    }
    if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(MonitorError::DumbTerminal);
    }
    Ok(())
}

fn take() -> Result<(), MonitorError> {
    let mut owner = owner();
    if matches!(*owner, Owner::ShellForGood) {
        return Err(MonitorError::GivenBack);
    }
    let before = tcgetattr(io::stdin()).map_err(io::Error::from)?;
    let mut raw = before.clone();
    raw.make_raw();
    *owner = Owner::Monitor(before);
    // crossterm is told once that the mode is raw, for it reads Ctrl-J by that. To bring a mode
    // back it would open `/dev/tty` where the terminal has hung up: no closed process may.
    let taken = enable_raw_mode()
        .and_then(|()| Ok(tcsetattr(io::stdin(), OptionalActions::Now, &raw)?))
        .and_then(|()| {
            execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)
        });
    if taken.is_err() {
        give_back_from(&mut owner);
    }
    Ok(taken?)
}

/// Gives the terminal back if it is ours.
fn give_back() {
    give_back_from(&mut owner());
}

/// Gives the terminal back if it is ours, and never takes it again.
pub(crate) fn give_back_for_good() {
    let mut owner = owner();
    give_back_from(&mut owner);
    *owner = Owner::ShellForGood;
}

/// There is nobody to tell if it fails.
fn give_back_from(owner: &mut Owner) {
    let Owner::Monitor(before) = owner else { return };
    // First what does not wait for the terminal to take bytes.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    *owner = Owner::Shell;
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
}

impl Drop for Term {
    fn drop(&mut self) {
        give_back();
    }
}

impl Host for Term {
    fn now(&self) -> Duration {
        clock().saturating_duration_since(self.start)
    }

    fn wait(&mut self, timeout: Duration) -> Result<Option<Event>, MonitorError> {
        if !is_ours() {
            return Err(MonitorError::GivenBack);
        }
        let Some(event) = self.reader.wait(timeout)? else {
            return Ok((!io::stdout().is_terminal()).then_some(Event::HungUp));
        };
        Ok(match event {
            event::Event::Key(key) => translate(key).map(Event::Key),
            event::Event::Paste(text) => Some(Event::Paste(text)),
            event::Event::Resize(columns, rows) => Some(Event::Resize(columns, rows)),
            event::Event::FocusGained | event::Event::FocusLost | event::Event::Mouse(_) => None,
        })
    }

    fn draw(&mut self, model: &Model) -> Result<(), MonitorError> {
        let theme = self.theme;
        let drawn = queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)
            .and_then(|()| self.terminal.draw(|frame| view::draw(model, theme, frame)).map(drop))
            .and_then(|()| execute!(self.terminal.backend_mut(), EndSynchronizedUpdate));
        // A terminal that was closed is no error; the next wait says so.
        if drawn.is_err() && io::stdout().is_terminal() {
            drawn?;
        }
        Ok(())
    }

    fn redraw(&mut self) -> Result<(), MonitorError> {
        // Not `clear`: it asks the terminal for its cursor, and some never answer.
        let size = self.terminal.size()?;
        Ok(self.terminal.resize(size.into())?)
    }

    fn suspend(&mut self) -> Result<(), MonitorError> {
        if let Some(suspend) = self.suspend {
            give_back();
            suspend();
            take()?;
            self.redraw()?;
        }
        Ok(())
    }
}

/// The key in our words; `None` for what no binding and no guest can use.
fn translate(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let code = match event.code {
        KeyCode::Char(c) => Code::Char(c),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => Code::BackTab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        KeyCode::Insert => Code::Insert,
        KeyCode::Delete => Code::Delete,
        KeyCode::F(n) => Code::F(n),
        KeyCode::Null => {
            return Some(Key { code: Code::Char(' '), ctrl: true, alt: false });
        }
        KeyCode::CapsLock
        | KeyCode::ScrollLock
        | KeyCode::NumLock
        | KeyCode::PrintScreen
        | KeyCode::Pause
        | KeyCode::Menu
        | KeyCode::KeypadBegin
        | KeyCode::Media(_)
        | KeyCode::Modifier(_) => return None,
    };
    let has = |modifier| event.modifiers.contains(modifier);
    // Ctrl and Alt are kept only where terminals can tell them: on characters.
    let char = matches!(code, Code::Char(_));
    Some(Key { code, ctrl: char && has(KeyModifiers::CONTROL), alt: has(KeyModifiers::ALT) })
}

#[cfg(test)]
mod tests;
