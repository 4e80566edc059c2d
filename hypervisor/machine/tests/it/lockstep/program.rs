//! A program made from a seed: episodes, each of which sets up CSRs, enters a mode, and runs a body
//! of random instructions until it has trapped to M so many times.
//!
//! Handlers keep no registers: they look at the CSRs of the trap, step over the instruction, and
//! return; how often each will do that is in the scratch CSR of its mode. Then it gives up by a
//! call that M answers with the next episode. Nothing but the last steps, which read the memory
//! that matters, needs memory.

use std::ops::Range;

use isa::fields::{ENVCFG, MIP, MSTATUS, SATP, TVEC};
use isa::{Csr, Exception, Insn, Op};

use super::asm::{Code, Label, ZERO};
use super::body::{Body, Kinds, Level, N_ITEMS, WEIGHTS};
use super::csrs::{FIXED_PMP, PMP_FREE, PMP_LAST, Values, any_word, pmpaddr, pmpcfg};
use super::layout::{
    CODE, DATA, HS_HANDLER, HTIF, Image, KERNEL_PAGES, PAGE, RAM_BASE, SPARE, TABLES, VS_HANDLER,
    address,
};
use super::tables::Builder;
use super::tame::{TAME_PTE, tamed};
use crate::rng::Rng;

/// Where to go on after a jump that led nowhere, or zero.
const RA: u8 = 1;
/// Registers of handlers.
const T3: u8 = 28;
const T4: u8 = 29;
const T5: u8 = 30;
const T6: u8 = 31;

/// In t6 with a call: a handler has had enough.
const GIVEN_UP: i64 = 0x5a5;

const EPISODES: usize = DATA - CODE;
const ACLINT: u64 = 0x200_0000;
const MTIMECMP: u64 = ACLINT + 0x4000;

/// A program, ready to be loaded.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) image: Image,
    /// The pc at which it is over.
    pub(crate) end: u64,
    /// Everything from this pc on, in M, is the sweep.
    pub(crate) sweep: u64,
}

pub(crate) const TOHOST: u64 = RAM_BASE + HTIF as u64 * PAGE;
pub(crate) const FROMHOST: u64 = TOHOST + 64;

impl Program {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, false)
    }

    /// Of a tame program neither the course nor the last word depends on what may differ from one
    /// machine to the next. That word, a sum of all data, is in a0 at the end; then it is printed.
    pub(crate) fn tame(seed: u64) -> Self {
        Self::of(seed, true)
    }

    fn of(seed: u64, tame: bool) -> Self {
        // Neighbouring seeds have nothing in common.
        let mut rng = Rng(seed.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let rng = &mut rng;
        let mut image = Image::new();
        fill_data(&mut image, rng);
        let levels: Vec<Level> = (0..EPISODES).map(|_| level(rng)).collect();
        let user = levels.iter().map(|level| level.user()).collect();
        let mut builder = Builder { image: &mut image, rng, user, next: TABLES };
        let firsts = [8, 9, 10].map(|mode| builder.first(mode)).to_vec();
        let guests = [8, 9, 10].map(|mode| builder.guest(mode)).to_vec();
        let tables = TABLES..builder.next;
        if tame {
            image.keep(tables.clone(), TAME_PTE);
        }
        image.put(address(HS_HANDLER), &hs_handler(tame));
        image.put(address(VS_HANDLER), &vs_handler(tame));

        let mut writer = Writer {
            code: Code::at(RAM_BASE),
            rng,
            kinds: if tame { Kinds::tame() } else { Kinds::new() },
            tame,
            values: Values { firsts, guests, stce: [false; 2] },
            weights: WEIGHTS,
        };
        writer.swarm();
        writer.prologue();
        for (i, level) in levels.into_iter().enumerate() {
            let body = writer.episode(address(CODE + i), level);
            assert!(body.len() <= 2 * 4096, "a body of {} bytes", body.len());
            let room = usize::try_from(PAGE).unwrap().min(body.len());
            image.put(address(CODE + i), &body[..room]);
        }
        let sweep = writer.code.here();
        let all = writer.rng.one_in(4);
        let pages = [tables, CODE..DATA, DATA..SPARE].into_iter();
        let end =
            if tame { writer.sum() } else { writer.sweep(pages.skip(if all { 0 } else { 2 })) };
        let end = writer.code.address(end);
        let kernel = writer.code.finish();
        assert!(kernel.len() <= KERNEL_PAGES * 4096, "a kernel of {} bytes", kernel.len());
        image.put(RAM_BASE, &kernel);
        Self { image, end, sweep }
    }
}

