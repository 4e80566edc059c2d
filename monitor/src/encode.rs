//! Keys as the bytes that a VT220-like terminal sends for them.

use crate::keys::{Code, Key};

/// What the guest receives for `key`; `application` is its cursor key mode (DECCKM).
pub(crate) fn encode(key: Key, application: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if key.alt {
        out.push(0x1b);
    }
    let cursor = |c: char| format!("\x1b{}{c}", if application { 'O' } else { '[' });
    let tilde = |n: u8| format!("\x1b[{n}~");
    let text = match key.code {
        Code::Char(c) if key.ctrl => {
            out.extend(control(c));
            return out;
        }
        Code::Char(c) => c.to_string(),
        Code::Enter => "\r".into(),
        Code::Esc => "\x1b".into(),
        Code::Tab => "\t".into(),
        Code::BackTab => "\x1b[Z".into(),
        Code::Backspace => "\x7f".into(),
        Code::Up => cursor('A'),
        Code::Down => cursor('B'),
        Code::Right => cursor('C'),
        Code::Left => cursor('D'),
        Code::Home => cursor('H'),
        Code::End => cursor('F'),
        Code::Insert => tilde(2),
        Code::Delete => tilde(3),
        Code::PageUp => tilde(5),
        Code::PageDown => tilde(6),
        Code::F(n) => function(n),
    };
    out.extend_from_slice(text.as_bytes());
    out
}

/// The control character on a key, if it has one.
fn control(c: char) -> Option<u8> {
    let c = u8::try_from(c).ok()?.to_ascii_uppercase();
    match c {
        b'@'..=b'_' => Some(c & 0x1f),
        b' ' | b'2' => Some(0),
        // What terminals without the kitty protocol send for these.
        b'3'..=b'7' => Some(c - b'3' + 0x1b),
        b'8' | b'?' => Some(0x7f),
        b'/' => Some(0x1f),
        _ => None,
    }
}

fn function(n: u8) -> String {
    match n {
        1..=4 => format!("\x1bO{}", char::from(b'P' + n - 1)),
        5 => "\x1b[15~".into(),
        6..=10 => format!("\x1b[{}~", n + 11),
        11..=12 => format!("\x1b[{}~", n + 12),
        _ => String::new(),
    }
}

/// Pasted text; `bracketed` if the guest wants to know that it was pasted.
pub(crate) fn paste(text: &str, bracketed: bool) -> Vec<u8> {
    // A paste cannot end its own bracket.
    let text = text.replace("\r\n", "\r").replace('\n', "\r").replace('\x1b', "");
    if bracketed { format!("\x1b[200~{text}\x1b[201~") } else { text }.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_arrive_as_a_terminal_sends_them() {
        let plain = |code| encode(Key::plain(code), false);
        assert_eq!(plain(Code::Char('é')), "é".as_bytes());
        assert_eq!(plain(Code::Enter), b"\r");
        assert_eq!(plain(Code::Backspace), b"\x7f");
        assert_eq!(plain(Code::Up), b"\x1b[A");
        assert_eq!(encode(Key::plain(Code::Up), true), b"\x1bOA");
        assert_eq!(plain(Code::F(5)), b"\x1b[15~");
        assert_eq!(plain(Code::F(12)), b"\x1b[24~");
        let ctrl = |c| encode(Key { code: Code::Char(c), ctrl: true, alt: false }, false);
        assert_eq!(ctrl('c'), [3]);
        assert_eq!(ctrl('a'), [1]);
        assert_eq!(ctrl('4'), [0x1c]);
        assert_eq!(ctrl('é'), b"");
        let alt = Key { code: Code::Char('b'), ctrl: false, alt: true };
        assert_eq!(encode(alt, false), b"\x1bb");
    }

    #[test]
    fn a_paste_is_one_paste() {
        assert_eq!(paste("a\nb\x1b[201~", true), b"\x1b[200~a\rb[201~\x1b[201~");
        assert_eq!(paste("a\r\nb", false), b"a\rb");
    }
}
