//! Reads apt's source lists, to learn which Debian mirror this machine uses.
//!
//! sources.list(5), "THE DEB AND DEB-SRC TYPES: GENERAL FORMAT": one-line entries in `*.list`
//! files, deb822 stanzas in `*.sources` files. What is not understood is passed over: apt itself
//! is the judge of these files, we only look for an address in them.

use std::fs;
use std::path::{Path, PathBuf};

/// Suites by which an entry is recognised as Debian's own archive.
#[rustfmt::skip]
const SUITES: &[&str] = &[
    "trixie", "bookworm", "bullseye", "buster", "forky", "duke", "sid",
    "stable", "oldstable", "oldoldstable", "testing", "unstable",
];

/// A place that packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) uri: String,
    /// The keyring that the machine checks it with, if its entry names a file.
    pub(super) signed_by: Option<PathBuf>,
}

/// An enabled binary entry of either format.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uris: Vec<String>,
    pub(super) suites: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) signed_by: Option<PathBuf>,
}

/// The first Debian archive among the entries: not security, backports or a third party.
pub(super) fn debian_archive(entries: &[Entry]) -> Option<Source> {
    let entry = entries.iter().find(|entry| {
        entry.suites.iter().any(|suite| SUITES.contains(&suite.as_str()))
            && entry.components.iter().any(|component| component == "main")
    })?;
    let uri = entry.uris.iter().find(|uri| usable_uri(uri))?;
    Some(Source { uri: uri.clone(), signed_by: entry.signed_by.clone() })
}

/// Whether a text can stand as the address in a one-line entry.
pub(super) fn usable_uri(uri: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '[' | ']' | '"' | '#');
    let (scheme, rest) = uri.split_once(':').unwrap_or_default();
    !scheme.is_empty() && scheme != "cdrom" && !rest.is_empty() && uri.chars().all(plain)
}

/// Every entry of the main list and of the files beside it, in apt's order.
pub(super) fn read_all(list: &Path, parts: &Path) -> Vec<Entry> {
    let mut entries = fs::read(list).map(|bytes| one_line(&text(&bytes))).unwrap_or_default();
    let mut files: Vec<PathBuf> =
        fs::read_dir(parts).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    for path in files {
        let Ok(bytes) = fs::read(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(one_line(&text(&bytes))),
            Some("sources") => entries.extend(deb822(&text(&bytes))),
            _ => {}
        }
    }
    entries
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `deb [ option=value … ] uri suite component …`, one a line.
pub(super) fn one_line(text: &str) -> Vec<Entry> {
    text.lines().filter_map(one_entry).collect()
}

fn one_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let mut entry = Entry::default();
    if let Some(inside) = rest.trim_start().strip_prefix('[') {
        let (options, after) = inside.split_once(']')?;
        let signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by="));
        entry.signed_by = signed_by.and_then(keyring);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    entry.uris.push(words.next()?);
    entry.suites.push(words.next()?);
    entry.components = words.collect();
    Some(entry)
}

/// Stanzas of `Field: value` lines, continued by indented lines, apart by empty ones.
pub(super) fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        }
    }
    entries
}

fn stanza(fields: &[(String, String)]) -> Option<Entry> {
    let words = |name: &str| -> Vec<String> {
        let value = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        value.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned).collect()
    };
    let disabled = |word: &String| matches!(word.as_str(), "no" | "false" | "0" | "off");
    if !words("types").iter().any(|word| word == "deb") || words("enabled").iter().any(disabled) {
        return None;
    }
    Some(Entry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        // A key may also stand in the stanza itself: then several words, none of them a path.
        signed_by: words("signed-by").first().and_then(|word| keyring(word)),
    })
}

fn keyring(value: &str) -> Option<PathBuf> {
    let first = value.split(',').next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}
