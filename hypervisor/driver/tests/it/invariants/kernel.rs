//! The kernel that the test plays: threads on harts, what follows a trap, what it takes away.

use hart::Hart;
use isa::fields::{HSTATUS, HUSTATUS, MIP, PMPCFG};
use isa::{Cause, Csr, Mode};

use super::bus::{Reach, Recorder};
use super::generator::{guest_pc, process_pc};
use super::layout::{KERNEL_VA, Part, Zones, executable, process, windows, zone};
use super::rng::Rng;

/// A thread with a vCPU, as the kernel knows it.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) vm: usize,
    pub(crate) vmid: u16,
    /// The ids that were registered for its VM are below this.
    pub(crate) n_vcpus: u64,
    /// HU handles a trap: what `hustatus.TA` should say.
    pub(crate) live: bool,
    /// The kernel runs a guest of its own, or a thread that has none, instead.
    pub(crate) of_kernel: bool,
    /// Windows that were taken away.
    revoked: Zones,
}

/// What is switched with a thread.
const SWITCHED: [Csr; 43] = [
    Csr::HSTATUS,
    Csr::HEDELEG,
    Csr::HIDELEG,
    Csr::SEDELEG,
    Csr::SIDELEG,
    Csr::SCOUNTEREN,
    Csr::SENVCFG,
    Csr::SATP,
    Csr::MIE,
    Csr::MIP,
    Csr::HVIP,
    // The id first: the root takes it over.
    Csr::H_VMID,
    Csr::HUGATP,
    Csr::HU_VCPUID,
    Csr::HUSTATUS,
    Csr::UTVEC,
    Csr::USCRATCH,
    Csr::UEPC,
    Csr::UCAUSE,
    Csr::UTVAL,
    Csr::HUTVAL,
    Csr::HUTINST,
    Csr::HUTIMEDELTA,
    Csr::HUCOUNTEREN,
    Csr::VTIMECMP,
    Csr::VTIMECTL,
    Csr::VSSTATUS,
    Csr::VSTVEC,
    Csr::VSSCRATCH,
    Csr::VSEPC,
    Csr::VSCAUSE,
    Csr::VSTVAL,
    Csr::VSTIMECMP,
    Csr::VSATP,
    Csr::PMPCFG0,
    Csr::PMPADDR0,
    Csr(Csr::PMPADDR0.0 + 1),
    Csr(Csr::PMPADDR0.0 + 2),
    Csr(Csr::PMPADDR0.0 + 3),
    Csr(Csr::PMPADDR0.0 + 4),
    Csr(Csr::PMPADDR0.0 + 5),
    Csr(Csr::PMPADDR0.0 + 6),
    Csr(Csr::PMPADDR0.0 + 7),
];

/// A thread that is not on a hart.
pub(crate) struct Saved {
    pub(crate) context: Context,
    csrs: [u64; SWITCHED.len()],
    x: [u64; 32],
}

impl Saved {
    pub(crate) fn new(context: Context, hart: &Hart) -> Self {
        let mut x = [0; 32];
        for (reg, value) in (0..).zip(&mut x) {
            *value = hart.x(reg);
        }
        Self { context, csrs: SWITCHED.map(|csr| hart.csr(csr).unwrap_or(0)), x }
    }

    /// The same thread with another VM: what it names by these CSRs.
    pub(crate) fn with(mut self, changes: &[(Csr, u64)]) -> Self {
        for (csr, value) in changes {
            for (known, place) in SWITCHED.iter().zip(&mut self.csrs) {
                if known == csr {
                    *place = *value;
                }
            }
        }
        self
    }
}

/// A hart with its thread, and those that wait for it.
pub(crate) struct Seat {
    pub(crate) hart: Hart,
    pub(crate) context: Context,
    pub(crate) others: Vec<Saved>,
}

