//! The VM plane's view: [`Dv`] over the harts of one VM.

use std::fmt::Display;

use dv::{Denied, Dv, GuestFault, Virq, Window, Woken};
use hart::checks::on;
use hart::{Halt, Refused, Trap, Writer};
use isa::fields::{HU_VITR, HUSTATUS};
use isa::{Check, Csr, Interrupt, Mode};
use machine::{HartState, Ran};

use crate::config::{Config, CreateError, VmRequest};
use crate::driver::{Driver, Vm, VmId};

/// The process that owns a VM, with the driver below it.
///
/// What the hardware refuses comes to the driver as a trap, and it stops the VM.
#[derive(Debug)]
pub struct Hu {
    pub(crate) driver: Driver,
    id: VmId,
    /// Its place in the driver's table.
    pub(crate) slot: usize,
    /// What a debugger waits for ended the last wait.
    pub(crate) stopped_at: Option<(usize, Halt)>,
}

impl Hu {
    /// The view of a VM of this driver. (Drivers do not know each other: the right to a VM of
    /// another driver is taken for that to the VM with the same id.)
    #[must_use]
    pub fn new(mut driver: Driver, id: VmId) -> Self {
        let slot = id.slot();
        driver.turn_to(Some(slot));
        Self { driver, id, slot, stopped_at: None }
    }

    /// The view of a VM whose driver somebody else has: nothing is there, [`Dv::wait`] says
    /// [`Woken::StepLimit`] at once, and whatever else is tried is refused.
    pub(crate) fn without(id: VmId) -> Self {
        Self { driver: Driver::absent(), id, slot: 0, stopped_at: None }
    }

    /// Exchanges drivers with whoever has the one of this VM, which gets its harts.
    pub(crate) fn take_driver(&mut self, driver: &mut Driver) {
        std::mem::swap(&mut self.driver, driver);
        self.slot = self.id.slot();
        self.driver.turn_to(Some(self.slot));
    }

    /// So many steps from now on, and the VM stands still; with `None` as many as it may make.
    pub(crate) fn begin_shift(&mut self, steps: Option<u64>) {
        self.driver.set_shift(self.slot, steps);
    }

    /// Exchanges them back.
    pub(crate) fn give_driver(&mut self, driver: &mut Driver) {
        std::mem::swap(&mut self.driver, driver);
        self.slot = 0;
    }

    /// The VM is no more.
    pub(crate) fn take_id(&mut self) -> VmId {
        std::mem::replace(&mut self.id, VmId::NOBODY)
    }

    /// A driver with one VM, seen by its VM plane.
    ///
    /// # Errors
    /// [`CreateError`] says what cannot be had.
    pub fn start(config: Config, request: &VmRequest) -> Result<Self, CreateError> {
        let mut driver = Driver::new(config)?;
        let id = driver.vm_create(request)?;
        Ok(Self::new(driver, id))
    }

    /// The VM plane of another VM on the same machine takes over: its view, and the right to the
    /// VM that was seen so far. Traps that come meanwhile wait for their VM plane.
    pub fn switch(&mut self, other: VmId) -> VmId {
        self.slot = other.slot();
        self.driver.turn_to(Some(self.slot));
        self.stopped_at = None;
        std::mem::replace(&mut self.id, other)
    }

    /// The driver, and the right to the VM.
    #[must_use]
    pub fn into_parts(self) -> (Driver, VmId) {
        (self.driver, self.id)
    }

    /// The driver below.
    #[must_use]
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The driver below.
    pub fn driver_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// The VM's id.
    #[must_use]
    pub fn id(&self) -> &VmId {
        &self.id
    }

    /// Moves the step limit: more steps than this, of all vCPUs, the VM does not make.
    pub fn set_max_steps(&mut self, max_steps: u64) {
        if let Some(vm) = self.driver.vm_mut(self.slot) {
            vm.max_steps = max_steps;
            vm.limit = max_steps.min(vm.shift_end);
        }
    }

    /// The steps before the VM's own step limit, whoever has the harts next.
    #[must_use]
    pub fn steps_left(&self) -> u64 {
        self.vm().map_or(0, |vm| vm.max_steps).saturating_sub(self.steps())
    }

    /// What a debugger waits for, with its vCPU, for which the last [`Dv::wait`] came back with
    /// [`Woken::Debug`]: a breakpoint, a watchpoint, a watched write, a CSR that changed. Who takes
    /// it decides whether it comes again, or calls `Hart::pass_once`; if nobody does, the next wait
    /// goes on over it.
    pub fn stopped_at(&mut self) -> Option<(usize, Halt)> {
        self.stopped_at.take()
    }

