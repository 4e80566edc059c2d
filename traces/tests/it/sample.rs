//! Recordings to test with.

use std::path::PathBuf;
use std::sync::Arc;

use isa::Mode;
use session::{
    Access, Event, Exit, ExitCause, Input, Interrupt, Outcome, Position, Region, Stop, Trap,
    VcpuId, VmState,
};
use traces::{
    DiskBlock, End, Frame, Header, How, Image, InputRecord, Kind, PAGE, Packer, PageId, StateHash,
    WriteError, Writer,
};

/// A file that is gone afterwards.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("{name}-{}.dvt", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn header() -> Header {
    Header {
        tool: "duvisor 0.1.0".to_owned(),
        model: 3,
        kind: Kind::Vm,
        settings: vec![
            ("vcpus".to_owned(), "2".to_owned()),
            ("append".to_owned(), "console=hvc0".to_owned()),
        ],
        images: vec![Image {
            role: "payload".to_owned(),
            name: "demo".to_owned(),
            bytes: 12_345,
            hash: [7; 32],
        }],
        id: *b"0123456789abcdef",
    }
}

/// One event of each kind in turn.
pub(crate) fn event(n: u64) -> Event {
    let step = n * 137;
    let exit = |cause, outcome| {
        Event::Exit(Exit {
            seq: n,
            step,
            vcpu: VcpuId(u16::try_from(n % 4).unwrap()),
            time_ns: step + n / 64 * 1000,
            pc: 0x8020_0000 + n % 7 * 0x44,
            mode: if n.is_multiple_of(5) { Mode::Vu } else { Mode::Vs },
            cause,
            outcome,
        })
    };
    let mapped = Outcome::Mapped { gpa: n << 21, hpa: (n << 21) + 0x8000_0000, size: 2 << 20 };
    let (gva, gpa) = (0xffff_ffff_8000_0000 | n << 12, 0x8000_0000 | n << 12);
    let fault = ExitCause::GuestPageFault { access: Access::Store, gva, gpa };
    let mmio = |region, access, offset| ExitCause::Mmio {
        region,
        access,
        gpa: 0x1000_0000 + offset,
        offset,
        width: 4,
        value: n,
    };
    let returned = Outcome::Returned { error: -3, value: n };
    match n % 16 {
        0 => exit(fault, mapped),
        1 => exit(mmio(Region::Uart, Access::Store, 0), Outcome::Handled),
        2 => exit(mmio(Region::Virtio(3), Access::Load, 0x60), Outcome::Refused),
        3 => exit(ExitCause::Sbi { eid: 0x5449_4d45, fid: 0, args: [n * 900, 0, !0] }, returned),
        4 => exit(ExitCause::VirtualInstruction { insn: 0x1050_0073 }, Outcome::Stopped),
        5 => exit(ExitCause::Wfi, Outcome::Parked),
        6 => exit(ExitCause::IllegalInstruction { insn: 0 }, Outcome::Injected { cause: 2 }),
        7 => exit(ExitCause::Breakpoint, Outcome::Injected { cause: 3 }),
        8 => exit(ExitCause::Timer, Outcome::Raised { interrupt: Interrupt::Timer }),
        9 => exit(ExitCause::Kick, Outcome::Raised { interrupt: Interrupt::Software }),
        10 => exit(ExitCause::External, Outcome::Raised { interrupt: Interrupt::External }),
        11 => exit(ExitCause::Other { cause: 5, tval: n }, Outcome::Handled),
        12 => Event::Trap(Trap {
            seq: n,
            step,
            hart: VcpuId(1),
            time_ns: step,
            pc: n,
            from: Mode::U,
            to: Mode::M,
            cause: 1 << 63 | 7,
            tval: n,
        }),
        13 => Event::Console { seq: n, step, bytes: format!("line {n}\n").into_bytes() },
        14 => Event::Input { seq: n, step, input: Input::Console(b"ls\n".to_vec()) },
        _ => Event::Vm { seq: n, step, state: state(n / 16) },
    }
}

fn state(n: u64) -> VmState {
    let reason = "it \"did\" what it may not".to_owned();
    match n % 8 {
        0 => VmState::Started,
        1 => VmState::VcpuStarted(VcpuId(3)),
        2 => VmState::VcpuStopped(VcpuId(2)),
        3 => VmState::Resetting,
        4 => VmState::Ended(Stop::PowerOff),
        5 => VmState::Ended(Stop::Failed { code: 77 }),
        6 => VmState::Ended(Stop::Killed { reason }),
        _ => VmState::Ended(Stop::Crashed { reason }),
    }
}

pub(crate) fn input(n: u64) -> InputRecord {
    let at = Position { step: n * 137, seq: n };
    let how = if n.is_multiple_of(2) { How::Slice } else { How::Idle };
    let input = if n.is_multiple_of(9) { Input::Quit } else { Input::Console(vec![b'a'; 3]) };
    InputRecord { at, time_ns: at.step + 5, how, input }
}

pub(crate) fn end(n: u64) -> End {
    let at = Position { step: n * 137, seq: n };
    let hash = StateHash { state: [1; 32], ram: [2; 32] };
    End { at, time_ns: at.step + 9, stop: Stop::PowerOff, hash }
}

/// A page whose content is a function of two numbers.
pub(crate) fn page(a: u64, b: u64) -> Arc<[u8; PAGE]> {
    let mut bytes = [0; PAGE];
    let mut state = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    for part in bytes.chunks_mut(16) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        part[..8].copy_from_slice(&state.to_le_bytes());
    }
    Arc::new(bytes)
}

pub(crate) fn frame(n: u64, pages: std::ops::Range<u64>) -> Frame {
    let content = |id| (id % 5 != 0).then(|| page(id % 11, n));
    let id = |page| PageId { space: u8::from(page % 3 == 0), page };
    Frame {
        at: Position { step: n * 137, seq: n },
        time_ns: n * 137,
        state: vec![u8::try_from(n % 251).unwrap(); 5000],
        pages: pages.map(|page| (id(page), content(page))).collect(),
    }
}

/// Writes `n` events, some inputs and keyframes, blocks of disks, and the end.
pub(crate) fn write(writer: &mut Writer, n: u64) -> Result<[u8; 32], WriteError> {
    let mut packer = Packer::new();
    for index in 0..n {
        writer.event(&event(index))?;
        if index % 10 == 9 {
            writer.input(&input(index))?;
        }
        if index % 64 == 5 {
            writer.disk_read(&DiskBlock { disk: 0, block: index, hash: [9; 32] })?;
            writer.pre_image(1, index, &page(index, 0)[..])?;
        }
        if index % 100 == 50 {
            writer.keyframe(&mut packer.pack(frame(index, index..index + 20)))?;
        }
    }
    writer.end(&end(n))
}
