//! One row per 32-bit instruction, its bits drawn as in the manual (table)
//!
//! Compressed instructions are in [`crate::compressed`]: each stands for a row here.

use crate::ext::Ext;

/// Which operands an instruction has, where they stand, and how they are written.
///
/// `x` and `f` say which register file an operand belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `x[rd], x[rs1], x[rs2]`.
    R,
    /// `x[rd], x[rs1]`.
    R2,
    /// `x[rd], x[rs1], imm`.
    I,
    /// `x[rd], imm(x[rs1])`: loads and `jalr`.
    Load,
    /// `x[rs2], imm(x[rs1])`.
    Store,
    /// `x[rs1], x[rs2], pc + imm`.
    B,
    /// `x[rd], imm >> 12`; `imm` is the shifted, sign-extended value.
    U,
    /// `x[rd], pc + imm`.
    J,
    /// `x[rd], x[rs1], shamt` with six bits of `shamt` in `imm`.
    Shift6,
    /// `x[rd], x[rs1], shamt` with five bits of `shamt` in `imm`.
    Shift5,
    /// `x[rd], csr, x[rs1]`; the number of the CSR is in `imm`.
    Csr,
    /// `x[rd], csr, uimm`; the number of the CSR is in `imm`, the five-bit value in `rs1`.
    CsrImm,
    /// `x[rd], x[rs2], (x[rs1])`; `rm` holds aq (bit 1) and rl (bit 0).
    Amo,
    /// `x[rd], (x[rs1])`; `rm` holds aq (bit 1) and rl (bit 0).
    Lr,
    /// `pred, succ`; `imm` holds fm (11:8), pred (7:4) and succ (3:0). rd and rs1 are reserved
    /// and kept, but to be ignored.
    Fence,
    /// Nothing.
    None,
    /// `x[rs1], x[rs2]`: fences on an address and an address space.
    Fence2,
    /// `x[rd], (x[rs1])`: loads of a hypervisor from guest memory.
    HLoad,
    /// `x[rs2], (x[rs1])`: stores of a hypervisor to guest memory.
    HStore,
    /// `(x[rs1])`: operations on a cache block.
    Cbo,
    /// `imm(x[rs1])`: hints in the encoding of `ori x0`; `imm` is a multiple of 32.
    Prefetch,
    /// `f[rd], imm(x[rs1])`.
    FLoad,
    /// `f[rs2], imm(x[rs1])`.
    FStore,
    /// `f[rd], f[rs1], f[rs2], f[rs3], rm`.
    R4,
    /// `f[rd], f[rs1], f[rs2], rm`.
    FpRm,
    /// `f[rd], f[rs1], rm`.
    Fp1Rm,
    /// `f[rd], f[rs1], f[rs2]`.
    Fp,
    /// `x[rd], f[rs1], f[rs2]`.
    FpCmp,
    /// `x[rd], f[rs1], rm`.
    FpToXRm,
    /// `f[rd], x[rs1], rm`.
    FpFromXRm,
    /// `x[rd], f[rs1]`.
    FpToX,
    /// `f[rd], x[rs1]`.
    FpFromX,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in code; `ROWS[op as usize].op == op`.
    pub op: Op,
    /// Its operands.
    pub fmt: Format,
    /// Its name in assembly.
    pub mnemonic: &'static str,
    /// The extension that it belongs to; a machine without it knows the instruction only if
    /// [`Op::is_hint`] says so. Compressed forms need C besides.
    pub ext: Ext,
    /// The bits that are fixed.
    pub mask: u32,
    /// What they are fixed to.
    pub value: u32,
}

impl Row {
    const fn new(
        op: Op,
        fmt: Format,
        mnemonic: &'static str,
        ext: Ext,
        bits: &'static str,
    ) -> Self {
        let (mask, value, width) = parse_bits(bits);
        assert!(width == 32, "a row does not draw 32 bits");
        Self { op, fmt, mnemonic, ext, mask, value }
    }

    /// Whether `word` has the fixed bits of this row.
    pub const fn matches(&self, word: u32) -> bool {
        word & self.mask == self.value
    }
}

