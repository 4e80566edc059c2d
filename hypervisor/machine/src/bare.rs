//! Machine mode: the harts without any hypervisor, on a memory map like that of QEMU's `virt`.
//!
//! Other people's conformance suites, firmware and kernels run here unchanged. What a VM is told by
//! its exits, a bare machine tells by its traps.

pub(crate) mod board;
mod config;
mod fdt;
mod htif;
mod keep;
pub(crate) mod layout;
mod run;
mod serve;

use devices::virtio::block::{Overlay, Witness};
use hart::{Report, Writer};
use session::{RunState, Stream, VmState};

use crate::machine::{Config, Machine};
use board::Board;
use config::Placed;
use htif::Htif;
use layout::RAM_BASE;

pub use board::{AnyDisk, ConsoleDevice};
pub use config::{BareConfig, Boot, ConfigError, Image, MAX_CMDLINE, MAX_HARTS, Segment, dump_dtb};
pub use layout::{KERNEL_BASE, RAM_BASE as BARE_RAM_BASE};
pub use run::{Host, Rest};

const A0: u8 = 10;
const A1: u8 = 11;
const A2: u8 = 12;

/// The begin of `struct fw_dynamic_info`: "OSBI".
const DYNAMIC_INFO_MAGIC: u64 = 0x4942_534f;
const DYNAMIC_INFO_VERSION: u64 = 2;
/// The kernel starts in S-mode.
const NEXT_MODE_S: u64 = 1;

/// Why a run ends; what becomes of it depends on the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerOff,
    Failed(u64),
    Reset,
    Deadlock,
    User,
}

/// A machine without a hypervisor.
#[derive(Debug)]
pub struct BareMachine {
    machine: Machine,
    // Fixed configuration.
    name: String,
    reboot: bool,
    entry: u64,
    boot: Boot,
    segments: Vec<Segment>,
    initrd: Option<Vec<u8>>,
    placed: Placed,
    // Runtime state.
    htif: Htif,
    stream: Stream,
    run: RunState,
    booted: bool,
    n_resets: u64,
}

impl BareMachine {
    /// Puts a machine together. Nothing runs and nothing is loaded yet.
    ///
    /// # Errors
    /// [`ConfigError`] says what of the configuration is not right.
    pub fn new(mut config: BareConfig) -> Result<Self, ConfigError> {
        let placed = config::place(&config)?;
        let disk = config.disk.take();
        let board = Board::new(config.harts, config.console, config.seed, config.rtc_base_ns, disk);
        let ram_size =
            usize::try_from(config.memory).or(Err(ConfigError::Memory(config.memory)))?;
        let below = Config {
            n_harts: config.harts,
            isa: config.isa,
            ram_base: RAM_BASE,
            quantum: config.quantum,
            n_blocks: config.n_blocks,
            ..Config::new(ram_size)
        };
        let mut machine = Machine::with_board(&below, Some(Box::new(board)));
        // All of them, whoever watches: each takes its number.
        machine.set_report(Report::Everything);
        Ok(Self {
            machine,
            name: config.name,
            reboot: config.reboot,
            entry: config.entry,
            boot: config.boot,
            segments: config.segments,
            initrd: config.initrd,
            placed,
            htif: Htif::new(config.tohost, config.fromhost),
            stream: Stream::default(),
            run: RunState::Running,
            booted: false,
            n_resets: 0,
        })
    }

    /// Where device tree and initrd will lie: first address and first after it.
    #[must_use]
    pub fn images(&self) -> Vec<(Image, u64, u64)> {
        let span = |image, addr, len| (image, addr, addr + len as u64);
        let dtb = self.placed.dtb.iter().map(|(at, dtb)| span(Image::DeviceTree, *at, dtb.len()));
        let initrd = self.placed.initrd.zip(self.initrd.as_ref());
        let initrd = initrd.map(|(at, initrd)| span(Image::Initrd, at, initrd.len()));
        dtb.chain(initrd).collect()
    }

    /// The machine below.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine below, for debuggers.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// What was written to its disk, page by page; `None` if it cannot be written, or what is
    /// written is not kept apart from the rest.
    pub fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.machine.platform_mut().board_mut()?.overlay()
    }

    /// What is known of the image below its disk, if somebody watches it.
    pub fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.machine.platform_mut().board_mut()?.witness()
    }

    /// Typed bytes that were lost because the guest did not read its console.
    #[must_use]
    pub fn dropped_input(&self) -> u64 {
        self.machine.platform().board().map_or(0, Board::dropped)
    }

    /// Accesses to device registers that do not exist.
    #[must_use]
    pub fn refused_accesses(&self) -> u64 {
        self.machine.platform().board().map_or(0, Board::refused)
    }

    /// Power-cycles the machine; the run, its clock and its stream go on.
    fn reset(&mut self, host: &mut Host<'_>) {
        self.flush_console(host);
        self.state(VmState::Resetting, host);
        self.machine.reset();
        if let Some(board) = self.machine.platform_mut().board_mut() {
            board.reset();
        }
        self.htif.reset();
        self.n_resets += 1;
        self.boot();
        self.settle();
        self.state(VmState::Started, host);
    }

    /// Loads the images into RAM, which is zero, and gives the harts their first registers.
    fn boot(&mut self) {
        for segment in &self.segments {
            load(&mut self.machine, segment.addr, &segment.bytes);
        }
        if let (Some(initrd), Some(addr)) = (&self.initrd, self.placed.initrd) {
            load(&mut self.machine, addr, initrd);
        }
        let mut arguments = [0, 0];
        if let Some((addr, dtb)) = &self.placed.dtb {
            load(&mut self.machine, *addr, dtb);
            arguments[0] = *addr;
        }
        if let (Boot::Firmware { next }, Some(addr)) = (self.boot, self.placed.dynamic_info) {
            load(&mut self.machine, addr, &dynamic_info(next));
            arguments[1] = addr;
        }
        for index in 0..self.machine.harts().len() {
            let (hart, _) = self.machine.hart_mut(index);
            hart.set_pc(self.entry);
            hart.set_x(A0, index as u64);
            hart.set_x(A1, arguments[0]);
            hart.set_x(A2, arguments[1]);
        }
    }

    /// Feeds the whole state to a hash.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.machine.digest(sink);
        self.htif.digest(sink);
        sink(&self.stream.seq().to_le_bytes());
        sink(&self.n_resets.to_le_bytes());
    }
}

fn load(machine: &mut Machine, addr: u64, bytes: &[u8]) {
    // Everything was placed within RAM when the configuration was checked.
    let loaded = machine.write(Writer::Loader, addr, bytes);
    debug_assert!(loaded.is_ok(), "no RAM at {addr:#x}");
}

/// `struct fw_dynamic_info` of OpenSBI: where the kernel is, and that hart 0 shall boot.
fn dynamic_info(next: Option<u64>) -> Vec<u8> {
    let next = next.unwrap_or(KERNEL_BASE);
    let words = [DYNAMIC_INFO_MAGIC, DYNAMIC_INFO_VERSION, next, NEXT_MODE_S, 0, 0];
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}
