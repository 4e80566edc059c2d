//! The two planes put together: a VM plane over a driver over a machine.

use anyhow::{Context, Result, bail};
use driver::{Config, Hu, RAM_MAX, VmRequest};
use session::{Overview, Stop};
use tracing::info;
use vmm::{Host, VmConfig};

use crate::args::Run;
use crate::play::{Around, Subject};
use crate::{blame, setup};

/// A VM on modelled, delegated harts.
pub(crate) type Vm = vmm::Vm<Hu>;

/// Asks the driver for a VM and puts it together. `origin` is where the payload is from.
pub(crate) fn assemble(options: &Run, origin: &str, config: VmConfig) -> Result<Vm> {
    let Run { world, boot, .. } = options;
    let request = VmRequest {
        vcpus: config.vcpus,
        max_steps: world.max_steps.unwrap_or(u64::MAX),
        ..VmRequest::new(config.memory)
    };
    let memory = config.memory;
    let fitting = Config::fitting(config.isa, &request);
    let below = Config { quantum: world.quantum, n_blocks: world.blocks, ..fitting };
    if below.ram_size > RAM_MAX {
        let fits =
            |gib: &u64| Config::fitting(config.isa, &VmRequest::new(gib << 30)).ram_size <= RAM_MAX;
        let most = (1..RAM_MAX >> 30).rev().find(fits).unwrap_or_default();
        bail!("--mem: {memory} bytes are too many: expected at most {most}G");
    }
    setup::can_allocate(memory, below.ram_size)?;
    info!(
        quantum = below.quantum,
        blocks = below.n_blocks,
        ram = format_args!("{:#x}", below.ram_size),
        max_steps = request.max_steps,
        "the machine below",
    );
    let hu = Hu::start(below, &request).context("asking the driver for a VM")?;
    let vm = Vm::new(hu, config).map_err(|error| blame::vm(error, origin, boot, memory))?;
    for (image, begin, end) in vm.images() {
        info!("{image} at {begin:#x} to {end:#x}");
    }
    Ok(vm)
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
