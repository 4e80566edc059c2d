// The demo's trap entry, its way into U-mode and back, and accesses that may fault.
//
//   sscratch = 0 in S-mode, the kernel's sp in U-mode. Below that sp lies the frame, at it the
//   registers that enter_user saved:   [ frame 272 ][ ra, s0…s11, tp ]
#include "../../check.h"
#define FRAME 272
#define SAVED 112

.macro every_register op
    .irp n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op  x\n, (8 * \n)(sp)
    .endr
.endm
.macro kept_registers op
    \op  ra, 0(sp)
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    \op  s\n, (8 + 8 * \n)(sp)
    .endr
    \op  tp, 104(sp)
.endm

    .text
    .align 2
    .globl demo_trap
demo_trap:
    csrrw sp, sscratch, sp
    bnez sp, 1f
    csrrw sp, sscratch, sp      // from S-mode: sp was right
    addi sp, sp, -FRAME
    every_register sd
    addi t0, sp, FRAME
    j    2f
1:  addi sp, sp, -FRAME
    every_register sd
    ld   tp, FRAME + 104(sp)
    csrrw t0, sscratch, zero
2:  sd   t0, 16(sp)
    csrr t0, sepc
    sd   t0, 256(sp)
    csrr t0, sstatus
    sd   t0, 264(sp)
    mv   a0, tp
    mv   a1, sp
    call handle_trap
    ld   t0, 264(sp)
    csrw sstatus, t0
    andi t1, t0, SSTATUS_SPP
    bnez t1, 3f
    addi t1, sp, FRAME
    csrw sscratch, t1
3:  ld   t0, 256(sp)
    csrw sepc, t0
    every_register ld
    ld   sp, 16(sp)
    sret

    .globl second_hart
second_hart:                    // a0 = hart id
    call hart_start
1:  j    1b

    .globl enter_user           // a0 = pc, a1 = sp, a2 and a3 = arguments; interrupts are off
enter_user:
    addi sp, sp, -SAVED
    kept_registers sd
    csrw sscratch, sp
    csrw sepc, a0
    li   t0, SSTATUS_SPP
    csrc sstatus, t0
    li   t0, 0x20               // sstatus.SPIE
    csrs sstatus, t0
    mv   sp, a1
    mv   a0, a2
    mv   a1, a3
    sret

    .globl leave_user           // a0 = what enter_user returns, a1 = the frame of the trap
leave_user:
    addi sp, a1, FRAME
    kept_registers ld
    addi sp, sp, SAVED
    ret

    .globl try_load             // a0 = address, a1 = where to put it
try_load:
    la   t0, refused
    sd   t0, (tp)
    lw   t1, (a0)
    sd   zero, (tp)
    sw   t1, (a1)
    li   a0, 1
    ret

    .globl try_csr
try_csr:
    la   t0, refused
    sd   t0, (tp)
    csrr t1, 0x600              // hstatus
    sd   zero, (tp)
    li   a0, 1
    ret

refused:                        // handle_trap comes here
    li   a0, 0
    ret
