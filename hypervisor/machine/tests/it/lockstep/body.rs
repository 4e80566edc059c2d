//! The body of an episode: random instructions, most of which find what they need.
#![expect(clippy::wildcard_enum_match_arm, reason = "a few instructions of many")]

use isa::compressed::{COp, CROWS};
use isa::{Csr, Ext, Format, Insn, Op, ROWS, decode16, encode};

use super::asm::{Code, ZERO};
use super::csrs::{Use, Values, any_word, standard, untouched, usage};
use super::layout::{
    CODE, DATA, DATA_OF_U, HOLE, HUGE, MIRROR, PAGE, RAM_BASE, RAM_PAGES, SPARE, TABLES, WINDOW,
    WINDOW_PAGES, address,
};
use crate::rng::Rng;

/// Registers of the bodies: for jumps, for constants, for addresses (those that compressed
/// instructions can name, and sp).
pub(crate) const JUMP: u8 = 5;
pub(crate) const TEMP: u8 = 6;
pub(crate) const TEMP2: u8 = 7;
const RA: u8 = 1;
const SP: u8 = 2;
/// Counts the turns of a loop; the last one before those of the handlers.
const COUNT: u8 = 27;
const POINTERS: [u8; 9] = [SP, 8, 9, 10, 11, 12, 13, 14, 15];

/// The modes that an episode begins in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    M,
    Hs,
    U,
    Vs,
    Vu,
}

impl Level {
    pub(crate) fn virt(self) -> bool {
        matches!(self, Self::Vs | Self::Vu)
    }

    pub(crate) fn user(self) -> bool {
        matches!(self, Self::U | Self::Vu)
    }
}

/// Instructions by what they need.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    pub(crate) integer: Vec<Op>,
    pub(crate) float: Vec<Op>,
    pub(crate) loads: Vec<Op>,
    pub(crate) stores: Vec<Op>,
    pub(crate) atomics: Vec<Op>,
    pub(crate) fences: Vec<Op>,
    pub(crate) guest: Vec<Op>,
    pub(crate) blocks: Vec<Op>,
    compressed: Vec<COp>,
    pub(crate) csrs: Vec<Csr>,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let of = |formats: &[Format]| -> Vec<Op> {
            let rows = ROWS.iter().filter(|row| row.ext != Ext::Xdv && formats.contains(&row.fmt));
            rows.map(|row| row.op).filter(|op| *op != Op::Jalr).collect()
        };
        let jumps = [COp::CJ, COp::CJr, COp::CJalr, COp::CBeqz, COp::CBnez, COp::CEbreak];
        Self {
            integer: of(&[
                Format::R,
                Format::R2,
                Format::I,
                Format::Shift5,
                Format::Shift6,
                Format::U,
            ]),
            float: of(&[
                Format::R4,
                Format::FpRm,
                Format::Fp1Rm,
                Format::Fp,
                Format::FpCmp,
                Format::FpToX,
                Format::FpToXRm,
                Format::FpFromX,
                Format::FpFromXRm,
            ]),
            loads: of(&[Format::Load, Format::FLoad]),
            stores: of(&[Format::Store, Format::FStore]),
            atomics: of(&[Format::Amo]),
            fences: of(&[Format::Fence2]),
            guest: of(&[Format::HLoad, Format::HStore]),
            blocks: of(&[Format::Cbo, Format::Prefetch]),
            compressed: CROWS.iter().map(|row| row.op).filter(|op| !jumps.contains(op)).collect(),
            csrs: standard(),
        }
    }

    /// Those of tame programs.
    pub(crate) fn tame() -> Self {
        let mut kinds = Self::new();
        kinds.csrs = vec![Csr::FCSR, Csr::FRM, Csr::FFLAGS];
        kinds.guest.retain(|op| !matches!(op, Op::HlvxHu | Op::HlvxWu));
        kinds
    }
}