fn level(rng: &mut Rng) -> Level {
    rng.pick(&[
        Level::M,
        Level::M,
        Level::Hs,
        Level::Hs,
        Level::U,
        Level::Vs,
        Level::Vs,
        Level::Vs,
        Level::Vu,
        Level::Vu,
    ])
}

/// Operands that matter to arithmetic of every kind.
fn fill_data(image: &mut Image, rng: &mut Rng) {
    for at in (address(DATA)..address(SPARE)).step_by(8) {
        let value = match rng.below(8) {
            0 | 1 => float64(rng),
            2 => u64::from(float32(rng)) << 32 | u64::from(float32(rng)),
            3 => 0xffff_ffff_0000_0000 | u64::from(float32(rng)),
            4 => any_word(rng),
            5 => rng.next(),
            6 => address(DATA) + rng.below((SPARE - DATA) as u64 * PAGE / 8) * 8,
            _ => (rng.below(512).wrapping_sub(256)).rotate_right(rng.pick(&[0, 0, 1, 32])),
        };
        image.put64(at, value);
    }
}

fn float64(rng: &mut Rng) -> u64 {
    let exponent = rng.pick(&[
        0,
        0,
        1,
        2,
        0x3fe,
        0x3ff,
        0x400,
        0x3ff + 31,
        0x3ff + 63,
        0x3ff - 126,
        0x3ff - 149,
        0x3ff + 127,
        0x7fe,
        0x7ff,
        0x7ff,
    ]);
    let exponent = if rng.one_in(3) { rng.below(0x800) } else { exponent };
    float_fraction(rng, 52) | exponent << 52 | rng.next() & 1 << 63
}

fn float32(rng: &mut Rng) -> u32 {
    let exponent = rng.pick(&[0, 0, 1, 0x7e, 0x7f, 0x80, 0x7f + 31, 0x7f + 63, 0xfe, 0xff, 0xff]);
    let exponent = if rng.one_in(3) { rng.below(0x100) } else { exponent };
    let bits = float_fraction(rng, 23) | exponent << 23 | rng.next() & 1 << 31;
    u32::try_from(bits).unwrap()
}

fn float_fraction(rng: &mut Rng, bits: u32) -> u64 {
    let all = (1 << bits) - 1;
    let one = 1u64 << rng.below(u64::from(bits));
    match rng.below(6) {
        0 => 0,
        1 => one,
        2 => all & !one,
        3 => all,
        4 => one | 1 << rng.below(u64::from(bits)),
        _ => rng.next() & all,
    }
}

/// 16 jumps to the handler behind them: the table of interrupts, and the entry of the rest.
fn vector_table(code: &mut Code) {
    let handler = code.label();
    (0..16).for_each(|_| code.jump(handler));
    code.bind(handler);
}

/// Calls the mode above until it does not come back. M knows the number.
fn give_up(code: &mut Code) {
    let again = code.label();
    code.bind(again);
    code.li(T6, GIVEN_UP.cast_unsigned());
    code.op(Op::Ecall);
    code.jump(again);
}

