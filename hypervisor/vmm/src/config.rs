//! What a VM is made of, where its images go, and why that cannot be.

use isa::Extensions;
use thiserror::Error;

use crate::disk::AnyDisk;
use crate::fdt;
use crate::layout::{LOW_RAM_END, PAGE, RAM_BASE};

/// Most vCPUs of a VM.
pub const MAX_VCPUS: usize = 8;
/// Most bytes of a kernel command line.
pub const MAX_CMDLINE: usize = 4096;

/// A run of guest memory: `bytes` first, zeros after them up to `mem_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address of the first byte.
    pub addr: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How much memory it takes; never less than `bytes.len()`.
    pub mem_size: u64,
}

/// The largest leaf that the stage-2 table is built of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaf {
    /// 4 KiB: every page of the guest is seen when it is first touched.
    Page,
    /// 2 MiB.
    Mega,
    /// 1 GiB.
    Giga,
}

impl Leaf {
    /// Bytes that such a leaf maps.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << (12 + 9 * self.level() as u64)
    }

    /// Its level in the table, from 0.
    #[must_use]
    pub const fn level(self) -> u8 {
        self as u8
    }
}

/// Which device what is typed goes to. Both write to the same console stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleDevice {
    /// The UART (`ttyS0`).
    Uart,
    /// The virtio console (`hvc0`).
    Virtio,
}

/// Everything that decides a run, apart from its inputs.
#[derive(Debug)]
pub struct VmConfig {
    /// What the guest is called.
    pub name: String,
    /// vCPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: usize,
    /// Bytes of RAM, a multiple of the page size.
    pub memory: u64,
    /// Extensions of the hart; the guest sees them without H and DV-ext.
    pub isa: Extensions,
    /// The payload.
    pub segments: Vec<Segment>,
    /// Where it begins.
    pub entry: u64,
    /// An initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// The kernel's command line.
    pub cmdline: String,
    /// A device tree instead of our own. The initrd and the command line are then its own matter.
    pub dtb: Option<Vec<u8>>,
    /// Seeds the entropy device and `rng-seed`.
    pub seed: u64,
    /// What the real-time clock says when guest time is zero, in nanoseconds since 1970.
    pub rtc_base_ns: u64,
    /// What is behind the block device.
    pub disk: Option<AnyDisk>,
    /// Which device what is typed goes to.
    pub console: ConsoleDevice,
    /// Whether a reset starts the guest anew; if not it ends the run.
    pub reboot: bool,
    /// Largest leaf of the stage-2 table.
    pub leaf: Leaf,
    /// One exit in this many has its handler timed, if there is a stopwatch (0: none).
    pub sample_every: u32,
}

impl VmConfig {
    /// A VM with one vCPU and this much memory, everything else at its default, nothing loaded.
    #[must_use]
    pub fn new(name: &str, memory: u64) -> Self {
        Self {
            name: name.to_owned(),
            vcpus: 1,
            memory,
            isa: Extensions::ALL,
            segments: Vec::new(),
            entry: RAM_BASE,
            initrd: None,
            cmdline: String::new(),
            dtb: None,
            seed: 0,
            rtc_base_ns: 0,
            disk: None,
            console: ConsoleDevice::Uart,
            reboot: true,
            leaf: Leaf::Mega,
            sample_every: 64,
        }
    }

    /// First address after the RAM.
    #[must_use]
    pub fn ram_end(&self) -> u64 {
        RAM_BASE.saturating_add(self.memory)
    }
}

/// What is placed behind what is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The device tree.
    DeviceTree,
    /// The initial RAM disk.
    Initrd,
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DeviceTree => "the device tree",
            Self::Initrd => "the initrd",
        })
    }
}

