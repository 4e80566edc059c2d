//! Hostile files: whatever a program, image, initrd, tree, script or disk holds, the program ends
//! with a code of its own, and says little.
//!
//! `HOSTILE_SEEDS=0..10000 cargo test -p duvisor --test it hostile` runs these seeds.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::program::{duvisor, prebuilt, scratch_with, text};
use crate::programs::{ENTRY, FAULTS_FOR_EVER, PADDR, TO_NOWHERE, WAITS_FOR_NOTHING, elf};

/// Runs when nobody asks for others.
const SEEDS: std::ops::Range<u64> = 0..120;
const MAX_STEPS: &str = "20000";
/// One sentence, with whatever names and numbers are in it.
const ERR_MAX: usize = 4096;
/// What a guest can write in so many steps, and the report.
const OUT_MAX: usize = 4 << 20;
const GUESTS: [&str; 8] =
    ["hello", "timer", "ipi", "smc", "uart_irq", "mmio_widths", "sbi_probe", "demo"];

/// Offsets of fields of an ELF file and its first segment, and their bytes.
#[rustfmt::skip]
const FIELDS: [(usize, usize); 20] = [
    (4, 1), (5, 1), (16, 2), (18, 2), (24, 8), (24, 8), (32, 8), (40, 8), (52, 2), (54, 2), (56, 2),
    (58, 2), (60, 2), (PADDR - 24, 4), (PADDR - 16, 8), (PADDR - 8, 8), (PADDR, 8), (PADDR + 8, 8),
    (PADDR + 16, 8), (PADDR + 24, 8),
];

/// A number that a field of a header may be wrong by.
fn number(dice: &mut Dice) -> u64 {
    match dice.below(10) {
        0 => 0,
        1 => dice.below(256),
        2 => 1 << dice.below(64),
        3 => u64::MAX - dice.below(4096),
        4 | 5 => ENTRY + dice.below(0x2000),
        6 => 0x8000_0000 + dice.below(128 << 20),
        7 => 0x8800_0000 - dice.below(3),
        8 => 1 << 40,
        _ => dice.roll(),
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    let end = file.len().min(at + bytes.len());
    if at < end {
        file[at..end].copy_from_slice(&bytes[..end - at]);
    }
}

/// A program, more or less.
fn program(dice: &mut Dice) -> Vec<u8> {
    let mut file = match dice.below(6) {
        0 => {
            let n = dice.between(1, 300);
            elf(&(0..n).map(|_| dice.word()).collect::<Vec<_>>())
        }
        1 => image(dice),
        2 => elf(dice.pick(&[WAITS_FOR_NOTHING, TO_NOWHERE, FAULTS_FOR_EVER])),
        _ => std::fs::read(prebuilt(dice.pick(&GUESTS))).unwrap(),
    };
    for _ in 0..dice.pick(&[0, 0, 1, 1, 1, 5]) {
        let (field, n) = dice.pick(&FIELDS);
        let (bytes, at) = (number(dice).to_le_bytes(), dice.below(file.len() as u64));
        let at = usize::try_from(at).unwrap();
        match dice.below(6) {
            0 => file.truncate(at.max(1)),
            1 => file.extend(dice.bytes(300)),
            2 => put(&mut file, at, &bytes),
            // A second program header, or whatever is there.
            3 => put(&mut file, field + 56, &bytes[..n]),
            _ => put(&mut file, field, &bytes[..n]),
        }
    }
    file
}

/// A Linux image with a header that may be wrong, and code that may be anything.
fn image(dice: &mut Dice) -> Vec<u8> {
    let n = dice.between(64, 4000);
    let mut file = dice.bytes(n);
    let (offset, size) = (dice.pick(&[0, 0x20_0000, 1 << 40]), dice.pick(&[0, 4096, u64::MAX]));
    let (offset, size) = if dice.one_in(8) { (number(dice), number(dice)) } else { (offset, size) };
    put(&mut file, 0, &0x0400_006f_u32.to_le_bytes());
    put(&mut file, 8, &offset.to_le_bytes());
    put(&mut file, 16, &size.to_le_bytes());
    put(&mut file, 24, &dice.pick(&[0_u64, 0, 0, 1]).to_le_bytes());
    put(&mut file, 48, b"RISCV\0\0\0RSC\x05");
    file
}

/// A device tree of the program's own, with some bytes changed.
fn tree(dice: &mut Dice) -> Vec<u8> {
    let path = scratch_with("hostile-good.dtb", "");
    duvisor(&["run", "hello", "--dump-dtb", &path]).ended(0);
    let mut blob = std::fs::read(path).unwrap();
    for _ in 0..dice.pick(&[1, 4, 100]) {
        let at = usize::try_from(dice.below(blob.len() as u64)).unwrap();
        let at = if dice.coin() { at % 40 } else { at };
        blob[at] = dice.byte();
    }
    blob
}

fn script(dice: &mut Dice) -> Vec<u8> {
    let lines =
        ["send x", "expect $", "sleep 1ms", "sleep 99999999999999999999s", "#", "send", "?"];
    let n = dice.below(8);
    let mut script: Vec<u8> =
        (0..n).flat_map(|_| format!("{}\n", dice.pick(&lines)).into_bytes()).collect();
    if dice.one_in(4) {
        script.extend(dice.bytes(20));
    }
    script
}

/// The options of a run, whose files have names of their own.
fn arguments(seed: u64, dice: &mut Dice) -> Vec<String> {
    let guest = scratch_with("hostile.elf", program(dice));
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut args = if dice.one_in(3) {
        vec!["machine".to_owned(), guest]
    } else {
        let mut run = vec!["run".to_owned(), guest, "--headless".to_owned(), "--warp".to_owned()];
        run.extend(words(dice.pick(&["--leaf 4k", "--leaf 2m", "--no-reboot", "-c 4", "-c 8"])));
        run
    };
    args.extend(words(&format!("--max-steps {MAX_STEPS} --seed {seed}")));
    let more = ["-m 3M", "-m 32M", "--quantum 1", "--blocks 1", "--isa no-c", "--isa rv64g"];
    if dice.one_in(3) {
        args.extend(words(dice.pick(&more)));
    }
    let mut file = |dice: &mut Dice, option: &str, content: Vec<u8>, after: &str| {
        if dice.one_in(10) {
            let path = scratch_with(&format!("hostile{option}"), content);
            args.extend([option.to_owned(), path + after]);
        }
    };
    let sectors = dice.pick(&[0, 511, 512, 4096, 5000]);
    let (disk, initrd) = (dice.bytes(sectors), dice.bytes(1000));
    let after = dice.pick(&["", ",ro", ",rw"]);
    file(dice, "--disk", disk, after);
    file(dice, "--initrd", initrd, "");
    let blob = if dice.one_in(4) { tree(dice) } else { dice.bytes(100) };
    file(dice, "--dtb", blob, "");
    let typed = script(dice);
    file(dice, "--script", typed, "");
    args
}

/// The seeds of the environment, as in `vmm`.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("HOSTILE_SEEDS").ok();
    let ends = asked.as_deref().map(|text| text.split_once("..").expect("two numbers: A..B"));
    ends.map_or(SEEDS, |(begin, end)| begin.parse().unwrap()..end.parse().unwrap())
}

