//! The run loop: from one trap, slice end or deadline to the next.
//!
//! ```text
//!            Trap                          Enter
//!   wait ──────────▶ take ▶ handle ▶ count ▶ tell ▶ enter ──▶ huret
//!    ▲  │                                     │ Park ──▶ huret, park
//!    │  │ Slice: commands, inputs             │ Halt ──▶ (until hart_start)
//!    │  │ Alarm: devices                      └ End  ──▶ reset, or the run ends
//!    └──┘ Idle:  inputs until the deadline
//!
//!   StepLimit, Debug, Asked: the caller's turn, which no event tells of
//! ```

use dv::{Denied, Dv, Woken};
use isa::Csr;
use session::{Exit, Idle, Input, Inputs, Position, RunState, Server, Sink, Stats, Stop, VmState};

use crate::exits::{Done, End, Next, Taken};
use crate::sbi::hsm::{Hsm, vcpu_id};
use crate::vm::Vm;

/// A line of console output that gets longer than this is sent in pieces.
const LINE_MAX: usize = 256;

/// What the VM plane keeps of a vCPU.
#[derive(Debug)]
pub(crate) struct Vcpu {
    // Runtime state.
    pub(crate) hsm: Hsm,
    /// It is, or was until its last wait ended, suspended by `hart_suspend`.
    pub(crate) suspended: bool,
    // Statistics.
    pub(crate) stats: Stats,
    /// Its steps at its exit before.
    pub(crate) steps_before: u64,
}

impl Vcpu {
    pub(crate) fn new() -> Self {
        Self { hsm: Hsm::Stopped, suspended: false, stats: Stats::default(), steps_before: 0 }
    }
}

/// Where the run loop leaves off.
enum Pause {
    Limit,
    Debug(usize),
    Asked,
    End(End),
}

/// Everything outside of a VM that a run talks to.
pub struct Host<'a> {
    /// Where inputs come from.
    pub inputs: &'a mut dyn Inputs,
    /// Where events go.
    pub sinks: Vec<&'a mut dyn Sink>,
    /// A watcher that asks and commands.
    pub server: Option<&'a mut Server>,
    /// Host nanoseconds, for the time that handlers take. No guest ever sees it.
    pub stopwatch: Option<&'a mut dyn FnMut() -> u64>,
}

impl<'a> Host<'a> {
    /// A host that gives inputs and wants to know nothing.
    pub fn new(inputs: &'a mut dyn Inputs) -> Self {
        Self { inputs, sinks: Vec::new(), server: None, stopwatch: None }
    }

    /// Whether a watcher asks for something that the run left to its caller.
    pub(crate) fn has_left(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.has_left())
    }

    /// Why the loop is left behind a slice end, if it is. Not before the inputs were taken: a
    /// slice ends as a whole, wherever the run is cut.
    fn pause(&self, end: Option<End>) -> Option<Pause> {
        match end {
            Some(end) => Some(Pause::End(end)),
            None => self.has_left().then_some(Pause::Asked),
        }
    }
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("sinks", &self.sinks.len())
            .field("server", &self.server.is_some())
            .field("stopwatch", &self.stopwatch.is_some())
            .finish_non_exhaustive()
    }
}

/// Why [`Vm::run_on`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The vCPUs have made as many steps as they may; if they get more, the run can go on.
    StepLimit,
    /// This vCPU stands before a breakpoint or a watched access.
    Debug(usize),
    /// A watcher asks for something that only the caller can know; the server has it.
    Asked,
    /// The run is over.
    Stopped(Stop),
}

impl<D: Dv> Vm<D> {
    /// Runs until there is a reason to stop; the step limit is one.
    pub fn run(&mut self, host: &mut Host<'_>) -> Stop {
        loop {
            match self.run_on(host) {
                Rest::StepLimit => return self.stop(Ok(End::StepLimit), host),
                Rest::Stopped(stop) => return stop,
                // Nobody is there whom it would interest.
                Rest::Debug(_) => {}
                Rest::Asked => self.refuse_left(host),
            }
        }
    }

    /// Runs until the step limit, a breakpoint or the end. A run in two halves is the same as a
    /// run in one: neither the guest nor the stream of events knows where it was cut.
    pub fn run_on(&mut self, host: &mut Host<'_>) -> Rest {
        match &self.run {
            RunState::Running | RunState::Paused => {}
            // With more steps it can go on.
            RunState::Ended(Stop::StepLimit) => self.run = RunState::Running,
            RunState::Ended(stop) => return Rest::Stopped(stop.clone()),
        }
        let end = match self.run_to_rest(host) {
            Ok(Pause::Limit) => return Rest::StepLimit,
            Ok(Pause::Debug(vcpu)) => return Rest::Debug(vcpu),
            Ok(Pause::Asked) => return Rest::Asked,
            Ok(Pause::End(end)) => Ok(end),
            Err(Denied) => Err(Denied),
        };
        Rest::Stopped(self.stop(end, host))
    }

