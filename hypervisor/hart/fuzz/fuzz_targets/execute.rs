//! Any bytes as code in any mode: no panic, and the same end in one run and step by step.
#![no_main]

use hart::{AccessFault, Bus, Change, Engine, Halt, Hart, Post, Touch, Writer};
use isa::{Csr, Extensions, Mode};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/ram.rs"]
mod ram;

use ram::{BASE, Ram};

const N_STEPS: u64 = 256;

struct Machine {
    hart: Hart,
    ram: Ram,
    engine: Engine<Ram>,
}

fn machine(head: [u8; 8], code: &[u8], n_blocks: usize) -> Machine {
    let isa = Extensions::ALL;
    let mut ram = Ram::new(4);
    for (offset, byte) in code.iter().enumerate().take(0x3000) {
        ram.store(offset, [*byte], Writer::Loader);
    }
    let mut hart = Hart::new(0, isa);
    let flag = |i: u32| u64::from(head[1] >> i & 1);
    for (csr, value) in [
        (Csr::MSTATUS, 3 << 13 | flag(0) << 3 | flag(1) << 17),
        (Csr::VSSTATUS, 3 << 13),
        (Csr::PMPADDR0, u64::MAX),
        (Csr(Csr::PMPADDR0.0 + 1), u64::MAX),
        (Csr::PMPCFG0, 0x3f1f),
        (Csr::MTVEC, BASE + u64::from(head[2]) * 4),
        (Csr::STVEC, BASE + u64::from(head[3]) * 4),
        (Csr::UTVEC, BASE + u64::from(head[4]) * 4),
        (Csr::VSTVEC, BASE + u64::from(head[5]) * 4),
        (Csr::MEDELEG, flag(2) * u64::MAX),
        (Csr::HEDELEG, flag(3) * u64::MAX),
        (Csr::SEDELEG, flag(4) * u64::MAX),
        (Csr::HSTATUS, flag(5) << 9),
        (Csr::H_VMID, 1),
        (Csr::MENVCFG, flag(6) * u64::MAX),
        (Csr::MIE, flag(7) * u64::MAX),
        (Csr::UEPC, BASE),
        (Csr::MEPC, BASE + 0x80),
        (Csr::SEPC, BASE + 0x40),
        (Csr::MCOUNTEREN, u64::MAX),
    ] {
        hart.set_csr(&mut ram, csr, value);
    }
    for reg in 1..32 {
        hart.set_x(reg, BASE + u64::from(head[6]) * u64::from(reg) * 8);
        hart.set_f(reg, u64::from(head[7]) << (reg * 2));
    }
    hart.set_pc(BASE);
    hart.set_mode(Mode::ALL[usize::from(head[0]) % Mode::ALL.len()]);
    Machine { hart, ram, engine: Engine::new(isa, n_blocks) }
}

fn run(machine: &mut Machine, limit: u64) {
    let Machine { hart, ram, engine } = machine;
    while hart.steps() < limit {
        if hart.run(engine, ram, limit) == Halt::Waiting {
            return;
        }
    }
}

fn digest(machine: &Machine) -> (Vec<u64>, &[u8]) {
    let mut words = Vec::new();
    machine.hart.for_each_word(|word| words.push(word));
    (words, &machine.ram.bytes)
}

fuzz_target!(|data: &[u8]| {
    let Some((head, code)) = data.split_first_chunk() else { return };
    let mut whole = machine(*head, code, 64);
    run(&mut whole, N_STEPS);
    let mut cut = machine(*head, code, 1);
    for limit in 1..=N_STEPS {
        run(&mut cut, limit);
        if cut.hart.is_waiting() {
            break;
        }
    }
    assert_eq!(digest(&whole), digest(&cut));
});
