//! What a watcher sees of a run: VM exits, traps of a bare machine, and the events around them.

use isa::Mode;
use state::{Codec, Damaged, State};

use crate::{Position, VcpuId};

/// What kind of memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Access {
    /// An instruction fetch.
    Fetch,
    /// A load.
    Load,
    /// A store or an atomic memory operation.
    Store,
}

/// The device window in which an MMIO access fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Region {
    /// The ns16550a UART.
    Uart,
    /// The PLIC.
    Plic,
    /// The ACLINT (machine mode only).
    Aclint,
    /// The goldfish real-time clock.
    Rtc,
    /// The power-off and reset register.
    Finisher,
    /// The virtio-mmio transport with this number.
    Virtio(u8),
    /// No device is there.
    Hole,
}

/// A virtual interrupt line of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Interrupt {
    /// VSSI, 2.
    Software,
    /// VSTI, 6.
    Timer,
    /// VSEI, 10.
    External,
}

/// Why the hart left V=1, decoded. Each variant says when exactly it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ExitCause {
    /// Causes 20, 21, 23 on a guest-physical address that belongs to the guest's RAM.
    GuestPageFault {
        /// Fetch, load or store.
        access: Access,
        /// The faulting guest-virtual address.
        gva: u64,
        /// The faulting guest-physical address.
        gpa: u64,
    },
    /// Causes 20, 21, 23 outside the guest's RAM: a device register, or nothing at all.
    Mmio {
        /// Which device.
        region: Region,
        /// Fetch, load or store.
        access: Access,
        /// The guest-physical address.
        gpa: u64,
        /// Offset from the start of the device's window.
        offset: u64,
        /// Width in bytes.
        width: u8,
        /// What was stored, or what the load returned.
        value: u64,
    },
    /// Cause 10: an `ecall` from VS-mode.
    Sbi {
        /// Extension id (`a7`).
        eid: u64,
        /// Function id (`a6`).
        fid: u64,
        /// `a0`, `a1`, `a2` at the call.
        args: [u64; 3],
    },
    /// Cause 22, for every instruction but WFI.
    VirtualInstruction {
        /// The instruction's bits.
        insn: u32,
    },
    /// Cause 22 for a WFI: the vCPU has nothing to do.
    Wfi,
    /// Cause 2 from V=1, where the VM plane asked for it.
    IllegalInstruction {
        /// The instruction's bits.
        insn: u32,
    },
    /// Cause 3 from V=1, where the VM plane asked for it.
    Breakpoint,
    /// Interrupt 4: the vCPU's virtual timer.
    Timer,
    /// Interrupt 0: another vCPU or a device kicked this one out of the guest.
    Kick,
    /// Interrupt 8: a user external interrupt.
    External,
    /// Any other delegated cause.
    Other {
        /// `ucause`.
        cause: u64,
        /// `utval`.
        tval: u64,
    },
}

/// The groups by which exits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ExitKind {
    /// An SBI call.
    Sbi,
    /// A virtual instruction.
    VirtualInstruction,
    /// A fetch guest-page fault in RAM.
    FetchFault,
    /// A load guest-page fault in RAM.
    LoadFault,
    /// A store guest-page fault in RAM.
    StoreFault,
    /// A load from a device.
    MmioLoad,
    /// A store to a device.
    MmioStore,
    /// A WFI.
    Wfi,
    /// The virtual timer.
    Timer,
    /// A kick.
    Kick,
    /// A user external interrupt.
    External,
    /// An illegal instruction.
    IllegalInstruction,
    /// A breakpoint.
    Breakpoint,
    /// Anything else.
    Other,
}

impl ExitKind {
    /// All kinds, in the order in which tables list them.
    pub const ALL: [Self; 14] = [
        Self::Sbi,
        Self::VirtualInstruction,
        Self::FetchFault,
        Self::LoadFault,
        Self::StoreFault,
        Self::MmioLoad,
        Self::MmioStore,
        Self::Wfi,
        Self::Timer,
        Self::Kick,
        Self::External,
        Self::IllegalInstruction,
        Self::Breakpoint,
        Self::Other,
    ];

