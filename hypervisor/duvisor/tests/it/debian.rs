//! Linux: Debian's own kernel reaches its shell, reboots, powers off, and keeps a disk in order.
//!
//! The guest is fetched, not committed. Without it these tests say that they were left out, unless
//! `DUVISOR_REQUIRE_GUESTS` is set: then they fail.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{Ran, duvisor, json_lines, run, scratch, scratch_with, text, variant};
use crate::recordings::{fresh, replays};

/// What makes the boot short; the last of two consoles is the shell's.
const APPEND: &str = "console=ttyS0 quiet cryptomgr.notests";
/// Several times what the longest of these runs takes.
const STEPS_MAX: &str = "20000000000";

fn required() -> bool {
    std::env::var_os("DUVISOR_REQUIRE_GUESTS").is_some_and(|value| value == "1")
}

/// Something that is missing: a failure where it is required, otherwise a printed line.
#[expect(clippy::print_stderr, reason = "what a test leaves out, it says")]
pub(crate) fn left_out(what: &str) -> bool {
    assert!(!required(), "{what}");
    eprintln!("LEFT OUT: {what}");
    false
}

pub(crate) fn fetched() -> bool {
    duvisor(&["guest", "path", "debian"]).code == Some(0)
        || left_out("the Debian guest is not here: run `duvisor guest fetch debian`")
}

/// A tool of e2fsprogs, which may be where only root looks for programs.
fn e2fs(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(tool)).find(|file| file.exists());
    if found.is_none() {
        left_out(&format!("{tool} is not here: install e2fsprogs"));
    }
    found
}

fn boot(script: &str, args: &[&str]) -> Ran {
    let mut all = vec!["--append", APPEND, "--max-steps", STEPS_MAX, "--script", script];
    all.extend(args);
    run("debian", &all)
}

/// The command line of the same run.
pub(crate) fn boot_args<'a>(script: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["run", "debian", "--headless", "--warp", "--append", APPEND];
    all.extend(["--max-steps", STEPS_MAX, "--script", script]);
    all.extend(args);
    all
}

#[test]
fn it_reaches_its_shell_and_powers_off_the_same_way_each_time() {
    if !fetched() {
        return;
    }
    let script = scratch_with(
        "shell.script",
        "expect ~ #\nsend uname -m; nproc\nexpect ~ #\nsend poweroff -f\n",
    );
    for vcpus in ["1", "4"] {
        let first = boot(&script, &["-c", vcpus, "--digest"]).ended(0);
        assert!(first.out.contains(&format!("riscv64\r\n{vcpus}\r\n")), "{}", first.out);
        assert!(first.err.contains("the guest powered off"), "{}", first.err);
        assert_eq!(first.line("driver calls after start:"), "0");
        let again = boot(&script, &["-c", vcpus, "--digest"]).ended(0);
        let few = boot(&script, &["-c", vcpus, "--digest", "--blocks", "64"]).ended(0);
        assert_eq!(first.digests(), again.digests(), "-c {vcpus}");
        assert_eq!(first.digests(), few.digests(), "-c {vcpus} --blocks 64");
    }
}

/// One block is decoded again at every jump, so only the begin of a boot is looked at.
#[test]
fn a_cache_of_one_block_cannot_be_seen() {
    if !fetched() {
        return;
    }
    let begin = |blocks: &str| {
        let limit = ["-c", "2", "--append", APPEND, "--max-steps", "60000000"];
        let mut args = vec!["--digest", "--blocks", blocks];
        args.extend(limit);
        run("debian", &args).ended(124)
    };
    assert_eq!(begin("1").digests(), begin("65536").digests());
}

#[test]
fn a_reboot_starts_it_anew_in_the_same_run() {
    if !fetched() {
        return;
    }
    let script = scratch_with(
        "reboot.script",
        "expect ~ #\nsend touch /gone; reboot -f\nexpect ~ #\nsend ls /; poweroff -f\n",
    );
    let file = text(scratch("reboot.jsonl"));
    let ran = boot(&script, &["-c", "2", "--events", &file]).ended(0);
    let events = json_lines(&std::fs::read_to_string(&file).unwrap());
    let states = events.iter().filter(|event| event["event"] == "vm");
    let states: Vec<String> = states.map(|event| variant(&event["state"])).collect();
    let expected = ["started", "vcpu_started 1", "resetting", "started", "vcpu_started 1"];
    assert_eq!(states[..5], expected);
    assert_eq!(states[5..], ["ended power_off"]);
    assert!(ran.out.contains("resets: 1"), "{}", ran.out);
    assert_eq!(ran.line("driver calls after start:"), "0");
    let (_, second) = ran.out.split_once("reboot: Restarting system").unwrap();
    assert!(!second.contains("gone"), "{second}");
}

#[test]
fn without_a_reboot_the_run_ends_there() {
    if !fetched() {
        return;
    }
    let script = scratch_with("no-reboot.script", "expect ~ #\nsend reboot -f\n");
    let ran = boot(&script, &["--no-reboot"]).ended(0);
    assert!(ran.err.contains("the guest asked for a reset"), "{}", ran.err);
}

