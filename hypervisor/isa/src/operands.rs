//! From a word to an instruction with its operands, and back.

use crate::compressed;
use crate::csr::Csr;
use crate::insn::{Format, Op, Row, TABLE};

/// An instruction with its operands. Operands that its [`Format`] does not have are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Which instruction.
    pub op: Op,
    /// Destination register, x or f as the format says.
    pub rd: u8,
    /// First source register, or the five-bit immediate of `csrrwi` and its like.
    pub rs1: u8,
    /// Second source register.
    pub rs2: u8,
    /// Third source register.
    pub rs3: u8,
    /// Rounding mode as encoded (5 and 6 are reserved, 7 asks `frm`), or aq and rl of an AMO.
    pub rm: u8,
    /// Immediate, sign-extended; shift amount; number of the CSR; fm, pred and succ of a fence.
    pub imm: i64,
    /// The instruction as fetched: 32 bits, or the 16 bits of a compressed one.
    pub raw: u32,
    /// Its length in bytes: 4, or 2 for a compressed one.
    pub len: u8,
}

impl Insn {
    /// An instruction of four bytes without operands, not yet encoded.
    pub const fn new(op: Op) -> Self {
        Self { op, rd: 0, rs1: 0, rs2: 0, rs3: 0, rm: 0, imm: 0, raw: 0, len: 4 }
    }

    /// The row of the instruction.
    pub const fn row(&self) -> &'static Row {
        self.op.row()
    }

    /// The CSR that a `csrr*` instruction names.
    pub const fn csr(&self) -> Csr {
        Csr((low_word(self.imm) & 0xfff) as u16)
    }

    /// Acquire ordering of an AMO, LR or SC.
    pub const fn aq(&self) -> bool {
        self.rm & 2 != 0
    }

    /// Release ordering of an AMO, LR or SC.
    pub const fn rl(&self) -> bool {
        self.rm & 1 != 0
    }
}

/// The length in bytes of the instruction that begins with these 16 bits.
///
/// Encodings of 48 bits and more begin with the low five bits set; none is modelled, and they
/// count as illegal words of four bytes.
pub const fn fetch_len(first_half: u16) -> u8 {
    if first_half & 3 == 3 { 4 } else { 2 }
}

/// The instruction that `word` encodes, or `None` when it is illegal.
///
/// When the low two bits say compressed, the low 16 bits are decoded. Whether the machine has the
/// extension, and whether a rounding mode is reserved, is for the caller to see.
pub fn decode(word: u32) -> Option<Insn> {
    if word & 3 != 3 {
        return decode16((word & 0xffff) as u16);
    }
    let bucket = bucket_of(word);
    let candidates = &ORDER.rows[usize::from(ORDER.starts[bucket])..];
    let n = usize::from(ORDER.starts[bucket + 1] - ORDER.starts[bucket]);
    let row = candidates.iter().take(n).map(|op| op.row()).find(|row| row.matches(word))?;
    Some(operands(row, word))
}

/// The instruction that a compressed encoding stands for, with `len` = 2.
pub fn decode16(half: u16) -> Option<Insn> {
    compressed::decode(half)
}

