//! What a fetch reads and writes, without the network.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::cpio::{Node, Tree};
use super::manifest::{describe, write_whole};
use super::modules::{Index, Info, Module, Selection, info, module_name};
use super::sources::{Entry, Source, deb822, debian_archive, one_line, usable_uri};
use super::{Debian, InstalledError, Manifest, Package, apt, default_folder, initrd, words_of};

fn entry(uri: &str, suites: &[&str], components: &[&str], signed_by: Option<&str>) -> Entry {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Entry {
        uris: vec![uri.to_owned()],
        suites: words(suites),
        components: words(components),
        signed_by: signed_by.map(PathBuf::from),
    }
}

#[test]
fn one_line_sources() {
    let text = "\
# deb http://off.example/debian sid main
deb-src http://src.example/debian trixie main
deb [arch=amd64 signed-by=/k.gpg,/l.gpg] http://a.example/debian trixie main contrib # why
deb\thttp://b.example/debian ./
deb [unclosed http://c.example
debian http://d.example trixie main
";
    let expected = [
        entry("http://a.example/debian", &["trixie"], &["main", "contrib"], Some("/k.gpg")),
        entry("http://b.example/debian", &["./"], &[], None),
    ];
    assert_eq!(one_line(text), expected);
}

#[test]
fn deb822_sources() {
    let text = "\
# the archive
Types: deb deb-src
URIs: http://a.example/debian
 http://b.example/debian
# a comment inside
SUITES: bookworm
\tbookworm-updates
Components: main
Signed-By: /k.gpg

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: sid
Components: main


Types: deb
URIs: http://c.example/debian
Suites: sid
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGPL";
    let mut first = entry(
        "http://a.example/debian",
        &["bookworm", "bookworm-updates"],
        &["main"],
        Some("/k.gpg"),
    );
    first.uris.push("http://b.example/debian".to_owned());
    let second = entry("http://c.example/debian", &["sid"], &["main"], None);
    assert_eq!(deb822(text), [first, second]);
}

#[test]
fn the_archive_is_told_from_its_neighbours() {
    let archive = entry("http://a.example/debian", &["trixie"], &["main"], None);
    let entries = [
        entry("http://tool.example/apt", &["stable"], &["nonmain"], None),
        entry("http://a.example/security", &["trixie-security"], &["main"], None),
        entry("http://ubuntu.example/ubuntu", &["noble"], &["main"], None),
        entry("cdrom:[Debian]/", &["trixie"], &["main"], None),
    ];
    assert_eq!(debian_archive(&entries), None);
    let found = debian_archive(&[entries[0].clone(), entries[1].clone(), archive]);
    assert_eq!(found, Some(Source { uri: "http://a.example/debian".to_owned(), signed_by: None }));
}

#[test]
fn addresses_that_would_change_the_source_list_are_refused() {
    assert!(usable_uri("http://a.example/debian"));
    assert!(usable_uri("file:/srv/debian"));
    assert!(usable_uri("mirror+file:/etc/apt/mirrors/debian.list"));
    for bad in ["", "a.example", "http:", "http://a b", "http://a\ndeb x", "[x]:y", "cdrom:x"] {
        assert!(!usable_uri(bad), "{bad:?}");
    }
}

#[test]
fn of_the_machines_apt_only_the_way_to_fetch_is_taken() {
    let dump = "\
APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/archives/*.deb\";
Acquire::http::Proxy \"http://proxy.example:3128\";
Acquire::Languages \"de\";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"true\";
Acquire::odd \"a\\\"; DPkg::Post-Invoke \"b\";
Acquire::Retries \"3\";
Dir::Etc \"etc/apt\";
";
    let kept = "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::Retries \"3\";\n";
    assert_eq!(apt::acquire_settings(dump), kept);
}

#[test]
fn the_first_stanza_says_version_and_dependencies() {
    let text = "\
Package: linux-image-riscv64
Version: 6.12.107-1
Depends: linux-image-6.12.107+deb13-riscv64 (= 6.12.107-1), kmod | busybox (>= 1)
Size: 1652
SHA256: f60ca779
Description: Linux

Package: linux-image-riscv64
Version: 5
";
    let stanza = apt::stanza(text).unwrap();
    assert_eq!(stanza.package.exact(), "linux-image-riscv64=6.12.107-1");
    assert_eq!(stanza.depends, ["linux-image-6.12.107+deb13-riscv64", "kmod"]);
    assert_eq!(apt::stanza(""), None);
    assert_eq!(apt::stanza("Package: a\nVersion: 1\nSize: -1\nSHA256: f6\n"), None);
}

#[test]
fn a_tool_that_failed_is_quoted_shortly() {
    assert_eq!(words_of("W: x\nE: no space\nE: so nothing done\n"), "no space");
    assert_eq!(words_of("dpkg-deb: error: bad\n\n"), "dpkg-deb: error: bad");
    assert_eq!(words_of(""), "it did not say why");
}

#[test]
fn the_cache_is_where_the_user_wants_it() {
    let folder = |xdg: Option<&str>, home: Option<&str>| {
        default_folder(xdg.map(str::as_ref), home.map(str::as_ref))
    };
    assert_eq!(folder(Some("/c"), Some("/h")), Some("/c/duvisor/debian".into()));
    assert_eq!(folder(Some("c"), Some("/h")), Some("/h/.cache/duvisor/debian".into()));
    assert_eq!(folder(None, Some("/h")), Some("/h/.cache/duvisor/debian".into()));
    assert_eq!(folder(None, None), None);
}

/// A module object with nothing but a `.modinfo` section.
fn module(modinfo: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0u8; 64];
    file.extend_from_slice(modinfo);
    let names_at = file.len();
    file.extend_from_slice(names);
    let sections = file.len();
    file.extend_from_slice(&[0; 64]);
    let mut section = |name: u64, kind: u64, at: usize, size: usize| {
        let words = [name | kind << 32, 0, 0, at as u64, size as u64, 0, 1, 0];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    section(1, 1, 64, modinfo.len());
    section(10, 3, names_at, names.len());
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..24].copy_from_slice(&[1, 0, 243, 0, 1, 0, 0, 0]);
    file[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
    file[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    file
}

#[test]
fn modules_say_what_they_need() {
    let bytes =
        module(b"license=GPL\0alias=fs-ext4\0depends=jbd2,virtio-ring\0alias=a b\0\0=\0\xff");
    let expected = Info {
        depends: vec!["jbd2".to_owned(), "virtio_ring".to_owned()],
        aliases: vec!["fs-ext4".to_owned()],
    };
    assert_eq!(info(&bytes), Some(expected));
    assert_eq!(info(b"\x7fELF"), None);
    let name = module_name(Path::new("kernel/drivers/char/hw_random/virtio-rng.ko.xz"));
    assert_eq!(name.as_deref(), Some("virtio_rng"));
    assert_eq!(module_name(Path::new("modules.order")), None);
}

/// A folder for one test, named after it; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("duvisor-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lays out `/lib/modules/<release>`: a circle, a packed module, one built in.
fn module_tree(root: &Path) {
    let fs = root.join("kernel/fs");
    std::fs::create_dir_all(&fs).unwrap();
    let mut packed = Vec::new();
    let ext4 = module(b"depends=jbd2,crc16\0alias=fs-ext4\0");
    let mut encoder = liblzma::read::XzEncoder::new(ext4.as_slice(), 1);
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    std::fs::write(fs.join("ext4.ko.xz"), packed).unwrap();
    std::fs::write(fs.join("jbd2.ko"), module(b"depends=crc16,libcrc\0")).unwrap();
    std::fs::write(fs.join("crc16.ko"), module(b"depends=jbd2\0")).unwrap();
    std::fs::write(fs.join("junk.ko"), b"junk").unwrap();
    std::fs::write(fs.join("junk2.ko.xz"), b"junk").unwrap();
    std::fs::write(root.join("modules.builtin"), "kernel/lib/libcrc.ko\n").unwrap();
}

#[test]
fn modules_are_selected_after_what_they_need() {
    let folder = Folder::new("modules");
    module_tree(&folder.0);
    let index = Index::of(&folder.0).unwrap();
    let selection = index.select(&["ext4", "libcrc"], &["absent"]).unwrap();
    let names: Vec<&str> = selection.modules.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["crc16", "jbd2", "ext4"]);
    let expected = "\
kernel/fs/crc16.ko: kernel/fs/jbd2.ko kernel/fs/crc16.ko
kernel/fs/jbd2.ko: kernel/fs/jbd2.ko kernel/fs/crc16.ko
kernel/fs/ext4.ko: kernel/fs/jbd2.ko kernel/fs/crc16.ko
";
    assert_eq!(selection.dep_file(), expected);
    assert_eq!(selection.alias_file(), "alias fs-ext4 ext4\n");

    let fails = |name: &str| index.select(&[name], &[]).unwrap_err().to_string();
    assert_eq!(fails("absent"), "the kernel package has no module absent");
    assert!(fails("junk").ends_with("it has no readable .modinfo section"), "{}", fails("junk"));
    assert!(fails("junk2").contains("is not an xz file"), "{}", fails("junk2"));
}

#[test]
fn cpio_bytes_are_those_of_gnu_cpio() {
    let mut tree = Tree::default();
    tree.add("a/b", Node::File { mode: 0o644, bytes: b"hello".to_vec() });
    tree.add("c", Node::CharDevice { major: 5, minor: 1 });
    tree.add("l", Node::Link { target: "a/b".to_owned() });
    // What `cpio --create --format=newc --reproducible` writes, but for inode and device numbers:
    // magic, ino, mode, uid, gid, nlink, mtime, filesize, 2 x device, 2 x rdev, namesize, check.
    let expected = "\
070701 00000001 000041ed 0 0 00000002 0 00000000 0 0 00000000 00000000 00000002 0 a@
070701 00000002 000081a4 0 0 00000001 0 00000005 0 0 00000000 00000000 00000004 0 a/b@@@hello@@@
070701 00000003 00002180 0 0 00000001 0 00000000 0 0 00000005 00000001 00000002 0 c@
070701 00000004 0000a1ff 0 0 00000001 0 00000003 0 0 00000000 00000000 00000002 0 l@a/b@
070701 00000000 00000000 0 0 00000001 0 00000000 0 0 00000000 00000000 0000000b 0 TRAILER!!!@@@@";
    let expected = expected.replace(" 0 0 ", " 00000000 00000000 ").replace(" 0 ", " 00000000 ");
    let expected = expected.replace([' ', '\n'], "").replace('@', "\0");
    assert_eq!(String::from_utf8(tree.archive().unwrap()).unwrap(), expected);
}

#[test]
fn the_initrd_holds_what_the_kernel_looks_for() {
    let ext4 = Module {
        name: "ext4".to_owned(),
        path: "kernel/fs/ext4.ko".to_owned(),
        bytes: b"module".to_vec(),
        info: Info::default(),
    };
    let selection = || Selection { modules: vec![ext4.clone()] };
    let archive = initrd::build(b"busybox".to_vec(), selection(), "6.12").unwrap();
    assert_eq!(archive, initrd::build(b"busybox".to_vec(), selection(), "6.12").unwrap());
    let text = String::from_utf8(archive).unwrap();
    for name in ["init", "dev/console", "bin/sh", "lib/modules/6.12/kernel/fs/ext4.ko", "proc"] {
        assert!(text.contains(&format!("{name}\0")), "{name}");
    }
    assert!(text.contains("#!/bin/sh\n"));
    assert!(text.contains("kernel/fs/ext4.ko:\n"));
}

fn install(folder: &Path, kernel_path: &str) -> Debian {
    let package = Package { name: "busybox-static".to_owned(), version: "1:1.37".to_owned() };
    std::fs::create_dir_all(folder.join("6.12")).unwrap();
    write_whole(&folder.join("6.12/kernel"), b"kernel").unwrap();
    write_whole(&folder.join("6.12/initrd.cpio"), b"initrd").unwrap();
    let files = [
        describe(kernel_path.to_owned(), b"kernel"),
        describe("6.12/initrd.cpio".to_owned(), b"initrd"),
    ];
    let manifest = Manifest::new(1, "trixie", vec![package], "6.12".to_owned(), files);
    Debian::install(folder, manifest).unwrap()
}

#[test]
fn an_installed_guest_is_found_and_checked() {
    let folder = Folder::new("installed");
    let there = |path: &Path| Debian::installed(path).unwrap();
    assert_eq!(there(&folder.0), None);
    let debian = install(&folder.0, "6.12/kernel");
    assert_eq!(there(&folder.0), Some(debian.clone()));
    assert_eq!(debian.read().unwrap(), (b"kernel".to_vec(), b"initrd".to_vec()));
    std::fs::write(debian.kernel(), b"kernal").unwrap();
    assert!(matches!(debian.read(), Err(InstalledError::Changed(_))));
    std::fs::remove_file(debian.kernel()).unwrap();
    assert!(matches!(debian.read(), Err(InstalledError::Read { .. })));
}

#[test]
fn a_damaged_manifest_is_said_to_be_so() {
    let folder = Folder::new("manifest");
    install(&folder.0, "../kernel");
    let installed = || Debian::installed(&folder.0).unwrap_err();
    assert!(matches!(installed(), InstalledError::Outside(_)));
    install(&folder.0, "/etc/passwd");
    assert!(matches!(installed(), InstalledError::Outside(_)));
    let path = folder.0.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(matches!(installed(), InstalledError::Format { found: 2, .. }));
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(installed(), InstalledError::Manifest { .. }));
}

proptest! {
    #[test]
    fn source_lists_never_panic(
        text in "(deb|Types|URIs|[ \t\n:#\\[\\]=a-z/é-]|signed-by=/){0,60}",
    ) {
        let entries = [one_line(&text), deb822(&text)].concat();
        if let Some(source) = debian_archive(&entries) {
            prop_assert!(usable_uri(&source.uri));
        }
        let _ = apt::stanza(&text);
        let kept = apt::acquire_settings(&text);
        prop_assert!(kept.lines().all(|line| line.starts_with("Acquire::")));
    }

    #[test]
    fn mutated_modules_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = module(b"depends=a,b\0alias=c\0");
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        let _ = info(&file);
        let _ = info(&file[..cut.index(file.len())]);
    }
}
