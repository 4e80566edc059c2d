// A faulting AMO is a store: cause 7 in a hole, 6 or 7 when misaligned, 15 without a mapping.
#include "check.h"
#define VA 0x40000000

guest amo_fault
main:
    li   s0, HOLE
    li   a0, 77
    .irp op, amoadd.w, amoswap.d, amoor.w, amomaxu.d
    must_trap 7, \op a0, a0, (s0)
    expect_reg s11, s0, "stval of \op"
    expect a0, 77, "target of \op"
    .endr
    must_trap 5, lr.w a0, (s0)

    la   s1, word
    addi s0, s1, 2
    trap_on amoadd.w a0, a0, (s0)
    li   t0, 6                  // an access fault says that it cannot be done in software either
    beq  s10, t0, 1f
    expect s10, 7, "scause of a misaligned amoadd.w"
1:  expect_reg s11, s0, "stval of a misaligned amoadd.w"
    ld   t0, (s1)
    expect t0, 0, "memory after a misaligned amoadd.w"

    li   t0, 0x80000000         // RAM as it is; VA is not mapped, and one page is read-only
    set_pte root, 2, t0, PTE_RAM
    la   t0, root
    srli t0, t0, 12
    li   t1, 8 << 60
    or   t0, t0, t1
    sfence.vma
    csrw satp, t0
    li   s0, VA
    must_trap 15, amoadd.d a0, a0, (s0)
    expect_reg s11, s0, "stval of amoadd.d without a mapping"
    must_trap 13, lr.d a0, (s0)
    li   t0, 0x80000000         // the same RAM again, read-only, 1 GiB page
    set_pte root, 1, t0, (PTE_RAM - PTE_W)
    sfence.vma
    must_trap 15, amoxor.w a0, a0, (s0)
    trap_on lr.w a0, (s0)       // reading is allowed; that page may hold firmware
    j    pass

    .bss
    .align 12
root: .zero 4096
word: .zero 8