/// The part of a handler that HS and VS share. `sepc` and the like are those of the mode.
fn handler(looks: &[Csr], enables: &[Csr], tinst: Option<Csr>, tame: bool) -> Vec<u8> {
    let mut code = Code::at(0);
    vector_table(&mut code);
    let (lost, interrupt, fetch) = (code.label(), code.label(), code.label());
    // Somebody below has given up.
    code.i(Op::Addi, T5, T6, -GIVEN_UP);
    code.to(Op::Beq, T5, ZERO, lost);
    code.put(Insn { rd: T6, ..Insn::new(Op::Auipc) });
    code.csrr(T4, Csr::SEPC);
    looks.iter().for_each(|csr| code.csrr(T5, *csr));
    if let Some(csr) = tinst {
        code.csrr(T5, csr);
        code.li(T5, 0);
    }
    code.csrr(T3, Csr::SCAUSE);
    // A trap of the handler itself.
    code.r(Op::Xor, T6, T6, T4);
    code.i(Op::Srli, T6, T6, 12);
    code.to(Op::Beq, T6, ZERO, lost);
    code.csrr(T5, Csr::SSCRATCH);
    code.i(Op::Addi, T5, T5, -1);
    code.csrw(Csr::SSCRATCH, T5);
    code.to(Op::Bge, ZERO, T5, lost);
    code.to(Op::Blt, T3, ZERO, interrupt);
    is_fetch(&mut code, fetch);
    code.i(Op::Addi, T4, T4, 4);
    code.csrw(Csr::SEPC, T4);
    // Nobody shall jump back to where a trap was.
    code.li(T4, 0);
    forget(&mut code, tame);
    code.op(Op::Sret);
    code.bind(fetch);
    code.to(Op::Beq, RA, ZERO, lost);
    to_ra(&mut code, Csr::SEPC, tame);
    code.op(Op::Sret);
    code.bind(interrupt);
    code.li(T6, 1);
    code.r(Op::Sll, T6, T6, T3);
    enables.iter().for_each(|csr| code.csr(Op::Csrrc, ZERO, *csr, T6));
    code.op(Op::Sret);
    code.bind(lost);
    give_up(&mut code);
    code.finish()
}

/// The cause of a trap may be another one elsewhere: a tame program does not keep it.
fn forget(code: &mut Code, tame: bool) {
    if tame {
        code.li(T3, 0);
    }
}

/// Goes on where ra says, for this time.
fn to_ra(code: &mut Code, epc: Csr, tame: bool) {
    if tame {
        // QEMU 7.2 keeps the lowest bit of what is written.
        code.i(Op::Andi, RA, RA, -2);
    }
    code.csrw(epc, RA);
    code.li(RA, 0);
    forget(code, tame);
}

/// Goes to `fetch` if the cause in t3 is about an instruction that could not be fetched: it is no
/// use to step over it.
fn is_fetch(code: &mut Code, fetch: Label) {
    let causes = [
        Exception::InstructionMisaligned,
        Exception::InstructionAccessFault,
        Exception::InstructionPageFault,
        Exception::InstructionGuestPageFault,
    ];
    code.li(T6, causes.iter().fold(0, |mask, cause| mask | cause.bit()));
    code.r(Op::Srl, T6, T6, T3);
    code.i(Op::Andi, T6, T6, 1);
    code.to(Op::Bne, T6, ZERO, fetch);
}

fn hs_handler(tame: bool) -> Vec<u8> {
    let looks = [Csr::STVAL, Csr::HTVAL, Csr::SSTATUS, Csr::HSTATUS];
    handler(&looks, &[Csr::SIE, Csr::HIE], Some(Csr::HTINST), tame)
}

fn vs_handler(tame: bool) -> Vec<u8> {
    handler(&[Csr::STVAL, Csr::SSTATUS], &[Csr::SIE], None, tame)
}

/// Writes the kernel.
pub(super) struct Writer<'a> {
    pub(super) code: Code,
    pub(super) rng: &'a mut Rng,
    kinds: Kinds,
    tame: bool,
    values: Values,
    pub(super) weights: [u64; N_ITEMS],
}

