//! Compressed instructions: one row per encoding of RV64C, and the instruction each stands for.

use crate::insn::{Op, parse_bits};
use crate::operands::{Insn, encode};

/// How the operands of a compressed instruction are written. The names are those of the long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CFormat {
    /// As those of the long form.
    Long,
    /// Nothing.
    None,
    /// `x[rd], imm`.
    Imm,
    /// `x[rd], imm >> 12`.
    Upper,
    /// `x[rd], shamt`.
    Shift,
    /// `x[rd], x[rs2]`.
    Two,
    /// `pc + imm`.
    Target,
    /// `x[rs1], pc + imm`.
    Branch,
    /// `x[rs1]`.
    One,
}

/// One compressed encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CRow {
    /// Its name in code.
    pub op: COp,
    /// How its operands are written.
    pub fmt: CFormat,
    /// Its name in assembly.
    pub mnemonic: &'static str,
    /// The bits that are fixed.
    pub mask: u16,
    /// What they are fixed to.
    pub value: u16,
}

impl CRow {
    const fn new(op: COp, fmt: CFormat, mnemonic: &'static str, bits: &'static str) -> Self {
        let (mask, value, width) = parse_bits(bits);
        assert!(width == 16, "a row does not draw 16 bits");
        Self { op, fmt, mnemonic, mask: (mask & 0xffff) as u16, value: (value & 0xffff) as u16 }
    }

    /// Whether `half` has the fixed bits of this row.
    pub const fn matches(&self, half: u16) -> bool {
        half & self.mask == self.value
    }
}

macro_rules! compressed {
    ($( $op:ident $fmt:ident $mnemonic:literal $bits:literal; )*) => {
        /// The name of a compressed encoding in code.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the mnemonic is the documentation")]
        pub enum COp { $( $op, )* }

        /// All compressed encodings; where two match, the first counts.
        pub static CROWS: [CRow; [$( COp::$op, )*].len()] = CTABLE;

        const CTABLE: [CRow; [$( COp::$op, )*].len()] =
            [$( CRow::new(COp::$op, CFormat::$fmt, $mnemonic, $bits), )*];
    };
}

compressed! {
    // op      fmt     mnemonic         15 13          1 0
    CAddi4spn  Long    "c.addi4spn"    "000 ........ ... 00";
    CFld       Long    "c.fld"         "001 ... ... .. ... 00";
    CLw        Long    "c.lw"          "010 ... ... .. ... 00";
    CLd        Long    "c.ld"          "011 ... ... .. ... 00";
    CFsd       Long    "c.fsd"         "101 ... ... .. ... 00";
    CSw        Long    "c.sw"          "110 ... ... .. ... 00";
    CSd        Long    "c.sd"          "111 ... ... .. ... 00";

    CNop       None    "c.nop"         "000 0 00000 00000 01";
    CAddi      Imm     "c.addi"        "000 . ..... ..... 01";
    CAddiw     Imm     "c.addiw"       "001 . ..... ..... 01";
    CLi        Imm     "c.li"          "010 . ..... ..... 01";
    CAddi16sp  Imm     "c.addi16sp"    "011 . 00010 ..... 01";
    CLui       Upper   "c.lui"         "011 . ..... ..... 01";
    CSrli      Shift   "c.srli"        "100 . 00 ... ..... 01";
    CSrai      Shift   "c.srai"        "100 . 01 ... ..... 01";
    CAndi      Imm     "c.andi"        "100 . 10 ... ..... 01";
    CSub       Two     "c.sub"         "100 0 11 ... 00 ... 01";
    CXor       Two     "c.xor"         "100 0 11 ... 01 ... 01";
    COr        Two     "c.or"          "100 0 11 ... 10 ... 01";
    CAnd       Two     "c.and"         "100 0 11 ... 11 ... 01";
    CSubw      Two     "c.subw"        "100 1 11 ... 00 ... 01";
    CAddw      Two     "c.addw"        "100 1 11 ... 01 ... 01";
    CJ         Target  "c.j"           "101 ........... 01";
    CBeqz      Branch  "c.beqz"        "110 ... ... ..... 01";
    CBnez      Branch  "c.bnez"        "111 ... ... ..... 01";

    CSlli      Shift   "c.slli"        "000 . ..... ..... 10";
    CFldsp     Long    "c.fldsp"       "001 . ..... ..... 10";
    CLwsp      Long    "c.lwsp"        "010 . ..... ..... 10";
    CLdsp      Long    "c.ldsp"        "011 . ..... ..... 10";
    CJr        One     "c.jr"          "100 0 ..... 00000 10";
    CMv        Two     "c.mv"          "100 0 ..... ..... 10";
    CEbreak    None    "c.ebreak"      "100 1 00000 00000 10";
    CJalr      One     "c.jalr"        "100 1 ..... 00000 10";
    CAdd       Two     "c.add"         "100 1 ..... ..... 10";
    CFsdsp     Long    "c.fsdsp"       "101 ...... ..... 10";
    CSwsp      Long    "c.swsp"        "110 ...... ..... 10";
    CSdsp      Long    "c.sdsp"        "111 ...... ..... 10";
}

