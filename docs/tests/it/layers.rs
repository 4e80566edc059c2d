//! The crates of the workspace and which of ours each may depend on: arrows point down only.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::files::{report, root};

/// Folder, and what it may depend on. What a crate may not name, its code cannot know.
#[rustfmt::skip]
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("hypervisor/isa",     &[]),
    ("hypervisor/state",   &[]),
    ("hypervisor/hart",    &["isa", "state"]),
    ("hypervisor/devices", &["state"]),
    ("hypervisor/session", &["isa", "state"]),
    ("hypervisor/machine", &["hart", "devices", "session", "isa", "state"]),
    ("hypervisor/dv",      &["isa"]),
    ("hypervisor/driver",  &["machine", "hart", "dv", "isa", "state"]),
    ("hypervisor/vmm",     &["dv", "devices", "session", "isa", "state"]),
    ("hypervisor/timeline", &[
        "vmm", "driver", "machine", "hart", "devices", "dv", "traces", "session", "isa", "state",
    ]),
    ("hypervisor/images",  &[]),
    ("hypervisor/sandbox", &[]),
    ("hypervisor/duvisor", &[
        "isa", "hart", "devices", "session", "machine", "dv", "driver", "vmm", "images",
        "sandbox", "monitor", "timeline", "traces",
    ]),
    ("traces",             &["session", "isa"]),
    ("monitor",            &["session", "isa"]),
    ("docs",               &[]),
];

/// What a crate may use in its tests besides: an implementation of the interface it is written
/// against, or the vocabulary that it documents.
#[rustfmt::skip]
const IN_TESTS: &[(&str, &[&str])] = &[
    ("driver",  &["session", "devices"]),
    ("machine", &["images"]),               // the committed guests are programs to run
    ("vmm",     &["driver", "hart", "images"]),
    ("timeline", &["images"]),
    ("docs",    &["session", "sandbox"]),
];

/// Crates that stand on the standard library and `isa` alone, but for what is named here.
#[rustfmt::skip]
const FEW: &[(&str, &[&str])] = &[
    ("isa",     &[]),
    ("state",   &[]),
    ("hart",    &["softfloat-wrapper"]),    // optional: the oracle of its tests
    ("devices", &[]),
    ("session", &["serde"]),                // optional
    ("dv",      &[]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, for it runs this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {said}");
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().expect("a list of packages").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn folder(package: &Value, metadata: &Value) -> String {
    let manifest = text(&package["manifest_path"]);
    let inside = manifest.strip_prefix(text(&metadata["workspace_root"])).unwrap_or(manifest);
    inside.trim_start_matches('/').trim_end_matches("/Cargo.toml").to_owned()
}

/// What a package depends on: name, and whether in tests only.
fn dependencies(package: &Value) -> impl Iterator<Item = (&str, bool)> {
    let all = package["dependencies"].as_array().expect("a list of dependencies");
    all.iter().map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
}

fn row<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> &'a [&'a str] {
    table.iter().find(|(crate_, _)| *crate_ == name).map_or(&[], |(_, names)| names)
}

#[test]
fn every_crate_stands_in_the_table_under_its_folder() {
    let metadata = metadata();
    let there: BTreeMap<String, &str> =
        packages(&metadata).map(|it| (folder(it, &metadata), text(&it["name"]))).collect();
    let table: BTreeMap<String, &str> = LAYERS
        .iter()
        .map(|(folder, _)| ((*folder).to_owned(), folder.rsplit('/').next().unwrap_or(folder)))
        .collect();
    assert_eq!(there, table, "the workspace (left) and LAYERS (right) differ");
}

#[test]
fn arrows_point_down() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = packages(&metadata).map(|it| text(&it["name"])).collect();
    let mut findings = Vec::new();
    for package in packages(&metadata) {
        let name = text(&package["name"]);
        let folder = folder(package, &metadata);
        let allowed = row(LAYERS, &folder);
        for (dependency, in_tests) in dependencies(package) {
            let may = allowed.contains(&dependency)
                || (in_tests && row(IN_TESTS, name).contains(&dependency));
            if ours.contains(dependency) && !may {
                findings.push(format!("{folder}/Cargo.toml: {name} may not know {dependency}"));
            }
        }
    }
    report(&findings);
}

#[test]
fn the_bottom_stands_on_the_standard_library() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = packages(&metadata).map(|it| text(&it["name"])).collect();
    let mut findings = Vec::new();
    for package in packages(&metadata) {
        let name = text(&package["name"]);
        if !FEW.iter().any(|(crate_, _)| *crate_ == name) {
            continue;
        }
        for (dependency, in_tests) in dependencies(package) {
            let may = in_tests || ours.contains(dependency) || row(FEW, name).contains(&dependency);
            if !may {
                findings.push(format!("{name} may not depend on {dependency}"));
            }
        }
    }
    report(&findings);
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() {
    let metadata = metadata();
    let findings: Vec<String> = packages(&metadata)
        .map(|package| text(&package["manifest_path"]))
        .filter(|path| {
            let manifest = std::fs::read_to_string(path).expect("cargo has read it, too");
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|path| format!("{path}: lacks `[lints]` with `workspace = true`"))
        .collect();
    report(&findings);
}
