//! The debug module: breakpoints, watchpoints, and any state of a hart for reading and writing.
//!
//! What is watched changes no step of the guest: a breakpoint cuts blocks, a watchpoint keeps its
//! pages out of the cached translations.

use isa::{Csr, Mode};

use crate::bus::Bus;
use crate::follow::Follow;
use crate::hart::{Hart, Report, Trap};
use crate::tlb::PAGE_MASK;
use crate::walk::{Access, Rights};

/// Guest-virtual bytes that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// First address.
    pub start: u64,
    /// Bytes, at least one.
    pub len: u64,
    /// Loads stop.
    pub load: bool,
    /// Stores stop.
    pub store: bool,
}

/// A watched access that is about to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hit {
    /// First byte of the access.
    pub address: u64,
    /// It is a store.
    pub store: bool,
}

/// What a debugger has asked of a hart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    /// Sorted.
    breakpoints: Vec<u64>,
    watches: Vec<Watch>,
    hit: Hit,
    /// The step at which nothing stops, since the hart stopped there already.
    pass: Option<u64>,
    pub(crate) follow: Option<Box<Follow>>,
}

impl Probe {
    #[inline(always)]
    pub(crate) fn stops_at(&self, pc: u64, step: u64) -> bool {
        !self.breakpoints.is_empty()
            && self.pass != Some(step)
            && self.breakpoints.binary_search(&pc).is_ok()
    }

    /// The last step was made at this pc, and may have changed a CSR.
    #[inline(always)]
    pub(crate) fn stepped_at(&mut self, pc: u64) {
        if let Some(follow) = &mut self.follow {
            follow.stepped_at(pc);
        }
    }

    /// Whether a CSR is followed.
    pub(crate) fn follows(&self) -> bool {
        self.follow.is_some()
    }

    /// The hart stands somewhere else than where it stopped.
    pub(crate) fn moved(&mut self) {
        self.pass = None;
    }

    pub(crate) fn hit(&self) -> Hit {
        self.hit
    }

    /// Whether something in the page of `va` is watched for this kind of access.
    pub(crate) fn watches_page(&self, va: u64, store: bool) -> bool {
        let page = va & PAGE_MASK;
        self.watches.iter().any(|watch| {
            let last = watch.start.saturating_add(watch.len.max(1) - 1);
            (if store { watch.store } else { watch.load })
                && watch.start <= (page | 0xfff)
                && last >= page
        })
    }

    /// Whether this access has to stop the hart.
    pub(crate) fn watches(&mut self, step: u64, va: u64, len: u64, store: bool) -> bool {
        if self.watches.is_empty() {
            return false;
        }
        let last = va.saturating_add(len - 1);
        let found = self.watches.iter().any(|watch| {
            let end = watch.start.saturating_add(watch.len.max(1) - 1);
            (if store { watch.store } else { watch.load }) && watch.start <= last && va <= end
        });
        if found && self.pass != Some(step) {
            self.hit = Hit { address: va, store };
            return true;
        }
        false
    }
}

impl Hart {
    /// Replaces the breakpoints. The caller also tells the engine where to cut blocks.
    pub fn set_breakpoints(&mut self, mut addresses: Vec<u64>) {
        addresses.sort_unstable();
        self.probe.breakpoints = addresses;
    }

    /// Replaces the watchpoints.
    pub fn set_watches(&mut self, watches: Vec<Watch>) {
        self.probe.watches = watches;
        self.tlb.flush();
    }

    /// The next instruction may happen although it has a breakpoint or touches watched memory.
    pub fn pass_once(&mut self) {
        self.probe.pass = Some(self.steps);
    }

    /// Of which traps [`Hart::run`] returns.
    pub fn set_report(&mut self, report: Report) {
        self.report = report;
    }

    /// An integer register.
    #[must_use]
    pub fn x(&self, reg: u8) -> u64 {
        self.x[usize::from(reg & 31)]
    }

    /// Sets an integer register; `x0` stays zero.
    pub fn set_x(&mut self, reg: u8, value: u64) {
        if reg & 31 != 0 {
            self.x[usize::from(reg & 31)] = value;
        }
    }

    /// A floating-point register, NaN-boxed.
    #[must_use]
    pub fn f(&self, reg: u8) -> u64 {
        self.f[usize::from(reg & 31)]
    }

    /// Sets a floating-point register.
    pub fn set_f(&mut self, reg: u8, value: u64) {
        self.f[usize::from(reg & 31)] = value;
    }

    /// The address of the next instruction.
    #[must_use]
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Sets the address of the next instruction; bit 0 of it is zero on every hart.
    pub fn set_pc(&mut self, pc: u64) {
        self.pc = pc & !1;
    }

    /// Sets the privilege mode. HU is U with `hstatus.HU` set, which is not changed here.
    pub fn set_mode(&mut self, mode: Mode) {
        self.prv = mode.level();
        self.virt = mode.is_virtual();
        self.moved = true;
    }

    /// Any CSR that exists, whatever the mode; nothing changes by reading.
    #[must_use]
    pub fn csr(&self, csr: Csr) -> Option<u64> {
        csr.row()?;
        Some(self.read_csr(csr))
    }

    /// Writes any CSR as M-mode would.
    pub fn set_csr<B: Bus>(&mut self, bus: &mut B, csr: Csr, value: u64) {
        let (prv, virt) = (self.prv, self.virt);
        (self.prv, self.virt) = (3, false);
        // M-mode's writes cannot fault but by naming a vCPU that is not there: nothing is written.
        let _ = self.write_csr(bus, csr, value);
        (self.prv, self.virt) = (prv, virt);
        self.moved = true;
    }