/// Reads drawn bits, most significant first: `0`, `1`, `.` for any, spaces between fields.
/// Gives mask, value and width.
pub(crate) const fn parse_bits(bits: &str) -> (u32, u32, u32) {
    let bits = bits.as_bytes();
    let (mut mask, mut value, mut width) = (0, 0, 0);
    let mut i = 0;
    while i < bits.len() {
        let (fixed, one) = match bits[i] {
            b'0' => (1, 0),
            b'1' => (1, 1),
            b'.' => (0, 0),
            _ => {
                assert!(bits[i] == b' ', "a row draws something else than 0, 1, dot or space");
                i += 1;
                continue;
            }
        };
        mask = mask << 1 | fixed;
        value = value << 1 | one;
        width += 1;
        i += 1;
    }
    (mask, value, width)
}

macro_rules! instructions {
    ($( $op:ident $fmt:ident $mnemonic:literal $ext:ident $bits:literal; )*) => {
        /// The name of an instruction in code: its mnemonic in camel case.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the mnemonic is the documentation")]
        pub enum Op { $( $op, )* }

        /// All instructions; the row of an [`Op`] is the one at its number.
        pub static ROWS: [Row; [$( Op::$op, )*].len()] = TABLE;

        /// [`ROWS`] for constant evaluation, which may not read a static.
        pub(crate) const TABLE: [Row; [$( Op::$op, )*].len()] = [
            $( Row::new(Op::$op, Format::$fmt, $mnemonic, Ext::$ext, $bits), )*
        ];
    };
}

impl Op {
    /// The row of this instruction.
    pub const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its name in assembly.
    pub const fn mnemonic(self) -> &'static str {
        self.row().mnemonic
    }

    /// Whether it is a hint in the encoding of an older instruction, and so legal, and nothing, on
    /// a machine without its extension.
    pub const fn is_hint(self) -> bool {
        matches!(self, Self::Pause | Self::PrefetchI | Self::PrefetchR | Self::PrefetchW)
    }

    /// The instruction of this name in assembly.
    pub fn from_mnemonic(mnemonic: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.mnemonic == mnemonic).map(|row| row.op)
    }
}

