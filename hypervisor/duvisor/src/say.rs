//! The lines that this program itself prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where it is done")]

/// A line of what was asked for.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Text that already ends its lines.
pub(crate) fn block(text: &str) {
    print!("{text}");
}

/// A line beside what was asked for.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
