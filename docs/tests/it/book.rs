//! Tables of the book that are written from the sources, and links between its pages.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use session::ExitKind;

use crate::files::{report, root};
use crate::layers::LAYERS;
use crate::tables::with_tables;

/// Pages of this book with tables from here. The chapter on DV-ext belongs to the tests of `isa`.
const PAGES: &[&str] = &["architecture.md", "exits.md", "guests.md"];
/// This one names system calls as x86-64 has them.
const SANDBOX: &str = "sandbox.md";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn table(name: &str) -> String {
    match name {
        "crates" => crates(),
        "kinds" => kinds(),
        "causes" => variants("ExitCause"),
        "outcomes" => variants("Outcome"),
        "stops" => variants("Stop"),
        "states" => variants("VmState"),
        "guests" => guests(),
        "calls" => calls(),
        "spared" => reasons(sandbox::SPARED),
        "never" => never(),
        _ => panic!("no table is called {name}"),
    }
}

/// Every crate by its folder, in its own words, and what it may know.
fn crates() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let mut text = String::from("| crate | what it is for | may know |\n|---|---|---|\n");
    for (folder, known) in LAYERS {
        let name = folder.rsplit('/').next().unwrap();
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        let what = package["description"].as_str().unwrap_or_else(|| panic!("{name}: why?"));
        let known = match known.len() {
            0 => "–".to_owned(),
            n if n + 2 >= LAYERS.len() => "all".to_owned(),
            _ => known.join(", "),
        };
        writeln!(text, "| `{folder}` | {what} | {known} |").unwrap();
    }
    text
}

/// Kinds of exits, as tables on the screen show them.
fn kinds() -> String {
    let mut text = String::from("| shown as | glyph | kind |\n|---|---|---|\n");
    for kind in ExitKind::ALL {
        writeln!(text, "| `{}` | `{}` | {kind:?} |", kind.name(), kind.glyph()).unwrap();
    }
    text
}

/// A variant of an enum as its source shows it.
struct Variant {
    name: String,
    doc: String,
    fields: Vec<String>,
}

/// Reads the variants of an enum in `session`: their documentation is the book's.
fn parse(source: &str, name: &str) -> Vec<Variant> {
    let begin = source.find(&format!("pub enum {name} {{")).expect("the enum is there");
    let mut variants: Vec<Variant> = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in source[begin..].lines().skip(1).take_while(|line| *line != "}") {
        let inner = line.trim_start();
        let indent = line.len() - inner.len();
        if let Some(words) = inner.strip_prefix("/// ") {
            doc.push(words);
        } else if indent == 4 && inner.starts_with(|first: char| first.is_ascii_uppercase()) {
            let end = inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len());
            let fields = Vec::new();
            variants.push(Variant { name: inner[..end].to_owned(), doc: doc.join(" "), fields });
            doc.clear();
        } else if let (8, Some((field, _))) = (indent, inner.split_once(": ")) {
            let variant = variants.last_mut().expect("a field has a variant");
            let words = doc.join(" ");
            variant.fields.push(format!("`{field}`: {}", words.trim_end_matches('.')));
            doc.clear();
        }
    }
    variants
}

/// `GuestPageFault` is `guest_page_fault` in JSON.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn variants(name: &str) -> String {
    let source = read("hypervisor/session/src/exit.rs");
    let mut text = String::from("| in JSON | what it says | fields |\n|---|---|---|\n");
    for variant in parse(&source, name) {
        let fields = variant.fields.join("; ");
        writeln!(text, "| `{}` | {} | {fields} |", snake(&variant.name), variant.doc).unwrap();
    }
    text
}

/// The guests that come with the program.
fn guests() -> String {
    let manifest: toml::Table = read("guests/guests.toml").parse().unwrap();
    let mut text = String::from("| guest | vCPUs | what it shows |\n|---|---|---|\n");
    for (name, row) in manifest["guest"].as_table().unwrap() {
        let vcpus = row["vcpus"].as_integer().unwrap();
        let what = row["description"].as_str().unwrap();
        writeln!(text, "| `{name}` | {vcpus} | {what} |").unwrap();
    }
    text
}

/// What a run may call.
fn calls() -> String {
    let mut text = String::from("| call | runs | for |\n|---|---|---|\n");
    for call in sandbox::CALLS {
        writeln!(text, "| `{}` | {} | {} |", call.name, call.runs(), call.why).unwrap();
    }
    text
}

fn reasons(calls: &[sandbox::Call]) -> String {
    let mut text = String::from("| call | when, and why it is not needed |\n|---|---|\n");
    for call in calls {
        writeln!(text, "| `{}` | {} |", call.name, call.why).unwrap();
    }
    text
}

/// What is never called in good faith, by what it would reach.
fn never() -> String {
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for call in sandbox::NEVER {
        let name = format!("`{}`", call.name);
        match rows.iter_mut().find(|(why, _)| *why == call.why) {
            Some((_, names)) => names.push(name),
            None => rows.push((call.why, vec![name])),
        }
    }
    let mut text = String::from("| reaches | calls |\n|---|---|\n");
    for (why, names) in rows {
        writeln!(text, "| {why} | {} |", names.join(" ")).unwrap();
    }
    text
}

#[test]
fn tables_are_those_of_the_sources() {
    let mut findings = Vec::new();
    let sandbox = cfg!(target_arch = "x86_64").then_some(&SANDBOX);
    for name in PAGES.iter().chain(sandbox) {
        let path = format!("docs/src/{name}");
        let page = read(&path);
        let fresh = with_tables(&page, table);
        if page != fresh && std::env::var_os("UPDATE").is_some() {
            fs::write(root().join(&path), &fresh).unwrap();
        } else if page != fresh {
            findings.push(format!("{path} is stale: UPDATE=1 cargo test -p docs"));
        }
    }
    report(&findings);
}

/// Targets of Markdown links, without their fragments.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_summary_names_every_page() {
    let named: BTreeSet<String> = links(&read("docs/src/SUMMARY.md")).into_iter().collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("docs/src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect();
    assert_eq!(named, there, "SUMMARY.md (left) and docs/src (right) differ");
}

#[test]
fn links_lead_somewhere() {
    let mut findings = Vec::new();
    let files = crate::files::tracked();
    for page in files.iter().filter(|file| file.has_extension(&["md"])) {
        let folder = root().join(Path::new(&page.path).parent().unwrap());
        for link in links(page.text()) {
            if !link.is_empty() && !link.contains("://") && !folder.join(&link).exists() {
                findings.push(format!("{}: {link} is not there", page.path));
            }
        }
    }
    report(&findings);
}