    /// Index into [`ExitKind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// One character that stands for the kind where there is no room for a name.
    #[must_use]
    pub fn glyph(self) -> char {
        match self {
            Self::Sbi => 'E',
            Self::VirtualInstruction => 'V',
            Self::FetchFault => 'I',
            Self::LoadFault => 'l',
            Self::StoreFault => 's',
            Self::MmioLoad => 'm',
            Self::MmioStore => 'M',
            Self::Wfi => 'w',
            Self::Timer => 't',
            Self::Kick => 'i',
            Self::External => 'x',
            Self::IllegalInstruction => 'U',
            Self::Breakpoint => 'b',
            Self::Other => '?',
        }
    }

    /// The short name that tables show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sbi => "sbi-call",
            Self::VirtualInstruction => "virt-insn",
            Self::FetchFault => "fetch-gpf",
            Self::LoadFault => "load-gpf",
            Self::StoreFault => "store-gpf",
            Self::MmioLoad => "mmio-load",
            Self::MmioStore => "mmio-store",
            Self::Wfi => "wfi",
            Self::Timer => "u-timer",
            Self::Kick => "u-soft",
            Self::External => "u-ext",
            Self::IllegalInstruction => "illegal-insn",
            Self::Breakpoint => "breakpoint",
            Self::Other => "other",
        }
    }
}

impl ExitCause {
    /// The group under which this exit is counted.
    #[must_use]
    pub fn kind(&self) -> ExitKind {
        match self {
            Self::GuestPageFault { access: Access::Fetch, .. } => ExitKind::FetchFault,
            Self::GuestPageFault { access: Access::Load, .. } => ExitKind::LoadFault,
            Self::GuestPageFault { access: Access::Store, .. } => ExitKind::StoreFault,
            Self::Mmio { access: Access::Store, .. } => ExitKind::MmioStore,
            Self::Mmio { .. } => ExitKind::MmioLoad,
            Self::Sbi { .. } => ExitKind::Sbi,
            Self::VirtualInstruction { .. } => ExitKind::VirtualInstruction,
            Self::Wfi => ExitKind::Wfi,
            Self::IllegalInstruction { .. } => ExitKind::IllegalInstruction,
            Self::Breakpoint => ExitKind::Breakpoint,
            Self::Timer => ExitKind::Timer,
            Self::Kick => ExitKind::Kick,
            Self::External => ExitKind::External,
            Self::Other { .. } => ExitKind::Other,
        }
    }
}

/// What the VM plane did about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Outcome {
    /// Done; the guest goes on.
    Handled,
    /// A stage-2 leaf was made.
    Mapped {
        /// First guest-physical address of the leaf.
        gpa: u64,
        /// First physical address behind it.
        hpa: u64,
        /// Bytes that it maps.
        size: u64,
    },
    /// The SBI call returned this pair in `a0` and `a1`.
    Returned {
        /// `a0`.
        error: i64,
        /// `a1`.
        value: u64,
    },
    /// The device has no such register: the load gave zeros, the store was dropped.
    Refused,
    /// The guest got this exception instead.
    Injected {
        /// `scause` that the guest sees.
        cause: u64,
    },
    /// A virtual interrupt was raised or dropped.
    Raised {
        /// Which one.
        interrupt: Interrupt,
    },
    /// The vCPU waits for an interrupt.
    Parked,
    /// The VM stops; the reason follows as an event.
    Stopped,
}

/// One VM exit and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Exit {
    /// Number of this event in the VM's stream, from 0, without gaps.
    pub seq: u64,
    /// Steps of the VM when the exit was taken.
    pub step: u64,
    /// Which vCPU.
    pub vcpu: VcpuId,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// Where the guest was.
    pub pc: u64,
    /// Privilege mode that was left.
    #[cfg_attr(feature = "serde", serde(with = "crate::mode"))]
    pub mode: Mode,
    /// Why.
    pub cause: ExitCause,
    /// What was done about it.
    pub outcome: Outcome,
}

/// A trap taken by a bare machine (there are no exits in machine mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Trap {
    /// Number of this event in the stream, from 0, without gaps.
    pub seq: u64,
    /// Steps of the machine when the trap was taken.
    pub step: u64,
    /// Which hart.
    pub hart: VcpuId,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// The pc that was left.
    pub pc: u64,
    /// The mode that was left.
    #[cfg_attr(feature = "serde", serde(with = "crate::mode"))]
    pub from: Mode,
    /// The mode that handles it.
    #[cfg_attr(feature = "serde", serde(with = "crate::mode"))]
    pub to: Mode,
    /// The cause CSR's value (interrupt bit and code).
    pub cause: u64,
    /// The tval CSR's value.
    pub tval: u64,
}