    #[inline]
    fn vm(&self) -> Option<&Vm> {
        self.driver.vm(self.slot)
    }

    #[inline]
    fn hart_of(&self, vcpu: usize) -> Option<usize> {
        Some(self.vm()?.vcpus.get(vcpu)?.hart)
    }

    fn hart(&self, vcpu: usize) -> Option<&hart::Hart> {
        self.driver.machine.harts().get(self.hart_of(vcpu)?)
    }

    fn in_guest(&self, hart: usize) -> bool {
        self.driver.machine.harts()[hart].mode().is_virtual()
    }

    /// The driver stops the VM.
    #[cold]
    fn kill(&mut self, reason: impl FnOnce() -> String) -> Denied {
        if let Some(vm) = self.vm() {
            vm.kill(reason);
        }
        self.driver.halt(self.slot);
        Denied
    }

    /// An instruction of the VM plane trapped.
    #[cold]
    fn trapped(&mut self, vcpu: usize, what: impl Display, trap: Trap) -> Denied {
        self.kill(|| format!("the VM plane of vCPU {vcpu}: {what}: {}", trap.cause))
    }

    #[cold]
    fn no_vcpu(&mut self, vcpu: usize) -> Denied {
        if !on(Check::VcpuOfVm) {
            return Denied;
        }
        self.kill(|| format!("the VM plane: there is no vCPU {vcpu}"))
    }

    /// What a vCPU does from now on, or once it is in the guest again.
    fn set_state(&mut self, vcpu: usize, state: HartState) {
        let Some(hart) = self.hart_of(vcpu) else { return };
        if self.in_guest(hart) {
            self.apply(hart, state);
        } else if let Some(vm) = self.driver.vm_mut(self.slot) {
            vm.vcpus[vcpu].then = state;
        }
    }

    fn apply(&mut self, hart: usize, state: HartState) {
        let killed = self.reason().is_some() && on(Check::KilledStays);
        let machine = &mut self.driver.machine;
        match state {
            // A VM that was killed stays so.
            _ if killed => machine.stop(hart),
            HartState::Started => machine.start(hart),
            HartState::Parked => machine.park(hart),
            HartState::Stopped => machine.stop(hart),
        }
    }

    fn granted(&self, hpa: u64, len: usize) -> bool {
        let windows = self.vm().map_or(&[][..], |vm| &vm.windows);
        windows.iter().any(|window| {
            let offset = hpa.wrapping_sub(window.hpa);
            offset <= window.size && len as u64 <= window.size - offset
        })
    }

    fn write_as(&mut self, writer: Writer, hpa: u64, bytes: &[u8]) -> Result<(), Denied> {
        let granted = self.granted(hpa, bytes.len()) || !on(Check::WriteInWindow);
        if granted && self.driver.machine.write(writer, hpa, bytes).is_ok() {
            return Ok(());
        }
        Err(self.kill(|| outside(hpa, bytes.len())))
    }

    /// A write of `hu_vitr` by any thread of the VM plane.
    fn write_vitr(&mut self, vcpu: usize, interrupt: u64, level: bool) -> Result<(), Denied> {
        // Done on the hart of the target, where it is just a level; a vCPU that is not there is
        // for the hardware to refuse, on any hart of the VM.
        let poster = self.hart_of(vcpu).or_else(|| self.hart_of(0));
        let (Some(hart), Ok(number)) = (poster, u16::try_from(vcpu)) else {
            return Err(self.no_vcpu(vcpu));
        };
        let value = HU_VITR::LEVEL.with(HU_VITR::IRQ.set(u64::from(number), interrupt), level);
        let machine = &mut self.driver.machine;
        let (state, platform) = machine.hart_mut(hart);
        if let Err(trap) = state.hu_post(platform, value) {
            return Err(self.trapped(vcpu, format_args!("csrw hu_vitr, {value:#x}"), trap));
        }
        // A vCPU that does not name itself in `hu_vcpuid` gets it by way of the platform.
        machine.deliver_posts();
        if level && machine.state(hart) == HartState::Parked {
            machine.start(hart);
        }
        Ok(())
    }

    /// The steps before the VM stands still: at its step limit, or at the end of its shift.
    fn steps_here(&self) -> u64 {
        let limit = self.vm().map_or(0, |vm| vm.limit);
        limit.saturating_sub(self.steps())
    }

