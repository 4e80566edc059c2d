//! Zicsr: the six instructions that reach CSRs.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::{Csr, Insn, Op as Name};

use super::trapped;
use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::{Hart, SINK};

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Write,
    Set,
    Clear,
}

/// Writing one of these changes nothing on which interrupts, translation or legality depend.
fn is_plain(csr: Csr) -> bool {
    matches!(
        csr,
        Csr::SSCRATCH
            | Csr::SEPC
            | Csr::SCAUSE
            | Csr::STVAL
            | Csr::STVEC
            | Csr::MSCRATCH
            | Csr::MEPC
            | Csr::MCAUSE
            | Csr::MTVAL
            | Csr::MTVEC
            | Csr::USCRATCH
            | Csr::FFLAGS
            | Csr::FRM
            | Csr::FCSR
    )
}

/// Whether this is an access to such a CSR.
#[expect(clippy::cast_sign_loss, reason = "twelve bits")]
pub(super) fn is_plain_access(insn: &Insn) -> bool {
    let is_access = matches!(
        insn.op,
        Name::Csrrw | Name::Csrrs | Name::Csrrc | Name::Csrrwi | Name::Csrrsi | Name::Csrrci
    );
    is_access && is_plain(Csr((insn.imm & 0xfff) as u16))
}

#[expect(clippy::cast_sign_loss, reason = "twelve bits")]
fn csr_of<B>(op: &Op<B>) -> Csr {
    Csr((op.imm & 0xfff) as u16)
}

#[inline(always)]
fn access<B: Bus>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
    how: How,
    operand: u64,
) -> Flow {
    let csr = csr_of(op);
    // "If rd=x0, then the instruction shall not read the CSR"; with rs1=x0 or a zero immediate
    // CSRRS and CSRRC do not write it.
    let reads = how != How::Write || op.rd != 0;
    let writes = how == How::Write || op.rs1 != 0;
    let change = |old: u64| match how {
        How::Write => operand,
        How::Set => old | operand,
        How::Clear => old & !operand,
    };
    hart.at = op.at;
    match hart.csr_access(bus, csr, reads, writes.then_some(change)) {
        Ok(old) => {
            hart.set(if op.rd == 0 { SINK } else { op.rd }, old);
            if writes && !is_plain(csr) { Flow::Sync } else { next(hart, bus, rest) }
        }
        Err(trap) => trapped(hart, op, trap),
    }
}

macro_rules! csr_instructions {
    ($( $name:ident $how:ident |$hart:ident, $op:ident| $operand:expr; )*) => {
        $(
            fn $name<B: Bus>(
                $hart: &mut Hart,
                bus: &mut B,
                $op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                let operand = $operand;
                access($hart, bus, $op, rest, How::$how, operand)
            }
        )*
    };
}

csr_instructions! {
    csrrw Write |hart, op| hart.get(op.rs1);
    csrrs Set |hart, op| hart.get(op.rs1);
    csrrc Clear |hart, op| hart.get(op.rs1);
    csrrwi Write |_hart, op| u64::from(op.rs1);
    csrrsi Set |_hart, op| u64::from(op.rs1);
    csrrci Clear |_hart, op| u64::from(op.rs1);
}

pub(super) fn handler<B: Bus>(insn: &Insn) -> Option<Handler<B>> {
    Some(match insn.op {
        Name::Csrrw => csrrw,
        Name::Csrrs => csrrs,
        Name::Csrrc => csrrc,
        Name::Csrrwi => csrrwi,
        Name::Csrrsi => csrrsi,
        Name::Csrrci => csrrci,
        _ => return None,
    })
}
