//! The text of an instruction, as `objdump -M no-aliases` writes it.
//!
//! Differences from GNU: one space stands between mnemonic and operands, branch targets begin
//! with `0x` and have no symbol, and the CSRs and instructions of DV-ext have names.

use core::fmt::{self, Display, Formatter};

use crate::compressed::{CFormat, CRow, row_of};
use crate::insn::{Format, Op};
use crate::operands::{Insn, decode};
use crate::reg::{f_name, x_name};

/// A word of instruction memory as text: the instruction, or the bytes of what is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    insn: Result<Insn, u32>,
    pc: u64,
}

impl Text {
    /// The text of what stands at `pc`; of a compressed instruction the upper half is not looked
    /// at.
    pub fn of_word(word: u32, pc: u64) -> Self {
        Self { insn: decode(word).ok_or(word), pc }
    }

    /// Only the mnemonic, for columns.
    pub const fn mnemonic(self) -> Mnemonic {
        Mnemonic(self.insn)
    }

    /// Only the operands, for columns.
    pub const fn operands(self) -> Operands {
        Operands(self)
    }
}

impl Insn {
    /// The text of the instruction when it stands at `pc`.
    pub const fn text(self, pc: u64) -> Text {
        Text { insn: Ok(self), pc }
    }

    /// The row of its compressed encoding, if it has one.
    fn compressed(&self) -> Option<&'static CRow> {
        u16::try_from(self.raw).ok().filter(|_| self.len == 2).and_then(row_of)
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.mnemonic().fmt(f)?;
        match self.insn {
            Ok(insn) if has_no_operands(&insn) => Ok(()),
            _ => write!(f, " {}", self.operands()),
        }
    }
}

/// The mnemonic of an instruction with its ordering suffix, see [`Text::mnemonic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mnemonic(Result<Insn, u32>);

impl Display for Mnemonic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Err(word) if word & 3 == 3 => f.write_str(".4byte"),
            Err(_) => f.write_str(".2byte"),
            Ok(insn) => match insn.compressed() {
                Some(row) => f.write_str(row.mnemonic),
                None => write!(f, "{}{}", insn.row().mnemonic, ordering(&insn)),
            },
        }
    }
}

/// The operands of an instruction, see [`Text::operands`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operands(Text);

impl Display for Operands {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pc = self.0.pc;
        match self.0.insn {
            Err(word) if word & 3 == 3 => write!(f, "{word:#x}"),
            Err(word) => write!(f, "{:#x}", word & 0xffff),
            Ok(insn) => match insn.compressed() {
                Some(row) if row.fmt != CFormat::Long => short_form(f, row.fmt, &insn, pc),
                _ => long_form(f, &insn, pc),
            },
        }
    }
}

fn has_no_operands(insn: &Insn) -> bool {
    match insn.compressed() {
        Some(row) if row.fmt != CFormat::Long => row.fmt == CFormat::None,
        _ => insn.row().fmt == Format::None,
    }
}

/// `.aq`, `.rl`, `.aqrl` or nothing.
fn ordering(insn: &Insn) -> &'static str {
    match (insn.row().fmt, insn.aq(), insn.rl()) {
        (Format::Amo | Format::Lr, true, true) => ".aqrl",
        (Format::Amo | Format::Lr, true, false) => ".aq",
        (Format::Amo | Format::Lr, false, true) => ".rl",
        _ => "",
    }
}

/// The rounding mode behind its comma; the dynamic one is not written, nor is the usual one of a
/// conversion that never rounds.
const fn rounding(insn: &Insn) -> &'static str {
    match insn.rm {
        0 if matches!(insn.op, Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu) => "",
        0 => ",rne",
        1 => ",rtz",
        2 => ",rdn",
        3 => ",rup",
        4 => ",rmm",
        7 => "",
        _ => ",unknown",
    }
}

/// The twenty bits that `lui` and `auipc` hold.
const fn upper(imm: i64) -> i64 {
    imm >> 12 & 0xf_ffff
}

const fn target(pc: u64, imm: i64) -> u64 {
    pc.wrapping_add_signed(imm)
}

