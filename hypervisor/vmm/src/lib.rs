//! The VM plane: VM assembly, vCPU loop, exit handlers, stage-2 tables, SBI.
//!
//! Modules in reading order: the map and the configuration, the run loop ([`vcpu`](Host)), one
//! handler per exit cause, SBI, stage-2 tables and guest memory, devices on their bus, the stream
//! of events and the answers to watchers.
//!
//! What is never here: the hart, the machine or the driver (all hardware is behind
//! [`dv::Dv`]), the host's clock, files or terminal, and any input that did not come through
//! [`session::Inputs`]. Whatever a guest does ends in an exception for the guest, an exit with an
//! outcome, or a stop with a reason.
#![forbid(unsafe_code)]

mod bus;
mod config;
mod disk;
mod exits;
mod fdt;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gstage;
mod inject;
mod keep;
pub mod layout;
mod live;
mod memory;
mod mmio;
mod sbi;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vcpu;
mod vm;

pub use config::{
    ConfigError, ConsoleDevice, Image, Leaf, MAX_CMDLINE, MAX_VCPUS, Segment, VmConfig,
};
pub use disk::AnyDisk;
pub use fdt::dump_dtb;
pub use gstage::{MapError, Mapping, Rights};
pub use vcpu::{Host, Rest};
pub use vm::Vm;
