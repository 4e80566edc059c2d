//! Tests of the mmio module: facts one by one, then random ones against a naive model.
use isa::{Insn, encode};
use proptest::prelude::*;

use super::*;

/// Operation, store, bytes, signed, floating point.
const PLAIN: [(Op, bool, u64, bool, bool); 15] = [
    (Op::Lb, false, 1, true, false),
    (Op::Lbu, false, 1, false, false),
    (Op::Lh, false, 2, true, false),
    (Op::Lhu, false, 2, false, false),
    (Op::Lw, false, 4, true, false),
    (Op::Lwu, false, 4, false, false),
    (Op::Ld, false, 8, false, false),
    (Op::Flw, false, 4, false, true),
    (Op::Fld, false, 8, false, true),
    (Op::Sb, true, 1, false, false),
    (Op::Sh, true, 2, false, false),
    (Op::Sw, true, 4, false, false),
    (Op::Sd, true, 8, false, false),
    (Op::Fsw, true, 4, false, true),
    (Op::Fsd, true, 8, false, true),
];

/// The manual's transformation of a load or store: no offset, "Addr. Offset" in place of rs1.
fn transformed(insn: &Insn, store: bool, compressed: bool) -> u32 {
    let imm = if store { 0xfe00_0f80 } else { 0xfff0_0000 };
    let word = encode(insn) & !imm & !(31 << 15);
    if compressed { word & !2 } else { word }
}

#[test]
fn pseudoinstructions_and_zero_are_no_instructions() {
    assert_eq!(hint(0), Hint::None);
    assert_eq!(hint(0x3000), Hint::Walk);
    assert_eq!(hint(0x3020), Hint::Walk);
    assert_eq!(hint(0x2000), Hint::None);
    assert_eq!(hint(0x1_0000_0003), Hint::None);
    assert_eq!(hint(0x0000_0003), Hint::Insn(3));
}

#[test]
fn what_no_device_can_answer_is_not_decoded() {
    for op in [Op::LrW, Op::ScD, Op::AmoaddW, Op::CboZero, Op::Addi, Op::Fence] {
        assert_eq!(from_fetched(op.row().value), None, "{op:?}");
    }
    assert_eq!(from_fetched(0), None);
    assert_eq!(from_fetched(0xffff_ffff), None);
}

#[test]
fn loads_extend_as_the_manual_says() {
    let transfer =
        |width, signed, register| Transfer { store: false, width, signed, register, len: 4 };
    let x = Register::X(5);
    let f = Register::F(5);
    for (transfer, value, register) in [
        (transfer(Width::Byte, true, x), 0x80, 0xffff_ffff_ffff_ff80),
        (transfer(Width::Byte, false, x), 0x80, 0x80),
        (transfer(Width::Half, true, x), 0x7fff, 0x7fff),
        (transfer(Width::Word, true, x), 0x8000_0000, 0xffff_ffff_8000_0000),
        (transfer(Width::Word, false, x), 0x9_8000_0000, 0x8000_0000),
        (transfer(Width::Double, false, x), u64::MAX, u64::MAX),
        (transfer(Width::Word, false, f), 0x3f80_0000, 0xffff_ffff_3f80_0000),
        (transfer(Width::Double, false, f), 0x3ff0 << 48, 0x3ff0 << 48),
    ] {
        assert_eq!(loaded(&transfer, value), register, "{transfer:?}");
    }
    assert_eq!(stored(Width::Byte, 0x1234), 0x34);
    assert_eq!(stored(Width::Double, u64::MAX), u64::MAX);
}

/// Every compressed load and store, whatever the registers, has a transformed twin.
#[test]
fn every_compressed_access_decodes_as_its_long_form() {
    let mut seen = 0;
    for half in 0..=u16::MAX {
        let Some(insn) = (half & 3 != 3).then(|| isa::decode16(half)).flatten() else { continue };
        let Some((_, store, ..)) = PLAIN.iter().find(|row| row.0 == insn.op) else { continue };
        let fetched = from_fetched(u32::from(half)).unwrap();
        assert_eq!(fetched.len, 2);
        assert_eq!(from_hint(transformed(&insn, *store, true)), Some(fetched), "{half:#x}");
        seen += 1;
    }
    assert!(seen > 10_000, "only {seen} compressed accesses");
}

proptest! {
    #[test]
    fn every_access_decodes_from_both_sources(
        row in prop::sample::select(&PLAIN[..]),
        data in 0u8..32,
        base in 0u8..32,
        imm in -2048i64..2048,
    ) {
        let (op, store, bytes, signed, float) = row;
        let insn = Insn { rd: data, rs1: base, imm, ..Insn::new(op) };
        let insn = if store { Insn { rd: 0, rs2: data, ..insn } } else { insn };
        let expected = Transfer {
            store,
            width: Width::from_bytes(bytes).unwrap(),
            signed,
            register: if float { Register::F(data) } else { Register::X(data) },
            len: 4,
        };
        prop_assert_eq!(from_fetched(encode(&insn)), Some(expected));
        prop_assert_eq!(from_hint(transformed(&insn, store, false)), Some(expected));
    }

    #[test]
    fn any_word_decodes_or_not(word: u32) {
        let _ = (from_fetched(word), from_hint(word), hint(u64::from(word)));
    }
}
