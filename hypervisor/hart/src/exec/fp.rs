//! F and D: the instructions around the arithmetic of [`crate::float`].
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one extension of many; a test sees that every instruction has a handler"
)]

use isa::Op as Name;

use super::imm;
use super::memory::{after, load, store};
use super::{base::low, trapped};
use crate::bus::Bus;
use crate::engine::{Flow, Handler, Op, next};
use crate::float::{self, Double, Flags, Int, Precision, Rounding, Single};
use crate::hart::{Hart, Trap};

impl Hart {
    #[inline(always)]
    fn fp<F: Precision>(&self, reg: u8) -> u64 {
        F::unbox(self.f[usize::from(reg & 31)])
    }

    #[inline(always)]
    fn set_fp<F: Precision>(&mut self, reg: u8, bits: u64) {
        self.f[usize::from(reg & 31)] = F::boxed(bits);
        self.fp_dirty();
    }

    #[inline(always)]
    fn accrue(&mut self, flags: Flags) {
        if flags != Flags::NONE {
            self.csr.fflags |= flags.bits();
            self.fp_dirty();
        }
    }

    /// The rounding mode of an instruction, or `None`: it is illegal.
    #[inline(always)]
    #[expect(clippy::cast_sign_loss, reason = "three bits")]
    fn rounding<B>(&self, op: &Op<B>) -> Option<Rounding> {
        Rounding::of((op.imm & 7) as u8, self.csr.frm)
    }
}

/// Operations with a rounding mode and a floating-point result.
macro_rules! rounded {
    ($( $name:ident |$hart:ident, $op:ident, $mode:ident| $value:expr; )*) => {
        $(
            fn $name<B: Bus, F: Precision>(
                $hart: &mut Hart,
                bus: &mut B,
                $op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                let Some($mode) = $hart.rounding($op).filter(|_| !$hart.fp_off) else {
                    return trapped($hart, $op, Trap::illegal());
                };
                let (bits, flags) = $value;
                $hart.accrue(flags);
                $hart.set_fp::<F>($op.rd, bits);
                next($hart, bus, rest)
            }
        )*
    };
}

/// The third source of a fused operation.
#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "five bits")]
fn rs3<B>(op: &Op<B>) -> u8 {
    (op.imm >> 3 & 31) as u8
}

rounded! {
    fadd |h, op, mode| float::add::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), mode);
    fsub |h, op, mode| float::sub::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), mode);
    fmul |h, op, mode| float::mul::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), mode);
    fdiv |h, op, mode| float::div::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), mode);
    fsqrt |h, op, mode| float::sqrt::<F>(h.fp::<F>(op.rs1), mode);
    fmadd |h, op, mode|
        float::fmadd::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), h.fp::<F>(rs3(op)), mode);
    fmsub |h, op, mode|
        float::fmsub::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), h.fp::<F>(rs3(op)), mode);
    fnmsub |h, op, mode|
        float::fnmsub::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), h.fp::<F>(rs3(op)), mode);
    fnmadd |h, op, mode|
        float::fnmadd::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2), h.fp::<F>(rs3(op)), mode);
    from_w |h, op, mode| float::from_int::<F>(h.get(op.rs1), Int::W, mode);
    from_wu |h, op, mode| float::from_int::<F>(h.get(op.rs1), Int::Wu, mode);
    from_l |h, op, mode| float::from_int::<F>(h.get(op.rs1), Int::L, mode);
    from_lu |h, op, mode| float::from_int::<F>(h.get(op.rs1), Int::Lu, mode);
}

/// Between the precisions.
fn narrow<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    resize::<B, Double, Single>(hart, bus, op, rest)
}

fn widen<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
    resize::<B, Single, Double>(hart, bus, op, rest)
}

fn resize<B: Bus, From: Precision, To: Precision>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
) -> Flow {
    let Some(mode) = hart.rounding(op).filter(|_| !hart.fp_off) else {
        return trapped(hart, op, Trap::illegal());
    };
    let (bits, flags) = float::convert::<From, To>(hart.fp::<From>(op.rs1), mode);
    hart.accrue(flags);
    hart.set_fp::<To>(op.rd, bits);
    next(hart, bus, rest)
}