impl COp {
    /// The row of this encoding.
    pub const fn row(self) -> &'static CRow {
        &CROWS[self as usize]
    }
}

/// The first row of each quadrant (bits 1:0) and funct3 (bits 15:13), and how many there are.
static BUCKETS: [(u8, u8); 32] = buckets();

const fn bucket_of(half: u16) -> usize {
    ((half & 3) << 3 | half >> 13) as usize
}

/// The table is sorted by quadrant and funct3, so that each bucket is one stretch of it.
const fn buckets() -> [(u8, u8); 32] {
    let mut buckets = [(0, 0); 32];
    let (mut i, mut last) = (0u8, 0);
    while (i as usize) < CTABLE.len() {
        let row = &CTABLE[i as usize];
        assert!(row.mask & 0xe003 == 0xe003, "a row leaves quadrant or funct3 open");
        let bucket = bucket_of(row.value);
        assert!(bucket >= last, "the table is not sorted");
        last = bucket;
        if buckets[bucket].1 == 0 {
            buckets[bucket].0 = i;
        }
        buckets[bucket].1 += 1;
        i += 1;
    }
    buckets
}

/// The row that `half` belongs to; it may still be a reserved encoding of it.
pub fn row_of(half: u16) -> Option<&'static CRow> {
    let (first, n) = BUCKETS[bucket_of(half)];
    let rows = &CROWS[usize::from(first)..usize::from(first) + usize::from(n)];
    rows.iter().find(|row| row.matches(half))
}

/// The 32-bit word that `half` stands for; `None` when it is reserved or not compressed.
pub fn expand(half: u16) -> Option<u32> {
    decode(half).map(|insn| encode(&insn))
}

/// A run of bits of the encoding and where it goes in the immediate: width, from, to.
type Piece = (u32, u32, u32);

/// Gathers an immediate from its pieces.
fn gather(half: u16, pieces: &[Piece]) -> i64 {
    let half = i64::from(half);
    pieces.iter().map(|&(width, from, to)| (half >> from & ((1 << width) - 1)) << to).sum()
}

/// As [`gather`], and sign-extends from `sign`, the highest bit of the immediate.
fn gather_signed(half: u16, sign: u32, pieces: &[Piece]) -> i64 {
    let value = gather(half, pieces);
    value << (63 - sign) >> (63 - sign)
}

// Immediates, in the order of the drawings in "C" Extension for Compressed Instructions.
const ADDI4SPN: &[Piece] = &[(2, 11, 4), (4, 7, 6), (1, 6, 2), (1, 5, 3)];
const WORD: &[Piece] = &[(3, 10, 3), (1, 6, 2), (1, 5, 6)];
const DOUBLE: &[Piece] = &[(3, 10, 3), (2, 5, 6)];
const SIX: &[Piece] = &[(1, 12, 5), (5, 2, 0)];
const ADDI16SP: &[Piece] = &[(1, 12, 9), (1, 6, 4), (1, 5, 6), (2, 3, 7), (1, 2, 5)];
const LUI: &[Piece] = &[(1, 12, 17), (5, 2, 12)];
const JUMP: &[Piece] =
    &[(1, 12, 11), (1, 11, 4), (2, 9, 8), (1, 8, 10), (1, 7, 6), (1, 6, 7), (3, 3, 1), (1, 2, 5)];
const BRANCH: &[Piece] = &[(1, 12, 8), (2, 10, 3), (2, 5, 6), (2, 3, 1), (1, 2, 5)];
const LWSP: &[Piece] = &[(1, 12, 5), (3, 4, 2), (2, 2, 6)];
const LDSP: &[Piece] = &[(1, 12, 5), (2, 5, 3), (3, 2, 6)];
const SWSP: &[Piece] = &[(4, 9, 2), (2, 7, 6)];
const SDSP: &[Piece] = &[(3, 10, 3), (3, 7, 6)];

const ZERO: u8 = 0;
const RA: u8 = 1;
const SP: u8 = 2;

/// Decodes a compressed instruction; `None` when it is reserved or not compressed.
///
/// Hints are legal, as are the shifts by zero of RV64.
pub(crate) fn decode(half: u16) -> Option<Insn> {
    let op = row_of(half)?.op;
    if is_reserved(op, half) {
        return None;
    }
    Some(Insn { raw: u32::from(half), len: 2, ..stands_for(op, half) })
}

