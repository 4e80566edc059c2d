// After sfence.vma a changed entry holds, here and, by SBI, on other harts; a freed table is just RAM.
#include "check.h"
#define VA 0x40000000
#define ROUNDS 100

guest sfence_reuse
main:
    li   s2, FRESH
    li   s3, FRESH + 0x1000
    li   t0, 111
    sd   t0, (s2)
    li   t0, 222
    sd   t0, (s3)
    li   t0, 0x80000000
    set_pte root, 2, t0, PTE_RAM
    la   t0, middle
    set_pte root, 1, t0, PTE_V
    la   t0, leaves
    set_pte middle, 0, t0, PTE_V
    call enter

    li   s0, VA
    li   s1, ROUNDS
1:  set_pte leaves, 0, s2, PTE_RAM          // remap, fence by address
    sfence.vma s0
    ld   t0, (s0)
    expect t0, 111, "after mapping the first page"
    set_pte leaves, 0, s3, PTE_RAM
    sfence.vma s0
    ld   t0, (s0)
    expect t0, 222, "after mapping the second page"
    set_pte leaves, 0, s3, (PTE_RAM - PTE_W)    // take rights away
    sfence.vma s0, zero
    must_trap 15, sd t0, (s0)
    expect_reg s11, s0, "stval of a store to a read-only page"
    ld   t0, (s0)
    expect t0, 222, "load from a read-only page"
    set_pte leaves, 0, s3, (PTE_V + PTE_U + PTE_R + PTE_W + PTE_AD)
    sfence.vma
    must_trap 13, ld t0, (s0)                   // a user page, SUM = 0
    li   t1, SSTATUS_SUM
    csrs sstatus, t1
    ld   t0, (s0)
    csrc sstatus, t1
    expect t0, 222, "load from a user page with SUM"
    trap_on jr s0
    expect s10, 12, "scause of a fetch from a page without X"
    set_pte leaves, 0, zero, 0                  // unmap
    sfence.vma s0
    must_trap 13, ld t0, (s0)
    must_trap 15, sd t0, (s0)
    trap_on jr s0
    expect s10, 12, "scause of a fetch from no page"
    expect_reg s11, s0, "stval of a fetch from no page"
    addi s1, s1, -1
    bnez s1, 1b

    set_pte middle, 0, s3, PTE_RAM              // a 2 MiB leaf at a 4 KiB boundary: a page fault
    sfence.vma
    must_trap 13, ld t0, (s0)
    li   t0, FRESH
    set_pte middle, 0, t0, PTE_RAM              // aligned: fine, and `leaves` is free
    sfence.vma
    ld   t0, (s0)
    expect t0, 111, "through a 2 MiB leaf"
    la   t1, leaves                             // as data it may hold anything
    li   t0, -1
    sd   t0, (t1)
    ld   t0, (s0)
    expect t0, 111, "after the freed table was overwritten"

    call count_harts                            // remote fences need another hart
    li   t0, 2
    bltu a0, t0, pass
    la   t0, leaves
    sd   zero, (t0)
    set_pte leaves, 0, s2, PTE_RAM
    la   t0, leaves
    set_pte middle, 0, t0, PTE_V
    sfence.vma
    li   s1, 1
    start_hart s1, reader
    li   s4, 111                                // the reader shows what it reads at VA
    li   s5, 20
2:  wait_for shown, s4
    xori s4, s4, 111 ^ 222
    set_pte leaves, 0, s3, PTE_RAM
    li   t0, 222
    beq  s4, t0, 3f
    set_pte leaves, 0, s2, PTE_RAM
3:  fence rw, rw
    li   a0, 2
    li   a1, 0
    mv   a2, s0
    li   a3, 4096
    sbi  EID_RFNC, 1
    expect a0, 0, "remote_sfence_vma"
    addi s5, s5, -1
    bnez s5, 2b
    j    pass

enter:
    la   t0, root
    srli t0, t0, 12
    li   t1, 8 << 60
    or   t0, t0, t1
    sfence.vma
    csrw satp, t0
    ret

reader:
    call enter
    li   s0, VA
    la   s1, shown
1:  ld   t0, (s0)
    sd   t0, (s1)
    j    1b

    .bss
    .align 12
root: .zero 4096
middle: .zero 4096
leaves: .zero 4096
shown: .zero 8
