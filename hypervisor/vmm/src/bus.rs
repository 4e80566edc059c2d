//! The devices of a VM: register accesses in, interrupt levels, deadlines and bytes out.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use devices::finisher::{Finish, Finisher};
use devices::plic::Plic;
use devices::rtc::Rtc;
use devices::uart::Uart;
use devices::virtio::Dma;
use devices::virtio::block::{Block, DEFAULT_LATENCY_NS, Overlay, Witness};
use devices::virtio::console::Console;
use devices::virtio::mmio::VirtioMmio;
use devices::virtio::rng::Rng;
use devices::{Device, Digest, Refused, Width};
use dv::{Denied, Dv, Virq};
use session::Region;
use state::{Codec, Damaged, State};

use crate::config::ConsoleDevice;
use crate::disk::AnyDisk;
use crate::layout::{
    PLIC_SOURCES, RTC_IRQ, UART_IRQ, VIRTIO_BLOCK, VIRTIO_CONSOLE, VIRTIO_RNG, virtio_irq,
};
use crate::memory::{DmaView, Ram};

/// Typed bytes that may wait for the guest; what comes after is dropped and counted.
pub(crate) const INPUT_MAX: usize = 64 << 10;
/// The register of a virtio device by which its driver resets it, section "Device Status Field".
const VIRTIO_STATUS: u64 = 0x70;

/// The devices.
#[derive(Debug)]
pub(crate) struct Bus {
    // Fixed configuration.
    console_device: ConsoleDevice,
    seed: u64,
    rtc_base_ns: u64,
    // Runtime state.
    uart: Uart,
    plic: Plic,
    rtc: Rtc,
    finisher: Finisher,
    block: Option<VirtioMmio<Block<AnyDisk>>>,
    console: VirtioMmio<Console>,
    rng: VirtioMmio<Rng>,
    /// Levels of the external interrupt, as last posted.
    lines: Vec<bool>,
    /// Deadline, as last told.
    alarm: Option<u64>,
    /// The alarm went off, or was never set: tell the deadline even if it is the same.
    alarm_over: bool,
    /// Typed and not yet taken by a device.
    input: VecDeque<u8>,
    /// Written by the guest and not yet an event.
    output: Vec<u8>,
    // Statistics.
    dropped: u64,
}

impl Bus {
    /// The devices after power-on.
    pub(crate) fn new(
        vcpus: usize,
        console_device: ConsoleDevice,
        seed: u64,
        rtc_base_ns: u64,
        disk: Option<AnyDisk>,
    ) -> Self {
        let block =
            disk.map(|disk| VirtioMmio::new(Block::new(disk, "duvisor", DEFAULT_LATENCY_NS)));
        Self {
            console_device,
            seed,
            rtc_base_ns,
            uart: Uart::new(),
            plic: new_plic(vcpus),
            rtc: Rtc::new(rtc_base_ns),
            finisher: Finisher::new(),
            block,
            console: VirtioMmio::new(Console::new(None)),
            rng: VirtioMmio::new(Rng::new(seed)),
            lines: vec![false; vcpus],
            alarm: None,
            alarm_over: true,
            input: VecDeque::new(),
            output: Vec::new(),
            dropped: 0,
        }
    }

    /// As after power-on; the disk keeps its content, and what was typed still waits.
    ///
    /// The clock goes on: its offset to guest time is what the configuration says.
    pub(crate) fn reset(&mut self) {
        self.uart = Uart::new();
        self.plic = new_plic(self.lines.len());
        self.rtc = Rtc::new(self.rtc_base_ns);
        self.finisher = Finisher::new();
        if let Some(block) = &mut self.block {
            // Every virtio device takes a zero in its status register.
            let _ = block.write(VIRTIO_STATUS, Width::Word, 0);
        }
        self.console = VirtioMmio::new(Console::new(None));
        self.rng = VirtioMmio::new(Rng::new(self.seed));
        self.lines.fill(false);
    }

