//! Records as bytes.

use isa::Mode;
use serde::Serialize;
use session::{
    Access, Event, Exit, ExitCause, Input, Interrupt, Outcome, Region, Stop, Trap, VcpuId, VmState,
};

use super::{DiskBlock, End, How, InputRecord};
use crate::schema::table::{
    ARGS, BANKED, BEHIND, BLOCK, CONSOLE, DISK_READ, END, EXIT, GPA, GVA, IDLE, INPUT, INPUT_EVENT,
    LEAF, LOST, OFFSET, OTHER, OTHER_EVENT, PC, PRE_IMAGE, SEQ, STEP, TRAP, TVAL, VM, WINDOW,
};
use crate::schema::{N_BANKS, Registers};
use crate::varint::{put, put_bytes, zigzag};

/// Writes records after one another, each as differences to those before.
#[derive(Debug)]
pub(crate) struct Encoder {
    registers: Registers,
    /// The record that was written last.
    pub(crate) out: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { registers: Registers::new(), out: Vec::with_capacity(1024) }
    }

    /// A new chunk begins.
    pub(crate) fn reset(&mut self) {
        self.registers = Registers::new();
    }

    #[inline]
    fn register(&mut self, number: u8) -> &mut u64 {
        let bank = if BANKED >> number & 1 == 1 { self.registers.bank } else { 0 };
        &mut self.registers.values[usize::from(number)][bank]
    }

    #[inline]
    fn begin(&mut self, tag: u8) {
        self.out.clear();
        self.out.push(tag);
    }

    #[inline]
    fn number(&mut self, value: u64) {
        put(&mut self.out, value);
    }

    #[inline]
    fn delta(&mut self, number: u8, value: u64) {
        let register = self.register(number);
        let difference = value.wrapping_sub(*register);
        *register = value;
        put(&mut self.out, zigzag(difference.cast_signed()));
    }

    #[inline]
    fn next(&mut self, number: u8, value: u64) {
        let register = self.register(number);
        *register = register.wrapping_add(1);
        self.delta(number, value);
    }

    #[inline]
    fn lag(&mut self, base: u8, number: u8, value: u64) {
        let base = *self.register(base);
        self.delta(number, value.wrapping_sub(base));
    }

    #[inline]
    fn bank(&mut self, vcpu: VcpuId) {
        self.registers.bank = vcpu.index() % N_BANKS;
        self.number(u64::from(vcpu.0));
    }

    fn json(&mut self, value: &impl Serialize) {
        put_bytes(&mut self.out, json(value).as_bytes());
    }

    /// An event; its bytes are then in `out`.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Exit(exit) => self.exit(exit, event),
            Event::Trap(trap) => self.trap(trap),
            Event::Console { seq, step, bytes } => {
                self.begin(CONSOLE);
                self.head(*seq, *step);
                put_bytes(&mut self.out, bytes);
            }
            Event::Input { seq, step, input } => {
                self.begin(INPUT_EVENT);
                self.head(*seq, *step);
                self.input_of(input);
            }
            Event::Vm { seq, step, state } => {
                self.begin(VM);
                self.head(*seq, *step);
                self.state(state);
            }
            _ => self.other(event),
        }
    }

    /// An event for which the table has no row: all of it in JSON.
    #[cold]
    fn other(&mut self, event: &Event) {
        let at = event.position();
        self.begin(OTHER_EVENT);
        self.head(at.seq, at.step);
        self.json(event);
    }

    #[inline]
    fn head(&mut self, seq: u64, step: u64) {
        self.next(SEQ, seq);
        self.delta(STEP, step);
    }

    #[inline]
    fn exit(&mut self, exit: &Exit, event: &Event) {
        if !is_known(exit) {
            return self.other(event);
        }
        self.begin(EXIT);
        self.head(exit.seq, exit.step);
        self.bank(exit.vcpu);
        self.lag(STEP, IDLE, exit.time_ns);
        self.delta(PC, exit.pc);
        self.out.push(mode(exit.mode));
        self.cause(&exit.cause);
        self.outcome(&exit.outcome);
    }

    #[inline]
    fn trap(&mut self, trap: &Trap) {
        self.begin(TRAP);
        self.head(trap.seq, trap.step);
        self.bank(trap.hart);
        self.lag(STEP, IDLE, trap.time_ns);
        self.delta(PC, trap.pc);
        self.out.push(mode(trap.from));
        self.out.push(mode(trap.to));
        self.number(trap.cause);
        self.delta(TVAL, trap.tval);
    }

    #[inline]
    fn cause(&mut self, cause: &ExitCause) {
        match *cause {
            ExitCause::GuestPageFault { access, gva, gpa } => {
                self.out.push(0);
                self.out.push(access_tag(access));
                self.delta(GVA, gva);
                self.delta(GPA, gpa);
            }
            ExitCause::Mmio { region, access, gpa, offset, width, value } => {
                self.out.push(1);
                self.region(region);
                self.out.push(access_tag(access));
                *self.register(OFFSET) = offset;
                self.number(offset);
                self.lag(OFFSET, WINDOW, gpa);
                self.out.push(width);
                self.number(value);
            }
            ExitCause::Sbi { eid, fid, args } => {
                self.out.push(2);
                self.number(eid);
                self.number(fid);
                for (register, arg) in ARGS.into_iter().zip(args) {
                    self.delta(register, arg);
                }
            }
            ExitCause::VirtualInstruction { insn } => {
                self.out.push(3);
                self.number(u64::from(insn));
            }
            ExitCause::Wfi => self.out.push(4),
            ExitCause::IllegalInstruction { insn } => {
                self.out.push(5);
                self.number(u64::from(insn));
            }
            ExitCause::Breakpoint => self.out.push(6),
            ExitCause::Timer => self.out.push(7),
            ExitCause::Kick => self.out.push(8),
            ExitCause::External => self.out.push(9),
            ExitCause::Other { cause, tval } => {
                self.out.push(10);
                self.number(cause);
                self.delta(TVAL, tval);
            }
            _ => unreachable!("`is_known` has looked"),
        }
    }

    #[inline]
    fn region(&mut self, region: Region) {
        match region {
            Region::Uart => self.out.push(0),
            Region::Plic => self.out.push(1),
            Region::Aclint => self.out.push(2),
            Region::Rtc => self.out.push(3),
            Region::Finisher => self.out.push(4),
            Region::Virtio(index) => self.out.extend([5, index]),
            Region::Hole => self.out.push(6),
        }
    }

    #[inline]
    fn outcome(&mut self, outcome: &Outcome) {
        match *outcome {
            Outcome::Handled => self.out.push(0),
            Outcome::Mapped { gpa, hpa, size } => {
                self.out.push(1);
                self.delta(LEAF, gpa);
                self.lag(LEAF, BEHIND, hpa);
                self.number(size);
            }
            Outcome::Returned { error, value } => {
                self.out.push(2);
                self.number(zigzag(error));
                self.number(value);
            }
            Outcome::Refused => self.out.push(3),
            Outcome::Injected { cause } => {
                self.out.push(4);
                self.number(cause);
            }
            Outcome::Raised { interrupt } => {
                let tag = match interrupt {
                    Interrupt::Software => 0,
                    Interrupt::Timer => 1,
                    Interrupt::External => 2,
                };
                self.out.extend([5, tag]);
            }
            Outcome::Parked => self.out.push(6),
            Outcome::Stopped => self.out.push(7),
            _ => unreachable!("`is_known` has looked"),
        }
    }

    fn input_of(&mut self, input: &Input) {
        match input {
            Input::Console(bytes) => {
                self.out.push(0);
                put_bytes(&mut self.out, bytes);
            }
            Input::Quit => self.out.push(1),
            _ => {
                self.out.push(OTHER);
                self.json(input);
            }
        }
    }

    fn state(&mut self, state: &VmState) {
        match state {
            VmState::Started => self.out.push(0),
            VmState::VcpuStarted(vcpu) => {
                self.out.push(1);
                self.number(u64::from(vcpu.0));
            }
            VmState::VcpuStopped(vcpu) => {
                self.out.push(2);
                self.number(u64::from(vcpu.0));
            }
            VmState::Resetting => self.out.push(3),
            VmState::Ended(stop) => {
                self.out.push(4);
                self.stop(stop);
            }
            _ => {
                self.out.push(OTHER);
                self.json(state);
            }
        }
    }

    fn stop(&mut self, stop: &Stop) {
        match stop {
            Stop::PowerOff => self.out.push(0),
            Stop::Failed { code } => {
                self.out.push(1);
                self.number(*code);
            }
            Stop::Reset => self.out.push(2),
            Stop::StepLimit => self.out.push(3),
            Stop::Deadlock => self.out.push(4),
            Stop::Killed { reason } => {
                self.out.push(5);
                put_bytes(&mut self.out, reason.as_bytes());
            }
            Stop::Crashed { reason } => {
                self.out.push(6);
                put_bytes(&mut self.out, reason.as_bytes());
            }
            Stop::User => self.out.push(7),
            _ => {
                self.out.push(OTHER);
                self.json(stop);
            }
        }
    }

    pub(crate) fn input(&mut self, record: &InputRecord) {
        self.begin(INPUT);
        self.delta(SEQ, record.at.seq);
        self.delta(STEP, record.at.step);
        self.lag(STEP, IDLE, record.time_ns);
        self.out.push(match record.how {
            How::Slice => 0,
            How::Idle => 1,
        });
        self.input_of(&record.input);
    }

    pub(crate) fn disk_read(&mut self, block: &DiskBlock) {
        self.begin(DISK_READ);
        self.out.push(block.disk);
        self.delta(BLOCK, block.block);
        self.out.extend(block.hash);
    }

    pub(crate) fn pre_image(&mut self, disk: u8, block: u64, bytes: &[u8]) {
        self.begin(PRE_IMAGE);
        self.out.push(disk);
        self.delta(BLOCK, block);
        put_bytes(&mut self.out, bytes);
    }

    pub(crate) fn lost(&mut self, events: u64) {
        self.begin(LOST);
        self.number(events);
    }

    pub(crate) fn end(&mut self, end: &End) {
        self.begin(END);
        self.delta(SEQ, end.at.seq);
        self.delta(STEP, end.at.step);
        self.lag(STEP, IDLE, end.time_ns);
        self.stop(&end.stop);
        self.out.extend(end.hash.state);
        self.out.extend(end.hash.ram);
    }
}