/// Operations without rounding and with a floating-point result.
macro_rules! exact {
    ($( $name:ident |$hart:ident, $op:ident| $value:expr; )*) => {
        $(
            fn $name<B: Bus, F: Precision>(
                $hart: &mut Hart,
                bus: &mut B,
                $op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                if $hart.fp_off {
                    return trapped($hart, $op, Trap::illegal());
                }
                let (bits, flags): (u64, Flags) = $value;
                $hart.accrue(flags);
                $hart.set_fp::<F>($op.rd, bits);
                next($hart, bus, rest)
            }
        )*
    };
}

exact! {
    fsgnj |h, op| (float::sgnj::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)), Flags::NONE);
    fsgnjn |h, op| (float::sgnjn::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)), Flags::NONE);
    fsgnjx |h, op| (float::sgnjx::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)), Flags::NONE);
    fmin |h, op| float::min::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2));
    fmax |h, op| float::max::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2));
    fmv_w_x |h, op| (u64::from(low(h.get(op.rs1))), Flags::NONE);
    fmv_d_x |h, op| (h.get(op.rs1), Flags::NONE);
}

/// Operations with an integer result.
macro_rules! to_x {
    ($( $name:ident |$hart:ident, $op:ident| $value:expr; )*) => {
        $(
            fn $name<B: Bus, F: Precision>(
                $hart: &mut Hart,
                bus: &mut B,
                $op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                if $hart.fp_off {
                    return trapped($hart, $op, Trap::illegal());
                }
                let (value, flags): (u64, Flags) = $value;
                $hart.accrue(flags);
                $hart.set($op.rd, value);
                next($hart, bus, rest)
            }
        )*
    };
}

fn flag((holds, flags): (bool, Flags)) -> (u64, Flags) {
    (u64::from(holds), flags)
}

to_x! {
    feq |h, op| flag(float::eq::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)));
    flt |h, op| flag(float::lt::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)));
    fle |h, op| flag(float::le::<F>(h.fp::<F>(op.rs1), h.fp::<F>(op.rs2)));
    fclass |h, op| (float::class::<F>(h.fp::<F>(op.rs1)), Flags::NONE);
    // The moves take the register's bits, boxed or not.
    fmv_x |h, op| {
        let bits = h.f[usize::from(op.rs1 & 31)];
        (if F::WIDTH == 32 { super::base::sext(bits) } else { bits }, Flags::NONE)
    };
}

fn to_int<B: Bus, F: Precision>(
    hart: &mut Hart,
    bus: &mut B,
    op: &Op<B>,
    rest: &[Op<B>],
    int: Int,
) -> Flow {
    let Some(mode) = hart.rounding(op).filter(|_| !hart.fp_off) else {
        return trapped(hart, op, Trap::illegal());
    };
    let (value, flags) = float::to_int::<F>(hart.fp::<F>(op.rs1), int, mode);
    hart.accrue(flags);
    hart.set(op.rd, value);
    next(hart, bus, rest)
}

macro_rules! to_ints {
    ($( $name:ident $int:ident; )*) => {
        $(
            fn $name<B: Bus, F: Precision>(
                hart: &mut Hart,
                bus: &mut B,
                op: &Op<B>,
                rest: &[Op<B>],
            ) -> Flow {
                to_int::<B, F>(hart, bus, op, rest, Int::$int)
            }
        )*
    };
}

to_ints! {
    to_w W;
    to_wu Wu;
    to_l L;
    to_lu Lu;
}

macro_rules! fp_memory {
    ($load:ident $store:ident $n:literal $type:ident $precision:ident) => {
        fn $load<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
            if hart.fp_off {
                return trapped(hart, op, Trap::illegal());
            }
            let va = hart.get(op.rs1).wrapping_add(imm(op));
            match load::<B, $n>(hart, bus, va, op) {
                Ok((bytes, ends)) => {
                    hart.set_fp::<$precision>(op.rd, u64::from($type::from_le_bytes(bytes)));
                    after(hart, bus, op, rest, ends)
                }
                Err(flow) => flow,
            }
        }

        fn $store<B: Bus>(hart: &mut Hart, bus: &mut B, op: &Op<B>, rest: &[Op<B>]) -> Flow {
            if hart.fp_off {
                return trapped(hart, op, Trap::illegal());
            }
            let va = hart.get(op.rs1).wrapping_add(imm(op));
            let mut bytes = [0; $n];
            bytes.copy_from_slice(&hart.f[usize::from(op.rs2 & 31)].to_le_bytes()[..$n]);
            match store::<B, $n>(hart, bus, va, bytes, op) {
                Ok(ends) => after(hart, bus, op, rest, ends),
                Err(flow) => flow,
            }
        }
    };
}

