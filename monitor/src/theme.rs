//! Roles and their looks. Only the 16 ANSI colours, so that a user's palette decides.

use ratatui::style::{Color, Modifier, Style};
use session::ExitKind;

/// How many colours to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colors {
    /// As the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    #[default]
    Auto,
    /// None; bold, dim, underlined and reversed text remain.
    None,
    /// The 16 ANSI colours; the guest's own colours are rounded to them.
    Ansi16,
    /// 256 colours for the guest's output.
    Ansi256,
    /// 24-bit colours for the guest's output.
    True,
}

impl Colors {
    /// What [`Colors::Auto`] means with these variables.
    pub(crate) fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        if self != Self::Auto {
            return self;
        }
        let value = |name| variable(name).unwrap_or_default();
        if !value("NO_COLOR").is_empty() {
            Self::None
        } else if ["truecolor", "24bit"].contains(&value("COLORTERM").as_str()) {
            Self::True
        } else if value("TERM").contains("256color") {
            Self::Ansi256
        } else {
            Self::Ansi16
        }
    }
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Text,
    Dim,
    Strong,
    Border,
    /// Border of the part that the moving keys act on.
    Focus,
    Title,
    Select,
    Ok,
    Warn,
    Err,
    Key,
    Bar,
    Graph,
    /// A kind of exit.
    Kind(ExitKind),
}

/// Looks for roles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    colors: Colors,
}

impl Theme {
    pub(crate) const fn new(colors: Colors) -> Self {
        Self { colors }
    }

    pub(crate) fn style(self, role: Role) -> Style {
        let plain = Style::new();
        match role {
            Role::Text => plain,
            Role::Dim | Role::Border => plain.add_modifier(Modifier::DIM),
            Role::Strong | Role::Title => plain.add_modifier(Modifier::BOLD),
            Role::Focus => self.colored(Color::Cyan),
            Role::Select => plain.add_modifier(Modifier::REVERSED),
            Role::Ok => self.colored(Color::Green).add_modifier(Modifier::BOLD),
            Role::Warn => self.colored(Color::Yellow).add_modifier(Modifier::BOLD),
            Role::Err => self.colored(Color::Red).add_modifier(Modifier::BOLD),
            Role::Key => self.colored(Color::Cyan).add_modifier(Modifier::BOLD),
            Role::Bar => self.colored(Color::Blue),
            Role::Graph => self.colored(Color::Green),
            Role::Kind(kind) => self.colored(kind_color(kind)).add_modifier(Modifier::BOLD),
        }
    }

    fn colored(self, color: Color) -> Style {
        match self.colors {
            Colors::None => Style::new(),
            Colors::Auto | Colors::Ansi16 | Colors::Ansi256 | Colors::True => {
                Style::new().fg(color)
            }
        }
    }

    /// A colour that the guest chose.
    pub(crate) fn guest(self, color: vt100::Color) -> Color {
        let index = match (self.colors, color) {
            (Colors::None, _) | (_, vt100::Color::Default) => return Color::Reset,
            (Colors::True, vt100::Color::Rgb(r, g, b)) => return Color::Rgb(r, g, b),
            (_, vt100::Color::Rgb(r, g, b)) => nearest(r, g, b),
            (Colors::True | Colors::Ansi256, vt100::Color::Idx(i)) if i >= 16 => {
                return Color::Indexed(i);
            }
            (_, vt100::Color::Idx(i)) => rounded(i),
        };
        ANSI[usize::from(index) % ANSI.len()]
    }
}

/// The ANSI colours by their numbers in SGR.
const ANSI: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

/// The ANSI colour for a number of xterm's 256: 16 colours, a cube of 6x6x6, 24 greys.
fn rounded(index: u8) -> u8 {
    match index {
        0..16 => index,
        16..232 => {
            let level = |i: u8| if i == 0 { 0 } else { 55 + 40 * i };
            let i = index - 16;
            nearest(level(i / 36), level(i / 6 % 6), level(i % 6))
        }
        232.. => {
            let grey = 8 + 10 * (index - 232);
            nearest(grey, grey, grey)
        }
    }
}

/// The ANSI colour next to this one: a bit per channel that is on, and 8 if it is bright.
fn nearest(r: u8, g: u8, b: u8) -> u8 {
    let max = r.max(g).max(b);
    if max < 48 {
        return 0;
    }
    let grey = max - r.min(g).min(b) < 32;
    if grey {
        return match max {
            0..96 => 8,
            96..224 => 7,
            224.. => 15,
        };
    }
    let on = |channel: u8, bit: u8| if channel > max / 2 { bit } else { 0 };
    on(r, 1) | on(g, 2) | on(b, 4) | if max > 192 { 8 } else { 0 }
}

fn kind_color(kind: ExitKind) -> Color {
    match kind {
        ExitKind::Sbi => Color::Cyan,
        ExitKind::VirtualInstruction => Color::Magenta,
        ExitKind::FetchFault | ExitKind::LoadFault | ExitKind::StoreFault => Color::Yellow,
        ExitKind::MmioLoad | ExitKind::MmioStore => Color::Blue,
        ExitKind::Wfi | ExitKind::Timer | ExitKind::Kick | ExitKind::External => Color::Green,
        ExitKind::IllegalInstruction | ExitKind::Breakpoint | ExitKind::Other => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(set: &[(&str, &str)]) -> Colors {
        let find = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
        Colors::Auto.resolve(find)
    }

    #[test]
    fn the_environment_decides() {
        assert_eq!(auto(&[("TERM", "xterm")]), Colors::Ansi16);
        assert_eq!(auto(&[("TERM", "tmux-256color")]), Colors::Ansi256);
        assert_eq!(auto(&[("COLORTERM", "truecolor")]), Colors::True);
        assert_eq!(auto(&[("COLORTERM", "truecolor"), ("NO_COLOR", "1")]), Colors::None);
        assert_eq!(auto(&[("TERM", "xterm"), ("NO_COLOR", "")]), Colors::Ansi16);
        assert_eq!(Colors::True.resolve(|_| Some("1".into())), Colors::True);
    }

    #[test]
    fn without_colours_every_role_keeps_the_terminals_own() {
        let theme = Theme::new(Colors::None);
        for role in [Role::Text, Role::Ok, Role::Err, Role::Bar, Role::Kind(ExitKind::Sbi)] {
            assert_eq!(theme.style(role).fg, None);
            assert_eq!(theme.style(role).bg, None);
        }
        assert!(theme.style(Role::Select).add_modifier.contains(Modifier::REVERSED));
        assert_eq!(theme.guest(vt100::Color::Idx(1)), Color::Reset);
        assert_eq!(theme.guest(vt100::Color::Rgb(1, 2, 3)), Color::Reset);
    }

    #[test]
    fn guest_colours_are_rounded_to_what_there_is() {
        let theme = Theme::new(Colors::Ansi16);
        assert_eq!(theme.guest(vt100::Color::Idx(1)), Color::Red);
        assert_eq!(theme.guest(vt100::Color::Idx(196)), Color::LightRed);
        assert_eq!(theme.guest(vt100::Color::Idx(255)), Color::White);
        assert_eq!(theme.guest(vt100::Color::Rgb(0, 0, 0)), Color::Black);
        assert_eq!(theme.guest(vt100::Color::Rgb(0, 170, 0)), Color::Green);
        assert_eq!(Theme::new(Colors::Ansi256).guest(vt100::Color::Idx(196)), Color::Indexed(196));
    }
}
