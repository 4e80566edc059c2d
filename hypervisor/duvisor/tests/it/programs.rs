//! Programs put together here, good and bad, as ELF files.

/// Where RAM has room for a payload.
pub(crate) const ENTRY: u64 = 0x8020_0000;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const MACHINE_RISCV: u16 = 243;

/// Offset of the class (32 or 64 bits) in an ELF file.
pub(crate) const CLASS: usize = 4;
/// Offset of the machine.
pub(crate) const MACHINE: usize = 18;
/// Offset of the first segment's physical address.
pub(crate) const PADDR: usize = HEADER + 24;

/// An ELF file with one segment: these instructions, which are also its entry.
pub(crate) fn elf(code: &[u32]) -> Vec<u8> {
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (offset, size) = ((HEADER + PROGRAM_HEADER) as u64, code.len() as u64);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [2, MACHINE_RISCV] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    for word in [ENTRY, HEADER as u64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable, writable and executable.
    for word in [1_u32, 7] {
        file.extend(word.to_le_bytes());
    }
    for word in [offset, ENTRY, ENTRY, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

/// Jumps to a hole; the handler of the fault is in the hole, too.
pub(crate) const TO_NOWHERE: &[u32] = &[
    0x0000_0067, // jalr zero, 0(zero)
];

/// Faults, and its handler faults in the same way.
pub(crate) const FAULTS_FOR_EVER: &[u32] = &[
    0x0000_0297, // auipc t0, 0
    0x1052_9073, // csrrw zero, stvec, t0
    0x0000_3003, // ld zero, 0(zero)
];

/// Gives the entropy device a ring that lies in a hole, waits until the device says that it needs a
/// reset, and powers off.
pub(crate) const BREAKS_A_RING: &[u32] = &[
    0x1000_3437, // lui s0, 0x10003
    0x0604_2823, // sw zero, 112(s0)     status = 0
    0x0030_0293, // addi t0, zero, 3
    0x0654_2823, // sw t0, 112(s0)       status = ACKNOWLEDGE | DRIVER
    0x0010_0313, // addi t1, zero, 1
    0x0264_2223, // sw t1, 36(s0)        the upper features:
    0x0264_2023, // sw t1, 32(s0)        VERSION_1
    0x00b0_0293, // addi t0, zero, 11
    0x0654_2823, // sw t0, 112(s0)       status |= FEATURES_OK
    0x0080_0293, // addi t0, zero, 8
    0x0254_2c23, // sw t0, 56(s0)        eight descriptors
    0x0000_12b7, // lui t0, 1
    0x0854_2023, // sw t0, 128(s0)       descriptors,
    0x0854_2823, // sw t0, 144(s0)       driver area,
    0x0a54_2023, // sw t0, 160(s0)       device area at 0x1000
    0x0464_2223, // sw t1, 68(s0)        ready
    0x00f0_0293, // addi t0, zero, 15
    0x0654_2823, // sw t0, 112(s0)       status |= DRIVER_OK
    0x0404_2823, // sw zero, 80(s0)      kick
    0x0704_2283, // lw t0, 112(s0)
    0x0402_f293, // andi t0, t0, 64      DEVICE_NEEDS_RESET
    0xfe02_8ce3, // beq t0, zero, -8
    0x5352_58b7, // lui a7, 0x53525
    0x3548_889b, // addiw a7, a7, 852    SRST
    0x0000_0813, // addi a6, zero, 0     system_reset
    0x0000_0513, // addi a0, zero, 0     shutdown
    0x0000_0593, // addi a1, zero, 0     without a reason
    0x0000_0073, // ecall
];

/// Waits for an interrupt that nothing will ever raise.
pub(crate) const WAITS_FOR_NOTHING: &[u32] = &[
    0x1050_0073, // wfi
    0xffdf_f06f, // jal zero, -4
];

/// Writes an empty line to the UART, then jumps to itself for ever.
pub(crate) const SPEAKS_AND_SPINS: &[u32] = &[
    0x1000_0437, // lui s0, 0x10000
    0x00a0_0293, // addi t0, zero, 10
    0x0054_0023, // sb t0, 0(s0)
    0x0000_006f, // jal zero, 0
];

/// On the bare machine: reports success to the finisher if `a1` is zero, and otherwise failure with
/// the first byte that it points at.
pub(crate) const LOOKS_AT_A1: &[u32] = &[
    0x0010_02b7, // lui t0, 0x100
    0x0000_5337, // lui t1, 0x5
    0x5553_0313, // addi t1, t1, 0x555   pass
    0x0005_8c63, // beq a1, zero, 24
    0x0005_c383, // lbu t2, 0(a1)
    0x0103_9393, // slli t2, t2, 16
    0x0000_3337, // lui t1, 0x3
    0x3333_0313, // addi t1, t1, 0x333   fail
    0x0073_6333, // or t1, t1, t2
    0x0062_a023, // sw t1, 0(t0)
    0x0000_006f, // jal zero, 0
];

/// Fills 16 MiB with numbers that cannot be made smaller, then jumps to itself for ever.
pub(crate) const FILLS_MEMORY: &[u32] = &[
    0x8100_0437, // lui s0, 0x81000
    0x0204_1413, // slli s0, s0, 32
    0x0204_5413, // srli s0, s0, 32
    0x0100_04b7, // lui s1, 0x1000
    0x0094_04b3, // add s1, s0, s1
    0x0010_0293, // addi t0, zero, 1
    0x00d2_9313, // slli t1, t0, 13
    0x0062_c2b3, // xor t0, t0, t1
    0x0072_d313, // srli t1, t0, 7
    0x0062_c2b3, // xor t0, t0, t1
    0x0112_9313, // slli t1, t0, 17
    0x0062_c2b3, // xor t0, t0, t1
    0x0054_3023, // sd t0, 0(s0)
    0x0084_0413, // addi s0, s0, 8
    0xfe94_60e3, // bltu s0, s1, -32
    0x0000_006f, // jal zero, 0
];