    /// What the machine's return means for this VM, if anything.
    fn woken(&mut self, ran: Ran) -> Option<Woken> {
        match ran {
            Ran::Woken { hart, halt: Halt::Trap(taken) } => {
                let (slot, vcpu) = self.driver.take_trap(hart, &taken)?;
                if slot == self.slot {
                    return Some(Woken::Trap(vcpu));
                }
                self.driver.vm_mut(slot)?.trapped.push(vcpu);
                None
            }
            Ran::Woken { hart, halt } => {
                let vcpus = self.vm().map_or(&[][..], |vm| &vm.vcpus);
                let vcpu = vcpus.iter().position(|vcpu| vcpu.hart == hart);
                // Who watches memory does so whoever writes there.
                let any = (halt == Halt::Written).then_some(0);
                let Some(vcpu) = vcpu.or(any) else {
                    // Another VM's, whose debugger is not here.
                    if halt.is_before() {
                        self.driver.machine.hart_mut(hart).0.pass_once();
                    }
                    return None;
                };
                self.stopped_at = Some((vcpu, halt));
                Some(Woken::Debug(vcpu))
            }
            Ran::SliceEnd => Some(Woken::Slice),
            Ran::Idle(until) => Some(Woken::Idle(until)),
            Ran::Alarm => {
                self.driver.vm_mut(self.slot)?.alarm_ns = None;
                Some(Woken::Alarm)
            }
            // Looked at again: the steps may have been another VM's.
            Ran::StepLimit => None,
        }
    }
}

fn outside(hpa: u64, len: usize) -> String {
    format!("the VM plane: {len} bytes at {hpa:#x} are outside of the VM's windows")
}

impl Dv for Hu {
    fn n_vcpus(&self) -> usize {
        self.vm().map_or(0, |vm| vm.vcpus.len())
    }

    fn windows(&self) -> &[Window] {
        self.vm().map_or(&[], |vm| &vm.windows)
    }

    fn now_ns(&self) -> u64 {
        self.driver.machine.now_ns()
    }

    fn steps(&self) -> u64 {
        (0..self.n_vcpus()).map(|vcpu| self.vcpu_steps(vcpu)).sum()
    }

    fn vcpu_steps(&self, vcpu: usize) -> u64 {
        let Some(entry) = self.vm().and_then(|vm| vm.vcpus.get(vcpu)) else { return 0 };
        self.driver.machine.harts()[entry.hart].steps() - entry.steps_before
    }

    fn set_alarm(&mut self, at_ns: Option<u64>) {
        if let Some(vm) = self.driver.vm_mut(self.slot) {
            vm.alarm_ns = at_ns;
        }
    }

    /// The clock is everybody's: it jumps only while nobody can run, to the next timer at most.
    fn advance(&mut self, to_ns: u64) {
        let machine = &mut self.driver.machine;
        let until = if on(Check::TimeOfAll) { machine.idle_until_ns() } else { Some(to_ns) };
        machine.advance(until.map_or(0, |until| until.min(to_ns)));
    }

    /// With `hustatus.SPV` clear the thread goes on in HU: the VM plane has the vCPU still.
    fn huret(&mut self, vcpu: usize) -> Result<(), Denied> {
        let Some(hart) = self.hart_of(vcpu) else { return Err(self.no_vcpu(vcpu)) };
        if self.reason().is_some() && on(Check::KilledStays) {
            return Err(Denied);
        }
        if let Err(trap) = self.driver.machine.hart_mut(hart).0.hu_ret() {
            return Err(self.trapped(vcpu, "huret", trap));
        }
        let Some(vm) = self.driver.vm_mut(self.slot) else { return Err(Denied) };
        vm.started = true;
        // A trap that was not waited for is over as well.
        vm.trapped.retain(|waits| *waits != vcpu);
        let then = vm.vcpus[vcpu].then;
        if self.in_guest(hart) {
            self.apply(hart, then);
        }
        Ok(())
    }

    fn park(&mut self, vcpu: usize) {
        self.set_state(vcpu, HartState::Parked);
    }

    fn unpark(&mut self, vcpu: usize) {
        self.set_state(vcpu, HartState::Started);
    }

