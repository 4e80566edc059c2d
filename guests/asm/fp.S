// F and D give exact results, flags and boxes; with FS off they trap and change nothing.
#include "check.h"
#define NX 1
#define UF 2
#define OF 4
#define DZ 8
#define NV 16

// Operands and result are bit patterns; `flags` are exactly those that the instruction raises.
.macro calc_d op, a, b, want, flags, rm=
    li   t0, \a
    fmv.d.x f1, t0
    li   t0, \b
    fmv.d.x f2, t0
    csrw fflags, zero
    .ifb \rm
    \op  f3, f1, f2
    .else
    \op  f3, f1, f2, \rm
    .endif
    csrr a3, fflags
    fmv.x.d a2, f3
    expect a2, \want, "\op \a, \b \rm"
    expect a3, \flags, "flags of \op \a, \b \rm"
.endm
.macro calc_s op, a, b, want, flags, rm=
    li   t0, \a
    fmv.w.x f1, t0
    li   t0, \b
    fmv.w.x f2, t0
    csrw fflags, zero
    .ifb \rm
    \op  f3, f1, f2
    .else
    \op  f3, f1, f2, \rm
    .endif
    csrr a3, fflags
    fmv.x.d a2, f3
    expect a2, (0xffffffff00000000 + \want), "\op \a, \b \rm"
    expect a3, \flags, "flags of \op \a, \b \rm"
.endm
#define D_ONE   0x3ff0000000000000
#define D_THREE 0x4008000000000000
#define D_MAX   0x7fefffffffffffff
#define D_INF   0x7ff0000000000000
#define D_NAN   0x7ff8000000000000
#define D_SNAN  0x7ff0000000000001
#define D_TINY  0x0000000000000001
#define S_ONE   0x3f800000
#define S_THREE 0x40400000

guest fp
main:
    li   s0, SSTATUS_FS
    csrc sstatus, s0            // off: every use is illegal
    must_trap 2, fadd.d f1, f1, f1
    must_trap 2, fmv.x.d a0, f1
    must_trap 2, csrr a0, fcsr
    must_trap 2, fld f1, (sp)
    must_trap 2, c.fldsp f1, 0(sp)
    li   t0, 0x2000             // initial: a write makes it dirty
    csrs sstatus, t0
    fmv.d.x f1, zero
    csrr t0, sstatus
    and  t1, t0, s0
    expect_reg t1, s0, "sstatus.FS after a write"
    srli t0, t0, 63
    expect t0, 1, "sstatus.SD when FS is dirty"
    csrw fcsr, zero

    calc_d fadd.d, D_ONE, D_TINY, D_ONE, NX
    calc_d fadd.d, D_ONE, D_TINY, 0x3ff0000000000001, NX, rup
    calc_d fsub.d, D_ONE, D_ONE, 0, 0
    calc_d fsub.d, D_ONE, D_ONE, 0x8000000000000000, 0, rdn
    calc_d fdiv.d, D_ONE, D_THREE, 0x3fd5555555555555, NX
    calc_d fdiv.d, D_ONE, D_THREE, 0x3fd5555555555556, NX, rup
    calc_d fdiv.d, D_ONE, 0, D_INF, DZ
    calc_d fdiv.d, 0, 0, D_NAN, NV
    calc_d fmul.d, D_MAX, D_THREE, D_INF, (OF + NX)
    calc_d fmul.d, D_MAX, D_THREE, D_MAX, (OF + NX), rtz
    calc_d fmul.d, 0x0010000000000001, 0x3fe0000000000000, 0x0008000000000000, (UF + NX)
    calc_d fmul.d, D_INF, 0, D_NAN, NV
    calc_d fadd.d, D_SNAN, D_ONE, D_NAN, NV
    calc_d fadd.d, 0xfff8000000000123, D_ONE, D_NAN, 0
    calc_d fmin.d, 0, 0x8000000000000000, 0x8000000000000000, 0
    calc_d fmax.d, D_NAN, D_ONE, D_ONE, 0
    calc_d fmin.d, D_SNAN, D_ONE, D_ONE, NV
    calc_d fsgnjx.d, 0xc008000000000000, 0x8000000000000000, D_THREE, 0
    calc_s fadd.s, S_ONE, 1, S_ONE, NX
    calc_s fdiv.s, S_ONE, S_THREE, 0x3eaaaaab, NX
    calc_s fdiv.s, S_ONE, S_THREE, 0x3eaaaaaa, NX, rtz
    calc_s fmul.s, 0x7f7fffff, S_THREE, 0x7f800000, (OF + NX)
    calc_s fadd.s, S_ONE, 0x33800000, 0x3f800000, NX
    calc_s fadd.s, S_ONE, 0x33800000, 0x3f800001, NX, rmm

    li   t0, D_ONE              // a single that is not boxed is a NaN
    fmv.d.x f1, t0
    fclass.s a0, f1
    expect a0, 0x200, "fclass.s of an unboxed value"
    li   t0, 0x4000000000000000
    fmv.d.x f2, t0
    csrw fflags, zero
    fsqrt.d f3, f2
    fmv.x.d a0, f3
    expect a0, 0x3ff6a09e667f3bcd, "square root of 2"
    li   t0, 0x3ff0000000000001 // fused: the product's low bits survive
    fmv.d.x f4, t0
    li   t0, 0xbff0000000000002
    fmv.d.x f5, t0
    fmadd.d f3, f4, f4, f5
    fmv.x.d a0, f3
    expect a0, 0x3970000000000000, "fused multiply-add"
    csrw fflags, zero
    li   t0, 0xc1e0000000200000 // -2147483649
    fmv.d.x f1, t0
    fcvt.w.d a0, f1, rtz
    expect a0, -0x80000000, "fcvt.w.d out of range"
    csrr a1, fflags
    expect a1, NV, "flags of fcvt.w.d out of range"
    fcvt.lu.d a0, f1, rtz
    expect a0, 0, "fcvt.lu.d of a negative number"
    csrw frm, 5                 // a reserved dynamic rounding mode
    must_trap 2, fadd.d f1, f1, f1
    csrw frm, zero
    flt.d a0, f1, f2
    expect a0, 1, "flt.d"
    j    pass