impl Writer<'_> {
    /// Each program likes some items more than others.
    fn swarm(&mut self) {
        for weight in &mut self.weights {
            *weight = *weight * self.rng.pick(&[0, 1, 2, 2, 2, 3, 6]) / 2;
        }
        // Without these nothing much happens.
        self.weights[0] = self.weights[0].max(40);
        self.weights[4] = self.weights[4].max(100);
        if self.tame {
            self.tame_weights();
        }
    }

    pub(super) fn set(&mut self, csr: Csr, value: u64) {
        self.code.set(csr, value, T5);
    }

    fn prologue(&mut self) {
        if self.tame {
            self.tame_prologue();
        } else {
            self.walls();
        }
        for reg in 0..32 {
            let bits = self.rng.next();
            self.code.li(T5, bits);
            self.code.put(Insn { rd: reg, rs1: T5, ..Insn::new(Op::FmvDX) });
        }
        // A boot ROM may have left something.
        for reg in 1..32 {
            let value = any_word(self.rng);
            self.code.li(reg, value);
        }
    }

    /// Protection, and a timer that never fires.
    fn walls(&mut self) {
        let mut cfg = 0x1f << (8 * (PMP_LAST - 8));
        // What is there after reset differs.
        self.code.csrw(Csr::PMPCFG0, ZERO);
        for (i, (_, end)) in FIXED_PMP.iter().enumerate() {
            self.set(pmpaddr_csr(i), end >> 2);
        }
        self.set(pmpaddr_csr(PMP_LAST), u64::MAX);
        self.set(Csr(Csr::PMPCFG0.0 + 2), cfg);
        cfg = FIXED_PMP.iter().rev().fold(0, |word, (cfg, _)| word << 8 | cfg);
        self.set(Csr::PMPCFG0, cfg);
        self.set(Csr::MSTATUS, MSTATUS::FS.set(0, 3));
        self.code.li(T5, MTIMECMP);
        self.code.i(Op::Addi, T6, ZERO, -1);
        self.code.s(Op::Sd, T6, T5, 0);
    }

    /// The set-up of an episode, and the handler that M has in it. Gives the body.
    fn episode(&mut self, at: u64, level: Level) -> Vec<u8> {
        let handler = self.code.label();
        let over = self.code.label();
        let enter = self.code.label();
        self.code.jump(enter);
        self.code.bind(handler);
        self.m_handler(over);
        self.code.bind(enter);
        let handler = self.code.address(handler);
        let body = self.set_up(handler, at, level);
        self.code.op(Op::Mret);
        self.code.bind(over);
        body
    }

    fn m_handler(&mut self, over: Label) {
        let (code, tame) = (&mut self.code, self.tame);
        vector_table(code);
        code.csrr(T4, Csr::MEPC);
        for csr in [Csr::MTVAL, Csr::MTVAL2, Csr::MTINST, Csr::MSTATUS] {
            code.csrr(T5, csr);
            if csr == Csr::MTINST {
                code.li(T5, 0);
            }
        }
        code.csrr(T3, Csr::MCAUSE);
        let interrupt = code.label();
        code.csrr(T5, Csr::MSCRATCH);
        code.i(Op::Addi, T5, T5, -1);
        code.csrw(Csr::MSCRATCH, T5);
        // The next episode may be further than a branch reaches.
        let (ends, goes_on, fetch) = (code.label(), code.label(), code.label());
        code.i(Op::Addi, T6, T6, -GIVEN_UP);
        code.to(Op::Beq, T6, ZERO, ends);
        code.to(Op::Blt, ZERO, T5, goes_on);
        code.bind(ends);
        code.jump(over);
        code.bind(goes_on);
        code.to(Op::Blt, T3, ZERO, interrupt);
        is_fetch(code, fetch);
        code.i(Op::Addi, T4, T4, 4);
        code.csrw(Csr::MEPC, T4);
        code.li(T4, 0);
        forget(code, tame);
        code.op(Op::Mret);
        code.bind(fetch);
        code.to(Op::Beq, RA, ZERO, ends);
        to_ra(code, Csr::MEPC, tame);
        code.op(Op::Mret);
        code.bind(interrupt);
        code.li(T5, 1);
        code.r(Op::Sll, T5, T5, T3);
        code.csr(Op::Csrrc, ZERO, Csr::MIE, T5);
        code.op(Op::Mret);
    }

    fn set_up(&mut self, handler: u64, at: u64, level: Level) -> Vec<u8> {
        self.set(Csr::MSTATUS, MSTATUS::FS.set(0, 3));
        if !self.tame {
            self.timers();
            self.wires();
            if self.rng.one_in(4) {
                self.protection();
            }
        }
        let [satp, vsatp] = [0; 2].map(|_| {
            let bare = self.rng.one_in(6);
            if bare { 0 } else { SATP::ASID.set(self.rng.pick(&self.values.firsts).atp, 1) }
        });
        let hgatp = if self.rng.one_in(6) { 0 } else { self.rng.pick(&self.values.guests).atp };
        for (csr, value) in [(Csr::SATP, satp), (Csr::VSATP, vsatp), (Csr::HGATP, hgatp)] {
            self.set(csr, value);
        }
        let mut wakes = [false; 2];
        for csr in [
            Csr::SENVCFG,
            Csr::MEDELEG,
            Csr::MIDELEG,
            Csr::HEDELEG,
            Csr::HIDELEG,
            Csr::MIE,
            Csr::MIP,
            Csr::HVIP,
            Csr::MCOUNTEREN,
            Csr::HCOUNTEREN,
            Csr::SCOUNTEREN,
            Csr::VSSTATUS,
            Csr::HTIMEDELTA,
            Csr::FCSR,
            Csr::HSTATUS,
        ] {
            let value = self.values.of(self.rng, csr);
            let value = if self.tame { tamed(csr, value) } else { value };
            self.set(csr, value);
            match csr {
                Csr::MIDELEG => wakes[0] = MIP::SSIP.is_set(value),
                Csr::HIDELEG => wakes[1] = MIP::VSSIP.is_set(value),
                _ => {}
            }
        }
        self.handlers(handler);
        self.set(Csr::MEPC, at);
        // Atomics of a device are a matter of taste.
        self.code.li(T6, 0);
        self.code.li(RA, 0);
        let mstatus = self.status(level);
        let mstatus = if self.tame { tamed(Csr::MSTATUS, mstatus) } else { mstatus };
        self.set(Csr::MSTATUS, mstatus);
        self.code.op(Op::SfenceVma);
        self.code.op(Op::HfenceGvma);
        if self.tame {
            self.code.op(Op::HfenceVvma);
        }
        let mirrored = [satp, vsatp].map(|atp| SATP::MODE.get(atp) >= 8);
        let body = Body {
            code: Code::at(at),
            rng: self.rng,
            kinds: &self.kinds,
            values: &self.values,
            level,
            user: level.user(),
            in_mirror: false,
            mirrored,
            wakes,
            tame: self.tame,
            weights: self.weights,
        };
        body.write()
    }

    /// Where the handlers are, and how often each will handle something.
    fn handlers(&mut self, of_m: u64) {
        let mode = |rng: &mut Rng| TVEC::MODE.set(0, rng.below(2));
        let vectors = [
            (Csr::MTVEC, of_m),
            (Csr::STVEC, address(HS_HANDLER)),
            (Csr::VSTVEC, address(VS_HANDLER)),
        ];
        for (csr, base) in vectors {
            let value = base | mode(self.rng);
            self.set(csr, value);
        }
        for csr in [Csr::MSCRATCH, Csr::SSCRATCH, Csr::VSSCRATCH] {
            let traps = 8 + self.rng.below(120);
            self.set(csr, traps);
        }
    }

    fn status(&mut self, level: Level) -> u64 {
        let mut status = self.values.of(self.rng, Csr::MSTATUS);
        // Taken in the middle of the set-up, an interrupt would find half of it.
        status = MSTATUS::MIE.with(status, false);
        status = MSTATUS::MPRV.with(status, false);
        if !self.rng.one_in(8) {
            status = MSTATUS::FS.set(status, 1 + self.rng.below(3));
        }
        if !self.rng.one_in(4) {
            status &= !(MSTATUS::TVM.mask() | MSTATUS::TSR.mask());
        }
        let prv = match level {
            Level::M => 3,
            Level::Hs | Level::Vs => 1,
            Level::U | Level::Vu => 0,
        };
        status = MSTATUS::MPP.set(status, prv);
        MSTATUS::MPV.with(status, level.virt())
    }

    /// Timers are over, or never will be: when time passes is a matter of the simulator. They are
    /// written where each of them changes no other's interrupt.
    fn timers(&mut self) {
        self.set(Csr::STIMECMP, u64::MAX);
        self.set(Csr::VSTIMECMP, u64::MAX);
        let on = self.rng.one_in(2);
        self.values.stce = [on, on && self.rng.one_in(2)];
        let bits = |rng: &mut Rng| rng.next() & (ENVCFG::ADUE.mask() | ENVCFG::PBMTE.mask());
        for csr in [Csr::MENVCFG, Csr::HENVCFG] {
            let bits = bits(self.rng);
            let value = self.values.of(self.rng, csr) | bits;
            self.set(csr, value);
        }
        let at = self.rng.pick(&[0, u64::MAX]);
        if self.values.stce[1] {
            self.set(Csr::STIMECMP, u64::MAX);
            self.set(Csr::VSTIMECMP, at);
        } else {
            self.set(Csr::VSTIMECMP, u64::MAX);
            self.set(Csr::STIMECMP, at);
        }
    }

    /// The interrupts that M gets from outside.
    fn wires(&mut self) {
        let on = self.rng.one_in(8);
        self.code.li(T6, ACLINT);
        self.code.li(T5, u64::from(on));
        self.code.s(Op::Sw, T5, T6, 0);
        let never = if self.rng.one_in(8) { 0 } else { u64::MAX };
        self.code.li(T6, MTIMECMP);
        self.code.li(T5, never);
        self.code.s(Op::Sd, T5, T6, 0);
    }

    fn protection(&mut self) {
        for entry in PMP_FREE..PMP_LAST {
            let value = pmpaddr(self.rng);
            self.set(pmpaddr_csr(entry), value);
        }
        for first in [0, 8] {
            let value = pmpcfg(self.rng, first);
            self.set(Csr(Csr::PMPCFG0.0 + if first == 0 { 0 } else { 2 }), value);
        }
    }

    /// Reads every word of these pages, says that all is done, and stays there. Gives the place.
    fn sweep(&mut self, pages: impl Iterator<Item = Range<usize>>) -> Label {
        self.set(Csr::MSTATUS, 0);
        let off = 0x1f << (8 * (PMP_LAST - 8));
        self.set(Csr(Csr::PMPCFG0.0 + 2), off);
        let code = &mut self.code;
        for range in pages {
            code.li(T3, address(range.start));
            code.li(T4, address(range.end));
            let again = code.label();
            code.bind(again);
            for i in 0..16 {
                code.i(Op::Ld, 1 + i, T3, i64::from(i) * 8);
            }
            code.i(Op::Addi, T3, T3, 128);
            code.to(Op::Bne, T3, T4, again);
        }
        code.li(T3, TOHOST);
        code.li(T4, 1);
        code.s(Op::Sd, T4, T3, 0);
        let end = code.label();
        code.bind(end);
        code.jump(end);
        end
    }
}

pub(super) fn pmpaddr_csr(entry: usize) -> Csr {
    Csr(Csr::PMPADDR0.0 + u16::try_from(entry).unwrap())
}