/// Encodings that the manual reserves within a row. The half of all zeros is one of them.
fn is_reserved(op: COp, half: u16) -> bool {
    let no_register = long_at_7(half) == ZERO;
    let no_immediate = gather(half, SIX) == 0;
    (matches!(op, COp::CAddi4spn) && gather(half, ADDI4SPN) == 0)
        || (matches!(op, COp::CAddi16sp | COp::CLui) && no_immediate)
        || (matches!(op, COp::CAddiw | COp::CLwsp | COp::CLdsp | COp::CJr) && no_register)
}

/// The instruction of an encoding that is not reserved.
fn stands_for(op: COp, half: u16) -> Insn {
    let (rd, rs2) = (long_at_7(half), long_at_2(half));
    let (short, short2) = (short_at_7(half), short_at_2(half));
    let u = |pieces| gather(half, pieces);
    let six = gather_signed(half, 5, SIX);
    match op {
        COp::CAddi4spn => i(Op::Addi, short2, SP, u(ADDI4SPN)),
        COp::CFld => i(Op::Fld, short2, short, u(DOUBLE)),
        COp::CLw => i(Op::Lw, short2, short, u(WORD)),
        COp::CLd => i(Op::Ld, short2, short, u(DOUBLE)),
        COp::CFsd => s(Op::Fsd, short2, short, u(DOUBLE)),
        COp::CSw => s(Op::Sw, short2, short, u(WORD)),
        COp::CSd => s(Op::Sd, short2, short, u(DOUBLE)),
        COp::CNop | COp::CAddi => i(Op::Addi, rd, rd, six),
        COp::CAddiw => i(Op::Addiw, rd, rd, six),
        COp::CLi => i(Op::Addi, rd, ZERO, six),
        COp::CAddi16sp => i(Op::Addi, SP, SP, gather_signed(half, 9, ADDI16SP)),
        COp::CLui => i(Op::Lui, rd, ZERO, gather_signed(half, 17, LUI)),
        COp::CSrli => i(Op::Srli, short, short, u(SIX)),
        COp::CSrai => i(Op::Srai, short, short, u(SIX)),
        COp::CAndi => i(Op::Andi, short, short, six),
        COp::CSub => r(Op::Sub, short, short, short2),
        COp::CXor => r(Op::Xor, short, short, short2),
        COp::COr => r(Op::Or, short, short, short2),
        COp::CAnd => r(Op::And, short, short, short2),
        COp::CSubw => r(Op::Subw, short, short, short2),
        COp::CAddw => r(Op::Addw, short, short, short2),
        COp::CJ => i(Op::Jal, ZERO, ZERO, gather_signed(half, 11, JUMP)),
        COp::CBeqz => s(Op::Beq, ZERO, short, gather_signed(half, 8, BRANCH)),
        COp::CBnez => s(Op::Bne, ZERO, short, gather_signed(half, 8, BRANCH)),
        COp::CSlli => i(Op::Slli, rd, rd, u(SIX)),
        COp::CFldsp => i(Op::Fld, rd, SP, u(LDSP)),
        COp::CLwsp => i(Op::Lw, rd, SP, u(LWSP)),
        COp::CLdsp => i(Op::Ld, rd, SP, u(LDSP)),
        COp::CJr => i(Op::Jalr, ZERO, rd, 0),
        COp::CMv => r(Op::Add, rd, ZERO, rs2),
        COp::CEbreak => Insn::new(Op::Ebreak),
        COp::CJalr => i(Op::Jalr, RA, rd, 0),
        COp::CAdd => r(Op::Add, rd, rd, rs2),
        COp::CFsdsp => s(Op::Fsd, rs2, SP, u(SDSP)),
        COp::CSwsp => s(Op::Sw, rs2, SP, u(SWSP)),
        COp::CSdsp => s(Op::Sd, rs2, SP, u(SDSP)),
    }
}

/// The register in bits 11:7.
const fn long_at_7(half: u16) -> u8 {
    (half >> 7 & 31) as u8
}

/// The register in bits 6:2.
const fn long_at_2(half: u16) -> u8 {
    (half >> 2 & 31) as u8
}

/// The register x8 to x15 in bits 9:7.
const fn short_at_7(half: u16) -> u8 {
    (half >> 7 & 7) as u8 + 8
}

/// The register x8 to x15 in bits 4:2.
const fn short_at_2(half: u16) -> u8 {
    (half >> 2 & 7) as u8 + 8
}

const fn i(op: Op, rd: u8, rs1: u8, imm: i64) -> Insn {
    Insn { rd, rs1, imm, ..Insn::new(op) }
}

const fn s(op: Op, rs2: u8, rs1: u8, imm: i64) -> Insn {
    Insn { rs1, rs2, imm, ..Insn::new(op) }
}

const fn r(op: Op, rd: u8, rs1: u8, rs2: u8) -> Insn {
    Insn { rd, rs1, rs2, ..Insn::new(op) }
}
