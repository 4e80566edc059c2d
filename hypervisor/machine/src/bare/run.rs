//! The run loop of a bare machine: from one trap, slice end or deadline to the next.
//!
//! The order at a slice end is fixed: devices, HTIF, finisher, commands, inputs. Between slice ends
//! only the traps are told, and devices served at their deadlines, so that neither watchers nor
//! limits can be seen by the guest.

use devices::finisher::Finish;
use hart::{Halt, Taken};
use session::{Idle, Input, Inputs, Position, RunState, Server, Sink, Stop, Trap, VcpuId, VmState};

use super::{BareMachine, End};
use crate::machine::Ran;

/// Everything outside of a machine that a run talks to.
pub struct Host<'a> {
    /// Where inputs come from.
    pub inputs: &'a mut dyn Inputs,
    /// Where events go.
    pub sinks: Vec<&'a mut dyn Sink>,
    /// A watcher that asks and commands.
    pub server: Option<&'a mut Server>,
}

impl<'a> Host<'a> {
    /// A host that gives inputs and wants to know nothing.
    pub fn new(inputs: &'a mut dyn Inputs) -> Self {
        Self { inputs, sinks: Vec::new(), server: None }
    }

    /// Whether a watcher asks for something that the run left to its caller.
    pub(crate) fn has_left(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.has_left())
    }
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("sinks", &self.sinks.len())
            .field("server", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

/// Why [`BareMachine::run_until`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The machine has made that many steps; it can go on.
    StepLimit,
    /// A hart stands before a breakpoint or a watched access, or behind what a watcher waits for.
    Debug {
        /// Which hart.
        hart: usize,
        /// [`Halt::Breakpoint`] or [`Halt::Watchpoint`]; [`Halt::Written`] or [`Halt::Changed`].
        halt: Halt,
    },
    /// A watcher asks for something that only the caller can know; the server has it.
    Asked,
    /// The run is over.
    Stopped(Stop),
}

impl BareMachine {
    /// Runs until there is a reason to stop; reaching `max_steps` is one.
    pub fn run(&mut self, host: &mut Host<'_>, max_steps: Option<u64>) -> Stop {
        let limit = max_steps.unwrap_or(u64::MAX);
        loop {
            match self.run_until(host, limit) {
                Rest::StepLimit => return self.stop(Stop::StepLimit, host),
                Rest::Stopped(stop) => return stop,
                // Nobody is there whom it would interest.
                Rest::Debug { hart, halt } => {
                    if halt.is_before() {
                        self.machine.hart_mut(hart).0.pass_once();
                    }
                }
                Rest::Asked => self.refuse_left(host),
            }
        }
    }

    /// Runs until the machine has made `step_limit` steps since it began, or something else is
    /// wanted. A run in two halves is the same as a run in one.
    pub fn run_until(&mut self, host: &mut Host<'_>, step_limit: u64) -> Rest {
        if let RunState::Ended(stop) = &self.run {
            return Rest::Stopped(stop.clone());
        }
        if !self.booted {
            self.booted = true;
            self.boot();
            self.state(VmState::Started, host);
        }
        // The caller has answered, and the watcher has paused the run.
        if self.run == RunState::Paused {
            if let Some(end) = self.serve(host) {
                return Rest::Stopped(self.stop(end.into(), host));
            }
            if host.has_left() {
                return Rest::Asked;
            }
        }
        loop {
            let end = match self.machine.run(step_limit) {
                Ran::Woken { hart, halt: Halt::Trap(taken) } => {
                    self.tell(hart, &taken, host);
                    None
                }
                Ran::Woken { hart, halt } => return Rest::Debug { hart, halt },
                Ran::SliceEnd => self.slice_end(host),
                Ran::Alarm => {
                    self.settle();
                    None
                }
                Ran::Idle(deadline_ns) => self.idle(deadline_ns, host),
                // Nothing is sent here: the stream, too, does not know where a run was cut.
                Ran::StepLimit => return Rest::StepLimit,
            };
            match end {
                // A slice has ended as a whole, with its inputs, wherever the run is cut.
                None if host.has_left() => return Rest::Asked,
                None => {}
                Some(End::Reset) if self.reboot => self.reset(host),
                Some(end) => return Rest::Stopped(self.stop(end.into(), host)),
            }
        }
    }

    fn stop(&mut self, stop: Stop, host: &mut Host<'_>) -> Stop {
        if let Some(board) = self.machine.platform_mut().board_mut() {
            board.collect_output();
        }
        self.flush_console(host);
        self.state(VmState::Ended(stop.clone()), host);
        self.ended(&stop, host);
        stop
    }

    pub(crate) fn state(&mut self, state: VmState, host: &mut Host<'_>) {
        self.stream.vm(self.machine.steps(), state, &mut host.sinks);
    }

    /// Between two slices: the only place where the outside gets a word in.
    fn slice_end(&mut self, host: &mut Host<'_>) -> Option<End> {
        self.settle();
        let end = self.finished();
        self.flush_console(host);
        end.or_else(|| self.serve(host)).or_else(|| self.take_inputs(host).1)
    }