fn short_form(f: &mut Formatter<'_>, fmt: CFormat, insn: &Insn, pc: u64) -> fmt::Result {
    let (rd, rs1, rs2) = (x_name(insn.rd), x_name(insn.rs1), x_name(insn.rs2));
    match fmt {
        CFormat::Long | CFormat::None => Ok(()),
        CFormat::Imm => write!(f, "{rd},{}", insn.imm),
        CFormat::Upper => write!(f, "{rd},{:#x}", upper(insn.imm)),
        CFormat::Shift => write!(f, "{rd},{:#x}", insn.imm),
        CFormat::Two => write!(f, "{rd},{rs2}"),
        CFormat::Target => write!(f, "{:#x}", target(pc, insn.imm)),
        CFormat::Branch => write!(f, "{rs1},{:#x}", target(pc, insn.imm)),
        CFormat::One => f.write_str(rs1),
    }
}

fn long_form(f: &mut Formatter<'_>, insn: &Insn, pc: u64) -> fmt::Result {
    let (rd, rs1, rs2) = (x_name(insn.rd), x_name(insn.rs1), x_name(insn.rs2));
    let (fd, f1, f2) = (f_name(insn.rd), f_name(insn.rs1), f_name(insn.rs2));
    let (imm, rm) = (insn.imm, rounding(insn));
    match insn.row().fmt {
        Format::None => Ok(()),
        Format::R => write!(f, "{rd},{rs1},{rs2}"),
        Format::R2 => write!(f, "{rd},{rs1}"),
        Format::I => write!(f, "{rd},{rs1},{imm}"),
        Format::Load => write!(f, "{rd},{imm}({rs1})"),
        Format::Store => write!(f, "{rs2},{imm}({rs1})"),
        Format::B => write!(f, "{rs1},{rs2},{:#x}", target(pc, imm)),
        Format::U => write!(f, "{rd},{:#x}", upper(imm)),
        Format::J => write!(f, "{rd},{:#x}", target(pc, imm)),
        Format::Shift6 | Format::Shift5 => write!(f, "{rd},{rs1},{imm:#x}"),
        Format::Csr => write!(f, "{rd},{},{rs1}", insn.csr()),
        Format::CsrImm => write!(f, "{rd},{},{}", insn.csr(), insn.rs1),
        Format::Amo => write!(f, "{rd},{rs2},({rs1})"),
        Format::Lr | Format::HLoad => write!(f, "{rd},({rs1})"),
        Format::Fence => fence_sets(f, imm),
        Format::Fence2 => write!(f, "{rs1},{rs2}"),
        Format::HStore => write!(f, "{rs2},({rs1})"),
        Format::Cbo => write!(f, "({rs1})"),
        Format::Prefetch => write!(f, "{imm}({rs1})"),
        Format::FLoad => write!(f, "{fd},{imm}({rs1})"),
        Format::FStore => write!(f, "{f2},{imm}({rs1})"),
        Format::R4 => write!(f, "{fd},{f1},{f2},{}{rm}", f_name(insn.rs3)),
        Format::FpRm => write!(f, "{fd},{f1},{f2}{rm}"),
        Format::Fp1Rm => write!(f, "{fd},{f1}{rm}"),
        Format::Fp => write!(f, "{fd},{f1},{f2}"),
        Format::FpCmp => write!(f, "{rd},{f1},{f2}"),
        Format::FpToXRm => write!(f, "{rd},{f1}{rm}"),
        Format::FpFromXRm => write!(f, "{fd},{rs1}{rm}"),
        Format::FpToX => write!(f, "{rd},{f1}"),
        Format::FpFromX => write!(f, "{fd},{rs1}"),
    }
}

/// The sets that a fence orders, such as `rw,w`; fm is not written.
fn fence_sets(f: &mut Formatter<'_>, imm: i64) -> fmt::Result {
    let sets = [imm >> 4 & 15, imm & 15];
    for (i, set) in sets.into_iter().enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        if set == 0 {
            f.write_str("unknown")?;
        }
        for (bit, letter) in [(8, "i"), (4, "o"), (2, "r"), (1, "w")] {
            if set & bit != 0 {
                f.write_str(letter)?;
            }
        }
    }
    Ok(())
}
