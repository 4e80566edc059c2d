//! Physical memory, bus, interrupt wiring, schedule and step clock; machine mode.
//!
//! A [`Machine`] is harts on a [`Platform`]. It knows no VM: the driver builds one from it, and
//! [`BareMachine`] is one without a hypervisor, on the memory map of QEMU's `virt`.
//!
//! Invariants: RAM has one writer function; the order in which harts make their steps is a
//! function of configuration and guest, never of the limits, breakpoints or watchers of a run;
//! what comes from outside enters a bare machine through `session::Inputs` only.
#![forbid(unsafe_code)]

mod bare;
mod context;
mod machine;
mod memory;
mod platform;
mod schedule;
mod watch;

pub use bare::{
    AnyDisk, BARE_RAM_BASE, BareConfig, BareMachine, Boot, ConfigError, ConsoleDevice, Host, Image,
    KERNEL_BASE, MAX_CMDLINE, MAX_HARTS, Rest, Segment, dump_dtb,
};
pub use context::Context;
pub use machine::{Config, HartState, Machine, QUANTUM_DEFAULT, Ran};
pub use memory::{
    Before, CHANGES_KEPT, Dirtied, Memory, NotRam, PAGE, Tracking, WRITES_KEPT, Write,
};
pub use platform::Platform;
