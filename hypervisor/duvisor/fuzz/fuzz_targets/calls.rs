//! Guests that do nothing but what takes them out of the guest: SBI calls, device registers,
//! instructions and CSRs that are not theirs, with arguments of the fuzzer's choice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::Segment;

mod world;

use world::{Setting, code, run};

const MAX_STEPS: u64 = 20_000;
/// Where the arguments lie: 64 bytes an action.
const DATA: u64 = 0x8010_8000;
const ACTIONS_MAX: usize = 64;
/// Bytes of the input that make an action.
const ACTION: usize = 34;

/// Every exception leads to the next action, every interrupt turns interrupts off:
/// ```text
/// entry: la t0, h;  csrw stvec, t0;  li t0, 0x6000;  csrs sstatus, t0;  li s0, DATA;  j ops
/// h:     csrr t5, scause;  bltz t5, 1f
///        addi t5, s1, 48;  csrw sepc, t5;  li t5, 0x100;  csrs sstatus, t5;  sret
/// 1:     csrw sie, zero;  sret;  nop
/// ops:
/// ```
#[rustfmt::skip]
const HEAD: [u32; 18] = [
    0x0000_0297, 0x0202_8293, 0x1052_9073, 0x0000_62b7, 0x1002_a073,
    0x1002_1437, 0x0034_1413, 0x02c0_006f,
    0x1420_2f73, 0x000f_4c63, 0x0304_8f13, 0x141f_1073, 0x1000_0f13, 0x100f_2073, 0x1020_0073,
    0x1040_1073, 0x1020_0073, 0x0000_0013,
];
/// `auipc s1, 0`, and `a0` to `a7` from memory.
#[rustfmt::skip]
const BEFORE: [u32; 9] = [
    0x0000_0497,
    0x0004_3503, 0x0084_3583, 0x0104_3603, 0x0184_3683,
    0x0204_3703, 0x0284_3783, 0x0304_3803, 0x0384_3883,
];
/// `addi s0, s0, 64`.
const AFTER: u32 = 0x0404_0413;
const NOP: u32 = 0x13;
/// `lui t0, 0x10040;  slli t0, t0, 3;  jr t0`: once more from the entry.
const AGAIN: [u32; 3] = [0x1004_02b7, 0x0032_9293, 0x0002_8067];

const EXTENSIONS: [u64; 8] =
    [0x10, 0x5449_4d45, 0x0073_5049, 0x5246_4e43, 0x0048_534d, 0x5352_5354, 0x4442_434e, 0];

/// `wfi`, fences, `sret`, `mret`, `ebreak`, `wrs`, hypervisor and DV-ext instructions, `cbo`.
#[rustfmt::skip]
const ODD: [u32; 16] = [
    0x1050_0073, 0x1200_0073, 0x12b5_0073, 0x6200_0073, 0x2200_0073, 0x1020_0073, 0x3020_0073,
    0x0010_0073, 0x00d0_0073, 0x01d0_0073, 0x6405_45f3, 0x6ab5_4073, 0x0045_200f, 0x0025_200f,
    0x0000_100f, 0x0005_0067,
];

/// A number with a liking for what means something.
fn number(kind: u8, low: [u8; 4]) -> u64 {
    let low = u64::from(u32::from_le_bytes(low));
    let place = |base: u64, size: u64| base + low % size;
    match kind & 15 {
        0..=3 => low % 16,
        4 => 0x8020_0000,
        5 | 6 => place(0x8000_0000, 5 << 20),
        7 => place(0x1000_0000, 0x100),
        8 => place(0x1000_1000, 0x8000),
        9 => place(0x0c00_0000, 0x40_0000),
        10 => place(0x0010_0000, 0x2000),
        11 => u64::MAX - low % 4096,
        12 => low << 32 | low,
        13 => 8 << 60 | 0x8_0000 + low % 1024,
        14 => 1 << (low % 64),
        _ => low,
    }
}

/// Loads, stores and atomics at `a0` with `a1` or `fa1` and any width; compressed ones; the rest.
fn instruction(kind: u8, more: u8, args: &mut [u64; 8]) -> [u32; 2] {
    let funct3 = u32::from(more & 7) << 12;
    let csr = (u32::from(more) << 4 | u32::from(kind >> 4)) << 20;
    let word = match kind & 15 {
        0..=4 => {
            args[7] = EXTENSIONS[usize::from(more & 7)].max(u64::from(more >> 7));
            args[6] = u64::from(more >> 3 & 15);
            0x73
        }
        5 => 0x0005_0583 | funct3,
        6 => 0x00b5_0023 | funct3,
        7 => 0x0005_0587 | funct3,
        8 => 0x00b5_0027 | funct3,
        9 => 0x00c5_05af | u32::from(more >> 3) << 27 | u32::from(2 | kind >> 4 & 1) << 12,
        // `c.lw`, `c.ld`, `c.fld`, `c.sw`, `c.sd`, `c.fsd` of `a0`, and `c.nop`.
        10 => [0x1_410c, 0x1_610c, 0x1_210c, 0x1_c10c, 0x1_e10c, 0x1_a10c][usize::from(more % 6)],
        11 => 0x0005_15f3 | csr,
        12 => 0x0005_25f3 | csr,
        13 | 14 => ODD[usize::from(more & 15)],
        _ => u32::from_le_bytes([more | 3, kind, more, kind ^ more]),
    };
    [word, NOP]
}

fn guest(actions: &[u8]) -> Vec<Segment> {
    let mut words = HEAD.to_vec();
    let mut data = Vec::new();
    for action in actions.chunks_exact(ACTION).take(ACTIONS_MAX) {
        let [kind, more, rest @ ..] = action else { continue };
        let mut args = [0; 8];
        let (kinds, lows) = rest.split_at(rest.len() / 4);
        for (arg, (kind, low)) in args.iter_mut().zip(kinds.iter().zip(lows.chunks_exact(4))) {
            *arg = number(*kind, low.try_into().unwrap_or_default());
        }
        words.extend(BEFORE);
        let [insn, next] = instruction(*kind, *more, &mut args);
        words.extend([insn, AFTER, next]);
        data.extend(args.iter().flat_map(|arg| arg.to_le_bytes()));
    }
    words.extend(AGAIN);
    let mem_size = data.len() as u64;
    vec![Segment { addr: DATA, bytes: data, mem_size }, code(&words, &[])]
}

fuzz_target!(|data: &[u8]| {
    let [setting, actions @ ..] = data else { return };
    run(Setting::of(*setting, MAX_STEPS), &guest(actions), setting & 0x80 != 0);
});
