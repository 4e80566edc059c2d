//! The execution engine T0: threaded handlers over a cache of decoded blocks.
//!
//! A block is straight-line code of one page, up to a jump (branches that are not taken are run
//! through). Each instruction is a handler with its operands; a handler ends by calling the next
//! one. The compiler turns that into a jump; where it does not (debug builds), the stack grows by
//! at most [`BLOCK_MAX`] frames, since a block's last handler returns.
//!
//! Blocks are keyed by where they stand in RAM, so they are shared by harts and address spaces. A
//! write to their bytes drops them at once. Nothing here can be seen by a guest.
//!
//! This is the seam for a translating engine: [`Engine`] is what `Hart::run` needs, and another one
//! is right if it gives the same state after the same number of steps.

use isa::Extensions;

use crate::bus::{Bus, Change};
use crate::exec::lower;
use crate::hart::Hart;

/// Most instructions in a block.
pub(crate) const BLOCK_MAX: usize = 32;
/// Slots of the block cache if nothing else is asked for.
pub const BLOCKS_DEFAULT: usize = 1 << 16;
const EMPTY: u64 = u64::MAX;

/// How a handler left its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Past the last instruction that was given.
    End,
    /// `pc` was set.
    Jump,
    /// This instruction is done, and interrupts, translation or code may be others now.
    Sync,
    /// The same, and `pc` was set.
    SyncJump,
    /// This instruction is done, and the hart's turn is over.
    Wait,
    /// This instruction trapped: `Hart::trap`.
    Trap,
    /// A watchpoint: this instruction has not happened.
    Stop,
}

pub(crate) type Handler<B> = fn(&mut Hart, &mut B, &Op<B>, &[Op<B>]) -> Flow;

/// An instruction, ready to run.
pub(crate) struct Op<B> {
    pub(crate) run: Handler<B>,
    pub(crate) imm: i32,
    /// Destination; writes of `x0` go to a slot that nobody reads.
    pub(crate) rd: u8,
    pub(crate) rs1: u8,
    pub(crate) rs2: u8,
    /// Index in the block.
    pub(crate) at: u8,
}

/// Runs the rest of the block.
#[inline(always)]
pub(crate) fn next<B: Bus>(hart: &mut Hart, bus: &mut B, rest: &[Op<B>]) -> Flow {
    match rest.split_first() {
        Some((op, rest)) => (op.run)(hart, bus, op, rest),
        None => Flow::End,
    }
}

/// What is needed of an instruction only when it traps or ends a block.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    /// The instruction's bits as fetched.
    pub(crate) raw: u32,
    /// Where it ends, in halfwords from the block's start.
    pub(crate) end: u8,
}

pub(crate) struct Block<B> {
    /// Offset in RAM of the first instruction.
    start: u64,
    pub(crate) ops: Box<[Op<B>]>,
    pub(crate) sides: Box<[Side]>,
    /// One of its instructions may change a CSR, and does not leave it at its own pc.
    pub(crate) loud: bool,
}

impl<B> Block<B> {
    fn empty() -> Self {
        Self { start: EMPTY, ops: Box::new([]), sides: Box::new([]), loud: false }
    }

    /// Halfwords from the block's start to instruction `at`.
    pub(crate) fn begin(&self, at: usize) -> u64 {
        at.checked_sub(1).map_or(0, |before| u64::from(self.sides[before].end))
    }
}

/// The decoded blocks of a machine; one for all its harts.
pub struct Engine<B> {
    slots: Box<[Block<B>]>,
    isa: Extensions,
    seen_changes: u64,
    /// Offsets within a page at which a block must begin (breakpoints).
    cuts: Vec<u64>,
    pub(crate) crossing: Block<B>,
}

impl<B> std::fmt::Debug for Engine<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "masked to the number of slots")]
fn slot_of(offset: u64, n_slots: usize) -> usize {
    ((offset >> 1) ^ (offset >> 17)) as usize & (n_slots - 1)
}