    /// The last events of the run.
    fn stop(&mut self, end: Result<End, Denied>, host: &mut Host<'_>) -> Stop {
        self.flush_console(host);
        let stop = self.stop_of(end);
        let step = self.dv.steps();
        self.stream.vm(step, VmState::Ended(stop.clone()), &mut host.sinks);
        self.ended(&stop, host);
        stop
    }

    fn run_to_rest(&mut self, host: &mut Host<'_>) -> Result<Pause, Denied> {
        self.sink_wants_exits = self.stream.wants_exits(&host.sinks);
        if !self.booted {
            self.boot(host)?;
        }
        // The caller has answered, and the watcher has paused the run.
        if self.run == RunState::Paused {
            if let Some(end) = self.serve(host) {
                return Ok(Pause::End(end));
            }
            if host.has_left() {
                return Ok(Pause::Asked);
            }
        }
        loop {
            match self.turn(host)? {
                None => {}
                Some(Pause::End(End::Reset)) if self.reboot => self.reset(host)?,
                Some(pause) => return Ok(pause),
            }
        }
    }

    /// Lets the guest run until it needs us, and does what it needs.
    fn turn(&mut self, host: &mut Host<'_>) -> Result<Option<Pause>, Denied> {
        let end = match self.dv.wait() {
            Woken::Trap(vcpu) => self.exit(vcpu, host)?,
            Woken::Slice => {
                let end = self.slice_end(host)?;
                return Ok(host.pause(end));
            }
            Woken::Alarm => {
                self.bus.alarm_over();
                self.devices_due()?;
                self.flush_lines(host);
                None
            }
            Woken::Idle(deadline) => {
                let end = self.idle(deadline, host)?;
                return Ok(host.pause(end));
            }
            Woken::StepLimit => return Ok(Some(Pause::Limit)),
            Woken::Debug(vcpu) => return Ok(Some(Pause::Debug(vcpu))),
            Woken::Killed => return Err(Denied),
        };
        Ok(end.map(Pause::End))
    }

    /// The life of an exit.
    fn exit(&mut self, vcpu: usize, host: &mut Host<'_>) -> Result<Option<End>, Denied> {
        let timed = self.start_watch(host);
        let taken = self.take(vcpu)?;
        let done = self.handle(vcpu, &taken)?;
        self.count(vcpu, &done);
        self.tell(vcpu, &taken, &done, host);
        let end = self.enter(vcpu, done.next)?;
        self.stop_watch(vcpu, &done, timed, host);
        Ok(end)
    }

    /// Reads what every handler needs of the HU CSRs.
    fn take(&mut self, vcpu: usize) -> Result<Taken, Denied> {
        self.vcpus[vcpu].suspended = false;
        let cause = self.dv.csr(vcpu, Csr::UCAUSE)?;
        let pc = self.dv.csr(vcpu, Csr::UEPC)?;
        Ok(Taken { cause, pc, mode: self.dv.mode(vcpu) })
    }

    /// Counts the exit and the guest's steps before it.
    fn count(&mut self, vcpu: usize, done: &Done) {
        let steps = self.dv.vcpu_steps(vcpu);
        let vcpu = &mut self.vcpus[vcpu];
        vcpu.stats.count(done.cause.kind(), steps.saturating_sub(vcpu.steps_before));
        vcpu.steps_before = steps;
    }

    /// Sends the event, and those that follow from it.
    fn tell(&mut self, vcpu: usize, taken: &Taken, done: &Done, host: &mut Host<'_>) {
        if self.sink_wants_exits {
            let exit = Exit {
                seq: 0,
                step: self.dv.steps(),
                vcpu: vcpu_id(vcpu),
                time_ns: self.dv.now_ns(),
                pc: taken.pc,
                mode: taken.mode,
                cause: done.cause,
                outcome: done.outcome,
            };
            self.stream.exit(exit, &mut host.sinks);
        } else {
            self.stream.pass();
        }
        if !self.news.is_empty() {
            let step = self.dv.steps();
            for state in self.news.drain(..) {
                self.stream.vm(step, state, &mut host.sinks);
            }
        }
        self.flush_lines(host);
    }

    /// Puts the vCPU where the handler wants it.
    fn enter(&mut self, vcpu: usize, next: Next) -> Result<Option<End>, Denied> {
        match next {
            Next::Enter => self.dv.huret(vcpu)?,
            Next::Park => {
                self.dv.huret(vcpu)?;
                self.dv.park(vcpu);
            }
            Next::Halt => self.dv.stop(vcpu),
            Next::End(end) => return Ok(Some(end)),
        }
        Ok(None)
    }

    /// One exit in `sample_every` is timed.
    fn start_watch(&mut self, host: &mut Host<'_>) -> Option<u64> {
        let stopwatch = host.stopwatch.as_mut()?;
        self.until_sample = self.until_sample.checked_sub(1)?;
        if self.until_sample > 0 {
            return None;
        }
        self.until_sample = self.sample_every;
        Some(stopwatch())
    }

