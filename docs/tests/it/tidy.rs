//! House style that neither the compiler nor clippy looks at. Findings name file, line and cure.

use std::collections::BTreeSet;

use crate::files::{Tracked, report, root, tracked};

const LINE_MAX: usize = 100;
/// An instruction of a guest and its comment stand side by side.
const GUEST_LINE_MAX: usize = 120;
const FILE_MAX: usize = 600;
const BYTES_MAX: usize = 200_000;

/// Places on the net that files here may name: projects, not mirrors of them.
const HOSTS: &[&str] = &["github.com", "docs.rs", "riscv.org", "www.apache.org", "rust-lang.org"];

/// Words in the names of types that the glossary has other words for.
#[rustfmt::skip]
const NOT_IN_TYPES: &[(&str, &str)] = &[
    ("Emulat", "the modelled thing's own name"), ("Simulat", "the modelled thing's own name"),
    ("VmExit", "Exit"), ("VmEntry", "Entry"), ("Hypercall", "Sbi"), ("Ept", "Gstage"),
    ("Paddr", "Gpa or Hpa"), ("Vaddr", "Gva"), ("VirtualCore", "Vcpu"), ("VirtualCpu", "Vcpu"),
];

fn sources() -> Vec<Tracked> {
    tracked().into_iter().filter(|file| file.has_extension(&["rs"])).collect()
}

/// Findings of a rule that looks at one line of some files at a time.
fn each_line(files: &[Tracked], rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.lines() {
            findings.extend(rule(line).map(|what| format!("{}:{number}: {what}", file.path)));
        }
    }
    findings
}

#[test]
fn a_source_file_begins_with_what_it_is_for() {
    let bad = |file: &&Tracked| !file.text().starts_with("//! ");
    let files = sources();
    let findings = files.iter().filter(bad);
    let words = |file: &Tracked| format!("{}:1: begin with `//!` and one sentence", file.path);
    report(&findings.map(words).collect::<Vec<_>>());
}

#[test]
fn lines_are_not_too_long() {
    let mut findings = Vec::new();
    for file in tracked() {
        if !file.has_extension(&["rs", "S", "h", "c", "sh", "py"]) {
            continue;
        }
        let is_guest = file.path.starts_with("guests/") || file.path.starts_with("bench/guests/");
        let max = if is_guest { GUEST_LINE_MAX } else { LINE_MAX };
        for (number, line) in file.lines() {
            let n = line.chars().count();
            if n > max {
                findings.push(format!("{}:{number}: {n} characters, {max} is most", file.path));
            }
        }
    }
    report(&findings);
}

#[test]
fn files_have_600_lines_at_most_unless_they_are_tables() {
    let mut findings = Vec::new();
    for file in sources() {
        let n = file.text().lines().count();
        let is_table = file.text().lines().next().is_some_and(|line| line.ends_with("(table)"));
        if n > FILE_MAX && !is_table {
            findings.push(format!("{}: {n} lines, split it by topic", file.path));
        }
    }
    report(&findings);
}

#[test]
fn modules_are_files_beside_their_folders() {
    let files = sources();
    let bad = files.iter().filter(|file| file.path.ends_with("/mod.rs"));
    report(&bad.map(|file| format!("{}: rename to <folder>.rs", file.path)).collect::<Vec<_>>());
}

/// The files that may hold the `mod` line of a module: `src/a/b.rs` is one of `src/a.rs`.
fn parents(path: &str) -> Option<(Vec<String>, &str)> {
    let (folder, file) = path.rsplit_once('/')?;
    let name = file.strip_suffix(".rs")?;
    let of_crate = folder.ends_with("/src") || folder == "src";
    let is_root = matches!(name, "lib" | "main" | "build");
    let is_target = ["tests", "benches", "examples", "bin", "fuzz_targets"]
        .iter()
        .any(|kind| folder == *kind || folder.ends_with(&format!("/{kind}")));
    if is_root || is_target && !folder.contains("/src/") {
        return None;
    }
    let parents = if of_crate {
        vec![format!("{folder}/lib.rs"), format!("{folder}/main.rs")]
    } else {
        vec![format!("{folder}.rs"), format!("{folder}/main.rs")]
    };
    Some((parents, name))
}

#[test]
fn every_module_is_named_by_its_parent() {
    let files = sources();
    let mut findings = Vec::new();
    for file in &files {
        let Some((parents, name)) = parents(&file.path) else { continue };
        let line = format!("mod {name};");
        let named = |parent: &Tracked| {
            parents.contains(&parent.path)
                && parent.lines().any(|(_, text)| text.trim_end().ends_with(&line))
        };
        if !files.iter().any(named) {
            findings.push(format!("{}: nobody says `{line}`, so it is not compiled", file.path));
        }
    }
    report(&findings);
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    // Put together here, or this file would be its own finding.
    let words =
        [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("dbg", "!(")];
    let mut files = tracked();
    files.retain(|file| file.has_extension(&["rs", "S", "h", "c", "sh", "py", "toml"]));
    report(&each_line(&files, |line| {
        let word = words.iter().find(|word| line.contains(**word))?;
        Some(format!("`{word}`: do it, or say what is absent and why"))
    }));
}

