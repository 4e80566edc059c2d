//! The vocabulary between a machine or VM and its watchers.
//!
//! Everything worth seeing leaves as an [`Event`] with a gap-free `seq`; everything that is not
//! decided by the guest enters through [`Inputs`]. Nothing here prints, blocks, owns a socket or
//! knows the host's time, and no type names an implementation: a local, a remote and a recorded
//! run look the same.
#![forbid(unsafe_code)]

mod command;
mod exit;
mod inputs;
mod link;
#[cfg(feature = "serde")]
mod mode;
mod position;
mod script;
mod sink;
mod stats;
mod stream;
mod text;
mod view;

pub use command::{Answer, Capabilities, Command, Disconnected, Reply, Request, Session};
pub use exit::{
    Access, Event, Exit, ExitCause, ExitKind, Interrupt, Outcome, Region, Stop, Trap, VmState,
};
pub use inputs::{Idle, Input, Inputs, NoInputs};
pub use link::{Asker, Client, Server, link};
pub use position::{Position, VcpuId};
pub use script::{Script, ScriptError};
pub use sink::{NullSink, Sink};
pub use stats::{Histogram, KindStats, Stats};
pub use stream::Stream;
pub use view::{Overview, RunState, VcpuState, VcpuView};
