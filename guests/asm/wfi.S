// WFI ends when an enabled interrupt is pending, taken or not, and sleeps through a disabled one.
#include "check.h"
#define ROUNDS 20

guest wfi
main:
    enable_only SIP_SSIP          // already pending: no sleep at all
    csrs sip, SIP_SSIP
    wfi
    csrc sip, SIP_SSIP

    li   a0, 1                  // an IPI to oneself wakes
    li   a1, 0
    sbi  EID_IPI, 0
1:  wfi
    csrr t0, sip
    andi t0, t0, SIP_SSIP
    beqz t0, 1b
    csrc sip, SIP_SSIP

    enable_only SIP_STIP          // timer wakes; a pending but disabled SSIP does not count
    csrs sip, SIP_SSIP
    li   s0, ROUNDS
2:  rdtime s1
    li   t0, 3000
    add  s1, s1, t0
    mv   a0, s1
    sbi  EID_TIME, 0
3:  wfi                         // may also return for no reason: the manual allows it
    csrr t0, sip
    andi t0, t0, SIP_STIP
    beqz t0, 3b
    rdtime t0
    bltu t0, s1, early
    addi s0, s0, -1
    bnez s0, 2b
    csrc sip, SIP_SSIP

    li   a0, -1                 // with SIE set the interrupt is taken after the wfi, never before it
    sbi  EID_TIME, 0
    enable_only SIP_SSIP
    la   t6, 5f
    csrw sscratch, t6
    csrs sip, SIP_SSIP
4:  csrsi sstatus, SSTATUS_SIE
    wfi
    wfi
5:  expect s10, 0x8000000000000001, "scause"
    la   t0, 4b
    bltu t0, s9, 6f
    text a0, "sepc before the interrupt was enabled:"
    mv   a1, s9
    mv   a2, t0
    j    fail_pair
6:  j    pass

early:
    text a0, "woke early: now, deadline:"
    mv   a1, t0
    mv   a2, s1
    j    fail_pair
