//! Zicbom and Zicboz: operations on a cache block of 64 bytes. There are no caches, so only
//! `cbo.zero` does something, but the others check and fault as they should.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::fields::ENVCFG;
use isa::{Cause, Exception, Op as Name};

use super::memory::after;
use super::trapped;
use crate::bus::{Bus, Writer};
use crate::engine::{Flow, Handler, Op};
use crate::hart::{Hart, Trap};
use crate::walk::{Access, ram_offset};
use isa::Field;

/// Bytes of a cache block.
const BLOCK: u64 = 64;
const ZEROS: [u8; 64] = [0; 64];

impl Hart {
    /// CMO extension, "Control and Status Register State": the environments above the mode decide.
    fn may_cbo(&self, field: Field) -> Result<(), Trap> {
        let (menvcfg, henvcfg, senvcfg) = self.envcfgs();
        let off = |envcfg: u64| !field.is_set(envcfg);
        if off(menvcfg) || (!self.virt && off(senvcfg)) {
            return Err(Trap::illegal());
        }
        if self.virt && (off(henvcfg) || off(senvcfg)) {
            return Err(Trap::virtual_instruction());
        }
        Ok(())
    }

    fn cbo_zero<B: Bus>(&mut self, bus: &mut B, va: u64) -> Result<(), Trap> {
        self.may_cbo(ENVCFG::CBZE)?;
        let block = va & !(BLOCK - 1);
        let fault = |trap| at_operand(trap, va);
        let place = self.locate(bus, block, BLOCK, Access::Store, self.rights).map_err(fault)?;
        let outside = Trap::memory(Access::Store.access_fault(), va, self.rights.virt);
        let offset = place.ok_or(outside)?;
        bus.store(offset, ZEROS, Writer::Hart);
        Ok(())
    }

    /// "permitted to access the specified cache block whenever a load instruction or store
    /// instruction is permitted to access the corresponding physical addresses"; they fault as a
    /// store.
    fn cbo_manage<B: Bus>(&mut self, bus: &mut B, va: u64, field: Field) -> Result<(), Trap> {
        self.may_cbo(field)?;
        let block = va & !(BLOCK - 1);
        // Nothing that may be written may not be read, so a load is what has to be permitted.
        let found = self.translate(bus, block, Access::Load, self.rights);
        let hpa = found.map_err(|trap| at_operand(as_store(trap), va))?;
        if ram_offset(bus, hpa, BLOCK).is_some() || bus.is_device(hpa) {
            return Ok(());
        }
        Err(Trap::memory(Access::Store.access_fault(), va, self.rights.virt))
    }
}

/// The same fault of a store.
fn as_store(trap: Trap) -> Trap {
    let cause = match trap.cause {
        Cause::Exception(Exception::LoadPageFault) => Exception::StorePageFault.into(),
        Cause::Exception(Exception::LoadGuestPageFault) => Exception::StoreGuestPageFault.into(),
        Cause::Exception(Exception::LoadAccessFault) => Exception::StoreAccessFault.into(),
        other => other,
    };
    Trap { cause, ..trap }
}

/// CMO extension, "Traps": the faulting address is the one in `rs1`, not that of the block.
fn at_operand(trap: Trap, va: u64) -> Trap {
    // The address of a page-table entry is the whole truth.
    let within = if trap.gpa != 0 && trap.tinst == 0 { va & (BLOCK - 1) } else { 0 };
    Trap { tval: va, gpa: trap.gpa | within, ..trap }
}

fn zero<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    hart.at = op.at;
    let va = hart.get(op.rs1);
    let step = hart.steps + u64::from(op.at);
    if hart.probe.watches(step, va & !(BLOCK - 1), BLOCK, true) {
        return Flow::Stop;
    }
    let before = bus.n_changes();
    match hart.cbo_zero(bus, va) {
        Ok(()) => {
            let grew = bus.n_changes() != before;
            after(hart, bus, op, rest, grew)
        }
        Err(trap) => trapped(hart, op, trap),
    }
}

fn manage<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>], field: Field) -> Flow {
    hart.at = op.at;
    let va = hart.get(op.rs1);
    let before = bus.n_changes();
    match hart.cbo_manage(bus, va, field) {
        Ok(()) => {
            // Where the walk set A in what was decoded as code.
            let grew = bus.n_changes() != before;
            after(hart, bus, op, rest, grew)
        }
        Err(trap) => trapped(hart, op, trap),
    }
}

fn clean<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    manage(hart, bus, op, rest, ENVCFG::CBCFE)
}

fn inval<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    manage(hart, bus, op, rest, ENVCFG::CBIE)
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::CboZero => zero,
        Name::CboClean | Name::CboFlush => clean,
        Name::CboInval => inval,
        _ => return None,
    })
}
