// A guest that makes CALLS calls of SBI's get_spec_version and shuts down: nothing but exits.
    .section .text.start, "ax"
    .globl _start
_start:
    li   s0, CALLS
    li   a7, 0x10               // Base
1:  li   a6, 0                  // get_spec_version
    ecall
    addi s0, s0, -1
    bnez s0, 1b
    li   a7, 0x53525354         // SRST
    li   a6, 0
    li   a0, 0                  // shutdown
    li   a1, 0                  // no reason
    ecall
2:  j    2b