#[test]
fn hostile_files_end_with_a_code_and_a_sentence() {
    let mut codes: BTreeMap<i32, u64> = BTreeMap::new();
    for seed in seeds() {
        let mut dice = Dice(seed);
        let args = arguments(seed, &mut dice);
        let ran = duvisor(&args.iter().map(String::as_str).collect::<Vec<_>>());
        // No code: a signal.
        let code = ran.code.filter(|code| matches!(code, 0 | 1 | 2 | 124));
        let little = ran.err.len() <= ERR_MAX && ran.out.len() <= OUT_MAX;
        let said = code == Some(0) || !ran.err.is_empty();
        assert!(
            code.is_some() && little && said,
            "HOSTILE_SEEDS={seed}..{} cargo test -p duvisor --test it hostile\n\
             {args:?}\ncode {:?}, {} bytes of output\n{}",
            seed + 1,
            ran.code,
            ran.out.len(),
            ran.err,
        );
        *codes.entry(code.unwrap_or_default()).or_default() += 1;
    }
    if std::env::var_os("HOSTILE_SEEDS").is_none() {
        for code in [0, 1, 2, 124] {
            assert!(codes.get(&code).is_some_and(|n| *n > 3), "code {code}: {codes:?}");
        }
    }
}

/// A program that is only named: what the file system has for it.
#[test]
fn files_that_are_no_files() {
    for path in ["/", "/dev/null", &text(prebuilt("hello").join("x"))] {
        for args in [
            vec!["run", path, "--headless"],
            vec!["machine", path],
            vec!["run", "hello", "--headless", "--disk", path],
            vec!["run", "hello", "--headless", "--dtb", path],
        ] {
            let ran = duvisor(&args).ended(2);
            assert!(ran.err.lines().count() == 1 && ran.out.is_empty(), "{args:?}: {ran:?}");
        }
    }
}
