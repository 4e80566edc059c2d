//! The six invariants, looked at after every step.

use std::fmt;

use hart::{Halt, Hart, Taken};
use isa::fields::{HSTATUS, HUSTATUS, MSTATUS, SSTATUS};
use isa::{Cause, Csr, Exception, Format, Mode, Op};

use super::bus::Recorder;
use super::oracle::{self, Due};
use super::predict::{Data, Expected};
use super::state::{Explained, Kind, State, TRAP_STATE};
use super::world::Context;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Its number, 1 to 6.
    pub(crate) invariant: u8,
    pub(crate) what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{}: {}", self.invariant, self.what)
    }
}

/// A step that was made.
pub(crate) struct Step<'a> {
    pub(crate) before: &'a State,
    pub(crate) after: &'a State,
    pub(crate) expected: &'a Expected,
    pub(crate) halt: Halt,
    pub(crate) context: &'a Context,
    pub(crate) bus: &'a Recorder,
    pub(crate) hart: &'a Hart,
}

/// The kinds of steps, with what each may change.
pub(crate) struct Observer {
    kinds: Vec<(Kind, Explained)>,
}

/// What was found about one step.
struct Findings(Vec<Broken>);

impl Findings {
    fn add(&mut self, invariant: u8, what: impl FnOnce() -> String) {
        self.0.push(Broken { invariant, what: what() });
    }

    fn unless(&mut self, holds: bool, invariant: u8, what: impl FnOnce() -> String) {
        if !holds {
            self.add(invariant, what);
        }
    }
}

impl Observer {
    pub(crate) fn new() -> Self {
        let kinds = [
            Kind::Guest,
            Kind::Hu,
            Kind::User,
            Kind::Hs,
            Kind::To(Mode::M),
            Kind::To(Mode::Hs),
            Kind::To(Mode::Hu),
            Kind::To(Mode::Vs),
        ];
        Self { kinds: kinds.map(|kind| (kind, Explained::new(kind))).into() }
    }

    /// What does not hold any more.
    pub(crate) fn look(&self, step: &Step<'_>) -> Vec<Broken> {
        let mut found = Findings(Vec::new());
        let taken = match step.halt {
            Halt::Trap(taken) => Some(taken),
            Halt::Limit | Halt::Waiting | Halt::Yield => None,
            Halt::Breakpoint | Halt::Watchpoint(_) | Halt::Written | Halt::Changed(_) => {
                unreachable!("nothing is watched, but {:?}", step.halt)
            }
        };
        rises(&mut found, step, taken);
        confined(&mut found, step);
        self.apart(&mut found, step, taken);
        posts(&mut found, step);
        live(&mut found, step, taken);
        translated(&mut found, step, taken);
        delivered(&mut found, step, taken);
        found.0
    }

    /// I3, and of I6 that nobody but the one who takes a trap sees it.
    fn apart(&self, found: &mut Findings, step: &Step<'_>, taken: Option<Taken>) {
        let kind = match (taken, step.before.mode) {
            (Some(taken), _) => Kind::To(taken.to),
            (None, Mode::Vs | Mode::Vu) => Kind::Guest,
            (None, Mode::Hu) => Kind::Hu,
            (None, Mode::U) => Kind::User,
            (None, Mode::M | Mode::Hs) => Kind::Hs,
        };
        let Some((_, may)) = self.kinds.iter().find(|(known, _)| *known == kind) else { return };
        if let Some((csr, old, new)) = step.before.unexplained(step.after, may) {
            let invariant = if taken.is_some() { 6 } else { 3 };
            found.add(invariant, || format!("{kind:?} changed {csr} from {old:#x} to {new:#x}"));
        }
        let id = step.after.get(Csr::HU_VCPUID);
        let own = step.context.owns(id) || kind == Kind::Hs;
        found.unless(own, 3, || format!("{kind:?} made hu_vcpuid {id:#x}, which is not the VM's"));
    }
}

