//! The chapter's rules, written down a second time: who takes a trap, and what has to trap.

#![expect(clippy::wildcard_enum_match_arm, reason = "few instructions of many")]

use isa::csr::Group;
use isa::{Csr, Format, Insn, Mode, Op};

use super::state::State;

const DV_FAULT: u64 = 24;
const ILLEGAL: u64 = 2;
const VIRTUAL: u64 = 22;
const INTERRUPT: u64 = 1 << 63;

fn bit(value: u64, n: u64) -> bool {
    value >> n & 1 == 1
}

/// "Who takes a trap": the mode for a cause, as in a cause CSR.
pub(crate) fn who_takes(cause: u64, before: &State) -> Mode {
    let code = cause & !INTERRUPT;
    let is_interrupt = cause != code;
    let virt = before.virt();
    // 1.
    let outside = virt && before.delegated() && matches!(code, 1 | 5 | 7);
    if !is_interrupt && (code == DV_FAULT || outside) {
        return Mode::Hs;
    }
    let csrs = if is_interrupt {
        [Csr::MIDELEG, Csr::HIDELEG, Csr::SIDELEG]
    } else {
        [Csr::MEDELEG, Csr::HEDELEG, Csr::SEDELEG]
    };
    let [medeleg, hedeleg, sedeleg] = csrs.map(|csr| bit(before.get(csr), code));
    let sedeleg = sedeleg && bit(delegable(csrs[2]), code);
    // 2.
    if !medeleg {
        return Mode::M;
    }
    // 3.
    let guest_page_fault = !is_interrupt && matches!(code, 20 | 21 | 23);
    if virt && hedeleg && !guest_page_fault {
        return Mode::Vs;
    }
    // 4.
    let from = matches!(before.mode, Mode::U | Mode::Hu | Mode::Vs | Mode::Vu);
    let active = before.mode == Mode::Hu && bit(before.get(Csr::HUSTATUS), 24);
    if from && sedeleg && before.delegated() && !active {
        return Mode::Hu;
    }
    // 5.
    Mode::Hs
}

/// "Delegation": what HS may pass on.
pub(crate) fn delegable(csr: Csr) -> u64 {
    if csr == Csr::SIDELEG { 1 | 1 << 4 | 1 << 8 } else { 0xfe | 1 << 10 | 0xf << 20 }
}

/// "Interrupts": those of the first class that has one that is pending and enabled; zero if the
/// instruction is to be executed.
pub(crate) fn interrupts(before: &State) -> u64 {
    let pending = before.get(Csr::MIP) & before.get(Csr::MIE);
    let mideleg = before.get(Csr::MIDELEG);
    let virt = before.virt();
    let to_hu =
        if before.delegated() { before.get(Csr::SIDELEG) & delegable(Csr::SIDELEG) } else { 0 };
    let to_vs = before.get(Csr::HIDELEG);
    let level = before.mode.level();
    let m = level < 3 || bit(before.get(Csr::MSTATUS), 3);
    let s = virt || level == 0 || level == 1 && bit(before.get(Csr::MSTATUS), 1);
    let hu = virt || level == 0 && bit(before.get(Csr::HUSTATUS), 0);
    let vs = virt && (level == 0 || bit(before.get(Csr::VSSTATUS), 1));
    let classes = [
        (m, pending & !mideleg),
        (s, pending & mideleg & !to_hu & !to_vs),
        (hu, pending & mideleg & to_hu),
        (vs, pending & mideleg & to_vs),
    ];
    classes.into_iter().find(|(on, class)| *on && *class != 0).map_or(0, |(_, class)| class)
}

/// What the chapter says about an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is not of DV-ext.
    Nothing,
    /// It may be executed.
    Legal,
    /// It has to trap with this cause.
    Trap(u64),
}

/// What an instruction of DV-ext, or an access to one of its CSRs, comes to. `operand` is the value
/// of `rs1`, `owns` whether the VM has a vCPU of this id.
pub(crate) fn due(insn: &Insn, operand: u64, before: &State, owns: impl Fn(u64) -> bool) -> Due {
    let by_mode = |hs: Due| match before.mode {
        Mode::Vs | Mode::Vu => Due::Trap(VIRTUAL),
        Mode::Hu => Due::Legal,
        Mode::U => Due::Trap(ILLEGAL),
        Mode::M | Mode::Hs => hs,
    };
    if matches!(insn.op, Op::Huret | Op::HufenceGvma | Op::HufenceVvma) {
        return by_mode(Due::Trap(ILLEGAL));
    }
    if matches!(insn.row().fmt, Format::HLoad | Format::HStore) {
        return by_mode(Due::Legal);
    }
    if !matches!(insn.row().fmt, Format::Csr | Format::CsrImm) {
        return Due::Nothing;
    }
    let csr = insn.csr();
    if !csr.row().is_some_and(|row| matches!(row.group, Group::Dv | Group::Hu)) {
        return Due::Nothing;
    }
    let vipi = (0x483..=0x486).contains(&csr.0);
    let posts = before.delegated() && bit(before.get(Csr::HUSTATUS), 26);
    let legal = match before.mode {
        Mode::Vs | Mode::Vu if !(vipi && posts) => return Due::Trap(VIRTUAL),
        Mode::U => return Due::Trap(ILLEGAL),
        Mode::Hu => hu_may(insn, before),
        Mode::Vs | Mode::Vu | Mode::M | Mode::Hs => !(csr == Csr::HU_VITR && reads(insn)),
    };
    if !legal {
        return Due::Trap(ILLEGAL);
    }
    if writes(insn) && is_dv_fault(insn, operand, before, owns) {
        return Due::Trap(DV_FAULT);
    }
    Due::Legal
}

fn reads(insn: &Insn) -> bool {
    !matches!(insn.op, Op::Csrrw | Op::Csrrwi) || insn.rd != 0
}

fn writes(insn: &Insn) -> bool {
    matches!(insn.op, Op::Csrrw | Op::Csrrwi) || insn.rs1 != 0
}

fn hu_may(insn: &Insn, before: &State) -> bool {
    match insn.csr() {
        Csr::SEDELEG | Csr::SIDELEG | Csr::H_VMID => false,
        Csr::HUGATP => !writes(insn),
        Csr::HU_VITR => !reads(insn),
        Csr::HUVSTIMECMP => bit(before.get(Csr::MENVCFG), 63) && bit(before.get(Csr::HENVCFG), 63),
        _ => true,
    }
}

/// "DV fault": a vCPU id that is none, or an interrupt that may not be posted.
fn is_dv_fault(insn: &Insn, operand: u64, before: &State, owns: impl Fn(u64) -> bool) -> bool {
    let operand = match insn.op {
        Op::Csrrwi | Op::Csrrsi | Op::Csrrci => u64::from(insn.rs1),
        _ => operand,
    };
    let after = |old: u64| match insn.op {
        Op::Csrrs | Op::Csrrsi => old | operand,
        Op::Csrrc | Op::Csrrci => old & !operand,
        _ => operand,
    };
    match insn.csr() {
        Csr::HU_VCPUID if before.mode == Mode::Hu => !owns(after(before.get(Csr::HU_VCPUID))),
        Csr::HU_VITR => {
            let interrupt = operand >> 16 & 0xff;
            !matches!(interrupt, 0 | 2 | 6 | 10) || !owns(operand & 0xffff)
        }
        Csr(number) if (0x483..=0x486).contains(&number) => {
            let first = 64 * u64::from(number - 0x483);
            let value = after(0);
            (0..64).any(|n| bit(value, n) && !owns(first + n))
        }
        _ => false,
    }
}
