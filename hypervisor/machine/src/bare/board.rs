//! The devices of machine mode on the memory map of QEMU's `virt`, and their wires to the harts.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use devices::aclint::Aclint;
use devices::finisher::{Finish, Finisher};
use devices::plic::Plic;
use devices::rtc::Rtc;
use devices::uart::Uart;
use devices::virtio::block::{Block, DEFAULT_LATENCY_NS, Disk, Overlay, Witness};
use devices::virtio::console::Console;
use devices::virtio::mmio::VirtioMmio;
use devices::virtio::rng::Rng;
use devices::virtio::{BadAddress, Dma, GuestMemory};
use devices::{Device, Digest, Width};
use hart::{AccessFault, Touch, Writer};
use isa::Interrupt;
use session::Region;
use state::{Codec, Damaged, State};

use super::layout::{
    PLIC_SOURCES, RTC_IRQ, Span, UART_IRQ, VIRTIO_BLOCK, VIRTIO_CONSOLE, VIRTIO_RNG, WINDOWS,
    virtio_irq,
};
use crate::machine::NS_PER_TICK;
use crate::memory::Memory;

/// Any disk.
pub type AnyDisk = Box<dyn Disk + Send>;

/// Typed bytes that may wait for the guest; what comes after is dropped and counted.
pub(crate) const INPUT_MAX: usize = 64 << 10;
/// Console bytes that may be written within a slice and what devices do at its end.
const OUTPUT_MAX: usize = 1 << 30;
/// The register of a virtio device by which its driver resets it, section "Device Status Field".
const VIRTIO_STATUS: u64 = 0x70;
/// Bits of `mip` for a software and a timer interrupt of the ACLINT.
const MSIP: u64 = Interrupt::MachineSoftware.bit();
const MTIP: u64 = Interrupt::MachineTimer.bit();

/// Which device what is typed goes to. Both write to the same console stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleDevice {
    /// The UART (`ttyS0`).
    #[default]
    Uart,
    /// The virtio console (`hvc0`).
    Virtio,
}

/// The devices.
pub(crate) struct Board {
    // Fixed configuration.
    n_harts: usize,
    console_device: ConsoleDevice,
    seed: u64,
    rtc_base_ns: u64,
    // Runtime state.
    uart: Uart,
    aclint: Aclint,
    plic: Plic,
    rtc: Rtc,
    finisher: Finisher,
    block: Option<VirtioMmio<Block<AnyDisk>>>,
    console: VirtioMmio<Console>,
    rng: VirtioMmio<Rng>,
    /// Per hart the bits of `mip` that the PLIC drives.
    external: Vec<u64>,
    /// Typed and not yet taken by a device.
    input: VecDeque<u8>,
    /// Written by the guest and not yet taken by the machine.
    output: Vec<u8>,
    // Statistics.
    dropped: u64,
    refused: u64,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board")
            .field("uart", &self.uart)
            .field("plic", &self.plic)
            .field("disk", &self.block.is_some())
            .finish_non_exhaustive()
    }
}

impl Board {
    /// The devices after power-on.
    pub(crate) fn new(
        n_harts: usize,
        console_device: ConsoleDevice,
        seed: u64,
        rtc_base_ns: u64,
        disk: Option<AnyDisk>,
    ) -> Self {
        let block =
            disk.map(|disk| VirtioMmio::new(Block::new(disk, "duvisor", DEFAULT_LATENCY_NS)));
        Self {
            n_harts,
            console_device,
            seed,
            rtc_base_ns,
            uart: Uart::new(),
            aclint: Aclint::new(n_harts),
            plic: new_plic(n_harts),
            rtc: Rtc::new(rtc_base_ns),
            finisher: Finisher::new(),
            block,
            console: VirtioMmio::new(Console::new(None)),
            rng: VirtioMmio::new(Rng::new(seed)),
            external: vec![0; n_harts],
            input: VecDeque::new(),
            output: Vec::new(),
            dropped: 0,
            refused: 0,
        }
    }

    /// As after power-on; the disk keeps its content, and what was typed still waits.
    pub(crate) fn reset(&mut self) {
        self.uart = Uart::new();
        self.aclint = Aclint::new(self.n_harts);
        self.plic = new_plic(self.n_harts);
        self.rtc = Rtc::new(self.rtc_base_ns);
        self.finisher = Finisher::new();
        if let Some(block) = &mut self.block {
            // Every virtio device takes a zero in its status register.
            let _ = block.write(VIRTIO_STATUS, Width::Word, 0);
        }
        self.console = VirtioMmio::new(Console::new(None));
        self.rng = VirtioMmio::new(Rng::new(self.seed));
        self.external.fill(0);
    }