#[test]
fn a_page_has_one_title() {
    let mut findings = Vec::new();
    for file in tracked().iter().filter(|file| file.has_extension(&["md"])) {
        // mdBook divides its table of contents by titles.
        if file.path.ends_with("/SUMMARY.md") {
            continue;
        }
        let mut in_code = false;
        let mut n_titles = 0;
        for (_, line) in file.lines() {
            in_code ^= line.trim_start().starts_with("```");
            n_titles += usize::from(!in_code && line.starts_with("# "));
        }
        if n_titles != 1 {
            findings.push(format!("{}: {n_titles} lines begin with `# `, one should", file.path));
        }
    }
    report(&findings);
}

#[test]
fn no_file_is_large() {
    let files = tracked();
    let large = files.iter().filter(|file| file.bytes.len() > BYTES_MAX);
    let words = |file: &Tracked| format!("{}: {} bytes, not for git", file.path, file.bytes.len());
    report(&large.map(words).collect::<Vec<_>>());
}

#[test]
fn a_manual_is_cited_by_the_title_of_a_section() {
    let files = sources();
    let mut findings = each_line(&files, |line| {
        let comment = line.split_once("//")?.1;
        let by_page = [" page ", " p. ", " pp. "].iter().any(|word| {
            let mut rest = comment.split(word).skip(1);
            rest.any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        });
        let by_number = comment.contains('§');
        (by_page || by_number)
            .then(|| "cite the title of the section: numbers change with each edition".to_owned())
    });
    for file in &files {
        let lines: Vec<&str> = file.text().lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            let Some((_, rest)) = comment.split_once("rivileged manual, ") else { continue };
            let next = lines.get(index + 1).copied().unwrap_or_default();
            if !rest.contains('"') && !next.contains('"') {
                let at = format!("{}:{}", file.path, index + 1);
                findings.push(format!("{at}: put the section's title in double quotes"));
            }
        }
    }
    report(&findings);
}

#[test]
fn types_have_the_names_of_the_glossary() {
    report(&each_line(&sources(), |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words
            .iter()
            .position(|word| matches!(*word, "struct" | "enum" | "trait" | "type" | "union"))?;
        if line.trim_start().starts_with("//") || at > 2 {
            return None;
        }
        let name = words.get(at + 1)?;
        let (word, instead) = NOT_IN_TYPES.iter().find(|(word, _)| name.contains(*word))?;
        Some(format!("`{word}` in the name of a type: use {instead}"))
    }));
}

#[test]
fn nothing_names_a_machine_that_is_not_everybodys() {
    let local = [
        concat!("..", "/shared"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    report(&each_line(&tracked(), |line| {
        if let Some(path) = local.iter().find(|path| line.contains(**path)) {
            return Some(format!("`{path}`: a path of one machine"));
        }
        let hosts = line.split("://").skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c)));
            &rest[..end.unwrap_or(rest.len())]
        });
        let mut strange = hosts.filter(|host| {
            let reserved = host.ends_with(".example") || !host.contains('.');
            !reserved && !HOSTS.contains(host)
        });
        strange.next().map(|host| format!("{host}: is that a host for everybody? (HOSTS)"))
    }));
}

#[test]
fn every_guest_has_its_source_its_image_and_its_expectation() {
    let path = root().join("guests/guests.toml");
    let manifest = std::fs::read_to_string(&path).expect("guests/guests.toml is there");
    let manifest: toml::Table = manifest.parse().expect("guests/guests.toml is TOML");
    let guests = manifest["guest"].as_table().expect("[guest.<name>]");
    let mut findings = Vec::new();
    for (name, row) in guests {
        let source = row.get("source").and_then(toml::Value::as_str).unwrap_or("(no source)");
        let image = format!("guests/prebuilt/{name}.elf");
        for file in [format!("guests/{source}"), image] {
            if !root().join(&file).exists() {
                findings.push(format!("guests.toml, [guest.{name}]: {file} is not there"));
            }
        }
        for key in ["vcpus", "description", "expect"] {
            if row.get(key).is_none() {
                findings.push(format!("guests.toml, [guest.{name}]: lacks `{key}`"));
            }
        }
    }
    let named: BTreeSet<String> =
        guests.keys().map(|name| format!("guests/prebuilt/{name}.elf")).collect();
    let images = tracked();
    let images = images
        .iter()
        .filter(|file| file.path.starts_with("guests/prebuilt/") && file.has_extension(&["elf"]));
    for image in images.filter(|image| !named.contains(&image.path)) {
        findings.push(format!("{}: no [guest.<name>] in guests.toml", image.path));
    }
    report(&findings);
}
