// Macros of the assembler guests. Registers that macros use: t5, t6 as scratch, and s9, s10, s11
// for the last trap; a6 and a7 by `sbi`.

#define HARTS_MAX 8
#define STACK_SHIFT 12

#define EID_BASE 0x10
#define EID_TIME 0x54494d45
#define EID_IPI  0x735049
#define EID_RFNC 0x52464e43
#define EID_HSM  0x48534d
#define EID_SRST 0x53525354
#define EID_DBCN 0x4442434e

#define UART   0x10000000
#define VIRTIO 0x10001000
#define PLIC   0x0c000000
#define RTC    0x00101000
#define FRESH  0x81000000       // RAM from 16 MiB on, that no loader touches; 8 MiB may be used
#define HOLE   0x18000000       // no RAM, no device

#define SIP_SSIP 0x002
#define SIP_STIP 0x020
#define SIP_SEIP 0x200
#define SSTATUS_SIE 0x2
#define SSTATUS_SPP 0x100
#define SSTATUS_FS  0x6000
#define SSTATUS_SUM 0x40000

#define PTE_V 0x01
#define PTE_R 0x02
#define PTE_W 0x04
#define PTE_X 0x08
#define PTE_U 0x10
#define PTE_AD 0xc0
#define PTE_RAM 0xcf            // V R W X A D

// The guest's name, for the verdict.
.macro guest name
    .globl guest_name
    .pushsection .rodata
guest_name: .asciz "\name"
    .popsection
    .text
    .globl main
.endm

// reg = address of a text
.macro text reg, words:vararg
    .pushsection .rodata
8989: .asciz \words
    .popsection
    la   \reg, 8989b
.endm

// SBI call: arguments in a0…a5, error in a0, value in a1
.macro sbi eid, fid
    li   a7, \eid
    li   a6, \fid
    ecall
.endm

// Fail unless reg holds the constant.
.macro expect reg, want, what:vararg
    li   t6, \want
    expect_reg \reg, t6, \what
.endm

// Fail unless two registers are equal.
.macro expect_reg reg, want, what:vararg
    beq  \reg, \want, .Lok\@
    mv   t5, \want
    mv   a1, \reg
    mv   a2, t5
    text a0, \what
    j    fail_values
.Lok\@:
.endm

// Run one instruction and catch its trap: s9 = sepc, s10 = scause (-1: none), s11 = stval
.macro trap_on insn:vararg
    la   t6, .Lnext\@
    csrw sscratch, t6
    li   s10, -1
    \insn
    csrw sscratch, zero
.Lnext\@:
.endm

// As trap_on; sepc must be that instruction's address and scause the given one.
.macro must_trap cause, insn:vararg
    la   t6, .Lnext\@
    csrw sscratch, t6
    li   s10, -1
.Lat\@:
    \insn
    csrw sscratch, zero
.Lnext\@:
    expect s10, \cause, "scause of: \insn"
    la   t5, .Lat\@
    expect_reg s9, t5, "sepc of: \insn"
.endm

// Start another hart at a label: it arrives with a0 = its id, its own stack, traps caught. The
// hart that firmware booted may still be on its way to stopped (see start.S).
.macro start_hart hart, label
.Lpending\@:
    mv   a0, \hart
    sbi  EID_HSM, 2
    li   t6, 1
    bne  a1, t6, .Lpending\@
    mv   a0, \hart
    la   a1, _start_other
    la   a2, \label
    sbi  EID_HSM, 0
    expect a0, 0, "hart_start"
.endm

// Wait until the 64-bit word at a label holds the value of reg.
.macro wait_for label, reg
    la   t6, \label
.Lwait\@:
    ld   t5, (t6)
    bne  t5, \reg, .Lwait\@
    fence rw, rw
.endm

// Write a page-table entry: index in a table at a label, target address in reg, flags.
.macro set_pte table, index, target, flags
    srli t5, \target, 2
    ori  t5, t5, \flags
    la   t6, \table
    .if (\index) * 8 > 2047
    addi t6, t6, 2040
    sd   t5, ((\index) * 8 - 2040)(t6)
    .else
    sd   t5, ((\index) * 8)(t6)
    .endif
.endm

// sie = exactly these interrupts
.macro enable_only mask
    li   t6, \mask
    csrw sie, t6
.endm