/// The 32-bit word of an instruction: the inverse of [`decode`]. `raw` and `len` do not count, so
/// this is also the long form of a compressed instruction. Bits that do not fit are dropped.
pub fn encode(insn: &Insn) -> u32 {
    let row = insn.row();
    let imm = low_word(insn.imm);
    let rd = (u32::from(insn.rd) & 31) << 7;
    let rs1 = (u32::from(insn.rs1) & 31) << 15;
    let rs2 = (u32::from(insn.rs2) & 31) << 20;
    let rs3 = (u32::from(insn.rs3) & 31) << 27;
    let rm = (u32::from(insn.rm) & 7) << 12;
    let aqrl = (u32::from(insn.rm) & 3) << 25;
    let fields = match row.fmt {
        Format::None => 0,
        Format::Cbo => rs1,
        Format::R2 | Format::FpToX | Format::FpFromX | Format::HLoad => rd | rs1,
        Format::R | Format::Fp | Format::FpCmp => rd | rs1 | rs2,
        Format::Fence2 | Format::HStore => rs1 | rs2,
        Format::I | Format::Load | Format::FLoad | Format::Fence => rd | rs1 | imm << 20,
        Format::Csr | Format::CsrImm => rd | rs1 | imm << 20,
        Format::Shift6 => rd | rs1 | (imm & 63) << 20,
        Format::Shift5 => rd | rs1 | (imm & 31) << 20,
        Format::Store | Format::FStore => rs1 | rs2 | imm_s(imm),
        Format::Prefetch => rs1 | (imm & 0xfe0) << 20,
        Format::B => rs1 | rs2 | imm_b(imm),
        Format::U => rd | imm & 0xffff_f000,
        Format::J => rd | imm_j(imm),
        Format::Amo => rd | rs1 | rs2 | aqrl,
        Format::Lr => rd | rs1 | aqrl,
        Format::FpRm => rd | rs1 | rs2 | rm,
        Format::R4 => rd | rs1 | rs2 | rs3 | rm,
        Format::Fp1Rm | Format::FpToXRm | Format::FpFromXRm => rd | rs1 | rm,
    };
    row.value | fields & !row.mask
}

const fn imm_s(imm: u32) -> u32 {
    (imm & 0xfe0) << 20 | (imm & 0x1f) << 7
}

const fn imm_b(imm: u32) -> u32 {
    (imm >> 12 & 1) << 31 | (imm >> 5 & 0x3f) << 25 | (imm >> 1 & 0xf) << 8 | (imm >> 11 & 1) << 7
}

const fn imm_j(imm: u32) -> u32 {
    (imm >> 20 & 1) << 31
        | (imm >> 1 & 0x3ff) << 21
        | (imm >> 11 & 1) << 20
        | (imm >> 12 & 0xff) << 12
}

const fn low_word(imm: i64) -> u32 {
    (imm.cast_unsigned() & 0xffff_ffff) as u32
}

/// Bits `lsb..lsb + width` of `word`, as a register number or the like.
const fn bits(word: u32, lsb: u32) -> u8 {
    (word >> lsb & 31) as u8
}

/// `value`, whose sign is its bit 31, shifted down by `by`.
fn signed(value: u32, by: u32) -> i64 {
    i64::from(value.cast_signed() >> by)
}

/// Reads the operands of `word`, which matches `row`.
fn operands(row: &Row, word: u32) -> Insn {
    let (rd, rs1, rs2) = (bits(word, 7), bits(word, 15), bits(word, 20));
    let rm = bits(word, 12) & 7;
    let bare = Insn { raw: word, ..Insn::new(row.op) };
    match row.fmt {
        Format::None => bare,
        Format::Cbo => Insn { rs1, ..bare },
        Format::R2 | Format::FpToX | Format::FpFromX | Format::HLoad => Insn { rd, rs1, ..bare },
        Format::R | Format::Fp | Format::FpCmp => Insn { rd, rs1, rs2, ..bare },
        Format::Fence2 | Format::HStore => Insn { rs1, rs2, ..bare },
        Format::I | Format::Load | Format::FLoad => Insn { rd, rs1, imm: signed(word, 20), ..bare },
        Format::Csr | Format::CsrImm | Format::Fence => {
            Insn { rd, rs1, imm: i64::from(word >> 20), ..bare }
        }
        Format::Shift6 => Insn { rd, rs1, imm: i64::from(word >> 20 & 63), ..bare },
        Format::Shift5 => Insn { rd, rs1, imm: i64::from(word >> 20 & 31), ..bare },
        Format::Store | Format::FStore => {
            Insn { rs1, rs2, imm: signed(word & 0xfe00_0000, 20) | i64::from(rd), ..bare }
        }
        Format::Prefetch => Insn { rs1, imm: signed(word & 0xfe00_0000, 20), ..bare },
        Format::B => Insn { rs1, rs2, imm: imm_of_b(word), ..bare },
        Format::U => Insn { rd, imm: signed(word & 0xffff_f000, 0), ..bare },
        Format::J => Insn { rd, imm: imm_of_j(word), ..bare },
        Format::Amo => Insn { rd, rs1, rs2, rm: bits(word, 25) & 3, ..bare },
        Format::Lr => Insn { rd, rs1, rm: bits(word, 25) & 3, ..bare },
        Format::FpRm => Insn { rd, rs1, rs2, rm, ..bare },
        Format::R4 => Insn { rd, rs1, rs2, rs3: bits(word, 27), rm, ..bare },
        Format::Fp1Rm | Format::FpToXRm | Format::FpFromXRm => Insn { rd, rs1, rm, ..bare },
    }
}

