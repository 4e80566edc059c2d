// M-mode entry: hart 0 calls main and tells the power-off register what main said.
    .section .text.start, "ax"
    .globl _start
_start:
    csrr t0, mhartid
    bnez t0, 2f
    la   t0, 1f
    csrw mtvec, t0
    la   sp, stack_top
    call main
    li   t1, 0x5555             // pass: the machine ends with code 0
    beqz a0, 3f
1:  li   t1, 0x13333            // fail, with code 1; traps end here, too
3:  li   t0, 0x100000
    sw   t1, (t0)
2:  wfi
    j    2b
