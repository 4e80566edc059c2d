//! Random instructions of a mode, with operands that make them matter.

use isa::csr::Group;
use isa::{Csr, Format, Insn, Mode, Op, Row};

use super::layout::{GPA, HU_CODE, Place};
use super::rng::Rng;
use super::values::{self, Scene};

/// An instruction, and what its source registers hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed {
    pub(crate) word: u32,
    pub(crate) registers: [(u8, u64); 2],
}

const RS1: u8 = 10;
const RS2: u8 = 11;

/// CSRs that a guest's kernel uses.
const OF_KERNEL: [Csr; 12] = [
    Csr::SSTATUS,
    Csr::SIE,
    Csr::STVEC,
    Csr::SSCRATCH,
    Csr::SEPC,
    Csr::SCAUSE,
    Csr::STVAL,
    Csr::SIP,
    Csr::STIMECMP,
    Csr::SATP,
    Csr::SCOUNTEREN,
    Csr::SENVCFG,
];

/// The instructions by what they are good for.
pub(crate) struct Generator {
    guest_accesses: Vec<&'static Row>,
    memory: Vec<&'static Row>,
    jumps: Vec<&'static Row>,
    fences: Vec<&'static Row>,
    csr_ops: [Op; 6],
    dv: Vec<Csr>,
}

impl Generator {
    pub(crate) fn new() -> Self {
        let rows = |formats: &[Format]| -> Vec<&'static Row> {
            isa::ROWS.iter().filter(|row| formats.contains(&row.fmt)).collect()
        };
        let mut memory = rows(&[Format::Store, Format::FLoad, Format::FStore, Format::Lr]);
        memory.extend(rows(&[Format::Amo, Format::Cbo]));
        // The plain ones are most of what a program does.
        for _ in 0..6 {
            memory.extend(rows(&[Format::Load, Format::Store]));
        }
        memory.retain(|row| row.op != Op::Jalr);
        let dv = isa::csr::CSRS.iter().filter(|row| matches!(row.group, Group::Dv | Group::Hu));
        Self {
            guest_accesses: rows(&[Format::HLoad, Format::HStore]),
            memory,
            jumps: rows(&[Format::B, Format::J]),
            fences: rows(&[Format::Fence2, Format::Fence]),
            csr_ops: [Op::Csrrw, Op::Csrrs, Op::Csrrc, Op::Csrrwi, Op::Csrrsi, Op::Csrrci],
            dv: dv.map(|row| row.csr).collect(),
        }
    }

    /// The next instruction of whoever runs.
    pub(crate) fn next(&self, rng: &mut Rng, scene: &Scene<'_>) -> Armed {
        match scene.mode {
            // A guest of the kernel shares tables with a VM: it only looks.
            Mode::Vs | Mode::Vu if scene.of_kernel => {
                let load = Insn { rd: 16, rs1: RS1, ..Insn::new(Op::Ld) };
                armed(isa::encode(&load), values::guest_address(rng), 0)
            }
            Mode::Vs | Mode::Vu => self.guest(rng, scene),
            Mode::Hs | Mode::M => self.kernel(rng, scene),
            Mode::Hu | Mode::U => self.process(rng, scene),
        }
    }

    fn process(&self, rng: &mut Rng, scene: &Scene<'_>) -> Armed {
        match rng.below(100) {
            0..14 => armed(isa::encode(&Insn::new(Op::Huret)), 0, 0),
            14..44 => {
                let csr = match rng.below(8) {
                    0 => any_csr(rng),
                    1 => Csr::HUSTATUS,
                    2 => Csr::UEPC,
                    _ => rng.pick(&self.dv),
                };
                self.csr(rng, scene, csr)
            }
            44..58 => self.guest_access(rng),
            58..74 => {
                let place = values::process_store(rng, scene);
                operands(rng, &self.memory, place)
            }
            74..78 => self.fence(rng),
            78..86 => self.jump(rng),
            86..90 => self.system(rng),
            90..98 => {
                let place = values::process_store(rng, scene);
                any_row(rng, place)
            }
            _ => armed(word(rng), 0, 0),
        }
    }

    fn guest(&self, rng: &mut Rng, scene: &Scene<'_>) -> Armed {
        match rng.below(100) {
            0..18 => {
                let csr = rng.pick(&OF_KERNEL);
                self.csr(rng, scene, csr)
            }
            18..28 => {
                let csr = match rng.below(4) {
                    0 => any_csr(rng),
                    1 => Csr(Csr::VIPI0.0 + (rng.next() & 3) as u16),
                    _ => rng.pick(&self.dv),
                };
                self.csr(rng, scene, csr)
            }
            28..36 => armed(isa::encode(&Insn::new(Op::Sret)), 0, 0),
            36..64 => {
                let place = values::guest_store(rng);
                operands(rng, &self.memory, place)
            }
            64..69 => self.guest_access(rng),
            69..73 => self.fence(rng),
            73..80 => self.jump(rng),
            80..89 => self.system(rng),
            89..98 => {
                let place = values::guest_store(rng);
                any_row(rng, place)
            }
            _ => armed(word(rng), 0, 0),
        }
    }

    fn guest_access(&self, rng: &mut Rng) -> Armed {
        let place = (values::guest_address(rng), values::guest_pte(rng));
        operands(rng, &self.guest_accesses, place)
    }

    fn fence(&self, rng: &mut Rng) -> Armed {
        let place = (values::guest_address(rng), rng.below(4));
        operands(rng, &self.fences, place)
    }

    /// What the kernel's own code may do wrong: each of these traps, or does nothing.
    fn kernel(&self, rng: &mut Rng, scene: &Scene<'_>) -> Armed {
        let plain = |op| armed(isa::encode(&Insn::new(op)), 0, 0);
        match rng.below(7) {
            0 => plain(Op::Ecall),
            1 => plain(Op::Ebreak),
            2 => plain(Op::Huret),
            3 => plain(Op::HufenceGvma),
            4 => armed(0, 0, 0),
            5 => {
                let load = Insn { rd: 16, rs1: RS1, ..Insn::new(Op::HlvD) };
                armed(isa::encode(&load), values::guest_address(rng), 0)
            }
            _ => {
                let load = Insn { rd: 16, rs1: RS1, ..Insn::new(Op::Ld) };
                armed(isa::encode(&load), values::process_store(rng, scene).0 | 1 << 50, 0)
            }
        }
    }

    fn csr(&self, rng: &mut Rng, scene: &Scene<'_>, csr: Csr) -> Armed {
        // Most of the time a plain write or a plain read.
        let op = match rng.below(4) {
            0 => rng.pick(&self.csr_ops),
            1 => Op::Csrrs,
            _ => Op::Csrrw,
        };
        let immediate = matches!(op, Op::Csrrwi | Op::Csrrsi | Op::Csrrci);
        let rs1 = match (immediate, op) {
            (true, _) => u8::try_from(rng.below(32)).unwrap_or(0),
            (false, Op::Csrrw) => RS1,
            (false, _) => rng.pick(&[0, RS1]),
        };
        let rd = if rng.one_in(2) { 0 } else { destination(rng) };
        let insn = Insn { rd, rs1, imm: i64::from(csr.0), ..Insn::new(op) };
        armed(isa::encode(&insn), values::of_csr(rng, scene, csr), 0)
    }

    fn jump(&self, rng: &mut Rng) -> Armed {
        let row = rng.pick(&self.jumps);
        let to = 2 * (rng.below(64).cast_signed() - 24);
        let insn = Insn { rd: destination(rng), rs1: RS1, rs2: RS2, imm: to, ..Insn::new(row.op) };
        armed(isa::encode(&insn), rng.below(2), rng.below(2))
    }

    fn system(&self, rng: &mut Rng) -> Armed {
        let ops = [Op::Ecall, Op::Ecall, Op::Ecall, Op::Ebreak, Op::Wfi, Op::Mret, Op::Sret];
        armed(isa::encode(&Insn::new(rng.pick(&ops))), 0, 0)
    }
}

