//! The driver: the machine, its memory and harts, and the table of VMs.

use std::sync::OnceLock;

use dv::Window;
use hart::checks::on;
use hart::{Report, Taken, Writer};
use isa::fields::VMID_BITS;
use isa::{Check, Mode};
use machine::{HartState, Machine};

use crate::config::{
    Config, CreateError, HOST_SIZE, PAGE, RAM_BASE, RAM_MAX, VmRequest, alignment,
};
use crate::frames::{Frames, align_up};
use crate::hs::{self, Setup, WINDOWS_MAX};

/// The right to one VM. There is one of each: it cannot be copied, and destroying the VM takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct VmId(u16);

impl VmId {
    /// The number that tags the VM's translations and posts, as in `h_vmid`.
    #[must_use]
    pub fn vmid(&self) -> u16 {
        self.0
    }

    /// Its place in the table; VM id 0 is nobody's.
    pub(crate) fn slot(&self) -> usize {
        usize::from(self.0) - 1
    }
}

/// A vCPU and the hart that it has to itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vcpu {
    pub(crate) hart: usize,
    /// Steps of the hart before.
    pub(crate) steps_before: u64,
    /// While the hart is in HU, and so does not run: what the next `huret` makes of it.
    pub(crate) then: HartState,
}

/// What the driver knows of a VM.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) windows: Vec<Window>,
    pub(crate) max_steps: u64,
    /// Bytes that it may still grow by.
    spare: u64,
    /// The machine has one alarm: that of the VM whose VM plane waits.
    pub(crate) alarm_ns: Option<u64>,
    /// vCPUs whose traps came while another VM's VM plane waited, first come first; each at most
    /// once, since it does not run any more.
    pub(crate) trapped: Vec<usize>,
    /// Why it was stopped. Can be set by whoever only looks.
    pub(crate) killed: OnceLock<String>,
    /// The first `huret` has been.
    pub(crate) started: bool,
    /// Driver calls since then.
    pub(crate) calls: u64,
}

impl Vm {
    pub(crate) fn kill(&self, reason: impl FnOnce() -> String) {
        self.killed.get_or_init(reason);
    }
}

/// The hypervisor plane. See the crate's documentation.
#[derive(Debug)]
pub struct Driver {
    // Fixed configuration.
    config: Config,
    // Runtime state.
    pub(crate) machine: Machine,
    frames: Frames,
    /// By VM id, from 1 on. A place is free again once nothing of its VM is cached any more.
    pub(crate) vms: Vec<Option<Vm>>,
    /// For each hart the slot of its VM and the vCPU.
    owners: Vec<Option<(usize, usize)>>,
}

impl Driver {
    /// A driver for such a machine; no VM yet.
    ///
    /// # Errors
    /// [`CreateError`] if there can be no such machine.
    pub fn new(config: Config) -> Result<Self, CreateError> {
        let size = config.ram_size;
        let whole = (HOST_SIZE..=RAM_MAX).contains(&size) && size.is_multiple_of(PAGE);
        let ram_size = usize::try_from(size).ok().filter(|_| whole);
        let ram_size = ram_size.ok_or(CreateError::Ram { size })?;
        if config.n_harts == 0 {
            return Err(CreateError::Harts { asked: 1, free: 0 });
        }
        let mut machine = Machine::new(&machine::Config {
            n_harts: config.n_harts,
            isa: config.isa,
            ram_base: RAM_BASE,
            ram_size,
            quantum: config.quantum,
            n_blocks: config.n_blocks,
        });
        (0..config.n_harts).for_each(|hart| machine.stop(hart));
        machine.set_report(Report::Hypervisor);
        Ok(Self {
            frames: Frames::new(RAM_BASE + HOST_SIZE..RAM_BASE + size),
            vms: Vec::new(),
            owners: vec![None; config.n_harts],
            config,
            machine,
        })
    }

    /// The machine, for a debugger or a monitor.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine, for a debugger. What is done to it is no guest's and no VM plane's doing.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The hart of a vCPU.
    #[must_use]
    pub fn hart_of(&self, vm: &VmId, vcpu: usize) -> Option<usize> {
        Some(self.vm(vm.slot())?.vcpus.get(vcpu)?.hart)
    }

