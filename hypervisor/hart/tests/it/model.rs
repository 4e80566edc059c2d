//! What one load or store should do, by the naive translator: the fetch, the access, the trap.

use hart::{Hart, Trap};
use isa::{Cause, Csr, Exception, Format, Insn, Op};

use crate::naive::{Fault, Kind, Memory, Regs, Walk, Who};
use crate::ram::{BASE, device_answers};

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Done { a0: u64 },
    Trap(Trap),
}

pub(crate) struct Model {
    /// The trap of the last step.
    pub(crate) last: Option<Trap>,
}

struct Bytes<'a>(&'a mut Vec<u8>);

fn offset(hpa: u64, len: u64, size: usize) -> Option<usize> {
    let offset = usize::try_from(hpa.checked_sub(BASE)?).ok()?;
    (offset.checked_add(usize::try_from(len).ok()?)? <= size).then_some(offset)
}

impl Memory for Bytes<'_> {
    fn read(&self, hpa: u64) -> Option<u64> {
        let at = offset(hpa, 8, self.0.len())?;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        Some(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, hpa: u64, value: u64) {
        if let Some(at) = offset(hpa, 8, self.0.len()) {
            self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The CSRs that count, as a reader sees them.
pub(crate) fn regs(hart: &Hart) -> Regs {
    let csr = |csr: Csr| hart.csr(csr).unwrap_or(0);
    let pmp = (0..16u16).map(|i| {
        let cfgs = csr(Csr(Csr::PMPCFG0.0 + i / 8 * 2));
        (cfgs >> (8 * (i % 8)) & 0xff, csr(Csr(Csr::PMPADDR0.0 + i)))
    });
    Regs {
        mstatus: csr(Csr::MSTATUS),
        vsstatus: csr(Csr::VSSTATUS),
        satp: csr(Csr::SATP),
        vsatp: csr(Csr::VSATP),
        hgatp: csr(Csr::HGATP),
        hugatp: csr(Csr::HUGATP),
        menvcfg: csr(Csr::MENVCFG),
        henvcfg: csr(Csr::HENVCFG),
        hu: csr(Csr::HSTATUS) >> 9 & 1 == 1,
        pmp: pmp.collect(),
    }
}

/// An access that an instruction makes.
struct Access {
    va: u64,
    len: u64,
    kind: Kind,
    who: Who,
    atomic: bool,
    /// The instruction for `htinst`.
    transformed: u64,
}

fn trap(cause: Exception, tval: u64, gva: bool) -> Trap {
    Trap { cause: Cause::Exception(cause), tval, gva, gpa: 0, tinst: 0 }
}

fn trap_of(fault: Fault, tinst: u64) -> Trap {
    let cause = Exception::from_code(fault.cause).unwrap_or(Exception::DvFault);
    let tinst = if fault.pseudo != 0 { fault.pseudo } else { tinst };
    Trap { gpa: fault.gpa, tinst, ..trap(cause, fault.tval, fault.gva) }
}

/// Bytes of an access, and whether its value is sign-extended.
#[expect(clippy::wildcard_enum_match_arm, reason = "those that the pages hold")]
fn width(op: Op) -> Option<(u64, bool)> {
    Some(match op {
        Op::Ld | Op::Sd | Op::AmoaddD | Op::LrD | Op::HlvD | Op::HsvD => (8, true),
        Op::HlvxWu => (4, false),
        Op::HulvW | Op::Sw => (4, true),
        Op::Lhu => (2, false),
        Op::Lb | Op::Sb => (1, true),
        _ => return None,
    })
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { last: None }
    }

    /// The effect of the next step and RAM after it; `None` if the instruction is none that the
    /// model knows.
    pub(crate) fn step(&mut self, hart: &Hart, bytes: &mut Vec<u8>) -> Option<(Effect, Vec<u8>)> {
        let regs = regs(hart);
        let mode = hart.mode();
        let who = mode_who(&regs, mode.level(), mode.is_virtual());
        self.last = None;
        let result = self.fetch(&regs, bytes, who, hart.pc()).and_then(|word| {
            let Some(insn) = isa::decode(word) else { return Ok(None) };
            self.execute(hart, &regs, bytes, who, insn)
        });
        let effect = match result {
            Ok(None) => return None,
            Ok(Some(a0)) => Effect::Done { a0 },
            Err(trap) => {
                self.last = Some(trap);
                Effect::Trap(trap)
            }
        };
        Some((effect, std::mem::take(bytes)))
    }

    fn fetch(&self, regs: &Regs, bytes: &mut Vec<u8>, who: Who, pc: u64) -> Result<u32, Trap> {
        let mut memory = Bytes(bytes);
        let kind = Kind::Fetch;
        let hpa = Walk { regs, memory: &mut memory, who, kind, va: pc }
            .translate()
            .map_err(|fault| trap_of(fault, 0))?;
        let fault = trap(Exception::InstructionAccessFault, pc, who.virt);
        let at = offset(hpa, 4, bytes.len()).ok_or(fault)?;
        Ok(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
    }

    fn execute(
        &self,
        hart: &Hart,
        regs: &Regs,
        bytes: &mut Vec<u8>,
        who: Who,
        insn: Insn,
    ) -> Result<Option<u64>, Trap> {
        let known = insn.rs1 == 11 && insn.imm == 0 && insn.len == 4;
        let Some((len, signed)) = width(insn.op).filter(|_| known) else { return Ok(None) };
        let guest = matches!(insn.row().fmt, Format::HLoad | Format::HStore);
        let hu = who.prv == 0 && !who.virt && regs.hu;
        if guest && who.virt {
            return Err(trap(Exception::VirtualInstruction, u64::from(insn.raw), false));
        }
        if guest && who.prv == 0 && !hu {
            return Err(trap(Exception::IllegalInstruction, u64::from(insn.raw), false));
        }
        let store = matches!(insn.row().fmt, Format::Store | Format::HStore | Format::Amo);
        let access = Access {
            va: hart.x(11),
            len,
            kind: if store { Kind::Store } else { Kind::Load },
            who: if guest { guest_who(hart, hu, insn.op) } else { data_who(regs, who) },
            atomic: matches!(insn.op, Op::AmoaddD | Op::LrD),
            transformed: transformed(&insn),
        };
        let done = self.access(hart, regs, bytes, &access, &insn);
        // HU is told by a flag.
        let value = if guest && hu { done.unwrap_or(0) } else { done? };
        let loads = insn.rd == 10;
        let shift = 64 - 8 * len;
        let extended = if signed { sign_extended(value, shift) } else { value << shift >> shift };
        Ok(Some(if loads { extended } else { hart.x(10) }))
    }

    /// Gives what was there before.
    fn access(
        &self,
        hart: &Hart,
        regs: &Regs,
        bytes: &mut Vec<u8>,
        access: &Access,
        insn: &Insn,
    ) -> Result<u64, Trap> {
        let &Access { va, len, kind, who, .. } = access;
        let store = kind == Kind::Store;
        let virt = who.virt;
        if access.atomic && va % len != 0 {
            let cause = if store { Exception::StoreMisaligned } else { Exception::LoadMisaligned };
            return Err(trap(cause, va, virt));
        }
        let access_fault =
            if store { Exception::StoreAccessFault } else { Exception::LoadAccessFault };
        let first = len.min(0x1000 - (va & 0xfff));
        let mut places = vec![self.translate(regs, bytes, access, 0)?];
        if first < len {
            places.push(self.translate(regs, bytes, access, first)?);
        }
        let size = bytes.len();
        let mut at = Vec::new();
        for (part, hpa) in places.iter().enumerate() {
            let part_va = if part == 0 { va } else { va.wrapping_add(first) };
            let part_len = if part == 0 { first } else { len - first };
            match offset(*hpa, part_len, size) {
                Some(offset) => {
                    at.extend((offset..size).take(usize::try_from(part_len).unwrap_or(0)))
                }
                None if device_answers(*hpa) && !access.atomic && first == len => {
                    if hpa % len != 0 {
                        return Err(trap(access_fault, part_va, virt));
                    }
                    return Ok(*hpa);
                }
                None => return Err(trap(access_fault, part_va, virt)),
            }
        }
        let old = at.iter().rev().fold(0, |value, at| value << 8 | u64::from(bytes[*at]));
        if store {
            let operand = hart.x(12);
            let new = if insn.op == Op::AmoaddD { old.wrapping_add(operand) } else { operand };
            for (at, byte) in at.into_iter().zip(new.to_le_bytes()) {
                bytes[at] = byte;
            }
        }
        Ok(old)
    }

    fn translate(
        &self,
        regs: &Regs,
        bytes: &mut Vec<u8>,
        access: &Access,
        part: u64,
    ) -> Result<u64, Trap> {
        let va = access.va.wrapping_add(part);
        let mut memory = Bytes(bytes);
        Walk { regs, memory: &mut memory, who: access.who, kind: access.kind, va }
            .translate()
            .map_err(|fault| {
                let is_guest = matches!(fault.cause, 21 | 23);
                trap_of(fault, if is_guest { access.transformed | part << 15 } else { 0 })
            })
    }
}

/// "Transformed Instruction": the address operand is taken out.
#[expect(clippy::wildcard_enum_match_arm, reason = "those that the pages hold")]
fn transformed(insn: &Insn) -> u64 {
    u64::from(match insn.row().fmt {
        Format::Load => insn.raw & 0x7fff,
        Format::Store => insn.raw & 0x01f0_707f,
        _ => insn.raw & 0xfff0_7fff,
    })
}

/// MPRV.
fn data_who(regs: &Regs, who: Who) -> Who {
    let mpp = regs.mstatus >> 11 & 3;
    if who.prv != 3 || regs.mstatus >> 17 & 1 == 0 || mpp == 3 {
        return who;
    }
    mode_who(regs, u8::from(mpp == 1), regs.mstatus >> 39 & 1 == 1)
}

/// An access of this mode.
fn mode_who(regs: &Regs, prv: u8, virt: bool) -> Who {
    Who { prv, virt, delegated: virt && regs.hu, hlvx: false }
}

/// HLV and HSV: as the guest of HU or of HS, with the privilege in its SPVP.
fn guest_who(hart: &Hart, hu: bool, op: Op) -> Who {
    let csr = if hu { Csr::HUSTATUS } else { Csr::HSTATUS };
    let spvp = hart.csr(csr).unwrap_or(0) >> 8 & 1 == 1;
    Who { prv: u8::from(spvp), virt: true, delegated: hu, hlvx: op == Op::HlvxWu }
}

fn sign_extended(value: u64, shift: u64) -> u64 {
    ((value << shift).cast_signed() >> shift).cast_unsigned()
}
