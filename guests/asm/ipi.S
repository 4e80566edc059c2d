// Software interrupts sent by SBI reach the harts in the mask, each of them, and no other.
#include "check.h"
#define ROUNDS 50

guest ipi
main:
    enable_only SIP_SSIP
    li   a0, 1                  // to oneself
    li   a1, 0
    sbi  EID_IPI, 0
    expect a0, 0, "send_ipi to oneself"
    call take

    call count_harts
    mv   s0, a0
    li   s1, 1
1:  bgeu s1, s0, 2f             // start all others; each reports when it listens
    start_hart s1, listener
    addi s1, s1, 1
    j    1b
2:  addi s2, s0, -1
    wait_for n_ready, s2

    li   s3, 0                  // s3 = rounds done: each hart in turn, by base and by mask
3:  li   s1, 1
4:  bgeu s1, s0, 5f
    li   a0, 1
    mv   a1, s1
    andi t0, s3, 1
    beqz t0, 6f
    sll  a0, a0, s1
    li   a1, 0
6:  sbi  EID_IPI, 0
    expect a0, 0, "send_ipi"
    la   t0, n_taken
    slli t1, s1, 3
    add  t0, t0, t1
    addi s4, s3, 1
7:  ld   t1, (t0)
    bne  t1, s4, 7b
    addi s1, s1, 1
    j    4b
5:  addi s3, s3, 1
    li   t0, ROUNDS
    bltu s3, t0, 3b

    li   s1, 1                  // nobody was interrupted more often than asked
8:  bgeu s1, s0, 9f
    la   t0, n_taken
    slli t1, s1, 3
    add  t0, t0, t1
    ld   t1, (t0)
    expect t1, ROUNDS, "interrupts taken"
    addi s1, s1, 1
    j    8b
9:  csrr t0, sip
    andi t0, t0, SIP_SSIP
    expect t0, 0, "sip.SSIP of the sender"
    li   a1, -1                 // base -1: every hart, the sender too
    sbi  EID_IPI, 0
    expect a0, 0, "send_ipi to all"
    call take
    wait_for n_all, s2
    j    pass

// Wait for the interrupt as a trap, then clear it.
take:
    la   t6, 2f
    csrw sscratch, t6
    csrsi sstatus, SSTATUS_SIE
1:  wfi
    j    1b
2:  expect s10, 0x8000000000000001, "scause of the software interrupt"
    csrc sip, SIP_SSIP
    csrr t0, sip
    andi t0, t0, SIP_SSIP
    expect t0, 0, "sip.SSIP after clearing"
    ret

listener:
    enable_only SIP_SSIP
    li   t1, 1
    la   t0, n_ready
    amoadd.d zero, t1, (t0)
    li   s4, 0
1:  call take
    addi s4, s4, 1
    li   t0, ROUNDS
    bgtu s4, t0, 2f
    la   t0, n_taken
    slli t1, tp, 3
    add  t0, t0, t1
    sd   s4, (t0)
    j    1b
2:  li   t1, 1
    la   t0, n_all
    amoadd.d zero, t1, (t0)
3:  wfi
    j    3b

    .bss
    .align 3
n_ready: .zero 8
n_all: .zero 8
n_taken: .zero HARTS_MAX * 8
