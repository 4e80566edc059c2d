//! What a step should come to, by the naive translator and the chapter, before it is made.

#![expect(clippy::wildcard_enum_match_arm, reason = "few formats of many")]

use hart::Hart;
use isa::{Csr, Format, Insn, Mode, Op};

use super::bus::Recorder;
use super::naive::{Fault, Kind, Memory, Regs, Walk, Who};
use super::oracle::{self, Due};
use super::state::State;

/// Where a load or a store goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data {
    pub(crate) result: Result<u64, Fault>,
    pub(crate) len: u64,
    pub(crate) write: bool,
    /// Of HLV, HLVX and HSV.
    pub(crate) of_guest: bool,
    /// All of it is in one page, and it is made in any case.
    pub(crate) whole: bool,
}

/// What the next step should be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Interrupts, one of which is taken; if none, the instruction is executed.
    pub(crate) interrupts: u64,
    /// Where the instruction stands.
    pub(crate) fetch: Result<u64, Fault>,
    pub(crate) insn: Option<Insn>,
    pub(crate) due: Due,
    pub(crate) data: Option<Data>,
}

/// RAM with what walks would write to it.
struct Overlay<'a> {
    bus: &'a Recorder,
    written: Vec<(u64, u64)>,
}

impl Memory for Overlay<'_> {
    fn read(&self, hpa: u64) -> Option<u64> {
        let written = self.written.iter().rev().find(|(at, _)| *at == hpa);
        written.map(|(_, value)| *value).or_else(|| self.bus.word(hpa))
    }

    fn write(&mut self, hpa: u64, value: u64) {
        self.written.push((hpa, value));
    }
}

/// The CSRs that translation depends on.
fn regs(state: &State) -> Regs {
    let pmp = (0..16u16).map(|i| {
        let cfgs = state.get(Csr(Csr::PMPCFG0.0 + i / 8 * 2));
        (cfgs >> (8 * (i % 8)) & 0xff, state.get(Csr(Csr::PMPADDR0.0 + i)))
    });
    Regs {
        mstatus: state.get(Csr::MSTATUS),
        vsstatus: state.get(Csr::VSSTATUS),
        satp: state.get(Csr::SATP),
        vsatp: state.get(Csr::VSATP),
        hgatp: state.get(Csr::HGATP),
        hugatp: state.get(Csr::HUGATP),
        menvcfg: state.get(Csr::MENVCFG),
        henvcfg: state.get(Csr::HENVCFG),
        hu: state.delegated(),
        pmp: pmp.collect(),
    }
}

/// A walker of the state that a hart has.
pub(crate) struct Walker<'a> {
    regs: Regs,
    overlay: Overlay<'a>,
    state: &'a State,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(state: &'a State, bus: &'a Recorder) -> Self {
        Self { regs: regs(state), overlay: Overlay { bus, written: Vec::new() }, state }
    }

    fn walk(&mut self, who: Who, kind: Kind, va: u64, len: u64) -> Result<u64, Fault> {
        let memory = &mut self.overlay;
        let hpa = Walk { regs: &self.regs, memory, who, kind, va }.translate()?;
        if self.overlay.bus.zone(hpa) != 0 && self.overlay.bus.zone(hpa + len - 1) != 0 {
            return Ok(hpa);
        }
        // There is no device, either.
        let cause = match kind {
            Kind::Fetch => 1,
            Kind::Load => 5,
            Kind::Store => 7,
        };
        Err(Fault { cause, tval: va, gva: who.virt, gpa: 0, pseudo: 0 })
    }

    fn who(&self) -> Who {
        let virt = self.state.virt();
        let delegated = virt && self.regs.hu;
        Who { prv: self.state.mode.level(), virt, delegated, hlvx: false }
    }

    /// Where the next instruction stands.
    pub(crate) fn fetch(&mut self) -> Result<u64, Fault> {
        self.walk(self.who(), Kind::Fetch, self.state.pc, 2)
    }

    /// The next instruction's bits.
    fn raw(&mut self, hpa: u64) -> Result<u32, Fault> {
        let half = |bus: &Recorder, hpa| u32::from(bus.half(hpa).unwrap_or(0));
        let low = half(self.overlay.bus, hpa);
        if low & 3 != 3 {
            return Ok(low);
        }
        let rest = if hpa & 0xfff == 0xffe {
            self.walk(self.who(), Kind::Fetch, self.state.pc.wrapping_add(2), 2)?
        } else {
            hpa + 2
        };
        Ok(half(self.overlay.bus, rest) << 16 | low)
    }

    fn data(&mut self, insn: &Insn, x: impl Fn(u8) -> u64) -> Option<Data> {
        let row = insn.row();
        let of_guest = matches!(row.fmt, Format::HLoad | Format::HStore);
        let (plain, atomic) = match row.fmt {
            Format::Load => (insn.op != Op::Jalr, false),
            Format::Store | Format::FLoad | Format::FStore => (true, false),
            Format::Amo | Format::Lr => (true, true),
            _ => (of_guest, false),
        };
        if !plain {
            return None;
        }
        let word = isa::encode(insn);
        let len = 1 << (if of_guest { word >> 26 & 3 } else { word >> 12 & 3 });
        let va = x(insn.rs1).wrapping_add(if atomic { 0 } else { insn.imm.cast_unsigned() });
        if atomic && va % len != 0 {
            return None;
        }
        let write =
            matches!(row.fmt, Format::Store | Format::FStore | Format::Amo | Format::HStore);
        let kind = if write { Kind::Store } else { Kind::Load };
        let who = if of_guest { self.guest_who(insn.op) } else { self.who() };
        let first = len.min(0x1000 - (va & 0xfff));
        let mut result = self.walk(who, kind, va, first);
        if result.is_ok() && first < len {
            let second = self.walk(who, kind, va.wrapping_add(first), len - first);
            result = second.and(result);
        }
        let conditional = matches!(insn.op, Op::ScW | Op::ScD);
        Some(Data { result, len, write, of_guest, whole: first == len && !conditional })
    }

    /// With whose rights HLV and HSV are made.
    fn guest_who(&self, op: Op) -> Who {
        let delegated = self.state.mode == Mode::Hu;
        let status = if delegated { Csr::HUSTATUS } else { Csr::HSTATUS };
        let hlvx = matches!(op, Op::HlvxHu | Op::HlvxWu | Op::HulvxHu | Op::HulvxWu);
        Who { prv: u8::from(self.state.get(status) >> 8 & 1 == 1), virt: true, delegated, hlvx }
    }
}

/// Predicts the next step of a hart; `owns` says which vCPU ids its VM has.
pub(crate) fn expect(
    state: &State,
    hart: &Hart,
    bus: &Recorder,
    owns: impl Fn(u64) -> bool,
) -> Expected {
    let mut walker = Walker::new(state, bus);
    let interrupts = oracle::interrupts(state);
    let mut fetch = walker.fetch();
    let mut insn = None;
    if let Ok(hpa) = fetch {
        match walker.raw(hpa) {
            Ok(raw) => insn = isa::decode(raw),
            Err(fault) => fetch = Err(fault),
        }
    }
    let x = |reg| hart.x(reg);
    let due = insn.map_or(Due::Nothing, |insn| oracle::due(&insn, x(insn.rs1), state, owns));
    let refused = matches!(due, Due::Trap(_));
    let data = insn.filter(|_| !refused).and_then(|insn| walker.data(&insn, x));
    Expected { interrupts, fetch, insn, due, data }
}
