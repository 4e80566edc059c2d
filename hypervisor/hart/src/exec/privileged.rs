//! Calls, returns, waiting, and fences (which check who may, and then have nothing to do:
//! translations and code are never stale).
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::fields::{HSTATUS, MSTATUS};
use isa::{Check, Exception, Op as Name};

use super::trapped;
use crate::bus::Bus;
use crate::checks::on;
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::{Hart, Trap};

fn ecall<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let cause = match (hart.prv, hart.virt) {
        (3, _) => Exception::EcallFromM,
        (1, true) => Exception::EcallFromVs,
        (1, false) => Exception::EcallFromHs,
        _ => Exception::EcallFromU,
    };
    trapped(hart, op, Trap::plain(cause))
}

fn ebreak<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let trap = Trap { gva: hart.virt, ..Trap::plain(Exception::Breakpoint) };
    trapped(hart, op, trap)
}

/// A return instruction: the pc is the one of the return, or a trap.
fn returned<B>(hart: &mut Hart, op: &Op<B>, result: Result<(), Trap>) -> Flow {
    match result {
        Ok(()) => {
            hart.at = op.at;
            Flow::SyncJump
        }
        Err(trap) => trapped(hart, op, trap),
    }
}

fn mret<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let result = hart.mret();
    returned(hart, op, result)
}

fn sret<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let result = hart.sret();
    returned(hart, op, result)
}

fn huret<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    let result = hart.huret();
    returned(hart, op, result)
}

fn wfi<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    match hart.may_wait() {
        Ok(()) => {
            hart.at = op.at;
            hart.waiting = true;
            Flow::Wait
        }
        Err(trap) => trapped(hart, op, trap),
    }
}

/// PAUSE, WRS.NTO and WRS.STO: somebody else's turn. A wait on the reservation set may end at any
/// time, and here it ends with the turn.
fn pause<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    hart.at = op.at;
    Flow::Wait
}

fn wrs_nto<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    // "WRS.NTO … when TW=1 … an illegal-instruction exception", only if it would not end in a
    // bounded time: it does.
    pause(hart, bus, op, rest)
}

/// FENCE.I: done eagerly, but the block ends, so that code written in it is decoded anew.
fn fence_i<B: Bus>(hart: &mut Hart, _bus: &mut B, op: &Op<B>, _rest: &[Op<B>]) -> Flow {
    hart.at = op.at;
    Flow::Sync
}

fn fenced<B: Bus>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
    check: Result<(), Trap>,
) -> Flow {
    match check {
        Ok(()) => next(hart, bus, rest),
        Err(trap) => trapped(hart, op, trap),
    }
}

impl Hart {
    fn may_fence(&self, by_address: bool) -> Result<(), Trap> {
        match (self.prv, self.virt) {
            (0, _) => Err(self.above(1)),
            (1, true) if by_address && HSTATUS::VTVM.is_set(self.guest_status()) => {
                Err(Trap::virtual_instruction())
            }
            (1, false) if by_address && MSTATUS::TVM.is_set(self.csr.mstatus) => {
                Err(Trap::illegal())
            }
            _ => Ok(()),
        }
    }

    fn may_hfence(&self, guest_stage: bool) -> Result<(), Trap> {
        match (self.prv, self.virt) {
            (_, true) | (0, _) => Err(self.above(2)),
            (1, false) if guest_stage && MSTATUS::TVM.is_set(self.csr.mstatus) => {
                Err(Trap::illegal())
            }
            _ => Ok(()),
        }
    }

    fn may_hufence(&self) -> Result<(), Trap> {
        if self.virt && on(Check::HufenceInGuest) {
            return Err(Trap::virtual_instruction());
        }
        let hu = self.prv == 0 && self.delegated();
        if hu || !on(Check::HufenceOutsideHu) { Ok(()) } else { Err(Trap::illegal()) }
    }
}

macro_rules! fences {
    ($( $name:ident |$hart:ident| $check:expr; )*) => {
        $(
            fn $name<B: Bus>(
                $hart: &mut Hart,
                bus: &mut B,
                op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                let check = $check;
                fenced($hart, bus, op, rest, check)
            }
        )*
    };
}

fences! {
    sfence_vma |hart| hart.may_fence(true);
    sfence_order |hart| hart.may_fence(false);
    hfence_vvma |hart| hart.may_hfence(false);
    hfence_gvma |hart| hart.may_hfence(true);
    hufence |hart| hart.may_hufence();
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::Ecall => ecall,
        Name::Ebreak => ebreak,
        Name::Mret => mret,
        Name::Sret => sret,
        Name::Huret => huret,
        Name::Wfi => wfi,
        Name::Pause | Name::WrsSto => pause,
        Name::WrsNto => wrs_nto,
        Name::FenceI => fence_i,
        Name::SfenceVma | Name::SinvalVma => sfence_vma,
        Name::SfenceWInval | Name::SfenceInvalIr => sfence_order,
        Name::HfenceVvma | Name::HinvalVvma => hfence_vvma,
        Name::HfenceGvma | Name::HinvalGvma => hfence_gvma,
        Name::HufenceGvma | Name::HufenceVvma => hufence,
        _ => return None,
    })
}
