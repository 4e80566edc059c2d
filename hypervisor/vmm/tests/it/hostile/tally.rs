//! What hostile runs reached: so that it can be told, and so that less of it is a failure.

use std::collections::BTreeMap;
use std::fmt;

use session::{Event, Exit, ExitCause, ExitKind, Outcome, Region, Stop};

use super::Run;
use super::guest::EID_HSM;
use super::setting::{Behind, Setting};
use super::virtio::{INTERRUPT, STATUS};

/// Bit of a virtio device's status: it needs a reset.
const NEEDS_RESET: u64 = 64;
/// Bit of its interrupts: buffers were used.
const USED: u64 = 1;
const QUEUES: [&str; 4] = ["block", "console in", "console out", "entropy"];

/// Counts of runs, and of what happened in them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    pub(crate) steps: u64,
    exits: [u64; ExitKind::ALL.len()],
    /// By the name of the stop.
    stops: BTreeMap<&'static str, u64>,
    /// Accesses that the device answered, and those that it refused.
    regions: BTreeMap<Region, [u64; 2]>,
    /// Calls by error.
    sbi: BTreeMap<i64, u64>,
    /// Exceptions that the VM plane gave to the guest, by cause.
    injected: BTreeMap<u64, u64>,
    /// Runs at whose end a queue's used index was not zero.
    used: [u64; QUEUES.len()],
    /// Runs in which a virtio device, by slot, was seen to have completed requests.
    completed: [u64; 3],
    /// Runs in which a device was seen to need a reset.
    broken: u64,
    with_disk: u64,
    started: u64,
    inputs: u64,
    resets: u64,
    console_bytes: u64,
    driver_calls: u64,
}

impl Tally {
    pub(super) fn add(&mut self, setting: &Setting, run: &Run) {
        self.runs += 1;
        self.steps += run.at.step;
        self.with_disk += u64::from(setting.behind != Behind::Nothing);
        self.console_bytes += run.console_bytes;
        self.driver_calls += run.driver_calls;
        self.resets += run.n_resets;
        *self.stops.entry(name_of(&run.stop)).or_default() += 1;
        for (count, used) in self.used.iter_mut().zip(run.used) {
            *count += u64::from(used != 0);
        }
        let (mut broken, mut completed) = (false, [false; 3]);
        for event in &run.events {
            self.inputs += u64::from(matches!(event, Event::Input { .. }));
            let Event::Exit(exit) = event else { continue };
            broken |= virtio_says(exit, STATUS, NEEDS_RESET).is_some();
            if let Some(slot) = virtio_says(exit, INTERRUPT, USED) {
                completed[usize::from(slot)] = true;
            }
            self.exit(exit);
        }
        self.broken += u64::from(broken);
        for (count, completed) in self.completed.iter_mut().zip(completed) {
            *count += u64::from(completed);
        }
    }

    fn exit(&mut self, exit: &Exit) {
        self.exits[exit.cause.kind().index()] += 1;
        match (exit.cause, exit.outcome) {
            (ExitCause::Mmio { region, .. }, Outcome::Handled | Outcome::Stopped) => {
                self.regions.entry(region).or_default()[0] += 1;
            }
            (ExitCause::Mmio { region, .. }, Outcome::Refused) => {
                self.regions.entry(region).or_default()[1] += 1;
            }
            (ExitCause::Sbi { eid, fid, .. }, Outcome::Returned { error, .. }) => {
                *self.sbi.entry(error).or_default() += 1;
                self.started += u64::from((eid, fid, error) == (EID_HSM, 0, 0));
            }
            _ => {}
        }
        if let Outcome::Injected { cause } = exit.outcome {
            *self.injected.entry(cause).or_default() += 1;
        }
    }

