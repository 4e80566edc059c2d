//! CSRs: who may reach which, and that what can be written can be read back.

use hart::{Bus, Engine, Halt, Hart, Report, Writer};
use isa::csr::{CSRS, Group};
use isa::{Cause, Csr, Exception, Extensions, Insn, Mode, Op};

use crate::ram::{BASE, Ram};
use crate::rng::Rng;

/// What an access comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Illegal,
    Virtual,
    DvFault,
}

struct Machine {
    hart: Hart,
    ram: Ram,
    engine: Engine<Ram>,
}

impl Machine {
    /// A machine on which nothing is trapped by a control bit: counters, timers, FS.
    fn open() -> Self {
        let isa = Extensions::ALL;
        let mut machine =
            Self { hart: Hart::new(0, isa), ram: Ram::new(1), engine: Engine::new(isa, 4) };
        for (csr, value) in [
            (Csr::PMPADDR0, u64::MAX),
            (Csr(Csr::PMPADDR0.0 + 1), u64::MAX),
            (Csr::PMPCFG0, 0x3f1f),
            (Csr::MSTATUS, 3 << 13),
            (Csr::VSSTATUS, 3 << 13),
            (Csr::MCOUNTEREN, u64::MAX),
            (Csr::HCOUNTEREN, u64::MAX),
            (Csr::HUCOUNTEREN, u64::MAX),
            (Csr::SCOUNTEREN, u64::MAX),
            (Csr::MENVCFG, 1 << 63),
            (Csr::HENVCFG, 1 << 63),
        ] {
            machine.set(csr, value);
        }
        machine.hart.set_report(Report::Everything);
        machine
    }

    fn set(&mut self, csr: Csr, value: u64) {
        self.hart.set_csr(&mut self.ram, csr, value);
    }

    /// Runs one CSR instruction with `a1` as its operand and `a0` as its result.
    fn access(&mut self, op: Op, csr: Csr, value: Option<u64>) -> Verdict {
        let rs1 = if value.is_some() { 11 } else { 0 };
        let rd = if op == Op::Csrrw { 0 } else { 10 };
        let insn = Insn { rd, rs1, imm: i64::from(csr.0), ..Insn::new(op) };
        let word = isa::encode(&insn);
        self.ram.store(0, word.to_le_bytes(), Writer::Debugger);
        self.hart.set_x(11, value.unwrap_or(0));
        self.hart.set_pc(BASE);
        let limit = self.hart.steps() + 1;
        let halt = self.hart.run(&mut self.engine, &mut self.ram, limit);
        let Halt::Trap(taken) = halt else { return Verdict::Done };
        match taken.trap.cause {
            Cause::Exception(Exception::IllegalInstruction) => Verdict::Illegal,
            Cause::Exception(Exception::VirtualInstruction) => Verdict::Virtual,
            Cause::Exception(Exception::DvFault) => Verdict::DvFault,
            Cause::Exception(_) | Cause::Interrupt(_) => {
                panic!("{csr} gives {:?}", taken.trap.cause)
            }
        }
    }
}

/// Privileged manual, "CSR Address Mapping Conventions" and "Virtual Instruction" traps; for DV-ext
/// the first table of its chapter.
fn rule(mode: Mode, csr: Csr, write: bool) -> Verdict {
    let Some(row) = csr.row() else { return Verdict::Illegal };
    if write && csr.0 >= 0xc00 {
        return Verdict::Illegal;
    }
    let virt = mode.is_virtual();
    let hs_only = matches!(csr.0, 0x102 | 0x103 | 0x6c0);
    match row.group {
        Group::Dv | Group::Hu => match mode {
            Mode::Vs | Mode::Vu => Verdict::Virtual,
            Mode::U => Verdict::Illegal,
            // hu_vitr is write-only.
            _ if csr.0 == 0x487 && !write => Verdict::Illegal,
            Mode::Hu if hs_only || (csr.0 == 0x880 && write) => Verdict::Illegal,
            Mode::M | Mode::Hs | Mode::Hu => Verdict::Done,
        },
        Group::User => Verdict::Done,
        Group::Machine | Group::Debug if mode == Mode::M => Verdict::Done,
        Group::Machine | Group::Debug => Verdict::Illegal,
        Group::Supervisor => match mode {
            Mode::M | Mode::Hs | Mode::Vs => Verdict::Done,
            Mode::U | Mode::Hu => Verdict::Illegal,
            Mode::Vu => Verdict::Virtual,
        },
        Group::Hypervisor | Group::Vs => match mode {
            Mode::M | Mode::Hs => Verdict::Done,
            _ if virt => Verdict::Virtual,
            Mode::U | Mode::Hu | Mode::Vs | Mode::Vu => Verdict::Illegal,
        },
    }
}

fn set_mode(machine: &mut Machine, mode: Mode) {
    machine.set(Csr::HSTATUS, u64::from(mode != Mode::U) << 9);
    machine.hart.set_mode(mode);
    assert_eq!(machine.hart.mode(), mode);
}