impl Context {
    pub(crate) fn new(vm: usize, vmid: u16, n_vcpus: u64) -> Self {
        Self { vm, vmid, n_vcpus, live: false, of_kernel: false, revoked: 0 }
    }

    pub(crate) fn owns(&self, vcpu: u64) -> bool {
        vcpu < self.n_vcpus
    }

    /// What the next step may touch.
    pub(crate) fn reach(&self, mode: Mode, guest_access: bool) -> Reach {
        let read_only = zone(self.vm, Part::ReadOnly);
        let granted = windows(self.vm) & !self.revoked;
        let everything = Reach { read: !0, write: !0, execute: !0 };
        match mode {
            Mode::M | Mode::Hs => everything,
            Mode::Vs | Mode::Vu if self.of_kernel => everything,
            Mode::Vs | Mode::Vu => Reach {
                read: granted,
                write: granted & !read_only,
                execute: granted & executable(self.vm),
            },
            // The process reaches its memory by the kernel's table; its guest's accesses do not.
            Mode::Hu | Mode::U => {
                let code = zone(self.vm, Part::Code);
                let fetch = code | zone(self.vm, Part::Tables);
                let own = if guest_access { fetch } else { process(self.vm) };
                let reached = if guest_access { granted } else { windows(self.vm) };
                let data = own & !fetch;
                Reach { read: own | reached, write: data | reached & !read_only, execute: code }
            }
        }
    }
}

fn set(hart: &mut Hart, bus: &mut Recorder, csr: Csr, value: u64) {
    // What stays as it is is not written: some writes drop every translation.
    if hart.csr(csr) != Some(value) {
        hart.set_csr(bus, csr, value);
    }
}

fn get(hart: &Hart, csr: Csr) -> u64 {
    hart.csr(csr).unwrap_or(0)
}

impl Seat {
    pub(crate) fn set(&mut self, bus: &mut Recorder, csr: Csr, value: u64) {
        set(&mut self.hart, bus, csr, value);
    }

    pub(crate) fn get(&self, csr: Csr) -> u64 {
        get(&self.hart, csr)
    }

    /// Another thread has the hart.
    pub(crate) fn switch(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        if self.others.is_empty() {
            return;
        }
        self.leave_kernel(rng, bus);
        let at = usize::try_from(rng.below(self.others.len() as u64)).unwrap_or(0);
        let old = Saved::new(self.context.clone(), &self.hart);
        let new = std::mem::replace(&mut self.others[at], old);
        for (csr, value) in SWITCHED.into_iter().zip(new.csrs) {
            set(&mut self.hart, bus, csr, value);
        }
        for (reg, value) in (0..).zip(new.x) {
            self.hart.set_x(reg, value);
        }
        self.hart.end_turn();
        self.context = new.context;
        self.resume(rng, bus);
    }

    /// The kernel has dealt with a trap: where the hart goes on.
    pub(crate) fn after_trap(&mut self, rng: &mut Rng, bus: &mut Recorder, taken: &hart::Taken) {
        if let Cause::Interrupt(interrupt) = taken.trap.cause {
            bus.lines &= !interrupt.bit();
            let pending = self.get(Csr::MIP) & !interrupt.bit();
            self.set(bus, Csr::MIP, pending);
        }
        let skips = matches!(taken.from, Mode::Vs | Mode::Vu | Mode::Hu);
        if self.context.of_kernel {
            if rng.one_in(4) {
                self.leave_kernel(rng, bus);
                self.resume(rng, bus);
            } else {
                self.run_kernels(rng);
            }
        } else if skips && rng.one_in(4) {
            let over = if taken.trap.cause.is_interrupt() { 0 } else { 4 };
            self.hart.set_mode(taken.from);
            self.hart.set_pc(taken.pc.wrapping_add(over));
        } else {
            self.resume(rng, bus);
        }
    }

