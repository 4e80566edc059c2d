//! Loads and stores: the fast path through a cached translation, and everything else.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::{Exception, Insn, Op as Name};

use super::{imm, trapped};
use crate::bus::{AccessFault, Bus, Touch, Writer};
use crate::engine::{Flow, Handler, Op, next};
use crate::hart::{Hart, Trap};
use crate::tlb::PAGE_MASK;
use crate::walk::{Access, Rights, ram_offset};

/// Whether the access left RAM or changed something cached: the block ends after it.
pub(crate) type Ends = bool;

/// A virtual address with the bits that have to be equal to a tag for an aligned access.
#[inline(always)]
fn tag_of<const N: usize>(va: u64) -> u64 {
    va & (PAGE_MASK | (N as u64 - 1))
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "an offset in RAM")]
fn offset(addend: u64, va: u64) -> usize {
    va.wrapping_add(addend) as usize
}

#[inline(always)]
pub(crate) fn load<B: Bus, const N: usize>(
    hart: &mut Hart,
    bus: &mut B,
    va: u64,
    op: &Op<B>,
) -> Result<([u8; N], Ends), Flow> {
    let entry = hart.tlb.data(va);
    if entry.load == tag_of::<N>(va) {
        return Ok((bus.load(offset(entry.addend, va)), false));
    }
    hart.load_slow(bus, va, op)
}

#[inline(always)]
pub(crate) fn store<B: Bus, const N: usize>(
    hart: &mut Hart,
    bus: &mut B,
    va: u64,
    bytes: [u8; N],
    op: &Op<B>,
) -> Result<Ends, Flow> {
    let entry = hart.tlb.data(va);
    if entry.store == tag_of::<N>(va) {
        return Ok(bus.store(offset(entry.addend, va), bytes, Writer::Hart));
    }
    hart.store_slow(bus, va, bytes, op)
}

/// How the bytes of an access lie in physical memory.
enum Place {
    Ram(usize),
    Device(u64),
    /// In two pages: the offset in RAM of the first part, its bytes, and the offset of the rest.
    Split(usize, usize, usize),
}