    /// Feeds the state of every device, and of what lies between them and the outside, to a hash.
    pub(crate) fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        let devices: [&dyn Digest; 6] =
            [&self.uart, &self.plic, &self.rtc, &self.finisher, &self.console, &self.rng];
        devices.into_iter().for_each(|device| device.digest(sink));
        if let Some(block) = &self.block {
            block.digest(sink);
        }
        self.lines.iter().for_each(|line| sink(&[u8::from(*line)]));
        sink(&self.alarm.unwrap_or(u64::MAX).to_le_bytes());
        sink(&(self.input.len() as u64).to_le_bytes());
        self.input.iter().for_each(|byte| sink(&[*byte]));
    }

    /// Reads a register for the guest.
    pub(crate) fn load(
        &mut self,
        region: Region,
        offset: u64,
        width: Width,
        now_ns: u64,
    ) -> Result<u64, Refused> {
        self.device(region, now_ns).ok_or(Refused)?.read(offset, width)
    }

    /// Writes a register for the guest.
    pub(crate) fn store(
        &mut self,
        region: Region,
        offset: u64,
        width: Width,
        value: u64,
        now_ns: u64,
    ) -> Result<(), Refused> {
        self.device(region, now_ns).ok_or(Refused)?.write(offset, width, value)
    }

    /// The device behind a window, told the time if it wants to know it.
    fn device(&mut self, region: Region, now_ns: u64) -> Option<&mut dyn Device> {
        fn told(device: &mut dyn DmaDevice, now_ns: u64) -> &mut dyn Device {
            device.set_time(now_ns);
            device.as_device()
        }
        match region {
            Region::Uart => Some(&mut self.uart),
            Region::Plic => Some(&mut self.plic),
            Region::Rtc => {
                self.rtc.set_time(now_ns);
                Some(&mut self.rtc)
            }
            Region::Finisher => Some(&mut self.finisher),
            Region::Virtio(VIRTIO_BLOCK) => self.block.as_mut().map(|d| told(d, now_ns)),
            Region::Virtio(VIRTIO_CONSOLE) => Some(told(&mut self.console, now_ns)),
            Region::Virtio(VIRTIO_RNG) => Some(told(&mut self.rng, now_ns)),
            Region::Virtio(_) | Region::Aclint | Region::Hole => None,
        }
    }

    /// Whether a device is in this window.
    pub(crate) fn has(&self, region: Region) -> bool {
        match region {
            Region::Virtio(VIRTIO_BLOCK) => self.block.is_some(),
            Region::Virtio(slot) => slot == VIRTIO_CONSOLE || slot == VIRTIO_RNG,
            Region::Uart | Region::Plic | Region::Rtc | Region::Finisher => true,
            Region::Aclint | Region::Hole => false,
        }
    }

    /// What the guest asked of the finisher.
    pub(crate) fn finish(&mut self) -> Option<Finish> {
        self.finisher.take_request()
    }

    /// The alarm that was set has gone off.
    pub(crate) fn alarm_over(&mut self) {
        self.alarm_over = true;
    }

    /// Does what is due and passes on what changed: to be called after an access, an input, or at
    /// a deadline.
    pub(crate) fn settle<D: Dv>(
        &mut self,
        dv: &mut D,
        ram: &mut Ram,
        now_ns: u64,
    ) -> Result<(), Denied> {
        self.pass_input();
        self.run_due(&mut DmaView { ram, dv }, now_ns);
        self.uart.take_output(&mut self.output);
        self.console.take_output(&mut self.output);
        self.drive_lines(dv)?;
        let alarm = self.deadline();
        if alarm != self.alarm || self.alarm_over {
            self.alarm_over = false;
            self.alarm = alarm;
            dv.set_alarm(alarm);
        }
        Ok(())
    }

    fn run_due<D: Dv>(&mut self, mem: &mut DmaView<'_, D>, now_ns: u64) {
        if self.rtc.deadline().is_some_and(|at| at <= now_ns) {
            self.rtc.set_time(now_ns);
        }
        run_due(self.block.as_mut(), mem, now_ns);
        run_due(Some(&mut self.console), mem, now_ns);
        run_due(Some(&mut self.rng), mem, now_ns);
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

    /// Device levels to the PLIC, its contexts' levels to the vCPUs.
    fn drive_lines<D: Dv>(&mut self, dv: &mut D) -> Result<(), Denied> {
        self.plic.set_level(UART_IRQ, self.uart.irq());
        self.plic.set_level(RTC_IRQ, self.rtc.irq());
        if let Some(block) = &self.block {
            self.plic.set_level(virtio_irq(VIRTIO_BLOCK), block.irq());
        }
        self.plic.set_level(virtio_irq(VIRTIO_CONSOLE), self.console.irq());
        self.plic.set_level(virtio_irq(VIRTIO_RNG), self.rng.irq());
        for (vcpu, posted) in self.lines.iter_mut().enumerate() {
            let line = self.plic.context_line(vcpu);
            if line != *posted {
                *posted = line;
                dv.post(vcpu, Virq::External, line)?;
            }
        }
        Ok(())
    }

    /// The external interrupt of this vCPU was dropped with the rest of its state: post it anew.
    pub(crate) fn repost<D: Dv>(&mut self, dv: &mut D, vcpu: usize) -> Result<(), Denied> {
        if let Some(posted) = self.lines.get_mut(vcpu) {
            *posted = false;
        }
        self.drive_lines(dv)
    }

    fn deadline(&self) -> Option<u64> {
        let block = self.block.as_ref().and_then(Dma::deadline);
        let others = [self.rtc.deadline(), self.console.deadline(), self.rng.deadline()];
        others.into_iter().chain([block]).flatten().min()
    }

    /// Takes typed bytes; what does not fit is lost, as on a line without flow control.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(INPUT_MAX.saturating_sub(self.input.len()));
        self.input.extend(bytes.iter().take(taken));
        self.dropped += (bytes.len() - taken) as u64;
    }

    /// What the guest wrote to its disk, if it has one and that is kept apart from the rest.
    pub(crate) fn overlay(&mut self) -> Option<&mut dyn Overlay> {
        self.block.as_mut()?.overlay()
    }

    /// What is known of the image below the disk, if somebody watches it.
    pub(crate) fn witness(&mut self) -> Option<&mut dyn Witness> {
        self.block.as_mut()?.witness()
    }

    /// Whether so many typed bytes still fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= INPUT_MAX.saturating_sub(self.input.len())
    }

    /// Typed bytes that were lost.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes typed bytes past the devices, for the SBI console.
    pub(crate) fn read_console(&mut self, max: usize) -> Vec<u8> {
        self.input.drain(..max.min(self.input.len())).collect()
    }

    /// Adds to the console's output past the devices, for the SBI console.
    pub(crate) fn write_console(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// What the guest wrote to its console since the last time this was emptied.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}

impl State for Bus {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let devices: [&mut dyn State; 6] = [
            &mut self.uart,
            &mut self.plic,
            &mut self.rtc,
            &mut self.finisher,
            &mut self.console,
            &mut self.rng,
        ];
        devices.into_iter().try_for_each(|device| device.state(codec))?;
        let mut has_disk = self.block.is_some();
        codec.bool(&mut has_disk)?;
        codec.check(has_disk == self.block.is_some(), "one VM has a disk, the other has none")?;
        if let Some(block) = &mut self.block {
            block.state(codec)?;
        }
        codec.each(&mut self.lines, |codec, line| codec.bool(line))?;
        codec.option(&mut self.alarm, |codec, at| codec.u64(at))?;
        codec.bool(&mut self.alarm_over)?;
        codec.queue(&mut self.input, INPUT_MAX)?;
        // What a guest wrote until it was looked at; never more than the bytes that are there.
        codec.bytes(&mut self.output, usize::MAX)?;
        codec.count(&mut self.dropped)
    }
}

fn new_plic(vcpus: usize) -> Plic {
    Plic::new(PLIC_SOURCES, u32::try_from(vcpus).unwrap_or(0))
}

fn run_due<T: Dma, D: Dv>(device: Option<&mut T>, mem: &mut DmaView<'_, D>, now_ns: u64) {
    if let Some(device) = device {
        if device.deadline().is_some_and(|at| at <= now_ns) {
            device.run(now_ns, mem);
        }
    }
}

/// A device that wants to be told the time before an access.
trait DmaDevice {
    fn set_time(&mut self, now_ns: u64);
    fn as_device(&mut self) -> &mut dyn Device;
}

impl<T: Dma> DmaDevice for T {
    fn set_time(&mut self, now_ns: u64) {
        Dma::set_time(self, now_ns);
    }

    fn as_device(&mut self) -> &mut dyn Device {
        self
    }
}
