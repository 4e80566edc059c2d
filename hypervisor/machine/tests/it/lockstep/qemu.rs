//! QEMU as a second opinion: tame programs, of which the sum of all data at the end is compared.

use std::path::Path;
use std::process::{Command, Stdio};

use super::compare::{End, Ours};
use super::elf;
use super::layout::RAM_BASE;
use super::program::{FROMHOST, Program, TOHOST};

/// What the two have in common; QEMU 7.2 is old enough to lack the rest.
const CPU: &str = "rv64,h=true,svinval=true,svnapot=true,svpbmt=true";
/// Seconds after which a program hangs.
const PATIENCE: &str = "20";

/// The sum as the program prints it: a letter for each four bits.
fn letters(sum: u64) -> String {
    (0..16).rev().map(|i| char::from(b'a' + (sum >> (4 * i) & 15) as u8)).collect()
}

/// Runs a seed on both; tells whether it came to its end here, and then what differs.
pub(crate) fn compare(qemu: &Path, file: &Path, seed: u64) -> Option<Result<(), String>> {
    let program = Program::tame(seed);
    let mut ours = Ours::new(&program);
    let (end, steps, _) = ours.run_alone(&program);
    if end != End::Done || ours.strayed() {
        return None;
    }
    let sum = letters(ours.x(10));
    std::fs::write(file, elf::file(RAM_BASE, program.image.bytes(), TOHOST, FROMHOST)).unwrap();
    let output = Command::new("timeout")
        .arg(PATIENCE)
        .arg(qemu)
        .args(["-machine", "virt", "-cpu", CPU, "-m", "64M", "-bios", "none", "-nographic"])
        .args(["-monitor", "none", "-serial", "stdio", "-kernel"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|err| panic!("{} does not run: {err}", qemu.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    let theirs = text.trim_end().lines().last().unwrap_or("").trim();
    if theirs == sum {
        return Some(Ok(()));
    }
    Some(Err(format!("seed {seed}: ours {sum} after {steps} steps, QEMU {theirs:?}")))
}
