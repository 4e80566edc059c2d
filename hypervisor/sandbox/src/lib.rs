//! What this process may still ask of the host's kernel once a guest runs: next to nothing.
//!
//! Everything that a run needs is opened first. Then, in two steps, the process gives up the rest
//! for good: [`Sandbox::begin`] while it has one thread (Landlock is a thread's own, and of those
//! that it starts), [`Sandbox::close`] when all of its threads are there and before the guest's
//! first instruction. Of several filters the kernel obeys the strictest answer:
//!
//! * what nobody calls in good faith ([`NEVER`]) ends the process, or raises SIGSYS where there is
//!   a terminal to be given back;
//! * what is not on the list ([`CALLS`]) is refused with `EPERM`: a C library that nobody has
//!   tried yet falls back on something, it does not die.
#![forbid(unsafe_code)]

mod filter;
mod list;

#[cfg(test)]
mod tests;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::DumpableBehavior;
use seccompiler::{BpfProgram, apply_filter, apply_filter_all_threads};

pub use list::{CALLS, Call, NEVER, SPARED, allowed};

/// The newest rights of Landlock that this was tried with; an older host has fewer.
const LANDLOCK: ABI = ABI::V7;

/// What shows the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ui {
    /// Standard input and output.
    Headless,
    /// The terminal UI; SIGSYS has a handler.
    Terminal,
}

/// What is done with a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// There is none.
    None,
    /// It is read.
    Read,
    /// It is read and written.
    Write,
}

/// What a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What shows it.
    pub ui: Ui,
    /// Its disk.
    pub disk: Disk,
    /// It is recorded to a file.
    pub records: bool,
}

/// What the host does not offer. The run can go on with what there is.
#[derive(Debug, thiserror::Error)]
pub enum Lack {
    /// No Landlock: not built in, not in the kernel's list of security modules, or refused.
    #[error("this host has no Landlock ({0}): the run goes on without it")]
    Landlock(String),
    /// No seccomp filter.
    #[error("this host takes no seccomp filter ({0}): the run goes on with all system calls")]
    Seccomp(String),
    /// The process can still be traced, or gain rights by another program.
    #[error("this host does not close this run to the user's other processes ({0})")]
    Closed(String),
}

/// A process on its way to being closed.
#[derive(Debug)]
pub struct Sandbox {
    plan: Plan,
    takes_filters: bool,
    lacks: Vec<Lack>,
}

impl Sandbox {
    /// First step: no other process of this user attaches to this one or reads its memory, no path
    /// can be opened any more, and no call of [`NEVER`] be made.
    ///
    /// For the calling thread and all threads that it starts afterwards.
    #[must_use]
    pub fn begin(plan: Plan) -> Self {
        let filter = filter::never(plan.ui)
            .map_err(|error| error.to_string())
            .and_then(|program| apply_filter(&program).map_err(|error| error.to_string()));
        let takes_filters = filter.is_ok();
        let steps = [
            shut().map_err(Lack::Closed),
            no_paths(plan.ui).map_err(Lack::Landlock),
            filter.map_err(Lack::Seccomp),
        ];
        let lacks = steps.into_iter().filter_map(Result::err).collect();
        Self { plan, takes_filters, lacks }
    }

    /// What is not to be had on this host.
    #[must_use]
    pub fn lacks(&self) -> &[Lack] {
        &self.lacks
    }

    /// Last step: only the calls of such a run are left, to all threads.
    ///
    /// Each thread must have reached its own code: its first calls are not on the list. Does
    /// nothing on a host that has taken no filter before.
    ///
    /// # Errors
    /// The host took the first filter but not these.
    pub fn close(&self) -> Result<(), Lack> {
        if !self.takes_filters {
            return Ok(());
        }
        // Keys of hash tables are made once in each thread, by a call that is not on the list.
        std::hint::black_box(std::hash::RandomState::new());
        for program in [filter::dying(), filter::closed(self.plan)] {
            let program: BpfProgram = program.map_err(|error| Lack::Seccomp(error.to_string()))?;
            apply_filter_all_threads(&program).map_err(|error| Lack::Seccomp(error.to_string()))?;
        }
        Ok(())
    }
}

/// Keeps other processes of the same user out of this one, and its rights where they are: the part
/// of [`Sandbox::begin`] that a helper of a run needs, too.
///
/// # Errors
/// What the host said.
pub fn shut() -> Result<(), String> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(|error| error.to_string())
}

/// Takes all rights to open, change, connect and signal that Landlock knows on this host.
fn no_paths(ui: Ui) -> Result<(), String> {
    let scope = match ui {
        Ui::Headless => Scope::from_all(LANDLOCK),
        // Ctrl-Z stops the whole process group: what started this program, too.
        Ui::Terminal => Scope::AbstractUnixSocket.into(),
    };
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|ruleset| ruleset.scope(scope))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    enforced(&status.ruleset, &status.landlock)
}

/// Whether anything is held, or why nothing is.
fn enforced(ruleset: &RulesetStatus, landlock: &LandlockStatus) -> Result<(), String> {
    let why = match (ruleset, landlock) {
        // An older kernel holds what it knows: that is no news to anybody.
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => return Ok(()),
        (_, LandlockStatus::NotImplemented) => {
            "the kernel is older than Linux 5.13, or built without it"
        }
        (_, LandlockStatus::NotEnabled) => "not in the kernel's list of security modules, `lsm=`",
        (_, LandlockStatus::Available { .. }) => "it enforces nothing of what was asked",
    };
    Err(why.to_owned())
}
