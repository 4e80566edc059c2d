//! A program that writes in every way there is: stores that change nothing, atomics, a disk that
//! writes to memory, walks that set bits, and others that do the same on more harts.

use isa::{Csr, Op};

use crate::asm::Code;

pub(crate) const RAM: u64 = 0x8000_0000;
/// Bytes of RAM.
pub(crate) const RAM_SIZE: u64 = 1 << 20;
/// What all harts write to: two pages, and stores over the edge between them.
pub(crate) const DATA: u64 = RAM + 0x4000;
/// Three descriptors, the driver's side of the ring, the device's.
pub(crate) const DESCRIPTORS: u64 = RAM + 0x6000;
pub(crate) const RING: u64 = RAM + 0x6100;
pub(crate) const USED: u64 = RAM + 0x7000;
/// What is written to the disk, and what is read from it.
pub(crate) const OUT: u64 = RAM + 0x8000;
pub(crate) const IN: u64 = RAM + 0x9000;
/// Header and status of a request.
pub(crate) const HEADER: u64 = RAM + 0xa000;
pub(crate) const STATUS: u64 = HEADER + 64;
/// Sv39: the root, and the tables of `ALIAS`.
pub(crate) const TABLES: u64 = RAM + 0x1_0000;
/// Pages that are touched one after the other.
pub(crate) const FRESH: u64 = RAM + 0x2_0000;
/// Another name of `DATA`, if there is translation.
pub(crate) const ALIAS: u64 = 0x4000_0000;
/// Sectors of the disk.
pub(crate) const SECTORS: u64 = 64;
/// Entries of the ring.
pub(crate) const ENTRIES: u64 = 8;

const BLOCK: u64 = 0x1000_1000;
const UART: u64 = 0x1000_0000;
const FINISHER: u64 = 0x10_0000;
const MTIMECMP: u64 = 0x200_4000;
const MTIME: u64 = 0x200_bff8;
const RESET: u64 = 0x7777;
const PASS: u64 = 0x5555;
/// V, R, W, X, and no A and D.
const LEAF: u64 = 0xf;
/// A and D.
const USED_BITS: i64 = 0xc0;

const RA: u8 = 1;
const T0: u8 = 5;
const T1: u8 = 6;
const T2: u8 = 7;
const DATA_AT: u8 = 8;
const ROUND: u8 = 9;
const A0: u8 = 10;
const A1: u8 = 11;
const A2: u8 = 12;
const A6: u8 = 16;
const A7: u8 = 17;
const BLOCK_AT: u8 = 18;
const RING_AT: u8 = 19;
const USED_AT: u8 = 20;
const HEADER_AT: u8 = 21;
const HART: u8 = 22;
const UART_AT: u8 = 23;
const SHARED: u8 = 24;

/// What of the program is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// In VS-mode under translation; else in M-mode.
    pub(crate) vm: bool,
    pub(crate) harts: u64,
    /// Rounds, and then a reset.
    pub(crate) rounds: u64,
    /// After so many resets it powers off. Nothing but the disk remembers them.
    pub(crate) resets: u64,
}

