//! Every row and every compressed encoding against `objdump`, where a RISC-V one is installed.
//!
//! Slow, hence behind `RUN_SLOW_TESTS`. DV-ext is left out: binutils does not know it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use isa::csr::{CSRS, Group};
use isa::disasm::Text;
use isa::{Ext, Format, Insn, Op, ROWS};

const ARCH: &str =
    "rv64gch_zba_zbb_zbs_zicbom_zicbop_zicboz_zawrs_zihintpause_svinval_zicsr_zifencei";

/// The prefix of installed RISC-V binutils, if this test is to run.
fn toolchain(test: &str) -> Option<&'static str> {
    let prefixes = ["riscv64-linux-gnu-", "riscv64-unknown-elf-"];
    let installed = |prefix: &&str| {
        ["as", "objdump"]
            .iter()
            .all(|tool| Command::new(format!("{prefix}{tool}")).arg("--version").output().is_ok())
    };
    if std::env::var_os("RUN_SLOW_TESTS").is_none() {
        say(test, "RUN_SLOW_TESTS is not set");
        return None;
    }
    let found = prefixes.into_iter().find(installed);
    if found.is_none() {
        say(test, "no RISC-V binutils are installed");
    }
    found
}

#[expect(clippy::print_stdout, reason = "what was left out is to be seen")]
fn say(test: &str, why: &str) {
    println!("left out: {test}: {why}");
}

/// What `objdump` says at each address of the code that `source` assembles to.
fn disassemble(prefix: &str, name: &str, source: &str) -> BTreeMap<u64, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (asm, object) = (folder.join(format!("{name}.s")), folder.join(format!("{name}.o")));
    std::fs::write(&asm, source).unwrap();
    let assembled = Command::new(format!("{prefix}as"))
        .args([&format!("-march={ARCH}"), "-o"])
        .args([&object, &asm])
        .output()
        .unwrap();
    assert!(assembled.status.success(), "{}", String::from_utf8_lossy(&assembled.stderr));
    let dump = Command::new(format!("{prefix}objdump"))
        .args(["-d", "-z", "-M", "no-aliases"])
        .arg(&object)
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    String::from_utf8(dump.stdout).unwrap().lines().filter_map(parse_line).collect()
}

/// `   0:   00a58533    add  a0,a1,a0`, without comments and symbols.
fn parse_line(line: &str) -> Option<(u64, String)> {
    let (address, rest) = line.split_once(":\t")?;
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    let (_, text) = rest.split_once('\t')?;
    let text = text.split(" <").next()?.split(" #").next()?.trim();
    Some((address, text.replace('\t', " ")))
}

/// Our text with branch targets as `objdump` writes them.
fn as_objdump(insn: &Insn, pc: u64) -> String {
    let text = insn.text(pc).to_string();
    let jumps = ["beq", "bne", "blt", "bge", "jal ", "c.j ", "c.b"];
    match jumps.iter().any(|jump| text.starts_with(jump)) {
        true => text.replace("0x", ""),
        false => text,
    }
}

/// Words that binutils 2.40 reads in another way than we do: it takes for illegal the reserved bits
/// of fences, which are to be ignored, and the rounding mode of conversions that never round, and
/// it names CSRs that are not modelled.
fn is_known_difference(insn: &Insn, theirs: &str) -> bool {
    let strict = [Op::Fence, Op::FenceTso, Op::FenceI, Op::FcvtDS, Op::FcvtDW, Op::FcvtDWu]
        .contains(&insn.op);
    let on_csr = matches!(insn.row().fmt, Format::Csr | Format::CsrImm);
    (strict && theirs.starts_with(".4byte")) || (on_csr && insn.csr().name().is_none())
}

/// Halves that binutils 2.40 writes in another way: its name for the illegal half of all zeros, a
/// reserved encoding that it takes for legal, its spelling of `c.nop`, and the shifts by 64 of
/// RV128, which are hints here.
fn is_known_half(half: u16, theirs: &str) -> bool {
    matches!(
        (half, theirs),
        (0x0000, "c.unimp") | (0x6101, "c.addi16sp sp,0") | (0x0001, "c.addi zero,0")
    ) || ["c.slli64", "c.srli64", "c.srai64"].iter().any(|shift| theirs.starts_with(shift))
}

#[test]
fn rows_agree_with_objdump() {
    let Some(prefix) = toolchain("rows_agree_with_objdump") else { return };
    let mut state = 1u64;
    let mut words = Vec::new();
    for row in ROWS.iter().filter(|row| row.ext != Ext::Xdv) {
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = u32::try_from(state >> 32).unwrap();
            words.push(row.value | random & !row.mask);
        }
    }
    // Every CSR by name, and the fences without the bits that binutils is strict about.
    let known = CSRS.iter().filter(|row| !matches!(row.group, Group::Dv | Group::Hu));
    words.extend(known.map(|row| Op::Csrrs.row().value | u32::from(row.csr.0) << 20));
    words.extend((0..256).map(|sets| Op::Fence.row().value | sets << 20));
    words.extend([Op::FenceTso, Op::FenceI].map(|op| op.row().value));
    let mut source = String::new();
    for word in &words {
        writeln!(source, ".insn 4, {word:#x}").unwrap();
    }
    let theirs = disassemble(prefix, "rows", &source);
    assert_eq!(theirs.len(), words.len());
    let mut differences = String::new();
    for ((&pc, theirs), &word) in theirs.iter().zip(&words) {
        let insn = isa::decode(word).unwrap();
        let ours = as_objdump(&insn, pc);
        if ours != *theirs && !is_known_difference(&insn, theirs) {
            writeln!(differences, "{word:08x} ours {ours:?} theirs {theirs:?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn compressed_encodings_agree_with_objdump() {
    let Some(prefix) = toolchain("compressed_encodings_agree_with_objdump") else { return };
    let halves: Vec<u16> = (0..=u16::MAX).filter(|half| half & 3 != 3).collect();
    let mut source = String::new();
    for half in &halves {
        writeln!(source, ".insn 2, {half:#x}").unwrap();
    }
    let theirs = disassemble(prefix, "halves", &source);
    assert_eq!(theirs.len(), halves.len());
    let mut differences = String::new();
    for ((&pc, theirs), &half) in theirs.iter().zip(&halves) {
        let ours = match isa::decode16(half) {
            Some(insn) => as_objdump(&insn, pc),
            None => Text::of_word(u32::from(half), pc).to_string(),
        };
        if ours != *theirs && !is_known_half(half, theirs) {
            writeln!(differences, "{half:04x} ours {ours:?} theirs {theirs:?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// The two words that the tables were started from.
#[test]
fn words_verified_by_hand() {
    let text = |word| Text::of_word(word, 0).to_string();
    assert_eq!(text(0x6200_0073), "hfence.gvma zero,zero");
    assert_eq!(text(0x6803_42f3), "hlv.w t0,(t1)");
    assert_eq!(Op::HfenceGvma.row().value, 0x6200_0073);
}
