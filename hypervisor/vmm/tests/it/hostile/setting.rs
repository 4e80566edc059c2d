//! What a hostile run depends on, apart from the guest: all of it drawn from the seed.

use driver::{Config, Gstage, Hu, VmRequest};
use isa::{Exception, Ext, Extensions};
use session::{Idle, Input, Inputs, Position};
use vmm::{AnyDisk, ConsoleDevice, Leaf, Segment, Vm, VmConfig};

use devices::virtio::block::{CowDisk, Disk, DiskError, SECTOR};

use super::guest::RAM_LEAST;
use crate::dice::Dice;
use crate::machines::assemble_in;

const PAGE: u64 = 4096;
/// Bytes of a disk that can be written to.
const OVERLAY_MAX: u64 = 64 << 10;

/// What is behind the block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    ReadOnly,
    Writable,
    /// It fails now and then, as a host's file may.
    Failing,
}

/// A configuration, and what is typed.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) vcpus: usize,
    pub(crate) memory: u64,
    pub(crate) isa: Extensions,
    pub(crate) max_steps: u64,
    pub(crate) behind: Behind,
    sectors: u64,
    leaf: Leaf,
    gstage: Gstage,
    quantum: u64,
    n_blocks: usize,
    exceptions: u64,
    /// The driver gives the table pool no more than this.
    pool: Option<u64>,
    console: ConsoleDevice,
    reboot: bool,
    /// What is typed, and from which step on.
    typed: Vec<(u64, Vec<u8>)>,
}

impl Setting {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let isa = extensions(dice);
        let memory = RAM_LEAST + PAGE * dice.pick(&[0, 1, 15, 256, 700]);
        let giga = dice.one_in(200);
        let typed = dice.pick(&[0, 0, 1, 3, 10]);
        let mut gstages = vec![Gstage::Sv39x4];
        gstages.extend(isa.has(Ext::Sv48).then_some(Gstage::Sv48x4));
        gstages.extend(isa.has(Ext::Sv57).then_some(Gstage::Sv57x4));
        Self {
            vcpus: dice.pick(&[1, 1, 1, 1, 2, 2, 3, 4, 8]),
            memory: if giga { (1 << 30) + 7 * PAGE } else { memory },
            isa,
            // A reset takes time in proportion to the RAM that is mapped.
            max_steps: if giga {
                2_000
            } else {
                dice.pick(&[300, 2_000, 5_000, 10_000, 20_000, 20_000, 50_000, 200_000])
            },
            behind: dice.pick(&[
                Behind::Nothing,
                Behind::ReadOnly,
                Behind::Writable,
                Behind::Writable,
                Behind::Writable,
                Behind::Failing,
            ]),
            sectors: dice.pick(&[1, 2, 16, 127, 256]),
            leaf: if giga { Leaf::Giga } else { dice.pick(&[Leaf::Page, Leaf::Page, Leaf::Mega]) },
            gstage: dice.pick(&gstages),
            quantum: dice.pick(&[1, 7, 37, 100, 1000, 10_000]),
            n_blocks: dice.pick(&[1, 2, 64, 64, 512]),
            exceptions: VmRequest::EXCEPTIONS
                | if dice.one_in(4) { dice.roll() & Exception::SEDELEG_MASK } else { 0 },
            pool: dice.one_in(5).then(|| PAGE * dice.between(5, 9)),
            console: dice.pick(&[ConsoleDevice::Uart, ConsoleDevice::Virtio]),
            reboot: !dice.one_in(16),
            typed: (0..typed)
                .map(|_| {
                    let n = dice.pick(&[1, 5, 17, 200, 70_000]);
                    (dice.below(20_000), dice.bytes(n))
                })
                .collect(),
        }
    }

    /// RAM that takes long to look at.
    pub(crate) fn is_huge(&self) -> bool {
        self.memory >= 1 << 30
    }

    /// Whether the driver may be called in an emergency.
    pub(crate) fn is_tight(&self) -> bool {
        self.pool.is_some()
    }

    /// The VM; `n_blocks`, which nobody can see, is another one if asked for.
    pub(crate) fn vm(&self, segments: &[Segment], entry: u64, other_blocks: bool) -> Vm<Hu> {
        let mut config = VmConfig::new("hostile", self.memory);
        (config.vcpus, config.isa, config.leaf) = (self.vcpus, self.isa, self.leaf);
        (config.console, config.reboot) = (self.console, self.reboot);
        (config.segments, config.entry) = (segments.to_vec(), entry);
        config.seed = self.max_steps;
        config.disk = self.disk();
        let mut request = VmRequest::new(self.memory);
        (request.vcpus, request.max_steps) = (self.vcpus, self.max_steps);
        (request.gstage, request.exceptions) = (self.gstage, self.exceptions);
        request.pool = self.pool.unwrap_or(request.pool);
        let n_blocks = if other_blocks { 128 - self.n_blocks.min(127) } else { self.n_blocks };
        let fitting = Config::fitting(self.isa, &request);
        assemble_in(Config { quantum: self.quantum, n_blocks, ..fitting }, config, &request)
    }

    fn disk(&self) -> Option<AnyDisk> {
        let image = Image { sectors: self.sectors, read_only: true, reads: None };
        match self.behind {
            Behind::Nothing => None,
            Behind::ReadOnly => Some(AnyDisk::new(image)),
            Behind::Writable => Some(AnyDisk::new(CowDisk::new(image, OVERLAY_MAX))),
            Behind::Failing => {
                Some(AnyDisk::new(Image { read_only: false, reads: Some(0), ..image }))
            }
        }
    }

    pub(crate) fn typing(&self) -> Typing {
        let mut left = self.typed.clone();
        left.sort();
        left.reverse();
        Typing { left }
    }
}

