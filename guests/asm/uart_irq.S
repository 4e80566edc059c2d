// The UART's interrupt travels through the PLIC: pending, claimed by number, quiet until completed.
#include "check.h"
#define IRQ 10
#define ENABLE PLIC + 0x2000        // + 0x80 a context
#define THRESHOLD PLIC + 0x200000   // + 0x1000 a context; the claim register is the next word
#define IER 1

guest uart_irq
main:
    enable_only SIP_SEIP
    li   s0, UART
    li   t0, PLIC + 4 * IRQ
    li   t1, 3
    sw   t1, (t0)
    li   s1, ENABLE             // this hart's S-mode context is 0, or 1 where M-mode has one too:
    li   s2, THRESHOLD          // it is the one that raises SEIP
    li   t1, 1 << IRQ
    sw   t1, (s1)
    sw   zero, (s2)
    li   t1, 2                  // interrupt when the transmitter is empty, that is, now
    sb   t1, IER(s0)
    call poll
    bnez a0, 1f
    sw   zero, (s1)
    addi s1, s1, 0x80
    li   t0, 0x1000
    add  s2, s2, t0
    li   t1, 1 << IRQ
    sw   t1, (s1)
    sw   zero, (s2)
    call poll
    bnez a0, 1f
    text a0, "no context raises SEIP"
    j    fail

1:  li   t0, PLIC + 0x1000      // pending bits
    lw   t0, (t0)
    srli t0, t0, IRQ
    andi t0, t0, 1
    expect t0, 1, "pending bit"
    la   t6, 2f                 // as a trap
    csrw sscratch, t6
    csrsi sstatus, SSTATUS_SIE
    wfi
    nop
2:  expect s10, 0x8000000000000009, "scause"
    lw   a0, 4(s2)
    expect a0, IRQ, "claimed interrupt"
    lw   a0, 4(s2)
    expect a0, 0, "second claim"
    csrr a0, sip
    andi a0, a0, SIP_SEIP
    expect a0, 0, "sip.SEIP while the interrupt is claimed"
    lbu  a0, 2(s0)              // reading IIR names the cause and takes it back
    andi a0, a0, 15
    expect a0, 2, "UART interrupt identification"
    li   a0, IRQ
    sw   a0, 4(s2)
    lw   a0, 4(s2)
    expect a0, 0, "claim after completion, line low"

    sb   zero, IER(s0)          // once more, then masked by the threshold
    li   t1, 2
    sb   t1, IER(s0)
    call poll
    expect a0, SIP_SEIP, "sip.SEIP, second time"
    li   t1, 3
    sw   t1, (s2)
    csrr a0, sip
    andi a0, a0, SIP_SEIP
    expect a0, 0, "sip.SEIP under a threshold as high as the priority"
    sw   zero, (s2)
    call poll
    lw   a0, 4(s2)
    expect a0, IRQ, "claimed interrupt, second time"
    sb   zero, IER(s0)
    li   a0, IRQ
    sw   a0, 4(s2)
    csrr a0, sip
    andi a0, a0, SIP_SEIP
    expect a0, 0, "sip.SEIP at the end"
    j    pass

poll:                           // a0 = SIP_SEIP when it rises within some reads of sip
    li   t0, 1000
1:  csrr a0, sip
    andi a0, a0, SIP_SEIP
    bnez a0, 2f
    addi t0, t0, -1
    bnez t0, 1b
2:  ret
