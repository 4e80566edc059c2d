//! Tests of the tables: nothing stands twice, everything can be found and goes both ways.

use std::collections::BTreeSet;
use std::string::ToString;
use std::vec::Vec;

use crate::compressed::{CROWS, expand, row_of};
use crate::csr::{CSRS, Csr};
use crate::ext::{Ext, Extensions};
use crate::fields::{HSTATUS, HUSTATUS, MSTATUS, PTE};
use crate::insn::{Op, ROWS, Row};
use crate::{Cause, Exception, Insn, Interrupt, Mode, decode, decode16, encode, fetch_len, reg};

/// Numbers without a pattern, the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) >> 32).unwrap()
    }
}

/// The most specific row that matches, found the slow way.
fn scan(word: u32) -> Option<&'static Row> {
    ROWS.iter().filter(|row| row.matches(word)).max_by_key(|row| row.mask.count_ones())
}

#[test]
fn rows_are_in_order_and_named_once() {
    for (i, row) in ROWS.iter().enumerate() {
        assert_eq!(row.op as usize, i);
        assert_eq!(row.op.row(), row);
        assert_eq!(Op::from_mnemonic(row.mnemonic), Some(row.op));
        let camel: std::string::String = std::format!("{:?}", row.op).to_lowercase();
        assert_eq!(camel, row.mnemonic.replace('.', ""), "a mnemonic that names its neighbour");
    }
    assert_eq!(ROWS.iter().map(|row| row.mnemonic).collect::<BTreeSet<_>>().len(), ROWS.len());
}

#[test]
fn no_word_decodes_two_ways() {
    for (i, a) in ROWS.iter().enumerate() {
        for b in &ROWS[i + 1..] {
            let overlap = (a.value ^ b.value) & a.mask & b.mask == 0;
            // A hint may be carved out of another instruction.
            let nested = a.mask != b.mask && [a.mask, b.mask].contains(&(a.mask | b.mask));
            assert!(!overlap || nested, "{} and {}", a.mnemonic, b.mnemonic);
        }
    }
}

#[test]
fn only_hints_are_carved_out_of_others() {
    let mut inner = BTreeSet::new();
    for a in &ROWS {
        for b in ROWS.iter().filter(|b| b.op != a.op && b.matches(a.value)) {
            if b.mask & !a.mask == 0 {
                inner.insert((a.mnemonic, b.mnemonic));
            }
        }
    }
    let known = [
        ("fence.tso", "fence"),
        ("pause", "fence"),
        ("prefetch.i", "ori"),
        ("prefetch.r", "ori"),
        ("prefetch.w", "ori"),
    ];
    assert_eq!(inner, BTreeSet::from(known));
}

#[test]
fn each_row_round_trips() {
    let mut numbers = Numbers(1);
    for row in &ROWS {
        for _ in 0..200 {
            let word = row.value | numbers.word() & !row.mask;
            let insn = decode(word).unwrap();
            assert_eq!(insn.op, scan(word).unwrap().op, "{word:#010x}");
            assert_eq!((insn.raw, insn.len), (word, 4));
            let again = decode(encode(&insn)).unwrap();
            assert_eq!(Insn { raw: word, ..again }, insn, "{word:#010x}");
        }
    }
}

/// All operand bits are kept: a word differs from its re-encoding only where bits are reserved.
#[test]
fn encoding_keeps_all_bits() {
    let mut numbers = Numbers(2);
    for row in &ROWS {
        let word = row.value | numbers.word() & !row.mask;
        if decode(word).map(|insn| insn.op) == Some(row.op) {
            let lost = encode(&decode(word).unwrap()) ^ word;
            let reserved = if row.op == Op::FenceTso {
                0x000f_8f80
            } else if row.op == Op::FenceI {
                0xffff_8f80
            } else {
                0
            };
            assert_eq!(lost & !reserved, 0, "{} {word:#010x}", row.mnemonic);
        }
    }
}

#[test]
fn decode_agrees_with_a_linear_scan() {
    let mut numbers = Numbers(3);
    for _ in 0..200_000 {
        let word = numbers.word() | 3;
        assert_eq!(decode(word).map(|i| i.op), scan(word).map(|row| row.op), "{word:#010x}");
    }
}

