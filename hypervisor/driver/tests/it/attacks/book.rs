//! The page of the book on attacks, and whether the list of them is whole.

use std::fmt::Write;
use std::fs;

use super::{ATTACKS, GOALS};
use crate::tables::with_tables;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/attacks.md");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/attacks");

/// How a word of a test's name is written in a sentence.
const WORDS: [(&str, &str); 14] = [
    ("vm", "VM"),
    ("vms", "VMs"),
    ("hu", "HU"),
    ("hus", "HU's"),
    ("u", "U"),
    ("vs", "VS"),
    ("vu", "VU"),
    ("dv", "DV"),
    ("csr", "CSR"),
    ("vcpu", "vCPU"),
    ("spvp", "SPVP"),
    ("neighbours", "neighbour's"),
    ("kernels", "kernel's"),
    ("hosts", "host's"),
];

/// `memory::a_leaf_…` as a sentence.
fn sentence(name: &str) -> String {
    let words = name.rsplit("::").next().unwrap_or(name).split('_').map(|word| {
        let known = WORDS.iter().find(|(plain, _)| *plain == word);
        known.map_or(word, |(_, written)| written)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn attacks() -> String {
    let mut text = String::from("| attack | held by | test |\n|---|---|---|\n");
    for attack in ATTACKS {
        let numbers = attack.held_by.iter().map(|check| check.number().to_string());
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        let words = sentence(attack.name);
        writeln!(text, "| {words} | {numbers} | `attacks::{}` |", attack.name).unwrap();
    }
    text
}

fn goals() -> String {
    let mut text = String::from("| the attacker wants to | tests |\n|---|---|\n");
    for (goal, names) in GOALS {
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join("<br>");
        writeln!(text, "| {goal} | {names} |").unwrap();
    }
    text
}

fn table(name: &str) -> String {
    match name {
        "attacks" => attacks(),
        "goals" => goals(),
        _ => panic!("no table is called {name}"),
    }
}

#[test]
fn the_page_shows_the_attacks() {
    let page = fs::read_to_string(PAGE).unwrap();
    let fresh = with_tables(&page, table);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(PAGE, &fresh).unwrap();
    } else {
        assert!(page == fresh, "docs/src/attacks.md is stale: UPDATE=1 cargo test -p driver");
    }
}

#[test]
fn each_test_that_attacks_is_in_the_list() {
    let mut names: Vec<String> = Vec::new();
    for file in fs::read_dir(SOURCES).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap();
        let after = source.split("#[test]\npub(super) fn ").skip(1);
        names.extend(after.map(|rest| format!("{module}::{}", rest.split('(').next().unwrap())));
    }
    let mut listed: Vec<String> = ATTACKS.iter().map(|attack| attack.name.to_owned()).collect();
    names.sort();
    listed.sort();
    assert_eq!(names, listed);
    for name in GOALS.iter().flat_map(|(_, names)| *names) {
        assert!(listed.iter().any(|listed| listed == name), "there is no attack {name}");
    }
}
