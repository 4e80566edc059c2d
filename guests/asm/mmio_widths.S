// Every load and store of RV64GC decodes as MMIO: right register, width, sign; odd widths do no harm.
#include "check.h"
#define SCR UART + 7            // UART scratch register: eight bits that can be written and read
#define PRIORITY PLIC + 40      // PLIC priority of the UART's interrupt: 32-bit accesses

guest mmio_widths
main:
    li   s0, SCR
    .irp r, a0, t0, ra, s7, x31 // byte, several registers, both signs
    li   \r, 0x1ff85
    sb   \r, (s0)
    li   \r, -1
    lbu  \r, (s0)
    expect \r, 0x85, "lbu"
    lb   \r, (s0)
    expect \r, -0x7b, "lb"
    .endr
    sb   zero, (s0)
    lb   a1, (s0)
    expect a1, 0, "sb zero"
    lbu  zero, (s0)             // dropped, but accessed
    expect zero, 0, "x0"

    li   s1, PRIORITY
    li   a2, 5
    .option push
    .option norvc
    sw   a2, (s1)
    lw   a3, (s1)
    expect a3, 5, "lw"
    lwu  a4, (s1)
    expect a4, 5, "lwu"
    .option pop
    .irp r, x3, x18, x26, x30
    sw   zero, (s1)
    li   \r, 3
    sw   \r, (s1)
    li   \r, -1
    lw   \r, (s1)
    expect \r, 3, "lw, sw"
    .endr
    li   a2, 6                  // compressed: base and offset forms, then by the stack pointer
    c.sw a2, 0(s1)
    c.lw a3, 0(s1)
    expect a3, 6, "c.lw, c.sw"
    addi s1, s1, -40
    li   a2, 2
    c.sw a2, 40(s1)
    c.lw a5, 40(s1)
    expect a5, 2, "c.lw, c.sw with offset"
    mv   s2, sp
    mv   sp, s1
    li   s3, 7
    c.swsp s3, 40(sp)
    c.lwsp s4, 40(sp)
    mv   sp, s2
    expect s4, 7, "c.lwsp, c.swsp"

    li   t0, SSTATUS_FS         // floating point registers
    csrs sstatus, t0
    fmv.w.x f9, a2
    fsw  f9, 40(s1)
    flw  f27, 40(s1)
    fmv.x.d t0, f27
    expect t0, 0xffffffff00000002, "flw, fsw: NaN-boxed"

    li   s2, VIRTIO             // sign: the version register is small, the magic word is "virt"
    trap_on lw a0, (s2)         // (no virtio slot at all is fine, too)
    li   t0, 5
    beq  s10, t0, 1f
    expect a0, 0x74726976, "virtio magic"
1:
    li   s3, RTC                // reading the low half latches the high half
    lwu  s4, (s3)
    lwu  s5, 4(s3)
    lw   a1, (s3)
    sext.w t0, a1
    expect_reg a1, t0, "lw of the RTC"

    // Widths that the device has not: an access fault, or zeros; never another register, never a hang.
    li   a0, 0x5a
    sb   a0, (s0)
.macro odd_load insn:vararg
    li   s2, 0x123456789abcdef
    li   a0, -1
    trap_on \insn
    call check_load
    text a1, "\insn"
    bnez a0, odd_failed
    expect s2, 0x123456789abcdef, "neighbour of: \insn"
.endm
    odd_load lh a0, (s0)
    odd_load lhu a0, (s0)
    odd_load lb a0, (s1)
    odd_load lbu a0, 3(s1)
    odd_load lh a0, 2(s1)
    odd_load ld a0, (s1)
    odd_load c.ld a0, 40(s1)
    addi s3, s1, 40
    trap_on fld f9, (s3)
    trap_on fsd f9, (s3)
    trap_on sd a0, (s3)
    trap_on c.sd a0, 40(s1)
    trap_on sh a0, (s3)
    trap_on sb a0, 1(s3)
    trap_on amoadd.w a0, zero, (s3)
    trap_on lr.w a0, (s3)
    trap_on lw a0, 2(s3)        // misaligned
    trap_on sw a0, 1(s3)
    lbu  a0, (s0)
    expect a0, 0x5a, "scratch register after odd accesses"
    li   a2, 4                  // and plain ones still work
    sw   a2, (s3)
    lw   a0, (s3)
    expect a0, 4, "priority after odd accesses"
    sw   zero, (s3)
    j    pass

check_load:                     // a0 = 0 when the odd load ended in a permitted way
    li   t0, 4                  // misaligned
    beq  s10, t0, 2f
    li   t0, 5
    beq  s10, t0, 2f
    li   t0, -1
    bne  s10, t0, 3f
    li   t1, 0x5a               // a byte that the device does have may show through
    bgtu a0, t1, 3f
    li   a0, 0
    ret
2:  addi a0, a0, 1              // trapped: the register must be as before
    ret
3:  li   a0, 1
    ret
odd_failed:
    mv   a0, a1
    mv   a1, s10
    mv   a2, s11
    j    fail_pair
