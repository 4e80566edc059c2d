//! The driver: the machine, its memory and harts, and the table of VMs.

use std::sync::OnceLock;

use dv::Window;
use hart::checks::on;
use hart::{Report, Taken, Writer};
use isa::fields::VMID_BITS;
use isa::{Check, Csr, Mode};
use machine::{Context, HartState, Machine};

use crate::config::{
    Config, CreateError, HOST_SIZE, Harts, PAGE, RAM_BASE, RAM_MAX, VmRequest, alignment,
};
use crate::frames::{Frames, align_up};
use crate::hs::{self, Setup, WINDOWS_MAX};
use crate::switch::{self, SWITCHED, Saved};

/// The id of the VM in a place of the table; the table has no more places than there are ids.
fn vmid_of(slot: usize) -> u16 {
    u16::try_from(slot + 1).unwrap_or(VmId::NOBODY.0)
}

const NO_MEMORY: Window = Window { hpa: 0, size: 0 };

/// The right to one VM. There is one of each: it cannot be copied, and destroying the VM takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct VmId(u16);

impl VmId {
    /// No VM has it.
    pub(crate) const NOBODY: Self = Self(u16::MAX);

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

/// A vCPU and its hart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vcpu {
    pub(crate) hart: usize,
    /// Steps of the hart that were not this vCPU's; while it is off its hart, its own.
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
    /// What it may still grow by: memory that is kept for it, all zero.
    pub(crate) spare: Window,
    /// The machine has one alarm: that of the VM whose VM plane waits.
    pub(crate) alarm_ns: Option<u64>,
    /// The step at which its shift ends, if it takes turns.
    pub(crate) shift_end: u64,
    /// The step at which it stands still: whichever comes first.
    pub(crate) limit: u64,
    /// If its harts are not its own.
    pub(crate) shared: Option<Box<Shared>>,
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

/// What a VM with shared harts has besides.
#[derive(Debug)]
pub(crate) struct Shared {
    /// While it has its harts: that of the VMs with harts of their own. Otherwise: its own.
    pub(crate) context: Context,
    /// Its vCPUs, while it does not have its harts.
    pub(crate) saved: Vec<Saved>,
}

impl Vm {
    /// A VM without anything, and without a step limit.
    pub(crate) fn vacant() -> Self {
        Self {
            vcpus: Vec::new(),
            windows: Vec::new(),
            max_steps: u64::MAX,
            shift_end: u64::MAX,
            spare: NO_MEMORY,
            alarm_ns: None,
            limit: u64::MAX,
            shared: None,
            trapped: Vec::new(),
            killed: OnceLock::new(),
            started: false,
            calls: 0,
        }
    }

