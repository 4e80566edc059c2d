//! The two planes put together: a VM plane over a driver over a machine.

use anyhow::{Context, Result};
use driver::{Config, Hu, VmRequest};
use session::{Overview, Stop};
use vmm::{Host, VmConfig};

use crate::args::World;
use crate::play::{Around, Subject};

/// A VM on modelled, delegated harts.
pub(crate) type Vm = vmm::Vm<Hu>;

/// Asks the driver for a VM and puts it together.
pub(crate) fn assemble(world: &World, config: VmConfig) -> Result<Vm> {
    let request = VmRequest {
        vcpus: config.vcpus,
        max_steps: world.max_steps.unwrap_or(u64::MAX),
        ..VmRequest::new(config.memory)
    };
    let fitting = Config::fitting(config.isa, &request);
    let below = Config { quantum: world.quantum, n_blocks: world.blocks, ..fitting };
    let hu = Hu::start(below, &request).context("asking the driver for a VM")?;
    Ok(Vm::new(hu, config)?)
}

impl Subject for Vm {
    fn run(&mut self, around: Around<'_>) -> Stop {
        let Around { inputs, sinks, server, stopwatch } = around;
        let mut host = Host::new(inputs);
        host.sinks = sinks;
        host.server = server;
        host.stopwatch = Some(stopwatch);
        Vm::run(self, &mut host)
    }

    fn overview(&self) -> Overview {
        Vm::overview(self)
    }

    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.dv().driver().digest(sink);
        Vm::digest(self, sink);
    }
}