fp_memory!(flw fsw 4 u32 Single);
fp_memory!(fld fsd 8 u64 Double);

pub(super) fn handler<B: Bus>(name: Name) -> Option<Handler<B>> {
    single(name).or_else(|| double(name))
}

fn single<B: Bus>(name: Name) -> Option<Handler<B>> {
    type F = Single;
    Some(match name {
        Name::Flw => flw,
        Name::Fsw => fsw,
        Name::FmaddS => fmadd::<B, F>,
        Name::FmsubS => fmsub::<B, F>,
        Name::FnmsubS => fnmsub::<B, F>,
        Name::FnmaddS => fnmadd::<B, F>,
        Name::FaddS => fadd::<B, F>,
        Name::FsubS => fsub::<B, F>,
        Name::FmulS => fmul::<B, F>,
        Name::FdivS => fdiv::<B, F>,
        Name::FsqrtS => fsqrt::<B, F>,
        Name::FsgnjS => fsgnj::<B, F>,
        Name::FsgnjnS => fsgnjn::<B, F>,
        Name::FsgnjxS => fsgnjx::<B, F>,
        Name::FminS => fmin::<B, F>,
        Name::FmaxS => fmax::<B, F>,
        Name::FeqS => feq::<B, F>,
        Name::FltS => flt::<B, F>,
        Name::FleS => fle::<B, F>,
        Name::FclassS => fclass::<B, F>,
        Name::FcvtWS => to_w::<B, F>,
        Name::FcvtWuS => to_wu::<B, F>,
        Name::FcvtLS => to_l::<B, F>,
        Name::FcvtLuS => to_lu::<B, F>,
        Name::FcvtSW => from_w::<B, F>,
        Name::FcvtSWu => from_wu::<B, F>,
        Name::FcvtSL => from_l::<B, F>,
        Name::FcvtSLu => from_lu::<B, F>,
        Name::FmvXW => fmv_x::<B, F>,
        Name::FmvWX => fmv_w_x::<B, F>,
        Name::FcvtSD => narrow,
        _ => return None,
    })
}

fn double<B: Bus>(name: Name) -> Option<Handler<B>> {
    type F = Double;
    Some(match name {
        Name::Fld => fld,
        Name::Fsd => fsd,
        Name::FmaddD => fmadd::<B, F>,
        Name::FmsubD => fmsub::<B, F>,
        Name::FnmsubD => fnmsub::<B, F>,
        Name::FnmaddD => fnmadd::<B, F>,
        Name::FaddD => fadd::<B, F>,
        Name::FsubD => fsub::<B, F>,
        Name::FmulD => fmul::<B, F>,
        Name::FdivD => fdiv::<B, F>,
        Name::FsqrtD => fsqrt::<B, F>,
        Name::FsgnjD => fsgnj::<B, F>,
        Name::FsgnjnD => fsgnjn::<B, F>,
        Name::FsgnjxD => fsgnjx::<B, F>,
        Name::FminD => fmin::<B, F>,
        Name::FmaxD => fmax::<B, F>,
        Name::FeqD => feq::<B, F>,
        Name::FltD => flt::<B, F>,
        Name::FleD => fle::<B, F>,
        Name::FclassD => fclass::<B, F>,
        Name::FcvtWD => to_w::<B, F>,
        Name::FcvtWuD => to_wu::<B, F>,
        Name::FcvtLD => to_l::<B, F>,
        Name::FcvtLuD => to_lu::<B, F>,
        Name::FcvtDW => from_w::<B, F>,
        Name::FcvtDWu => from_wu::<B, F>,
        Name::FcvtDL => from_l::<B, F>,
        Name::FcvtDLu => from_lu::<B, F>,
        Name::FmvXD => fmv_x::<B, F>,
        Name::FmvDX => fmv_d_x::<B, F>,
        Name::FcvtDS => widen,
        _ => return None,
    })
}
