//! The authors' own tests of DV-ext, from the directory that `HYP_TESTS` names.
//!
//! The page on them in the book says how they are laid out there, and has the results: its tables
//! are what is expected here.

use std::collections::BTreeMap;
use std::path::Path;

use isa::{Ext, Extensions};
use machine::{BareConfig, BareMachine, Host};
use session::{NoInputs, Stop};

use crate::firmware::Screen;
use crate::programs::{config, digest, read};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/authors-tests.md");

/// The longest one that ends needs half of it.
const MAX_STEPS: u64 = 2_000_000;
/// Their linker script and their page tables know of that much.
const MEMORY: u64 = 256 << 20;

/// How a program ended, by the words of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It came to its end.
    Ends,
    /// It met a trap that it did not expect, and gave up.
    Stops,
    /// It waits for an interrupt that nothing will raise.
    Waits,
    /// It asks for ever for something that does not come.
    Spins,
}

impl End {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "ends" => Self::Ends,
            "stops" => Self::Stops,
            "waits" => Self::Waits,
            "spins" => Self::Spins,
            _ => return None,
        })
    }
}

/// What a program said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outcome {
    reached: usize,
    pass: usize,
    end: End,
}

/// A program by its path below the directory, and what the page says about it.
#[derive(Debug)]
struct Expected {
    program: String,
    outcome: Outcome,
}

/// The cells of the rows of the table under this heading.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn number(cell: &str) -> usize {
    cell.parse().unwrap_or_else(|_| panic!("{PAGE}: `{cell}` is not a number"))
}

fn end(cell: &str) -> End {
    End::from_word(cell).unwrap_or_else(|| panic!("{PAGE}: `{cell}` is no way to end"))
}

fn expected() -> Vec<Expected> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut all = Vec::new();
    for row in rows(&page, "With DV-ext") {
        let [group, asserted, reached, pass, how, adapted, _] = row[..] else {
            panic!("{PAGE}: {row:?} has not seven cells")
        };
        let (group, asserted) = (group.trim_matches('`'), number(asserted));
        let outcome = Outcome { reached: number(reached), pass: number(pass), end: end(how) };
        assert!(outcome.pass <= outcome.reached && outcome.reached <= asserted, "{row:?}");
        all.push(Expected { program: format!("published/{group}"), outcome });
        if adapted != "–" {
            let outcome = Outcome { reached: asserted, pass: number(adapted), end: End::Ends };
            assert!(outcome.pass <= asserted, "{row:?}");
            all.push(Expected { program: format!("adapted/{group}"), outcome });
        }
    }
    for row in rows(&page, "Without DV-ext") {
        let [program, asserted, pass, _] = row[..] else {
            panic!("{PAGE}: {row:?} has not four cells")
        };
        let outcome = Outcome { reached: number(asserted), pass: number(pass), end: End::Ends };
        assert!(outcome.pass <= outcome.reached, "{row:?}");
        all.push(Expected { program: program.trim_matches('`').to_owned(), outcome });
    }
    all
}

/// Text without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

/// The assertions of the group in the order in which they were made, and whether each passed.
///
/// They stand one a line behind a tab; what is too long for one goes on in the next.
fn assertions(text: &str, group: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut name = String::new();
    for line in text.lines().skip_while(|line| !line.trim_start().starts_with(group)) {
        let begins = line.strip_prefix('\t').filter(|part| !part.starts_with(['\t', '(']));
        let Some(part) = begins.or_else(|| (!name.is_empty()).then_some(line)) else { continue };
        let part = part.trim_end();
        let verdict = [("PASSED", true), ("FAILED", false)]
            .into_iter()
            .find_map(|(word, passed)| Some((part.strip_suffix(word)?, passed)));
        name.push_str(verdict.map_or(part, |(part, _)| part).trim_end());
        if let Some((_, passed)) = verdict {
            found.push((std::mem::take(&mut name), passed));
        }
    }
    found
}

