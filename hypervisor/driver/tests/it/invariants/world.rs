//! A machine with two VMs, set up by the driver, and its harts' steps one by one.

use driver::{Config, Driver, Hu, VmRequest};
use dv::{Dv, Window};
use hart::{Engine, Halt, Report};
use isa::fields::{ENVCFG, HGATP};
use isa::{Csr, Exception, Extensions, Format, Interrupt, Mode, Op};

use super::bus::Recorder;
use super::coverage::Coverage;
use super::generator::{self, Generator};
use super::kernel::{Saved, Seat};
use super::layout::{
    self, GPA, HOST, HU_CODE, N_VMS, POOL_PAGES, Part, Place, RAM_PAGES, READ_ONLY_PAGES,
    SECOND_ROOT, VS_ROOT, zone,
};
use super::observe::{Broken, Observer, Step};
use super::predict::{self, Walker};
use super::rng::Rng;
use super::state::State;
use super::values::{self, Scene};

pub(crate) use super::kernel::Context;

const VCPUS: usize = 2;
/// VM id of the second VM of the first process.
const SECOND: u16 = 9;
/// Guest time of one tick.
const TICK_NS: u64 = hart::NS_PER_TICK;

/// Everything, and the numbers that decide what happens next.
pub(crate) struct World {
    rng: Rng,
    bus: Recorder,
    engine: Engine<Recorder>,
    seats: Vec<Seat>,
    places: Vec<Place>,
    generator: Generator,
    observer: Observer,
    now_ns: u64,
    current: usize,
}

/// A setup that is wrong before the first step.
fn wrong(invariant: u8, what: impl ToString) -> Vec<Broken> {
    vec![Broken { invariant, what: what.to_string() }]
}

fn request(rng: &mut Rng) -> VmRequest {
    let mask = Exception::SEDELEG_MASK;
    let exceptions = match rng.below(4) {
        0 => mask,
        1 => rng.next() & mask,
        _ => VmRequest::EXCEPTIONS | rng.next() & mask,
    };
    let interrupts =
        if rng.one_in(4) { rng.next() & Interrupt::SIDELEG_MASK } else { VmRequest::INTERRUPTS };
    VmRequest {
        vcpus: VCPUS,
        pool: POOL_PAGES << 12,
        spare: 0,
        exceptions,
        interrupts,
        ..VmRequest::new(RAM_PAGES << 12)
    }
}