/// Code at the begin of RAM, and tables behind it.
pub(crate) fn image(wanted: Wanted) -> Vec<u8> {
    let mut code = Code::at(RAM);
    let (start, others, round, handler) = (code.label(), code.label(), code.label(), code.label());
    let request = code.label();
    code.jump(start);
    // What traps is passed over. Code is aligned to four bytes.
    while !code.here().is_multiple_of(64) {
        code.op(Op::Ebreak);
    }
    code.bind(handler);
    let (pc, vector) = if wanted.vm { (Csr::SEPC, Csr::STVEC) } else { (Csr::MEPC, Csr::MTVEC) };
    code.csrr(T2, pc);
    code.i(Op::Addi, T2, T2, 4);
    code.csrw(pc, T2);
    code.op(if wanted.vm { Op::Sret } else { Op::Mret });
    code.bind(request);
    disk_request(&mut code, wanted);
    code.bind(start);
    code.i(Op::Addi, HART, A0, 0);
    let at = code.address(handler);
    code.set(vector, at, T0);
    // FS is on.
    let status = if wanted.vm { Csr::SSTATUS } else { Csr::MSTATUS };
    code.li(T0, 1 << 13);
    code.csr(Op::Csrrs, 0, status, T0);
    let enable = if wanted.vm { (Csr::SIE, 0x20) } else { (Csr::MIE, 0x80) };
    code.set(enable.0, enable.1, T0);
    if wanted.vm {
        code.set(Csr::SATP, 8 << 60 | TABLES >> 12, T0);
        code.put(isa::Insn::new(Op::SfenceVma));
    }
    code.li(DATA_AT, DATA);
    code.li(SHARED, DATA + 0x200);
    code.li(UART_AT, UART);
    code.to(Op::Bne, HART, 0, others);
    begin(&mut code, wanted);
    code.bind(round);
    one_round(&mut code, wanted, request);
    code.i(Op::Addi, ROUND, ROUND, 1);
    code.li(T0, wanted.rounds);
    let more = code.label();
    code.to(Op::Bltu, ROUND, T0, more);
    end(&mut code, wanted, request);
    code.bind(more);
    code.jump(round);
    code.bind(others);
    other(&mut code, wanted);
    let mut bytes = code.finish();
    assert!(bytes.len() < 0x4000, "{:#x} bytes of code", bytes.len());
    bytes.resize(usize::try_from(TABLES - RAM).unwrap(), 0);
    bytes.extend(tables());
    bytes
}