/// Runs a program twice; the two must be the same run.
fn run(path: &Path, isa: Extensions) -> (Stop, String) {
    let program = read(path);
    let once = || {
        let config = BareConfig { isa, ..config("hyp-tests", &program, MEMORY) };
        let mut machine = BareMachine::new(config).unwrap();
        let mut screen = Screen::default();
        let mut inputs = NoInputs;
        let mut host = Host::new(&mut inputs);
        host.sinks.push(&mut screen);
        let stop = machine.run(&mut host, Some(MAX_STEPS));
        drop(host);
        (stop, machine.position(), digest(&machine), screen.text)
    };
    let first = once();
    assert!(once() == first, "{} runs differently", path.display());
    (first.0, plain(&first.3))
}

fn outcome(stop: &Stop, text: &str, found: &[(String, bool)]) -> Outcome {
    let end = match stop {
        Stop::PowerOff if text.contains("ERROR: ") => End::Stops,
        Stop::PowerOff => End::Ends,
        Stop::Deadlock => End::Waits,
        Stop::StepLimit => End::Spins,
        Stop::Failed { .. }
        | Stop::Reset
        | Stop::User
        | Stop::Killed { .. }
        | Stop::Crashed { .. }
        | _ => {
            panic!("{stop:?}\n{text}")
        }
    };
    let pass = found.iter().filter(|(_, passed)| *passed).count();
    Outcome { reached: found.len(), pass, end }
}

#[test]
fn the_tables_of_the_page_can_be_read() {
    let all = expected();
    for set in ["published/", "adapted/", "standard/", "upstream/"] {
        assert!(all.iter().any(|one| one.program.starts_with(set)), "{set} is not in {PAGE}");
    }
}

#[test]
fn an_assertion_is_counted_once() {
    let text = [
        "\t\x1b[35mbefore   \x1b[0mPASSED",
        "group ----->",
        "\t\tnote",
        "\tlong name th",
        "\tat goes on   \x1b[31mFAILED\x1b[0m",
        "\t(1 2)",
        "\tshort",
        "   PASSED",
        "free text, PASSED",
    ];
    let text = text.join("\n");
    let found = assertions(&plain(&text), "group");
    assert_eq!(found, [("long name that goes on".into(), false), ("short".into(), true)]);
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that was left out says so, and so do results")]
fn they_end_as_the_page_says() {
    let Some(dir) = std::env::var_os("HYP_TESTS") else {
        eprintln!("LEFT OUT: the authors' tests, since HYP_TESTS does not name their directory");
        return;
    };
    let mut wrong = Vec::new();
    let mut sums = BTreeMap::new();
    for Expected { program, outcome: expected } in expected() {
        let path = Path::new(&dir).join(format!("{program}.elf"));
        if !path.is_file() {
            eprintln!("LEFT OUT: {program}, since {} is not there", path.display());
            continue;
        }
        let (set, group) = program.split_once('/').unwrap();
        let has_dv = matches!(set, "published" | "adapted");
        let isa = if has_dv { Extensions::ALL } else { Extensions::ALL.without(Ext::Xdv) };
        let (stop, text) = run(&path, isa);
        let found = assertions(&text, group);
        let got = outcome(&stop, &text, &found);
        let Outcome { reached, pass, end } = got;
        eprintln!("{program}: {pass} of {reached} pass, {end:?}");
        found.iter().filter(|(_, ok)| !ok).for_each(|(name, _)| eprintln!("    not: {name}"));
        let errors = text.lines().filter(|line| line.contains("ERROR: "));
        errors.for_each(|line| eprintln!("    {line}"));
        let [programs, all_reached, all_pass] = sums.entry(set.to_owned()).or_insert([0; 3]);
        *programs += 1;
        *all_reached += reached;
        *all_pass += pass;
        if got != expected {
            wrong.push(format!("{program}: {got:?}, and the page has {expected:?}"));
        }
    }
    assert!(!sums.is_empty(), "no programs in {}", dir.display());
    for (set, [programs, reached, pass]) in sums {
        eprintln!("{set}: {programs} programs, {pass} of {reached} assertions pass");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