impl Hart {
    #[inline(never)]
    fn load_slow<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        op: &Op<B>,
    ) -> Result<([u8; N], Ends), Flow> {
        self.at = op.at;
        if self.probe.watches(self.steps + u64::from(op.at), va, N as u64, false) {
            return Err(Flow::Stop);
        }
        let before = bus.n_changes();
        let place = self.place(bus, va, N as u64, Access::Load, self.rights);
        let result = place.and_then(|place| self.load_at(bus, va, place));
        // Also where the walk set A or D in what was decoded as code.
        let grew = bus.n_changes() != before;
        result.map(|(bytes, ends)| (bytes, ends || grew)).map_err(|trap| trapped(self, op, trap))
    }

    fn load_at<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        place: Place,
    ) -> Result<([u8; N], Ends), Trap> {
        let mut bytes = [0; N];
        match place {
            Place::Ram(offset) => Ok((bus.load(offset), false)),
            Place::Split(first, n, rest) => {
                for (i, byte) in bytes.iter_mut().enumerate() {
                    let at = if i < n { first + i } else { rest + i - n };
                    [*byte] = bus.load(at);
                }
                Ok((bytes, false))
            }
            Place::Device(hpa) => {
                let touch = self.touch(hpa, N);
                let fault = Trap::memory(Exception::LoadAccessFault, va, self.rights.virt);
                let value = bus.read_device(touch).map_err(|AccessFault| fault)?;
                bytes.copy_from_slice(&value.to_le_bytes()[..N]);
                Ok((bytes, true))
            }
        }
    }

    #[inline(never)]
    fn store_slow<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        bytes: [u8; N],
        op: &Op<B>,
    ) -> Result<Ends, Flow> {
        self.at = op.at;
        if self.probe.watches(self.steps + u64::from(op.at), va, N as u64, true) {
            return Err(Flow::Stop);
        }
        let before = bus.n_changes();
        let place = self.place(bus, va, N as u64, Access::Store, self.rights);
        let result = place.and_then(|place| self.store_at(bus, va, place, bytes));
        let grew = bus.n_changes() != before;
        result.map(|ends| ends || grew).map_err(|trap| trapped(self, op, trap))
    }

    fn store_at<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        place: Place,
        bytes: [u8; N],
    ) -> Result<Ends, Trap> {
        match place {
            Place::Ram(offset) => Ok(bus.store(offset, bytes, Writer::Hart)),
            Place::Split(first, n, rest) => {
                let mut ends = false;
                for (i, byte) in bytes.into_iter().enumerate() {
                    let at = if i < n { first + i } else { rest + i - n };
                    ends |= bus.store(at, [byte], Writer::Hart);
                }
                Ok(ends)
            }
            Place::Device(hpa) => {
                let mut value = [0; 8];
                value[..N].copy_from_slice(&bytes);
                let touch = self.touch(hpa, N);
                let fault = Trap::memory(Exception::StoreAccessFault, va, self.rights.virt);
                bus.write_device(touch, u64::from_le_bytes(value)).map_err(|AccessFault| fault)?;
                Ok(true)
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a width of at most eight")]
    fn touch(&self, hpa: u64, width: usize) -> Touch {
        Touch { hart: self.id, hpa, width: width as u8, now_ns: self.now_here() }
    }

    /// Translates an access of `len` bytes, in two parts if it crosses a page, and remembers the
    /// page if it may.
    fn place<B: Bus>(
        &mut self,
        bus: &mut B,
        va: u64,
        len: u64,
        access: Access,
        rights: Rights,
    ) -> Result<Place, Trap> {
        let in_page = 0x1000 - (va & 0xfff);
        if in_page < len {
            return self.place_split(bus, va, in_page, len, access, rights);
        }
        let hpa = self.translate(bus, va, access, rights)?;
        if let Some(offset) = ram_offset(bus, hpa, len) {
            self.remember(va, offset as u64, access);
            return Ok(Place::Ram(offset));
        }
        // Devices take aligned accesses only.
        if hpa & (len - 1) != 0 {
            return Err(Trap::memory(access.access_fault(), va, rights.virt));
        }
        Ok(Place::Device(hpa))
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than eight")]
    fn place_split<B: Bus>(
        &mut self,
        bus: &mut B,
        va: u64,
        first_len: u64,
        len: u64,
        access: Access,
        rights: Rights,
    ) -> Result<Place, Trap> {
        let second = va.wrapping_add(first_len);
        let fault = |va| Trap::memory(access.access_fault(), va, rights.virt);
        let first_hpa = self.translate(bus, va, access, rights)?;
        let first = ram_offset(bus, first_hpa, first_len).ok_or(fault(va))?;
        let second_hpa = self.translate(bus, second, access, rights).map_err(|trap| {
            // "Addr. Offset": how far the faulting part is from the instruction's address, in
            // what is to become a transformed instruction.
            let guest =
                Exception::from_code(trap.cause.code()).is_some_and(Exception::is_guest_page_fault);
            let offset = if guest && trap.tinst == 0 { first_len << 15 } else { 0 };
            Trap { tinst: trap.tinst | offset, ..trap }
        })?;
        let rest = ram_offset(bus, second_hpa, len - first_len).ok_or(fault(second))?;
        Ok(Place::Split(first, first_len as usize, rest))
    }

    fn remember(&mut self, va: u64, offset: u64, access: Access) {
        if self.mprv {
            return;
        }
        let page = offset & PAGE_MASK;
        let store = access == Access::Store;
        if !self.probe.watches_page(va, store) {
            self.tlb.fill(va, page, access);
        }
        // What may be written may be read: W without R is reserved everywhere.
        if store && !self.probe.watches_page(va, false) {
            self.tlb.fill(va, page, Access::Load);
        }
    }

    /// For accesses that are not a plain load or store of the current mode: the offset in RAM or
    /// the device address of `len` bytes that do not cross a page.
    pub(crate) fn locate<B: Bus>(
        &mut self,
        bus: &mut B,
        va: u64,
        len: u64,
        access: Access,
        rights: Rights,
    ) -> Result<Option<usize>, Trap> {
        let hpa = self.translate(bus, va, access, rights)?;
        Ok(ram_offset(bus, hpa, len))
    }

    /// A load with rights of its own (HLV): no cached translation is used or made.
    pub(crate) fn load_as<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        rights: Rights,
    ) -> Result<([u8; N], Ends), Trap> {
        let mprv = std::mem::replace(&mut self.mprv, true);
        let place = self.place(bus, va, N as u64, Access::Load, rights);
        self.mprv = mprv;
        let loaded = self.load_at(bus, va, place?);
        loaded.map_err(|trap| Trap { gva: rights.virt, ..trap })
    }

    /// A store with rights of its own (HSV).
    pub(crate) fn store_as<B: Bus, const N: usize>(
        &mut self,
        bus: &mut B,
        va: u64,
        bytes: [u8; N],
        rights: Rights,
    ) -> Result<Ends, Trap> {
        let mprv = std::mem::replace(&mut self.mprv, true);
        let place = self.place(bus, va, N as u64, Access::Store, rights);
        self.mprv = mprv;
        let stored = self.store_at(bus, va, place?, bytes);
        stored.map_err(|trap| Trap { gva: rights.virt, ..trap })
    }
}

/// Goes on, unless the access ended the block.
#[inline(always)]
pub(super) fn after<B: Bus>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
    ends: Ends,
) -> Flow {
    if ends {
        hart.at = op.at;
        return Flow::Sync;
    }
    next(hart, bus, rest)
}

/// A load that is not a hit. A function of its own, and called last: so the handler of a hit calls
/// nothing and saves no register, which is worth a third of its time.
#[cold]
#[inline(never)]
fn load_cold<B: Bus, const N: usize>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
    extend: fn([u8; N]) -> u64,
) -> Flow {
    let va = hart.get(op.rs1).wrapping_add(imm(op));
    match load(hart, bus, va, op) {
        Ok((bytes, ends)) => {
            hart.set(op.rd, extend(bytes));
            after(hart, bus, op, rest, ends)
        }
        Err(flow) => flow,
    }
}