/// I1: above U with V=0 only by a trap, and then at the vector.
fn rises(found: &mut Findings, step: &Step<'_>, taken: Option<Taken>) {
    let kernels = |mode| matches!(mode, Mode::M | Mode::Hs);
    let (from, to) = (step.before.mode, step.after.mode);
    match taken {
        None => found.unless(!kernels(to) || kernels(from), 1, || {
            format!("{from} is in {to}, and there was no trap")
        }),
        Some(taken) => {
            let tvec = step.before.get(match taken.to {
                Mode::M => Csr::MTVEC,
                Mode::Hs => Csr::STVEC,
                Mode::Vs => Csr::VSTVEC,
                Mode::Hu | Mode::U | Mode::Vu => Csr::UTVEC,
            });
            let cause = taken.trap.cause;
            // An interrupt of VS is told as the one of S.
            let code = cause.code() - u64::from(cause.is_interrupt() && taken.to == Mode::Vs);
            let vectored = cause.is_interrupt() && tvec & 1 == 1;
            let base = (tvec & !3).wrapping_add(if vectored { 4 * code } else { 0 });
            let pc = step.after.pc;
            found.unless(pc == base, 1, || format!("a trap to {to} at {pc:#x}, not {base:#x}"));
        }
    }
}

/// I2: what was not in reach, and that the guest is translated at all.
fn confined(found: &mut Findings, step: &Step<'_>) {
    let root = step.after.get(Csr::HUGATP);
    found.unless(matches!(root >> 60, 8..=10), 2, || format!("hugatp is {root:#x}"));
    if let Some(touched) = step.bus.outside() {
        let mode = step.before.mode;
        found.add(2, || format!("{mode} at {:#x}: {touched:x?} is not in reach", step.before.pc));
    }
}

/// I3: what goes to other vCPUs is for a vCPU of this VM.
fn posts(found: &mut Findings, step: &Step<'_>) {
    let trapped = matches!(step.halt, Halt::Trap(_));
    found.unless(!trapped || step.bus.posts.is_empty(), 3, || {
        format!("an instruction that trapped sent {:?}", step.bus.posts)
    });
    for post in &step.bus.posts {
        let own = post.vmid == step.context.vmid && step.context.owns(u64::from(post.vcpu));
        let known = matches!(post.interrupt, 0 | 2 | 6 | 10);
        let guest = !step.before.virt() || post.interrupt == 2 && post.level;
        found.unless(own && known && guest, 3, || format!("{} sent {post:?}", step.before.mode));
    }
}

/// I4: from trap entry to `huret` what HU knows of its trap is HU's alone.
fn live(found: &mut Findings, step: &Step<'_>, taken: Option<Taken>) {
    let (before, after) = (step.before, step.after);
    let active = |state: &State| HUSTATUS::TA.is_set(state.get(Csr::HUSTATUS));
    let was_live = step.context.live;
    if let Some(taken) = taken.filter(|taken| taken.to == Mode::Hu) {
        found.unless(!was_live, 4, || format!("{taken:x?} while a trap was being handled"));
        let status = after.get(Csr::HUSTATUS);
        let masked = active(after) && !HUSTATUS::UIE.is_set(status);
        found.unless(masked, 4, || format!("hustatus {status:#x} after a trap to HU"));
        return;
    }
    let insn = step.expected.insn.filter(|_| taken.is_none());
    let returns = insn.is_some_and(|insn| insn.op == Op::Huret) && before.mode == Mode::Hu;
    if was_live && !returns {
        found.unless(active(after) || !after.delegated(), 4, || {
            "TA is clear while a trap is being handled".to_owned()
        });
        found.unless(!after.virt() || step.context.of_kernel, 4, || {
            "the guest runs while a trap is being handled".to_owned()
        });
    }
    let writes = insn.is_some_and(|insn| {
        matches!(insn.row().fmt, Format::Csr | Format::CsrImm) && before.mode == Mode::Hu
    });
    if was_live && !writes {
        for csr in TRAP_STATE {
            let (old, new) = (before.get(csr), after.get(csr));
            found.unless(old == new, 4, || format!("{csr} was {old:#x}, is {new:#x}"));
        }
    }
    // A fault of HLV or HSV in HU is told by a flag, or it would be a trap within a trap.
    let of_guest = step.expected.data.filter(|data| data.of_guest && before.mode == Mode::Hu);
    let exception = taken.filter(|taken| !taken.trap.cause.is_interrupt());
    if let (Some(_), Some(taken)) = (of_guest, exception) {
        found.add(4, || format!("a guest access of HU: {taken:x?}"));
    }
}

