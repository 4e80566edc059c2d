// Entry, trap catcher, console and verdict that every guest program shares.
//
//   loader ─▶ _start (a0 = hart id, a1 = device tree, satp = 0)
//               ├─ hart 0      ─▶ main(a0 = hart id, a1 = device tree)
//               └─ other hart  ─▶ asks HSM to start hart 0 here, then stops itself
//   hart_start ─▶ _start_other (a0 = hart id, a1 = where to go)
#include "check.h"

    .section .text.start, "ax"
    .globl _start
_start:                         // firmware may pick any boot hart; guests begin on hart 0
    beqz a0, 1f
    mv   a2, a1
2:  li   a0, 0                  // until it works: hart 0 may not have come up yet
    la   a1, _start
    sbi  EID_HSM, 0
    bnez a0, 2b
    sbi  EID_HSM, 1
1:  call set_up_hart
    mv   s1, a1
    li   a0, EID_DBCN           // console: SBI if there is one, otherwise the UART itself
    sbi  EID_BASE, 3
    la   t0, has_dbcn
    sb   a1, (t0)
    mv   a0, tp
    mv   a1, s1
    call main
    j    pass

    .globl _start_other
_start_other:
    call set_up_hart
    jr   a1

set_up_hart:                    // sp, tp = hart id, stvec; keeps a0 and a1
    mv   tp, a0
    la   sp, stacks
    addi t0, a0, 1
    slli t0, t0, STACK_SHIFT
    add  sp, sp, t0
    csrw sscratch, zero
    la   t0, trap
    csrw stvec, t0
    ret

    .text
    .align 2
    .globl trap                 // s9 = sepc, s10 = scause, s11 = stval, then on to where sscratch says
trap:
    csrrw t6, sscratch, zero
    csrr s9, sepc
    csrr s10, scause
    csrr s11, stval
    beqz t6, 1f
    jr   t6
1:  csrw satp, zero
    text a0, "unexpected trap: sepc, scause:"
    mv   a1, s9
    mv   a2, s10
    j    fail_pair

    .globl fail_values          // a0 = what, a1 = got, a2 = want
fail_values:
    csrw satp, zero
    mv   s0, a1
    mv   s1, a2
    call fail_head
    text a0, ": got "
    call puts
    mv   a0, s0
    call puthex
    text a0, ", want "
    call puts
    mv   a0, s1
    call puthex
    j    fail_tail

    .globl fail_pair            // a0 = what, a1 and a2 = two values that explain it
fail_pair:
    mv   s0, a1
    mv   s1, a2
    call fail_head
    text a0, " "
    call puts
    mv   a0, s0
    call puthex
    text a0, " "
    call puts
    mv   a0, s1
    call puthex
    j    fail_tail

    .globl fail                 // a0 = what
fail:
    csrw satp, zero
    call fail_head
fail_tail:
    text a0, "\r\n"
    call puts
    li   a1, 1                  // reason 1: system failure
    j    shut_down

fail_head:
    mv   s2, ra
    mv   s3, a0
    text a0, "FAIL "
    call puts
    la   a0, guest_name
    call puts
    text a0, ": "
    call puts
    mv   a0, s3
    mv   ra, s2
    j    puts

    .globl pass
pass:
    csrw satp, zero
    text a0, "PASS "
    call puts
    la   a0, guest_name
    call puts
    text a0, "\r\n"
    call puts
    li   a1, 0                  // reason 0: no reason
shut_down:
    li   a0, 0                  // type 0: shutdown
    sbi  EID_SRST, 0
1:  j    1b

    .globl puts                 // a0 = text that ends in a zero byte; satp must be bare. The console
                                // is a terminal: a line ends in \r\n
puts:
    mv   t0, a0
    mv   t1, a0
1:  lbu  t2, (t1)
    beqz t2, 2f
    addi t1, t1, 1
    j    1b
2:  sub  t1, t1, t0             // t0 = next byte, t1 = bytes left
    lbu  t2, has_dbcn
    beqz t2, 4f
3:  beqz t1, 9f                 // DBCN may take fewer bytes than it is given
    mv   a0, t1
    mv   a1, t0
    li   a2, 0
    sbi  EID_DBCN, 0
    bnez a0, 9f
    add  t0, t0, a1
    sub  t1, t1, a1
    j    3b
4:  beqz t1, 9f
    li   t3, UART
5:  lbu  t2, 5(t3)              // LSR bit 5: transmitter holding register empty
    andi t2, t2, 0x20
    beqz t2, 5b
    lbu  t2, (t0)
    sb   t2, (t3)
    addi t0, t0, 1
    addi t1, t1, -1
    j    4b
9:  ret

    .globl puthex               // a0 = number, printed as 0x and its digits
puthex:
    addi sp, sp, -48
    sd   ra, 40(sp)
    addi t0, sp, 39
    sb   zero, (t0)
1:  andi t1, a0, 15
    srli a0, a0, 4
    addi t1, t1, '0'
    li   t2, '9'
    bleu t1, t2, 2f
    addi t1, t1, 'a' - '9' - 1
2:  addi t0, t0, -1
    sb   t1, (t0)
    bnez a0, 1b
    li   t1, 'x'
    sb   t1, -1(t0)
    li   t1, '0'
    sb   t1, -2(t0)
    addi a0, t0, -2
    call puts
    ld   ra, 40(sp)
    addi sp, sp, 48
    ret

    .globl count_harts          // a0 = how many harts HSM knows, ids 0, 1, 2… up to HARTS_MAX
count_harts:
    li   t0, 0
1:  mv   a0, t0
    sbi  EID_HSM, 2
    bnez a0, 2f
    addi t0, t0, 1
    li   t1, HARTS_MAX
    bltu t0, t1, 1b
2:  mv   a0, t0
    ret

    .bss
has_dbcn: .zero 1
    .align 12
stacks: .zero HARTS_MAX << STACK_SHIFT