/// An ext4 image with one file in it.
pub(crate) fn image(name: &str) -> Option<PathBuf> {
    let make = e2fs("mke2fs")?;
    let folder = scratch(&format!("{name}.d"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("from-host"), "a file of the host\n").unwrap();
    let image = scratch(name);
    std::fs::write(&image, []).unwrap();
    let made = Command::new(make)
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .args([&folder, &image])
        .arg("16M")
        .output()
        .unwrap();
    assert!(made.status.success(), "mke2fs: {}", String::from_utf8_lossy(&made.stderr));
    Some(image)
}

/// Mounts the disk, reads the host's file and writes one.
pub(crate) fn disk_script(name: &str, mount: &str) -> String {
    let lines = format!(
        "expect ~ #\n\
         send mount -t ext4 {mount} /dev/vda /mnt && cat /mnt/from-host\n\
         expect ~ #\n\
         send seq 1 100000 >/mnt/numbers; cp /mnt/numbers /mnt/copy; mkdir /mnt/d; sync\n\
         expect ~ #\n\
         send cmp /mnt/numbers /mnt/copy && echo same; cut -c1-4 /sys/block/vda/ro\n\
         expect ~ #\n\
         send umount /mnt; poweroff -f\n"
    );
    scratch_with(name, lines)
}

/// The image as `e2fsck` and `debugfs` of the host see it: clean, and what is in `file`.
fn look_into(image: &Path, file: &str) -> Option<String> {
    let (check, debug) = (e2fs("e2fsck")?, e2fs("debugfs")?);
    let checked = Command::new(check).arg("-fn").arg(image).output().unwrap();
    assert!(checked.status.success(), "e2fsck: {}", String::from_utf8_lossy(&checked.stdout));
    let read = Command::new(debug).args(["-R", &format!("cat {file}")]).arg(image).output();
    Some(String::from_utf8_lossy(&read.unwrap().stdout).into_owned())
}

#[test]
fn what_it_writes_to_a_writable_disk_is_there_and_in_order() {
    if !fetched() {
        return;
    }
    let Some(image) = image("rw.img") else { return };
    let script = disk_script("rw.script", "");
    let disk = format!("{},rw", text(image.clone()));
    let ran = boot(&script, &["-c", "4", "--disk", &disk]).ended(0);
    assert!(ran.out.contains("a file of the host\r\n"), "{}", ran.out);
    assert!(ran.out.contains("same\r\n"), "{}", ran.out);
    let Some(numbers) = look_into(&image, "/copy") else { return };
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(numbers == expected, "the copy differs: {} bytes", numbers.len());
}

#[test]
fn a_disk_is_left_alone_unless_it_is_writable() {
    if !fetched() {
        return;
    }
    let Some(image) = image("private.img") else { return };
    let before = std::fs::read(&image).unwrap();
    let script = disk_script("private.script", "");
    let path = text(image.clone());
    let private = boot(&script, &["--disk", &path, "--digest"]).ended(0);
    assert!(private.out.contains("same\r\n"), "{}", private.out);
    assert!(std::fs::read(&image).unwrap() == before, "the image changed");
    let again = boot(&script, &["--disk", &path, "--digest", "--blocks", "64"]).ended(0);
    assert_eq!(private.digests(), again.digests());

    let script = disk_script("ro.script", "-o ro");
    let refused = boot(&script, &["--disk", &format!("{path},ro")]).ended(0);
    assert!(refused.out.contains("a file of the host\r\n"), "{}", refused.out);
    assert!(refused.out.contains("Read-only file system"), "{}", refused.out);
    assert!(!refused.out.contains("same\r\n"), "{}", refused.out);
    assert!(std::fs::read(&image).unwrap() == before, "the image changed");
}

/// In the middle of its boot, and where it has written to a disk whose image has changed since.
#[test]
fn a_recorded_boot_goes_on_from_its_middle_to_the_shell() {
    if !fetched() {
        return;
    }
    let Some(image) = image("resumed.img") else { return };
    let disk = format!("{},rw", text(image.clone()));
    let file = fresh("debian.dvt");
    let script = disk_script("recorded-disk.script", "");
    boot(&script, &["-c", "2", "--disk", &disk, "--record", &file]).ended(0);
    let again = fresh("debian-again.dvt");
    for (at, first) in [("30%", "expect ~ #\n"), ("97%", "")] {
        let script = format!("{first}send echo; uname -m; nproc; poweroff -f\nexpect riscv64\n");
        let script = scratch_with("resumed-shell.script", script);
        let restore = ["snapshot", "restore", &file, "--at", at, "--headless", "--warp"];
        let options = ["--max-steps", STEPS_MAX, "--script", &script, "--record", &again];
        let ran = duvisor(&[&restore[..], &options].concat()).ended(0);
        assert!(ran.out.contains("riscv64\r\n2\r\n"), "{at}: {}", ran.out);
        replays(&again);
        std::fs::remove_file(&again).unwrap();
    }
    // What was read, and is not on record itself as it was written over, has to be what it was.
    let records = duvisor(&["trace", "cat", "--json", "--kind", "record", &file]).ended(0).out;
    let records = json_lines(&records);
    let numbers = |record: &str| -> Vec<u64> {
        let of_kind = records.iter().filter(|it| it["record"] == record);
        of_kind.map(|it| it["block"].as_u64().unwrap()).collect()
    };
    let (read, before) = (numbers("disk_read"), numbers("pre_image"));
    let mut pages = read.iter().flat_map(|block| block * 16..block * 16 + 16);
    let page = pages.find(|page| !before.contains(page)).unwrap();
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[usize::try_from(page).unwrap() * 4096 + 77] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    let ran = duvisor(&["replay", "--verify", &file]).ended(2);
    let said = format!("block {} (64 KiB each) of the disk image has the hash ", page / 16);
    assert!(ran.err.contains(&said), "{}", ran.err);
    assert!(ran.err.contains(", it was recorded with "), "{}", ran.err);
}