fn imm_of_b(word: u32) -> i64 {
    signed(word & 0x8000_0000, 19)
        | i64::from((word >> 7 & 1) << 11 | (word >> 25 & 0x3f) << 5 | (word >> 8 & 0xf) << 1)
}

fn imm_of_j(word: u32) -> i64 {
    signed(word & 0x8000_0000, 11)
        | i64::from(word & 0xf_f000 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3ff) << 1)
}

/// Rows sorted into buckets by major opcode (bits 6:2) and funct3 (bits 14:12).
const BUCKETS: usize = 256;

const fn bucket_of(word: u32) -> usize {
    ((word >> 2 & 31) << 3 | word >> 12 & 7) as usize
}

struct Order {
    /// `rows[starts[b]..starts[b + 1]]` are the candidates of bucket `b`.
    starts: [u16; BUCKETS + 1],
    rows: [Op; SLOTS],
}

/// A row that leaves funct3 open stands in eight buckets.
const SLOTS: usize = {
    let (mut slots, mut i) = (0, 0);
    while i < TABLE.len() {
        slots += if leaves_funct3_open(&TABLE[i]) { 8 } else { 1 };
        i += 1;
    }
    slots
};

static ORDER: Order = order();

const fn leaves_funct3_open(row: &Row) -> bool {
    let fixed = row.mask >> 12 & 7;
    assert!(fixed == 0 || fixed == 7, "a row fixes a part of funct3");
    assert!(row.mask & 0x7f == 0x7f && row.value & 3 == 3, "a row leaves its opcode open");
    fixed == 0
}

/// Counting sort of all rows; within a bucket the rows with the most fixed bits come first, so
/// that `pause` is seen before `fence`.
const fn order() -> Order {
    assert!(SLOTS < u16::MAX as usize, "positions fit 16 bits");
    let mut order = Order { starts: [0; BUCKETS + 1], rows: [Op::Lui; SLOTS] };
    let mut counts = [0u16; BUCKETS];
    let mut i = 0;
    while i < TABLE.len() {
        let base = bucket_of(TABLE[i].value);
        let n = if leaves_funct3_open(&TABLE[i]) { 8 } else { 1 };
        let mut k = 0;
        while k < n {
            counts[base + k] += 1;
            k += 1;
        }
        i += 1;
    }
    let mut b = 0;
    while b < BUCKETS {
        order.starts[b + 1] = order.starts[b] + counts[b];
        b += 1;
    }
    let mut free = order.starts;
    let mut i = 0;
    while i < TABLE.len() {
        let base = bucket_of(TABLE[i].value);
        let n = if leaves_funct3_open(&TABLE[i]) { 8 } else { 1 };
        let mut k = 0;
        while k < n {
            let start = order.starts[base + k] as usize;
            insert(&mut order.rows, start, free[base + k] as usize, TABLE[i].op);
            free[base + k] += 1;
            k += 1;
        }
        i += 1;
    }
    order
}

/// Puts `op` into the sorted part `start..end` of `rows`.
const fn insert(rows: &mut [Op; SLOTS], start: usize, end: usize, op: Op) {
    let own = TABLE[op as usize].mask.count_ones();
    let mut at = end;
    while at > start && TABLE[rows[at - 1] as usize].mask.count_ones() < own {
        rows[at] = rows[at - 1];
        at -= 1;
    }
    rows[at] = op;
}
