//! What a bare machine is made of, where its images go, and why that cannot be.

#[cfg(test)]
mod tests;

use std::fmt;

use isa::Extensions;
use thiserror::Error;

use super::board::{AnyDisk, ConsoleDevice};
use super::fdt;
use super::layout::{LOW_RAM_END, RAM_BASE};
use crate::machine::QUANTUM_DEFAULT;
use crate::memory::PAGE;

/// Most harts of a bare machine.
pub const MAX_HARTS: usize = 8;
/// Most bytes of a kernel command line.
pub const MAX_CMDLINE: usize = 4096;
/// Bytes of what firmware of the kind fw_dynamic is told.
pub(crate) const DYNAMIC_INFO_BYTES: u64 = 48;
/// Free bytes behind the device tree: firmware adds to it where it lies.
const DTB_ROOM: u64 = 16 << 10;

/// A run of memory: `bytes` first, zeros after them up to `mem_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of the first byte.
    pub addr: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How much memory it takes; never less than `bytes.len()`.
    pub mem_size: u64,
}

/// What the harts are told when they start, in `a1` and `a2`. `a0` is always the hart's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A program that needs nothing: zeros.
    Bare,
    /// A program or kernel that wants the device tree's address in `a1`.
    DeviceTree,
    /// Firmware: the device tree in `a1`, and in `a2` the address of a `struct fw_dynamic_info`,
    /// by which OpenSBI's fw_dynamic learns where the kernel begins. Firmware that jumps to a fixed
    /// address does not look at it.
    Firmware {
        /// First instruction of the kernel, if there is one.
        next: Option<u64>,
    },
}

/// Everything that decides a run, apart from its inputs.
pub struct BareConfig {
    /// What the machine is called.
    pub name: String,
    /// Harts, 1 to [`MAX_HARTS`].
    pub harts: usize,
    /// Bytes of RAM, a multiple of the page size.
    pub memory: u64,
    /// Extensions of the harts.
    pub isa: Extensions,
    /// Steps of a turn.
    pub quantum: u64,
    /// Decoded blocks that are kept; no guest can see it.
    pub n_blocks: usize,
    /// Firmware, kernel, program: what goes where.
    pub segments: Vec<Segment>,
    /// Where all harts begin.
    pub entry: u64,
    /// What they are told.
    pub boot: Boot,
    /// An initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// The kernel's command line.
    pub cmdline: String,
    /// A device tree instead of our own. The initrd and the command line are then its own matter.
    pub dtb: Option<Vec<u8>>,
    /// HTIF, from the program: the physical address of `tohost`.
    pub tohost: Option<u64>,
    /// HTIF, to the program: the physical address of `fromhost`.
    pub fromhost: Option<u64>,
    /// Seeds the entropy device and `rng-seed`.
    pub seed: u64,
    /// What the real-time clock says when guest time is zero, in nanoseconds since 1970.
    pub rtc_base_ns: u64,
    /// What is behind the block device.
    pub disk: Option<AnyDisk>,
    /// Which device what is typed goes to.
    pub console: ConsoleDevice,
    /// Whether a reset starts the machine anew; if not it ends the run.
    pub reboot: bool,
}

impl fmt::Debug for BareConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareConfig")
            .field("name", &self.name)
            .field("harts", &self.harts)
            .field("memory", &self.memory)
            .field("entry", &self.entry)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

impl BareConfig {
    /// One hart with this much memory, everything else at its default, nothing loaded.
    #[must_use]
    pub fn new(name: &str, memory: u64) -> Self {
        Self {
            name: name.to_owned(),
            harts: 1,
            memory,
            isa: Extensions::ALL,
            quantum: QUANTUM_DEFAULT,
            n_blocks: hart::BLOCKS_DEFAULT,
            segments: Vec::new(),
            entry: RAM_BASE,
            boot: Boot::Bare,
            initrd: None,
            cmdline: String::new(),
            dtb: None,
            tohost: None,
            fromhost: None,
            seed: 0,
            rtc_base_ns: 0,
            disk: None,
            console: ConsoleDevice::Uart,
            reboot: true,
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
    /// What firmware of the kind fw_dynamic is told.
    DynamicInfo,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeviceTree => "the device tree",
            Self::Initrd => "the initrd",
            Self::DynamicInfo => "what fw_dynamic is told",
        })
    }
}

/// Why a bare machine cannot be made. One sentence each.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No hart, or too many.
    #[error("{0} harts were asked for, 1 to {MAX_HARTS} are possible")]
    Harts(usize),
    /// RAM of no pages, of broken pages, or more than any address names.
    #[error("memory of {0:#x} bytes: expected whole 4 KiB pages, at most 2^28 of them")]
    Memory(u64),
    /// A part of what is to be loaded is not in RAM.
    #[error(
        "the program needs memory at {addr:#x} to {end:#x}, RAM is {RAM_BASE:#x} to {ram_end:#x}"
    )]
    Segment {
        /// First address.
        addr: u64,
        /// First address after it.
        end: u64,
        /// First address after the RAM.
        ram_end: u64,
    },
    /// Two parts of what is to be loaded want the same memory.
    #[error("firmware and kernel overlap: both need the memory at {0:#x}")]
    Overlap(u64),
    /// The program begins outside of RAM, or at an odd address.
    #[error("the program begins at {0:#x}, which is not an even address in RAM")]
    Entry(u64),
    /// `tohost` or `fromhost` cannot be.
    #[error("{name} at {addr:#x} is not a doubleword in RAM")]
    Htif {
        /// Which.
        name: &'static str,
        /// Where.
        addr: u64,
    },
    /// There is no room for the initrd or device tree behind the program.
    #[error(
        "{what} of {size:#x} bytes does not fit between the program, which ends at {end:#x}, \
         and {top:#x}"
    )]
    NoRoom {
        /// Which.
        what: Image,
        /// Its size.
        size: u64,
        /// Where the program ends.
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
}

