// The macros that a test of the riscv-tests kind expects, for tests that run in U-mode (VU-mode in
// a VM) above our small supervisor. `-I guests/vu/env` in place of the environment that comes with
// the tests is all it takes. Only 64-bit user-level tests (rv64u*) have a meaning here.
#ifndef VU_RISCV_TEST_H
#define VU_RISCV_TEST_H

#define TESTNUM gp

// What a test needs is set up at its begin: nothing, or the floating-point state.
#define RVTEST_RV64U .macro init; .endm
#define RVTEST_RV64UF .macro init; csrwi fcsr, 0; .endm
#define RVTEST_RV64UH RVTEST_RV64UF
#define RVTEST_RV32U RVTEST_RV64U
#define RVTEST_RV32UF RVTEST_RV64UF
#define RVTEST_RV32UH RVTEST_RV64UF

// The supervisor enters at vu_test with all registers zero.
#define RVTEST_CODE_BEGIN \
        .text; \
        .align 6; \
        .globl vu_test; \
vu_test: \
        init

// Nobody gets here; if somebody does, it is an illegal instruction, hence a failure.
#define RVTEST_CODE_END unimp

// System call 93: a0 = 0 says pass, anything else names the test case that failed.
#define RVTEST_PASS \
        fence; \
        li a0, 0; \
        li a7, 93; \
        ecall

#define RVTEST_FAIL \
        fence; \
        mv a0, TESTNUM; \
        bnez a0, 1f; \
        li a0, -1; \
1:      li a7, 93; \
        ecall

#define EXTRA_DATA
#define RVTEST_DATA_BEGIN \
        EXTRA_DATA \
        .align 4; .globl begin_signature; begin_signature:
#define RVTEST_DATA_END .align 4; .globl end_signature; end_signature:

#endif
