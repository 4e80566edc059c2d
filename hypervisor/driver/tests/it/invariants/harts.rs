//! Harts of one machine, step by step: what a guest does on one reaches another only as a post.

use driver::{Config, Driver, Hu, VmRequest};
use dv::Dv;
use hart::{Access, Writer};
use isa::fields::HUSTATUS;
use isa::{Csr, Extensions, Insn, Mode, Op};
use machine::{Machine, Ran};

use super::generator::{self, Generator, guest_pc};
use super::layout::{GPA, Place};
use super::rng::Rng;
use super::state::{Explained, Kind, State};
use super::values::Scene;
use crate::guest;

const N_HARTS: usize = 4;
const VCPUS: usize = 2;

/// A hart between two steps of the machine.
struct Seen {
    state: State,
    x: [u64; 32],
    /// vCPUs that the next instruction posts to, one bit each.
    posts: u64,
}

struct Harts {
    rng: Rng,
    machine: Machine,
    places: Vec<Place>,
    generator: Generator,
    /// vCPUs of each VM to which something is on its way.
    posted: [u64; N_HARTS / VCPUS],
    /// Posts that arrived at another hart.
    arrived: u64,
}

fn start(seed: u64) -> Harts {
    let request = VmRequest { vcpus: VCPUS, ..guest::request() };
    let config = Config {
        n_harts: N_HARTS,
        quantum: 7,
        n_blocks: 64,
        ram_size: 12 << 20,
        ..Config::fitting(Extensions::ALL, &request)
    };
    let mut driver = Driver::new(config).unwrap();
    let second = driver.vm_create(&request).unwrap();
    let first = driver.vm_create(&request).unwrap();
    let mut hu = Hu::new(driver, second);
    let mut places = Vec::new();
    let mut next = Some(first);
    for vm in 0..N_HARTS / VCPUS {
        guest::tables(&mut hu, 64);
        (0..VCPUS).for_each(|vcpu| guest::enter(&mut hu, vcpu, 0));
        places.push(Place { vm, ram: hu.windows()[0], pool: hu.windows()[1] });
        if let Some(id) = next.take() {
            hu.switch(id);
        }
    }
    let mut driver = hu.into_parts().0;
    let machine = std::mem::replace(driver.machine_mut(), Machine::new(&small()));
    Harts {
        rng: Rng(seed),
        machine,
        places,
        generator: Generator::new(),
        posted: [0; N_HARTS / VCPUS],
        arrived: 0,
    }
}

/// What the driver is left with.
fn small() -> machine::Config {
    machine::Config { n_blocks: 1, ..machine::Config::new(machine::PAGE) }
}

fn stepped(old: &Seen, new: &Seen) -> bool {
    new.state.steps != old.state.steps
}

impl Harts {
    /// Where the next instruction of a hart stands.
    fn fetch(&self, hart: usize) -> Option<u64> {
        let hart = &self.machine.harts()[hart];
        hart.probe_translate(self.machine.platform(), hart.pc(), Access::Fetch).ok()
    }

    fn insn(&self, hart: usize) -> Option<Insn> {
        let mut bytes = [0; 4];
        self.machine.read(self.fetch(hart)?, &mut bytes).ok()?;
        isa::decode(u32::from_le_bytes(bytes))
    }

    fn seen(&self, hart: usize) -> Seen {
        let found = &self.machine.harts()[hart];
        let mut x = [0; 32];
        for (reg, value) in (0..).zip(&mut x) {
            *value = found.x(reg);
        }
        let posts = self.insn(hart).filter(|insn| insn.csr() == Csr::VIPI0);
        let posts = posts.map_or(0, |insn| {
            if matches!(insn.op, Op::Csrrw | Op::Csrrs) {
                found.x(insn.rs1)
            } else if matches!(insn.op, Op::Csrrwi | Op::Csrrsi) {
                u64::from(insn.rs1)
            } else {
                0
            }
        });
        Seen { state: State::of(found, 0), x, posts }
    }