/// DV-ext and what it is built upon; of the rest one part or another.
fn extensions(dice: &mut Dice) -> Extensions {
    let mut isa = Extensions::ALL;
    let n = dice.pick(&[0, 0, 0, 1, 2, 6, 20]);
    for _ in 0..n {
        let ext = dice.pick(Ext::ALL);
        let fewer = isa.without(ext);
        if fewer.has(Ext::Xdv) && fewer.check().is_ok() {
            isa = fewer;
        }
    }
    isa
}

/// A disk whose content follows from the number of a sector.
#[derive(Debug)]
struct Image {
    sectors: u64,
    read_only: bool,
    /// If it fails: how often it was asked.
    reads: Option<u64>,
}

impl Image {
    fn asked(&mut self) -> Result<(), DiskError> {
        let Some(n) = &mut self.reads else { return Ok(()) };
        *n += 1;
        if n.is_multiple_of(3) { Err(DiskError::Host) } else { Ok(()) }
    }

    fn within(&self, sector: u64, bytes: usize) -> Result<(), DiskError> {
        let end = sector.checked_add(bytes as u64 / SECTOR).ok_or(DiskError::OutOfRange)?;
        if end > self.sectors { Err(DiskError::OutOfRange) } else { Ok(()) }
    }
}

impl devices::Digest for Image {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&self.reads.unwrap_or(0).to_le_bytes());
    }
}

impl Disk for Image {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.asked()?;
        self.within(sector, buf.len())?;
        for (chunk, sector) in buf.chunks_mut(512).zip(sector..) {
            chunk.fill(sector.to_le_bytes()[0]);
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        self.asked()?;
        self.within(sector, buf.len())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.asked()
    }

    fn read_only(&self) -> bool {
        self.read_only
    }
}

/// Types what is due; where every vCPU waits, the next of it at once.
#[derive(Clone, Debug)]
pub(crate) struct Typing {
    /// Last first.
    left: Vec<(u64, Vec<u8>)>,
}

impl Inputs for Typing {
    fn next(&mut self, at: Position, _time_ns: u64) -> Option<Input> {
        let due = self.left.last().is_some_and(|(step, _)| *step <= at.step);
        due.then(|| self.left.pop().map(|(_, bytes)| Input::Console(bytes)))?
    }

    fn idle(&mut self, _at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        match (self.left.pop(), deadline_ns) {
            (Some((step, bytes)), _) => {
                Idle::Input { time_ns: time_ns.saturating_add(step), input: Input::Console(bytes) }
            }
            (None, Some(_)) => Idle::Deadline,
            (None, None) => Idle::Never,
        }
    }
}