fn mode(mode: Mode) -> u8 {
    match mode {
        Mode::M => 0,
        Mode::Hs => 1,
        Mode::U => 2,
        Mode::Hu => 3,
        Mode::Vs => 4,
        Mode::Vu => 5,
    }
}

fn access_tag(access: Access) -> u8 {
    match access {
        Access::Fetch => 0,
        Access::Load => 1,
        Access::Store => 2,
    }
}

/// Whether the table has rows for all of it.
#[inline]
fn is_known(exit: &Exit) -> bool {
    let cause = matches!(
        exit.cause,
        ExitCause::GuestPageFault { .. }
            | ExitCause::Mmio { .. }
            | ExitCause::Sbi { .. }
            | ExitCause::VirtualInstruction { .. }
            | ExitCause::Wfi
            | ExitCause::IllegalInstruction { .. }
            | ExitCause::Breakpoint
            | ExitCause::Timer
            | ExitCause::Kick
            | ExitCause::External
            | ExitCause::Other { .. }
    );
    let outcome = matches!(
        exit.outcome,
        Outcome::Handled
            | Outcome::Mapped { .. }
            | Outcome::Returned { .. }
            | Outcome::Refused
            | Outcome::Injected { .. }
            | Outcome::Raised { .. }
            | Outcome::Parked
            | Outcome::Stopped
    );
    cause && outcome
}

/// A value for which the table has no row.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_never| "null".to_owned())
}

/// Bytes that an event takes at most.
#[inline]
pub(crate) fn bound(event: &Event) -> usize {
    const SMALL: usize = 512;
    match event {
        Event::Exit(exit) if is_known(exit) => SMALL,
        Event::Trap(_) => SMALL,
        Event::Console { bytes, .. } => SMALL + bytes.len(),
        Event::Input { input, .. } => bound_of_input(input),
        Event::Exit(_) | Event::Vm { .. } | _ => SMALL + json(event).len(),
    }
}

/// The same of an input.
pub(crate) fn bound_of_input(input: &Input) -> usize {
    const SMALL: usize = 512;
    match input {
        Input::Console(bytes) => SMALL + bytes.len(),
        Input::Quit | _ => SMALL + json(input).len(),
    }
}
