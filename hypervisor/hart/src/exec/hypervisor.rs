//! HLV, HLVX and HSV: the hypervisor's loads and stores of guest memory, and HU's names for them.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::fields::{HSTATUS, HUSTATUS};
use isa::{Check, Op as Name};

use super::memory::after;
use super::trapped;
use crate::bus::Bus;
use crate::checks::on;
use crate::engine::{Flow, Handler, Op};
use crate::hart::{Hart, Trap};

impl Hart {
    /// "an attempt to execute … when V=1 causes a virtual-instruction exception", and in U it
    /// takes `hstatus.HU`.
    pub(crate) fn may_access_guest(&self) -> Result<(), Trap> {
        if self.virt && on(Check::AccessInGuest) {
            return Err(Trap::virtual_instruction());
        }
        let hu = HSTATUS::HU.is_set(self.csr.hstatus);
        let allowed = self.prv != 0 || hu || !on(Check::AccessInU);
        if allowed { Ok(()) } else { Err(Trap::illegal()) }
    }

    /// In HU such an access does not trap: `hustatus.GLF` tells, and the value is zero.
    pub(crate) fn guest_fault(&mut self, trap: Trap) -> Result<(), Trap> {
        if self.prv != 0 || !self.delegated() || !on(Check::AccessFlagged) {
            return Err(trap);
        }
        self.csr.hustatus = HUSTATUS::GLF.with(self.csr.hustatus, true);
        Ok(())
    }
}

macro_rules! guest_loads {
    ($( $name:ident $n:literal $type:ty, $hlvx:literal; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                hart.at = op.at;
                let va = hart.get(op.rs1);
                let rights = hart.guest_rights($hlvx);
                let before = bus.n_changes();
                let loaded = hart
                    .may_access_guest()
                    .and_then(|()| Ok(hart.load_as::<B, $n>(bus, va, rights)))
                    .and_then(|loaded| match loaded {
                        Ok(loaded) => Ok(loaded),
                        Err(trap) => hart.guest_fault(trap).map(|()| ([0; $n], false)),
                    });
                match loaded {
                    Ok((bytes, ends)) => {
                        let value = i64::from(<$type>::from_le_bytes(bytes)).cast_unsigned();
                        hart.set(op.rd, value);
                        let grew = bus.n_changes() != before;
                        after(hart, bus, op, rest, ends || grew)
                    }
                    Err(trap) => trapped(hart, op, trap),
                }
            }
        )*
    };
}

macro_rules! guest_stores {
    ($( $name:ident $n:literal; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                hart.at = op.at;
                let va = hart.get(op.rs1);
                let rights = hart.guest_rights(false);
                let before = bus.n_changes();
                let mut bytes = [0; $n];
                bytes.copy_from_slice(&hart.get(op.rs2).to_le_bytes()[..$n]);
                let stored = hart
                    .may_access_guest()
                    .and_then(|()| Ok(hart.store_as::<B, $n>(bus, va, bytes, rights)))
                    .and_then(|stored| match stored {
                        Ok(ends) => Ok(ends),
                        Err(trap) => hart.guest_fault(trap).map(|()| false),
                    });
                match stored {
                    Ok(ends) => {
                        let grew = bus.n_changes() != before;
                        after(hart, bus, op, rest, ends || grew)
                    }
                    Err(trap) => trapped(hart, op, trap),
                }
            }
        )*
    };
}

guest_loads! {
    hlv_b 1 i8, false;
    hlv_bu 1 u8, false;
    hlv_h 2 i16, false;
    hlv_hu 2 u16, false;
    hlvx_hu 2 u16, true;
    hlv_w 4 i32, false;
    hlv_wu 4 u32, false;
    hlvx_wu 4 u32, true;
    hlv_d 8 i64, false;
}

guest_stores! {
    hsv_b 1;
    hsv_h 2;
    hsv_w 4;
    hsv_d 8;
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::HlvB | Name::HulvB => hlv_b,
        Name::HlvBu | Name::HulvBu => hlv_bu,
        Name::HlvH | Name::HulvH => hlv_h,
        Name::HlvHu | Name::HulvHu => hlv_hu,
        Name::HlvxHu | Name::HulvxHu => hlvx_hu,
        Name::HlvW | Name::HulvW => hlv_w,
        Name::HlvWu | Name::HulvWu => hlv_wu,
        Name::HlvxWu | Name::HulvxWu => hlvx_wu,
        Name::HlvD | Name::HulvD => hlv_d,
        Name::HsvB | Name::HusvB => hsv_b,
        Name::HsvH | Name::HusvH => hsv_h,
        Name::HsvW | Name::HusvW => hsv_w,
        Name::HsvD | Name::HusvD => hsv_d,
        _ => return None,
    })
}
