// Trap entry of the supervisor, and its way into U-mode. One hart, one user context.
#include "check.h"

.macro all_but_t6 op
    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    \op  x\n, (8 * \n)(t6)
    .endr
.endm

    .text
    .align 2
    .globl user_trap            // sscratch = user_regs while U-mode runs
user_trap:
    csrrw t6, sscratch, t6
    all_but_t6 sd
    csrr t0, sscratch
    sd   t0, 248(t6)
    csrw sscratch, zero
    la   t0, trap               // a trap of the supervisor itself is a failure: start.S reports it
    csrw stvec, t0
    ld   sp, (t6)
    csrr a0, scause
    csrr a1, stval
    csrr a2, sepc
    call handle_trap            // returns the pc to go on at
    csrw sepc, a0

    .globl enter_user           // with what user_regs holds, at sepc
enter_user:
    li   t0, SSTATUS_SPP
    csrc sstatus, t0
    la   t0, user_trap
    csrw stvec, t0
    la   t6, user_regs
    sd   sp, (t6)              // word 0 keeps the supervisor's sp
    csrw sscratch, t6
    all_but_t6 ld
    ld   t6, 248(t6)
    sret

    .bss
    .align 4
    .globl user_regs
user_regs: .zero 256
