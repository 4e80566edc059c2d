//! Writes cpio archives in the "newc" format, the one that Linux unpacks as its initramfs.
//!
//! Linux, "initramfs buffer format". One entry:
//!
//! ```text
//! "070701" ino mode uid gid nlink mtime filesize major minor rmajor rminor namesize check
//!          8 hexadecimal digits each
//! name NUL, zeros to a multiple of 4      content, zeros to a multiple of 4
//! ```
//!
//! Absent: times and owners (always zero) and hard links, so that equal trees are equal bytes.

use std::collections::BTreeMap;

use thiserror::Error;

/// The type bits of `mode`, as in stat(2).
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFCHR: u32 = 0o020_000;

/// One entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File { mode: u32, bytes: Vec<u8> },
    Link { target: String },
    CharDevice { major: u32, minor: u32 },
}

/// A file tree; paths have no leading slash, parents appear by themselves.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

/// A file that the format cannot express.
#[derive(Debug, Error)]
#[error("{path} is larger than the 4 GiB that a cpio archive can hold")]
pub struct TooLarge {
    path: String,
}

impl Tree {
    pub(super) fn add(&mut self, path: &str, node: Node) {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        for parent in parents {
            self.0.entry(parent.to_owned()).or_insert(Node::Directory);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// The archive: entries in the order of their paths, parents thus before children.
    pub(super) fn archive(&self) -> Result<Vec<u8>, TooLarge> {
        let mut out = Vec::new();
        for (ino, (path, node)) in (1u32..).zip(&self.0) {
            let (mode, device, content): (u32, (u32, u32), &[u8]) = match node {
                Node::Directory => (S_IFDIR | 0o755, (0, 0), &[]),
                Node::File { mode, bytes } => (S_IFREG | mode, (0, 0), bytes),
                Node::Link { target } => (S_IFLNK | 0o777, (0, 0), target.as_bytes()),
                Node::CharDevice { major, minor } => (S_IFCHR | 0o600, (*major, *minor), &[]),
            };
            let links = if matches!(node, Node::Directory) { 2 } else { 1 };
            entry(&mut out, path, [ino, mode, links], device, content)?;
        }
        entry(&mut out, "TRAILER!!!", [0, 0, 1], (0, 0), &[])?;
        Ok(out)
    }
}

fn entry(
    out: &mut Vec<u8>,
    path: &str,
    [ino, mode, links]: [u32; 3],
    (major, minor): (u32, u32),
    content: &[u8],
) -> Result<(), TooLarge> {
    let too_large = || TooLarge { path: path.to_owned() };
    let size = u32::try_from(content.len()).ok().ok_or_else(too_large)?;
    let name_size = u32::try_from(path.len() + 1).ok().ok_or_else(too_large)?;
    out.extend_from_slice(b"070701");
    for field in [ino, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}
