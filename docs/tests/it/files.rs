//! The files that git keeps, for the tests that read all of them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl Tracked {
    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|end| end.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    }

    /// Its text; nothing if it is none.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or("")
    }

    /// Its lines, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text().lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// The root of the repository, where cargo runs this test: a test that was built in another clone
/// with the same target folder must not look there.
pub(crate) fn root() -> PathBuf {
    let docs = std::env::var_os("CARGO_MANIFEST_DIR");
    docs.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from).join("..")
}

/// All files that git keeps here. None, and a printed line, where there is no git.
pub(crate) fn tracked() -> Vec<Tracked> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        eprintln_left_out("this is no git work tree: rules about its files are left out");
        return Vec::new();
    };
    let names = String::from_utf8(listed.stdout).expect("paths here are UTF-8");
    names
        .split_terminator('\0')
        // A file that is deleted but not yet committed is not there to be read.
        .filter_map(|path| {
            let bytes = std::fs::read(root().join(path)).ok()?;
            Some(Tracked { path: path.to_owned(), bytes })
        })
        .collect()
}

#[expect(clippy::print_stderr, reason = "what a test leaves out, it says")]
fn eprintln_left_out(what: &str) {
    eprintln!("left out: {what}");
}

/// Fails with all findings, one a line.
#[track_caller]
pub(crate) fn report(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
