//! Arithmetic of the F and D extensions on bit patterns, exact in every rounding mode.
//!
//! Every function is pure: bits, rounding mode and nothing else in, bits and [`Flags`] out. Each
//! is written once for both precisions; the bits of a [`Single`] are the low half of a `u64`
//! whose upper half is zero, as [`Precision::unbox`] gives them.
//!
//! Choices that IEEE 754 leaves open are those of the unprivileged manual, "'F' Extension for
//! Single-Precision Floating-Point": a result that is NaN is the canonical one, tininess is
//! detected after rounding, and a conversion to an integer saturates.
//!
//! The host's floating-point unit only guesses quotients and roots ([`div`], [`sqrt`]); integers
//! then correct the guess, so nothing depends on the host's rounding mode or on its kind.
//!
//! Absent: half and quadruple precision (Zfh, Q) and the remainder, which RISC-V does not have.

mod arithmetic;
mod compare;
mod convert;
mod precision;
mod quotient;
#[cfg(test)]
mod tests;

use std::ops::{BitOr, BitOrAssign};

pub use arithmetic::{add, fmadd, fmsub, fnmadd, fnmsub, mul, sub};
pub use compare::{class, eq, le, lt, max, min, sgnj, sgnjn, sgnjx};
pub use convert::{Int, convert, from_int, to_int};
pub use precision::{Double, Precision, Single};
pub use quotient::{div, sqrt};

/// How a result that does not fit is rounded, named and numbered as in `frm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Rne,
    /// Towards zero.
    Rtz,
    /// Down, towards negative infinity.
    Rdn,
    /// Up, towards positive infinity.
    Rup,
    /// To nearest, ties away from zero ("to max magnitude").
    Rmm,
}

impl Rounding {
    /// Every mode, in the order of its encoding.
    pub const ALL: [Self; 5] = [Self::Rne, Self::Rtz, Self::Rdn, Self::Rup, Self::Rmm];

    /// The mode that an instruction's `rm` asks for; `None` if the encoding, or that in `frm` when
    /// `rm` is dynamic, is reserved: the instruction is then illegal.
    #[inline]
    pub const fn of(rm: u8, frm: u64) -> Option<Self> {
        const DYNAMIC: u8 = 7;
        match if rm == DYNAMIC { frm } else { rm as u64 } {
            0 => Some(Self::Rne),
            1 => Some(Self::Rtz),
            2 => Some(Self::Rdn),
            3 => Some(Self::Rup),
            4 => Some(Self::Rmm),
            _ => None,
        }
    }
}

/// Exceptions that an operation raised, laid out as in `fflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No exception.
    pub const NONE: Self = Self(0);
    /// Inexact.
    pub const NX: Self = Self(1);
    /// Underflow.
    pub const UF: Self = Self(2);
    /// Overflow.
    pub const OF: Self = Self(4);
    /// Divide by zero.
    pub const DZ: Self = Self(8);
    /// Invalid operation.
    pub const NV: Self = Self(16);

    /// What to accrue in `fflags`.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }

    /// These flags if `raised`, else none.
    #[inline]
    const fn when(self, raised: bool) -> Self {
        if raised { self } else { Self::NONE }
    }
}

impl BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