#[test]
fn every_number_in_every_mode_is_as_the_manual_says() {
    for mode in Mode::ALL {
        for number in 0..4096u16 {
            let csr = Csr(number);
            for write in [false, true] {
                let mut machine = Machine::open();
                set_mode(&mut machine, mode);
                let (op, value) = if write { (Op::Csrrw, Some(0)) } else { (Op::Csrrs, None) };
                let found = machine.access(op, csr, value);
                let mut expected = rule(mode, csr, write);
                // Zero names no vCPU that the driver has registered.
                let names = number == 0x487 || (number == 0x482 && mode == Mode::Hu);
                if expected == Verdict::Done && write && names {
                    expected = Verdict::DvFault;
                }
                assert_eq!(found, expected, "{csr} in {mode}, write {write}");
            }
        }
    }
}

#[test]
fn what_was_read_can_be_written_and_read_again() {
    let mut rng = Rng(1);
    for mode in [Mode::M, Mode::Hs, Mode::Hu, Mode::Vs, Mode::Vu, Mode::U] {
        for row in &CSRS {
            // Counters go on, and posting is no storage.
            let lives = matches!(row.csr.0, 0xb00 | 0xb02 | 0xc00..=0xc02 | 0x482..=0x487);
            if lives || rule(mode, row.csr, true) != Verdict::Done {
                continue;
            }
            for _ in 0..40 {
                check_write(mode, row.csr, &mut rng);
            }
        }
    }
}

/// "Write any, read legal": a value that was read back is kept by a second write.
fn check_write(mode: Mode, csr: Csr, rng: &mut Rng) {
    let mut machine = Machine::open();
    machine.set(Csr::MIDELEG, rng.next());
    machine.set(Csr::HIDELEG, rng.next());
    set_mode(&mut machine, mode);
    let sparse = rng.next();
    let value = rng.next() & rng.pick(&[u64::MAX, sparse, 0xff, 1 << 63]);
    let actual = if mode.is_virtual() && (0x100..0x200).contains(&csr.0) {
        let alias = !matches!(csr, Csr::SCOUNTEREN | Csr::SENVCFG);
        Csr(csr.0 + if alias { 0x100 } else { 0 })
    } else {
        csr
    };
    // Interrupts, rights and PMP may keep the next instruction from running: look from outside.
    if machine.access(Op::Csrrw, csr, Some(value)) != Verdict::Done {
        return;
    }
    let first = machine.hart.csr(actual);
    assert_legal(actual, first.unwrap_or(0));
    machine.set(actual, first.unwrap_or(0));
    assert_eq!(machine.hart.csr(actual), first, "{csr} in {mode} after {value:#x}");
}

/// Values that the manual forbids to be read.
fn assert_legal(csr: Csr, value: u64) {
    let legal = match csr {
        Csr::MSTATUS => {
            let dirty = value >> 63 == u64::from(value >> 13 & 3 == 3);
            value >> 11 & 3 != 2 && dirty && value >> 32 & 0xf == 10
        }
        Csr::SSTATUS | Csr::VSSTATUS | Csr::HUVSSTATUS => {
            value >> 63 == u64::from(value >> 13 & 3 == 3) && value >> 32 & 3 == 2
        }
        Csr::MTVEC | Csr::STVEC | Csr::VSTVEC | Csr::UTVEC | Csr::HUVSTVEC => value & 2 == 0,
        Csr::MEPC | Csr::SEPC | Csr::VSEPC | Csr::UEPC | Csr::HUVSEPC => value & 1 == 0,
        Csr::SATP | Csr::VSATP | Csr::HUVSATP => matches!(value >> 60, 0 | 8..=10),
        Csr::HGATP | Csr::HUGATP => {
            matches!(value >> 60, 0 | 8..=10) && value >> 58 & 3 == 0 && value & 3 == 0
        }
        Csr::MENVCFG | Csr::HENVCFG | Csr::SENVCFG => value >> 4 & 3 != 2,
        Csr::MEDELEG => value & (1 << 11 | 1 << 14 | 1 << 24) == 0,
        Csr::HEDELEG => value & !0xb1ff == 0,
        Csr::HIDELEG => value & !0x444 == 0,
        Csr::SEDELEG => value & !0xf0_04fe == 0,
        Csr::SIDELEG => value & !0x111 == 0,
        Csr::MIDELEG => value & 0x1444 == 0x1444 && value & 0x888 == 0,
        Csr::FRM => value < 8,
        Csr::FFLAGS => value < 32,
        Csr::VTIMECTL => matches!(value >> 1, 4 | 6),
        Csr::HSTATUS | Csr::HUSTATUS => value >> 32 == 2,
        Csr(n) if (Csr::PMPCFG0.0..=Csr::PMPCFG14.0).contains(&n) => {
            value.to_le_bytes().iter().all(|cfg| cfg & 3 != 2 && cfg >> 3 & 3 != 2)
        }
        _ => true,
    };
    assert!(legal, "{csr} reads {value:#x}");
}

#[test]
fn a_locked_entry_stays() {
    let mut machine = Machine::open();
    let address = Csr(Csr::PMPADDR0.0 + 2);
    machine.set(address, 0x8000_0000 >> 2);
    machine.set(Csr::PMPCFG0, 0x8f << 24 | 0x3f1f);
    let before = (machine.hart.csr(Csr::PMPCFG0), machine.hart.csr(address));
    machine.set(Csr::PMPCFG0, 0);
    machine.set(address, 0);
    let cfg = machine.hart.csr(Csr::PMPCFG0);
    assert_eq!(cfg, before.0.map(|cfg| cfg & 0xff << 24), "locked, the others are not");
    assert_eq!(machine.hart.csr(address), before.1, "the base of a locked TOR entry");
}
