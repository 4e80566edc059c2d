//! The guest's console as a terminal: bytes go in, a screen with scrollback comes out.
//!
//! Whatever the guest writes is data for `vt100`; nothing of it reaches the user's terminal but
//! the printable contents of cells. Answers to a terminal's queries (cursor position, device
//! attributes), titles, bells and clipboard requests are left out.

use std::num::NonZeroU16;

/// Lines that stay after they have left the screen.
const SCROLLBACK_LINES: usize = 10_000;
/// Bytes kept to lay the text out again when the width changes.
const RAW_MAX: usize = 1 << 18;
/// Bytes taken at once; the rest is asked for again. A screen of hostile sequences costs some
/// microseconds a byte, and keys must not wait for it.
const TAKE_MAX: usize = 1 << 17;
/// A guest's console has no way to learn its size, so programs believe in 80 columns.
const COLUMNS_MIN: u16 = 80;

/// The console's screen.
pub(crate) struct Console {
    parser: vt100::Parser,
    raw: Vec<u8>,
    next: u64,
    lost: u64,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("next", &self.next).finish_non_exhaustive()
    }
}

fn parser(rows: u16, columns: u16) -> vt100::Parser {
    let rows = NonZeroU16::new(rows).unwrap_or(NonZeroU16::MIN);
    let columns = NonZeroU16::new(columns.max(COLUMNS_MIN)).unwrap_or(NonZeroU16::MIN);
    vt100::Parser::new(rows, columns, SCROLLBACK_LINES)
}

impl Console {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        Self { parser: parser(rows, columns), raw: Vec::new(), next: 0, lost: 0 }
    }

    /// Position in the guest's output up to which it is here.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that nobody kept for us.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The screen as it is to be drawn.
    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Takes output that begins at `from`; says whether any of it was new.
    pub(crate) fn write(&mut self, from: u64, bytes: &[u8]) -> bool {
        let known = usize::try_from(self.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return false };
        let new = &new[..new.len().min(TAKE_MAX)];
        if from > self.next {
            let gap = from - self.next;
            self.lost = self.lost.saturating_add(gap);
            self.feed(format!("\x1b[0m\r\n[{gap} bytes of output were not kept]\r\n").as_bytes());
            self.next = from;
        }
        self.next = self.next.saturating_add(new.len() as u64);
        self.feed(new);
        true
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
        self.raw.extend_from_slice(bytes);
        if self.raw.len() > 2 * RAW_MAX {
            self.raw.drain(..self.raw.len() - RAW_MAX);
        }
    }

    /// Lays the text out for a pane of this size.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        let new = parser(rows, columns);
        if new.screen().size() == self.parser.screen().size() {
            return;
        }
        let scrolled = self.parser.screen().scrollback();
        self.parser = new;
        self.parser.process(&self.raw);
        self.parser.screen_mut().set_scrollback(scrolled);
    }

    /// Moves the view by lines, up if positive; says whether it moved.
    pub(crate) fn scroll(&mut self, lines: isize) -> bool {
        let screen = self.parser.screen_mut();
        let before = screen.scrollback();
        screen.set_scrollback(before.saturating_add_signed(lines));
        screen.scrollback() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn output_is_taken_once_and_gaps_are_named() {
        let mut console = Console::new(5, 80);
        assert!(console.write(0, b"hello"));
        assert!(!console.write(0, b"hel"));
        assert!(console.write(3, b"lo world"));
        assert_eq!(console.screen().contents(), "hello world");
        assert!(console.write(100, b"later"));
        assert_eq!((console.lost(), console.next()), (89, 105));
        assert!(console.screen().contents().contains("89 bytes of output were not kept"));
    }

    #[test]
    fn a_new_width_lays_the_text_out_again() {
        let mut console = Console::new(5, 100);
        console.write(0, "x".repeat(100).as_bytes());
        assert_eq!(console.screen().contents().lines().count(), 1);
        console.resize(5, 80);
        assert!(console.screen().row_wrapped(0));
        console.resize(5, 100);
        assert!(!console.screen().row_wrapped(0));
    }

    #[test]
    fn scrolled_text_stays_in_place_while_more_comes() {
        let mut console = Console::new(2, 80);
        (0..20).for_each(|i| assert!(console.write(i * 4, format!("{:02}\r\n", i).as_bytes())));
        assert!(console.scroll(5));
        let before = console.screen().contents();
        console.write(80, b"more\r\n");
        assert_eq!(console.screen().contents(), before);
        assert!(console.scroll(isize::MIN));
        assert_eq!(console.screen().contents(), "more");
    }

    #[test]
    fn a_flood_is_taken_in_parts() {
        let mut console = Console::new(5, 80);
        let flood = vec![b'x'; 3 * TAKE_MAX];
        assert!(console.write(0, &flood));
        assert_eq!(console.next(), TAKE_MAX as u64);
        assert!(console.write(0, &flood));
        assert_eq!((console.next(), console.lost()), (2 * TAKE_MAX as u64, 0));
    }

    proptest! {
        #[test]
        fn hostile_output_is_only_text(
            chunks in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "\\x1b\\[[?]?[0-9]{0,5}(;[0-9]{0,5}){0,2}[@A-Za-z]"
                        .prop_map(String::into_bytes),
                    "[\\PC\u{200d}\u{fe0f}\u{202e}]{0,9}".prop_map(String::into_bytes),
                ],
                0..40,
            ),
            sizes in prop::collection::vec((1u16..60, 1u16..200), 1..4),
        ) {
            let mut console = Console::new(24, 80);
            let mut at = 0;
            for (i, chunk) in chunks.iter().enumerate() {
                console.write(at, chunk);
                at += chunk.len() as u64;
                let (rows, columns) = sizes[i % sizes.len()];
                console.scroll(3);
                console.resize(rows, columns);
            }
        }
    }
}
