// The demo's U-mode programs, on one page; position independent. a0 ends in the exit call.
#define SYS_EXIT 0

    .section .text.user, "ax"
    .balign 4096
    .globl user_page, user_sieve, user_mandel, user_probe
user_page:

user_sieve:                     // a0 = heap (zeros), a1 = limit; counts the primes below it
    li   t0, 2
    li   t4, 0
1:  add  t1, a0, t0
    lbu  t2, (t1)
    bnez t2, 3f
    addi t4, t4, 1
    slli t3, t0, 1
2:  bgeu t3, a1, 3f
    add  t1, a0, t3
    sb   t0, (t1)
    add  t3, t3, t0
    j    2b
3:  addi t0, t0, 1
    bltu t0, a1, 1b
    addi sp, sp, -16            // a stack page, too
    sd   t4, (sp)
    ld   a0, (sp)
    li   a7, SYS_EXIT
    ecall

user_mandel:                    // a0 = heap, a1 = row 0…23: one row of the Mandelbrot set as text
    li   t0, 24
    fcvt.d.l fa0, a1            // ci = row / 10 - 1.15
    li   t1, 10
    fcvt.d.l fa1, t1
    fdiv.d fa0, fa0, fa1
    li   t1, 115
    fcvt.d.l fa2, t1
    fmul.d fa1, fa1, fa1
    fdiv.d fa2, fa2, fa1
    fsub.d fa0, fa0, fa2
    li   t1, 4
    fcvt.d.l ft7, t1
    li   t2, 0
1:  fcvt.d.l fa2, t2            // cr = column / 20 - 2.2
    li   t1, 20
    fcvt.d.l fa1, t1
    fdiv.d fa2, fa2, fa1
    li   t1, 44
    fcvt.d.l fa3, t1
    fdiv.d fa3, fa3, fa1
    fsub.d fa2, fa2, fa3
    fmv.d.x ft0, zero
    fmv.d.x ft1, zero
    li   t3, 0
2:  fmul.d ft2, ft0, ft0        // z = z * z + c
    fmul.d ft3, ft1, ft1
    fadd.d ft4, ft2, ft3
    flt.d t4, ft7, ft4
    bnez t4, 3f
    fmul.d ft1, ft0, ft1
    fadd.d ft1, ft1, ft1
    fadd.d ft1, ft1, fa0
    fsub.d ft0, ft2, ft3
    fadd.d ft0, ft0, fa2
    addi t3, t3, 1
    li   t4, 40
    bltu t3, t4, 2b
3:  srli t3, t3, 2              // shade 0…10
    lla  t4, shades
    add  t4, t4, t3
    lbu  t4, (t4)
    add  t5, a0, t2
    sb   t4, (t5)
    addi t2, t2, 1
    li   t1, 64
    bltu t2, t1, 1b
    add  t5, a0, t2
    sb   zero, (t5)
    mv   a0, t2
    li   a7, SYS_EXIT
    ecall
shades: .ascii " .,:;-=+*#@"
    .balign 4

user_probe:                     // what U-mode may not do; the kernel skips each and counts it
    .option push
    .option norvc
    csrr t0, sstatus
    wfi
    sfence.vma
    csrr t0, 0x280
    .option pop
    li   a0, 4
    li   a7, SYS_EXIT
    ecall
    .balign 4096