instructions! {
    // op          fmt       mnemonic          ext          31   25 24 20 19 15 14 12 11 7 6     0
    // RV64I.
    Lui           U         "lui"             I           "....... ..... ..... ... ..... 0110111";
    Auipc         U         "auipc"           I           "....... ..... ..... ... ..... 0010111";
    Jal           J         "jal"             I           "....... ..... ..... ... ..... 1101111";
    Jalr          Load      "jalr"            I           "....... ..... ..... 000 ..... 1100111";
    Beq           B         "beq"             I           "....... ..... ..... 000 ..... 1100011";
    Bne           B         "bne"             I           "....... ..... ..... 001 ..... 1100011";
    Blt           B         "blt"             I           "....... ..... ..... 100 ..... 1100011";
    Bge           B         "bge"             I           "....... ..... ..... 101 ..... 1100011";
    Bltu          B         "bltu"            I           "....... ..... ..... 110 ..... 1100011";
    Bgeu          B         "bgeu"            I           "....... ..... ..... 111 ..... 1100011";
    Lb            Load      "lb"              I           "....... ..... ..... 000 ..... 0000011";
    Lh            Load      "lh"              I           "....... ..... ..... 001 ..... 0000011";
    Lw            Load      "lw"              I           "....... ..... ..... 010 ..... 0000011";
    Ld            Load      "ld"              I           "....... ..... ..... 011 ..... 0000011";
    Lbu           Load      "lbu"             I           "....... ..... ..... 100 ..... 0000011";
    Lhu           Load      "lhu"             I           "....... ..... ..... 101 ..... 0000011";
    Lwu           Load      "lwu"             I           "....... ..... ..... 110 ..... 0000011";
    Sb            Store     "sb"              I           "....... ..... ..... 000 ..... 0100011";
    Sh            Store     "sh"              I           "....... ..... ..... 001 ..... 0100011";
    Sw            Store     "sw"              I           "....... ..... ..... 010 ..... 0100011";
    Sd            Store     "sd"              I           "....... ..... ..... 011 ..... 0100011";
    Addi          I         "addi"            I           "....... ..... ..... 000 ..... 0010011";
    Slti          I         "slti"            I           "....... ..... ..... 010 ..... 0010011";
    Sltiu         I         "sltiu"           I           "....... ..... ..... 011 ..... 0010011";
    Xori          I         "xori"            I           "....... ..... ..... 100 ..... 0010011";
    Ori           I         "ori"             I           "....... ..... ..... 110 ..... 0010011";
    Andi          I         "andi"            I           "....... ..... ..... 111 ..... 0010011";
    Slli          Shift6    "slli"            I           "000000. ..... ..... 001 ..... 0010011";
    Srli          Shift6    "srli"            I           "000000. ..... ..... 101 ..... 0010011";
    Srai          Shift6    "srai"            I           "010000. ..... ..... 101 ..... 0010011";
    Add           R         "add"             I           "0000000 ..... ..... 000 ..... 0110011";
    Sub           R         "sub"             I           "0100000 ..... ..... 000 ..... 0110011";
    Sll           R         "sll"             I           "0000000 ..... ..... 001 ..... 0110011";
    Slt           R         "slt"             I           "0000000 ..... ..... 010 ..... 0110011";
    Sltu          R         "sltu"            I           "0000000 ..... ..... 011 ..... 0110011";
    Xor           R         "xor"             I           "0000000 ..... ..... 100 ..... 0110011";
    Srl           R         "srl"             I           "0000000 ..... ..... 101 ..... 0110011";
    Sra           R         "sra"             I           "0100000 ..... ..... 101 ..... 0110011";
    Or            R         "or"              I           "0000000 ..... ..... 110 ..... 0110011";
    And           R         "and"             I           "0000000 ..... ..... 111 ..... 0110011";
    Addiw         I         "addiw"           I           "....... ..... ..... 000 ..... 0011011";
    Slliw         Shift5    "slliw"           I           "0000000 ..... ..... 001 ..... 0011011";
    Srliw         Shift5    "srliw"           I           "0000000 ..... ..... 101 ..... 0011011";
    Sraiw         Shift5    "sraiw"           I           "0100000 ..... ..... 101 ..... 0011011";
    Addw          R         "addw"            I           "0000000 ..... ..... 000 ..... 0111011";
    Subw          R         "subw"            I           "0100000 ..... ..... 000 ..... 0111011";
    Sllw          R         "sllw"            I           "0000000 ..... ..... 001 ..... 0111011";
    Srlw          R         "srlw"            I           "0000000 ..... ..... 101 ..... 0111011";
    Sraw          R         "sraw"            I           "0100000 ..... ..... 101 ..... 0111011";
    Fence         Fence     "fence"           I           "....... ..... ..... 000 ..... 0001111";
    FenceTso      None      "fence.tso"       I           "1000001 10011 ..... 000 ..... 0001111";
    Ecall         None      "ecall"           I           "0000000 00000 00000 000 00000 1110011";
    Ebreak        None      "ebreak"          I           "0000000 00001 00000 000 00000 1110011";
    // Zifencei, Zihintpause, Zicsr.
    FenceI        None      "fence.i"         Zifencei    "....... ..... ..... 001 ..... 0001111";
    Pause         None      "pause"           Zihintpause "0000000 10000 00000 000 00000 0001111";
    Csrrw         Csr       "csrrw"           Zicsr       "....... ..... ..... 001 ..... 1110011";
    Csrrs         Csr       "csrrs"           Zicsr       "....... ..... ..... 010 ..... 1110011";
    Csrrc         Csr       "csrrc"           Zicsr       "....... ..... ..... 011 ..... 1110011";
    Csrrwi        CsrImm    "csrrwi"          Zicsr       "....... ..... ..... 101 ..... 1110011";
    Csrrsi        CsrImm    "csrrsi"          Zicsr       "....... ..... ..... 110 ..... 1110011";
    Csrrci        CsrImm    "csrrci"          Zicsr       "....... ..... ..... 111 ..... 1110011";
    // M.
    Mul           R         "mul"             M           "0000001 ..... ..... 000 ..... 0110011";
    Mulh          R         "mulh"            M           "0000001 ..... ..... 001 ..... 0110011";
    Mulhsu        R         "mulhsu"          M           "0000001 ..... ..... 010 ..... 0110011";
    Mulhu         R         "mulhu"           M           "0000001 ..... ..... 011 ..... 0110011";
    Div           R         "div"             M           "0000001 ..... ..... 100 ..... 0110011";
    Divu          R         "divu"            M           "0000001 ..... ..... 101 ..... 0110011";
    Rem           R         "rem"             M           "0000001 ..... ..... 110 ..... 0110011";
    Remu          R         "remu"            M           "0000001 ..... ..... 111 ..... 0110011";
    Mulw          R         "mulw"            M           "0000001 ..... ..... 000 ..... 0111011";
    Divw          R         "divw"            M           "0000001 ..... ..... 100 ..... 0111011";
    Divuw         R         "divuw"           M           "0000001 ..... ..... 101 ..... 0111011";
    Remw          R         "remw"            M           "0000001 ..... ..... 110 ..... 0111011";
    Remuw         R         "remuw"           M           "0000001 ..... ..... 111 ..... 0111011";
    // A.
    LrW           Lr        "lr.w"            A           "00010.. 00000 ..... 010 ..... 0101111";
    ScW           Amo       "sc.w"            A           "00011.. ..... ..... 010 ..... 0101111";
    AmoswapW      Amo       "amoswap.w"       A           "00001.. ..... ..... 010 ..... 0101111";
    AmoaddW       Amo       "amoadd.w"        A           "00000.. ..... ..... 010 ..... 0101111";
    AmoxorW       Amo       "amoxor.w"        A           "00100.. ..... ..... 010 ..... 0101111";
    AmoandW       Amo       "amoand.w"        A           "01100.. ..... ..... 010 ..... 0101111";
    AmoorW        Amo       "amoor.w"         A           "01000.. ..... ..... 010 ..... 0101111";
    AmominW       Amo       "amomin.w"        A           "10000.. ..... ..... 010 ..... 0101111";
    AmomaxW       Amo       "amomax.w"        A           "10100.. ..... ..... 010 ..... 0101111";
    AmominuW      Amo       "amominu.w"       A           "11000.. ..... ..... 010 ..... 0101111";
    AmomaxuW      Amo       "amomaxu.w"       A           "11100.. ..... ..... 010 ..... 0101111";
    LrD           Lr        "lr.d"            A           "00010.. 00000 ..... 011 ..... 0101111";
    ScD           Amo       "sc.d"            A           "00011.. ..... ..... 011 ..... 0101111";
    AmoswapD      Amo       "amoswap.d"       A           "00001.. ..... ..... 011 ..... 0101111";
    AmoaddD       Amo       "amoadd.d"        A           "00000.. ..... ..... 011 ..... 0101111";
    AmoxorD       Amo       "amoxor.d"        A           "00100.. ..... ..... 011 ..... 0101111";
    AmoandD       Amo       "amoand.d"        A           "01100.. ..... ..... 011 ..... 0101111";
    AmoorD        Amo       "amoor.d"         A           "01000.. ..... ..... 011 ..... 0101111";
    AmominD       Amo       "amomin.d"        A           "10000.. ..... ..... 011 ..... 0101111";
    AmomaxD       Amo       "amomax.d"        A           "10100.. ..... ..... 011 ..... 0101111";
    AmominuD      Amo       "amominu.d"       A           "11000.. ..... ..... 011 ..... 0101111";
    AmomaxuD      Amo       "amomaxu.d"       A           "11100.. ..... ..... 011 ..... 0101111";
    // F.
    Flw           FLoad     "flw"             F           "....... ..... ..... 010 ..... 0000111";
    Fsw           FStore    "fsw"             F           "....... ..... ..... 010 ..... 0100111";
    FmaddS        R4        "fmadd.s"         F           ".....00 ..... ..... ... ..... 1000011";
    FmsubS        R4        "fmsub.s"         F           ".....00 ..... ..... ... ..... 1000111";
    FnmsubS       R4        "fnmsub.s"        F           ".....00 ..... ..... ... ..... 1001011";
    FnmaddS       R4        "fnmadd.s"        F           ".....00 ..... ..... ... ..... 1001111";
    FaddS         FpRm      "fadd.s"          F           "0000000 ..... ..... ... ..... 1010011";
    FsubS         FpRm      "fsub.s"          F           "0000100 ..... ..... ... ..... 1010011";
    FmulS         FpRm      "fmul.s"          F           "0001000 ..... ..... ... ..... 1010011";
    FdivS         FpRm      "fdiv.s"          F           "0001100 ..... ..... ... ..... 1010011";
    FsqrtS        Fp1Rm     "fsqrt.s"         F           "0101100 00000 ..... ... ..... 1010011";
    FsgnjS        Fp        "fsgnj.s"         F           "0010000 ..... ..... 000 ..... 1010011";
    FsgnjnS       Fp        "fsgnjn.s"        F           "0010000 ..... ..... 001 ..... 1010011";
    FsgnjxS       Fp        "fsgnjx.s"        F           "0010000 ..... ..... 010 ..... 1010011";
    FminS         Fp        "fmin.s"          F           "0010100 ..... ..... 000 ..... 1010011";
    FmaxS         Fp        "fmax.s"          F           "0010100 ..... ..... 001 ..... 1010011";
    FeqS          FpCmp     "feq.s"           F           "1010000 ..... ..... 010 ..... 1010011";
    FltS          FpCmp     "flt.s"           F           "1010000 ..... ..... 001 ..... 1010011";
    FleS          FpCmp     "fle.s"           F           "1010000 ..... ..... 000 ..... 1010011";
    FcvtWS        FpToXRm   "fcvt.w.s"        F           "1100000 00000 ..... ... ..... 1010011";
    FcvtSW        FpFromXRm "fcvt.s.w"        F           "1101000 00000 ..... ... ..... 1010011";
    FcvtWuS       FpToXRm   "fcvt.wu.s"       F           "1100000 00001 ..... ... ..... 1010011";
    FcvtSWu       FpFromXRm "fcvt.s.wu"       F           "1101000 00001 ..... ... ..... 1010011";
    FcvtLS        FpToXRm   "fcvt.l.s"        F           "1100000 00010 ..... ... ..... 1010011";
    FcvtSL        FpFromXRm "fcvt.s.l"        F           "1101000 00010 ..... ... ..... 1010011";
    FcvtLuS       FpToXRm   "fcvt.lu.s"       F           "1100000 00011 ..... ... ..... 1010011";
    FcvtSLu       FpFromXRm "fcvt.s.lu"       F           "1101000 00011 ..... ... ..... 1010011";
    FmvXW         FpToX     "fmv.x.w"         F           "1110000 00000 ..... 000 ..... 1010011";
    FmvWX         FpFromX   "fmv.w.x"         F           "1111000 00000 ..... 000 ..... 1010011";
    FclassS       FpToX     "fclass.s"        F           "1110000 00000 ..... 001 ..... 1010011";
    // D.
    Fld           FLoad     "fld"             D           "....... ..... ..... 011 ..... 0000111";
    Fsd           FStore    "fsd"             D           "....... ..... ..... 011 ..... 0100111";
    FmaddD        R4        "fmadd.d"         D           ".....01 ..... ..... ... ..... 1000011";
    FmsubD        R4        "fmsub.d"         D           ".....01 ..... ..... ... ..... 1000111";
    FnmsubD       R4        "fnmsub.d"        D           ".....01 ..... ..... ... ..... 1001011";
    FnmaddD       R4        "fnmadd.d"        D           ".....01 ..... ..... ... ..... 1001111";
    FaddD         FpRm      "fadd.d"          D           "0000001 ..... ..... ... ..... 1010011";
    FsubD         FpRm      "fsub.d"          D           "0000101 ..... ..... ... ..... 1010011";
    FmulD         FpRm      "fmul.d"          D           "0001001 ..... ..... ... ..... 1010011";
    FdivD         FpRm      "fdiv.d"          D           "0001101 ..... ..... ... ..... 1010011";
    FsqrtD        Fp1Rm     "fsqrt.d"         D           "0101101 00000 ..... ... ..... 1010011";
    FsgnjD        Fp        "fsgnj.d"         D           "0010001 ..... ..... 000 ..... 1010011";
    FsgnjnD       Fp        "fsgnjn.d"        D           "0010001 ..... ..... 001 ..... 1010011";
    FsgnjxD       Fp        "fsgnjx.d"        D           "0010001 ..... ..... 010 ..... 1010011";
    FminD         Fp        "fmin.d"          D           "0010101 ..... ..... 000 ..... 1010011";
    FmaxD         Fp        "fmax.d"          D           "0010101 ..... ..... 001 ..... 1010011";
    FeqD          FpCmp     "feq.d"           D           "1010001 ..... ..... 010 ..... 1010011";
    FltD          FpCmp     "flt.d"           D           "1010001 ..... ..... 001 ..... 1010011";
    FleD          FpCmp     "fle.d"           D           "1010001 ..... ..... 000 ..... 1010011";
    FcvtWD        FpToXRm   "fcvt.w.d"        D           "1100001 00000 ..... ... ..... 1010011";
    FcvtDW        FpFromXRm "fcvt.d.w"        D           "1101001 00000 ..... ... ..... 1010011";
    FcvtWuD       FpToXRm   "fcvt.wu.d"       D           "1100001 00001 ..... ... ..... 1010011";
    FcvtDWu       FpFromXRm "fcvt.d.wu"       D           "1101001 00001 ..... ... ..... 1010011";
    FcvtLD        FpToXRm   "fcvt.l.d"        D           "1100001 00010 ..... ... ..... 1010011";
    FcvtDL        FpFromXRm "fcvt.d.l"        D           "1101001 00010 ..... ... ..... 1010011";
    FcvtLuD       FpToXRm   "fcvt.lu.d"       D           "1100001 00011 ..... ... ..... 1010011";
    FcvtDLu       FpFromXRm "fcvt.d.lu"       D           "1101001 00011 ..... ... ..... 1010011";
    FcvtSD        Fp1Rm     "fcvt.s.d"        D           "0100000 00001 ..... ... ..... 1010011";
    FcvtDS        Fp1Rm     "fcvt.d.s"        D           "0100001 00000 ..... ... ..... 1010011";
    FmvXD         FpToX     "fmv.x.d"         D           "1110001 00000 ..... 000 ..... 1010011";
    FmvDX         FpFromX   "fmv.d.x"         D           "1111001 00000 ..... 000 ..... 1010011";
    FclassD       FpToX     "fclass.d"        D           "1110001 00000 ..... 001 ..... 1010011";
    // Zba.
    AddUw         R         "add.uw"          Zba         "0000100 ..... ..... 000 ..... 0111011";
    Sh1add        R         "sh1add"          Zba         "0010000 ..... ..... 010 ..... 0110011";
    Sh1addUw      R         "sh1add.uw"       Zba         "0010000 ..... ..... 010 ..... 0111011";
    Sh2add        R         "sh2add"          Zba         "0010000 ..... ..... 100 ..... 0110011";
    Sh2addUw      R         "sh2add.uw"       Zba         "0010000 ..... ..... 100 ..... 0111011";
    Sh3add        R         "sh3add"          Zba         "0010000 ..... ..... 110 ..... 0110011";
    Sh3addUw      R         "sh3add.uw"       Zba         "0010000 ..... ..... 110 ..... 0111011";
    SlliUw        Shift6    "slli.uw"         Zba         "000010. ..... ..... 001 ..... 0011011";
    // Zbb.
    Andn          R         "andn"            Zbb         "0100000 ..... ..... 111 ..... 0110011";
    Orn           R         "orn"             Zbb         "0100000 ..... ..... 110 ..... 0110011";
    Xnor          R         "xnor"            Zbb         "0100000 ..... ..... 100 ..... 0110011";
    Clz           R2        "clz"             Zbb         "0110000 00000 ..... 001 ..... 0010011";
    Clzw          R2        "clzw"            Zbb         "0110000 00000 ..... 001 ..... 0011011";
    Ctz           R2        "ctz"             Zbb         "0110000 00001 ..... 001 ..... 0010011";
    Ctzw          R2        "ctzw"            Zbb         "0110000 00001 ..... 001 ..... 0011011";
    Cpop          R2        "cpop"            Zbb         "0110000 00010 ..... 001 ..... 0010011";
    Cpopw         R2        "cpopw"           Zbb         "0110000 00010 ..... 001 ..... 0011011";
    Min           R         "min"             Zbb         "0000101 ..... ..... 100 ..... 0110011";
    Minu          R         "minu"            Zbb         "0000101 ..... ..... 101 ..... 0110011";
    Max           R         "max"             Zbb         "0000101 ..... ..... 110 ..... 0110011";
    Maxu          R         "maxu"            Zbb         "0000101 ..... ..... 111 ..... 0110011";
    SextB         R2        "sext.b"          Zbb         "0110000 00100 ..... 001 ..... 0010011";
    SextH         R2        "sext.h"          Zbb         "0110000 00101 ..... 001 ..... 0010011";
    ZextH         R2        "zext.h"          Zbb         "0000100 00000 ..... 100 ..... 0111011";
    Rol           R         "rol"             Zbb         "0110000 ..... ..... 001 ..... 0110011";
    Rolw          R         "rolw"            Zbb         "0110000 ..... ..... 001 ..... 0111011";
    Ror           R         "ror"             Zbb         "0110000 ..... ..... 101 ..... 0110011";
    Rorw          R         "rorw"            Zbb         "0110000 ..... ..... 101 ..... 0111011";
    Rori          Shift6    "rori"            Zbb         "011000. ..... ..... 101 ..... 0010011";
    Roriw         Shift5    "roriw"           Zbb         "0110000 ..... ..... 101 ..... 0011011";
    OrcB          R2        "orc.b"           Zbb         "0010100 00111 ..... 101 ..... 0010011";
    Rev8          R2        "rev8"            Zbb         "0110101 11000 ..... 101 ..... 0010011";
    // Zbs.
    Bclr          R         "bclr"            Zbs         "0100100 ..... ..... 001 ..... 0110011";
    Bclri         Shift6    "bclri"           Zbs         "010010. ..... ..... 001 ..... 0010011";
    Bext          R         "bext"            Zbs         "0100100 ..... ..... 101 ..... 0110011";
    Bexti         Shift6    "bexti"           Zbs         "010010. ..... ..... 101 ..... 0010011";
    Binv          R         "binv"            Zbs         "0110100 ..... ..... 001 ..... 0110011";
    Binvi         Shift6    "binvi"           Zbs         "011010. ..... ..... 001 ..... 0010011";
    Bset          R         "bset"            Zbs         "0010100 ..... ..... 001 ..... 0110011";
    Bseti         Shift6    "bseti"           Zbs         "001010. ..... ..... 001 ..... 0010011";
    // Zicbom, Zicboz, Zicbop, Zawrs.
    CboInval      Cbo       "cbo.inval"       Zicbom      "0000000 00000 ..... 010 00000 0001111";
    CboClean      Cbo       "cbo.clean"       Zicbom      "0000000 00001 ..... 010 00000 0001111";
    CboFlush      Cbo       "cbo.flush"       Zicbom      "0000000 00010 ..... 010 00000 0001111";
    CboZero       Cbo       "cbo.zero"        Zicboz      "0000000 00100 ..... 010 00000 0001111";
    PrefetchI     Prefetch  "prefetch.i"      Zicbop      "....... 00000 ..... 110 00000 0010011";
    PrefetchR     Prefetch  "prefetch.r"      Zicbop      "....... 00001 ..... 110 00000 0010011";
    PrefetchW     Prefetch  "prefetch.w"      Zicbop      "....... 00011 ..... 110 00000 0010011";
    WrsNto        None      "wrs.nto"         Zawrs       "0000000 01101 00000 000 00000 1110011";
    WrsSto        None      "wrs.sto"         Zawrs       "0000000 11101 00000 000 00000 1110011";
    // Privileged: returns, waiting, fences.
    Sret          None      "sret"            S           "0001000 00010 00000 000 00000 1110011";
    Mret          None      "mret"            I           "0011000 00010 00000 000 00000 1110011";
    Wfi           None      "wfi"             I           "0001000 00101 00000 000 00000 1110011";
    SfenceVma     Fence2    "sfence.vma"      S           "0001001 ..... ..... 000 00000 1110011";
    SinvalVma     Fence2    "sinval.vma"      Svinval     "0001011 ..... ..... 000 00000 1110011";
    SfenceWInval  None      "sfence.w.inval"  Svinval     "0001100 00000 00000 000 00000 1110011";
    SfenceInvalIr None      "sfence.inval.ir" Svinval     "0001100 00001 00000 000 00000 1110011";
    // H.
    HfenceVvma    Fence2    "hfence.vvma"     H           "0010001 ..... ..... 000 00000 1110011";
    HfenceGvma    Fence2    "hfence.gvma"     H           "0110001 ..... ..... 000 00000 1110011";
    HinvalVvma    Fence2    "hinval.vvma"     Svinval     "0010011 ..... ..... 000 00000 1110011";
    HinvalGvma    Fence2    "hinval.gvma"     Svinval     "0110011 ..... ..... 000 00000 1110011";
    HlvB          HLoad     "hlv.b"           H           "0110000 00000 ..... 100 ..... 1110011";
    HlvBu         HLoad     "hlv.bu"          H           "0110000 00001 ..... 100 ..... 1110011";
    HlvH          HLoad     "hlv.h"           H           "0110010 00000 ..... 100 ..... 1110011";
    HlvHu         HLoad     "hlv.hu"          H           "0110010 00001 ..... 100 ..... 1110011";
    HlvxHu        HLoad     "hlvx.hu"         H           "0110010 00011 ..... 100 ..... 1110011";
    HlvW          HLoad     "hlv.w"           H           "0110100 00000 ..... 100 ..... 1110011";
    HlvWu         HLoad     "hlv.wu"          H           "0110100 00001 ..... 100 ..... 1110011";
    HlvxWu        HLoad     "hlvx.wu"         H           "0110100 00011 ..... 100 ..... 1110011";
    HlvD          HLoad     "hlv.d"           H           "0110110 00000 ..... 100 ..... 1110011";
    HsvB          HStore    "hsv.b"           H           "0110001 ..... ..... 100 00000 1110011";
    HsvH          HStore    "hsv.h"           H           "0110011 ..... ..... 100 00000 1110011";
    HsvW          HStore    "hsv.w"           H           "0110101 ..... ..... 100 00000 1110011";
    HsvD          HStore    "hsv.d"           H           "0110111 ..... ..... 100 00000 1110011";
    // DV-ext: as H with bit 31 set; huret has the number of the withdrawn N extension's uret.
    Huret         None      "huret"           Xdv         "0000000 00010 00000 000 00000 1110011";
    HufenceVvma   Fence2    "hufence.vvma"    Xdv         "1010001 ..... ..... 000 00000 1110011";
    HufenceGvma   Fence2    "hufence.gvma"    Xdv         "1110001 ..... ..... 000 00000 1110011";
    HulvB         HLoad     "hulv.b"          Xdv         "1110000 00000 ..... 100 ..... 1110011";
    HulvBu        HLoad     "hulv.bu"         Xdv         "1110000 00001 ..... 100 ..... 1110011";
    HulvH         HLoad     "hulv.h"          Xdv         "1110010 00000 ..... 100 ..... 1110011";
    HulvHu        HLoad     "hulv.hu"         Xdv         "1110010 00001 ..... 100 ..... 1110011";
    HulvxHu       HLoad     "hulvx.hu"        Xdv         "1110010 00011 ..... 100 ..... 1110011";
    HulvW         HLoad     "hulv.w"          Xdv         "1110100 00000 ..... 100 ..... 1110011";
    HulvWu        HLoad     "hulv.wu"         Xdv         "1110100 00001 ..... 100 ..... 1110011";
    HulvxWu       HLoad     "hulvx.wu"        Xdv         "1110100 00011 ..... 100 ..... 1110011";
    HulvD         HLoad     "hulv.d"          Xdv         "1110110 00000 ..... 100 ..... 1110011";
    HusvB         HStore    "husv.b"          Xdv         "1110001 ..... ..... 100 00000 1110011";
    HusvH         HStore    "husv.h"          Xdv         "1110011 ..... ..... 100 00000 1110011";
    HusvW         HStore    "husv.w"          Xdv         "1110101 ..... ..... 100 00000 1110011";
    HusvD         HStore    "husv.d"          Xdv         "1110111 ..... ..... 100 00000 1110011";
}