    /// The physical address for `va` as the hart would access it now, without side effects on
    /// memory: where A or D would be set, the walk is judged as if it were.
    ///
    /// # Errors
    /// The trap that the access would take.
    pub fn probe_translate<B: Bus>(&self, bus: &B, va: u64, access: Access) -> Result<u64, Trap> {
        let rights = if access == Access::Fetch { self.fetch_rights() } else { self.data_rights() };
        self.peek_translate(bus, va, access, rights)
    }

    /// The physical address of what the hart's program has at `va`, whoever may read it: also of a
    /// user's page while the kernel runs, and the other way round, and of a guest that HU has
    /// taken off, as if it ran.
    ///
    /// # Errors
    /// The trap that says why there is none.
    pub fn probe_place<B: Bus>(&self, bus: &B, va: u64) -> Result<u64, Trap> {
        let mut rights =
            if self.mode() == Mode::Hu { self.guest_rights(false) } else { self.rights };
        if rights.prv < 3 {
            rights = Rights { prv: 1, sum: true, mxr: true, vmxr: true, ..rights };
        }
        self.peek_translate(bus, va, Access::Load, rights)
    }

    pub(crate) fn peek_translate<B: Bus>(
        &self,
        bus: &B,
        va: u64,
        access: Access,
        rights: Rights,
    ) -> Result<u64, Trap> {
        let mut quiet = ReadOnly(bus);
        let mut shadow = self.shadow();
        shadow.translate(&mut quiet, va, access, rights)
    }

    /// A hart with this one's registers and none of its caches.
    fn shadow(&self) -> Self {
        let mut shadow = Self::new(self.id, self.isa);
        shadow.csr = self.csr.clone();
        (shadow.prv, shadow.virt) = (self.prv, self.virt);
        shadow.decode_pmp();
        shadow
    }

    /// Every word of the architectural state, in a fixed order: what a digest covers.
    pub fn for_each_word(&self, mut f: impl FnMut(u64)) {
        self.x[..32].iter().for_each(|word| f(*word));
        self.f.iter().for_each(|word| f(*word));
        for word in [
            self.pc,
            u64::from(self.prv),
            u64::from(self.virt),
            self.reservation.map_or(u64::MAX, |hpa| hpa),
            u64::from(self.waiting),
            self.steps,
            self.not_retired,
        ] {
            f(word);
        }
        self.csr.for_each(f);
    }

    /// Whether the hart waits for an interrupt.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Looks at the wires, as it does before each turn.
    pub fn look<B: Bus>(&mut self, bus: &B) {
        self.lines = bus.lines(self.id, self.now_ns());
    }

    /// The hart was loaded and knows the time: what is followed begins here.
    pub fn arrive<B: Bus>(&mut self, bus: &B) {
        self.look(bus);
        if let Some(csr) = self.probe.follow.as_ref().map(|follow| follow.csr()) {
            self.probe.follow = Some(Box::new(Follow::new(csr, self.read_csr(csr))));
        }
    }

    /// Another hart had its turn, or somebody else wrote to memory: a reservation is gone.
    pub fn end_turn(&mut self) {
        self.reservation = None;
    }

    /// A write by a device, the VM plane or a debugger to these bytes of physical memory.
    pub fn written(&mut self, hpa: u64, len: u64) {
        self.reservation = unwritten_by(self.reservation, hpa, len);
    }
}

/// What is left of a reservation of 64 bytes after a write to these bytes of physical memory.
pub(crate) fn unwritten_by(reservation: Option<u64>, hpa: u64, len: u64) -> Option<u64> {
    reservation.filter(|at| hpa >= at + 64 || *at >= hpa.saturating_add(len))
}

/// A bus through which nothing can be changed.
struct ReadOnly<'a, B>(&'a B);

impl<B: Bus> Bus for ReadOnly<'_, B> {
    fn ram_base(&self) -> u64 {
        self.0.ram_base()
    }

    fn ram_size(&self) -> u64 {
        self.0.ram_size()
    }

    fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.load(offset)
    }

    fn store<const N: usize>(
        &mut self,
        _offset: usize,
        _bytes: [u8; N],
        _writer: crate::bus::Writer,
    ) -> bool {
        false
    }

    fn mark_code(&mut self, _offset: usize, _len: usize) {}

    fn mark_table(&mut self, _offset: usize) {}

    fn read_device(&mut self, _touch: crate::bus::Touch) -> Result<u64, crate::bus::AccessFault> {
        Err(crate::bus::AccessFault)
    }

    fn write_device(
        &mut self,
        _touch: crate::bus::Touch,
        _value: u64,
    ) -> Result<(), crate::bus::AccessFault> {
        Err(crate::bus::AccessFault)
    }

    fn is_device(&self, hpa: u64) -> bool {
        self.0.is_device(hpa)
    }

    fn lines(&self, hart: usize, now_ns: u64) -> u64 {
        self.0.lines(hart, now_ns)
    }

    fn deadline_ns(&self, hart: usize, now_ns: u64) -> u64 {
        self.0.deadline_ns(hart, now_ns)
    }

    fn n_changes(&self) -> u64 {
        self.0.n_changes()
    }

    fn changes(&self, from: u64) -> Option<&[crate::bus::Change]> {
        self.0.changes(from)
    }

    fn post(&mut self, _post: crate::bus::Post) {}

    fn owns_vcpu(&self, vmid: u16, vcpu: u16) -> bool {
        self.0.owns_vcpu(vmid, vcpu)
    }
}
