//! Which of the user's inputs is to blame where a guest and its memory do not go together, and what
//! to do about it.

use std::fmt::Display;

use anyhow::{Error, anyhow};
use vmm::layout::{LOW_RAM_END, RAM_BASE};

use crate::args::Boot;

/// What may be wrong, whichever crate says so.
enum Fault {
    Payload { addr: u64, end: u64 },
    Initrd,
    DeviceTree { own: bool },
    Memory,
    Other,
}

/// A VM that cannot be.
pub(crate) fn vm(error: vmm::ConfigError, origin: &str, boot: &Boot, memory: u64) -> Error {
    use vmm::{ConfigError as E, Image};
    let fault = match error {
        E::Segment { addr, end, .. } => Fault::Payload { addr, end },
        E::NoRoom { what: Image::Initrd, .. } => Fault::Initrd,
        E::NoRoom { what: Image::DeviceTree, .. } => Fault::DeviceTree { own: false },
        E::DeviceTree(_) => Fault::DeviceTree { own: true },
        E::Memory(_) => Fault::Memory,
        E::Vcpus(_)
        | E::VcpusGranted { .. }
        | E::Window { .. }
        | E::Root(_)
        | E::Entry(_)
        | E::Cmdline(_)
        | E::Fdt(_)
        | E::Killed(_) => Fault::Other,
    };
    fault.tell(&error, origin, boot, memory)
}

/// A bare machine that cannot be.
pub(crate) fn machine(
    error: machine::ConfigError,
    origin: &str,
    boot: &Boot,
    memory: u64,
) -> Error {
    use machine::{ConfigError as E, Image};
    let fault = match error {
        E::Segment { addr, end, .. } => Fault::Payload { addr, end },
        E::NoRoom { what: Image::Initrd, .. } => Fault::Initrd,
        E::NoRoom { what: Image::DeviceTree | Image::DynamicInfo, .. } => {
            Fault::DeviceTree { own: false }
        }
        E::DeviceTree(_) => Fault::DeviceTree { own: true },
        E::Memory(_) => Fault::Memory,
        E::Harts(_) | E::Overlap(_) | E::Entry(_) | E::Htif { .. } | E::Cmdline(_) | E::Fdt(_) => {
            Fault::Other
        }
    };
    fault.tell(&error, origin, boot, memory)
}

impl Fault {
    /// One sentence: the input, what is wrong with it, what to do.
    fn tell(&self, error: &dyn Display, origin: &str, boot: &Boot, memory: u64) -> Error {
        let option = |name: &str, path: Option<&std::path::PathBuf>| {
            path.map_or_else(|| origin.to_owned(), |path| format!("{name} {}", path.display()))
        };
        // More memory helps as long as it is low memory.
        let more = if memory < LOW_RAM_END - RAM_BASE {
            "give more memory with --mem"
        } else {
            "only the first GiB of memory is used for it"
        };
        match self {
            Self::Payload { addr, .. } if *addr < RAM_BASE => {
                anyhow!("{origin}: {error}: link it for an address in RAM")
            }
            Self::Payload { end, .. } => {
                let mib = (end - RAM_BASE).div_ceil(1 << 20);
                anyhow!("{origin}: {error}: give it --mem {mib}M or more")
            }
            Self::Initrd => {
                anyhow!("{}: {error}: {more}", option("--initrd", boot.initrd.as_ref()))
            }
            Self::DeviceTree { own: false } => {
                anyhow!("{}: {error}: {more}", option("--dtb", boot.dtb.as_ref()))
            }
            Self::DeviceTree { own: true } => {
                let path = option("--dtb", boot.dtb.as_ref());
                anyhow!("{path}: {error}; expected a file as dtc or --dump-dtb writes it")
            }
            Self::Memory => anyhow!("--mem: {error}"),
            Self::Other => anyhow!("{origin}: {error}"),
        }
    }
}
