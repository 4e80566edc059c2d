//! The hypervisor plane: grants, delegation, VM ids, emergencies; implements Dv.
//!
//! ```text
//!   Driver      vm_create ─▶ VmId ─▶ Hu: the VM plane's view, `impl Dv`
//!     │            │                  │ exits, interrupts, stage-2: no driver call
//!     │            │                  │ grow: an emergency, counted
//!     │         vm_destroy ◀──────────┘
//!     ├ frames     memory that nobody has, all zero
//!     ├ vms        by VM id: vCPUs, windows, why it was stopped
//!     └ machine    harts, set up as HS and firmware would
//! ```
//! The driver sets a vCPU up and is not entered again: every trap of a guest goes to the guest
//! itself or to its VM plane, and what still arrives here stops the VM, with a reason. Default
//! deny: what a [`VmRequest`] does not ask for is not delegated, and a VM reaches no byte outside
//! of its windows.
//!
//! Usually one vCPU has one hart to itself, and nothing of it is ever switched; the machine's
//! schedule stands for the hardware's parallelism. VMs that ask for [`Harts::Shared`] take turns
//! under a [`Scheduler`], and none of them can find out that there are others.
#![forbid(unsafe_code)]

mod config;
mod driver;
mod frames;
mod hs;
mod hu;
mod keep;
mod scheduler;
mod seen;
mod switch;

pub use config::{Config, CreateError, Gstage, Harts, RAM_MAX, VmRequest};
pub use driver::{Driver, VmId};
pub use hs::HU_VECTOR;
pub use hu::Hu;
pub use scheduler::{Next, Plane, Scheduler, Shift};
