//! Any bytes as a guest in a whole VM: it ends, and neither panics nor has the VM killed.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod world;

use world::{Setting, code, run};

const MAX_STEPS: u64 = 20_000;

/// A trap handler that goes on two bytes later, so that code behind a trap is run, too:
/// ```text
/// entry: la t0, h;  csrw stvec, t0;  li t0, 0x6000;  csrs sstatus, t0    # floating point
///        li t0, 0x222;  csrw sie, t0;  csrsi sstatus, 2
///        s0 = UART, s1 = PLIC, s2 = finisher, s3 = virtio, s4 = RAM;  j code
/// h:     csrw sscratch, t6;  csrr t6, scause;  bltz t6, 1f
///        csrr t6, sepc;  addi t6, t6, 2;  csrw sepc, t6
///        li t6, 0x120;  csrs sstatus, t6;  csrr t6, sscratch;  sret
/// 1:     csrw sie, zero;  csrr t6, sscratch;  sret
/// code:
/// ```
#[rustfmt::skip]
const HANDLER: [u32; 28] = [
    0x0000_0297, 0x03c2_8293, 0x1052_9073, 0x0000_62b7, 0x1002_a073,
    0x2220_0293, 0x1042_9073, 0x1001_6073,
    0x1000_0437, 0x0c00_04b7, 0x0010_0937, 0x1000_19b7, 0x1008_0a37, 0x003a_1a13, 0x0380_006f,
    0x140f_9073, 0x1420_2ff3, 0x020f_c063, 0x1410_2ff3, 0x002f_8f93, 0x141f_9073,
    0x1200_0f93, 0x100f_a073, 0x1400_2ff3, 0x1020_0073,
    0x1040_1073, 0x1400_2ff3, 0x1020_0073,
];

fuzz_target!(|data: &[u8]| {
    let [setting, bytes @ ..] = data else { return };
    let words = if setting & 0x40 == 0 { &HANDLER[..] } else { &[] };
    run(Setting::of(*setting, MAX_STEPS), &[code(words, bytes)], setting & 0x80 != 0);
});
