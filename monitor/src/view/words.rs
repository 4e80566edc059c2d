//! What things are called where there is room for words (table)

use session::{ExitKind, Stop, VcpuState};

use crate::model::End;
use crate::theme::Role;

/// One line on a kind of exit: who does it, and what becomes of it.
pub(crate) const fn explain(kind: ExitKind) -> &'static str {
    match kind {
        ExitKind::Sbi => "an ecall from VS-mode (cause 10): the guest calls its firmware",
        ExitKind::VirtualInstruction => {
            "an instruction that VS-mode may not do itself (cause 22): done for it"
        }
        ExitKind::FetchFault => "a fetch from RAM that stage-2 does not map yet (cause 20)",
        ExitKind::LoadFault => "a load from RAM that stage-2 does not map yet (cause 21)",
        ExitKind::StoreFault => "a store to RAM that stage-2 does not map yet (cause 23)",
        ExitKind::MmioLoad => "a load from a device (cause 21 outside RAM): the device answers",
        ExitKind::MmioStore => "a store to a device (cause 23 outside RAM): the device takes it",
        ExitKind::Wfi => "a WFI (cause 22): the vCPU has nothing to do until an interrupt",
        ExitKind::Timer => "the virtual timer ran out (interrupt 4)",
        ExitKind::Kick => "another vCPU or a device wants this one's attention (interrupt 0)",
        ExitKind::External => "a user external interrupt (interrupt 8)",
        ExitKind::IllegalInstruction => "an illegal instruction (cause 2) that the VM plane sees",
        ExitKind::Breakpoint => "a breakpoint (cause 3) that the VM plane asked for",
        ExitKind::Other => "a delegated cause without a handler of its own",
    }
}

/// Three letters for what a vCPU does.
pub(crate) const fn state(state: VcpuState) -> (&'static str, Role) {
    match state {
        VcpuState::Running => ("RUN", Role::Ok),
        VcpuState::Waiting => ("WFI", Role::Text),
        VcpuState::Stopped => ("OFF", Role::Dim),
    }
}

/// Why it is over.
pub(crate) fn end(end: &End) -> String {
    let stop = match end {
        End::Lost => return "the run went away without a reason".into(),
        End::Stopped(stop) => stop,
    };
    match stop {
        Stop::PowerOff => "the guest powered itself off".into(),
        Stop::Failed { code } => format!("the guest reported failure, code {code}"),
        Stop::Reset => "the guest asked for a reset, which ends this run".into(),
        Stop::StepLimit => "the limit of steps was reached".into(),
        Stop::Deadlock => "every vCPU waits, no timer is set, no input can come".into(),
        Stop::Killed { reason } => format!("the driver killed the VM: {reason}"),
        Stop::Crashed { reason } => format!("the VM plane gave up: {reason}"),
        Stop::User => "the run was ended on request".into(),
        _ => "the run ended".into(),
    }
}

/// Whether it went as it should.
pub(crate) fn end_is_good(end: &End) -> bool {
    matches!(end, End::Stopped(Stop::PowerOff | Stop::User | Stop::StepLimit | Stop::Reset))
}
