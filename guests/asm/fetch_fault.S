// Code cannot be fetched from a hole in the memory map, nor run from a device.
#include "check.h"

guest fetch_fault
main:
    li   s0, HOLE
    trap_on jr s0
    expect s10, 1, "scause of a fetch from a hole"
    expect_reg s9, s0, "sepc of a fetch from a hole"
    expect_reg s11, s0, "stval of a fetch from a hole"

    li   s0, HOLE + 0x1ffe      // 2 bytes before a page ends
    trap_on jr s0
    expect s10, 1, "scause at the end of a page"
    expect_reg s9, s0, "sepc at the end of a page"

    li   s0, 0x1000000000000    // above what any stage-2 table of ours can hold
    trap_on jalr s0
    expect s10, 1, "scause of a fetch from afar"
    expect_reg s9, s0, "sepc of a fetch from afar"

    li   s0, UART               // access fault; a machine that does fetch there meets zeros
    trap_on jr s0
    li   t0, 1
    beq  s10, t0, 1f
    expect s10, 2, "scause of a fetch from a device"
1:  expect_reg s9, s0, "sepc of a fetch from a device"
    j    pass
