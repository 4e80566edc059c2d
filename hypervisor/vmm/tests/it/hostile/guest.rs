//! A hostile guest: a trap handler that always goes on, and for each vCPU a stream of actions.
//!
//! ```text
//!   RAM +  0x0_0000  handlers   one a vCPU, 0x200 bytes each
//!          0x0_1000  cells      one a vCPU: what the handler knows of the action
//!          0x0_2000  streams    one a vCPU, 0x6000 bytes each
//!          0x4_0000  tables     32 pages
//!          0x6_0000  rings      of four queues and one that is nobody's, 0x3000 bytes each
//!          0x7_0000  buffers    whatever is left
//! ```
//! An action may spoil anything of that; most of them leave most of it as it is.

use isa::{Csr, Ext, Op};
use vmm::Segment;
use vmm::layout::{FINISHER, PLIC, RAM_BASE, RTC, UART, virtio};

use super::asm::{A0, A6, A7, Asm, S0, T5, T6, ZERO};
use super::setting::Setting;
use super::{code, mmio, sbi, tables, virtio as rings};
use crate::dice::Dice;

const HANDLERS: u64 = RAM_BASE;
const HANDLER_BYTES: u64 = 0x200;
const CELLS: u64 = RAM_BASE + 0x1000;
const CELL_BYTES: u64 = 64;
const STREAMS: u64 = RAM_BASE + 0x2000;
const STREAM_BYTES: u64 = 0x6000;
pub(crate) const TABLES: u64 = RAM_BASE + 0x4_0000;
pub(crate) const N_TABLES: u64 = 32;
pub(crate) const RINGS: u64 = RAM_BASE + 0x6_0000;
pub(crate) const BUFFERS: u64 = RAM_BASE + 0x7_0000;
pub(crate) const BUFFERS_BYTES: u64 = 0x2_0000;
/// The least RAM that has room for it, and for a device tree.
pub(crate) const RAM_LEAST: u64 = 0xa_0000;

/// An action is left room for so many bytes.
const ACTION_BYTES: u64 = 0xc00;
/// Where a cell has the address of the next action, and how many traps this one has left.
const NEXT: i64 = 0;
const TRAPS_LEFT: i64 = 8;

const SSTATUS_FS: u64 = 3 << 13;
const SSTATUS_SPIE: u64 = 1 << 5;
const SSTATUS_SPP: u64 = 1 << 8;
const SIE_ALL: u64 = 0x222;
const SIE_TIMER: u64 = 0x20;
const SIE_EXTERNAL: u64 = 0x200;

pub(crate) const EID_TIME: u64 = 0x5449_4d45;
pub(crate) const EID_HSM: u64 = 0x0048_534d;

/// What the actions of a guest are mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Code,
    Tables,
    Mmio,
    Sbi,
    Virtio,
}

const FAMILIES: [Family; 5] =
    [Family::Code, Family::Tables, Family::Mmio, Family::Sbi, Family::Virtio];

/// A guest that is being written.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) dice: &'a mut Dice,
    pub(crate) setting: &'a Setting,
    /// The stream that is being written, and its vCPU.
    pub(crate) asm: Asm,
    pub(crate) vcpu: u64,
    /// One in so many choices ends the run, or begins it anew.
    pub(crate) ends: u64,
    /// Bytes from a trap to where the handler goes on.
    stride: i64,
    weights: [u64; 5],
}

/// The images of a guest that the dice and the setting decide. It begins where RAM does.
pub(crate) fn guest(dice: &mut Dice, setting: &Setting) -> Vec<Segment> {
    let even = [2, 2, 2, 2, 6];
    let weights = if dice.one_in(3) {
        even
    } else {
        let favourite = dice.pick(&[0, 1, 2, 3, 4, 4, 4, 4]);
        std::array::from_fn(|family| if family == favourite { 12 } else { 1 })
    };
    let stride = dice.pick(&[4, 4, 4, 2]);
    let ends = dice.pick(&[1000, 1000, 100, 30, 8, 2]);
    let asm = Asm::new(STREAMS);
    let mut guest = Guest { dice, setting, asm, vcpu: 0, ends, stride, weights };
    let mut segments = Vec::new();
    for vcpu in 0..setting.vcpus as u64 {
        guest.vcpu = vcpu;
        segments.push(segment(handler_of(vcpu), guest.handler()));
        segments.push(segment(stream_of(vcpu), guest.stream()));
    }
    segments.push(segment(TABLES, tables::content(guest.dice, setting)));
    segments.push(segment(RINGS, rings::content(guest.dice)));
    segments
}

fn segment(addr: u64, bytes: Vec<u8>) -> Segment {
    Segment { addr, mem_size: bytes.len() as u64, bytes }
}

fn handler_of(vcpu: u64) -> u64 {
    HANDLERS + vcpu * HANDLER_BYTES
}

fn cell_of(vcpu: u64) -> u64 {
    CELLS + vcpu * CELL_BYTES
}

