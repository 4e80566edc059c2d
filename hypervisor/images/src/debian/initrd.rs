//! Assembles the guest's initrd: busybox, the drivers it needs, and `/init`.
//!
//! The archive is not compressed: unpacking is the guest's work, and the slowest there is.

use super::cpio::{Node, TooLarge, Tree};
use super::modules::Selection;

/// Bumped with every change of what the archive holds, so that the next fetch rebuilds it.
pub(super) const RECIPE: u32 = 1;

/// Modules without which the guest has no disk. Device drivers load when `/init` finds their
/// device, a file system when it is mounted.
pub(super) const REQUIRED: &[&str] = &["virtio_mmio", "virtio_blk", "ext4"];

/// Modules that not every kernel release has: ext4 asks for CRC32C by alias, under these names.
pub(super) const OPTIONAL: &[&str] =
    &["virtio_rng", "crc32c_generic", "crc32c_cryptoapi", "crc32c_riscv64"];

const INIT: &[u8] = include_bytes!("init");

#[rustfmt::skip]
const DIRECTORIES: &[&str] = &[
    "dev", "etc", "mnt", "proc", "root", "run", "sbin", "sys", "tmp", "usr/bin", "usr/sbin",
];

/// Names for listings; and what a `mount` without a type tries, as a file system whose driver is
/// not loaded yet is in no list of the kernel's.
const TEXTS: &[(&str, &str)] = &[
    ("etc/passwd", "root::0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root::0:\n"),
    ("etc/filesystems", "ext4\n*\n"),
];

/// Builds the archive: the same busybox and modules give the same bytes.
pub(super) fn build(
    busybox: Vec<u8>,
    modules: Selection,
    release: &str,
) -> Result<Vec<u8>, TooLarge> {
    let mut tree = Tree::default();
    for path in DIRECTORIES {
        tree.add(path, Node::Directory);
    }
    for (path, text) in TEXTS {
        tree.add(path, Node::File { mode: 0o644, bytes: text.as_bytes().to_vec() });
    }
    // The kernel opens the console before /init can mount /dev.
    tree.add("dev/console", Node::CharDevice { major: 5, minor: 1 });
    tree.add("dev/null", Node::CharDevice { major: 1, minor: 3 });
    tree.add("init", Node::File { mode: 0o755, bytes: INIT.to_vec() });
    tree.add("bin/busybox", Node::File { mode: 0o755, bytes: busybox });
    tree.add("bin/sh", Node::Link { target: "busybox".to_owned() });

    let root = format!("lib/modules/{release}");
    let tables = [("modules.dep", modules.dep_file()), ("modules.alias", modules.alias_file())];
    for (name, text) in tables {
        let bytes = text.into_bytes();
        tree.add(&format!("{root}/{name}"), Node::File { mode: 0o644, bytes });
    }
    for module in modules.modules {
        let path = format!("{root}/{}", module.path);
        tree.add(&path, Node::File { mode: 0o644, bytes: module.bytes });
    }
    tree.archive()
}