/// Why a VM cannot be made. One sentence each, to be shown behind the name of what was given.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No vCPU, or too many.
    #[error("{0} vCPUs were asked for, 1 to {MAX_VCPUS} are possible")]
    Vcpus(usize),
    /// The driver registered another number of vCPUs.
    #[error("{asked} vCPUs were asked for, the driver registered {granted}")]
    VcpusGranted {
        /// In the configuration.
        asked: usize,
        /// By the driver.
        granted: usize,
    },
    /// RAM of no pages, of broken pages, or more than any address names.
    #[error("memory of {0:#x} bytes: expected whole 4 KiB pages, at most 2^28 of them")]
    Memory(u64),
    /// The driver granted less than was asked for.
    #[error("window {index} of the driver's grant has {granted:#x} bytes, {needed:#x} are needed")]
    Window {
        /// 0: RAM, 1: table pool.
        index: usize,
        /// What it has.
        granted: u64,
        /// What is needed.
        needed: u64,
    },
    /// The driver set up another root than the one of the contract.
    #[error("hugatp is {0:#x}, expected the second window as the root of Sv39x4 or wider")]
    Root(u64),
    /// A part of the payload is not in RAM.
    #[error(
        "the payload needs memory at {addr:#x} to {end:#x}, RAM is {RAM_BASE:#x} to {ram_end:#x}"
    )]
    Segment {
        /// First address.
        addr: u64,
        /// First address after it.
        end: u64,
        /// First address after the RAM.
        ram_end: u64,
    },
    /// The payload begins outside of RAM, or at an odd address.
    #[error("the payload begins at {0:#x}, which is not an even address in RAM")]
    Entry(u64),
    /// There is no room for the initrd or device tree behind the payload.
    #[error(
        "{what} of {size:#x} bytes does not fit between the payload, which ends at {end:#x}, \
         and {top:#x}"
    )]
    NoRoom {
        /// Which.
        what: Image,
        /// Its size.
        size: u64,
        /// Where the payload ends.
        end: u64,
        /// Where the room for it ends.
        top: u64,
    },
    /// The command line cannot be handed over.
    #[error("the command line has {0} bytes, at most {MAX_CMDLINE} and no zero byte are possible")]
    Cmdline(usize),
    /// The user's device tree is none.
    #[error("not a device tree blob: {0}")]
    DeviceTree(&'static str),
    /// Our own device tree could not be written.
    #[error("the device tree cannot be written")]
    Fdt(#[from] vm_fdt::Error),
    /// The driver refused something.
    #[error("the driver stopped the VM: {0}")]
    Killed(String),
}

/// Where the images go, once it is known that they fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) dtb: Vec<u8>,
    pub(crate) dtb_addr: u64,
    /// First address and first after it.
    pub(crate) initrd: Option<(u64, u64)>,
}

/// Checks a configuration and places device tree and initrd.
pub(crate) fn place(config: &VmConfig) -> Result<Placed, ConfigError> {
    if config.vcpus == 0 || config.vcpus > MAX_VCPUS {
        return Err(ConfigError::Vcpus(config.vcpus));
    }
    let pages = config.memory / PAGE;
    if !config.memory.is_multiple_of(PAGE) || pages == 0 || pages > 1 << 28 {
        return Err(ConfigError::Memory(config.memory));
    }
    if config.cmdline.len() > MAX_CMDLINE || config.cmdline.contains('\0') {
        return Err(ConfigError::Cmdline(config.cmdline.len()));
    }
    let payload_end = check_payload(config)?;
    let mut top = config.ram_end().min(LOW_RAM_END);
    let mut initrd = None;
    if let Some(bytes) = &config.initrd {
        let begin = below(top, bytes.len() as u64, PAGE, payload_end, Image::Initrd)?;
        initrd = Some((begin, begin + bytes.len() as u64));
        top = begin;
    }
    let dtb = match &config.dtb {
        Some(blob) => fdt::check(blob)?.to_vec(),
        None => fdt::build(config, initrd)?,
    };
    let dtb_addr = below(top, dtb.len() as u64, 8, payload_end, Image::DeviceTree)?;
    Ok(Placed { dtb, dtb_addr, initrd })
}

/// The end of the payload, all of which lies in RAM.
fn check_payload(config: &VmConfig) -> Result<u64, ConfigError> {
    let ram_end = config.ram_end();
    let mut payload_end = RAM_BASE;
    for segment in &config.segments {
        let size = segment.mem_size.max(segment.bytes.len() as u64);
        let end = segment.addr.saturating_add(size);
        if segment.addr < RAM_BASE || end > ram_end {
            return Err(ConfigError::Segment { addr: segment.addr, end, ram_end });
        }
        payload_end = payload_end.max(end);
    }
    if config.entry < RAM_BASE || config.entry >= ram_end || !config.entry.is_multiple_of(2) {
        return Err(ConfigError::Entry(config.entry));
    }
    Ok(payload_end)
}

/// The highest aligned place for `size` bytes below `top` and not below `bottom`.
fn below(top: u64, size: u64, align: u64, bottom: u64, what: Image) -> Result<u64, ConfigError> {
    let begin = top.checked_sub(size).map(|begin| begin & !(align - 1));
    match begin {
        Some(begin) if begin >= bottom => Ok(begin),
        _ => Err(ConfigError::NoRoom { what, size, end: bottom, top }),
    }
}