/// A store that is not a hit, or that somebody needs to know of.
#[cold]
#[inline(never)]
fn store_cold<B: Bus, const N: usize>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
) -> Flow {
    let va = hart.get(op.rs1).wrapping_add(imm(op));
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hart.get(op.rs2).to_le_bytes()[..N]);
    match store(hart, bus, va, bytes, op) {
        Ok(ends) => after(hart, bus, op, rest, ends),
        Err(flow) => flow,
    }
}

macro_rules! loads {
    ($( $name:ident $n:literal $type:ty; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                let va = hart.get(op.rs1).wrapping_add(imm(op));
                let extend: fn([u8; $n]) -> u64 =
                    |bytes| i64::from(<$type>::from_le_bytes(bytes)).cast_unsigned();
                let entry = hart.tlb.data(va);
                if entry.load != tag_of::<$n>(va) {
                    return load_cold::<B, $n>(hart, bus, op, rest, extend);
                }
                let value = extend(bus.load(offset(entry.addend, va)));
                hart.set(op.rd, value);
                next(hart, bus, rest)
            }
        )*
    };
}

macro_rules! stores {
    ($( $name:ident $n:literal; )*) => {
        $(
            fn $name<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
                let va = hart.get(op.rs1).wrapping_add(imm(op));
                let mut bytes = [0; $n];
                bytes.copy_from_slice(&hart.get(op.rs2).to_le_bytes()[..$n]);
                let entry = hart.tlb.data(va);
                let quick = entry.store == tag_of::<$n>(va)
                    && bus.store_quick(offset(entry.addend, va), bytes);
                if !quick {
                    return store_cold::<B, $n>(hart, bus, op, rest);
                }
                next(hart, bus, rest)
            }
        )*
    };
}

loads! {
    lb 1 i8;
    lh 2 i16;
    lw 4 i32;
    ld 8 i64;
    lbu 1 u8;
    lhu 2 u16;
    lwu 4 u32;
}

stores! {
    sb 1;
    sh 2;
    sw 4;
    sd 8;
}

pub(super) fn handler<B: Bus>(insn: &Insn) -> Option<Handler<B>> {
    Some(match insn.op {
        Name::Lb => lb,
        Name::Lh => lh,
        Name::Lw => lw,
        Name::Ld => ld,
        Name::Lbu => lbu,
        Name::Lhu => lhu,
        Name::Lwu => lwu,
        Name::Sb => sb,
        Name::Sh => sh,
        Name::Sw => sw,
        Name::Sd => sd,
        _ => return None,
    })
}
