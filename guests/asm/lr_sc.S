// SC succeeds only on the reservation of the last LR, once, and not after another hart's store.
#include "check.h"

guest lr_sc
main:
    la   s0, word
    li   t0, 5
    sc.d t1, t0, (s0)           // none at boot, or a stale one of the firmware's: elsewhere
    bnez t1, 1f
    text a0, "sc without lr succeeded"
    j    fail
1:  ld   t2, (s0)
    expect t2, 0, "memory after a failed sc"

    lr.d t0, (s0)
    li   t0, 5
    sc.d t1, t0, (s0)
    expect t1, 0, "sc after lr"
    ld   t2, (s0)
    expect t2, 5, "memory after sc"
    sc.d t1, zero, (s0)
    beqz t1, succeeded
    lr.d t0, (s0)
    la   t3, far
    sc.d t1, t0, (t3)
    beqz t1, succeeded
    lr.d t0, (s0)
    sc.d t1, zero, (t3)         // fails, and uses the reservation up
    sc.d t1, zero, (s0)
    beqz t1, succeeded

    li   t0, 0x80000000         // lr.w extends the sign, sc.w writes 32 bits
    sw   t0, (s0)
    lr.w t1, (s0)
    expect t1, -0x80000000, "lr.w"
    li   t0, -2
    sc.w t1, t0, (s0)
    expect t1, 0, "sc.w"
    ld   t0, (s0)
    expect t0, 0xfffffffe, "memory after sc.w"

    addi s1, s0, 4              // misaligned: a trap, the word untouched
    trap_on lr.d t0, (s1)
    li   t1, 4
    beq  s10, t1, 2f
    expect s10, 5, "scause of a misaligned lr.d"
2:  expect_reg s11, s1, "stval of a misaligned lr.d"
    ld   t0, (s0)
    expect t0, 0xfffffffe, "memory after misaligned atomics"

    call count_harts            // the rest needs a second hart
    li   t0, 2
    bltu a0, t0, pass
    li   s1, 1
    start_hart s1, other
    li   s3, 20
4:  lr.d t0, (s0)
    la   t1, turn
    fence rw, rw
    sd   s1, (t1)
5:  ld   t2, (t1)
    bnez t2, 5b
    sc.d t2, zero, (s0)
    beqz t2, succeeded
    addi s3, s3, -1
    bnez s3, 4b
    ld   t0, (s0)
    li   t1, 0xfffffffe + 20
    expect_reg t0, t1, "what the other hart stored"
    j    pass

succeeded:
    text a0, "sc succeeded without its reservation"
    j    fail

other:                          // on every turn, change the word behind the reservation
    la   s0, word
    la   s1, turn
1:  ld   t0, (s1)
    beqz t0, 1b
    ld   t0, (s0)
    addi t0, t0, 1
    sd   t0, (s0)
    fence rw, rw
    sd   zero, (s1)
    j    1b

    .bss
    .align 6
word: .zero 64
far: .zero 4096
turn: .zero 64
