// Misaligned loads and stores work everywhere in RAM; across into an unmapped page stval names that page.
#include "check.h"
#define VA 0x40000000           // two pages of the guest's own map: FRESH, then nothing

guest misaligned
main:
    li   s0, FRESH + 0x1000 - 16    // every offset over a page's end, where the next is fresh
    li   s1, 16
1:  li   t0, 0x8899aabbccddeeff
    sd   t0, (s0)
    ld   t1, (s0)
    expect_reg t1, t0, "ld, sd"
    lw   t1, (s0)
    expect t1, -0x33221101, "lw"
    lwu  t1, 2(s0)
    expect t1, 0xaabbccdd, "lwu"
    lh   t1, 3(s0)
    expect t1, -0x4434, "lh"
    lhu  t1, 5(s0)
    expect t1, 0x99aa, "lhu"
    sw   zero, 1(s0)
    ld   t1, (s0)
    expect t1, 0x8899aa00000000ff, "sw"
    li   t0, -1
    sh   t0, 3(s0)
    ld   t1, (s0)
    expect t1, 0x8899aaffff0000ff, "sh"
    addi s0, s0, 1
    addi s1, s1, -1
    bnez s1, 1b
    li   s0, FRESH + 0x200000 - 3   // and over 2 MiB: the stage-2 table's next leaf
    li   t0, 0x0123456789abcdef
    sd   t0, (s0)
    ld   t1, (s0)
    expect_reg t1, t0, "across 2 MiB"

    li   t0, 0x80000000         // root: gigabyte of RAM as it is, VA through two more tables
    set_pte root, 2, t0, PTE_RAM
    la   t0, middle
    set_pte root, 1, t0, PTE_V
    la   t0, leaves
    set_pte middle, 0, t0, PTE_V
    li   t0, FRESH
    set_pte leaves, 0, t0, PTE_RAM
    la   t0, root
    srli t0, t0, 12
    li   t1, 8 << 60
    or   t0, t0, t1
    sfence.vma
    csrw satp, t0
    sfence.vma
    li   s0, VA + 0x1000
    li   s1, -7
2:  add  s2, s0, s1             // 1 to 7 bytes in the mapped page, the rest not
    li   a0, 77
    must_trap 13, ld a0, (s2)
    expect_reg s11, s0, "stval of a load across"
    expect a0, 77, "target of a load across"
    must_trap 15, sd a0, (s2)
    expect_reg s11, s0, "stval of a store across"
    addi s1, s1, 1
    bnez s1, 2b
    addi s2, s0, -1
    must_trap 13, lh a0, (s2)
    expect_reg s11, s0, "stval of lh"
    must_trap 15, sw a0, (s2)
    expect_reg s11, s0, "stval of sw"
    addi s2, s0, -2
    ld   t0, -8(s0)             // inside the mapped page: no trap
    addi s2, s0, 1
    must_trap 13, lw a0, (s2)
    expect_reg s11, s2, "stval of a load behind"
    j    pass

    .bss
    .align 12
root: .zero 4096
middle: .zero 4096
leaves: .zero 4096