    /// Lets the thread go on, in HU or in its guest.
    pub(crate) fn resume(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        if rng.one_in(2) {
            self.set(bus, Csr::UTVEC, process_pc(rng));
        }
        let guest = rng.one_in(2);
        if guest || rng.one_in(3) {
            let status = self.get(Csr::HUSTATUS);
            self.set(bus, Csr::HUSTATUS, HUSTATUS::TA.with(status, false));
            self.context.live = false;
        }
        if guest {
            self.hart.set_mode(rng.pick(&[Mode::Vs, Mode::Vs, Mode::Vu]));
            self.hart.set_pc(guest_pc(rng));
            if rng.one_in(2) {
                self.set(bus, Csr::VSTVEC, guest_pc(rng));
            }
            if rng.one_in(2) {
                self.set(bus, Csr::VSATP, 0);
            }
        } else {
            self.hart.set_mode(Mode::Hu);
            self.hart.set_pc(process_pc(rng));
        }
    }

    /// The kernel uses the H extension for itself, by the tables of this VM.
    pub(crate) fn enter_kernel(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        let status = HSTATUS::HU.with(self.get(Csr::HSTATUS), false);
        self.set(bus, Csr::HSTATUS, HSTATUS::SPVP.set(status, rng.below(2)));
        self.set(bus, Csr::HGATP, self.get(Csr::HUGATP));
        self.context.of_kernel = true;
        self.run_kernels(rng);
    }

    /// The kernel's own code runs in the thread's name.
    pub(crate) fn call_kernel(&mut self, rng: &mut Rng) {
        self.hart.set_mode(Mode::Hs);
        self.hart.set_pc(KERNEL_VA + 4 * rng.below(1000));
    }

    fn run_kernels(&mut self, rng: &mut Rng) {
        let mode = rng.pick(&[Mode::U, Mode::Vs, Mode::Vs, Mode::Vu, Mode::Hs]);
        self.hart.set_mode(mode);
        self.hart.set_pc(match mode {
            Mode::M | Mode::Hs => KERNEL_VA + 4 * rng.below(1000),
            Mode::Vs | Mode::Vu => guest_pc(rng),
            Mode::U | Mode::Hu => process_pc(rng),
        });
    }

    pub(crate) fn leave_kernel(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        if !self.context.of_kernel {
            return;
        }
        self.set(bus, Csr::HSTATUS, HSTATUS::HU.with(self.get(Csr::HSTATUS), true));
        if rng.one_in(2) {
            self.set(bus, Csr::HGATP, 0);
        }
        self.context.of_kernel = false;
    }

    /// Takes a window away, or gives it back: the end of RAM by `pmpaddr`, or the read-only window
    /// by `pmpcfg`.
    pub(crate) fn revoke(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        let part = rng.pick(&[Part::High, Part::ReadOnly]);
        let gone = self.context.revoked & zone(self.context.vm, part) != 0;
        // Most of the time everything is there, or no guest would get far.
        if !gone && !rng.one_in(3) {
            return;
        }
        self.context.revoked ^= zone(self.context.vm, part);
        if matches!(part, Part::High) {
            let (begin, end) = (self.get(Csr::PMPADDR0), Csr(Csr::PMPADDR0.0 + 1));
            let size = self.get(end) - begin;
            self.set(bus, end, begin + if gone { 2 * size } else { size / 2 });
        } else {
            let rights = PMPCFG::A.mask() << 40;
            let cfg = self.get(Csr::PMPCFG0);
            self.set(bus, Csr::PMPCFG0, if gone { cfg | 8 << 40 } else { cfg & !rights });
        }
    }

    /// An interrupt for the kernel, or one for firmware.
    pub(crate) fn interrupt(&mut self, rng: &mut Rng, bus: &mut Recorder) {
        if rng.one_in(4) {
            bus.lines |= MIP::MTIP.mask();
        } else {
            let pending = self.get(Csr::MIP) | MIP::SSIP.mask();
            self.set(bus, Csr::MIP, pending);
        }
    }
}