    /// Fails if runs have become shallow: this many of each, of the default seeds.
    pub(crate) fn goes_deep(&self) {
        let n_exits: u64 = self.exits.iter().sum();
        assert!(n_exits > 100 * self.runs, "few exits\n{self}");
        for kind in ExitKind::ALL {
            // With the vtimer wired to VSTI and no device outside of the VM these cannot be.
            let never = matches!(kind, ExitKind::Timer | ExitKind::Kick | ExitKind::External);
            let n = self.exits[kind.index()];
            assert!(if never { n == 0 } else { n > 0 }, "{n} exits {}\n{self}", kind.name());
        }
        for slot in 0..3 {
            let answered = self.regions.get(&Region::Virtio(slot)).map_or(0, |n| n[0]);
            assert!(answered > 5 * self.runs, "virtio slot {slot}\n{self}");
        }
        for region in [Region::Uart, Region::Plic, Region::Rtc, Region::Finisher] {
            let [answered, refused] = self.regions.get(&region).copied().unwrap_or_default();
            assert!(answered > 0 && refused > 0, "{region:?}\n{self}");
        }
        for (used, queue) in self.used.iter().zip(QUEUES) {
            assert!(*used > self.runs / 100, "queue {queue}\n{self}");
        }
        for (slot, completed) in self.completed.iter().enumerate() {
            assert!(*completed > self.runs / 40, "virtio slot {slot}\n{self}");
        }
        assert!(self.broken > self.runs / 20, "broken devices\n{self}");
        // Success, not supported, invalid parameter, invalid address, already available.
        for error in [0, -2, -3, -5, -6] {
            assert!(self.sbi.get(&error).is_some_and(|n| *n > 20), "SBI error {error}\n{self}");
        }
        for stop in ["power off", "failed", "step limit"] {
            assert!(self.stops.contains_key(stop), "no {stop}\n{self}");
        }
        for (what, n) in [
            ("vCPUs started", self.started),
            ("inputs", self.inputs),
            ("resets", self.resets),
            ("console bytes", self.console_bytes),
            ("driver calls", self.driver_calls),
        ] {
            assert!(n > 5, "{n} {what}\n{self}");
        }
        let to_the_end = self.stops.get("step limit").copied().unwrap_or(0);
        assert!(to_the_end > self.runs / 2, "most guests end early\n{self}");
    }
}

fn name_of(stop: &Stop) -> &'static str {
    match stop {
        Stop::PowerOff => "power off",
        Stop::Failed { .. } => "failed",
        Stop::Reset => "reset",
        Stop::StepLimit => "step limit",
        Stop::Deadlock => "deadlock",
        Stop::Killed { .. } | Stop::Crashed { .. } | Stop::User | _ => "other",
    }
}

/// The slot of a virtio device of which a guest read this register, with this bit set.
fn virtio_says(exit: &Exit, register: u64, bit: u64) -> Option<u8> {
    let ExitCause::Mmio { region: Region::Virtio(slot), offset, value, access, .. } = exit.cause
    else {
        return None;
    };
    let says = offset == register && value & bit != 0 && access == session::Access::Load;
    says.then_some(slot)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, steps, with_disk, broken, started, inputs, resets, .. } = self;
        writeln!(f, "  {runs} seeds, each run twice; {steps} steps of the first runs")?;
        write!(f, "  exits:")?;
        for (kind, n) in ExitKind::ALL.iter().zip(self.exits).filter(|(_, n)| *n > 0) {
            write!(f, " {} {n}", kind.name())?;
        }
        writeln!(f, "\n  stops: {:?}", self.stops)?;
        writeln!(f, "  device accesses answered and refused: {:?}", self.regions)?;
        writeln!(f, "  SBI calls by error: {:?}", self.sbi)?;
        writeln!(f, "  exceptions given to the guest by cause: {:?}", self.injected)?;
        write!(f, "  runs with used buffers:")?;
        for (queue, n) in QUEUES.iter().zip(self.used) {
            write!(f, " {queue} {n}")?;
        }
        writeln!(f, " ({with_disk} with a disk)")?;
        let completed = self.completed;
        writeln!(f, "  runs with requests seen done, by slot: {completed:?}; broken: {broken}")?;
        writeln!(f, "  vCPUs started {started}, inputs {inputs}, resets {resets}")?;
        let Self { console_bytes, driver_calls, .. } = self;
        write!(f, "  console bytes {console_bytes}, driver calls {driver_calls}")
    }
}
