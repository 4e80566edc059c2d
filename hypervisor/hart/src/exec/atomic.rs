//! A: load-reserved, store-conditional, and atomic memory operations.
//!
//! Harts take turns on one thread, so each of these is atomic by itself. A reservation covers 64
//! bytes and ends with SC, with another hart's turn, and with a write by anybody but a hart.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::{Exception, Op as Name};

use super::base::low;
use super::memory::{Ends, after};
use super::trapped;
use crate::bus::{Bus, Writer};
use crate::engine::{Flow, Handler, Op};
use crate::hart::{Hart, Trap};
use crate::walk::Access;

/// Bytes of a reservation set.
const RESERVATION: u64 = 64;

fn sext32(value: u32) -> u64 {
    i64::from(value.cast_signed()).cast_unsigned()
}

impl Hart {
    /// Where an atomic access goes: aligned, and RAM.
    fn atomic_place<B: Bus>(
        &mut self,
        bus: &mut B,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<usize, Trap> {
        let virt = self.rights.virt;
        if va & (len - 1) != 0 {
            let cause = if access == Access::Load {
                Exception::LoadMisaligned
            } else {
                Exception::StoreMisaligned
            };
            return Err(Trap::memory(cause, va, virt));
        }
        let place = self.locate(bus, va, len, access, self.rights)?;
        place.ok_or(Trap::memory(access.access_fault(), va, virt))
    }

    fn load_reserved<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
    ) -> Result<[u8; N], Trap> {
        let offset = self.atomic_place(bus, va, N as u64, Access::Load)?;
        self.reservation = Some((bus.ram_base() + offset as u64) & !(RESERVATION - 1));
        Ok(bus.load(offset))
    }

    /// Whether it failed, and whether the block ends.
    fn store_conditional<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        bytes: [u8; N],
    ) -> Result<(bool, Ends), Trap> {
        let offset = self.atomic_place(bus, va, N as u64, Access::Store)?;
        let set = (bus.ram_base() + offset as u64) & !(RESERVATION - 1);
        if self.reservation.take() != Some(set) {
            return Ok((true, false));
        }
        Ok((false, bus.store(offset, bytes, Writer::Hart)))
    }

    fn watched<B>(&mut self, op: &Op<B>, va: u64, len: u64, load: bool, store: bool) -> bool {
        self.at = op.at;
        let step = self.steps + u64::from(op.at);
        // What does both is told as a store, if these are watched.
        (store && self.probe.watches(step, va, len, true))
            || (load && self.probe.watches(step, va, len, false))
    }
}

macro_rules! lr_sc {
    ($lr:ident $sc:ident $n:literal $extend:expr) => {
        fn $lr<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
            let va = hart.get(op.rs1);
            if hart.watched(op, va, $n, true, false) {
                return Flow::Stop;
            }
            let before = bus.n_changes();
            match hart.load_reserved::<B, $n>(bus, va) {
                Ok(bytes) => {
                    let extend: fn([u8; $n]) -> u64 = $extend;
                    hart.set(op.rd, extend(bytes));
                    let grew = bus.n_changes() != before;
                    after(hart, bus, op, rest, grew)
                }
                Err(trap) => trapped(hart, op, trap),
            }
        }

        fn $sc<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
            let va = hart.get(op.rs1);
            if hart.watched(op, va, $n, false, true) {
                return Flow::Stop;
            }
            let mut bytes = [0; $n];
            bytes.copy_from_slice(&hart.get(op.rs2).to_le_bytes()[..$n]);
            let before = bus.n_changes();
            match hart.store_conditional::<B, $n>(bus, va, bytes) {
                Ok((failed, ends)) => {
                    hart.set(op.rd, u64::from(failed));
                    let grew = bus.n_changes() != before;
                    after(hart, bus, op, rest, ends || grew)
                }
                Err(trap) => trapped(hart, op, trap),
            }
        }
    };
}

lr_sc!(lr_w sc_w 4 |bytes| sext32(u32::from_le_bytes(bytes)));
lr_sc!(lr_d sc_d 8 u64::from_le_bytes);

/// An atomic of `$n` bytes: `rd` gets what was there, memory what `$new` makes of it and of `rs2`.
macro_rules! amos {
    ($( $name:ident $n:literal $type:ident $operand:expr, $extend:expr,
        |$old:ident, $arg:ident| $new:expr; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                let va = hart.get(op.rs1);
                if hart.watched(op, va, $n, true, true) {
                    return Flow::Stop;
                }
                let before = bus.n_changes();
                match hart.atomic_place(bus, va, $n, Access::Store) {
                    Ok(offset) => {
                        let $old = <$type>::from_le_bytes(bus.load(offset));
                        let $arg: $type = $operand(hart.get(op.rs2));
                        let new: $type = $new;
                        bus.store(offset, new.to_le_bytes(), Writer::Hart);
                        hart.set(op.rd, $extend($old));
                        let grew = bus.n_changes() != before;
                        after(hart, bus, op, rest, grew)
                    }
                    Err(trap) => trapped(hart, op, trap),
                }
            }
        )*
    };
}

amos! {
    swap_w 4 u32 low, sext32, |_old, arg| arg;
    add_w 4 u32 low, sext32, |old, arg| old.wrapping_add(arg);
    xor_w 4 u32 low, sext32, |old, arg| old ^ arg;
    and_w 4 u32 low, sext32, |old, arg| old & arg;
    or_w 4 u32 low, sext32, |old, arg| old | arg;
    min_w 4 u32 low, sext32, |old, arg| old.cast_signed().min(arg.cast_signed()).cast_unsigned();
    max_w 4 u32 low, sext32, |old, arg| old.cast_signed().max(arg.cast_signed()).cast_unsigned();
    minu_w 4 u32 low, sext32, |old, arg| old.min(arg);
    maxu_w 4 u32 low, sext32, |old, arg| old.max(arg);
    swap_d 8 u64 u64::from, u64::from, |_old, arg| arg;
    add_d 8 u64 u64::from, u64::from, |old, arg| old.wrapping_add(arg);
    xor_d 8 u64 u64::from, u64::from, |old, arg| old ^ arg;
    and_d 8 u64 u64::from, u64::from, |old, arg| old & arg;
    or_d 8 u64 u64::from, u64::from, |old, arg| old | arg;
    min_d 8 u64 u64::from, u64::from,
        |old, arg| old.cast_signed().min(arg.cast_signed()).cast_unsigned();
    max_d 8 u64 u64::from, u64::from,
        |old, arg| old.cast_signed().max(arg.cast_signed()).cast_unsigned();
    minu_d 8 u64 u64::from, u64::from, |old, arg| old.min(arg);
    maxu_d 8 u64 u64::from, u64::from, |old, arg| old.max(arg);
}

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    Some(match name {
        Name::LrW => lr_w,
        Name::LrD => lr_d,
        Name::ScW => sc_w,
        Name::ScD => sc_d,
        Name::AmoswapW => swap_w,
        Name::AmoaddW => add_w,
        Name::AmoxorW => xor_w,
        Name::AmoandW => and_w,
        Name::AmoorW => or_w,
        Name::AmominW => min_w,
        Name::AmomaxW => max_w,
        Name::AmominuW => minu_w,
        Name::AmomaxuW => maxu_w,
        Name::AmoswapD => swap_d,
        Name::AmoaddD => add_d,
        Name::AmoxorD => xor_d,
        Name::AmoandD => and_d,
        Name::AmoorD => or_d,
        Name::AmominD => min_d,
        Name::AmomaxD => max_d,
        Name::AmominuD => minu_d,
        Name::AmomaxuD => maxu_d,
        _ => return None,
    })
}