fn is_memory(cause: u64) -> bool {
    matches!(cause, 1 | 5 | 7 | 12 | 13 | 15 | 20 | 21 | 23)
}

/// I5: every access is where a walk that remembers nothing says.
fn translated(found: &mut Findings, step: &Step<'_>, taken: Option<Taken>) {
    let cause = taken.map(|taken| taken.trap.cause.bits());
    if step.expected.interrupts != 0 || taken.is_some_and(|t| t.trap.cause.is_interrupt()) {
        return;
    }
    let hpa = match step.expected.fetch {
        Ok(hpa) => hpa,
        Err(fault) => {
            let told = taken.is_some_and(|taken| tells(taken, fault));
            return found.unless(told, 5, || format!("fetch: {fault:x?}, but {taken:x?}"));
        }
    };
    if let Some(decoded) = step.bus.decoded() {
        let what = || format!("pc {:#x} is {hpa:#x}, but {decoded:#x}", step.before.pc);
        found.unless(decoded == hpa, 5, what);
    }
    let Some(data) = step.expected.data else { return };
    let reserved = matches!(cause, Some(2 | 4 | 6 | 22));
    if reserved {
        return;
    }
    let hu = data.of_guest && step.before.mode == Mode::Hu;
    let flag = |state: &State| HUSTATUS::GLF.is_set(state.get(Csr::HUSTATUS));
    match data.result {
        Err(fault) if hu => found.unless(flag(step.after), 5, || {
            format!("a guest access of HU: {fault:x?}, but GLF is clear")
        }),
        Err(fault) => found.unless(taken.is_some_and(|taken| tells(taken, fault)), 5, || {
            format!("data: {fault:x?}, but {taken:x?}")
        }),
        Ok(hpa) => {
            let faulted =
                cause.is_some_and(is_memory) || hu && !flag(step.before) && flag(step.after);
            let missed = data.whole && !touched(step.bus, hpa, data);
            found.unless(!faulted && !missed, 5, || {
                format!("data is at {hpa:#x}, but {taken:x?}, faulted {faulted}")
            });
        }
    }
}

fn touched(bus: &Recorder, hpa: u64, data: Data) -> bool {
    bus.has_touched(hpa, data.len, data.write)
}

/// Whether a trap tells of this fault.
fn tells(taken: Taken, fault: super::naive::Fault) -> bool {
    let trap = taken.trap;
    let pseudo = fault.pseudo == 0 || trap.tinst == fault.pseudo;
    (trap.cause.bits(), trap.tval, trap.gpa, trap.gva)
        == (fault.cause, fault.tval, fault.gpa, fault.gva)
        && pseudo
}

