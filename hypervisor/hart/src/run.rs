//! The run of a hart: interrupts, then blocks, until something outside the hart is wanted.

use crate::bus::Bus;
use crate::engine::{Block, Engine, Flow, next};
use crate::hart::{Hart, Taken, Trap};
use crate::tlb::PAGE_MASK;
use crate::walk::{Access, ram_offset};
use isa::{Cause, Exception};

/// Why a hart stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The step limit was reached.
    Limit,
    /// The hart waits (WFI): no interrupt that is enabled is pending.
    Waiting,
    /// The hart gave up its turn (`pause`, `wrs.*`).
    Yield,
    /// A trap was taken of which the runner wants to know.
    Trap(Taken),
    /// The next instruction has a breakpoint.
    Breakpoint,
    /// The next instruction touches watched memory.
    Watchpoint(crate::probe::Hit),
    /// Watched physical memory was written, by the last step unless a trap was reported since.
    Written,
    /// The CSR that is followed has another value.
    Changed(crate::follow::CsrChange),
}

impl Halt {
    /// Whether the hart stands before an instruction that it only makes after
    /// [`Hart::pass_once`].
    #[must_use]
    pub fn is_before(self) -> bool {
        matches!(self, Self::Breakpoint | Self::Watchpoint(_))
    }
}

/// How a run of blocks ended.
enum Left {
    /// Look at interrupts again.
    Look,
    Halt(Halt),
}

impl Hart {
    /// Runs until [`Hart::steps`] reaches `limit`, or something else ends the run.
    pub fn run<B: Bus>(&mut self, engine: &mut Engine<B>, bus: &mut B, limit: u64) -> Halt {
        if self.probe.follows() {
            return self.run_followed(engine, bus, limit);
        }
        self.run_on(engine, bus, limit)
    }

    /// Makes no step: looks at wires and timers, and stops waiting if it may.
    pub fn attend<B: Bus>(&mut self, engine: &mut Engine<B>, bus: &mut B) -> Halt {
        self.run_on(engine, bus, self.steps)
    }

    pub(crate) fn run_on<B: Bus>(
        &mut self,
        engine: &mut Engine<B>,
        bus: &mut B,
        limit: u64,
    ) -> Halt {
        loop {
            self.settle();
            let changed = self.catch_up(bus);
            engine.catch_up(bus);
            self.lines = bus.lines(self.id, self.now_ns());
            if self.waiting {
                if !self.wakeup() {
                    return Halt::Waiting;
                }
                self.waiting = false;
            }
            if changed && bus.comes_back() {
                return Halt::Written;
            }
            if self.steps >= limit {
                return Halt::Limit;
            }
            if let Some(interrupt) = self.pending_interrupt() {
                self.steps += 1;
                match self.take_trap(Trap::plain(interrupt)) {
                    Some(taken) => return Halt::Trap(taken),
                    None if self.probe.follows() => return Halt::Limit,
                    None => continue,
                }
            }
            let end = limit.min(self.deadline_step(bus));
            if let Left::Halt(halt) = self.run_blocks(engine, bus, end) {
                return halt;
            }
            if self.probe.follows() {
                return Halt::Limit;
            }
        }
    }

    /// The step at which a timer or a wire changes by itself.
    fn deadline_step<B: Bus>(&self, bus: &B) -> u64 {
        let now = self.now_ns();
        let at = self.timer_deadline_ns(now).min(bus.deadline_ns(self.id, now));
        self.steps.saturating_add(at.saturating_sub(now).max(1))
    }

