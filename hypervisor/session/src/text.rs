//! Events as people read them: the one plain text of each, without its number and step.

use std::fmt;

use crate::{
    Access, Event, Exit, ExitCause, Input, Interrupt, Outcome, Region, Stop, Trap, VmState,
};

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch => "fetch",
            Self::Load => "load",
            Self::Store => "store",
        })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uart => "uart",
            Self::Plic => "plic",
            Self::Aclint => "aclint",
            Self::Rtc => "rtc",
            Self::Finisher => "finisher",
            Self::Virtio(n) => return write!(f, "virtio{n}"),
            Self::Hole => "hole",
        })
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Software => "software",
            Self::Timer => "timer",
            Self::External => "external",
        })
    }
}

/// The kind, and what it is about.
impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            Self::GuestPageFault { gva, gpa, .. } => write!(f, " gva {gva:#x} gpa {gpa:#x}"),
            Self::Mmio { region, access, offset, width, value, .. } => {
                if *access == Access::Fetch {
                    f.write_str(" fetch")?;
                }
                write!(f, " {region}+{offset:#x} width {width} value {value:#x}")
            }
            Self::Sbi { eid, fid, args: [a0, a1, a2] } => {
                write!(f, " eid {eid:#x} fid {fid:#x} args {a0:#x} {a1:#x} {a2:#x}")
            }
            Self::VirtualInstruction { insn } | Self::IllegalInstruction { insn } => {
                write!(f, " {insn:08x}")
            }
            Self::Other { cause, tval } => write!(f, " cause {cause:#x} tval {tval:#x}"),
            Self::Wfi | Self::Breakpoint | Self::Timer | Self::Kick | Self::External => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handled => "handled",
            Self::Mapped { gpa, hpa, size } => {
                return write!(f, "mapped gpa {gpa:#x} to hpa {hpa:#x} size {size:#x}");
            }
            Self::Returned { error, value } => {
                return write!(f, "returned {error} value {value:#x}");
            }
            Self::Refused => "refused",
            Self::Injected { cause } => return write!(f, "injected cause {cause:#x}"),
            Self::Raised { interrupt } => return write!(f, "raised {interrupt}"),
            Self::Parked => "parked",
            Self::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vcpu, pc, mode, cause, outcome, .. } = self;
        write!(f, "vcpu {} {mode} {pc:#x} {cause} -> {outcome}", vcpu.0)
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hart, pc, from, to, cause, tval, .. } = self;
        write!(f, "hart {} {from} {pc:#x} trap {cause:#x} tval {tval:#x} -> {to}", hart.0)
    }
}

/// Bytes in quotes; what is no text is escaped.
fn quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "\"{}\"", bytes.escape_ascii())
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console(bytes) => {
                f.write_str("console ")?;
                quoted(f, bytes)
            }
            Self::Quit => f.write_str("quit"),
        }
    }
}

/// A sentence without a full stop.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerOff => "the guest powered off",
            Self::Failed { code } => return write!(f, "the guest reported failure {code}"),
            Self::Reset => "the guest asked for a reset (--no-reboot)",
            Self::StepLimit => "--max-steps was reached",
            Self::Deadlock => "every vCPU waits, no timer is set and no input can come",
            Self::Killed { reason } => return write!(f, "the driver stopped the VM: {reason}"),
            Self::Crashed { reason } => return write!(f, "the VM plane stopped the VM: {reason}"),
            Self::User => "stopped by the user",
        })
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::VcpuStarted(vcpu) => write!(f, "vcpu {} started", vcpu.0),
            Self::VcpuStopped(vcpu) => write!(f, "vcpu {} stopped", vcpu.0),
            Self::Resetting => f.write_str("resetting"),
            Self::Ended(stop) => write!(f, "ended: {stop}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::Trap(trap) => trap.fmt(f),
            Self::Console { bytes, .. } => {
                f.write_str("console ")?;
                quoted(f, bytes)
            }
            Self::Input { input, .. } => write!(f, "input {input}"),
            Self::Vm { state, .. } => write!(f, "vm {state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use isa::Mode;

    use super::*;
    use crate::VcpuId;

    fn exit(cause: ExitCause, outcome: Outcome) -> String {
        let (vcpu, mode) = (VcpuId(1), Mode::Vs);
        let exit =
            Exit { seq: 7, step: 9, vcpu, time_ns: 3, pc: 0x8020_0000, mode, cause, outcome };
        Event::Exit(exit).to_string()
    }

    #[test]
    fn an_event_is_one_line_of_plain_words() {
        let args = [1, 0, 0x20];
        assert_eq!(
            exit(
                ExitCause::Sbi { eid: 0x10, fid: 3, args },
                Outcome::Returned { error: -2, value: 0 }
            ),
            "vcpu 1 VS 0x80200000 sbi-call eid 0x10 fid 0x3 args 0x1 0x0 0x20 \
             -> returned -2 value 0x0"
        );
        let (region, access, gpa) = (Region::Virtio(3), Access::Store, 0x1000_4050);
        assert_eq!(
            exit(
                ExitCause::Mmio { region, access, gpa, offset: 0x50, width: 4, value: 1 },
                Outcome::Handled
            ),
            "vcpu 1 VS 0x80200000 mmio-store virtio3+0x50 width 4 value 0x1 -> handled"
        );
        let bytes = b"a \"b\"\r\n\x1b[0m\xff".to_vec();
        assert_eq!(
            Event::Console { seq: 0, step: 0, bytes }.to_string(),
            r#"console "a \"b\"\r\n\x1b[0m\xff""#
        );
        let input = Input::Console(b"off\n".to_vec());
        assert_eq!(Event::Input { seq: 0, step: 0, input }.to_string(), r#"input console "off\n""#);
        let state = VmState::Ended(Stop::Failed { code: 3 });
        let ended = Event::Vm { seq: 0, step: 0, state }.to_string();
        assert_eq!(ended, "vm ended: the guest reported failure 3");
    }
}
