//! Bytes as records, the reverse of `encode.rs`.

use isa::Mode;
use serde::de::DeserializeOwned;
use session::{
    Access, Event, Exit, ExitCause, Input, Interrupt, Outcome, Position, Region, Stop, Trap,
    VcpuId, VmState,
};

use super::{DiskBlock, End, How, InputRecord, Record, StateHash};
use crate::schema::table::{
    ARGS, BANKED, BEHIND, BLOCK, CONSOLE, DISK_READ, END, EXIT, GPA, GVA, IDLE, INPUT, INPUT_EVENT,
    LEAF, LOST, OFFSET, OTHER, OTHER_EVENT, PC, PRE_IMAGE, SEQ, STEP, TRAP, TVAL, VM, WINDOW,
};
use crate::schema::{N_BANKS, Registers};
use crate::varint::{Cursor, Malformed, unzigzag};

type Result<T> = std::result::Result<T, Malformed>;

/// A record whose tag has been read.
pub(super) fn record(
    registers: &mut Registers,
    tag: u8,
    cursor: &mut Cursor<'_>,
) -> Result<Record> {
    Fields { registers, cursor }.record(tag)
}

struct Fields<'a, 'b> {
    registers: &'a mut Registers,
    cursor: &'a mut Cursor<'b>,
}

impl Fields<'_, '_> {
    fn record(&mut self, tag: u8) -> Result<Record> {
        Ok(match tag {
            EXIT => Record::Event(Event::Exit(self.exit()?)),
            TRAP => Record::Event(Event::Trap(self.trap()?)),
            CONSOLE => {
                let (seq, step) = self.head()?;
                Record::Event(Event::Console { seq, step, bytes: self.cursor.bytes()?.to_vec() })
            }
            INPUT_EVENT => {
                let (seq, step) = self.head()?;
                Record::Event(Event::Input { seq, step, input: self.input_of()? })
            }
            VM => {
                let (seq, step) = self.head()?;
                Record::Event(Event::Vm { seq, step, state: self.state()? })
            }
            OTHER_EVENT => self.other()?,
            INPUT => {
                let (at, time_ns) = self.at()?;
                let how = match self.cursor.byte()? {
                    0 => How::Slice,
                    1 => How::Idle,
                    _ => return Err(Malformed),
                };
                Record::Input(InputRecord { at, time_ns, how, input: self.input_of()? })
            }
            DISK_READ => {
                let (disk, block) = (self.cursor.byte()?, self.delta(BLOCK)?);
                Record::DiskRead(DiskBlock { disk, block, hash: self.cursor.array()? })
            }
            PRE_IMAGE => {
                let (disk, block) = (self.cursor.byte()?, self.delta(BLOCK)?);
                Record::PreImage { disk, block, bytes: self.cursor.bytes()?.to_vec() }
            }
            LOST => Record::Lost { events: self.cursor.number()? },
            END => {
                let (at, time_ns) = self.at()?;
                let stop = self.stop()?;
                let hash = StateHash { state: self.cursor.array()?, ram: self.cursor.array()? };
                Record::End(Box::new(End { at, time_ns, stop, hash }))
            }
            _ => return Err(Malformed),
        })
    }

    #[inline]
    fn register(&mut self, number: u8) -> &mut u64 {
        let bank = if BANKED >> number & 1 == 1 { self.registers.bank } else { 0 };
        &mut self.registers.values[usize::from(number)][bank]
    }

    #[inline]
    fn delta(&mut self, number: u8) -> Result<u64> {
        let difference = unzigzag(self.cursor.number()?).cast_unsigned();
        let register = self.register(number);
        *register = register.wrapping_add(difference);
        Ok(*register)
    }

    #[inline]
    fn next(&mut self, number: u8) -> Result<u64> {
        let register = self.register(number);
        *register = register.wrapping_add(1);
        self.delta(number)
    }

    #[inline]
    fn lag(&mut self, base: u8, number: u8) -> Result<u64> {
        let lag = self.delta(number)?;
        Ok(self.register(base).wrapping_add(lag))
    }

    #[inline]
    fn bank(&mut self) -> Result<VcpuId> {
        let vcpu = self.vcpu()?;
        self.registers.bank = vcpu.index() % N_BANKS;
        Ok(vcpu)
    }

    fn vcpu(&mut self) -> Result<VcpuId> {
        u16::try_from(self.cursor.number()?).map(VcpuId).map_err(|_wide| Malformed)
    }

    fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.cursor.number()?).map_err(|_wide| Malformed)
    }

    #[inline]
    fn head(&mut self) -> Result<(u64, u64)> {
        Ok((self.next(SEQ)?, self.delta(STEP)?))
    }

    fn at(&mut self) -> Result<(Position, u64)> {
        let (seq, step) = (self.delta(SEQ)?, self.delta(STEP)?);
        Ok((Position { step, seq }, self.lag(STEP, IDLE)?))
    }

    /// An event that the encoder had no row for, perhaps of a later version.
    fn other(&mut self) -> Result<Record> {
        self.head()?;
        let json = self.cursor.text()?;
        Ok(match serde_json::from_str(json) {
            Ok(event) => Record::Event(event),
            Err(_unknown) => Record::Unknown { tag: OTHER_EVENT, json: json.to_owned() },
        })
    }

    #[inline]
    fn exit(&mut self) -> Result<Exit> {
        let (seq, step) = self.head()?;
        Ok(Exit {
            seq,
            step,
            vcpu: self.bank()?,
            time_ns: self.lag(STEP, IDLE)?,
            pc: self.delta(PC)?,
            mode: self.mode()?,
            cause: self.cause()?,
            outcome: self.outcome()?,
        })
    }

    fn trap(&mut self) -> Result<Trap> {
        let (seq, step) = self.head()?;
        Ok(Trap {
            seq,
            step,
            hart: self.bank()?,
            time_ns: self.lag(STEP, IDLE)?,
            pc: self.delta(PC)?,
            from: self.mode()?,
            to: self.mode()?,
            cause: self.cursor.number()?,
            tval: self.delta(TVAL)?,
        })
    }

    fn mode(&mut self) -> Result<Mode> {
        Ok(match self.cursor.byte()? {
            0 => Mode::M,
            1 => Mode::Hs,
            2 => Mode::U,
            3 => Mode::Hu,
            4 => Mode::Vs,
            5 => Mode::Vu,
            _ => return Err(Malformed),
        })
    }

    fn access(&mut self) -> Result<Access> {
        Ok(match self.cursor.byte()? {
            0 => Access::Fetch,
            1 => Access::Load,
            2 => Access::Store,
            _ => return Err(Malformed),
        })
    }

    fn cause(&mut self) -> Result<ExitCause> {
        Ok(match self.cursor.byte()? {
            0 => ExitCause::GuestPageFault {
                access: self.access()?,
                gva: self.delta(GVA)?,
                gpa: self.delta(GPA)?,
            },
            1 => {
                let (region, access) = (self.region()?, self.access()?);
                let offset = self.cursor.number()?;
                *self.register(OFFSET) = offset;
                let gpa = self.lag(OFFSET, WINDOW)?;
                let (width, value) = (self.cursor.byte()?, self.cursor.number()?);
                ExitCause::Mmio { region, access, gpa, offset, width, value }
            }
            2 => {
                let (eid, fid) = (self.cursor.number()?, self.cursor.number()?);
                let mut args = [0; 3];
                for (arg, register) in args.iter_mut().zip(ARGS) {
                    *arg = self.delta(register)?;
                }
                ExitCause::Sbi { eid, fid, args }
            }
            3 => ExitCause::VirtualInstruction { insn: self.u32()? },
            4 => ExitCause::Wfi,
            5 => ExitCause::IllegalInstruction { insn: self.u32()? },
            6 => ExitCause::Breakpoint,
            7 => ExitCause::Timer,
            8 => ExitCause::Kick,
            9 => ExitCause::External,
            10 => ExitCause::Other { cause: self.cursor.number()?, tval: self.delta(TVAL)? },
            _ => return Err(Malformed),
        })
    }

    fn region(&mut self) -> Result<Region> {
        Ok(match self.cursor.byte()? {
            0 => Region::Uart,
            1 => Region::Plic,
            2 => Region::Aclint,
            3 => Region::Rtc,
            4 => Region::Finisher,
            5 => Region::Virtio(self.cursor.byte()?),
            6 => Region::Hole,
            _ => return Err(Malformed),
        })
    }

    fn outcome(&mut self) -> Result<Outcome> {
        Ok(match self.cursor.byte()? {
            0 => Outcome::Handled,
            1 => Outcome::Mapped {
                gpa: self.delta(LEAF)?,
                hpa: self.lag(LEAF, BEHIND)?,
                size: self.cursor.number()?,
            },
            2 => Outcome::Returned {
                error: unzigzag(self.cursor.number()?),
                value: self.cursor.number()?,
            },
            3 => Outcome::Refused,
            4 => Outcome::Injected { cause: self.cursor.number()? },
            5 => Outcome::Raised {
                interrupt: match self.cursor.byte()? {
                    0 => Interrupt::Software,
                    1 => Interrupt::Timer,
                    2 => Interrupt::External,
                    _ => return Err(Malformed),
                },
            },
            6 => Outcome::Parked,
            7 => Outcome::Stopped,
            _ => return Err(Malformed),
        })
    }

    /// What the encoder had no row for.
    fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        serde_json::from_str(self.cursor.text()?).map_err(|_no_json| Malformed)
    }

    fn input_of(&mut self) -> Result<Input> {
        Ok(match self.cursor.byte()? {
            0 => Input::Console(self.cursor.bytes()?.to_vec()),
            1 => Input::Quit,
            OTHER => self.json()?,
            _ => return Err(Malformed),
        })
    }

    fn state(&mut self) -> Result<VmState> {
        Ok(match self.cursor.byte()? {
            0 => VmState::Started,
            1 => VmState::VcpuStarted(self.vcpu()?),
            2 => VmState::VcpuStopped(self.vcpu()?),
            3 => VmState::Resetting,
            4 => VmState::Ended(self.stop()?),
            OTHER => self.json()?,
            _ => return Err(Malformed),
        })
    }

    fn stop(&mut self) -> Result<Stop> {
        Ok(match self.cursor.byte()? {
            0 => Stop::PowerOff,
            1 => Stop::Failed { code: self.cursor.number()? },
            2 => Stop::Reset,
            3 => Stop::StepLimit,
            4 => Stop::Deadlock,
            5 => Stop::Killed { reason: self.cursor.text()?.to_owned() },
            6 => Stop::Crashed { reason: self.cursor.text()?.to_owned() },
            7 => Stop::User,
            OTHER => self.json()?,
            _ => return Err(Malformed),
        })
    }
}
