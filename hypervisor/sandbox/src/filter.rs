//! Rows of the list as seccomp filters.

use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::list::{Call, DYING, NEVER, NEVER_OLD, Uses, allowed};
use crate::{Plan, Ui};

/// What `ioctl` may ask of a terminal; C libraries differ in which pair they use. The numbers are
/// those of the kernel's `asm-generic/ioctls.h`: their type differs between C libraries, too.
#[rustfmt::skip]
const REQUESTS: &[u64] = &[
    0x5401,         // TCGETS
    0x5402,         // TCSETS
    0x802c_542a,    // TCGETS2
    0x402c_542b,    // TCSETS2
    0x5413,         // TIOCGWINSZ
];
/// No argument has a sign here.
const PROT_EXEC: u64 = libc::PROT_EXEC.unsigned_abs() as u64;
const SIGTSTP: u64 = libc::SIGTSTP.unsigned_abs() as u64;
const EPERM: u32 = libc::EPERM.unsigned_abs();
const O_ACCMODE: u64 = libc::O_ACCMODE.unsigned_abs() as u64;
const O_WRONLY: u64 = libc::O_WRONLY.unsigned_abs() as u64;
const O_RDWR: u64 = libc::O_RDWR.unsigned_abs() as u64;

/// A condition on an argument: its number, what is compared, and with what.
type Condition = (u8, SeccompCmpOp, u64);

/// The rules of a row: one of them has to hold, with all of its conditions. None: every use.
fn conditions(uses: Uses) -> Vec<Vec<Condition>> {
    match uses {
        Uses::All => vec![],
        Uses::NotExecutable => vec![vec![(2, MaskedEq(PROT_EXEC), 0)]],
        Uses::Executable => vec![vec![(2, MaskedEq(PROT_EXEC), PROT_EXEC)]],
        Uses::OfTerminals => REQUESTS.iter().map(|request| vec![(1, Eq, *request)]).collect(),
        Uses::Suspend => vec![vec![(0, Eq, 0), (1, Eq, SIGTSTP)]],
        Uses::OtherSignals => vec![vec![(0, Ne, 0)], vec![(1, Ne, SIGTSTP)]],
        Uses::Writing(flags) => {
            [O_WRONLY, O_RDWR].map(|mode| vec![(flags, MaskedEq(O_ACCMODE), mode)]).to_vec()
        }
    }
}

fn rules(uses: Uses) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |all: Vec<Condition>| {
        let all =
            all.into_iter().map(|(arg, op, with)| SeccompCondition::new(arg, Dword, op, with));
        SeccompRule::new(all.collect::<Result<_, _>>()?)
    };
    conditions(uses).into_iter().map(rule).collect()
}

fn program(
    calls: impl IntoIterator<Item = Call>,
    matching: SeccompAction,
    otherwise: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let rules = calls.into_iter().map(|call| Ok((call.number, rules(call.uses)?)));
    let rules = rules.collect::<Result<_, BackendError>>()?;
    SeccompFilter::new(rules, otherwise, matching, arch)?.try_into()
}

/// Ends the process, or tells it, where a call of [`NEVER`] is made.
pub(crate) fn never(ui: Ui) -> Result<BpfProgram, BackendError> {
    let end = match ui {
        Ui::Headless => SeccompAction::KillProcess,
        // The handler of SIGSYS lets the terminal be given back.
        Ui::Terminal => SeccompAction::Trap,
    };
    program(NEVER.iter().chain(NEVER_OLD).copied(), end, SeccompAction::Allow)
}

/// Ends the process where it is about to die.
pub(crate) fn dying() -> Result<BpfProgram, BackendError> {
    program(DYING.iter().copied(), SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Allows what such a run needs, and refuses everything else.
pub(crate) fn closed(plan: Plan) -> Result<BpfProgram, BackendError> {
    program(allowed(plan), SeccompAction::Allow, SeccompAction::Errno(EPERM))
}