/// The root: everything where it is, and `ALIAS` by way of two more tables.
fn tables() -> Vec<u8> {
    let mut words = vec![0u64; 3 * 512];
    let leaf = |address: u64| address >> 12 << 10 | LEAF;
    let table = |address: u64| address >> 12 << 10 | 1;
    words[0] = leaf(0);
    words[1] = table(TABLES + 0x1000);
    words[2] = leaf(RAM);
    words[512] = table(TABLES + 0x2000);
    words[1024] = leaf(DATA);
    words[1025] = leaf(DATA + 0x1000);
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// The device is started, and so are the other harts.
fn begin(code: &mut Code, wanted: Wanted) {
    code.li(ROUND, 0);
    for (reg, value) in [(BLOCK_AT, BLOCK), (RING_AT, RING), (USED_AT, USED), (HEADER_AT, HEADER)] {
        code.li(reg, value);
    }
    let low = |address: u64| address & 0xffff_ffff;
    let writes = [
        (0x70, 1),
        (0x70, 3),
        (0x24, 1),
        (0x20, 1),
        (0x70, 11),
        (0x30, 0),
        (0x38, ENTRIES),
        (0x80, low(DESCRIPTORS)),
        (0x90, low(RING)),
        (0xa0, low(USED)),
        (0x44, 1),
        (0x70, 15),
    ];
    for (offset, value) in writes {
        code.li(T0, value);
        code.s(Op::Sw, T0, BLOCK_AT, offset);
    }
    for hart in 1..if wanted.vm { wanted.harts } else { 0 } {
        // SBI, "Hart State Management".
        code.li(A0, hart);
        code.li(A1, RAM);
        code.li(A2, 0);
        call(code, 0x48_534d, 0);
    }
}

fn call(code: &mut Code, extension: u64, function: u64) {
    code.li(A7, extension);
    code.li(A6, function);
    code.op(Op::Ecall);
}

/// A function: the request for which the header's first word (0: read, 1: write) and sector are in
/// `A0` and `A1`; comes back when it is done.
fn disk_request(code: &mut Code, wanted: Wanted) {
    code.s(Op::Sw, A0, HEADER_AT, 0);
    code.s(Op::Sd, A1, HEADER_AT, 8);
    let (read, filled, sleep, done) = (code.label(), code.label(), code.label(), code.label());
    code.li(T1, DESCRIPTORS);
    descriptor(code, 0, HEADER, 16, 1);
    code.to(Op::Beq, A0, 0, read);
    descriptor(code, 1, OUT, 512, 1);
    code.jump(filled);
    code.bind(read);
    descriptor(code, 1, IN, 512, 3);
    code.bind(filled);
    descriptor(code, 2, STATUS, 1, 2);
    // The ring's entries all name the first descriptor.
    code.i(Op::Lhu, T0, RING_AT, 2);
    code.i(Op::Addi, T0, T0, 1);
    code.s(Op::Sh, T0, RING_AT, 2);
    code.s(Op::Sw, 0, BLOCK_AT, 0x50);
    code.i(Op::Lhu, T2, RING_AT, 2);
    code.bind(sleep);
    code.i(Op::Lhu, T1, USED_AT, 2);
    code.to(Op::Beq, T1, T2, done);
    // 30 us, of which a request takes three or four.
    nap(code, wanted, 300);
    code.jump(sleep);
    code.bind(done);
    code.i(Op::Lw, T0, BLOCK_AT, 0x60);
    code.s(Op::Sw, T0, BLOCK_AT, 0x64);
    code.i(Op::Jalr, 0, RA, 0);
}

/// Waits so many ticks of 100 ns, or a bit less.
fn nap(code: &mut Code, wanted: Wanted, ticks: i64) {
    if wanted.vm {
        code.csrr(T0, Csr::TIME);
        code.i(Op::Addi, T0, T0, ticks);
        code.csrw(Csr::STIMECMP, T0);
        code.op(Op::Wfi);
        code.li(T0, u64::MAX);
        code.csrw(Csr::STIMECMP, T0);
        return;
    }
    code.li(T0, MTIME);
    code.i(Op::Ld, T0, T0, 0);
    code.i(Op::Addi, T0, T0, ticks);
    code.i(Op::Slli, T1, HART, 3);
    code.li(A2, MTIMECMP);
    code.r(Op::Add, T1, T1, A2);
    code.s(Op::Sd, T0, T1, 0);
    code.op(Op::Wfi);
    code.li(T0, u64::MAX);
    code.s(Op::Sd, T0, T1, 0);
}

fn descriptor(code: &mut Code, index: i64, address: u64, len: u64, flags: i64) {
    let at = 16 * index;
    code.li(T0, address);
    code.s(Op::Sd, T0, T1, at);
    code.li(T0, len);
    code.s(Op::Sw, T0, T1, at + 8);
    code.i(Op::Addi, T0, 0, flags);
    code.s(Op::Sh, T0, T1, at + 12);
    code.i(Op::Addi, T0, 0, index + 1);
    code.s(Op::Sh, T0, T1, at + 14);
}

/// What the first hart does again and again.
fn one_round(code: &mut Code, wanted: Wanted, request: crate::asm::Label) {
    stores(code);
    atomics(code);
    csrs(code);
    if wanted.vm {
        // The walk sets A and D again, and the store changes nothing.
        code.li(T1, TABLES + 0x2000);
        code.i(Op::Ld, T0, T1, 0);
        code.i(Op::Andi, T0, T0, !USED_BITS);
        code.s(Op::Sd, T0, T1, 0);
        code.put(isa::Insn::new(Op::SfenceVma));
        code.li(T1, ALIAS);
        code.i(Op::Ld, T0, T1, 0x40);
        code.s(Op::Sd, T0, T1, 0x40);
        code.s(Op::Sd, ROUND, T1, 0x48);
    } else {
        code.i(Op::Addi, T1, DATA_AT, 0x80);
        code.i(Op::CboZero, 0, T1, 0);
    }
    // A page that is new, for the first 64 rounds.
    code.i(Op::Andi, T0, ROUND, 63);
    code.i(Op::Slli, T0, T0, 12);
    code.li(T1, FRESH);
    code.r(Op::Add, T1, T1, T0);
    code.s(Op::Sd, ROUND, T1, 8);
    code.s(Op::Sb, T0, UART_AT, 0);
    if wanted.vm {
        call(code, 0x10, 0);
    } else {
        code.op(Op::Ecall);
    }
    // The sector's number is the round's. What is read next was written long ago, or never.
    code.li(T1, OUT);
    code.s(Op::Sd, ROUND, T1, 0);
    code.s(Op::Sd, ROUND, T1, 0x1f8);
    code.i(Op::Addi, A0, 0, 1);
    code.i(Op::Andi, A1, ROUND, 15);
    code.to(Op::Jal, RA, 0, request);
    code.i(Op::Addi, A0, 0, 0);
    code.i(Op::Andi, A1, ROUND, 31);
    code.to(Op::Jal, RA, 0, request);
}

fn stores(code: &mut Code) {
    code.s(Op::Sd, ROUND, DATA_AT, 0);
    code.s(Op::Sd, ROUND, DATA_AT, 0);
    code.s(Op::Sb, ROUND, DATA_AT, 8);
    code.s(Op::Sh, ROUND, DATA_AT, 0xa);
    code.s(Op::Sw, ROUND, DATA_AT, 0xc);
    // Over the end of a page, and within one.
    code.i(Op::Addi, T1, DATA_AT, 0x7fc);
    code.i(Op::Addi, T1, T1, 0x7fc);
    code.s(Op::Sd, ROUND, T1, 4);
    code.s(Op::Sw, ROUND, T1, 5);
    code.s(Op::Sd, ROUND, DATA_AT, 0x13);
    code.r(Op::FcvtDL, 1, ROUND, 0);
    code.r(Op::FdivD, 2, 1, 1);
    code.s(Op::Fsd, 1, DATA_AT, 0x20);
    code.s(Op::Fsw, 2, DATA_AT, 0x28);
}

fn atomics(code: &mut Code) {
    code.r(Op::AmoaddD, T0, SHARED, ROUND);
    code.r(Op::AmoorD, T0, SHARED, 0);
    code.r(Op::AmoswapW, T0, SHARED, ROUND);
    code.r(Op::LrD, T0, DATA_AT, 0);
    code.r(Op::ScD, T1, DATA_AT, T0);
    // There is no reservation any more.
    code.r(Op::ScD, T1, DATA_AT, ROUND);
}

fn csrs(code: &mut Code) {
    code.csrw(Csr::SSCRATCH, ROUND);
    code.csrw(Csr::SSCRATCH, ROUND);
    code.i(Op::Andi, T0, ROUND, 3);
    code.csrw(Csr::FRM, T0);
    code.csrw(Csr::FFLAGS, 0);
    code.r(Op::FdivD, 3, 1, 2);
}

/// Off, if sector 63 says that this was the last time; else one more is noted, and a reset.
fn end(code: &mut Code, wanted: Wanted, request: crate::asm::Label) {
    let off = code.label();
    code.i(Op::Addi, A0, 0, 0);
    code.li(A1, SECTORS - 1);
    code.to(Op::Jal, RA, 0, request);
    code.li(T1, IN);
    code.i(Op::Lbu, T0, T1, 0);
    code.li(T2, wanted.resets);
    code.to(Op::Bgeu, T0, T2, off);
    code.i(Op::Addi, T0, T0, 1);
    code.li(T1, OUT);
    code.s(Op::Sd, T0, T1, 0);
    code.i(Op::Addi, A0, 0, 1);
    code.li(A1, SECTORS - 1);
    code.to(Op::Jal, RA, 0, request);
    code.li(T1, FINISHER);
    code.li(T0, RESET);
    code.s(Op::Sw, T0, T1, 0);
    let here = code.label();
    code.bind(here);
    code.jump(here);
    code.bind(off);
    code.li(T1, FINISHER);
    code.li(T0, PASS);
    code.s(Op::Sw, T0, T1, 0);
    code.jump(off);
}

/// What the other harts do: the same words, each other's locks, and a place of their own.
fn other(code: &mut Code, wanted: Wanted) {
    let again = code.label();
    code.i(Op::Slli, T2, HART, 6);
    code.r(Op::Add, UART_AT, T2, DATA_AT);
    code.bind(again);
    code.r(Op::LrD, T0, SHARED, 0);
    code.i(Op::Addi, T0, T0, 1);
    code.r(Op::ScD, T1, SHARED, T0);
    code.to(Op::Bne, T1, 0, again);
    code.s(Op::Sd, T0, UART_AT, 0x400);
    code.s(Op::Sd, T0, UART_AT, 0x400);
    code.i(Op::Ld, T2, DATA_AT, 0);
    code.s(Op::Sd, T2, DATA_AT, 0);
    code.csrw(Csr::SSCRATCH, T0);
    code.op(Op::Pause);
    code.i(Op::Addi, ROUND, ROUND, 1);
    code.i(Op::Andi, T2, ROUND, 7);
    code.to(Op::Bne, T2, 0, again);
    nap(code, wanted, 500);
    code.jump(again);
}
