// Harts that add to one word by AMO, by LR/SC and under a lock lose no increment.
#include "check.h"
#define ROUNDS 1000

guest amo_contend
main:
    call count_harts
    mv   s0, a0
    li   t0, 4
    bleu s0, t0, 1f
    mv   s0, t0
1:  li   s1, 1
2:  bgeu s1, s0, 3f
    start_hart s1, other
    addi s1, s1, 1
    j    2b
3:  call contend
    wait_for n_done, s0
    li   t0, ROUNDS
    mul  s2, s0, t0             // s2 = harts * rounds
    ld   t0, by_amo
    expect_reg t0, s2, "sum by amoadd.d"
    lwu  t0, by_amo_w
    expect_reg t0, s2, "sum by amoadd.w"
    ld   t0, by_lrsc
    expect_reg t0, s2, "sum by lr.d and sc.d"
    ld   t0, by_lock
    expect_reg t0, s2, "sum under a lock"
    ld   t0, toggled
    expect t0, 0, "an even number of toggles"
    ld   t0, biggest
    li   t1, ROUNDS
    expect_reg t0, t1, "amomax.d"
    j    pass

other:
    call contend
1:  wfi
    j    1b

contend:
    la   a0, by_amo
    li   a1, 1
    li   t0, ROUNDS
1:  amoadd.d zero, a1, (a0)
    addi a2, a0, 8
    amoadd.w.aqrl zero, a1, (a2)
    addi a2, a0, 16
2:  lr.d t1, (a2)
    addi t1, t1, 1
    sc.d t2, t1, (a2)
    bnez t2, 2b
    addi a3, a0, 32             // lock, then the word that it protects
3:  amoswap.w.aq t1, a1, (a3)
    bnez t1, 3b
    ld   t1, 8(a3)
    addi t1, t1, 1
    sd   t1, 8(a3)
    amoswap.w.rl zero, zero, (a3)
    addi a2, a0, 24
    amoxor.d zero, a1, (a2)
    addi a2, a0, 48
    amomax.d zero, t0, (a2)
    addi t0, t0, -1
    bnez t0, 1b
    la   a0, n_done
    fence rw, rw
    amoadd.d zero, a1, (a0)
    ret

    .bss
    .align 6
by_amo: .zero 8                 // one line of 64 bytes, so that all of it is contended
by_amo_w: .zero 8
by_lrsc: .zero 8
toggled: .zero 8
lock: .zero 8
by_lock: .zero 8
biggest: .zero 8
    .zero 8
n_done: .zero 8