    fn stop(&mut self, vcpu: usize) {
        let Some(hart) = self.hart_of(vcpu) else { return };
        self.driver.machine.stop(hart);
        if !self.driver.machine.hart_mut(hart).0.hu_leave() {
            self.kill(|| format!("vCPU {vcpu} did not leave its guest for HU"));
        }
        let Some(vm) = self.driver.vm_mut(self.slot) else { return };
        vm.vcpus[vcpu].then = HartState::Stopped;
        vm.trapped.retain(|waits| *waits != vcpu);
    }

    fn is_parked(&self, vcpu: usize) -> bool {
        let Some(entry) = self.vm().and_then(|vm| vm.vcpus.get(vcpu)) else { return false };
        let state = self.driver.machine.state(entry.hart);
        (if self.in_guest(entry.hart) { state } else { entry.then }) == HartState::Parked
    }

    fn wait(&mut self) -> Woken {
        let before = self.stopped_at.take().filter(|(_, halt)| halt.is_before());
        if let Some(hart) = before.and_then(|(vcpu, _)| self.hart_of(vcpu)) {
            self.driver.machine.hart_mut(hart).0.pass_once();
        }
        self.driver.halt_killed();
        let alarm_ns = self.vm().and_then(|vm| vm.alarm_ns);
        self.driver.machine.set_alarm(alarm_ns);
        loop {
            let Some(vm) = self.driver.vm_mut(self.slot) else { return Woken::Killed };
            if vm.killed.get().is_some() {
                return Woken::Killed;
            }
            if !vm.trapped.is_empty() {
                return Woken::Trap(vm.trapped.remove(0));
            }
            // Also without a step left: what belongs to the last one is not over with it.
            let left = self.steps_here();
            let machine = &mut self.driver.machine;
            let ran = machine.run(machine.steps().saturating_add(left));
            if ran == Ran::StepLimit && left == 0 {
                return Woken::StepLimit;
            }
            if let Some(woken) = self.woken(ran) {
                return woken;
            }
        }
    }

    fn reason(&self) -> Option<&str> {
        self.vm()?.killed.get().map(String::as_str)
    }

    fn csr(&mut self, vcpu: usize, csr: Csr) -> Result<u64, Denied> {
        let Some(hart) = self.hart_of(vcpu) else { return Err(self.no_vcpu(vcpu)) };
        let read = self.driver.machine.hart_mut(hart).0.hu_csr_read(csr);
        read.map_err(|trap| self.trapped(vcpu, format_args!("csrr {csr}"), trap))
    }

    fn set_csr(&mut self, vcpu: usize, csr: Csr, value: u64) -> Result<(), Denied> {
        let Some(hart) = self.hart_of(vcpu) else { return Err(self.no_vcpu(vcpu)) };
        if csr == Csr::HU_VCPUID && value != vcpu as u64 && on(Check::OwnVcpuid) {
            let one_hart = || format!("vCPU {value} is not the one of vCPU {vcpu}'s hart");
            return Err(self.kill(one_hart));
        }
        let (hart, platform) = self.driver.machine.hart_mut(hart);
        if let Err(trap) = hart.hu_csr_write(platform, csr, value) {
            return Err(self.trapped(vcpu, format_args!("csrw {csr}, {value:#x}"), trap));
        }
        self.driver.machine.deliver_posts();
        Ok(())
    }

    fn x(&self, vcpu: usize, reg: u8) -> u64 {
        self.hart(vcpu).map_or(0, |hart| hart.x(reg))
    }

    fn set_x(&mut self, vcpu: usize, reg: u8, value: u64) {
        if let Some(hart) = self.hart_of(vcpu) {
            self.driver.machine.hart_mut(hart).0.set_x(reg, value);
        }
    }

    fn f(&self, vcpu: usize, reg: u8) -> u64 {
        self.hart(vcpu).map_or(0, |hart| hart.f(reg))
    }

    fn set_f(&mut self, vcpu: usize, reg: u8, value: u64) {
        if let Some(hart) = self.hart_of(vcpu) {
            self.driver.machine.hart_mut(hart).0.set_f(reg, value);
        }
    }

    fn mode(&self, vcpu: usize) -> Mode {
        let Some(hart) = self.hart(vcpu) else { return Mode::Vs };
        let status = hart.csr(Csr::HUSTATUS).unwrap_or(0);
        match hart.mode() {
            mode @ (Mode::Vs | Mode::Vu) => mode,
            Mode::M | Mode::Hs | Mode::U | Mode::Hu if HUSTATUS::SPVP.is_set(status) => Mode::Vs,
            Mode::M | Mode::Hs | Mode::U | Mode::Hu => Mode::Vu,
        }
    }

