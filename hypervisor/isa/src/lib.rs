//! Facts of RISC-V and DV-ext: encodings, CSRs, causes, modes, registers, disassembly.
//!
//! Modules in reading order: one row per instruction ([`insn`]), its operands and the decoder
//! ([`operands`], [`compressed`]), the extensions a machine may have ([`ext`]), the CSRs with their
//! fields ([`csr`], [`fields`]), causes, modes and register names, the text of an instruction, and
//! the checks that DV-ext makes ([`check`]).
//!
//! Every number of a manual stands in one table row here, and everything else is derived from it.
//! Nothing in this crate allocates, does I/O, keeps state or knows what an instruction *does*.
#![no_std]
#![forbid(unsafe_code)]

pub mod cause;
pub mod check;
pub mod compressed;
pub mod csr;
pub mod disasm;
pub mod ext;
pub mod fields;
pub mod insn;
pub mod mode;
pub mod operands;
pub mod reg;

pub use cause::{Cause, Exception, Interrupt};
pub use check::Check;
pub use csr::Csr;
pub use ext::{Ext, Extensions};
pub use fields::Field;
pub use insn::{Format, Op, ROWS, Row};
pub use mode::Mode;
pub use operands::{Insn, decode, decode16, encode, fetch_len};

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
