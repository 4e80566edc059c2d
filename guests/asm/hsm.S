// A hart can be started, stopped, started elsewhere, and suspended until an interrupt comes.
#include "check.h"
#define STARTED 0
#define STOPPED 1
#define SUSPENDED 4

guest hsm
main:
    call count_harts
    li   t0, 2
    bltu a0, t0, alone
    li   s0, 1                  // everything below on hart 1
    li   s1, 5
1:  li   a1, STOPPED
    call wait_status
    start_hart s0, come_and_go
    addi s1, s1, -1
    bnez s1, 1b
    li   a1, STOPPED
    call wait_status
    ld   t0, n_visits
    expect t0, 5, "visits"
    start_hart s0, sleeper
    li   s2, 1
    wait_for sleeping, s2
    li   a1, SUSPENDED
    call wait_status
    li   a0, 2                  // mask: hart 1
    li   a1, 0
    sbi  EID_IPI, 0
    li   s2, 2
    wait_for sleeping, s2
    li   a1, STOPPED
    call wait_status
alone:
    j    pass

wait_status:                    // until HSM says that hart 1 is in state a1
    mv   t0, a1
1:  li   a0, 1
    sbi  EID_HSM, 2
    expect a0, 0, "hart_get_status"
    bne  a1, t0, 1b
    ret

come_and_go:
    expect a0, 1, "a0 of a started hart"
    csrr t0, satp
    expect t0, 0, "satp of a started hart"
    csrr t0, sstatus
    andi t0, t0, SSTATUS_SIE
    expect t0, 0, "sstatus.SIE of a started hart"
    la   t0, n_visits
    li   t1, 1
    amoadd.d zero, t1, (t0)
    sbi  EID_HSM, 1             // does not return
    text a0, "hart_stop returned"
    j    fail

sleeper:
    enable_only SIP_SSIP
    li   s3, 1
    la   s4, sleeping
    amoswap.d zero, s3, (s4)
1:  li   a0, 0                  // default retentive suspend
    sbi  EID_HSM, 3
    expect a0, 0, "hart_suspend"
    csrr t0, sip
    andi t0, t0, SIP_SSIP
    beqz t0, 1b
    csrc sip, SIP_SSIP
    li   s3, 2
    amoswap.d zero, s3, (s4)
    sbi  EID_HSM, 1

    .bss
    .align 3
n_visits: .zero 8
sleeping: .zero 8