/// The driver's windows of a VM.
fn place(vm: usize, windows: &[Window]) -> Result<Place, Vec<Broken>> {
    match windows {
        [ram, pool] => Ok(Place { vm, ram: *ram, pool: *pool }),
        _ => Err(wrong(2, format!("VM {vm} has the windows {windows:x?}"))),
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Result<Self, Vec<Broken>> {
        let mut rng = Rng(seed);
        let requests = [request(&mut rng), request(&mut rng)];
        let config = Config {
            n_harts: N_VMS * VCPUS,
            ram_size: 12 << 20,
            n_blocks: 1,
            ..Config::fitting(Extensions::ALL, &requests[0])
        };
        let mut driver = Driver::new(config).map_err(|error| wrong(6, error))?;
        let mut ids = Vec::new();
        for request in &requests {
            ids.push(driver.vm_create(request).map_err(|error| wrong(6, error))?);
        }
        let vmids: Vec<u16> = ids.iter().map(driver::VmId::vmid).collect();
        let mut ids = ids.into_iter();
        let mut places = Vec::new();
        if let Some(first) = ids.next() {
            let mut hu = Hu::new(driver, first);
            places.push(place(0, hu.windows())?);
            for (vm, id) in (1..).zip(ids) {
                hu.switch(id);
                places.push(place(vm, hu.windows())?);
            }
            driver = hu.into_parts().0;
        }
        let zones = layout::zones(&places, 12 << 20).map_err(|what| wrong(2, what))?;
        let vcpus = vmids.iter().flat_map(|vmid| [(*vmid, 0), (*vmid, 1)]).chain([(SECOND, 0)]);
        let mut bus = Recorder::new(12 << 20, zones, vcpus.collect());
        places.iter().for_each(|place| layout::build(&mut bus, place));
        for place in &places {
            for (hpa, text) in generator::code(&mut rng, place) {
                bus.put(hpa, &text);
            }
        }
        let harts = driver.machine().harts().iter();
        let seats = harts.enumerate().map(|(number, hart)| {
            let vm = number / VCPUS;
            let context = Context::new(vm, vmids[vm], VCPUS as u64);
            Seat { hart: hart.clone(), context, others: Vec::new() }
        });
        let mut world = Self {
            seats: seats.collect(),
            engine: Engine::new(Extensions::ALL, 1),
            bus,
            places,
            generator: Generator::new(),
            observer: Observer::new(),
            now_ns: 1 << 20,
            current: 0,
            rng,
        };
        world.set_up();
        Ok(world)
    }

    /// What firmware and kernel do besides the driver, the same or not for each world.
    fn set_up(&mut self) {
        let Self { rng, bus, seats, places, .. } = self;
        let delegated = [rng.next() | rng.next(), rng.next() | rng.next(), rng.next() | rng.next()];
        let less = [rng.one_in(4), rng.one_in(4), rng.one_in(4)];
        let (more, no_timer) = (rng.one_in(8), rng.one_in(8));
        for seat in seats.iter_mut() {
            let place = &places[seat.context.vm];
            seat.hart.set_report(Report::Everything);
            for (on, (csr, bits)) in less
                .into_iter()
                .zip([Csr::MEDELEG, Csr::MIDELEG, Csr::HEDELEG].into_iter().zip(delegated))
            {
                let value = seat.get(csr) & if on { bits } else { !0 };
                seat.set(bus, csr, value);
            }
            if no_timer {
                let with = seat.get(Csr::HENVCFG);
                seat.set(bus, Csr::HENVCFG, with & !ENVCFG::STCE.mask());
            }
            if more {
                // The kernel asks for all that there is, and gets what may be delegated.
                for csr in [Csr::SEDELEG, Csr::SIDELEG, Csr::HEDELEG] {
                    seat.set(bus, csr, u64::MAX);
                }
            }
            // There is no such mode: nothing changes.
            let root = seat.get(Csr::HUGATP);
            seat.set(bus, Csr::HUGATP, root | 7 << 60);
            let (from, to) = (place.read_only(), place.read_only() + (READ_ONLY_PAGES << 12));
            seat.set(bus, Csr(Csr::PMPADDR0.0 + 4), from >> 2);
            seat.set(bus, Csr(Csr::PMPADDR0.0 + 5), to >> 2);
            let windows = seat.get(Csr::PMPCFG0);
            seat.set(bus, Csr::PMPCFG0, windows | 0x29 << 40);
            seat.set(bus, Csr(Csr::PMPADDR0.0 + 15), u64::MAX);
            seat.set(bus, Csr(Csr::PMPCFG0.0 + 2), 0x1f << 56);
            let asid = (place.vm as u64 + 1) << 44;
            for (csr, value) in [
                (Csr::SATP, 8 << 60 | asid | place.satp_root() >> 12),
                (Csr::UTVEC, HU_CODE),
                (Csr::HUCOUNTEREN, 7),
                (Csr::MIE, u64::MAX),
                (Csr::STVEC, layout::KERNEL_VA | rng.below(2)),
                (Csr::MTVEC, HOST | rng.below(2)),
                (Csr::VSSTATUS, 3 << 13),
                (Csr::VSTVEC, GPA),
                (Csr::VSATP, 8 << 60 | ((GPA >> 12) + VS_ROOT)),
                (Csr::VSTIMECMP, u64::MAX),
            ] {
                seat.set(bus, csr, value);
            }
        }
        self.sit_down();
    }

    /// The last hart's thread and a second VM of the first process wait for the first hart.
    fn sit_down(&mut self) {
        let Self { rng, bus, seats, places, .. } = self;
        let Some(last) = seats.pop() else { return };
        let second = Saved::new(Context::new(0, SECOND, 1), &seats[0].hart).with(&[
            (Csr::H_VMID, u64::from(SECOND)),
            (
                Csr::HUGATP,
                HGATP::VMID.set(8 << 60 | (places[0].pool.hpa + SECOND_ROOT) >> 12, SECOND.into()),
            ),
            (Csr::HU_VCPUID, 0),
        ]);
        seats[0].others = vec![Saved::new(last.context, &last.hart), second];
        seats.iter_mut().for_each(|seat| seat.resume(rng, bus));
    }

    /// One step of a hart, or nothing.
    pub(crate) fn step(&mut self, coverage: &mut Coverage) -> Result<(), Vec<Broken>> {
        if self.rng.one_in(24) {
            self.current = usize::try_from(self.rng.below(self.seats.len() as u64)).unwrap_or(0);
        }
        self.disturb(coverage);
        self.now_ns += 1;
        let seat = &mut self.seats[self.current];
        seat.hart.set_now_ns(self.now_ns);
        if seat.hart.is_waiting() && self.rng.one_in(2) {
            seat.interrupt(&mut self.rng, &mut self.bus);
        }
        let mut before = State::of(&self.seats[self.current].hart, self.bus.lines);
        if !self.rng.one_in(4) && !self.arm(&before) {
            before = State::of(&self.seats[self.current].hart, self.bus.lines);
        }
        let seat = &mut self.seats[self.current];
        let context = &seat.context;
        let owns = |vcpu: u64| context.owns(vcpu);
        let expected = predict::expect(&before, &seat.hart, &self.bus, owns);
        let accesses = |insn: isa::Insn| matches!(insn.row().fmt, Format::HLoad | Format::HStore);
        let reach = context.reach(before.mode, expected.insn.is_some_and(accesses));
        self.bus.begin(reach);
        let limit = seat.hart.steps() + 1;
        let halt = seat.hart.run(&mut self.engine, &mut self.bus, limit);
        let after = State::of(&seat.hart, self.bus.lines);
        if after.steps == before.steps {
            // It waits, and nothing has come.
            return Ok(());
        }
        let step = Step {
            before: &before,
            after: &after,
            expected: &expected,
            halt,
            context,
            bus: &self.bus,
            hart: &seat.hart,
        };
        let broken = self.observer.look(&step);
        coverage.count(&step);
        if !broken.is_empty() {
            return Err(broken);
        }
        let huret = expected.insn.is_some_and(|insn| insn.op == Op::Huret);
        self.go_on(halt, huret && before.mode == Mode::Hu);
        Ok(())
    }

    /// Posts arrive, and the kernel deals with what it got.
    fn go_on(&mut self, halt: Halt, returned: bool) {
        let Self { rng, bus, seats, current, .. } = self;
        for post in std::mem::take(&mut bus.posts) {
            let there = seats.iter_mut().find(|seat| {
                seat.context.vmid == post.vmid && seat.get(Csr::HU_VCPUID) == post.vcpu.into()
            });
            if let Some(seat) = there {
                seat.hart.receive(post.interrupt.into(), post.level);
            }
        }
        let seat = &mut seats[*current];
        match halt {
            Halt::Trap(taken) if taken.to == Mode::Hu => seat.context.live = true,
            Halt::Trap(taken) if matches!(taken.to, Mode::M | Mode::Hs) => {
                seat.after_trap(rng, bus, &taken);
            }
            Halt::Trap(_) => {}
            Halt::Limit
            | Halt::Waiting
            | Halt::Yield
            | Halt::Breakpoint
            | Halt::Watchpoint(_)
            | Halt::Written
            | Halt::Changed(_) => {
                seat.context.live &= !returned;
            }
        }
    }

    /// What others do between two steps.
    fn disturb(&mut self, coverage: &mut Coverage) {
        let Self { rng, bus, seats, places, current, now_ns, .. } = self;
        let seat = &mut seats[*current];
        match rng.below(400) {
            0..6 => {
                seat.switch(rng, bus);
                coverage.switches += 1;
            }
            6..9 if !seat.context.of_kernel => seat.enter_kernel(rng, bus),
            9..11 => seat.interrupt(rng, bus),
            11..25 => {
                // Another thread of the process edits tables.
                let place = &places[seat.context.vm];
                let scene = scene(Mode::Hu, false, places, seat.context.vm, *now_ns);
                let (at, entry) = values::g_stage_entry(rng, &scene);
                bus.put(place.pool.hpa + at, &entry.to_le_bytes());
            }
            25..28 if !seat.context.of_kernel => seat.revoke(rng, bus),
            28..34 => *now_ns += rng.below(100 * TICK_NS),
            34..38 => seat.hart.receive(rng.pick(&[0, 0, 2, 6, 10]), rng.one_in(2)),
            38 if !seat.context.of_kernel => seat.resume(rng, bus),
            43 | 44 if !seat.context.of_kernel => seat.call_kernel(rng),
            39..43 if seat.context.of_kernel => {
                seat.leave_kernel(rng, bus);
                seat.resume(rng, bus);
            }
            _ => {}
        }
    }

    /// Puts an instruction where the hart goes on, and its operands into registers. False if the
    /// hart goes on somewhere else.
    fn arm(&mut self, before: &State) -> bool {
        let at = Walker::new(before, &self.bus).fetch();
        let Self { rng, bus, seats, places, current, generator, now_ns, .. } = self;
        let seat = &mut seats[*current];
        let vm = seat.context.vm;
        let Ok(hpa) = at else { return true };
        let allowed = match before.mode {
            Mode::Hu | Mode::U => zone(vm, Part::Code),
            Mode::Vs | Mode::Vu => zone(vm, Part::Low) | zone(vm, Part::High),
            Mode::M | Mode::Hs => bus.zone(HOST),
        };
        // A guest's tables are not written over, or no walk would get far.
        let table = hpa.wrapping_sub(places[vm].ram.hpa) >> 12;
        if bus.zone(hpa) & allowed == 0
            || hpa & 0xfff > 0xffc
            || (VS_ROOT..RAM_PAGES).contains(&table)
        {
            let leaves = seat.context.of_kernel;
            if leaves {
                seat.leave_kernel(rng, bus);
                seat.resume(rng, bus);
            }
            return !leaves;
        }
        let scene = scene(before.mode, seat.context.of_kernel, places, vm, *now_ns);
        let armed = generator.next(rng, &scene);
        bus.put(hpa, &armed.word.to_le_bytes());
        for (reg, value) in armed.registers {
            seat.hart.set_x(reg, value);
        }
        true
    }
}

fn scene<'a>(
    mode: Mode,
    of_kernel: bool,
    places: &'a [Place],
    vm: usize,
    now_ns: u64,
) -> Scene<'a> {
    let other = &places[(vm + 1) % places.len()];
    Scene { mode, of_kernel, place: &places[vm], other, tick: now_ns / TICK_NS }
}
