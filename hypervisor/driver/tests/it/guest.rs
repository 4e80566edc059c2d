//! A VM plane of a few lines, and guests assembled by hand.
//!
//! ```text
//!   GPA 0x8000_0000  512 pages of RAM, one G-stage table of 4 KiB leaves
//!   pool             +0 root, +0x4000 middle table, +0x5000 leaf table
//! ```

use driver::{Config, Hu, VmRequest};
use dv::{Dv, Woken};
use isa::fields::HUSTATUS;
use isa::{Csr, Extensions, Insn, Op};

/// Where the guest's RAM begins, for the guest.
pub(crate) const GPA: u64 = 0x8000_0000;
pub(crate) const GUEST_RAM: u64 = 2 << 20;
pub(crate) const POOL: u64 = 64 << 10;
/// V, R, W, X, U, A, D.
pub(crate) const LEAF: u64 = 0xdf;
/// Slices that a test waits for something to happen.
const SLICES_MAX: u32 = 10_000;
/// Offset in the pool of the table with the guest's leaves.
pub(crate) const LEAVES: u64 = 0x5000;

pub(crate) const A0: u8 = 10;
pub(crate) const A1: u8 = 11;
pub(crate) const A2: u8 = 12;

pub(crate) fn request() -> VmRequest {
    VmRequest { pool: POOL, spare: 1 << 20, ..VmRequest::new(GUEST_RAM) }
}

pub(crate) fn config(request: &VmRequest) -> Config {
    Config { n_blocks: 64, ..Config::fitting(Extensions::ALL, request) }
}

/// A VM with that many vCPUs.
pub(crate) fn vm(vcpus: usize) -> Hu {
    let request = VmRequest { vcpus, ..request() };
    Hu::start(config(&request), &request).unwrap()
}

/// Writes the leaf of a guest page, counted from [`GPA`].
pub(crate) fn map(hu: &mut Hu, page: u64, pte: u64) {
    let at = hu.windows()[1].hpa + LEAVES + 8 * page;
    hu.write(at, &pte.to_le_bytes()).unwrap();
}

/// The leaf that maps this physical address.
pub(crate) fn leaf(hpa: u64) -> u64 {
    hpa >> 12 << 10 | LEAF
}

/// Tables for the first pages of RAM, so many of them mapped.
pub(crate) fn tables(hu: &mut Hu, pages: u64) {
    let (ram, pool) = (hu.windows()[0].hpa, hu.windows()[1].hpa);
    let pointer = |hpa: u64| (hpa >> 12 << 10 | 1).to_le_bytes();
    hu.write(pool + 8 * (GPA >> 30), &pointer(pool + 0x4000)).unwrap();
    hu.write(pool + 0x4000, &pointer(pool + LEAVES)).unwrap();
    for page in 0..pages {
        map(hu, page, leaf(ram + page * 4096));
    }
}

pub(crate) fn assemble(insns: &[Insn]) -> Vec<u8> {
    insns.iter().flat_map(|insn| isa::encode(insn).to_le_bytes()).collect()
}

/// Puts a program at an offset of the guest's RAM.
pub(crate) fn program(hu: &mut Hu, offset: u64, insns: &[Insn]) {
    let at = hu.windows()[0].hpa + offset;
    hu.write(at, &assemble(insns)).unwrap();
}

/// Lets a vCPU begin in VS at an offset of RAM, without VS-stage translation.
pub(crate) fn enter(hu: &mut Hu, vcpu: usize, offset: u64) {
    let hustatus = HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask() | HUSTATUS::VTW.mask();
    hu.set_csr(vcpu, Csr::HUSTATUS, hustatus | HUSTATUS::VIE.mask()).unwrap();
    hu.set_csr(vcpu, Csr::HUCOUNTEREN, 7).unwrap();
    hu.set_csr(vcpu, Csr::HUVSTIMECMP, u64::MAX).unwrap();
    hu.set_csr(vcpu, Csr::HUIE, 0x111).unwrap();
    hu.set_csr(vcpu, Csr::UEPC, GPA + offset).unwrap();
    hu.huret(vcpu).unwrap();
    hu.unpark(vcpu);
}

/// A VM of one vCPU with that program, entered.
pub(crate) fn running(insns: &[Insn]) -> Hu {
    let mut hu = vm(1);
    tables(&mut hu, 16);
    program(&mut hu, 0, insns);
    enter(&mut hu, 0, 0);
    hu
}

/// Waits until something else than a slice happens, but not for ever.
#[track_caller]
pub(crate) fn wait(hu: &mut Hu) -> Woken {
    for _ in 0..SLICES_MAX {
        let woken = hu.wait();
        if woken != Woken::Slice {
            return woken;
        }
    }
    panic!("nothing comes of it");
}

/// Waits for a trap of this vCPU and gives `ucause`.
#[track_caller]
pub(crate) fn trap(hu: &mut Hu, vcpu: usize) -> u64 {
    assert_eq!(wait(hu), Woken::Trap(vcpu), "{:?}", hu.reason());
    hu.csr(vcpu, Csr::UCAUSE).unwrap()
}

/// Goes on behind the instruction that trapped.
pub(crate) fn skip(hu: &mut Hu, vcpu: usize) {
    let pc = hu.csr(vcpu, Csr::UEPC).unwrap();
    hu.set_csr(vcpu, Csr::UEPC, pc + 4).unwrap();
    hu.huret(vcpu).unwrap();
}

#[track_caller]
pub(crate) fn killed(hu: &mut Hu, reason: &str) {
    assert_eq!(wait(hu), Woken::Killed);
    assert_eq!(hu.reason(), Some(reason));
    assert_eq!(wait(hu), Woken::Killed);
}

/// FNV-1a over everything.
pub(crate) fn digest(hu: &Hu) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hu.driver().digest(&mut |bytes| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    });
    hash
}

/// Runs a test twice; both runs have to end in the same state.
#[track_caller]
pub(crate) fn twice(test: impl Fn() -> Hu) {
    let (first, second) = (digest(&test()), digest(&test()));
    assert_eq!(first, second, "two runs of one guest differ");
}

// Instructions.

pub(crate) fn i(op: Op, rd: u8, rs1: u8, imm: i64) -> Insn {
    Insn { rd, rs1, imm, ..Insn::new(op) }
}

pub(crate) fn r(op: Op, rd: u8, rs1: u8, rs2: u8) -> Insn {
    Insn { rd, rs1, rs2, ..Insn::new(op) }
}

pub(crate) fn ecall() -> Insn {
    Insn::new(Op::Ecall)
}

pub(crate) fn wfi() -> Insn {
    Insn::new(Op::Wfi)
}

/// A jump to itself.
pub(crate) fn forever() -> Insn {
    i(Op::Jal, 0, 0, 0)
}

pub(crate) fn addi(rd: u8, rs1: u8, imm: i64) -> Insn {
    i(Op::Addi, rd, rs1, imm)
}

/// `rd = GPA + page * 4096`, with `A2` as scratch.
pub(crate) fn page_address(rd: u8, page: i64) -> [Insn; 4] {
    // `lui` of 0x80000 would be negative.
    [addi(rd, 0, 1), i(Op::Slli, rd, rd, 31), i(Op::Lui, A2, 0, page << 12), r(Op::Add, rd, rd, A2)]
}

pub(crate) fn csrr(rd: u8, csr: Csr) -> Insn {
    i(Op::Csrrs, rd, 0, i64::from(csr.0))
}

pub(crate) fn csrw(csr: Csr, rs1: u8) -> Insn {
    i(Op::Csrrw, 0, rs1, i64::from(csr.0))
}
