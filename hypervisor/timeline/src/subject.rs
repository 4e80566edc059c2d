//! What a timeline is of: a delegated VM or a bare machine, as one interface.

use devices::virtio::block::{Overlay, Witness};
use driver::Hu;
use hart::Halt;
use machine::{BareMachine, Machine};
use session::{Inputs, Overview, Position, Server, Sink, Stop};
use state::{Codec, Damaged, State};

/// What surrounds a run.
pub struct Around<'a> {
    /// Where inputs come from.
    pub inputs: &'a mut dyn Inputs,
    /// Where events go.
    pub sinks: Vec<&'a mut dyn Sink>,
    /// A watcher that asks and commands.
    pub server: Option<&'a mut Server>,
    /// Host nanoseconds, for the time that handlers take.
    pub stopwatch: Option<&'a mut dyn FnMut() -> u64>,
}

impl<'a> Around<'a> {
    /// A run with these inputs that nobody watches.
    pub fn new(inputs: &'a mut dyn Inputs) -> Self {
        Self { inputs, sinks: Vec::new(), server: None, stopwatch: None }
    }
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around")
            .field("sinks", &self.sinks.len())
            .field("server", &self.server.is_some())
            .finish_non_exhaustive()
    }
}

/// Why [`Subject::run_until`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It has made that many steps; it can go on.
    StepLimit,
    /// A hart stands before a breakpoint or a watched access, or behind something else that was
    /// watched for.
    Debug {
        /// Which hart.
        hart: usize,
        /// What it was.
        halt: Halt,
    },
    /// A watcher asks for something that the run itself cannot answer; the server has it.
    Asked,
    /// The run is over.
    Stopped(Stop),
}

/// A VM or a bare machine that runs, and can be saved and restored.
///
/// Its whole state is [`State`] and the pages of its [memory](Machine::platform). Where it is cut
/// by a step limit is seen by nobody.
pub trait Subject: State + Send {
    /// Runs until it has made `step_limit` steps since it began, or something else is wanted.
    fn run_until(&mut self, around: &mut Around<'_>, step_limit: u64) -> Rest;

    /// The run ends here because it may make no more steps, and says so.
    fn end_at_limit(&mut self, around: &mut Around<'_>) -> Stop;

    /// Where it is.
    fn position(&self) -> Position;

    /// After the end: answers what a watcher still wants to know, until it goes or says quit, or
    /// something is left to the caller.
    fn linger(&mut self, server: &mut Server);

    /// The machine below.
    fn machine(&self) -> &Machine;

    /// The machine below, for checkpoints and debuggers.
    fn machine_mut(&mut self) -> &mut Machine;

    /// What was written to its disk, if it has one that keeps that.
    fn overlay(&mut self) -> Option<&mut dyn Overlay>;

    /// What is known of the image below its disk, if somebody watches that.
    fn witness(&mut self) -> Option<&mut dyn Witness>;

    /// What there is to see of it.
    fn overview(&self) -> Overview;

    /// Feeds the whole state to a hash.
    fn digest(&self, sink: &mut dyn FnMut(&[u8]));

    /// Where guest-physical memory lies in the machine: first guest-physical address, first
    /// physical address, bytes.
    fn guest_memory(&self) -> (u64, u64, u64);
}

/// A VM on modelled, delegated harts.
pub type Vm = vmm::Vm<Hu>;

/// Of a VM both planes: what is below it, then itself.
#[derive(Debug)]
pub struct Delegated(pub Vm);

impl State for Delegated {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.0.dv_mut().state(codec)?;
        self.0.state(codec)
    }
}

impl Subject for Delegated {
    fn run_until(&mut self, around: &mut Around<'_>, step_limit: u64) -> Rest {
        self.0.dv_mut().set_max_steps(step_limit);
        let mut host = host(around);
        loop {
            match self.0.run_on(&mut host) {
                vmm::Rest::StepLimit => return Rest::StepLimit,
                vmm::Rest::Stopped(stop) => return Rest::Stopped(stop),
                vmm::Rest::Asked => return Rest::Asked,
                vmm::Rest::Debug(_) => {}
            }
            if let Some((hart, halt)) = self.0.dv_mut().stopped_at() {
                return Rest::Debug { hart, halt };
            }
        }
    }

    fn end_at_limit(&mut self, around: &mut Around<'_>) -> Stop {
        let here = self.position().step;
        self.0.dv_mut().set_max_steps(here);
        self.0.run(&mut host(around))
    }

    fn linger(&mut self, server: &mut Server) {
        self.0.linger(server);
    }

    fn position(&self) -> Position {
        self.0.position()
    }

    fn machine(&self) -> &Machine {
        self.0.dv().driver().machine()
    }

    fn machine_mut(&mut self) -> &mut Machine {
        self.0.dv_mut().driver_mut().machine_mut()
    }

    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.0.overlay()
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.0.witness()
    }

    fn overview(&self) -> Overview {
        self.0.overview()
    }

    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.0.dv().driver().digest(sink);
        self.0.digest(sink);
    }

    fn guest_memory(&self) -> (u64, u64, u64) {
        let window = dv::Dv::windows(self.0.dv()).first().copied();
        let (hpa, size) = window.map_or((0, 0), |window| (window.hpa, window.size));
        (vmm::layout::RAM_BASE, hpa, size)
    }
}

fn host<'b>(around: &'b mut Around<'_>) -> vmm::Host<'b> {
    let mut host = vmm::Host::new(&mut *around.inputs);
    for sink in &mut around.sinks {
        host.sinks.push(&mut **sink);
    }
    host.server = around.server.as_deref_mut();
    if let Some(stopwatch) = &mut around.stopwatch {
        host.stopwatch = Some(&mut **stopwatch);
    }
    host
}

impl Subject for BareMachine {
    fn run_until(&mut self, around: &mut Around<'_>, step_limit: u64) -> Rest {
        match BareMachine::run_until(self, &mut bare_host(around), step_limit) {
            machine::Rest::StepLimit => Rest::StepLimit,
            machine::Rest::Debug { hart, halt } => Rest::Debug { hart, halt },
            machine::Rest::Asked => Rest::Asked,
            machine::Rest::Stopped(stop) => Rest::Stopped(stop),
        }
    }

    fn end_at_limit(&mut self, around: &mut Around<'_>) -> Stop {
        let here = self.position().step;
        self.run(&mut bare_host(around), Some(here))
    }

    fn linger(&mut self, server: &mut Server) {
        BareMachine::linger(self, server);
    }

    fn position(&self) -> Position {
        BareMachine::position(self)
    }

    fn machine(&self) -> &Machine {
        BareMachine::machine(self)
    }

    fn machine_mut(&mut self) -> &mut Machine {
        BareMachine::machine_mut(self)
    }

    fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        BareMachine::overlay(self)
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        BareMachine::witness(self)
    }

    fn overview(&self) -> Overview {
        BareMachine::overview(self)
    }

    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        BareMachine::digest(self, sink);
    }

    fn guest_memory(&self) -> (u64, u64, u64) {
        let memory = BareMachine::machine(self).platform().memory();
        (memory.base(), memory.base(), memory.size() as u64)
    }
}

fn bare_host<'b>(around: &'b mut Around<'_>) -> machine::Host<'b> {
    let mut host = machine::Host::new(&mut *around.inputs);
    for sink in &mut around.sinks {
        host.sinks.push(&mut **sink);
    }
    host.server = around.server.as_deref_mut();
    host
}