/// Why a run ended or halted for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Stop {
    /// The guest powered itself off, or a bare machine's program said that it passed.
    PowerOff,
    /// The guest reported failure with this code.
    Failed {
        /// What it reported.
        code: u64,
    },
    /// The guest asked for a reset and `--no-reboot` was given.
    Reset,
    /// `--max-steps` was reached.
    StepLimit,
    /// Every vCPU waits, no timer is set and no input can come.
    Deadlock,
    /// The driver killed the VM: the VM plane or the guest did what it may not.
    Killed {
        /// A sentence.
        reason: String,
    },
    /// The VM plane gave up on the guest.
    Crashed {
        /// A sentence.
        reason: String,
    },
    /// The user asked for it.
    User,
}

/// Most bytes of a reason; nobody writes sentences that long.
const REASON_MAX: usize = 64 << 10;

impl State for Stop {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let (mut kind, mut code, mut reason): (u8, u64, Vec<u8>) = match self {
            Self::PowerOff => (0, 0, Vec::new()),
            Self::Failed { code } => (1, *code, Vec::new()),
            Self::Reset => (2, 0, Vec::new()),
            Self::StepLimit => (3, 0, Vec::new()),
            Self::Deadlock => (4, 0, Vec::new()),
            Self::Killed { reason } => (5, 0, reason.clone().into_bytes()),
            Self::Crashed { reason } => (6, 0, reason.clone().into_bytes()),
            Self::User => (7, 0, Vec::new()),
        };
        reason.truncate(REASON_MAX);
        codec.u8(&mut kind)?;
        codec.u64(&mut code)?;
        codec.bytes(&mut reason, REASON_MAX)?;
        codec.check(code == 0 || kind == 1, "an end with a code that has none")?;
        codec.check(reason.is_empty() || matches!(kind, 5 | 6), "an end that needs no reason")?;
        let reason = String::from_utf8_lossy(&reason).into_owned();
        *self = match kind {
            0 => Self::PowerOff,
            1 => Self::Failed { code },
            2 => Self::Reset,
            3 => Self::StepLimit,
            4 => Self::Deadlock,
            5 => Self::Killed { reason },
            6 => Self::Crashed { reason },
            7 => Self::User,
            _ => return Err(Damaged { what: "no such end of a run" }),
        };
        Ok(())
    }
}

/// A change in the life of the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum VmState {
    /// The boot vCPU is about to make its first step (also after each reset).
    Started,
    /// A vCPU was started by another one.
    VcpuStarted(VcpuId),
    /// A vCPU stopped itself.
    VcpuStopped(VcpuId),
    /// The guest asked for a reset; `Started` follows.
    Resetting,
    /// The end, and why.
    Ended(Stop),
}

/// Everything that leaves a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", tag = "event"))]
#[non_exhaustive]
pub enum Event {
    /// A VM exit.
    Exit(Exit),
    /// A trap in machine mode.
    Trap(Trap),
    /// The guest wrote to its console.
    Console {
        /// Number of this event.
        seq: u64,
        /// Where in the run.
        step: u64,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// An input reached the guest.
    Input {
        /// Number of this event.
        seq: u64,
        /// Where in the run.
        step: u64,
        /// What came in.
        input: crate::Input,
    },
    /// The VM started, stopped or changed its shape.
    Vm {
        /// Number of this event.
        seq: u64,
        /// Where in the run.
        step: u64,
        /// What happened.
        state: VmState,
    },
}

impl Event {
    /// Where in the run the event stands.
    #[must_use]
    pub fn position(&self) -> Position {
        let (step, seq) = match self {
            Self::Exit(exit) => (exit.step, exit.seq),
            Self::Trap(trap) => (trap.step, trap.seq),
            Self::Console { seq, step, .. }
            | Self::Input { seq, step, .. }
            | Self::Vm { seq, step, .. } => (*step, *seq),
        };
        Position { step, seq }
    }
}