/// Where a vCPU begins.
pub(crate) fn stream_of(vcpu: u64) -> u64 {
    STREAMS + vcpu * STREAM_BYTES
}

impl Guest<'_> {
    /// Interrupts are served, and exceptions stepped over; a fetch that faults, a call out of
    /// VU-mode, the timer, and one trap too many end the action.
    fn handler(&mut self) -> Vec<u8> {
        let mut asm = Asm::new(handler_of(self.vcpu));
        asm.la(T5, cell_of(self.vcpu));
        asm.i(Op::Lw, T6, T5, TRAPS_LEFT);
        asm.i(Op::Addi, T6, T6, -1);
        asm.store(Op::Sw, T6, T5, TRAPS_LEFT);
        let exhausted = asm.later(Op::Blt, T6, ZERO);
        asm.csrr(T6, Csr::SCAUSE);
        let interrupt = asm.later(Op::Blt, T6, ZERO);
        // Causes 0, 1, 8 and 12.
        let mut over = Vec::new();
        for less in [0, 1, 7, 4] {
            asm.i(Op::Addi, T6, T6, -less);
            over.push(asm.later(Op::Beq, T6, ZERO));
        }
        asm.csrr(T6, Csr::SEPC);
        asm.i(Op::Addi, T6, T6, self.stride);
        asm.csrw(Csr::SEPC, T6);
        asm.op(Op::Sret);

        asm.land(&[interrupt]);
        asm.i(Op::Slli, T6, T6, 1);
        asm.i(Op::Addi, T6, T6, -2);
        let software = asm.later(Op::Beq, T6, ZERO);
        asm.i(Op::Addi, T6, T6, -8);
        let timer = asm.later(Op::Beq, T6, ZERO);
        // Context `vcpu` of the PLIC: claim, complete.
        asm.li(T5, PLIC.base + 0x20_0004 + self.vcpu * 0x1000);
        asm.i(Op::Lw, T6, T5, 0);
        asm.store(Op::Sw, T6, T5, 0);
        asm.op(Op::Sret);

        asm.land(&[software]);
        asm.i(Op::Csrrci, ZERO, 2, i64::from(Csr::SIP.0));
        asm.op(Op::Sret);

        asm.land(&[exhausted]);
        asm.li(T6, SIE_EXTERNAL);
        asm.csr(Op::Csrrc, ZERO, Csr::SIE, T6);
        asm.land(&[timer]);
        asm.li(T6, SIE_TIMER);
        asm.csr(Op::Csrrc, ZERO, Csr::SIE, T6);
        asm.land(&over);
        asm.i(Op::Ld, T6, T5, NEXT);
        asm.csrw(Csr::SEPC, T6);
        asm.li(T6, SSTATUS_SPP | SSTATUS_SPIE);
        asm.csr(Op::Csrrs, ZERO, Csr::SSTATUS, T6);
        asm.op(Op::Sret);
        assert!(asm.bytes.len() as u64 <= HANDLER_BYTES, "{} bytes", asm.bytes.len());
        asm.bytes
    }

    /// Sets a vCPU up, and then one action after another, from the first one on again at the end.
    fn stream(&mut self) -> Vec<u8> {
        self.asm = Asm::new(stream_of(self.vcpu));
        self.install();
        let t = S0;
        self.asm.li(t, SSTATUS_FS);
        self.asm.csr(Op::Csrrs, ZERO, Csr::SSTATUS, t);
        if self.vcpu == 0 {
            for other in 1..self.setting.vcpus as u64 {
                self.call(EID_HSM, 0, &[other, stream_of(other), other]);
            }
            if !self.dice.one_in(3) {
                mmio::let_interrupts_in(self);
            }
        }
        let first = self.asm.here();
        let n = self.dice.between(3, 14);
        for _ in 0..n {
            if self.asm.here() + ACTION_BYTES + 16 > stream_of(self.vcpu) + STREAM_BYTES {
                break;
            }
            self.action();
        }
        self.asm.jump(first);
        std::mem::take(&mut self.asm.bytes)
    }

    /// The trap vector is the handler's again.
    fn install(&mut self) {
        self.asm.la(T6, handler_of(self.vcpu));
        self.asm.csrw(Csr::STVEC, T6);
    }

    /// An action: what the handler needs to know, a deadline, and something hostile.
    fn action(&mut self) {
        let begin = self.asm.here();
        let cell = cell_of(self.vcpu);
        self.asm.la(T5, cell);
        // `la` of what is not yet known, patched below.
        let patch = self.asm.bytes.len();
        self.asm.la(T6, begin);
        self.asm.store(Op::Sd, T6, T5, NEXT);
        let traps = self.dice.pick(&[3, 20, 100]);
        self.asm.li(T6, traps);
        self.asm.store(Op::Sw, T6, T5, TRAPS_LEFT);
        self.install();
        let family = FAMILIES[self.dice.weighted(&self.weights)];
        // A driver wants to reach its device, and to come to an end, now and then.
        let orderly = family == Family::Virtio;
        if !self.dice.one_in(if orderly { 8 } else { 2 }) {
            self.asm.csrw(Csr::SATP, ZERO);
        }
        if self.dice.one_in(6) {
            // Where all sleep, time is not spent step by step.
            self.deadline(2000);
            self.asm.op(Op::Wfi);
        }
        if !self.dice.one_in(8) {
            let ticks = if orderly { [30, 1000, 2000] } else { [2, 10, 30] };
            let ticks = self.dice.pick(&ticks);
            self.deadline(ticks);
        }
        match family {
            Family::Code => code::action(self),
            Family::Tables => tables::action(self),
            Family::Mmio => mmio::action(self),
            Family::Sbi => sbi::action(self),
            Family::Virtio => rings::action(self),
        }
        while !self.asm.here().is_multiple_of(4) {
            self.asm.half(1);
        }
        let next = self.asm.here();
        assert!(next - begin <= ACTION_BYTES, "an action of {:#x} bytes", next - begin);
        let mut la = Asm::new(begin + 8);
        la.la(T6, next);
        self.asm.bytes[patch..patch + 8].copy_from_slice(&la.bytes);
    }

    /// A timer interrupt so many ticks from now, and interrupts on.
    pub(crate) fn deadline(&mut self, ticks: u64) {
        let ticks = ticks.cast_signed();
        if self.setting.isa.has(Ext::Sstc) {
            self.asm.csrr(T6, Csr::TIME);
            self.asm.i(Op::Addi, T6, T6, ticks);
            self.asm.csrw(Csr::STIMECMP, T6);
        } else {
            self.asm.csrr(A0, Csr::TIME);
            self.asm.i(Op::Addi, A0, A0, ticks);
            self.asm.li(A7, EID_TIME);
            self.asm.li(A6, 0);
            self.asm.op(Op::Ecall);
        }
        self.asm.li(T6, SIE_ALL);
        self.asm.csr(Op::Csrrs, ZERO, Csr::SIE, T6);
        self.asm.i(Op::Csrrsi, ZERO, 2, i64::from(Csr::SSTATUS.0));
    }

    /// An SBI call.
    pub(crate) fn call(&mut self, eid: u64, fid: u64, args: &[u64]) {
        for (reg, arg) in (A0..).zip(args) {
            self.asm.li(reg, *arg);
        }
        self.asm.li(A6, fid);
        self.asm.li(A7, eid);
        self.asm.op(Op::Ecall);
    }

    /// A number with a liking for what means something.
    pub(crate) fn number(&mut self) -> u64 {
        let dice = &mut *self.dice;
        match dice.below(20) {
            0..=3 => dice.below(64),
            4 => stream_of(dice.below(8)),
            5 => TABLES + dice.below(N_TABLES << 12),
            6 => RINGS + dice.below(0xf000),
            7 | 8 => BUFFERS + dice.below(BUFFERS_BYTES),
            9 => RAM_BASE + self.setting.memory - 8 + dice.below(16),
            10 => RAM_BASE.wrapping_add(dice.below(self.setting.memory)),
            11 => RAM_BASE - 1 - dice.below(16),
            12 => device_register(dice),
            13 => u64::MAX - dice.below(0x1001),
            14 => 1 << dice.below(64),
            15 => (1 << dice.below(64)) - 1,
            16 => dice.between(8, 10) << 60 | ((TABLES >> 12) + dice.below(8)),
            17 => i64::MIN.cast_unsigned().wrapping_add(dice.below(3)).wrapping_sub(1),
            18 => u64::from(dice.word()),
            _ => dice.roll(),
        }
    }

    /// An address in RAM that does no harm to the code.
    pub(crate) fn buffer(&mut self) -> u64 {
        let align = self.dice.pick(&[!7, !7, !0, !0xfff]);
        BUFFERS + (self.dice.below(BUFFERS_BYTES - 64) & align)
    }
}

/// A register of some device, or what lies beside its window; the finisher is left out.
pub(crate) fn device_register(dice: &mut Dice) -> u64 {
    let (span, dense) = match dice.below(9) {
        0 => (UART, 8),
        1 | 2 => (PLIC, 0x2400),
        3 => (RTC, 0x20),
        4..=7 => (virtio(dice.pick(&[0, 1, 2, 2])), 0x110),
        _ => (FINISHER, 0),
    };
    let offset = match dice.below(16) {
        _ if dense == 0 => 4 + dice.below(span.size - 4),
        0 => span.size - 1 - dice.below(8),
        1 => span.size + dice.below(8),
        2 => dice.below(span.size),
        3 if span == PLIC => 0x20_0000 + 0x1000 * dice.below(9) + dice.pick(&[0, 4, 8]),
        4 => dice.below(dense),
        _ if span == UART => dice.below(dense),
        _ => dice.below(dense) & !3,
    };
    span.base + offset
}