    /// What the program said through HTIF or the finisher.
    fn finished(&mut self) -> Option<End> {
        match self.htif.poll(&mut self.machine) {
            None => {}
            Some(0) => return Some(End::PowerOff),
            Some(code) => return Some(End::Failed(code)),
        }
        match self.machine.platform_mut().board_mut()?.finish()? {
            Finish::Pass => Some(End::PowerOff),
            Finish::Fail(code) => Some(End::Failed(u64::from(code))),
            Finish::Reset => Some(End::Reset),
        }
    }

    /// Devices do what is due, and say when they next have something to do.
    pub(crate) fn settle(&mut self) {
        let now_ns = self.machine.now_ns();
        let (memory, board) = self.machine.platform_mut().parts_mut();
        let Some(board) = board else { return };
        let written = board.settle(memory, now_ns);
        let alarm = board.deadline_ns();
        for (hpa, len) in written {
            self.machine.written(hpa, len);
        }
        // What became due by the work itself has its turn at the next step.
        self.machine.set_alarm(alarm.map(|at| at.max(now_ns + 1)));
    }

    /// Takes all inputs that are due. Says whether there were any, and whether one ends the run.
    fn take_inputs(&mut self, host: &mut Host<'_>) -> (bool, Option<End>) {
        let mut any = false;
        while let Some(input) = host.inputs.next(self.position(), self.machine.now_ns()) {
            any = true;
            if let Some(end) = self.apply(input, host) {
                return (any, Some(end));
            }
        }
        (any, None)
    }

    /// Gives one input to the guest.
    fn apply(&mut self, input: Input, host: &mut Host<'_>) -> Option<End> {
        let end = match &input {
            Input::Console(bytes) => {
                if let Some(board) = self.machine.platform_mut().board_mut() {
                    board.type_in(bytes);
                }
                None
            }
            Input::Quit => Some(End::User),
            // A kind of input that this machine has no device for.
            _ => None,
        };
        self.stream.input(self.machine.steps(), input, &mut host.sinks);
        self.settle();
        if self.htif.is_reading() {
            return end.or_else(|| self.finished());
        }
        end
    }

    /// No hart can run: time goes on to the next deadline, unless an input comes first.
    fn idle(&mut self, deadline_ns: Option<u64>, host: &mut Host<'_>) -> Option<End> {
        let step = self.machine.steps();
        host.sinks.iter_mut().for_each(|sink| sink.waits(step));
        self.flush_console(host);
        if let Some(end) = self.serve(host) {
            return Some(end);
        }
        let (any, end) = self.take_inputs(host);
        if any || end.is_some() || host.has_left() {
            return end;
        }
        let (at, now_ns) = (self.position(), self.machine.now_ns());
        match (host.inputs.idle(at, now_ns, deadline_ns), deadline_ns) {
            (Idle::Deadline | Idle::Never, Some(deadline_ns)) => {
                self.machine.advance(deadline_ns);
                None
            }
            (Idle::Input { time_ns, input }, _) => {
                // Time neither runs backwards nor past what was waited for.
                self.machine.advance(time_ns.min(deadline_ns.unwrap_or(u64::MAX)));
                self.apply(input, host)
            }
            // Commands were served above, and will be at the next turn.
            (Idle::Attention, _) => None,
            (Idle::Deadline | Idle::Never, None) => Some(End::Deadlock),
        }
    }

    /// Sends a trap, if anybody looks at single ones.
    fn tell(&mut self, hart: usize, taken: &Taken, host: &mut Host<'_>) {
        if !self.stream.wants_exits(&host.sinks) {
            return self.stream.pass();
        }
        let trap = Trap {
            seq: 0,
            step: self.machine.steps(),
            hart: hart_id(hart),
            time_ns: self.machine.now_ns(),
            pc: taken.pc,
            from: taken.from,
            to: taken.to,
            cause: taken.trap.cause.bits(),
            tval: taken.trap.tval,
        };
        self.stream.trap(trap, &mut host.sinks);
    }

    /// Sends what the guest has written so far.
    pub(crate) fn flush_console(&mut self, host: &mut Host<'_>) {
        let Some(board) = self.machine.platform_mut().board_mut() else { return };
        let mut output = std::mem::take(board.output());
        if !output.is_empty() {
            host.inputs.output(&output);
            self.stream.console(self.machine.steps(), &mut output, &mut host.sinks);
        }
    }

    /// Where the run is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { step: self.machine.steps(), seq: self.stream.seq() }
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        match end {
            End::PowerOff => Self::PowerOff,
            End::Failed(code) => Self::Failed { code },
            End::Reset => Self::Reset,
            End::Deadlock => Self::Deadlock,
            End::User => Self::User,
        }
    }
}

/// A hart's number as events have it.
pub(super) fn hart_id(hart: usize) -> VcpuId {
    VcpuId(u16::try_from(hart).unwrap_or(u16::MAX))
}
