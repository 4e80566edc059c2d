// Two address spaces map one address to two pages: after a switch of satp only the new one is seen.
#include "check.h"
#define VA 0x40000000
#define ROUNDS 200

guest satp_switch
main:
    li   s2, FRESH              // page of space A, then of space B, then one that both share
    li   s3, FRESH + 0x1000
    li   s4, FRESH + 0x2000
    .irp s, a, b
    li   t0, 0x80000000
    set_pte root_\s, 2, t0, PTE_RAM
    la   t0, middle_\s
    set_pte root_\s, 1, t0, PTE_V
    la   t0, leaves_\s
    set_pte middle_\s, 0, t0, PTE_V
    set_pte leaves_\s, 1, s4, PTE_RAM
    .endr
    set_pte leaves_a, 0, s2, PTE_RAM
    set_pte leaves_b, 0, s3, PTE_RAM
    li   t0, 111
    sd   t0, (s2)
    li   t0, 222
    sd   t0, (s3)
    sfence.vma

    li   t1, 8 << 60            // how many ASID bits are there?
    li   t0, 0xffff << 44
    or   t0, t0, t1
    la   t2, root_a
    srli t2, t2, 12
    or   t0, t0, t2
    csrw satp, t0
    csrr s7, satp
    srli s8, s7, 60
    expect s8, 8, "satp.MODE after writing Sv39"
    slli s7, s7, 4
    srli s7, s7, 48             // s7 = largest ASID

    la   t0, root_a
    srli t0, t0, 12
    or   s5, t0, t1
    la   t0, root_b
    srli t0, t0, 12
    or   s6, t0, t1
    beqz s7, 1f
    li   t0, 1 << 44            // A has ASID 1, B has 2, if there are any
    or   s5, s5, t0
    slli t0, t0, 1
    or   s6, s6, t0
1:  li   s0, VA
    li   s1, ROUNDS
2:  mv   a0, s5
    call switch
    ld   t0, (s0)
    expect t0, 111, "what space A shows"
    ld   t0, 8(s0)
    addi t0, t0, 1
    sd   t0, 8(s0)
    sd   s1, 0x700(s0)
    mv   a0, s6
    call switch
    ld   t0, (s0)
    expect t0, 222, "what space B shows"
    ld   t0, 8(s0)
    addi t0, t0, 3
    sd   t0, 8(s0)
    li   t1, 0x1000             // shared
    add  t1, t1, s0
    ld   t0, (t1)
    addi t0, t0, 1
    sd   t0, (t1)
    addi s1, s1, -1
    bnez s1, 2b

    csrw satp, zero             // bare again: VA is no RAM any more, the pages hold what was counted
    sfence.vma
    ld   t0, 8(s2)
    expect t0, ROUNDS, "count in A's page"
    ld   t0, 8(s3)
    expect t0, 3 * ROUNDS, "count in B's page"
    ld   t0, (s4)
    expect t0, ROUNDS, "count in the shared page"

    li   t0, 3 << 60            // a reserved mode: the write has no effect at all
    or   t0, t0, s5
    csrw satp, t0
    csrr t0, satp
    expect t0, 0, "satp after writing a reserved mode"
    j    pass

switch:
    csrw satp, a0
    bnez s7, 1f                 // without ASIDs a switch needs the fence
    sfence.vma
1:  ret

    .bss
    .align 12
root_a: .zero 4096
middle_a: .zero 4096
leaves_a: .zero 4096
root_b: .zero 4096
middle_b: .zero 4096
leaves_b: .zero 4096