    /// Bytes that no VM has.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.frames.bytes()
    }

    pub(crate) fn vm(&self, slot: usize) -> Option<&Vm> {
        self.vms.get(slot)?.as_ref()
    }

    pub(crate) fn vm_mut(&mut self, slot: usize) -> Option<&mut Vm> {
        self.vms.get_mut(slot)?.as_mut()
    }

    // Driver calls.

    /// Creates a VM: memory, all zero, an id, and harts in HU, whose vCPUs are stopped.
    ///
    /// # Errors
    /// [`CreateError`] says what cannot be had; nothing has changed then.
    pub fn vm_create(&mut self, request: &VmRequest) -> Result<VmId, CreateError> {
        request.check(self.config.isa)?;
        let harts = self.free_harts(request.vcpus)?;
        let id = self.free_id()?;
        let windows = self.take_windows(request)?;
        let vm = Vm {
            vcpus: harts.iter().map(|hart| self.vcpu(*hart)).collect(),
            windows,
            max_steps: request.max_steps,
            spare: request.spare,
            alarm_ns: None,
            trapped: Vec::with_capacity(harts.len()),
            killed: OnceLock::new(),
            started: false,
            calls: 0,
        };
        let set_up = self.set_up_harts(request, &id, &vm);
        self.vms[id.slot()] = Some(vm);
        match set_up {
            Ok(()) => Ok(id),
            Err(error) => {
                self.vm_destroy(id);
                Err(error)
            }
        }
    }

    /// Takes a VM away, whatever it is doing: its vCPUs stop, its windows close, what is cached of
    /// it is dropped, its memory is zeroed; only then are memory, harts and id anybody's again.
    pub fn vm_destroy(&mut self, id: VmId) {
        let slot = id.slot();
        let Some(vm) = self.vms.get_mut(slot).and_then(Option::take) else { return };
        for vcpu in vm.vcpus.iter().filter(|_| on(Check::EndStops)) {
            self.machine.stop(vcpu.hart);
        }
        if on(Check::EndForgets) {
            self.machine.platform_mut().forget_vm(id.vmid());
        }
        for vcpu in &vm.vcpus {
            if on(Check::EndResets) {
                self.machine.hart_mut(vcpu.hart).0.reset();
            }
            self.owners[vcpu.hart] = None;
        }
        for window in vm.windows {
            if on(Check::EndScrubs) {
                self.scrub(window);
            }
            self.frames.give_back(window.hpa, window.size);
        }
    }

    /// Another window for a VM: an emergency. `None` if there is no memory, if the VM did not
    /// announce that it might need so much, or if there is no room for the window in `pmpcfg`.
    pub(crate) fn grow(&mut self, slot: usize, bytes: u64) -> Option<Window> {
        let vm = self.vms.get_mut(slot)?.as_mut()?;
        vm.calls += u64::from(vm.started);
        if vm.windows.len() >= WINDOWS_MAX && on(Check::WindowCount) {
            return None;
        }
        let size = align_up(bytes.max(1), PAGE)?;
        if size > vm.spare && on(Check::SpareOnly) {
            return None;
        }
        let window = Window { hpa: self.frames.take(size, PAGE)?, size };
        vm.spare = vm.spare.saturating_sub(size);
        vm.windows.push(window);
        for vcpu in &vm.vcpus {
            let (hart, platform) = self.machine.hart_mut(vcpu.hart);
            hs::set_windows(hart, platform, &vm.windows);
        }
        Some(window)
    }

    fn free_harts(&self, n: usize) -> Result<Vec<usize>, CreateError> {
        let free = (0..self.owners.len()).filter(|hart| self.owners[*hart].is_none());
        let mut free: Vec<usize> = free.collect();
        if free.len() < n {
            return Err(CreateError::Harts { asked: n, free: free.len() });
        }
        free.truncate(n);
        Ok(free)
    }

    /// The lowest free id. Its place in the table is there afterwards.
    fn free_id(&mut self) -> Result<VmId, CreateError> {
        let slot = self.vms.iter().position(Option::is_none).unwrap_or(self.vms.len());
        let id = u16::try_from(slot + 1).ok().filter(|id| id >> VMID_BITS == 0);
        let id = id.ok_or(CreateError::Ids)?;
        if slot == self.vms.len() {
            self.vms.push(None);
        }
        Ok(VmId(id))
    }

    fn take_windows(&mut self, request: &VmRequest) -> Result<Vec<Window>, CreateError> {
        let mut windows: Vec<Window> = Vec::with_capacity(WINDOWS_MAX);
        for size in [request.guest_ram, request.pool] {
            match self.frames.take(size, alignment(size)) {
                Some(hpa) => windows.push(Window { hpa, size }),
                None => {
                    for window in windows {
                        self.frames.give_back(window.hpa, window.size);
                    }
                    return Err(CreateError::Memory { size });
                }
            }
        }
        Ok(windows)
    }

    fn vcpu(&self, hart: usize) -> Vcpu {
        let steps_before = self.machine.harts()[hart].steps();
        Vcpu { hart, steps_before, then: HartState::Stopped }
    }

    fn set_up_harts(&mut self, request: &VmRequest, id: &VmId, vm: &Vm) -> Result<(), CreateError> {
        let root = vm.windows.get(1).map_or(0, |window| window.hpa);
        for (vcpu, number) in vm.vcpus.iter().zip(0..) {
            self.owners[vcpu.hart] = Some((id.slot(), usize::from(number)));
            self.machine.platform_mut().register_vcpu(id.vmid(), number);
            let (hart, platform) = self.machine.hart_mut(vcpu.hart);
            let setup = Setup {
                request,
                vmid: id.vmid(),
                vcpu: u64::from(number),
                windows: &vm.windows,
                root,
            };
            hs::set_up(hart, platform, &setup)?;
            self.machine.stop(vcpu.hart);
            self.machine.place_vcpu(id.vmid(), number, Some(vcpu.hart));
        }
        Ok(())
    }

    /// Zeroes a window. A page that is zero already is left alone: it may never have been used.
    fn scrub(&mut self, window: Window) {
        let mut page = [0; machine::PAGE];
        for hpa in (window.hpa..window.hpa + window.size).step_by(machine::PAGE) {
            let read = self.machine.read(hpa, &mut page);
            if read.is_ok() && page.iter().any(|byte| *byte != 0) {
                page.fill(0);
                // It was readable, so it is RAM.
                let _ = self.machine.write(Writer::Loader, hpa, &page);
            }
        }
    }

    // Traps.

    /// A trap that the machine reports. Gives the slot of the VM and its vCPU if the trap is for
    /// the VM plane; otherwise it is for us, and the VM is stopped.
    pub(crate) fn take_trap(&mut self, hart: usize, taken: &Taken) -> Option<(usize, usize)> {
        self.machine.stop(hart);
        let (slot, vcpu) = (*self.owners.get(hart)?)?;
        let vm = self.vms.get_mut(slot)?.as_mut()?;
        if taken.to == Mode::Hu {
            vm.vcpus[vcpu].then = HartState::Started;
            return Some((slot, vcpu));
        }
        vm.kill(|| sentence(vcpu, taken));
        self.halt(slot);
        None
    }

    /// Stops what still runs of VMs that were killed by somebody who only looked.
    pub(crate) fn halt_killed(&mut self) {
        for slot in 0..self.vms.len() {
            let killed = self.vm(slot).is_some_and(|vm| vm.killed.get().is_some());
            if killed && on(Check::KilledStays) {
                self.halt(slot);
            }
        }
    }

    /// Stops all vCPUs of a VM.
    pub(crate) fn halt(&mut self, slot: usize) {
        let Some(vm) = self.vms.get(slot).and_then(Option::as_ref) else { return };
        for vcpu in &vm.vcpus {
            self.machine.stop(vcpu.hart);
        }
    }

    /// Feeds the machine and the driver's own tables to a hash.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.machine.digest(sink);
        let mut feed = |word: u64| sink(&word.to_le_bytes());
        for vm in self.vms.iter().flatten() {
            feed(vm.vcpus.len() as u64);
            for vcpu in &vm.vcpus {
                feed(vcpu.hart as u64);
                feed(vcpu.steps_before);
                feed(vcpu.then as u64);
            }
            feed(vm.windows.len() as u64);
            for window in &vm.windows {
                feed(window.hpa);
                feed(window.size);
            }
            vm.trapped.iter().for_each(|vcpu| feed(*vcpu as u64));
            feed(vm.spare);
            feed(vm.alarm_ns.unwrap_or(u64::MAX));
            feed(u64::from(vm.killed.get().is_some()));
            feed(u64::from(vm.started));
            feed(vm.calls);
        }
    }
}

/// Why a trap that HS gets ends a VM.
fn sentence(vcpu: usize, taken: &Taken) -> String {
    use isa::{Cause, Exception};
    let Taken { from, pc, trap, .. } = taken;
    let what = match trap.cause {
        Cause::Exception(
            Exception::InstructionAccessFault
            | Exception::LoadAccessFault
            | Exception::StoreAccessFault,
        ) if from.is_virtual() => format!(" at {:#x}: outside of the VM's windows", trap.tval),
        Cause::Exception(Exception::DvFault) => {
            format!(", value {:#x}: no such vCPU or interrupt of this VM", trap.tval)
        }
        Cause::Exception(exception) if exception.is_guest_page_fault() => {
            format!(" at {:#x}, guest-physical {:#x}: not delegated", trap.tval, trap.gpa)
        }
        Cause::Exception(_) => format!(", tval {:#x}: not delegated", trap.tval),
        Cause::Interrupt(_) => ": not delegated".to_owned(),
    };
    format!("vCPU {vcpu} in {from} at pc {pc:#x}: {}{what}", trap.cause)
}