    fn pc(&self, vcpu: usize) -> u64 {
        let Some(hart) = self.hart(vcpu) else { return 0 };
        if hart.mode().is_virtual() { hart.pc() } else { hart.csr(Csr::UEPC).unwrap_or(0) }
    }

    fn load(&mut self, vcpu: usize, gva: u64, buf: &mut [u8]) -> Result<(), GuestFault> {
        let Some(hart) = self.hart_of(vcpu) else {
            self.no_vcpu(vcpu);
            return Err(GuestFault);
        };
        let (hart, platform) = self.driver.machine.hart_mut(hart);
        let done = hart.hu_load(platform, gva, buf);
        done.map_err(|refused| self.refused(vcpu, "hlv", refused))
    }

    fn fetch(&mut self, vcpu: usize, gva: u64) -> Result<u16, GuestFault> {
        let Some(hart) = self.hart_of(vcpu) else {
            self.no_vcpu(vcpu);
            return Err(GuestFault);
        };
        let (hart, platform) = self.driver.machine.hart_mut(hart);
        let done = hart.hu_fetch(platform, gva);
        done.map_err(|refused| self.refused(vcpu, "hlvx", refused))
    }

    fn store(&mut self, vcpu: usize, gva: u64, bytes: &[u8]) -> Result<(), GuestFault> {
        let Some(index) = self.hart_of(vcpu) else {
            self.no_vcpu(vcpu);
            return Err(GuestFault);
        };
        // Where it goes is known in the hart only, so every reservation of the VM ends: an SC may
        // always fail.
        self.driver.end_reservations(self.slot);
        let (hart, platform) = self.driver.machine.hart_mut(index);
        let done = hart.hu_store(platform, gva, bytes);
        done.map_err(|refused| self.refused(vcpu, "hsv", refused))
    }

    fn hufence_gvma(&mut self, vcpu: usize) {
        self.hufence(vcpu, "hufence.gvma");
    }

    fn hufence_vvma(&mut self, vcpu: usize) {
        self.hufence(vcpu, "hufence.vvma");
    }

    fn post(&mut self, vcpu: usize, virq: Virq, level: bool) -> Result<(), Denied> {
        let interrupt = match virq {
            Virq::Software => Interrupt::VirtualSupervisorSoftware,
            Virq::Timer => Interrupt::VirtualSupervisorTimer,
            Virq::External => Interrupt::VirtualSupervisorExternal,
        };
        self.write_vitr(vcpu, interrupt.code(), level)
    }

    fn kick(&mut self, vcpu: usize) -> Result<(), Denied> {
        self.write_vitr(vcpu, Interrupt::UserSoftware.code(), true)
    }

    fn read(&self, hpa: u64, buf: &mut [u8]) -> Result<(), Denied> {
        let granted = self.granted(hpa, buf.len()) || !on(Check::ReadInWindow);
        if granted && self.driver.machine.read(hpa, buf).is_ok() {
            return Ok(());
        }
        // The vCPUs stop at the next wait of any VM plane.
        if let Some(vm) = self.vm() {
            vm.kill(|| outside(hpa, buf.len()));
        }
        Err(Denied)
    }

    fn write(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied> {
        self.write_as(Writer::VmPlane, hpa, bytes)
    }

    fn dma(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied> {
        self.write_as(Writer::Dma, hpa, bytes)
    }

    fn grow(&mut self, bytes: u64) -> Result<Window, Denied> {
        let window = self.driver.grow(self.slot, bytes);
        window.ok_or_else(|| self.kill(|| format!("no {bytes:#x} bytes of memory are left")))
    }

    fn driver_calls(&self) -> u64 {
        self.vm().map_or(0, |vm| vm.calls)
    }
}

impl Hu {
    fn hufence(&mut self, vcpu: usize, what: &str) {
        let Some(hart) = self.hart_of(vcpu) else {
            self.no_vcpu(vcpu);
            return;
        };
        // A vCPU in the guest fences when it is back in HU; its translations are never stale.
        if self.in_guest(hart) {
            return;
        }
        if let Err(trap) = self.driver.machine.hart_mut(hart).0.hu_fence() {
            self.trapped(vcpu, what, trap);
        }
    }

    #[cold]
    fn refused(&mut self, vcpu: usize, what: &str, refused: Refused) -> GuestFault {
        match refused {
            Refused::GuestFault => {}
            Refused::Trap(trap) => {
                self.trapped(vcpu, what, trap);
            }
        }
        GuestFault
    }
}
