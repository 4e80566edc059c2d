//! A VM plane that tries everything, over a guest of random instructions.

use driver::{Harts, Hu, Next, Plane, VmRequest};
use dv::{Dv, Virq, Woken};
use isa::Csr;
use isa::csr::CSRS;
use vmm::layout::RAM_BASE;

use crate::dice::Dice;

const VCPUS: usize = 2;
const PAGES: u64 = 64;
/// V, R, W, X, U, A, D.
const LEAF: u64 = 0xdf;
/// Offsets in the pool of the middle and the last table.
const MIDDLE: u64 = 0x4000;
const LEAVES: u64 = 0x5000;
/// Attempts in a shift, if none of them ends it.
const ATTEMPTS: u64 = 40;

pub(crate) struct Wild {
    hu: Hu,
    dice: Dice,
}

pub(crate) fn request() -> VmRequest {
    let harts = Harts::Shared { quantum: 300 };
    VmRequest { vcpus: VCPUS, harts, pool: 64 << 10, ..VmRequest::new(2 << 20) }
}

impl Wild {
    pub(crate) fn new(hu: Hu, seed: u64) -> Self {
        let mut wild = Self { hu, dice: Dice(seed) };
        let (ram, pool) = (wild.window(0), wild.window(1));
        let pointer = |hpa: u64| (hpa >> 12 << 10 | 1).to_le_bytes();
        wild.hu.write(pool + 8 * (RAM_BASE >> 30), &pointer(pool + MIDDLE)).unwrap();
        wild.hu.write(pool + MIDDLE, &pointer(pool + LEAVES)).unwrap();
        for page in 0..PAGES {
            let leaf = (ram + page * 4096) >> 12 << 10 | LEAF;
            wild.hu.write(pool + LEAVES + 8 * page, &leaf.to_le_bytes()).unwrap();
        }
        for at in (0..4 * 4096).step_by(4) {
            let word = wild.word().to_le_bytes();
            wild.hu.write(ram + at, &word).unwrap();
        }
        wild
    }

    fn window(&self, index: usize) -> u64 {
        self.hu.windows()[index].hpa
    }

    /// An instruction, mostly; the privileged ones are as likely as the others.
    fn word(&mut self) -> u32 {
        let bits = (self.dice.roll() >> 32) as u32;
        if self.dice.below(8) == 0 {
            return bits;
        }
        let row = self.dice.below(isa::ROWS.len() as u64);
        let row = &isa::ROWS[usize::try_from(row).unwrap()];
        row.value | bits & !row.mask
    }

    fn number(&mut self) -> u64 {
        match self.dice.below(4) {
            0 => self.dice.roll(),
            1 => self.dice.below(32),
            2 => 1 << self.dice.below(64),
            _ => RAM_BASE + self.dice.below(PAGES * 4096),
        }
    }

    fn enter(&mut self, vcpu: usize) {
        self.hu.stop(vcpu);
        let pc = RAM_BASE + self.dice.below(4 * 4096);
        let vector = RAM_BASE + self.dice.below(4 * 4096);
        // SPV and SPVP: into VS, and with VIE, which lets the guest post.
        let csrs = [
            (Csr::HUSTATUS, 0x400_0180),
            (Csr::HUVSATP, 0),
            (Csr::HUVSTVEC, vector),
            (Csr::UEPC, pc),
        ];
        for (csr, value) in csrs {
            let _ = self.hu.set_csr(vcpu, csr, value);
        }
        for reg in 1..32 {
            let value = self.number();
            self.hu.set_x(vcpu, reg, value);
            self.hu.set_f(vcpu, reg, value);
        }
        let _ = self.hu.huret(vcpu);
        self.hu.unpark(vcpu);
    }

    /// A CSR of DV-ext, most of which HU may write.
    fn csr(&mut self) -> Csr {
        use isa::csr::Group;
        let own = CSRS.iter().filter(|row| matches!(row.group, Group::Dv | Group::Hu));
        let own: Vec<Csr> = own.map(|row| row.csr).collect();
        own[usize::try_from(self.dice.below(own.len() as u64)).unwrap()]
    }

    fn attempt(&mut self) -> Option<Woken> {
        let vcpu = usize::from(self.dice.coin());
        let value = self.number();
        match self.dice.below(20) {
            0..6 => self.enter(vcpu),
            6 => {
                let csr = self.csr();
                self.hu.stop(vcpu);
                let _ = self.hu.set_csr(vcpu, csr, value);
            }
            7 => drop(self.hu.store(vcpu, value, &[0xee; 16])),
            8 => {
                // Leads anywhere in the machine: to the neighbour, and to the driver.
                let anywhere = (0x80000 + self.dice.below(0x5000)) << 10 | LEAF;
                let at = self.window(1) + LEAVES + 8 * self.dice.below(PAGES);
                let _ = self.hu.write(at, &anywhere.to_le_bytes());
            }
            9 => drop(self.hu.write(RAM_BASE + (value & 0xff_ffff), &[0xee; 8])),
            10 => drop(self.hu.post(vcpu, Virq::External, value & 1 != 0)),
            11 => drop(self.hu.kick(usize::from(value & 31 == 0) * 7 + vcpu)),
            12 => self.hu.park(vcpu),
            13 => self.hu.set_alarm(Some(value & 0xffff_ffff)),
            14 if value & 7 == 0 => drop(self.hu.grow(value & 0xffff)),
            _ => {
                let woken = self.hu.wait();
                if let Woken::Idle(Some(until)) = woken {
                    self.hu.advance(until.min(1 << 50));
                }
                return Some(woken);
            }
        }
        None
    }
}

impl Plane for Wild {
    fn hu(&mut self) -> &mut Hu {
        &mut self.hu
    }

    fn run(&mut self) -> Next {
        for _ in 0..ATTEMPTS {
            match self.attempt() {
                Some(Woken::StepLimit) => return Next::Again,
                Some(Woken::Killed) => return Next::Over,
                _ => {}
            }
        }
        Next::Again
    }
}