    fn run_blocks<B: Bus>(&mut self, engine: &mut Engine<B>, bus: &mut B, end: u64) -> Left {
        let mut end = end;
        // No page: nothing has bit 0 set after masking.
        let (mut page, mut page_offset) = (1, 0);
        while self.steps < end {
            let pc = self.pc;
            if self.probe.stops_at(pc, self.steps) {
                return Left::Halt(Halt::Breakpoint);
            }
            if pc & PAGE_MASK != page {
                match self.fetch_page(bus, pc) {
                    Ok(offset) => {
                        (page, page_offset) = (pc & PAGE_MASK, offset);
                        // The walk may have set A bits in what was decoded as code.
                        engine.catch_up(bus);
                        end = self.after_walk(bus, end);
                    }
                    Err(trap) => return self.fetch_trap(trap),
                }
            }
            let offset = page_offset | (pc & !PAGE_MASK);
            let flow = match engine.block(bus, offset) {
                Some(block) if block.loud && self.probe.follows() => {
                    return self.run_loud(bus, block);
                }
                Some(block) => self.run_loop(bus, block, end),
                None => match self.fetch_crossing(bus, pc, offset) {
                    Ok(raw) => {
                        end = self.after_walk(bus, end);
                        if self.probe.follows() {
                            return self.run_loud(bus, engine.crossing(raw));
                        }
                        self.run_block(bus, engine.crossing(raw), 1)
                    }
                    Err(trap) => return self.fetch_trap(trap),
                },
            };
            if let Some(left) = self.left(flow) {
                return left;
            }
        }
        Left::Look
    }

    /// How a run of blocks ends if one was left like this; `None`: it goes on.
    #[inline(always)]
    fn left(&mut self, flow: Flow) -> Option<Left> {
        Some(match flow {
            Flow::End | Flow::Jump => return None,
            Flow::Sync | Flow::SyncJump => Left::Look,
            Flow::Wait if self.waiting => Left::Look,
            Flow::Wait => Left::Halt(Halt::Yield),
            Flow::Trap => self.enter(self.trap),
            Flow::Stop => Left::Halt(Halt::Watchpoint(self.probe.hit())),
        })
    }

    /// Runs one instruction of a block that may change the CSR that is followed.
    #[cold]
    fn run_loud<B: Bus>(&mut self, bus: &mut B, block: &Block<B>) -> Left {
        self.probe.stepped_at(self.pc);
        let flow = self.run_block(bus, block, 1);
        self.left(flow).unwrap_or(Left::Look)
    }

    /// Where the run ends if the walk of a fetch wrote what somebody has to know of: it did so in
    /// the step of the next instruction.
    fn after_walk<B: Bus>(&self, bus: &B, end: u64) -> u64 {
        if bus.n_changes() == self.seen_changes { end } else { self.steps + 1 }
    }

    /// Runs a block, and again as long as it jumps to its own beginning.
    #[inline(always)]
    fn run_loop<B: Bus>(&mut self, bus: &mut B, block: &Block<B>, end: u64) -> Flow {
        let pc = self.pc;
        loop {
            let flow = self.run_block(bus, block, end - self.steps);
            let again = flow == Flow::Jump && self.pc == pc && self.steps < end;
            if !again || self.probe.stops_at(pc, self.steps) {
                return flow;
            }
        }
    }

    /// Runs as much of a block as there is room for, and counts it.
    #[inline(always)]
    fn run_block<B: Bus>(&mut self, bus: &mut B, block: &Block<B>, room: u64) -> Flow {
        let n = usize::try_from(room).map_or(block.ops.len(), |room| room.min(block.ops.len()));
        let flow = next(self, bus, &block.ops[..n]);
        match flow {
            Flow::End => {
                self.steps += n as u64;
                self.pc = self.pc.wrapping_add(2 * block.begin(n));
            }
            Flow::Jump => self.steps += u64::from(self.at) + 1,
            Flow::Sync | Flow::SyncJump | Flow::Wait | Flow::Trap | Flow::Stop => {
                self.leave_early(bus, block, flow);
            }
        }
        self.at = 0;
        flow
    }

    #[cold]
    fn leave_early<B: Bus>(&mut self, bus: &mut B, block: &Block<B>, flow: Flow) {
        let at = usize::from(self.at);
        if bus.n_changes() != self.seen_changes {
            let pc = self.pc.wrapping_add(2 * block.begin(at));
            bus.written_by(self.id, Some(self.steps + at as u64), pc);
        }
        // Of a return the pc is gone: its block is a loud one.
        if !matches!(flow, Flow::Stop | Flow::SyncJump) {
            self.probe.stepped_at(self.pc.wrapping_add(2 * block.begin(at)));
        }
        match flow {
            Flow::Stop => {
                self.steps += at as u64;
                self.pc = self.pc.wrapping_add(2 * block.begin(at));
            }
            Flow::Trap => {
                self.pc = self.pc.wrapping_add(2 * block.begin(at));
                let raw = block.sides[at].raw;
                self.trap = completed(self.trap, raw, self.pc);
                self.steps += at as u64 + 1;
            }
            Flow::SyncJump => self.steps += at as u64 + 1,
            Flow::Sync | Flow::Wait | Flow::End | Flow::Jump => {
                self.pc = self.pc.wrapping_add(2 * block.begin(at + 1));
                self.steps += at as u64 + 1;
            }
        }
    }

