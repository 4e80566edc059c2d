// The SBI answers every probe, refuses what it does not know or what is no RAM, and changes only a0, a1.
#include "check.h"

// A console write and a console read of 8 bytes at an address, both refused.
.macro refused low, high, count=8
    li   a0, \count
    li   a1, \low
    li   a2, \high
    sbi  EID_DBCN, 0
    expect a0, -3, "console_write from \high:\low"
    li   a0, \count
    li   a1, \low
    li   a2, \high
    sbi  EID_DBCN, 1
    expect a0, -3, "console_read into \high:\low"
.endm

guest sbi_probe
main:
    sbi  EID_BASE, 0
    expect a0, 0, "get_spec_version"
    srli t0, a1, 24
    mv   s0, a1
    bnez t0, 1f
    text a0, "specification older than 1.0:"
    mv   a2, zero
    j    fail_pair
1:  text a0, "specification "
    mv   a1, s0
    call show
    li   s2, 1                  // functions 1, 2, 4, 5, 6: ids of implementation and hart
2:  li   t0, 3
    beq  s2, t0, 3f
    li   a7, EID_BASE
    mv   a6, s2
    ecall
    expect a0, 0, "base function"
    text a0, "base function "
    call show
3:  addi s2, s2, 1
    li   t0, 7
    bltu s2, t0, 2b

    la   s2, names
4:  lwu  s3, (s2)
    beqz s3, 5f
    mv   a0, s3
    sbi  EID_BASE, 3
    expect a0, 0, "probe_extension"
    mv   s4, a1
    addi a0, s2, 8
    call show
    lw   t0, 4(s2)              // 1: a guest of ours may rely on it
    beqz t0, 6f
    bnez s4, 6f
    addi a0, s2, 8
    j    fail
6:  addi s2, s2, 16
    j    4b

5:  li   a0, 0x0a000000 + 77    // experimental range: nobody's
    sbi  EID_BASE, 3
    expect a0, 0, "probe of an unknown extension"
    expect a1, 0, "answer for an unknown extension"
    li   a0, 0
    sbi  0x0a000000 + 77, 0
    expect a0, -2, "call of an unknown extension"
    sbi  EID_TIME, 9
    expect a0, -2, "unknown function of TIME"
    sbi  EID_BASE, 99
    expect a0, -2, "unknown function of BASE"
    sbi  EID_HSM, 99
    expect a0, -2, "unknown function of HSM"

    mv   a0, tp
    sbi  EID_HSM, 2
    expect a0, 0, "hart_get_status"
    expect a1, 0, "status of the hart that asks"
    li   a0, 4000
    sbi  EID_HSM, 2
    expect a0, -3, "hart_get_status of no hart"
    mv   a0, tp
    la   a1, _start_other
    sbi  EID_HSM, 0
    expect a0, -6, "hart_start of a running hart"
    li   a0, 4000
    la   a1, _start_other
    sbi  EID_HSM, 0
    expect a0, -3, "hart_start of no hart"

    li   a0, 5                  // a reserved reset type: refused, the machine stays on
    li   a1, 0
    sbi  EID_SRST, 0
    bltz a0, 7f
    text a0, "system_reset with a reserved type was taken"
    j    fail

7:  li   a0, EID_DBCN
    sbi  EID_BASE, 3
    beqz a1, 10f
    li   a0, '*'
    sbi  EID_DBCN, 2
    expect a0, 0, "console_write_byte"
    li   a0, '\r'
    sbi  EID_DBCN, 2
    li   a0, '\n'
    sbi  EID_DBCN, 2
    li   a0, 0                  // no bytes at all
    la   a1, names
    li   a2, 0
    sbi  EID_DBCN, 0
    expect a0, 0, "console_write of nothing"
    expect a1, 0, "bytes written of nothing"
    sbi  EID_BASE, 1            // OpenSBI (1) trusts its guest with addresses: the rest is not for it
    li   t0, 1
    beq  a1, t0, 10f
    refused HOLE, 0
    refused UART, 0             // a device is no memory either
    refused 0, 0
    refused 0x7ffffffc, 0       // ends in RAM
    refused -4, 0               // wraps around
    refused FRESH, 1            // the high half counts
    refused FRESH, 0, -1        // longer than any RAM
    li   a0, 4                  // RAM that was never touched may be read into, over a page's end
    li   a1, FRESH + 0xffe
    li   a2, 0
    sbi  EID_DBCN, 1
    expect a0, 0, "console_read into fresh pages"
    li   a1, FRESH + 0x2ffe     // and written from, likewise
    li   t0, '.' + ('.' << 8) + ('\r' << 16) + ('\n' << 24)
    sw   t0, (a1)
    li   a0, 4
    li   a2, 0
    sbi  EID_DBCN, 0
    expect a0, 0, "console_write over the end of a page"
    expect a1, 4, "bytes written"

    call count_harts            // a hart cannot be started where there is no RAM
    li   t0, 2
    bltu a0, t0, 10f
    la   s2, addresses
9:  ld   a1, (s2)
    beqz a1, 10f
    li   a0, 1
    li   a2, 0
    sbi  EID_HSM, 0
    expect a0, -5, "hart_start outside of RAM"
    li   a0, 1
    sbi  EID_HSM, 2
    expect a1, 1, "status of a hart that was not started"
    addi s2, s2, 8
    j    9b

10: .irp r, ra, t0, t1, t2, t3, t4, t5, t6, s0, s1, s2, s3, s5, s6, s7, s8, s9, s10, s11, gp, a2, a3, a4, a5
    auipc \r, 0                 // a different value in each
    .endr
    call checksum
    mv   s4, a0
    li   a0, 0
    sbi  EID_BASE, 0
    call checksum
    expect_reg a0, s4, "registers across a call"
    j    pass

// a0 = sum of the registers that no SBI call may change, each turned by its place
checksum:
    li   a0, 0
    .irp r, t0, t1, t2, t3, t4, t5, t6, s0, s1, s2, s3, s5, s6, s7, s8, s9, s10, s11, gp, tp, sp, a2, a3, a4, a5
    slli a1, a0, 3
    srli a0, a0, 61
    or   a0, a0, a1
    add  a0, a0, \r
    .endr
    ret

show:                           // a0 = text, a1 = number
    addi sp, sp, -16
    sd   ra, (sp)
    sd   a1, 8(sp)
    call puts
    ld   a0, 8(sp)
    call puthex
    text a0, "\r\n"
    call puts
    ld   ra, (sp)
    addi sp, sp, 16
    ret

    .section .rodata
    .align 4
.macro extension eid, needed, name
    .word \eid, \needed
    .asciz "\name "
    .balign 16
.endm
names:
    extension EID_TIME, 1, TIME
    extension EID_IPI, 1, sPI
    extension EID_RFNC, 1, RFNC
    extension EID_HSM, 1, HSM
    extension EID_SRST, 1, SRST
    extension EID_DBCN, 0, DBCN
    extension 0x504d55, 0, PMU
    extension 0x53555350, 0, SUSP
    extension 0x43505043, 0, CPPC
    extension 0x4e41434c, 0, NACL
    extension 0x535441, 0, STA
    .word 0

    .align 3
addresses: .dword HOLE, UART, 0x7ffffffe, 0x1000000000000, -2, 0