    pub(crate) fn kill(&self, reason: impl FnOnce() -> String) {
        self.killed.get_or_init(reason);
    }
}

/// The hypervisor plane. See the crate's documentation.
#[derive(Debug)]
pub struct Driver {
    // Fixed configuration.
    pub(crate) config: Config,
    // Runtime state.
    pub(crate) machine: Machine,
    pub(crate) frames: Frames,
    /// By VM id, from 1 on. A place is free again once nothing of its VM is cached any more.
    pub(crate) vms: Vec<Option<Vm>>,
    /// For each hart the slot of its VM and the vCPU.
    pub(crate) owners: Vec<Option<(usize, usize)>>,
    /// The slot of the VM that has the shared harts, and whose context is the machine's.
    pub(crate) on: Option<usize>,
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
            frames: all_frames(&config),
            vms: Vec::new(),
            owners: vec![None; config.n_harts],
            on: None,
            config,
            machine,
        })
    }

    /// What stands in the place of a driver that somebody else has: a machine of one stopped hart,
    /// and in slot 0 a VM without vCPUs and windows that may make no step.
    pub(crate) fn absent() -> Self {
        let defaults = machine::Config::new(machine::PAGE);
        let mut machine = Machine::new(&machine::Config { n_blocks: 1, ..defaults });
        machine.stop(0);
        let config = Config {
            isa: defaults.isa,
            n_harts: 1,
            ram_size: PAGE,
            quantum: defaults.quantum,
            n_blocks: 1,
        };
        let vm = Vm { max_steps: 0, limit: 0, ..Vm::vacant() };
        let owners = vec![None];
        Self { config, machine, frames: Frames::new(0..0), vms: vec![Some(vm)], owners, on: None }
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

    /// The hart of a vCPU, if it is on one.
    #[must_use]
    pub fn hart_of(&self, vm: &VmId, vcpu: usize) -> Option<usize> {
        let slot = vm.slot();
        let vm = self.vm(slot).filter(|vm| vm.shared.is_none() || self.on == Some(slot))?;
        Some(vm.vcpus.get(vcpu)?.hart)
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
        let was_on = self.on;
        self.turn_to(None);
        let created = self.create(request);
        self.turn_to(was_on);
        created
    }

    fn create(&mut self, request: &VmRequest) -> Result<VmId, CreateError> {
        request.check(self.config.isa)?;
        let shares = request.harts != Harts::Own;
        let harts = self.free_harts(request.vcpus, shares)?;
        let id = self.free_id()?;
        let (windows, spare) = self.take_memory(request)?;
        let shared = match request.harts {
            Harts::Own => None,
            Harts::Shared { quantum } => {
                let saved = vec![Saved::default(); harts.len()];
                Some(Box::new(Shared { context: self.machine.context(quantum), saved }))
            }
        };
        let vm = Vm {
            vcpus: harts.iter().map(|hart| self.vcpu(*hart)).collect(),
            windows,
            max_steps: request.max_steps,
            spare,
            alarm_ns: None,
            shift_end: u64::MAX,
            limit: request.max_steps,
            shared,
            trapped: Vec::with_capacity(harts.len()),
            killed: OnceLock::new(),
            started: false,
            calls: 0,
        };
        let slot = id.slot();
        let vm = self.vms[slot].insert(vm);
        if let Some(shared) = &mut vm.shared {
            self.machine.swap_context(&mut shared.context);
            self.on = Some(slot);
        }
        match self.set_up_harts(request, &id) {
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
        let (slot, was_on) = (id.slot(), self.on);
        if self.vm(slot).is_none() {
            return;
        }
        self.turn_to(Some(slot));
        let Some(vm) = self.vms.get_mut(slot).and_then(Option::take) else { return };
        for vcpu in vm.vcpus.iter().filter(|_| on(Check::EndStops)) {
            self.machine.stop(vcpu.hart);
        }
        if on(Check::EndForgets) {
            self.machine.platform_mut().forget_vm(id.vmid());
        }
        for vcpu in &vm.vcpus {
            if on(Check::EndResets) {
                let (hart, platform) = self.machine.hart_mut(vcpu.hart);
                hs::clear(hart, platform);
            }
            self.owners[vcpu.hart] = None;
        }
        if let Some(mut shared) = vm.shared {
            self.machine.swap_context(&mut shared.context);
            self.on = None;
        }
        for window in vm.windows {
            if on(Check::EndScrubs) {
                self.scrub(window);
            }
            self.frames.give_back(window.hpa, window.size);
        }
        self.frames.give_back(vm.spare.hpa, vm.spare.size);
        self.turn_to(was_on);
    }

    // Who has the shared harts.

    /// From now on this VM has them; with a VM that has harts of its own, or none, nobody has.
    pub(crate) fn turn_to(&mut self, slot: Option<usize>) {
        let shares = |slot: &usize| self.vm(*slot).is_some_and(|vm| vm.shared.is_some());
        let next = slot.filter(shares);
        if self.on != next {
            self.take_off();
            if let Some(slot) = next {
                self.put_on(slot);
            }
        }
    }

    /// Takes the VM that has the shared harts off them.
    fn take_off(&mut self) {
        let Some(slot) = self.on.take() else { return };
        let Some(vm) = self.vms.get_mut(slot).and_then(Option::as_mut) else { return };
        let Vm { vcpus, shared: Some(shared), killed, .. } = vm else { return };
        for ((vcpu, saved), number) in vcpus.iter_mut().zip(&mut shared.saved).zip(0..) {
            self.machine.place_vcpu(vmid_of(slot), number, None);
            self.owners[vcpu.hart] = None;
            let (hart, platform) = self.machine.hart_mut(vcpu.hart);
            match switch::save(hart, platform, &SWITCHED) {
                Ok(now) => *saved = now,
                Err(csr) => drop(killed.set(refused(usize::from(number), csr))),
            }
            vcpu.steps_before = hart.steps() - vcpu.steps_before;
        }
        self.machine.swap_context(&mut shared.context);
    }

    /// Puts a VM on the shared harts, which nobody has.
    fn put_on(&mut self, slot: usize) {
        let Some(vm) = self.vms.get_mut(slot).and_then(Option::as_mut) else { return };
        let Vm { vcpus, windows, shared: Some(shared), killed, .. } = vm else { return };
        self.machine.swap_context(&mut shared.context);
        self.on = Some(slot);
        for ((vcpu, saved), number) in vcpus.iter_mut().zip(&shared.saved).zip(0..) {
            let (hart, platform) = self.machine.hart_mut(vcpu.hart);
            if let Err(csr) = switch::restore(hart, platform, &SWITCHED, saved, windows) {
                drop(killed.set(refused(usize::from(number), csr)));
            }
            vcpu.steps_before = hart.steps() - vcpu.steps_before;
            self.owners[vcpu.hart] = Some((slot, usize::from(number)));
            self.machine.place_vcpu(vmid_of(slot), number, Some(vcpu.hart));
        }
        if killed.get().is_some() {
            self.halt(slot);
        }
    }

    /// So many steps more, and the VM stands still; with `None` as many as it may make.
    pub(crate) fn set_shift(&mut self, slot: usize, steps: Option<u64>) {
        let made = self.steps_of(slot);
        if let Some(vm) = self.vm_mut(slot) {
            vm.shift_end = steps.map_or(u64::MAX, |steps| made.saturating_add(steps));
            vm.limit = vm.max_steps.min(vm.shift_end);
        }
    }

    /// Steps of a VM that is on its harts.
    pub(crate) fn steps_of(&self, slot: usize) -> u64 {
        let vcpus = self.vm(slot).map_or(&[][..], |vm| &vm.vcpus);
        vcpus.iter().map(|vcpu| self.machine.harts()[vcpu.hart].steps() - vcpu.steps_before).sum()
    }

    /// Another window for a VM: an emergency. `None` if the VM did not announce that it might need
    /// so much, or if there is no room for the window in `pmpcfg`.
    pub(crate) fn grow(&mut self, slot: usize, bytes: u64) -> Option<Window> {
        let vm = self.vms.get_mut(slot)?.as_mut()?;
        vm.calls += u64::from(vm.started);
        if vm.windows.len() >= WINDOWS_MAX && on(Check::WindowCount) {
            return None;
        }
        let size = align_up(bytes.max(1), PAGE)?;
        let window = if size <= vm.spare.size {
            let hpa = vm.spare.hpa;
            vm.spare = Window { hpa: hpa + size, size: vm.spare.size - size };
            Window { hpa, size }
        } else if on(Check::SpareOnly) {
            return None;
        } else {
            Window { hpa: self.frames.take(size, PAGE)?, size }
        };
        vm.windows.push(window);
        let on_harts = vm.shared.is_none() || self.on == Some(slot);
        for vcpu in vm.vcpus.iter().filter(|_| on_harts) {
            let (hart, platform) = self.machine.hart_mut(vcpu.hart);
            hs::set_windows(hart, platform, &vm.windows);
        }
        Some(window)
    }

    /// Harts that nobody has to itself; such as nobody has at all, if they are not to be shared.
    fn free_harts(&self, n: usize, shared: bool) -> Result<Vec<usize>, CreateError> {
        let sharing = self.vms.iter().flatten().filter(|vm| vm.shared.is_some());
        let in_use: Vec<usize> = sharing.flat_map(|vm| &vm.vcpus).map(|vcpu| vcpu.hart).collect();
        let free = (0..self.owners.len()).filter(|hart| self.owners[*hart].is_none());
        let mut free: Vec<usize> = free.filter(|hart| shared || !in_use.contains(hart)).collect();
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

    /// The windows of a new VM, and what is kept for its emergencies.
    fn take_memory(&mut self, request: &VmRequest) -> Result<(Vec<Window>, Window), CreateError> {
        let wanted = [
            (request.guest_ram, alignment(request.guest_ram)),
            (request.pool, alignment(request.pool)),
            // Windows are whole pages.
            (request.spare & !(PAGE - 1), PAGE),
        ];
        let mut taken: Vec<Window> = Vec::with_capacity(WINDOWS_MAX);
        for (size, align) in wanted {
            let hpa = if size == 0 { Some(0) } else { self.frames.take(size, align) };
            let Some(hpa) = hpa else {
                taken.iter().for_each(|window| self.frames.give_back(window.hpa, window.size));
                return Err(CreateError::Memory { size });
            };
            taken.push(Window { hpa, size });
        }
        let spare = taken.pop().unwrap_or(NO_MEMORY);
        Ok((taken, spare))
    }

    fn vcpu(&self, hart: usize) -> Vcpu {
        let steps_before = self.machine.harts()[hart].steps();
        Vcpu { hart, steps_before, then: HartState::Stopped }
    }

    fn set_up_harts(&mut self, request: &VmRequest, id: &VmId) -> Result<(), CreateError> {
        let Some(vm) = self.vms.get(id.slot()).and_then(Option::as_ref) else { return Ok(()) };
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
            if read.is_ok() && page != [0; machine::PAGE] {
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

    /// Stops all vCPUs of a VM that is on its harts.
    pub(crate) fn halt(&mut self, slot: usize) {
        let Some(vm) = self.vms.get(slot).and_then(Option::as_ref) else { return };
        if vm.shared.is_some() && self.on != Some(slot) {
            return;
        }
        for vcpu in &vm.vcpus {
            self.machine.stop(vcpu.hart);
        }
    }

    /// Somebody wrote to a VM's memory, and nobody knows where.
    pub(crate) fn end_reservations(&mut self, slot: usize) {
        let Some(vm) = self.vms.get(slot).and_then(Option::as_ref) else { return };
        for vcpu in &vm.vcpus {
            self.machine.hart_mut(vcpu.hart).0.end_turn();
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
            feed(vm.spare.size);
            feed(vm.alarm_ns.unwrap_or(u64::MAX));
            feed(u64::from(vm.killed.get().is_some()));
            feed(u64::from(vm.started));
            feed(vm.calls);
            if let Some(shared) = &vm.shared {
                feed(vm.limit);
                shared.saved.iter().for_each(|saved| saved.for_each_word(&mut feed));
            }
        }
        for vm in self.vms.iter().flatten() {
            vm.shared.iter().for_each(|shared| shared.context.digest(sink));
        }
        self.on.iter().for_each(|slot| sink(&slot.to_le_bytes()));
    }
}

/// What there is for VMs: all of RAM but the host's.
pub(crate) fn all_frames(config: &Config) -> Frames {
    Frames::new(RAM_BASE + HOST_SIZE..RAM_BASE + config.ram_size)
}

fn refused(vcpu: usize, csr: Csr) -> String {
    format!("the hart of vCPU {vcpu} refused {csr} to the driver")
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