#[test]
fn anchors() {
    let op = |word| decode(word).map(|insn| insn.op);
    assert_eq!(op(0x6200_0073), Some(Op::HfenceGvma));
    assert_eq!(op(0x0020_0073), Some(Op::Huret));
    assert_eq!(op(0xe200_0073), Some(Op::HufenceGvma));
    assert_eq!(op(0xa200_0073), Some(Op::HufenceVvma));
    assert_eq!(op(0x1050_0073), Some(Op::Wfi));
    assert_eq!(op(0x0100_000f), Some(Op::Pause));
    assert_eq!(op(0x8330_000f), Some(Op::FenceTso));
    assert_eq!(op(0x0ff0_000f), Some(Op::Fence));
    assert_eq!(op(0xee00_4073), Some(Op::HusvD));
    assert_eq!(op(0xe410_4073), Some(Op::HulvHu));
    assert_eq!(op(0xe830_4073), Some(Op::HulvxWu));
    assert_eq!(op(0), None);
    assert_eq!(op(u32::MAX), None);
    let hlv = decode(0x6803_42f3).unwrap();
    assert_eq!((hlv.op, hlv.rd, hlv.rs1), (Op::HlvW, 5, 6));
    let jump = decode(0xffdf_f0ef).unwrap();
    assert_eq!((jump.op, jump.rd, jump.imm), (Op::Jal, 1, -4));
}

#[test]
fn dv_forms_are_those_of_h_with_bit_31_set() {
    for row in ROWS.iter().filter(|row| row.ext == Ext::Xdv && row.op != Op::Huret) {
        let plain = Op::from_mnemonic(&row.mnemonic.replacen("hu", "h", 1)).unwrap().row();
        assert_eq!((row.value, row.mask, row.fmt), (plain.value | 1 << 31, plain.mask, plain.fmt));
    }
}

#[test]
fn compressed_forms_expand_to_what_they_decode_to() {
    for half in 0..=u16::MAX {
        let long = expand(half).map(|word| decode(word).unwrap());
        let short = decode16(half);
        assert_eq!(
            long.map(|insn| Insn { raw: u32::from(half), len: 2, ..insn }),
            short,
            "{half:#06x}"
        );
        assert_eq!(decode(u32::from(half)).is_some() && half & 3 != 3, short.is_some());
        assert!(fetch_len(half) == 2 || short.is_none());
    }
    let used: BTreeSet<_> = (0..=u16::MAX).filter_map(row_of).map(|row| row.op).collect();
    assert_eq!(used.len(), CROWS.len());
}

#[test]
fn compressed_anchors() {
    assert_eq!(expand(0x0001), Some(0x0000_0013)); // c.nop
    assert_eq!(expand(0x8082), Some(0x0000_8067)); // ret
    assert_eq!(expand(0x9002), Some(0x0010_0073)); // c.ebreak
    assert_eq!(expand(0x87aa), Some(0x00a0_07b3)); // c.mv a5,a0
    assert_eq!(expand(0x0000), None);
    assert_eq!(expand(0x8002), None); // c.jr zero
}

/// `c.sub` stands for `sub` and so on; the few whose name does not say it are named here.
#[test]
fn compressed_forms_stand_for_what_their_name_says() {
    let others = std::collections::BTreeMap::from([
        ("c.addi4spn", Op::Addi),
        ("c.nop", Op::Addi),
        ("c.li", Op::Addi),
        ("c.addi16sp", Op::Addi),
        ("c.j", Op::Jal),
        ("c.beqz", Op::Beq),
        ("c.bnez", Op::Bne),
        ("c.jr", Op::Jalr),
        ("c.mv", Op::Add),
    ]);
    for half in 0..=u16::MAX {
        let (Some(row), Some(insn)) = (row_of(half), decode16(half)) else { continue };
        let plain = row.mnemonic.trim_start_matches("c.").trim_end_matches("sp");
        let wanted = others.get(row.mnemonic).copied().or_else(|| Op::from_mnemonic(plain));
        assert_eq!(Some(insn.op), wanted, "{half:#06x} {}", row.mnemonic);
    }
}

