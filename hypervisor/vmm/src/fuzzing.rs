//! What fuzz targets check of the parts that nobody else sees.

use devices::Width;
use isa::Op;

use crate::mmio::{Transfer, from_fetched, from_hint, hint, loaded, stored};

/// Decodes any instruction and any `hutinst`; where both can say it, they say the same.
///
/// # Panics
/// If they do not.
pub fn decode(word: u32, hutinst: u64, value: u64) {
    let _ = hint(hutinst);
    let hinted = from_hint(word);
    let fetched = from_fetched(word);
    for transfer in [hinted, fetched].into_iter().flatten() {
        check(&transfer, value);
    }
    let Some(insn) = fetched.and(isa::decode(word)) else { return };
    // Privileged manual, "Transformed Instruction or Pseudoinstruction for mtinst or htinst": no
    // offset, and in place of rs1 how far into the access the fault was, here 0.
    let store = matches!(insn.op, Op::Sb | Op::Sh | Op::Sw | Op::Sd | Op::Fsw | Op::Fsd);
    let offset = if store { 0xfe00_0f80 } else { 0xfff0_0000 };
    let transformed = isa::encode(&insn) & !offset & !(31 << 15);
    let bit = if insn.len == 2 { 2 } else { 0 };
    assert_eq!(from_hint(transformed & !bit), fetched, "{word:#x}");
}

fn check(transfer: &Transfer, value: u64) {
    let Transfer { width, len, .. } = *transfer;
    assert!(len == 2 || len == 4, "{transfer:?}");
    let kept = stored(width, value);
    assert!(width == Width::Double || kept >> (8 * width.bytes()) == 0, "{transfer:?}");
    assert_eq!(stored(width, loaded(transfer, value)), kept, "{transfer:?}");
}