fn armed(word: u32, rs1: u64, rs2: u64) -> Armed {
    Armed { word, registers: [(RS1, rs1), (RS2, rs2)] }
}

/// A post to vCPUs of the first two ids.
pub(crate) fn post(rng: &mut Rng) -> Armed {
    let insn = Insn { rs1: RS1, imm: i64::from(Csr::VIPI0.0), ..Insn::new(Op::Csrrw) };
    armed(isa::encode(&insn), 1 + rng.below(3), 0)
}

/// Not one that holds an operand, most of the time.
fn destination(rng: &mut Rng) -> u8 {
    16 + u8::try_from(rng.below(16)).unwrap_or(0)
}

fn operands(rng: &mut Rng, rows: &[&'static Row], (address, value): (u64, u64)) -> Armed {
    let row = rng.pick(rows);
    let insn = Insn { rd: destination(rng), rs1: RS1, rs2: RS2, ..Insn::new(row.op) };
    armed(isa::encode(&insn), address, value)
}

/// Any instruction that there is.
fn any_row(rng: &mut Rng, (address, value): (u64, u64)) -> Armed {
    let row = rng.pick(&isa::ROWS);
    armed(row.value | word(rng) & !row.mask, address, value)
}

fn any_csr(rng: &mut Rng) -> Csr {
    if rng.one_in(4) {
        return Csr((rng.next() & 0xfff) as u16);
    }
    isa::csr::CSRS[usize::try_from(rng.below(isa::csr::CSRS.len() as u64)).unwrap_or(0)].csr
}

fn word(rng: &mut Rng) -> u32 {
    (rng.next() & 0xffff_ffff) as u32
}

/// Where a process goes on when the kernel lets it.
pub(crate) fn process_pc(rng: &mut Rng) -> u64 {
    HU_CODE + 4 * rng.below(0x700)
}

/// An instruction of a guest.
pub(crate) fn guest_pc(rng: &mut Rng) -> u64 {
    GPA + (rng.below(24) << 12) + 4 * rng.below(0x3f0)
}

/// What code there is before anybody writes any.
pub(crate) fn code(rng: &mut Rng, place: &Place) -> Vec<(u64, Vec<u8>)> {
    let pages = [place.code(), place.ram.hpa, place.ram.hpa + 0x1000, place.ram.hpa + 0x8000];
    let text = |rng: &mut Rng| -> Vec<u8> {
        let words = (0..512).map(|_| any_row(rng, (0, 0)).word);
        words.flat_map(u32::to_le_bytes).collect()
    };
    pages.map(|hpa| (hpa, text(rng))).into()
}