#[test]
fn texts() {
    let text = |word, pc| crate::disasm::Text::of_word(word, pc).to_string();
    assert_eq!(text(0x87aa, 0), "c.mv a5,a0");
    assert_eq!(text(0xffdf_f0ef, 0x1000), "jal ra,0xffc");
    assert_eq!(text(0xffdf_f0ef, 0), "jal ra,0xfffffffffffffffc");
    assert_eq!(text(0x0020_0073, 0), "huret");
    assert_eq!(text(0x8000_2573, 0), "csrrs a0,hustatus,zero");
    assert_eq!(text(0xec0f_42f3, 0), "hulv.d t0,(t5)");
    assert_eq!(text(0xffff_ffff, 0), ".4byte 0xffffffff");
    assert_eq!(text(0x1234_0000, 0), ".2byte 0x0");
    assert_eq!(text(0x1050_0073, 0), "wfi");
}

#[test]
fn csrs_have_one_number_and_one_name() {
    let numbers: BTreeSet<_> = CSRS.iter().map(|row| row.csr).collect();
    let names: BTreeSet<_> = CSRS.iter().map(|row| row.name).collect();
    assert_eq!((numbers.len(), names.len()), (CSRS.len(), CSRS.len()));
    for row in &CSRS {
        assert_eq!(row.csr.name(), Some(row.name));
        assert_eq!(Csr::from_name(row.name), Some(row.csr));
    }
    assert_eq!(Csr(0x5c0).name(), None);
    assert_eq!(Csr(0xffff).name(), None);
    assert_eq!(Csr(0x5c0).to_string(), "0x5c0");
    assert_eq!(Csr::HUGATP.to_string(), "hugatp");
}

#[test]
fn views_of_hu_have_the_published_numbers() {
    assert_eq!(Csr::HUSTATUS, Csr(0x800));
    assert_eq!(Csr::HUGATP, Csr(0x880));
    assert_eq!(Csr::HUTINST, Csr(0x84a));
    assert_eq!(Csr::HUVSATP, Csr(0x480));
    assert_eq!(Csr::HUVSCAUSE, Csr(0x442));
    assert_eq!(Csr::HUVSTIMECMP, Csr(0x44d));
    assert_eq!(Csr::HSTATUS.hu_view(), Some(Csr::HUSTATUS));
    assert_eq!(Csr::HEDELEG.hu_view(), None);
    assert_eq!(Csr::MHPMEVENT31, Csr::from_name("mhpmevent31").unwrap());
    assert_eq!(Csr::PMPADDR63, Csr::from_name("pmpaddr63").unwrap());
    assert_eq!(Csr::PMPCFG14, Csr::from_name("pmpcfg14").unwrap());
    assert_eq!(Csr::HPMCOUNTER31, Csr::from_name("hpmcounter31").unwrap());
    assert_eq!(Csr::MHPMCOUNTER31, Csr::from_name("mhpmcounter31").unwrap());
}

#[test]
fn fields_get_and_set() {
    assert_eq!(MSTATUS::MPP.mask(), 0x1800);
    assert_eq!(MSTATUS::MPP.get(0x0800), 1);
    assert_eq!(MSTATUS::MPP.set(u64::MAX, 0), !0x1800);
    assert_eq!(MSTATUS::MPP.set(0, 7), 0x1800);
    assert_eq!(PTE::N.set(0, 1), 1 << 63);
    assert!(HSTATUS::HU.is_set(0x200));
    // What DuVisor starts a guest with.
    let status = [HUSTATUS::SPV, HUSTATUS::SPVP, HUSTATUS::VTW, HUSTATUS::UPIE];
    assert_eq!(status.iter().fold(0, |value, field| field.with(value, true)), 0x20_0190);
}

#[test]
fn causes_go_both_ways() {
    for &exception in Exception::ALL {
        let cause = Cause::from(exception);
        assert_eq!(Cause::from_bits(cause.bits()), Some(cause));
        assert_eq!(Exception::from_short_name(exception.short_name()), Some(exception));
    }
    for &interrupt in Interrupt::ALL {
        let cause = Cause::from(interrupt);
        assert_eq!(Cause::from_bits(cause.bits()), Some(cause));
        assert_eq!(Interrupt::from_short_name(interrupt.short_name()), Some(interrupt));
    }
    assert_eq!(Cause::from_bits(14), None);
    assert_eq!((Exception::SEDELEG_MASK, Interrupt::SIDELEG_MASK), (0xf0_04fe, 0x111));
    assert_eq!(Exception::DvFault.code(), 24);
    assert_eq!(Cause::from(Interrupt::VirtualSupervisorTimer).bits(), 1 << 63 | 6);
}