impl<B: Bus> Engine<B> {
    /// An engine for harts with these extensions, with room for about `n_blocks` blocks.
    #[must_use]
    pub fn new(isa: Extensions, n_blocks: usize) -> Self {
        let n_slots = n_blocks.max(1).next_power_of_two();
        let slots = std::iter::repeat_with(Block::empty).take(n_slots).collect();
        Self { slots, isa, seen_changes: 0, cuts: Vec::new(), crossing: Block::empty() }
    }

    /// Forgets every block.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = Block::empty());
    }

    /// From now on no block runs through an instruction at one of these addresses.
    pub fn set_cuts(&mut self, addresses: impl Iterator<Item = u64>) {
        self.cuts = addresses.map(|address| address & 0xfff).collect();
        self.clear();
    }

    /// Drops what was decoded from bytes that changed since the last look.
    #[inline]
    pub(crate) fn catch_up(&mut self, bus: &B) {
        if self.seen_changes != bus.n_changes() {
            self.apply_changes(bus);
        }
    }

    fn apply_changes(&mut self, bus: &B) {
        match bus.changes(self.seen_changes) {
            None => self.clear(),
            Some(changes) => {
                for change in changes {
                    if let Change::Code { offset, len } = *change {
                        self.drop_range(offset as u64, len as u64);
                    }
                }
            }
        }
        self.seen_changes = bus.n_changes();
    }

    /// Drops the blocks that hold a byte of the range: a block is short and stays in its page, so
    /// there are few places where one can begin.
    fn drop_range(&mut self, offset: u64, len: u64) {
        let reach = 4 * BLOCK_MAX as u64;
        let page = offset & !0xfff;
        let mut start = page.max(offset.saturating_sub(reach)) & !1;
        while start < offset + len {
            let slot = &mut self.slots[slot_of(start, self.slots.len())];
            if slot.start == start {
                let end = slot.sides.last().map_or(0, |side| u64::from(side.end)) * 2;
                if start + end > offset {
                    *slot = Block::empty();
                }
            }
            start += 2;
        }
    }

    /// The block at this offset in RAM, or `None` if its first instruction goes on in the next
    /// page.
    #[inline(always)]
    pub(crate) fn block(&mut self, bus: &mut B, offset: u64) -> Option<&Block<B>> {
        let slot = slot_of(offset, self.slots.len());
        if self.slots[slot].start != offset {
            self.slots[slot] = self.decode(bus, offset)?;
        }
        Some(&self.slots[slot])
    }

    #[expect(clippy::cast_possible_truncation, reason = "within a page, and an offset in RAM")]
    #[inline(never)]
    fn decode(&self, bus: &mut B, start: u64) -> Option<Block<B>> {
        let mut ops = Vec::with_capacity(BLOCK_MAX);
        let mut sides = Vec::with_capacity(BLOCK_MAX);
        let mut loud = false;
        let mut offset = start;
        let page_end = (start & !0xfff) + 0x1000;
        while ops.len() < BLOCK_MAX && offset < page_end {
            if offset != start && self.cuts.contains(&(offset & 0xfff)) {
                break;
            }
            let low = u16::from_le_bytes(bus.load(offset as usize));
            let len = u64::from(isa::fetch_len(low));
            if offset + len > page_end {
                break;
            }
            let raw = match len {
                2 => u32::from(low),
                _ => u32::from_le_bytes(bus.load(offset as usize)),
            };
            let begin = (offset - start) as u8 / 2;
            let (op, traits) = lower(raw, begin, ops.len() as u8, self.isa);
            loud |= traits.loud;
            offset += len;
            ops.push(op);
            sides.push(Side { raw, end: ((offset - start) / 2) as u8 });
            if traits.ends {
                break;
            }
        }
        if ops.is_empty() {
            return None;
        }
        bus.mark_code(start as usize, (offset - start) as usize);
        Some(Block { start, ops: ops.into_boxed_slice(), sides: sides.into_boxed_slice(), loud })
    }

    /// A block of the one instruction with these bits, which lies across two pages.
    pub(crate) fn crossing(&mut self, raw: u32) -> &Block<B> {
        let (op, _) = lower(raw, 0, 0, self.isa);
        let sides = Box::new([Side { raw, end: 2 }]);
        self.crossing = Block { start: EMPTY, ops: Box::new([op]), sides, loud: true };
        &self.crossing
    }
}
