//! The state of driver and VM planes' views as it is saved and restored.
//!
//! Free memory and the owners of harts follow from the table of VMs, so they are made anew, and a
//! table in which two VMs have the same page or hart is damaged.
//!
//! Not saved is how many steps a VM may make: that is the watcher's. A VM that is there keeps the
//! limit that it has now, whatever it was when the state was saved; one that is not there yet has
//! none, until [`Hu::set_max_steps`](crate::Hu::set_max_steps). What ends a shift is saved.

use std::sync::OnceLock;

use dv::Window;
use hart::Hart;
use isa::fields::VMID_BITS;
use machine::{HartState, PAGE};
use state::{Codec, Damaged, State};

use crate::config::VCPUS_MAX;
use crate::driver::{Driver, Shared, Vcpu, Vm, all_frames};
use crate::hs::WINDOWS_MAX;
use crate::hu::Hu;
use crate::switch::Saved;

const VMS_MAX: usize = 1 << VMID_BITS;
/// Bytes of a reason why a VM was stopped.
const REASON_MAX: usize = 64 << 10;

impl State for Driver {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        State::state(&mut self.machine, codec)?;
        codec.option(&mut self.on, |codec, slot| codec.index(slot, VMS_MAX))?;
        let limits = codec.is_loading().then(|| self.limits());
        let (machine, on) = (&self.machine, self.on);
        let mut slots = 0..;
        codec.list(&mut self.vms, VMS_MAX, |codec, place| {
            let has_harts = slots.next() == on;
            let mut there = place.is_some();
            codec.bool(&mut there)?;
            if !there {
                *place = None;
                return Ok(());
            }
            let vm = place.get_or_insert_with(Vm::vacant);
            vm.state(codec, machine, has_harts)
        })?;
        if let Some(limits) = limits {
            self.set_limits(limits);
            self.derive(codec)?;
        }
        Ok(())
    }
}

impl Driver {
    fn limits(&self) -> Vec<Option<u64>> {
        self.vms.iter().map(|vm| vm.as_ref().map(|vm| vm.max_steps)).collect()
    }

    /// VMs that were there keep what they may do.
    fn set_limits(&mut self, limits: Vec<Option<u64>>) {
        for (vm, max_steps) in self.vms.iter_mut().zip(limits) {
            if let (Some(vm), Some(max_steps)) = (vm, max_steps) {
                vm.max_steps = max_steps;
                vm.limit = max_steps.min(vm.shift_end);
            }
        }
    }

    /// Makes anew what follows from the table of VMs.
    fn derive(&mut self, codec: &Codec<'_>) -> Result<(), Damaged> {
        self.frames = all_frames(&self.config);
        self.owners.fill(None);
        for (slot, vm) in self.vms.iter().enumerate() {
            let Some(vm) = vm else { continue };
            // Its RAM and its pool, as every VM was created.
            let whole = vm.windows.len() >= 2 && vm.windows.iter().all(|window| window.size != 0);
            codec.check(whole && !vm.vcpus.is_empty(), "a VM lacks vCPUs or memory")?;
            for window in vm.windows.iter().chain([&vm.spare]) {
                let taken = window.size == 0 || self.frames.take_at(window.hpa, window.size);
                codec.check(taken, "two VMs have the same memory, or there is none")?;
            }
            if vm.shared.is_some() && self.on != Some(slot) {
                continue;
            }
            for (number, vcpu) in vm.vcpus.iter().enumerate() {
                let before = self.owners[vcpu.hart].replace((slot, number));
                codec.check(before.is_none(), "two vCPUs have the same hart")?;
            }
        }
        let on = self.on.map(|slot| self.vm(slot).is_some_and(|vm| vm.shared.is_some()));
        codec.check(on != Some(false), "a VM that is not there has the shared harts")
    }
}