    /// What was written to the disk, if it can be taken back.
    pub(crate) fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.block.as_mut()?.overlay()
    }

    /// What is known of the image below the disk, if somebody watches it.
    pub(crate) fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.block.as_mut()?.witness()
    }

    // Accesses.

    /// The device window that holds a physical address, and the offset in it.
    pub(crate) fn find(&self, hpa: u64) -> Option<(Region, u64)> {
        let hit = |(region, span): &(Region, Span)| Some((*region, span.offset(hpa)?));
        let (region, offset) = WINDOWS.iter().find_map(hit)?;
        let absent = match region {
            Region::Virtio(VIRTIO_BLOCK) => self.block.is_none(),
            Region::Plic => offset >= self.plic.window(),
            Region::Uart
            | Region::Aclint
            | Region::Rtc
            | Region::Finisher
            | Region::Virtio(_)
            | Region::Hole => false,
        };
        (!absent).then_some((region, offset))
    }

    /// The device of a window, told the time if it wants to know it.
    fn device(&mut self, region: Region, now_ns: u64) -> Option<&mut dyn Device> {
        match region {
            Region::Uart => Some(&mut self.uart),
            Region::Plic => Some(&mut self.plic),
            Region::Aclint => {
                self.aclint.set_time(now_ns / NS_PER_TICK);
                Some(&mut self.aclint)
            }
            Region::Rtc => {
                self.rtc.set_time(now_ns);
                Some(&mut self.rtc)
            }
            Region::Finisher => Some(&mut self.finisher),
            Region::Virtio(VIRTIO_BLOCK) => {
                let block = self.block.as_mut()?;
                block.set_time(now_ns);
                Some(block)
            }
            Region::Virtio(VIRTIO_CONSOLE) => {
                self.console.set_time(now_ns);
                Some(&mut self.console)
            }
            Region::Virtio(VIRTIO_RNG) => {
                self.rng.set_time(now_ns);
                Some(&mut self.rng)
            }
            Region::Virtio(_) | Region::Hole => None,
        }
    }

    /// A load of a hart. A register that the device does not have reads as zero.
    pub(crate) fn read(&mut self, touch: Touch) -> Result<u64, AccessFault> {
        let (region, offset) = self.find(touch.hpa).ok_or(AccessFault)?;
        let width = Width::from_bytes(u64::from(touch.width)).ok_or(AccessFault)?;
        let device = self.device(region, touch.now_ns).ok_or(AccessFault)?;
        let value = device.read(offset, width);
        self.refused += u64::from(value.is_err());
        self.after_access(region);
        Ok(value.unwrap_or(0))
    }

    /// A store of a hart. A register that the device does not have swallows it.
    pub(crate) fn write(&mut self, touch: Touch, value: u64) -> Result<(), AccessFault> {
        let (region, offset) = self.find(touch.hpa).ok_or(AccessFault)?;
        let width = Width::from_bytes(u64::from(touch.width)).ok_or(AccessFault)?;
        let device = self.device(region, touch.now_ns).ok_or(AccessFault)?;
        let written = device.write(offset, width, value);
        self.refused += u64::from(written.is_err());
        self.after_access(region);
        Ok(())
    }

    fn after_access(&mut self, region: Region) {
        // The ACLINT has wires of its own, the finisher none.
        if !matches!(region, Region::Aclint | Region::Finisher) {
            self.drive_lines();
        }
    }

    // Wires.

    /// Bits of `mip` that are driven into this hart.
    pub(crate) fn lines(&self, hart: usize, now_ns: u64) -> u64 {
        let mut lines = self.external.get(hart).copied().unwrap_or(0);
        if self.aclint.msip(hart) {
            lines |= MSIP;
        }
        if self.aclint.mtip(hart, now_ns / NS_PER_TICK) {
            lines |= MTIP;
        }
        lines
    }

    /// When the timer of this hart fires; `u64::MAX` if it does not.
    pub(crate) fn timer_deadline_ns(&self, hart: usize, now_ns: u64) -> u64 {
        let at = self.aclint.deadline(hart, now_ns / NS_PER_TICK);
        at.map_or(u64::MAX, |ticks| ticks.saturating_mul(NS_PER_TICK))
    }

    /// Device levels to the PLIC, its contexts' levels to the harts.
    fn drive_lines(&mut self) {
        self.plic.set_level(UART_IRQ, self.uart.irq());
        self.plic.set_level(RTC_IRQ, self.rtc.irq());
        if let Some(block) = &self.block {
            self.plic.set_level(virtio_irq(VIRTIO_BLOCK), block.irq());
        }
        self.plic.set_level(virtio_irq(VIRTIO_CONSOLE), self.console.irq());
        self.plic.set_level(virtio_irq(VIRTIO_RNG), self.rng.irq());
        for (hart, external) in self.external.iter_mut().enumerate() {
            let bit = |context: usize, interrupt: Interrupt| {
                if self.plic.context_line(context) { interrupt.bit() } else { 0 }
            };
            *external = bit(2 * hart, Interrupt::MachineExternal)
                | bit(2 * hart + 1, Interrupt::SupervisorExternal);
        }
    }

    // What the machine does with them.

    /// Does what is due and passes on what was typed: at slice ends and deadlines. Gives the
    /// ranges of memory that devices wrote.
    pub(crate) fn settle(&mut self, memory: &mut Memory, now_ns: u64) -> Vec<(u64, u64)> {
        let mut view = DmaView { memory, written: Vec::new() };
        self.pass_input();
        if self.rtc.deadline().is_some_and(|at| at <= now_ns) {
            self.rtc.set_time(now_ns);
        }
        if let Some(block) = &mut self.block {
            run_due(block, &mut view, now_ns);
        }
        run_due(&mut self.console, &mut view, now_ns);
        run_due(&mut self.rng, &mut view, now_ns);
        self.collect_output();
        self.drive_lines();
        view.written
    }

    /// Takes what the devices have sent.
    pub(crate) fn collect_output(&mut self) {
        self.uart.take_output(&mut self.output);
        self.console.take_output(&mut self.output);
    }

    /// When a device next has work to do.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        let block = self.block.as_ref().and_then(Dma::deadline);
        let others = [self.rtc.deadline(), self.console.deadline(), self.rng.deadline()];
        others.into_iter().chain([block]).flatten().min()
    }

    /// What the guest asked of the finisher.
    pub(crate) fn finish(&mut self) -> Option<Finish> {
        self.finisher.take_request()
    }

    /// Gives the console device what it has room for.
    fn pass_input(&mut self) {
        while !self.input.is_empty() {
            let (first, _) = self.input.as_slices();
            let taken = match self.console_device {
                ConsoleDevice::Uart => self.uart.receive(first),
                ConsoleDevice::Virtio => self.console.receive(first),
            };
            if taken == 0 {
                return;
            }
            self.input.drain(..taken);
        }
    }

    /// Takes typed bytes; what does not fit is lost, as on a line without flow control.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(INPUT_MAX.saturating_sub(self.input.len()));
        self.input.extend(bytes.iter().take(taken));
        self.dropped += (bytes.len() - taken) as u64;
    }

    /// Whether so many typed bytes still fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= INPUT_MAX.saturating_sub(self.input.len())
    }

    /// Takes one typed byte past the devices, for HTIF.
    pub(crate) fn take_typed(&mut self) -> Option<u8> {
        self.input.pop_front()
    }

    /// What the guest wrote to its console since this was last emptied.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Typed bytes that were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Accesses to registers that no device has.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.uart.digest(sink);
        self.aclint.digest(sink);
        self.plic.digest(sink);
        self.rtc.digest(sink);
        self.finisher.digest(sink);
        if let Some(block) = &self.block {
            block.digest(sink);
        }
        self.console.digest(sink);
        self.rng.digest(sink);
        let (first, second) = self.input.as_slices();
        sink(&(self.input.len() as u64).to_le_bytes());
        sink(first);
        sink(second);
    }
}

