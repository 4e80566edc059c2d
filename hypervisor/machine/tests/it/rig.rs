//! Bare machines that do a bit of everything: devices, timers, traps, translation, atomics.

use isa::{Csr, Extensions, Op};
use machine::{BARE_RAM_BASE, BareConfig, BareMachine, Host, PAGE, Rest, Segment};
use session::NoInputs;

use crate::lockstep::asm::Code;
use crate::lockstep::layout::RAM_PAGES;
use crate::lockstep::program::Program;

pub(crate) const RAM: u64 = 2 << 20;
/// What the harts count, the driver's side of the ring, and the device's.
pub(crate) const DATA: u64 = BARE_RAM_BASE + 0x1_0000;
const RING: u64 = BARE_RAM_BASE + 0x1_2000;
const USED: u64 = BARE_RAM_BASE + 0x1_3000;
const RANDOM: u64 = BARE_RAM_BASE + 0x1_4ff0;

const UART: u64 = 0x1000_0000;
const RNG: u64 = 0x1000_3000;
const MTIMECMP: u64 = 0x200_4000;
const MTIME: u64 = 0x200_bff8;

const T0: u8 = 5;
const T1: u8 = 6;
const T2: u8 = 7;
const DATA_AT: u8 = 8;
const RING_AT: u8 = 9;
const A0: u8 = 10;
const RNG_AT: u8 = 18;
const UART_AT: u8 = 19;
const TIME_AT: u8 = 20;
const COMPARE_AT: u8 = 21;

/// The first hart drives the entropy device, prints, sleeps and traps; the others take a lock.
fn code() -> Vec<u8> {
    let mut code = Code::at(BARE_RAM_BASE);
    let (others, start, round, handler) = (code.label(), code.label(), code.label(), code.label());
    code.jump(start);
    code.bind(handler);
    code.csrr(T2, Csr::MEPC);
    code.i(Op::Addi, T2, T2, 4);
    code.csrw(Csr::MEPC, T2);
    code.op(Op::Mret);
    code.bind(start);
    let at = code.address(handler);
    code.set(Csr::MTVEC, at, T0);
    code.set(Csr::MSTATUS, 1 << 13, T0);
    code.set(Csr::MIE, 0x80, T0);
    code.li(DATA_AT, DATA);
    code.to(Op::Bne, A0, 0, others);
    let constants = [(RING_AT, RING), (RNG_AT, RNG), (UART_AT, UART), (TIME_AT, MTIME)];
    constants.into_iter().for_each(|(reg, value)| code.li(reg, value));
    code.li(COMPARE_AT, MTIMECMP);
    start_device(&mut code);
    code.bind(round);
    // One more entry in the ring, and the device is told.
    code.i(Op::Lhu, T0, RING_AT, 2);
    code.i(Op::Addi, T0, T0, 1);
    code.s(Op::Sh, T0, RING_AT, 2);
    code.s(Op::Sw, 0, RNG_AT, 0x50);
    code.s(Op::Sb, T0, UART_AT, 0);
    code.r(Op::AmoaddD, T1, DATA_AT, T0);
    code.s(Op::Sd, T1, DATA_AT, 0xffc);
    code.i(Op::Addi, T2, DATA_AT, 64);
    code.i(Op::CboZero, 0, T2, 0);
    code.s(Op::Sd, T0, T2, 24);
    code.r(Op::FcvtDL, 1, T0, 0);
    code.r(Op::FdivD, 2, 1, 1);
    code.s(Op::Fsd, 1, T2, 32);
    code.op(Op::Ecall);
    // Sleeps for three ticks; no interrupt is taken.
    code.i(Op::Ld, T1, TIME_AT, 0);
    code.i(Op::Addi, T1, T1, 3);
    code.s(Op::Sd, T1, COMPARE_AT, 0);
    code.op(Op::Wfi);
    code.i(Op::Addi, T1, 0, -1);
    code.s(Op::Sd, T1, COMPARE_AT, 0);
    code.jump(round);
    code.bind(others);
    let again = code.label();
    code.bind(again);
    code.r(Op::LrD, T0, DATA_AT, 0);
    code.r(Op::Add, T0, T0, A0);
    code.i(Op::Addi, T2, T2, 3);
    code.r(Op::ScD, T1, DATA_AT, T0);
    code.s(Op::Sw, T2, DATA_AT, 0x400);
    code.to(Op::Bne, T1, 0, again);
    code.op(Op::Pause);
    code.jump(again);
    code.finish()
}

/// Virtio, "Device Initialization", with one queue of eight entries.
fn start_device(code: &mut Code) {
    let low = |address: u64| address & 0xffff_ffff;
    let writes = [
        (0x70, 1),
        (0x70, 3),
        (0x24, 1),
        (0x20, 1),
        (0x70, 11),
        (0x30, 0),
        (0x38, 8),
        (0x80, low(RING) + 0x100),
        (0x90, low(RING)),
        (0xa0, low(USED)),
        (0x44, 1),
        (0x70, 15),
    ];
    for (offset, value) in writes {
        code.li(T0, value);
        code.s(Op::Sw, T0, RNG_AT, offset);
    }
}

/// Every entry of the ring asks for 40 bytes, across the end of a page.
fn descriptor() -> Vec<u8> {
    let mut bytes = RANDOM.to_le_bytes().to_vec();
    bytes.extend(40u32.to_le_bytes());
    bytes.extend([2, 0, 0, 0]);
    bytes
}

/// A machine with devices at work.
pub(crate) fn busy() -> BareMachine {
    let segment = |addr: u64, bytes: Vec<u8>| {
        let mem_size = bytes.len() as u64;
        Segment { addr, bytes, mem_size }
    };
    let segments = vec![segment(BARE_RAM_BASE, code()), segment(RING + 0x100, descriptor())];
    let config = BareConfig { harts: 3, quantum: 70, n_blocks: 64, segments, ..plain("busy") };
    BareMachine::new(config).unwrap()
}

fn plain(name: &str) -> BareConfig {
    BareConfig { isa: Extensions::ALL, ..BareConfig::new(name, RAM) }
}

/// A machine whose harts all run the random program of this seed.
pub(crate) fn random(seed: u64, harts: usize) -> BareMachine {
    assert_eq!(RAM_PAGES * PAGE, usize::try_from(RAM).unwrap());
    let bytes = Program::new(seed).image.bytes().to_vec();
    let mem_size = bytes.len() as u64;
    let segments = vec![Segment { addr: BARE_RAM_BASE, bytes, mem_size }];
    let config = BareConfig { harts, quantum: 100, n_blocks: 256, segments, ..plain("random") };
    BareMachine::new(config).unwrap()
}

/// So many steps more, or to the end.
pub(crate) fn run(machine: &mut BareMachine, steps: u64) -> Rest {
    let limit = machine.machine().steps() + steps;
    machine.run_until(&mut Host::new(&mut NoInputs), limit)
}

/// All of RAM: for each page what was ever written.
pub(crate) fn ram(machine: &BareMachine) -> Vec<Option<[u8; PAGE]>> {
    let memory = machine.machine().platform().memory();
    let pages = u32::try_from(memory.size() / PAGE).unwrap();
    (0..pages).map(|page| memory.page(page).copied()).collect()
}

/// Makes RAM this.
pub(crate) fn put_ram(machine: &mut BareMachine, pages: &[Option<[u8; PAGE]>]) {
    for (page, content) in pages.iter().enumerate() {
        let page = u32::try_from(page).unwrap();
        machine.machine_mut().memory_mut().put_page(page, content.as_ref());
    }
}