    fn stop_watch(&mut self, vcpu: usize, done: &Done, started: Option<u64>, host: &mut Host<'_>) {
        if let (Some(started), Some(stopwatch)) = (started, host.stopwatch.as_mut()) {
            let took = stopwatch().saturating_sub(started);
            self.vcpus[vcpu].stats.sample(done.cause.kind(), took);
        }
    }

    /// Between two slices: the only place where the outside gets a word in.
    fn slice_end(&mut self, host: &mut Host<'_>) -> Result<Option<End>, Denied> {
        self.flush_console(host);
        if let Some(end) = self.serve(host) {
            return Ok(Some(end));
        }
        self.take_inputs(host).map(|taken| taken.1)
    }

    /// Takes all inputs that are due. Says whether there were any, and whether one ends the run.
    fn take_inputs(&mut self, host: &mut Host<'_>) -> Result<(bool, Option<End>), Denied> {
        let mut any = false;
        while let Some(input) = host.inputs.next(self.position(), self.dv.now_ns()) {
            any = true;
            if let Some(end) = self.apply(input, host)? {
                return Ok((any, Some(end)));
            }
        }
        Ok((any, None))
    }

    /// Gives one input to the guest.
    fn apply(&mut self, input: Input, host: &mut Host<'_>) -> Result<Option<End>, Denied> {
        let end = match &input {
            Input::Console(bytes) => {
                self.bus.type_in(bytes);
                None
            }
            Input::Quit => Some(End::User),
            // A kind of input that this VM has no device for.
            _ => None,
        };
        let step = self.dv.steps();
        self.stream.input(step, input, &mut host.sinks);
        self.devices_due()?;
        Ok(end)
    }

    /// A deadline of a device, or new input for one.
    pub(crate) fn devices_due(&mut self) -> Result<(), Denied> {
        let now = self.dv.now_ns();
        self.bus.settle(&mut self.dv, &mut self.ram, now)
    }

    /// No vCPU can run: time goes on to the next deadline, unless an input comes first.
    fn idle(&mut self, deadline: Option<u64>, host: &mut Host<'_>) -> Result<Option<End>, Denied> {
        let step = self.dv.steps();
        host.sinks.iter_mut().for_each(|sink| sink.waits(step));
        self.flush_console(host);
        if let Some(end) = self.serve(host) {
            return Ok(Some(end));
        }
        let (any, end) = self.take_inputs(host)?;
        if any || end.is_some() || host.has_left() {
            return Ok(end);
        }
        let (at, now) = (self.position(), self.dv.now_ns());
        match (host.inputs.idle(at, now, deadline), deadline) {
            (Idle::Deadline | Idle::Never, Some(deadline)) => {
                self.dv.advance(deadline.max(now));
                self.devices_due()?;
                Ok(None)
            }
            (Idle::Input { time_ns, input }, _) => {
                // Time neither runs backwards nor past what was waited for.
                let until = time_ns.max(now).min(deadline.unwrap_or(u64::MAX).max(now));
                self.dv.advance(until);
                self.apply(input, host)
            }
            // Commands were served above, and will be at the next turn.
            (Idle::Attention, _) => Ok(None),
            (Idle::Deadline | Idle::Never, None) => Ok(Some(End::Deadlock)),
        }
    }

    /// Sends what the guest has written so far, if that is a line or much.
    fn flush_lines(&mut self, host: &mut Host<'_>) {
        let output = self.bus.output();
        if output.last() == Some(&b'\n') || output.len() >= LINE_MAX {
            self.flush_console(host);
        }
    }

    /// Sends what the guest has written so far.
    pub(crate) fn flush_console(&mut self, host: &mut Host<'_>) {
        let output = self.bus.output();
        if !output.is_empty() {
            host.inputs.output(output);
            let step = self.dv.steps();
            self.stream.console(step, output, &mut host.sinks);
        }
    }

    /// Where the run is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { step: self.dv.steps(), seq: self.stream.seq() }
    }

    /// The reason as the outside hears it.
    fn stop_of(&self, end: Result<End, Denied>) -> Stop {
        match end {
            Ok(End::PowerOff) => Stop::PowerOff,
            Ok(End::Failed(code)) => Stop::Failed { code },
            Ok(End::Reset) => Stop::Reset,
            Ok(End::StepLimit) => Stop::StepLimit,
            Ok(End::Deadlock) => Stop::Deadlock,
            Ok(End::User) => Stop::User,
            Ok(End::Unexpected { cause, tval, pc }) => Stop::Crashed {
                reason: format!(
                    "no policy for an exit with ucause {cause:#x}, utval {tval:#x} at {pc:#x}"
                ),
            },
            Err(Denied) => {
                let reason = self.dv.reason().unwrap_or("the driver gave no reason");
                Stop::Killed { reason: reason.to_owned() }
            }
        }
    }
}
