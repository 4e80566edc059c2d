//! Tame programs: for simulators of which only the last state is known, and that choose otherwise.

use isa::fields::{ENVCFG, HSTATUS, MSTATUS, SSTATUS};
use isa::{Csr, Op};

use super::asm::{Label, ZERO};
use super::layout::{DATA, RAM_BASE, RAM_PAGES, SPARE, address};
use super::program::{Writer, pmpaddr_csr};

/// Configuration and end (TOR) of the protection: M reaches the console and the switch, everybody
/// reaches RAM, nobody the kernel but to run it, and nothing else is there.
const WALLS: [(u64, u64); 8] = [
    (0x88, SWITCH),
    (0x08, SWITCH + 0x1000),
    (0x88, CONSOLE),
    (0x08, CONSOLE + 0x1000),
    (0x88, RAM_BASE),
    (0x8d, 0x8007_a000),
    (0x0f, RAM_BASE + RAM_PAGES as u64 * 4096),
    (0x88, u64::MAX),
];

/// The UART, and what switches the machine off.
const CONSOLE: u64 = 0x1000_0000;
const SWITCH: u64 = 0x10_0000;
const OFF: u64 = 0x5555;

const A0: u8 = 10;
const T0: u8 = 5;
const T1: u8 = 6;
const T2: u8 = 7;
const T3: u8 = 28;

/// Access faults and guest-page faults.
const ACCESS_FAULTS: u64 = 0xa2 | 0xb0_0000;

/// Illegal and virtual instructions.
const ILLEGAL: u64 = 1 << 2 | 1 << 22;

/// No NAPOT, no memory types, nothing reserved.
pub(super) const TAME_PTE: u64 = (1 << 54) - 1;

/// Items of a body that lead to what differs: atomics, accesses of a
/// guest's memory, cache blocks, changes of code and of tables, any words, waits.
const NOT_TAME: [usize; 7] = [8, 12, 13, 16, 17, 18, 19];

/// What of a value means the same everywhere. No interrupt is enabled; nothing is trapped but FP
/// and the guest's SRET.
pub(super) fn tamed(csr: Csr, value: u64) -> u64 {
    let shared = SSTATUS::SPIE.mask() | SSTATUS::SPP.mask() | SSTATUS::FS.mask();
    let shared = shared | SSTATUS::SUM.mask();
    let width = SSTATUS::UXL.set(0, 2);
    match csr {
        Csr::MSTATUS => {
            let own = MSTATUS::MPP.mask() | MSTATUS::MPV.mask();
            MSTATUS::SXL.set(value & (shared | own) | width, 2)
        }
        Csr::VSSTATUS => value & shared | width,
        Csr::HSTATUS => {
            let own = HSTATUS::SPV.mask() | HSTATUS::SPVP.mask() | HSTATUS::HU.mask();
            HSTATUS::VSXL.set(value & (own | HSTATUS::VTSR.mask()), 2)
        }
        // QEMU 7.2 tells VS of causes 2, 6 and 10 as if they were interrupts, less one.
        // Access faults of a guest are guest-page faults there: both go one way.
        Csr::HEDELEG => value & !(0x444 | ACCESS_FAULTS),
        Csr::MEDELEG => {
            let together = |value, mask| if value & mask != 0 { value | mask } else { value };
            together(together(value, ACCESS_FAULTS), ILLEGAL)
        }
        Csr::FCSR => value,
        _ => 0,
    }
}

impl Writer<'_> {
    pub(super) fn tame_weights(&mut self) {
        NOT_TAME.into_iter().for_each(|item| self.weights[item] = 0);
    }

    pub(super) fn tame_prologue(&mut self) {
        for (i, (_, end)) in WALLS.iter().enumerate() {
            self.set(pmpaddr_csr(i), end >> 2);
        }
        let cfg = WALLS.iter().rev().fold(0, |word, (cfg, _)| word << 8 | cfg);
        self.set(Csr::PMPCFG0, cfg);
        self.set(Csr::MSTATUS, MSTATUS::FS.set(0, 3));
        // A and D are updated, with or without a bit for it.
        let envcfg = ENVCFG::ADUE.mask() | ENVCFG::PBMTE.mask();
        self.set(Csr::MENVCFG, envcfg);
        self.set(Csr::HENVCFG, envcfg);
    }

    /// Adds up all data, prints the sum, and switches off. Gives the place before the print.
    pub(super) fn sum(&mut self) -> Label {
        self.set(Csr::MSTATUS, 0);
        let code = &mut self.code;
        code.li(T0, address(DATA));
        code.li(T1, address(SPARE));
        code.li(T2, 0x9e37_79b9_7f4a_7c15);
        let again = code.label();
        code.bind(again);
        code.i(Op::Ld, T3, T0, 0);
        code.r(Op::Xor, A0, A0, T3);
        code.r(Op::Mul, A0, A0, T2);
        code.i(Op::Rori, A0, A0, 29);
        code.i(Op::Addi, T0, T0, 8);
        code.to(Op::Bne, T0, T1, again);
        let end = code.label();
        code.bind(end);
        code.li(T0, CONSOLE);
        code.li(T1, 64);
        let digit = code.label();
        code.bind(digit);
        code.i(Op::Addi, T1, T1, -4);
        code.r(Op::Srl, T2, A0, T1);
        code.i(Op::Andi, T2, T2, 15);
        code.i(Op::Addi, T2, T2, i64::from(b'a'));
        code.s(Op::Sb, T2, T0, 0);
        code.to(Op::Bne, T1, ZERO, digit);
        code.li(T2, u64::from(b'\n'));
        code.s(Op::Sb, T2, T0, 0);
        code.li(T0, SWITCH);
        code.li(T1, OFF);
        code.s(Op::Sw, T1, T0, 0);
        let still = code.label();
        code.bind(still);
        code.jump(still);
        end
    }
}
