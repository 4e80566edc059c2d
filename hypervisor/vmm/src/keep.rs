//! The state of the VM plane as it is saved and restored.

use devices::virtio::block::{Overlay, Witness};
use dv::Dv;
use state::{Codec, Damaged, State};

use crate::layout::RAM_BASE;
use crate::sbi::hsm::Hsm;
use crate::vcpu::Vcpu;
use crate::vm::Vm;

impl State for Vcpu {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.choice(&mut self.hsm, &[Hsm::Started, Hsm::Stopped])?;
        codec.bool(&mut self.suspended)?;
        self.stats.state(codec)?;
        codec.count(&mut self.steps_before)
    }
}

/// The VM plane's own part: devices, vCPUs, the bookkeeping of stage 2, and where the stream is.
///
/// Harts, clock and all memory are below, in what implements [`Dv`], and what the guest wrote to
/// its disk is in the [overlay](Vm::overlay). Both are loaded before. A VM of the same
/// configuration goes on from there as the one that was saved, wherever it was itself.
///
/// Watchers keep what is theirs: sampled times, pauses, and what the [stream](session::Stream)
/// holds of the past.
impl<D: Dv> State for Vm<D> {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let mut n_vcpus = self.vcpus.len();
        codec.usize(&mut n_vcpus)?;
        codec.check(n_vcpus == self.vcpus.len(), "it is of a VM with another number of vCPUs")?;
        let ram = self.dv.windows().first().map(|window| window.hpa);
        codec.check(ram == Some(self.ram.hpa_of(RAM_BASE)), "RAM is another window")?;
        codec.each(&mut self.vcpus, |codec, vcpu| vcpu.state(codec))?;
        self.ram.state(codec)?;
        self.gstage.state(codec, &self.dv)?;
        self.bus.state(codec)?;
        self.stream.state(codec)?;
        self.run.state(codec)?;
        codec.bool(&mut self.booted)?;
        codec.count(&mut self.n_resets)?;
        // What waits for the event of an exit never waits longer than that exit.
        self.news.clear();
        Ok(())
    }
}

impl<D> Vm<D> {
    /// What the guest wrote to its disk, page by page; `None` if it cannot write, or what it
    /// writes is not kept apart from the rest.
    pub fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.bus.overlay()
    }

    /// What is known of the image below its disk, if somebody watches it.
    pub fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.bus.witness()
    }
}