#[test]
fn modes_and_registers_go_both_ways() {
    for mode in Mode::ALL {
        let again = Mode::new(mode.level(), mode.is_virtual(), mode == Mode::Hu);
        assert_eq!(again, Some(mode));
    }
    assert_eq!(Mode::new(2, false, false), None);
    for n in 0..32 {
        assert_eq!(reg::parse_x(reg::x_name(n)), Some(n));
        assert_eq!(reg::parse_f(reg::f_name(n)), Some(n));
        assert_eq!(reg::parse_x(&std::format!("x{n}")), Some(n));
        assert_eq!(reg::parse_f(&std::format!("f{n}")), Some(n));
    }
    assert_eq!(reg::parse_x("fp"), Some(8));
    for bad in ["x32", "x", "x07", "x+7", "", "f0", "é"] {
        assert_eq!(reg::parse_x(bad), None, "{bad}");
    }
}

#[test]
fn isa_strings() {
    let parse = |text| Extensions::parse(text, Extensions::ALL);
    let said = |text| parse(text).unwrap_err().to_string();
    assert_eq!(parse("rv64gc").unwrap(), Extensions::RV64GC);
    assert_eq!(parse("RV64IMAFDC_Zicsr_Zifencei").unwrap(), Extensions::RV64GC);
    assert_eq!(parse("rv64gc_zba_zbb").unwrap(), Extensions::RV64GC.with(Ext::Zba).with(Ext::Zbb));
    assert_eq!(parse("rv64gch").unwrap(), Extensions::RV64GC.with(Ext::H));
    assert_eq!(parse("rv64gch_xdv").unwrap(), Extensions::RV64GC.with(Ext::H).with(Ext::Xdv));
    let less = Extensions::ALL.without(Ext::Sstc).without(Ext::Svadu);
    assert_eq!(parse("no-sstc, no-svadu").unwrap(), less);
    assert!(!parse("rv64gc,sstc,no-c").unwrap().has(Ext::C));
    assert_eq!(said("rv64gcv"), "unknown extension \"v\" in the ISA string");
    assert_eq!(said("no-zfoo"), "unknown extension \"zfoo\" in the ISA string");
    assert_eq!(said(""), "unknown extension \"\" in the ISA string");
    assert_eq!(said("rv64gcé"), "unknown extension \"é\" in the ISA string");
    assert_eq!(said("sstc,rv64gc"), "\"rv64gc\" has to be the first part of the ISA string");
    assert_eq!(said("rv64"), "\"rv64\" has to begin with rv64i or rv64g");
    assert_eq!(said("no-f"), "extension d needs f (single-precision floating point), which is off");
    assert_eq!(said("no-zicsr"), "extension zicsr (instructions on CSRs) cannot be switched off");
    assert_eq!(
        said("no-h"),
        "extension xdv needs h (hypervisor: two-stage translation and VS mode), which is off"
    );
}

#[test]
fn isa_strings_of_any_kind_give_an_answer() {
    let pieces = ["rv64", "g", "c", "no-", "zba", "sstc", "_", ",", "é", "xdv", "h", " ", "i", "b"];
    let mut numbers = Numbers(4);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let n = numbers.word() % 8;
        let text: std::string::String =
            (0..n).map(|_| pieces[numbers.word() as usize % pieces.len()]).collect();
        match Extensions::parse(&text, Extensions::ALL) {
            Ok(set) => {
                assert_eq!(set.check(), Ok(()));
                good += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        }
    }
    assert!(good > 50 && bad > 50, "{good} {bad}");
}

#[test]
fn isa_strings_for_the_device_tree() {
    let set = Extensions::RV64GC.with(Ext::Zba).with(Ext::Sstc).with(Ext::H);
    assert_eq!(set.device_tree_isa().to_string(), "rv64imafdch_zicsr_zifencei_zba_sstc");
    assert_eq!(
        set.device_tree_names().collect::<Vec<_>>(),
        ["i", "m", "a", "f", "d", "c", "h", "zicsr", "zifencei", "zba", "sstc"]
    );
    assert_eq!(set.mmu_type(), "riscv,sv39");
    assert_eq!(Extensions::RV64GC.misa(), 0x8000_0000_0014_112d);
    assert_eq!(Extensions::from_bits(set.bits()), Some(set));
    assert_eq!(Extensions::from_bits(1 << 63), None);
    // What is written can be read again.
    let text = set.device_tree_isa().to_string();
    assert_eq!(Extensions::parse(&text, Extensions::ALL), Ok(set));
}