/// What a body is for.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) code: Code,
    pub(crate) rng: &'a mut Rng,
    pub(crate) kinds: &'a Kinds,
    pub(crate) values: &'a Values,
    pub(crate) level: Level,
    /// Whether its page is one of U, and whether it runs at the mirror's addresses now.
    pub(crate) user: bool,
    pub(crate) in_mirror: bool,
    /// Whether the addresses of the mirror are translated, outside of a guest and in it.
    pub(crate) mirrored: [bool; 2],
    /// The software interrupt of S is delegated to HS and to VS: what ends a WFI there.
    pub(crate) wakes: [bool; 2],
    /// See [`super::program::Program::tame`].
    pub(crate) tame: bool,
    /// How often each item is chosen.
    pub(crate) weights: [u64; N_ITEMS],
}

pub(crate) const N_ITEMS: usize = 20;
/// Out of about 1000.
pub(crate) const WEIGHTS: [u64; N_ITEMS] =
    [200, 150, 110, 70, 150, 60, 30, 20, 50, 150, 80, 20, 25, 8, 8, 10, 10, 6, 12, 6];

impl Body<'_> {
    /// Writes the body: it ends in calls for ever, of which someone has enough at last.
    pub(crate) fn write(mut self) -> Vec<u8> {
        if self.rng.one_in(2) {
            // Everything lies across words, and one instruction across pages.
            self.code.half(1);
        }
        POINTERS.into_iter().for_each(|reg| self.load_pointer(reg));
        let room = 3600 + usize::try_from(self.rng.below(900)).unwrap();
        let total = self.weights.iter().sum();
        while self.code.len() < room {
            let mut chosen = self.rng.below(total);
            let mut item = 0;
            while chosen >= self.weights[item] {
                chosen -= self.weights[item];
                item += 1;
            }
            self.item(item);
        }
        let end = self.code.label();
        self.code.bind(end);
        self.code.op(Op::Ecall);
        self.code.jump(end);
        self.code.finish()
    }

    /// The order is that of [`WEIGHTS`].
    fn item(&mut self, item: usize) {
        match item {
            0 => self.integer(),
            1 => self.compressed_pair(),
            2 => self.load(),
            3 => self.store(),
            4 => self.pointer(),
            5 => self.branch(),
            6 => self.hop(),
            7 => self.short_loop(),
            8 => self.atomic(),
            9 => self.float(),
            10 => self.csr(),
            11 => self.fence(),
            12 => self.guest_access(),
            13 => self.block(),
            14 => self.call(),
            15 => self.change_mode(),
            16 => self.change_code(),
            17 => self.change_table(),
            18 => self.word(),
            _ => self.wait(),
        }
    }

    // Operands.

    /// A register that may be overwritten: seldom one that holds an address.
    pub(crate) fn rd(&mut self) -> u8 {
        let reg = self.rng.pick(&[3, 4, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26]);
        match self.rng.below(20) {
            0 => ZERO,
            1 => 2 + self.any() % (COUNT - 2),
            _ => reg,
        }
    }

    pub(crate) fn any(&mut self) -> u8 {
        u8::try_from(self.rng.below(32)).unwrap()
    }

    pub(crate) fn base(&mut self) -> u8 {
        if self.rng.one_in(60) { self.any() } else { self.rng.pick(&POINTERS) }
    }

    /// A rounding mode: mostly the dynamic one, and at times a reserved one.
    fn rm(&mut self) -> u8 {
        self.rng.pick(&[0, 1, 2, 3, 4, 7, 7, 7, 7, 0, 1, 2, 3, 4, 7, 7, 7, 5, 6, 7])
    }

    /// An address: of data in most cases.
    pub(crate) fn place(&mut self) -> u64 {
        let below = |rng: &mut Rng, first: usize, end: usize| {
            PAGE * (first as u64 + rng.below((end - first) as u64))
        };
        let own = if self.level.user() { (DATA_OF_U, SPARE) } else { (DATA, DATA_OF_U) };
        let rng = &mut *self.rng;
        let offset = match rng.below(32) {
            0 => PAGE - 1 - rng.below(8),
            1 => rng.below(PAGE),
            _ => rng.below(PAGE / 64) * 64,
        };
        let own = RAM_BASE + below(rng, own.0, own.1);
        let base = match rng.below(48) {
            0 | 1 => MIRROR + below(rng, DATA, SPARE),
            2..5 => WINDOW + below(rng, 0, WINDOW_PAGES),
            5 => WINDOW + 0x20_0000 * (1 + rng.below(3)) + below(rng, DATA, SPARE),
            6 => HUGE + 0x4000_0000 * rng.below(4) + below(rng, DATA, SPARE),
            7 => RAM_BASE + below(rng, SPARE, RAM_PAGES + 2),
            8 => RAM_BASE + below(rng, CODE, DATA),
            9 => match rng.below(4) {
                0 => HOLE + below(rng, 0, 16),
                1 => own | rng.pick(&[1 << 38, 1 << 47, 1 << 56]),
                2 => own.wrapping_add(rng.next() << rng.pick(&[38, 39, 47, 56])),
                _ => rng.next() & !0xfff,
            },
            _ => own,
        };
        base.wrapping_add(offset)
    }

    fn load_pointer(&mut self, reg: u8) {
        let at = self.place();
        self.code.li(reg, at);
    }

    // Items.

    /// Random operands for every format that has no address.
    fn random(&mut self, op: Op) -> Insn {
        let fmt = op.row().fmt;
        let to_x = !matches!(
            fmt,
            Format::R4
                | Format::FpRm
                | Format::Fp1Rm
                | Format::Fp
                | Format::FpFromX
                | Format::FpFromXRm
        );
        let rd = if to_x { self.rd() } else { self.any() };
        let (rs1, rs2, rs3, rm) = (self.any(), self.any(), self.any(), self.rm());
        let imm = match fmt {
            Format::U => any_word(self.rng).cast_signed(),
            _ if self.rng.one_in(2) => self.rng.below(64).cast_signed(),
            _ => (any_word(self.rng).cast_signed() << 52) >> 52,
        };
        Insn { rd, rs1, rs2, rs3, rm, imm, ..Insn::new(op) }
    }

    fn integer(&mut self) {
        let op = self.rng.pick(&self.kinds.integer);
        let insn = self.random(op);
        self.code.put(insn);
    }

    fn float(&mut self) {
        let op = self.rng.pick(&self.kinds.float);
        let insn = self.random(op);
        self.code.put(insn);
    }

    /// Two compressed instructions, so that what follows is aligned as before. Handlers step over
    /// four bytes: the second one does not trap.
    fn compressed_pair(&mut self) {
        let mut n = 0;
        while n < 2 {
            let row = self.rng.pick(&self.kinds.compressed).row();
            let half = row.value | (self.rng.next() & 0xffff) as u16 & !row.mask;
            let Some(insn) = decode16(half) else { continue };
            let fmt = insn.row().fmt;
            let to_f = fmt == Format::FLoad;
            let traps = to_f || matches!(fmt, Format::Load | Format::Store | Format::FStore);
            // Those that write a register for addresses are thinned out.
            let spares = !POINTERS.contains(&insn.rd) || insn.op == Op::Addi || to_f;
            let fits = row.matches(half) && !(n == 1 && traps);
            if fits && (spares || self.rng.one_in(8)) {
                self.code.half(half);
                n += 1;
            }
        }
    }

    /// An offset that suits this many bytes, but for a few.
    fn offset(&mut self, width: u64) -> i64 {
        let offset = match self.rng.below(12) {
            0 => self.rng.below(128),
            _ => width * self.rng.below(256 / width),
        };
        offset.cast_signed() - 32
    }

    fn load(&mut self) {
        let op = self.rng.pick(&self.kinds.loads);
        let (rs1, imm) = (self.base(), self.offset(width(op)));
        let rd = if op.row().fmt == Format::FLoad { self.any() } else { self.rd() };
        self.code.i(op, rd, rs1, imm);
    }

    fn store(&mut self) {
        let op = self.rng.pick(&self.kinds.stores);
        let (rs1, rs2, imm) = (self.base(), self.any(), self.offset(width(op)));
        self.code.s(op, rs2, rs1, imm);
    }

    fn pointer(&mut self) {
        let reg = self.rng.pick(&POINTERS);
        self.load_pointer(reg);
    }

    /// Over a few instructions, or not.
    fn branch(&mut self) {
        let op = self.rng.pick(&[Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu]);
        let label = self.code.label();
        let (rs1, rs2) = (self.any(), self.any());
        self.code.to(op, rs1, rs2, label);
        for _ in 0..1 + self.rng.below(3) {
            self.integer();
        }
        self.code.bind(label);
    }

    /// A jump over a few instructions, by every way there is.
    fn hop(&mut self) {
        let label = self.code.label();
        let rd = self.rd();
        match self.rng.below(6) {
            0 => self.code.to(Op::Jal, rd, ZERO, label),
            1 => {
                // auipc; jalr: four instructions on, or into the middle of one.
                self.code.put(Insn { rd: JUMP, ..Insn::new(Op::Auipc) });
                let to = self.rng.pick(&[16, 16, 17, 20, 16, 17, 20, 16, 16, 18]);
                self.code.i(Op::Jalr, rd, JUMP, to);
            }
            2 => {
                self.code.put(Insn { rd: JUMP, ..Insn::new(Op::Auipc) });
                self.code.i(Op::Addi, JUMP, JUMP, 16);
                // c.jr or c.jalr, and c.nop.
                let link = self.rng.pick(&[0x8002, 0x9002]);
                self.code.half(link | u16::from(JUMP) << 7);
                self.code.half(1);
            }
            // c.j over itself and one more.
            3 => {
                self.code.half(0xa011);
                self.code.half(1);
            }
            // c.beqz and c.bnez.
            4 => {
                let row = self.rng.pick(&[0xc011, 0xe011]);
                self.code.half(row | ((self.rng.next() & 7) as u16) << 7);
                self.code.half(1);
            }
            _ => {
                let at = self.place();
                self.code.li(JUMP, at);
                if self.rng.one_in(4) {
                    self.code.i(Op::Jalr, RA, JUMP, 0);
                }
            }
        }
        for _ in 0..2 + self.rng.below(2) {
            self.integer();
        }
        self.code.bind(label);
    }

    /// A few instructions a few times.
    fn short_loop(&mut self) {
        let n = 1 + self.rng.below(6);
        self.code.li(COUNT, n);
        let again = self.code.label();
        self.code.bind(again);
        for _ in 0..1 + self.rng.below(4) {
            match self.rng.below(4) {
                0 => self.load(),
                1 => self.store(),
                2 => self.float(),
                _ => self.integer(),
            }
        }
        self.code.i(Op::Addi, COUNT, COUNT, -1);
        self.code.to(Op::Blt, ZERO, COUNT, again);
    }

    /// An aligned address in a register for constants.
    pub(crate) fn aligned(&mut self, align: i64) -> u8 {
        let base = self.base();
        self.code.i(Op::Andi, TEMP2, base, -align);
        TEMP2
    }

    fn atomic(&mut self) {
        let rs1 = self.aligned(8);
        let rm = u8::try_from(self.rng.below(4)).unwrap();
        let (rd, rs2) = (self.rd(), self.any());
        if self.rng.one_in(3) {
            let alone = self.rng.one_in(8) && !self.tame;
            let (lr, sc) = self.rng.pick(&[(Op::LrW, Op::ScW), (Op::LrD, Op::ScD)]);
            if !alone {
                self.code.put(Insn { rd: TEMP, rs1, rm, ..Insn::new(lr) });
            }
            for _ in 0..self.rng.below(3) {
                let op = self.rng.pick(&[Op::Add, Op::Xor, Op::Maxu, Op::Sub]);
                self.code.r(op, TEMP, TEMP, rs2);
            }
            let sc = if self.rng.one_in(10) && !self.tame { Op::ScW } else { sc };
            self.code.put(Insn { rd, rs1, rs2: TEMP, rm, ..Insn::new(sc) });
        } else {
            let op = self.rng.pick(&self.kinds.atomics);
            let op = if op == Op::ScW || op == Op::ScD { Op::AmoaddD } else { op };
            self.code.put(Insn { rd, rs1, rs2, rm, ..Insn::new(op) });
        }
    }

    /// A CSR that is there, in every way that does not show what may differ.
    fn csr(&mut self) {
        if !self.tame && self.rng.one_in(12) {
            let number = (self.rng.next() & 0xfff) as u16;
            if usage(Csr(number)) == Use::All || usage(Csr(number)) == Use::Read {
                let rd = self.rd();
                self.code.csrr(rd, Csr(number));
            }
            return;
        }
        let highest = match self.level {
            Level::M => 3,
            Level::Hs => 2,
            Level::Vs => 1,
            Level::U | Level::Vu => 0,
        };
        let mut csr = self.rng.pick(&self.kinds.csrs);
        while csr.level() > highest && !self.rng.one_in(60) {
            csr = self.rng.pick(&self.kinds.csrs);
        }
        if self.rng.one_in(if self.level.user() { 2 } else { 6 }) {
            csr = self.rng.pick(&[Csr::FCSR, Csr::FRM, Csr::FFLAGS]);
        }
        let rd = self.rd();
        let usage = usage(csr);
        let read_only = csr.is_read_only() && !self.rng.one_in(20);
        match if usage == Use::All && read_only { Use::Read } else { usage } {
            Use::Never => {}
            Use::Read => self.code.csrr(rd, csr),
            Use::Check => self.code.csrr(ZERO, csr),
            Use::Write => {
                let rs1 = self.any();
                self.code.csrw(csr, rs1);
            }
            Use::All if untouched(csr) == u64::MAX || self.rng.one_in(2) => {
                let value = self.values.of(self.rng, csr);
                self.code.set(csr, value, TEMP);
                if self.rng.one_in(2) {
                    self.code.csrr(rd, csr);
                }
            }
            Use::All => {
                let op = self.rng.pick(&[Op::Csrrs, Op::Csrrc, Op::Csrrsi, Op::Csrrci]);
                let rs1 = u8::try_from(self.rng.below(32)).unwrap();
                let bits = any_word(self.rng) & !untouched(csr);
                if matches!(op, Op::Csrrsi | Op::Csrrci) && untouched(csr) & 31 == 0 {
                    self.code.csr(op, rd, csr, rs1);
                } else {
                    self.code.li(TEMP, bits);
                    let op = self.rng.pick(&[Op::Csrrs, Op::Csrrc]);
                    self.code.csr(op, rd, csr, TEMP);
                }
            }
        }
    }

    /// Anything that might be an instruction.
    fn word(&mut self) {
        let word = (self.rng.next() & 0xffff_ffff) as u32;
        match self.rng.below(4) {
            // All of SYSTEM and MISC-MEM.
            0 => {
                let word = word & !0x7f | self.rng.pick(&[0x73, 0x0f]);
                self.code.word(if changes_a_csr(word) { 0 } else { word });
            }
            // Close to one that there is.
            1 => {
                let op = self.rng.pick(&self.kinds.integer);
                let insn = self.random(op);
                self.code.word(encode(&insn) ^ 1 << (7 + self.rng.below(25)));
            }
            _ => {
                let half = (word & 0xffff) as u16;
                self.code.half(if half & 3 == 3 || jumps(half) { half & 0x1c7c } else { half });
                self.code.half(1);
            }
        }
    }
}

/// Zicsr is for [`Body::csr`], and WFI and WRS for [`Body::wait`].
fn changes_a_csr(word: u32) -> bool {
    word & 0x7f == 0x73 && word >> 12 & 7 != 4 && (word >> 12 & 7 != 0 || word >> 27 == 0)
}

fn jumps(half: u16) -> bool {
    matches!((half & 3, half >> 13), (1, 5..=7) | (2, 4))
}

fn width(op: Op) -> u64 {
    match op {
        Op::Lb | Op::Lbu | Op::Sb => 1,
        Op::Lh | Op::Lhu | Op::Sh => 2,
        Op::Lw | Op::Lwu | Op::Sw | Op::Flw | Op::Fsw => 4,
        _ => 8,
    }
}

/// The address of a page of tables, for who changes it.
pub(crate) fn table_address(page: usize) -> u64 {
    debug_assert!((TABLES..CODE).contains(&page), "page {page} is no table");
    address(page)
}
