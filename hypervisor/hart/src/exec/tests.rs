//! That the table of instructions and the handlers know each other.

use isa::{Extensions, Insn, ROWS};

use super::{handler, illegal, lower};
use crate::engine::Handler;
use crate::ram::Ram;

#[test]
fn every_row_has_a_handler() {
    let illegal: Handler<Ram> = illegal;
    let missing: Vec<_> = ROWS
        .iter()
        .filter(|row| {
            let found: Handler<Ram> = handler(&Insn::new(row.op));
            std::ptr::fn_addr_eq(found, illegal)
        })
        .map(|row| row.mnemonic)
        .collect();
    assert!(missing.is_empty(), "no handler for {missing:?}");
}

#[test]
fn an_instruction_of_an_extension_that_is_off_is_illegal() {
    let illegal: Handler<Ram> = illegal;
    for row in &ROWS {
        // Registers that are not zero, lest `ori` be a prefetch.
        let word = isa::encode(&Insn { rd: 1, rs1: 2, rs2: 3, ..Insn::new(row.op) });
        let (op, _) = lower::<Ram>(word, 0, 0, Extensions::ALL.without(row.ext));
        let is_illegal = std::ptr::fn_addr_eq(op.run, illegal);
        assert_eq!(is_illegal, !row.op.is_hint(), "{}", row.mnemonic);
    }
}
