//! The modelled hardware thread: state, execution, traps, translation, DV-ext.
//!
//! RV64GC with M, HS, U, VS and VU, and HU where DV-ext is on. A hart is plain state; [`Hart::run`]
//! moves it, step by step, through an [`Engine`] (decoded code, shared by the harts of a machine)
//! and a [`Bus`] (RAM, devices, wires). A *step* is one attempted instruction or one interrupt
//! taken.
//!
//! Invariants: nothing cached can be seen by a guest (an entry is dropped when what it came from
//! changes, so fences have nothing to do); nothing here knows a VM, a device or SBI; no host clock,
//! address or order reaches the state.
#![forbid(unsafe_code)]

mod bus;
pub mod checks;
mod csr_file;
mod csrs;
mod engine;
mod exec;
pub mod float;
mod follow;
mod hart;
mod hu;
mod keep;
mod pmp;
mod probe;
#[cfg(test)]
#[path = "../tests/it/ram.rs"]
mod ram;
mod run;
mod switch;
mod tlb;
mod trap;
mod walk;

pub use bus::{AccessFault, Bus, Change, Post, Touch, Writer};
pub use csr_file::NS_PER_TICK;
pub use csrs::Csrs;
pub use engine::{BLOCKS_DEFAULT, Engine};
pub use follow::{CannotWatch, CsrChange};
pub use hart::{Hart, Report, Taken, Trap};
pub use hu::Refused;
pub use probe::{Hit, Watch};
pub use run::Halt;
pub use switch::Unwritten;
pub use walk::Access;