impl Vm {
    fn state(
        &mut self,
        codec: &mut Codec<'_>,
        machine: &machine::Machine,
        has_harts: bool,
    ) -> Result<(), Damaged> {
        self.vcpus_state(codec, machine.harts())?;
        self.windows_state(codec)?;
        codec.option(&mut self.alarm_ns, |codec, at| codec.u64(at))?;
        codec.u64(&mut self.shift_end)?;
        self.shared_state(codec, machine, has_harts)?;
        let n = self.vcpus.len();
        codec.list(&mut self.trapped, n, |codec, vcpu| codec.index(vcpu, n))?;
        self.reason_state(codec)?;
        codec.bool(&mut self.started)?;
        codec.u64(&mut self.calls)?;
        if codec.is_loading() {
            self.limit = self.max_steps.min(self.shift_end);
        }
        Ok(())
    }

    fn vcpus_state(&mut self, codec: &mut Codec<'_>, harts: &[Hart]) -> Result<(), Damaged> {
        codec.list(&mut self.vcpus, VCPUS_MAX.min(harts.len()), |codec, vcpu| {
            codec.index(&mut vcpu.hart, harts.len())?;
            codec.u64(&mut vcpu.steps_before)?;
            let made = vcpu.steps_before <= harts[vcpu.hart].steps();
            codec.check(made, "a vCPU has made more steps than its hart")?;
            vcpu.then.state(codec)
        })?;
        let mut seen: Vec<usize> = self.vcpus.iter().map(|vcpu| vcpu.hart).collect();
        seen.sort_unstable();
        codec.check(seen.windows(2).all(|two| two[0] != two[1]), "two vCPUs have the same hart")
    }

    fn windows_state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let pair = |window: &Window| (window.hpa, window.size);
        let mut pairs: Vec<(u64, u64)> = self.windows.iter().map(pair).collect();
        codec.list(&mut pairs, WINDOWS_MAX, window_state)?;
        let mut spare = pair(&self.spare);
        window_state(codec, &mut spare)?;
        let window = |(hpa, size)| Window { hpa, size };
        self.windows = pairs.into_iter().map(window).collect();
        self.spare = window(spare);
        Ok(())
    }

    fn shared_state(
        &mut self,
        codec: &mut Codec<'_>,
        machine: &machine::Machine,
        has_harts: bool,
    ) -> Result<(), Damaged> {
        let mut shares = self.shared.is_some();
        codec.bool(&mut shares)?;
        if !shares {
            self.shared = None;
            return Ok(());
        }
        let shared = self.shared.get_or_insert_with(|| {
            Box::new(Shared { context: machine.context(1), saved: Vec::new() })
        });
        shared.context.state(codec)?;
        if codec.is_loading() {
            shared.saved = vec![Saved::default(); self.vcpus.len()];
        }
        // While it has its harts, everything is there.
        if has_harts {
            Ok(())
        } else {
            codec.each(&mut shared.saved, |codec, vcpu| vcpu.state(codec))
        }
    }

    fn reason_state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let mut reason = self.killed.get().map(|reason| reason.clone().into_bytes());
        codec.option(&mut reason, |codec, bytes| codec.bytes(bytes, REASON_MAX))?;
        if codec.is_loading() {
            self.killed = OnceLock::new();
            if let Some(bytes) = reason {
                let sentence = String::from_utf8(bytes);
                let sentence = sentence.or(Err(Damaged { what: "a reason is no text" }))?;
                self.kill(|| sentence);
            }
        }
        Ok(())
    }
}

fn window_state(codec: &mut Codec<'_>, (hpa, size): &mut (u64, u64)) -> Result<(), Damaged> {
    codec.u64(hpa)?;
    codec.u64(size)?;
    let whole = |value: u64| value.is_multiple_of(PAGE as u64);
    codec.check(whole(*hpa) && whole(*size), "a window is not whole pages")
}

impl State for Hu {
    /// The right to the VM is not part of it: what is loaded has to have a VM with the same id.
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.driver.state(codec)?;
        if codec.is_loading() {
            self.stopped_at = None;
        }
        let slot = self.slot;
        let vm = self.driver.vm(slot);
        let has_harts = |vm: &Vm| vm.shared.is_none() || self.driver.on == Some(slot);
        codec.check(vm.is_none_or(has_harts), "the VM has not its harts")?;
        codec.check(vm.is_some() || !codec.is_loading(), "the VM is not there")
    }
}

impl Default for Vcpu {
    fn default() -> Self {
        Self { hart: 0, steps_before: 0, then: HartState::Stopped }
    }
}
