// Code that was written or changed runs as new after fence.i, on other harts after a remote fence.i.
#include "check.h"
#define ROUNDS 300
#define ADDI_A0 0x00000513      // addi a0, x0, imm
#define RET 0x00008067

guest smc
main:
    li   s0, FRESH
    li   t0, RET
    sw   t0, 4(s0)
    li   s1, ROUNDS
1:  slli t0, s1, 20             // a new constant into old code
    li   t1, ADDI_A0
    or   t0, t0, t1
    sw   t0, (s0)
    fence.i
    jalr s0
    expect_reg a0, s1, "what the changed code returned"
    addi s1, s1, -1
    bnez s1, 1b

    la   t1, patched            // the very next instructions of the running block
    li   t0, ADDI_A0 + (42 << 20)
    li   a0, 7
    sw   t0, (t1)
    fence.i
    .option push
    .option norvc
    .align 2
patched:
    addi a0, x0, 1
    .option pop
    expect a0, 42, "instruction patched ahead"

    li   t1, FRESH + 0x1000 - 2 // an instruction that lies across two pages, then half of it changed
    li   t0, (ADDI_A0 + (5 << 20)) & 0xffff
    sh   t0, (t1)
    li   t0, (ADDI_A0 + (5 << 20)) >> 16
    sh   t0, 2(t1)
    li   t0, 0x8082             // c.jr ra
    sh   t0, 4(t1)
    mv   s2, t1
    fence.i
    jalr s2
    expect a0, 5, "code across two pages"
    li   t0, (6 << 4)
    sh   t0, 2(s2)
    fence.i
    jalr s2
    expect a0, 6, "code across two pages, second half changed"

    call count_harts
    li   t0, 2
    bltu a0, t0, pass
    li   s1, 1
    start_hart s1, runner
    li   s3, 20
2:  slli t0, s3, 20             // new code, fenced on the other hart, run there when told
    li   t1, ADDI_A0
    or   t0, t0, t1
    sw   t0, (s0)
    fence rw, rw
    li   a0, 2
    li   a1, 0
    sbi  EID_RFNC, 0
    expect a0, 0, "remote_fence_i"
    la   s2, go
    fence rw, rw
    sd   s3, (s2)
3:  ld   t0, (s2)
    bnez t0, 3b
    fence rw, rw
    ld   t0, returned
    expect_reg t0, s3, "what the other hart ran"
    addi s3, s3, -1
    bnez s3, 2b
    j    pass

runner:
    li   s0, FRESH
    la   s1, go
4:  ld   t0, (s1)
    beqz t0, 4b
    fence rw, rw
    jalr s0
    la   t0, returned
    sd   a0, (t0)
    fence rw, rw
    sd   zero, (s1)
    j    4b

    .bss
    .align 3
go: .zero 8
returned: .zero 8