    fn enter(&mut self, trap: Trap) -> Left {
        match self.take_trap(trap) {
            Some(taken) => Left::Halt(Halt::Trap(taken)),
            None => Left::Look,
        }
    }

    /// The fetch itself trapped: that is an attempted instruction, too.
    fn fetch_trap(&mut self, trap: Trap) -> Left {
        self.steps += 1;
        self.enter(trap)
    }

    /// The offset in RAM of the page that holds `pc`.
    fn fetch_page<B: Bus>(&mut self, bus: &mut B, pc: u64) -> Result<u64, Trap> {
        if let Some(page) = self.tlb.fetch(pc) {
            return Ok(page);
        }
        let rights = self.fetch_rights();
        let hpa = self.translate(bus, pc, Access::Fetch, rights);
        if bus.n_changes() != self.seen_changes {
            bus.written_by(self.id, Some(self.steps), self.pc);
        }
        let hpa = hpa?;
        let fault = Trap::memory(Exception::InstructionAccessFault, pc, rights.virt);
        let page = ram_offset(bus, hpa & PAGE_MASK, 4096).ok_or(fault)? as u64;
        self.tlb.fill(pc, page, Access::Fetch);
        Ok(page)
    }

    /// The bits of the instruction whose first half is the last halfword of its page.
    #[expect(clippy::cast_possible_truncation, reason = "offsets in RAM")]
    fn fetch_crossing<B: Bus>(&mut self, bus: &mut B, pc: u64, offset: u64) -> Result<u32, Trap> {
        let low = u16::from_le_bytes(bus.load(offset as usize));
        let next = self.fetch_page(bus, pc.wrapping_add(2))?;
        let high = u16::from_le_bytes(bus.load(next as usize));
        Ok(u32::from(high) << 16 | u32::from(low))
    }
}

/// A trap with what only its instruction's bits and address can tell.
fn completed(mut trap: Trap, raw: u32, pc: u64) -> Trap {
    match trap.cause {
        Cause::Exception(Exception::IllegalInstruction | Exception::VirtualInstruction) => {
            trap.tval = u64::from(raw);
        }
        // "If mtval is written with a nonzero value when a breakpoint … occurs …, then mtval will
        // contain the faulting virtual address."
        Cause::Exception(Exception::Breakpoint) => trap.tval = pc,
        Cause::Exception(Exception::LoadGuestPageFault | Exception::StoreGuestPageFault)
            if trap.tinst & 0x3000 == 0 =>
        {
            trap.tinst = transformed(raw).map_or(0, |word| word | trap.tinst);
        }
        Cause::Exception(_) | Cause::Interrupt(_) => {}
    }
    trap
}

/// Privileged manual, "Transformed Instruction or Pseudoinstruction for mtinst or htinst": the
/// instruction with its address operand taken out; the offset is added by the caller.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other format accesses memory")]
fn transformed(raw: u32) -> Option<u64> {
    use isa::Format;
    let insn = isa::decode(raw)?;
    let word = isa::encode(&insn);
    let kept = match insn.row().fmt {
        Format::Load | Format::FLoad => 0x0000_7fff,
        Format::Store | Format::FStore => 0x01f0_707f,
        Format::Amo | Format::Lr | Format::HLoad | Format::HStore => 0xfff0_7fff,
        _ => return None,
    };
    // "If the instruction is compressed, … bit 1 is replaced with 0".
    let mask = if insn.len == 2 { kept & !2 } else { kept };
    Some(u64::from(word & mask))
}