/// I6: what is due is taken, by the one mode that the chapter names, and told there.
fn delivered(found: &mut Findings, step: &Step<'_>, taken: Option<Taken>) {
    let (before, expected) = (step.before, step.expected);
    let bits = expected.interrupts;
    let interrupt = taken.map(|t| t.trap.cause).filter(|cause| cause.is_interrupt());
    let of_class = match interrupt {
        Some(cause) => bits >> cause.code() & 1 == 1,
        None => bits == 0,
    };
    found.unless(of_class, 6, || format!("interrupts {bits:#x} are due, but {taken:x?}"));
    if bits == 0 && interrupt.is_none() && expected.fetch.is_ok() {
        let cause = taken.map(|taken| taken.trap.cause.bits());
        let right = match expected.due {
            Due::Nothing => true,
            Due::Legal => !matches!(cause, Some(2 | 22 | 24)),
            Due::Trap(due) => cause == Some(due),
        };
        found.unless(right, 6, || {
            format!(
                "{:?} in {}: {:?} is due, but {taken:x?}",
                expected.insn, before.mode, expected.due
            )
        });
    }
    for csr in [Csr::SEDELEG, Csr::SIDELEG] {
        let more = before.get(csr) & !oracle::delegable(csr);
        found.unless(more == 0, 6, || format!("{csr} has {more:#x}, too"));
    }
    let Some(taken) = taken else { return };
    let cause = taken.trap.cause;
    let to = oracle::who_takes(cause.bits(), before);
    found.unless(taken.to == to, 6, || format!("{taken:x?} is {to}'s"));
    let mode = step.after.mode;
    found.unless(mode == taken.to, 6, || format!("in {mode} after {taken:x?}"));
    let told = is_told(step, taken);
    found.unless(told, 6, || format!("the CSRs of {} do not tell {taken:x?}", taken.to));
    let known = cause != Cause::Exception(Exception::DvFault) || taken.to == Mode::Hs;
    found.unless(known && step.hart.pc() == step.after.pc, 6, || format!("{taken:x?}"));
}

/// "Trap entry": cause, pc and value are in the CSRs of the one who takes it.
fn is_told(step: &Step<'_>, taken: Taken) -> bool {
    let (before, after) = (step.before, step.after);
    let trap = taken.trap;
    let bits = trap.cause.bits();
    let virt = before.virt();
    let level = u64::from(before.mode.level());
    let csrs = |of: [Csr; 5]| of.map(|csr| after.get(csr));
    let expected = [before.pc, bits, trap.tval, trap.gpa >> 2, trap.tinst];
    match taken.to {
        Mode::Hu => {
            let (old, status) = (before.get(Csr::HUSTATUS), after.get(Csr::HUSTATUS));
            let privilege = if virt { level } else { HUSTATUS::SPVP.get(old) };
            csrs(TRAP_STATE) == expected
                && HUSTATUS::SPV.is_set(status) == virt
                && HUSTATUS::SPVP.get(status) == privilege
                && HUSTATUS::GVA.is_set(status) == trap.gva
                && HUSTATUS::UPIE.get(status) == HUSTATUS::UIE.get(old)
        }
        Mode::Hs => {
            let (old, status) = (before.get(Csr::HSTATUS), after.get(Csr::HSTATUS));
            let privilege = if virt { level } else { HSTATUS::SPVP.get(old) };
            let sstatus = (before.get(Csr::MSTATUS), after.get(Csr::MSTATUS));
            csrs([Csr::SEPC, Csr::SCAUSE, Csr::STVAL, Csr::HTVAL, Csr::HTINST]) == expected
                && HSTATUS::SPV.is_set(status) == virt
                && HSTATUS::SPVP.get(status) == privilege
                && MSTATUS::SPP.get(sstatus.1) == level
                && MSTATUS::SPIE.get(sstatus.1) == MSTATUS::SIE.get(sstatus.0)
        }
        Mode::M => {
            let status = after.get(Csr::MSTATUS);
            csrs([Csr::MEPC, Csr::MCAUSE, Csr::MTVAL, Csr::MTVAL2, Csr::MTINST]) == expected
                && MSTATUS::MPP.get(status) == level
                && MSTATUS::MPV.is_set(status) == virt
        }
        Mode::Vs => {
            let status = after.get(Csr::VSSTATUS);
            let bits = bits - u64::from(trap.cause.is_interrupt());
            [Csr::VSEPC, Csr::VSCAUSE, Csr::VSTVAL].map(|csr| after.get(csr))
                == [before.pc, bits, trap.tval]
                && SSTATUS::SPP.get(status) == level
                && !SSTATUS::SIE.is_set(status)
        }
        Mode::U | Mode::Vu => false,
    }
}
