//! The page of the book on the command line is what `--help` says.

use std::fmt::Write as _;
use std::path::Path;

use crate::program::{Ran, duvisor};

/// Every verb, in the order of the page.
const VERBS: &[&[&str]] = &[
    &[],
    &["run"],
    &["record"],
    &["replay"],
    &["trace"],
    &["trace", "info"],
    &["trace", "cat"],
    &["trace", "ask"],
    &["trace", "bisect"],
    &["trace", "verify"],
    &["trace", "repair"],
    &["trace", "cut"],
    &["trace", "bench"],
    &["snapshot"],
    &["snapshot", "save"],
    &["snapshot", "restore"],
    &["machine"],
    &["guest"],
    &["guest", "list"],
    &["guest", "fetch"],
    &["guest", "path"],
    &["completions"],
];

fn help(verb: &[&str]) -> String {
    let mut args = verb.to_vec();
    args.push("--help");
    let Ran { code, out, err } = duvisor(&args);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
    // Between paragraphs clap leaves the indentation.
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn page() -> String {
    let mut text = String::from(
        "# Command line\n\n\
         Written from `--help` by a test of the crate `duvisor`: \
         `UPDATE=1 cargo test -p duvisor book`.\n",
    );
    for verb in VERBS {
        let name = ["duvisor"].iter().chain(*verb).copied().collect::<Vec<_>>().join(" ");
        write!(text, "\n## {name}\n\n```text\n{}\n```\n", help(verb).trim_end()).unwrap();
    }
    text
}

#[test]
fn the_page_on_the_command_line_is_what_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/command-line.md");
    let fresh = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert_eq!(there, fresh, "{} is stale: UPDATE=1 cargo test -p duvisor book", path.display());
}

#[test]
fn every_verb_has_its_chapter() {
    let top = help(&[]);
    let verbs = top.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in verbs.take_while(|line| !line.is_empty()) {
        let verb = line.split_whitespace().next().unwrap();
        assert!(verb == "help" || VERBS.iter().any(|known| known.first() == Some(&verb)), "{verb}");
    }
}
