//! Items of a body that take more than one instruction, or privilege.

use isa::fields::{HSTATUS, MSTATUS, SSTATUS};
use isa::{Csr, Format, Insn, Op};

use super::asm::ZERO;
use super::body::{Body, JUMP, Level, TEMP, TEMP2, table_address};
use super::layout::{DATA, MIRROR, RAM_BASE, SPARE, WINDOW_PAGES};
use super::tables::{any_pte, any_pte_of};
use super::tame::TAME_PTE;

impl Body<'_> {
    pub(crate) fn fence(&mut self) {
        let (rs1, rs2) = (self.any(), self.any());
        match self.rng.below(6) {
            0 => {
                let imm = self.rng.below(4096).cast_signed();
                self.code.put(Insn { imm, ..Insn::new(Op::Fence) });
            }
            1 => {
                let op = self.rng.pick(&[
                    Op::FenceI,
                    Op::FenceTso,
                    Op::Pause,
                    Op::SfenceWInval,
                    Op::SfenceInvalIr,
                ]);
                let op = if self.tame { Op::FenceI } else { op };
                self.code.op(op);
            }
            // QEMU 7.2 has another exception for them in VU.
            _ if self.tame && self.level.user() => self.code.op(Op::FenceI),
            _ => {
                let op = self.rng.pick(&self.kinds.fences);
                self.code.put(Insn { rs1, rs2, ..Insn::new(op) });
            }
        }
    }

    pub(crate) fn guest_access(&mut self) {
        let op = self.rng.pick(&self.kinds.guest);
        let (base, rd, rs2) = (self.base(), self.rd(), self.any());
        self.code.i(Op::Addi, TEMP2, base, 0);
        if op.row().fmt == Format::HStore {
            self.code.s(op, rs2, TEMP2, 0);
        } else {
            self.code.i(op, rd, TEMP2, 0);
        }
    }

    /// CBO on the begin of a block, and prefetches.
    pub(crate) fn block(&mut self) {
        let op = self.rng.pick(&self.kinds.blocks);
        let rs1 = self.aligned(64);
        let imm = self.rng.below(64).cast_signed() * 32;
        self.code.put(Insn { rs1, imm, ..Insn::new(op) });
    }

    /// Calls, and returns that nobody prepared.
    pub(crate) fn call(&mut self) {
        match self.rng.below(8) {
            0..3 => self.code.op(Op::Ecall),
            3 | 4 => self.code.op(Op::Ebreak),
            5 => {
                self.code.half(0x9002);
                self.code.half(1);
            }
            6 if self.level.user() => self.code.op(Op::Sret),
            _ if self.level != Level::M => self.code.op(Op::Mret),
            _ => {}
        }
    }

    /// A return to what follows, in another mode, where its page is right for that mode.
    pub(crate) fn change_mode(&mut self) {
        if self.level.user() {
            return;
        }
        let from_m = self.level == Level::M;
        let prv = self.rng.below(if from_m { 3 } else { 2 });
        let prv = if prv == 2 { 3 } else { prv };
        let virt = self.level == Level::Vs || (prv != 3 && self.rng.one_in(2));
        let after = self.code.label();
        // How far it is from the first instruction is known when all of it is written.
        let start = self.code.here();
        self.code.put(Insn { rd: JUMP, ..Insn::new(Op::Auipc) });
        let turned = self.mirrored[usize::from(virt)] && (prv == 0) != self.user && prv != 3;
        let distance = [0, MIRROR - RAM_BASE];
        let distance = |mirror| distance[usize::from(mirror)];
        self.code.li(TEMP, distance(turned).wrapping_sub(distance(self.in_mirror)));
        self.in_mirror = turned;
        self.code.r(Op::Add, JUMP, JUMP, TEMP);
        let csr = if from_m { Csr::MEPC } else { Csr::SEPC };
        let (status, spp) =
            if from_m { (Csr::MSTATUS, MSTATUS::MPP) } else { (Csr::SSTATUS, SSTATUS::SPP) };
        self.code.li(TEMP, spp.mask());
        self.code.csr(Op::Csrrc, ZERO, status, TEMP);
        self.code.li(TEMP, spp.set(0, prv));
        self.code.csr(Op::Csrrs, ZERO, status, TEMP);
        if self.level != Level::Vs {
            let (status, bit) = if from_m {
                (Csr::MSTATUS, MSTATUS::MPV.mask())
            } else {
                (Csr::HSTATUS, HSTATUS::SPV.mask())
            };
            self.code.li(TEMP, bit);
            self.code.csr(if virt { Op::Csrrs } else { Op::Csrrc }, ZERO, status, TEMP);
        }
        let length = self.code.here() + 12 - start;
        self.code.i(Op::Addi, JUMP, JUMP, length.cast_signed());
        self.code.csrw(csr, JUMP);
        self.code.op(if from_m { Op::Mret } else { Op::Sret });
        self.code.bind(after);
        self.level = match (prv, virt) {
            (3, _) => Level::M,
            (0, false) => Level::U,
            (_, false) => Level::Hs,
            (0, true) => Level::Vu,
            (_, true) => Level::Vs,
        };
    }

    /// Writes an instruction a little ahead, or just behind, and runs it.
    pub(crate) fn change_code(&mut self) {
        let start = self.code.here();
        let width = self.rng.pick(&[Op::Sw, Op::Sw, Op::Sh, Op::Sb]);
        let gap = self.rng.below(4).cast_signed();
        self.code.put(Insn { rd: JUMP, ..Insn::new(Op::Auipc) });
        let op = self.rng.pick(&self.kinds.integer);
        let rd = self.rd();
        let (rs1, rs2) = (self.any(), self.any());
        let word = isa::encode(&Insn { rd, rs1, rs2, imm: 1, ..Insn::new(op) });
        self.code.li(TEMP, u64::from(word));
        let fence = !self.rng.one_in(16);
        let fences = if fence { 4 } else { 0 };
        let ahead = (self.code.here() - start).cast_signed() + 4 + fences + 4 * gap;
        self.code.s(width, TEMP, JUMP, ahead);
        if fence {
            self.code.op(Op::FenceI);
        }
        for _ in 0..=gap {
            self.code.i(Op::Addi, 20, 20, 1);
        }
    }

    /// Writes an entry of a page table, and fences.
    pub(crate) fn change_table(&mut self) {
        // U has no fence, and a call is none everywhere.
        if self.tame && self.level.user() {
            return;
        }
        let guest = matches!(self.level, Level::M | Level::Hs) && self.rng.one_in(2);
        let list = if guest { &self.values.guests } else { &self.values.firsts };
        let space = self.rng.pick(list);
        let (index, pte, leaf) = if self.rng.one_in(2) {
            let page = DATA as u64 + self.rng.below((SPARE - DATA) as u64);
            (page, any_pte_of(self.rng, usize::try_from(page).unwrap()), space.leaves[0])
        } else {
            (self.rng.below(WINDOW_PAGES as u64), any_pte(self.rng), space.leaves[1])
        };
        let pte = if guest { pte | isa::fields::PTE::U.mask() } else { pte };
        let pte = if self.tame { pte & TAME_PTE } else { pte };
        let mirror = if self.level.user() { MIRROR - RAM_BASE } else { 0 };
        self.code.li(TEMP, table_address(leaf) + 8 * index + mirror);
        self.code.li(TEMP2, pte);
        if self.rng.one_in(4) && !self.tame {
            let rd = self.rd();
            let (rs1, rs2) = (TEMP, TEMP2);
            self.code.put(Insn { rd, rs1, rs2, ..Insn::new(Op::AmoswapD) });
        } else {
            self.code.s(Op::Sd, TEMP2, TEMP, 0);
        }
        match self.level {
            Level::U | Level::Vu => self.code.op(Op::Ecall),
            Level::M | Level::Hs if guest => self.code.op(Op::HfenceGvma),
            Level::M | Level::Hs | Level::Vs => self.code.op(Op::SfenceVma),
        }
    }

    /// Waits that end at once: something is pending and enabled, but not taken; or they trap.
    pub(crate) fn wait(&mut self) {
        let op = self.rng.pick(&[Op::Wfi, Op::Wfi, Op::WrsNto, Op::WrsSto]);
        match self.level {
            Level::M => {
                let (bit, list) = self.rng.pick(&[(2, Csr::MIP), (4, Csr::HVIP)]);
                self.code.csr(Op::Csrrci, ZERO, Csr::MSTATUS, 8);
                self.code.csr(Op::Csrrsi, ZERO, list, bit);
                self.code.csr(Op::Csrrsi, ZERO, Csr::MIE, bit);
                self.code.op(op);
            }
            Level::Hs | Level::Vs if self.wakes[usize::from(self.level.virt())] => {
                self.code.csr(Op::Csrrci, ZERO, Csr::SSTATUS, 2);
                self.code.csr(Op::Csrrsi, ZERO, Csr::SIP, 2);
                self.code.csr(Op::Csrrsi, ZERO, Csr::SIE, 2);
                self.code.op(if op == Op::WrsNto { Op::Wfi } else { op });
            }
            Level::U | Level::Vu if self.rng.one_in(4) => self.code.op(Op::Wfi),
            Level::Hs | Level::Vs | Level::U | Level::Vu => self.code.op(Op::WrsSto),
        }
    }
}
