// What a guest may not do reaches it as an illegal instruction: it cannot tell that it is a guest.
#include "check.h"

// Every row must trap with cause 2, leave its target register alone, and name itself or 0 in stval.
.macro refused insn:vararg
    li   a0, 77
    must_trap 2, \insn
    call check_stval
    expect a0, 77, "target of: \insn"
.endm

guest virtual_instruction
main:
    la   s0, word
    // the hypervisor extension: fences, guest memory access, CSRs of HS and of VS by their HS names
    // (htimedelta, 0x605, is left out: OpenSBI makes one up for any S-mode)
    refused .insn r 0x73, 0, 0x31, x0, x0, x0       // hfence.gvma
    refused .insn r 0x73, 0, 0x11, x0, x0, x0       // hfence.vvma
    refused .insn r 0x73, 4, 0x34, a0, s0, x0       // hlv.w
    refused .insn r 0x73, 4, 0x36, a0, s0, x0       // hlv.d
    refused .insn r 0x73, 4, 0x32, a0, s0, x3       // hlvx.hu
    refused .insn r 0x73, 4, 0x37, x0, s0, a0       // hsv.d
    .irp csr, 0x600, 0x602, 0x603, 0x604, 0x606, 0x607, 0x60a, 0x643, 0x644, 0x645, 0x64a, 0x680, 0xe12
    refused csrr a0, \csr
    .endr
    .irp csr, 0x200, 0x204, 0x205, 0x240, 0x241, 0x242, 0x243, 0x244, 0x280
    refused csrr a0, \csr
    refused csrw \csr, s0
    .endr
    // DV-ext: the delegation CSRs of HS and the view of HU
    .irp csr, 0x102, 0x103, 0x800, 0x805, 0x841, 0x842, 0x843, 0x880, 0x400, 0x441, 0x480, 0x401, 0x482, 0x487
    refused csrr a0, \csr
    refused csrw \csr, s0
    .endr
    // machine mode, debug mode, nobody's, and a write to a counter
    .irp csr, 0x300, 0x304, 0x305, 0x340, 0x341, 0x342, 0x343, 0x344, 0xf14, 0x3a0, 0x3b0, 0x7b0, 0x5c0, 0x9ff
    refused csrr a0, \csr
    .endr
    refused csrw time, s0
    refused csrw instret, s0
    refused mret
    refused .insn i 0x73, 0, x0, x0, 0x7b2          // dret
    refused .4byte 0
    refused .4byte 0xffffffff
    ld   t0, word
    expect t0, 0, "memory after a refused hsv.d"

    // the same from U-mode, without translation: one instruction at a time
    la   s0, user_rows
1:  la   t0, user_rows_end
    bgeu s0, t0, pass
    li   t1, SSTATUS_SPP
    csrc sstatus, t1
    csrw sepc, s0
    la   t6, 2f
    csrw sscratch, t6
    sret
2:  expect s10, 2, "scause of a U-mode row"
    expect_reg s9, s0, "sepc of a U-mode row"
    call check_stval
    csrr t0, sstatus
    andi t0, t0, SSTATUS_SPP
    expect t0, 0, "sstatus.SPP after a trap from U-mode"
    addi s0, s0, 4
    j    1b

check_stval:
    beqz s11, 1f
    lwu  t0, (s9)
    expect_reg s11, t0, "stval of an illegal instruction"
1:  ret

    .option push
    .option norvc
    .align 2
user_rows:
    sret
    mret
    wfi
    sfence.vma
    csrr a0, sstatus
    csrw satp, a0
    csrr a0, 0x600
    csrr a0, 0x280
    csrr a0, 0x880
    csrw 0x480, a0
    csrr a0, 0x300
    .insn r 0x73, 0, 0x31, x0, x0, x0
    .insn r 0x73, 4, 0x36, a0, s0, x0
user_rows_end:
    .option pop

    .bss
    .align 3
word: .zero 8