    /// A fresh instruction where the hart goes on.
    fn arm(&mut self, index: usize) {
        let vm = index / VCPUS;
        let mode = self.machine.harts()[index].mode();
        let Some(hpa) = self.fetch(index) else { return };
        let ram = self.places[vm].ram;
        if !mode.is_virtual() || hpa & 3 != 0 || hpa.wrapping_sub(ram.hpa) >= ram.size {
            return;
        }
        let (place, other) = (&self.places[vm], &self.places[1 - vm]);
        let tick = self.machine.now_ns() / hart::NS_PER_TICK;
        let scene = Scene { mode, of_kernel: false, place, other, tick };
        let rng = &mut self.rng;
        let armed =
            if rng.one_in(8) { generator::post(rng) } else { self.generator.next(rng, &scene) };
        self.machine.write(Writer::VmPlane, hpa, &armed.word.to_le_bytes()).unwrap();
        for (reg, value) in armed.registers {
            self.machine.hart_mut(index).0.set_x(reg, value);
        }
    }

    /// The VM plane or the kernel lets a vCPU go on.
    fn enter(&mut self, index: usize) {
        let pc = guest_pc(&mut self.rng);
        let (hart, platform) = self.machine.hart_mut(index);
        hart.set_csr(platform, Csr::HUSTATUS, HUSTATUS::VIE.mask());
        hart.set_csr(platform, Csr::VSATP, 0);
        hart.set_csr(platform, Csr::VSTVEC, GPA);
        // What arrived is seen when it arrives again.
        hart.receive(2, false);
        hart.set_mode(Mode::Vs);
        hart.set_pc(pc);
        self.machine.start(index);
    }

    fn step(&mut self, kinds: &[Explained; 2]) -> Result<(), String> {
        for hart in 0..N_HARTS {
            if !self.rng.one_in(4) {
                self.arm(hart);
            }
        }
        // A guest that does nothing but trap to itself would go on with that for ever.
        if self.rng.one_in(16) {
            let hart = usize::try_from(self.rng.below(N_HARTS as u64)).unwrap_or(0);
            self.enter(hart);
        }
        let before: Vec<Seen> = (0..N_HARTS).map(|hart| self.seen(hart)).collect();
        let ran = self.machine.run(self.machine.steps() + 1);
        let after: Vec<Seen> = (0..N_HARTS).map(|hart| self.seen(hart)).collect();
        let steps = || before.iter().zip(&after).enumerate();
        // What arrived was posted before this step.
        for (hart, (old, new)) in steps().filter(|(_, (old, new))| !stepped(old, new)) {
            self.compare(hart, old, new, kinds)?;
        }
        for (hart, (old, new)) in steps().filter(|(_, (old, new))| stepped(old, new)) {
            if new.state.pc == old.state.pc.wrapping_add(4) && old.state.virt() {
                // It was not a trap: the posts are on their way, but for its own.
                self.posted[hart / VCPUS] |= old.posts & !(1 << (hart % VCPUS));
            }
        }
        match ran {
            Ran::Woken { hart, .. } => self.enter(hart),
            Ran::Idle(_) => (0..N_HARTS).for_each(|hart| self.enter(hart)),
            Ran::SliceEnd | Ran::StepLimit | Ran::Alarm => {}
        }
        Ok(())
    }

    /// A hart that has made no step.
    fn compare(
        &mut self,
        hart: usize,
        old: &Seen,
        new: &Seen,
        [same, posted]: &[Explained; 2],
    ) -> Result<(), String> {
        if (old.x, old.state.pc, old.state.mode) != (new.x, new.state.pc, new.state.mode) {
            return Err(format!("hart {hart} has changed, and made no step"));
        }
        if old.state.unexplained(&new.state, same).is_none() {
            return Ok(());
        }
        let (id, on_their_way) = (1 << (hart % VCPUS), &mut self.posted[hart / VCPUS]);
        let changed = old.state.unexplained(&new.state, posted);
        if changed.is_some() || *on_their_way & id == 0 {
            return Err(format!("hart {hart}: {changed:x?}, posts {on_their_way:#x}"));
        }
        *on_their_way &= !id;
        self.arrived += 1;
        Ok(())
    }
}

/// Makes steps, and gives the number of posts that arrived.
pub(crate) fn run(seed: u64, steps: u64) -> Result<u64, String> {
    let mut harts = start(seed);
    let kinds = [Explained::new(Kind::Nothing), Explained::new(Kind::Posted)];
    for step in 0..steps {
        harts.step(&kinds).map_err(|what| format!("seed {seed}, step {step}: {what}"))?;
    }
    Ok(harts.arrived)
}
