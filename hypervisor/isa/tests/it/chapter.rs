//! The tables of the book's chapter on DV-ext, written from the crate and compared with the file.

use std::fmt::Write;

use isa::csr::{CSRS, CsrRow, Group};
use isa::fields::{HU_VITR, HUSTATUS, NamedField, PMPCFG, VTIMECTL};
use isa::{Check, Csr, Exception, Ext, Insn, Interrupt, ROWS, decode};

use crate::tables::with_tables;

const CHAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/dv-ext.md");

/// The table of this name in Markdown.
fn table(name: &str) -> String {
    match name {
        "csrs" => csrs(|row| row.group == Group::Dv),
        "views" => csrs(|row| row.group == Group::Hu),
        "instructions" => instructions(),
        "delegation" => delegation(),
        "hustatus" => fields(HUSTATUS::FIELDS),
        "vtimectl" => fields(VTIMECTL::FIELDS),
        "hu_vitr" => fields(HU_VITR::FIELDS),
        "pmpcfg" => fields(PMPCFG::FIELDS),
        "checks" => checks(),
        _ => panic!("no table is called {name}"),
    }
}

fn csrs(wanted: impl Fn(&CsrRow) -> bool) -> String {
    let mut rows: Vec<_> = CSRS.iter().filter(|row| wanted(row)).collect();
    rows.sort_by_key(|row| row.csr);
    let views = rows.iter().any(|row| row.mirror.is_some());
    let mut text = match views {
        true => String::from("| number | name | view of | what |\n|---|---|---|---|\n"),
        false => String::from("| number | name | what |\n|---|---|---|\n"),
    };
    for row in rows {
        let Csr(number) = row.csr;
        let view = row.mirror.map(|csr| format!(" `{csr}` |")).unwrap_or_default();
        writeln!(text, "| {number:#05x} | `{}` |{view} {} |", row.name, row.doc).unwrap();
    }
    text
}

fn delegation() -> String {
    let mut text = String::from("| CSR | bit | cause |\n|---|---|---|\n");
    for cause in Exception::DELEGABLE_TO_HU {
        writeln!(text, "| `sedeleg` | {} | {cause} |", cause.code()).unwrap();
    }
    for cause in Interrupt::DELEGABLE_TO_HU {
        writeln!(text, "| `sideleg` | {} | {cause} |", cause.code()).unwrap();
    }
    text
}

fn fields(fields: &[NamedField]) -> String {
    let mut text = String::from("| bits | name | what |\n|---|---|---|\n");
    for NamedField { name, field, what } in fields {
        let (low, high) = (field.lsb, field.lsb + field.width - 1);
        let bits = if low == high { format!("{low}") } else { format!("{high}:{low}") };
        writeln!(text, "| {bits} | {name} | {what} |").unwrap();
    }
    text
}

/// Each instruction with registers that show where its operands are written.
fn instructions() -> String {
    let mut text = String::from("| instruction | match | mask |\n|---|---|---|\n");
    for row in ROWS.iter().filter(|row| row.ext == Ext::Xdv) {
        let insn = Insn { rd: 10, rs1: 11, rs2: 12, ..Insn::new(row.op) };
        let shown = decode(isa::encode(&insn)).unwrap().text(0);
        let (value, mask) = (row.value, row.mask);
        writeln!(text, "| `{shown}` | {value:#010x} | {mask:#010x} |").unwrap();
    }
    text
}

fn checks() -> String {
    let mut text = String::from("| check | about | rule |\n|---|---|---|\n");
    for check in Check::ALL {
        writeln!(text, "| {} | {} | {} |", check.number(), check.part(), check.rule()).unwrap();
    }
    text
}

#[test]
fn checks_are_numbered_from_one() {
    let numbers: Vec<u8> = Check::ALL.iter().map(|check| check.number()).collect();
    let expected: Vec<u8> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn chapter_shows_the_tables_of_the_crate() {
    let chapter = std::fs::read_to_string(CHAPTER).unwrap();
    let fresh = with_tables(&chapter, table);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(CHAPTER, &fresh).unwrap();
    } else {
        assert!(chapter == fresh, "docs/src/dv-ext.md is stale: UPDATE=1 cargo test -p isa");
    }
}
