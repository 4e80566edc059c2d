// The SBI timer and, where there is one, stimecmp interrupt at their deadline, never before it.
#include "check.h"
#define STIMECMP 0x14d
#define NEVER -1
#define ROUNDS 10

guest timer
main:
    li   t0, 1000               // time never runs backwards
    rdtime t1
1:  rdtime t2
    bltu t2, t1, backwards
    mv   t1, t2
    addi t0, t0, -1
    bnez t0, 1b

    enable_only SIP_STIP
    li   s0, 0                  // first by SBI
    call rounds
    trap_on csrr a0, STIMECMP
    li   t0, -1
    bne  s10, t0, 2f            // no Sstc: that is all
    li   s0, 1
    call rounds
2:  j    pass

// s0 = 0: program by SBI, 1: by stimecmp
rounds:
    mv   s1, ra
    li   s2, ROUNDS
3:  rdtime s3
    li   t0, 5000               // half a millisecond ahead
    add  s3, s3, t0
    mv   a0, s3
    call program
    li   s10, 0                 // taken as an interrupt: wfi sleeps, the trap catcher leaves the loop
    la   t6, 5f
    csrw sscratch, t6
    csrsi sstatus, SSTATUS_SIE
4:  wfi
    j    4b
5:  rdtime s4
    bltu s4, s3, early
    expect s10, 0x8000000000000005, "scause of the timer"
    csrr t0, sstatus
    andi t0, t0, SSTATUS_SIE
    expect t0, 0, "sstatus.SIE in the handler"

    li   a0, NEVER              // a deadline that never comes takes the interrupt back
    call program
    csrr t0, sip
    andi t0, t0, SIP_STIP
    expect t0, 0, "sip.STIP after a far deadline"

    li   a0, 0                  // a deadline that has passed is pending at once; masked, it only wakes
    call program
6:  wfi
    csrr t0, sip
    andi t0, t0, SIP_STIP
    beqz t0, 6b
    li   a0, NEVER
    call program
    addi s2, s2, -1
    bnez s2, 3b
    jr   s1

program:
    bnez s0, 7f
    sbi  EID_TIME, 0
    expect a0, 0, "set_timer"
    ret
7:  csrw STIMECMP, a0
    ret

backwards:
    text a0, "time ran backwards:"
    mv   a1, t1
    mv   a2, t2
    j    fail_pair
early:
    text a0, "too early: now, deadline:"
    mv   a1, s4
    mv   a2, s3
    j    fail_pair
