//! The lines that this program itself prints. A reader that went away ends nothing: a terminal that
//! was closed, or `| head`, must not turn the end of a run into a panic.

use std::io::{self, Write};

/// A line of what was asked for.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Text that already ends its lines.
pub(crate) fn block(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// A line beside what was asked for.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The line of a terminal that tells how far something has come; with nothing it is taken away.
pub(crate) fn progress(text: &str) {
    let _ = write!(io::stderr(), "\r\x1b[K{text}");
}
