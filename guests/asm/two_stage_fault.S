// Fresh RAM appears at first touch and reads as zeros; a hole in the map is an access fault.
#include "check.h"
#define PAGES 1024

guest two_stage_fault
main:
    li   s0, FRESH              // first touch by load on even pages, by store on odd ones
    li   s1, 0
1:  andi t0, s1, 1
    bnez t0, 2f
    ld   t1, 8(s0)
    expect t1, 0, "a fresh page"
2:  sd   s1, (s0)
    li   t0, 4088
    add  t0, t0, s0
    ld   t1, (t0)
    expect t1, 0, "the end of a fresh page"
    sd   s0, (t0)
    li   t0, 4096
    add  s0, s0, t0
    addi s1, s1, 1
    li   t0, PAGES
    bltu s1, t0, 1b

    li   s0, FRESH              // what was written is still there, page by page
    li   s1, 0
3:  ld   t1, (s0)
    expect_reg t1, s1, "first word of a touched page"
    li   t0, 4088
    add  t0, t0, s0
    ld   t1, (t0)
    expect_reg t1, s0, "last word of a touched page"
    li   t0, 4096
    add  s0, s0, t0
    addi s1, s1, 1
    li   t0, PAGES
    bltu s1, t0, 3b

    li   t0, SSTATUS_FS         // so that a floating-point load gets as far as memory
    csrs sstatus, t0
    la   s1, holes
4:  ld   s0, (s1)
    beqz s0, 5f
    li   a0, 77
    must_trap 5, lbu a0, 3(s0)
    addi t0, s0, 3
    expect_reg s11, t0, "stval of the load"
    expect a0, 77, "target of a load that trapped"
    must_trap 5, ld a0, 8(s0)
    must_trap 5, lw a0, (s0)
    must_trap 7, sd a0, 8(s0)
    addi t0, s0, 8
    expect_reg s11, t0, "stval of the store"
    must_trap 7, sb a0, 1(s0)
    must_trap 5, lr.d a0, (s0)
    must_trap 5, .insn i 0x07, 3, f1, 0(s0)
    addi s1, s1, 8
    j    4b

5:  li   s0, FRESH + PAGES * 4096   // code may be put on a fresh page
    li   t0, 0x00008067             // ret
    sw   t0, (s0)
    fence.i
    jalr s0
    j    pass

    .section .rodata
    .align 3
holes: .dword HOLE, HOLE + 0x1000, 0x1000000000000, 0