impl State for Board {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.uart.state(codec)?;
        self.aclint.state(codec)?;
        self.plic.state(codec)?;
        self.rtc.state(codec)?;
        self.finisher.state(codec)?;
        let mut has_disk = self.block.is_some();
        codec.bool(&mut has_disk)?;
        codec.check(has_disk == self.block.is_some(), "one machine has a disk, the other none")?;
        if let Some(block) = &mut self.block {
            block.state(codec)?;
        }
        self.console.state(codec)?;
        self.rng.state(codec)?;
        codec.words(&mut self.external)?;
        let wires = Interrupt::MachineExternal.bit() | Interrupt::SupervisorExternal.bit();
        let of_plic = self.external.iter().all(|external| external & !wires == 0);
        codec.check(of_plic, "the PLIC drives wires that it has not")?;
        codec.queue(&mut self.input, INPUT_MAX)?;
        codec.bytes(&mut self.output, OUTPUT_MAX)?;
        codec.count(&mut self.dropped)?;
        codec.count(&mut self.refused)
    }
}

fn new_plic(n_harts: usize) -> Plic {
    Plic::new(PLIC_SOURCES, u32::try_from(2 * n_harts).unwrap_or(0))
}

fn run_due<T: Dma>(device: &mut T, memory: &mut DmaView<'_>, now_ns: u64) {
    if device.deadline().is_some_and(|at| at <= now_ns) {
        device.run(now_ns, memory);
    }
}

/// Memory as devices see it.
struct DmaView<'a> {
    memory: &'a mut Memory,
    written: Vec<(u64, u64)>,
}

impl GuestMemory for DmaView<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), BadAddress> {
        self.memory.read(addr, buf).or(Err(BadAddress(addr)))
    }

    fn write(&mut self, addr: u64, buf: &[u8]) -> Result<(), BadAddress> {
        self.memory.write(addr, buf, Writer::Dma).or(Err(BadAddress(addr)))?;
        self.written.push((addr, buf.len() as u64));
        Ok(())
    }
}