/// Where the images go, once it is known that they fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Device tree and its address, if the harts are told of one.
    pub(crate) dtb: Option<(u64, Vec<u8>)>,
    /// Address of what fw_dynamic is told.
    pub(crate) dynamic_info: Option<u64>,
    /// Address of the initrd.
    pub(crate) initrd: Option<u64>,
}

/// The device tree that a machine of this configuration is started with.
///
/// # Errors
/// What [`BareMachine::new`](crate::BareMachine::new) would say too.
pub fn dump_dtb(config: &BareConfig) -> Result<Vec<u8>, ConfigError> {
    check(config)?;
    match &config.dtb {
        Some(blob) => fdt::check(blob).map(<[u8]>::to_vec),
        None => place_images(config, program_end(config)?).map(|(_, dtb)| dtb),
    }
}

/// Checks a configuration and places device tree and initrd.
pub(crate) fn place(config: &BareConfig) -> Result<Placed, ConfigError> {
    check(config)?;
    let end = program_end(config)?;
    if config.boot == Boot::Bare {
        return Ok(Placed::default());
    }
    place_images(config, end).map(|(placed, _)| placed)
}

fn check(config: &BareConfig) -> Result<(), ConfigError> {
    if config.harts == 0 || config.harts > MAX_HARTS {
        return Err(ConfigError::Harts(config.harts));
    }
    let pages = config.memory / PAGE as u64;
    if !config.memory.is_multiple_of(PAGE as u64) || pages == 0 || pages > 1 << 28 {
        return Err(ConfigError::Memory(config.memory));
    }
    if config.cmdline.len() > MAX_CMDLINE || config.cmdline.contains('\0') {
        return Err(ConfigError::Cmdline(config.cmdline.len()));
    }
    for (name, addr) in [("tohost", config.tohost), ("fromhost", config.fromhost)] {
        let in_ram = |addr: u64| addr >= RAM_BASE && addr < config.ram_end();
        if let Some(addr) = addr.filter(|addr| !addr.is_multiple_of(8) || !in_ram(*addr)) {
            return Err(ConfigError::Htif { name, addr });
        }
    }
    Ok(())
}

/// Device tree, what firmware is told and initrd, from the top of low RAM down.
fn place_images(config: &BareConfig, bottom: u64) -> Result<(Placed, Vec<u8>), ConfigError> {
    let mut placed = Placed::default();
    let mut top = config.ram_end().min(LOW_RAM_END);
    let mut initrd = None;
    if let Some(bytes) = &config.initrd {
        let begin = below(top, bytes.len() as u64, PAGE as u64, bottom, Image::Initrd)?;
        initrd = Some((begin, begin + bytes.len() as u64));
        placed.initrd = Some(begin);
        top = begin;
    }
    let dtb = match &config.dtb {
        Some(blob) => fdt::check(blob)?.to_vec(),
        None => fdt::build(config, initrd)?,
    };
    let dtb_size = dtb.len() as u64 + DTB_ROOM;
    let dtb_addr = below(top, dtb_size, 8, bottom, Image::DeviceTree)?;
    placed.dtb = Some((dtb_addr, dtb.clone()));
    if let Boot::Firmware { .. } = config.boot {
        let info = below(dtb_addr, DYNAMIC_INFO_BYTES, 8, bottom, Image::DynamicInfo)?;
        placed.dynamic_info = Some(info);
    }
    Ok((placed, dtb))
}

/// The end of what is loaded, all of which lies in RAM.
fn program_end(config: &BareConfig) -> Result<u64, ConfigError> {
    let ram_end = config.ram_end();
    let mut spans = Vec::with_capacity(config.segments.len());
    for segment in &config.segments {
        let size = segment.mem_size.max(segment.bytes.len() as u64);
        let end = segment.addr.saturating_add(size);
        if segment.addr < RAM_BASE || end > ram_end {
            return Err(ConfigError::Segment { addr: segment.addr, end, ram_end });
        }
        spans.push((segment.addr, end));
    }
    spans.sort_unstable();
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(ConfigError::Overlap(pair[1].0));
    }
    if config.entry < RAM_BASE || config.entry >= ram_end || !config.entry.is_multiple_of(2) {
        return Err(ConfigError::Entry(config.entry));
    }
    Ok(spans.last().map_or(RAM_BASE, |(_, end)| *end))
}

/// The highest aligned place for `size` bytes below `top` and not below `bottom`.
fn below(top: u64, size: u64, align: u64, bottom: u64, what: Image) -> Result<u64, ConfigError> {
    let begin = top.checked_sub(size).map(|begin| begin & !(align - 1));
    match begin {
        Some(begin) if begin >= bottom => Ok(begin),
        _ => Err(ConfigError::NoRoom { what, size, end: bottom, top }),
    }
}
