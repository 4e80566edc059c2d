//! The register window of a virtio device, section "Virtio Over MMIO", version 2.
//!
//! Absent: the legacy layout, shared memory regions (all read as "none"), queue reset.

#[cfg(test)]
mod tests;

use state::{Codec, Damaged, State};

use super::queue::{Broken, Queue};
use super::{Dma, GuestMemory, VirtioDevice, spec::*};
use crate::{Device, Digest, Refused, Width, feed_state, low_u8, low_u32, with_word};

/// Bytes that the window of registers spans.
pub const WINDOW: u64 = 0x1000;
/// Requests whose buffers hold more than this together are spread over several runs.
pub const RUN_BYTES: u64 = 64 << 20;
/// Guest time between two runs over one queue that the first could not finish.
const RETRY_NS: u64 = 1000;

/// A queue and the time at which it is to be served.
#[derive(Clone, Debug)]
struct Slot {
    queue: Queue,
    due: Option<u64>,
    /// Not served before this time, whatever the driver says.
    rests_until: u64,
}

impl Slot {
    fn new(max: u16) -> Slot {
        Slot { queue: Queue::new(max), due: None, rests_until: 0 }
    }
}

/// All of the state but that of the device behind it.
#[derive(Clone, Debug)]
struct Transport {
    // Registers.
    status: u8,
    device_features_sel: u32,
    driver_features: u64,
    driver_features_sel: u32,
    queue_sel: u32,
    interrupt: u8,
    generation: u32,
    // Runtime state.
    slots: Vec<Slot>,
    broken: Option<Broken>,
    /// Guest time, as last told.
    now: u64,
    // Statistics.
    kicks: u64,
}

/// A virtio device of type `D` behind memory-mapped registers.
#[derive(Clone, Debug)]
pub struct VirtioMmio<D> {
    device: D,
    transport: Transport,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// The registers in front of `device`, as after a reset.
    #[must_use]
    pub fn new(device: D) -> VirtioMmio<D> {
        let transport = Transport {
            status: 0,
            device_features_sel: 0,
            driver_features: 0,
            driver_features_sel: 0,
            queue_sel: 0,
            interrupt: 0,
            generation: 0,
            slots: device.queues().iter().map(|max| Slot::new(*max)).collect(),
            broken: None,
            now: 0,
            kicks: 0,
        };
        VirtioMmio { device, transport }
    }

    /// The device behind the registers.
    #[must_use]
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device behind the registers.
    pub(super) fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The queues, for panes.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.transport.slots.iter().map(|slot| &slot.queue)
    }

    /// Why the device asks for a reset, if it does.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.transport.broken
    }

    /// Notifications since the machine began; not part of the state.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.transport.kicks
    }

    /// Whether the driver runs the device, and the rings are sound.
    #[must_use]
    pub fn live(&self) -> bool {
        self.transport.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK
    }

    /// Marks `queue` to be served `latency_ns` from now, or earlier if it was marked before.
    pub(super) fn mark(&mut self, queue: usize, latency_ns: u64) {
        let at = self.transport.now.saturating_add(latency_ns);
        if let Some(slot) = self.transport.slots.get_mut(queue) {
            slot.due = Some(slot.due.map_or(at, |due| due.min(at)).max(slot.rests_until));
        }
    }

    /// Lets `queue` be for `pause_ns`: it has had its share of work, and is then served again. No
    /// notification brings that forward.
    pub(super) fn rest(&mut self, queue: usize, pause_ns: u64) {
        let until = self.transport.now.saturating_add(pause_ns);
        if let Some(slot) = self.transport.slots.get_mut(queue) {
            (slot.due, slot.rests_until) = (Some(until), until);
        }
    }

    /// Says that the configuration space has changed.
    pub(super) fn config_changed(&mut self) {
        self.transport.generation = self.transport.generation.wrapping_add(1);
        if self.live() {
            self.transport.interrupt |= CONFIG_CHANGE;
        }
    }

    fn offered(&self) -> u64 {
        self.device.features() | F_VERSION_1 | F_EVENT_IDX | F_INDIRECT_DESC
    }

    fn acceptable(&self) -> bool {
        let features = self.transport.driver_features;
        features & !self.offered() == 0 && features & F_VERSION_1 != 0
    }

    /// Section "Device Requirements: Device Status Field".
    fn write_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        // "The driver MUST NOT clear a device status bit", and one of them is the device's.
        let mut status = self.transport.status | value & (ACKNOWLEDGE | DRIVER | FAILED);
        if value & FEATURES_OK != 0 && self.acceptable() {
            status |= FEATURES_OK;
        }
        if value & DRIVER_OK != 0 && status & FEATURES_OK != 0 {
            status |= DRIVER_OK;
        }
        self.transport.status = status;
    }

    fn reset(&mut self) {
        self.transport.status = 0;
        self.transport.device_features_sel = 0;
        self.transport.driver_features = 0;
        self.transport.driver_features_sel = 0;
        self.transport.queue_sel = 0;
        self.transport.interrupt = 0;
        self.transport.broken = None;
        for slot in &mut self.transport.slots {
            *slot = Slot::new(slot.queue.max());
        }
        self.device.reset();
    }

    fn selected(&self) -> Option<&Queue> {
        let index = usize::try_from(self.transport.queue_sel).ok()?;
        self.transport.slots.get(index).map(|slot| &slot.queue)
    }

    /// The selected queue, for a write that is allowed only while it is not ready.
    fn idle_queue(&mut self) -> Result<&mut Queue, Refused> {
        let index = usize::try_from(self.transport.queue_sel).or(Err(Refused))?;
        let slot = self.transport.slots.get_mut(index).ok_or(Refused)?;
        if slot.queue.ready { Err(Refused) } else { Ok(&mut slot.queue) }
    }

    fn write_ready(&mut self, ready: bool) -> Result<(), Refused> {
        let index = usize::try_from(self.transport.queue_sel).or(Err(Refused))?;
        let slot = self.transport.slots.get_mut(index).ok_or(Refused)?;
        slot.queue.set_ready(ready);
        if !ready {
            slot.due = None;
        }
        Ok(())
    }

    fn write_queue(&mut self, offset: u64, word: u32) -> Result<(), Refused> {
        let queue = self.idle_queue()?;
        let (register, high) = (offset & !4, offset & 4 != 0);
        match register {
            QUEUE_DESC_LOW => queue.desc = with_word(queue.desc, high, word),
            QUEUE_DRIVER_LOW => queue.avail = with_word(queue.avail, high, word),
            QUEUE_DEVICE_LOW => queue.used = with_word(queue.used, high, word),
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn write_driver_features(&mut self, word: u32) -> Result<(), Refused> {
        if self.transport.status & FEATURES_OK != 0 {
            return Err(Refused);
        }
        match self.transport.driver_features_sel {
            0 => {
                self.transport.driver_features =
                    with_word(self.transport.driver_features, false, word)
            }
            1 => {
                self.transport.driver_features =
                    with_word(self.transport.driver_features, true, word)
            }
            // Bits from 64 on do not exist; Linux clears them.
            _ if word == 0 => {}
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn read_config(&self, offset: u64, width: Width) -> Result<u64, Refused> {
        let begin = usize::try_from(offset).or(Err(Refused))?;
        let count = usize::try_from(width.bytes()).or(Err(Refused))?;
        let end = begin.checked_add(count).ok_or(Refused)?;
        let bytes = self.device.config().get(begin..end).ok_or(Refused)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// Serves one queue until it is empty or the run has done enough.
    fn serve(&mut self, index: usize, mem: &mut dyn GuestMemory) -> Result<(), Broken> {
        let features = self.transport.driver_features;
        let Some(slot) = self.transport.slots.get_mut(index) else { return Ok(()) };
        let queue = &mut slot.queue;
        let (_, before) = queue.positions();
        let mut bytes = 0;
        // A request may write to its own ring: even then there is an end to the loop.
        let mut turns = 2 * u32::from(queue.size());
        let mut had_enough = false;
        while self.device.wants(index) {
            if bytes > RUN_BYTES || turns == 0 {
                had_enough = true;
                break;
            }
            let Some(chain) = queue.pop(mem, features)? else {
                queue.ask_for_notification(mem, features)?;
                break;
            };
            let written = self.device.request(index, &chain, features, mem)?;
            queue.push(mem, chain.head(), written)?;
            bytes += chain.total();
            turns -= 1;
        }
        if queue.interrupts_since(mem, features, before)? {
            self.transport.interrupt |= USED_BUFFER;
        }
        if had_enough {
            self.rest(index, self.device.latency_ns().max(RETRY_NS));
        }
        Ok(())
    }

    /// Enters the error state that only a reset ends, and tells the driver.
    fn fail(&mut self, why: Broken) {
        self.transport.broken = Some(why);
        self.transport.status |= NEEDS_RESET;
        self.transport.interrupt |= CONFIG_CHANGE;
    }
}

impl<D: VirtioDevice> Device for VirtioMmio<D> {
    fn name(&self) -> &'static str {
        self.device.name()
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused> {
        if !offset.is_multiple_of(width.bytes()) {
            return Err(Refused);
        }
        if offset >= CONFIG {
            return self.read_config(offset - CONFIG, width);
        }
        if width != Width::Word {
            return Err(Refused);
        }
        Ok(match offset {
            MAGIC_VALUE => MAGIC,
            VERSION_REG => VERSION,
            DEVICE_ID => u64::from(self.device.device_type()),
            VENDOR_ID => VENDOR,
            DEVICE_FEATURES => match self.transport.device_features_sel {
                0 => self.offered() & 0xffff_ffff,
                1 => self.offered() >> 32,
                _ => 0,
            },
            QUEUE_NUM_MAX => self.selected().map_or(0, |queue| u64::from(queue.max())),
            QUEUE_READY => self.selected().map_or(0, |queue| u64::from(queue.ready)),
            INTERRUPT_STATUS => u64::from(self.transport.interrupt),
            STATUS => u64::from(self.transport.status),
            // All ones: there is no such shared memory region.
            SHM_LEN_LOW | SHM_LEN_HIGH | SHM_BASE_LOW | SHM_BASE_HIGH => 0xffff_ffff,
            CONFIG_GENERATION => u64::from(self.transport.generation),
            _ => return Err(Refused),
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused> {
        if width != Width::Word || offset >= CONFIG {
            return Err(Refused);
        }
        let word = low_u32(value);
        match offset {
            DEVICE_FEATURES_SEL => self.transport.device_features_sel = word,
            DRIVER_FEATURES => self.write_driver_features(word)?,
            DRIVER_FEATURES_SEL => self.transport.driver_features_sel = word,
            QUEUE_SEL => self.transport.queue_sel = word,
            QUEUE_NUM => {
                if !self.idle_queue()?.set_size(word) {
                    return Err(Refused);
                }
            }
            QUEUE_READY => self.write_ready(word & 1 != 0)?,
            QUEUE_NOTIFY => {
                let index = usize::try_from(word).or(Err(Refused))?;
                if index >= self.transport.slots.len() {
                    return Err(Refused);
                }
                self.transport.kicks += 1;
                self.mark(index, self.device.latency_ns());
            }
            INTERRUPT_ACK => self.transport.interrupt &= !low_u8(value),
            STATUS => self.write_status(low_u8(value)),
            QUEUE_DESC_LOW | QUEUE_DESC_HIGH | QUEUE_DRIVER_LOW | QUEUE_DRIVER_HIGH
            | QUEUE_DEVICE_LOW | QUEUE_DEVICE_HIGH => self.write_queue(offset, word)?,
            SHM_SEL => {}
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn irq(&self) -> bool {
        self.transport.interrupt != 0
    }
}

impl<D: VirtioDevice> Dma for VirtioMmio<D> {
    fn set_time(&mut self, now_ns: u64) {
        self.transport.now = now_ns;
    }

    fn deadline(&self) -> Option<u64> {
        // A notification that comes too early waits until the driver says that it is ready.
        if self.live() {
            self.transport.slots.iter().filter_map(|slot| slot.due).min()
        } else {
            None
        }
    }

    fn run(&mut self, now_ns: u64, mem: &mut dyn GuestMemory) {
        self.transport.now = now_ns;
        for index in 0..self.transport.slots.len() {
            if self.live() && self.transport.slots[index].due.is_some_and(|due| due <= now_ns) {
                self.transport.slots[index].due = None;
                if let Err(why) = self.serve(index, mem) {
                    self.fail(why);
                }
            }
        }
    }
}

impl State for Slot {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.queue.state(codec)?;
        codec.option(&mut self.due, |codec, due| codec.u64(due))?;
        codec.u64(&mut self.rests_until)
    }
}

impl State for Transport {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.u8(&mut self.status)?;
        codec.check(self.status & !STATUS_BITS == 0, "a device status that does not exist")?;
        codec.u64(&mut self.driver_features)?;
        for word in [
            &mut self.device_features_sel,
            &mut self.driver_features_sel,
            &mut self.queue_sel,
            &mut self.generation,
        ] {
            codec.u32(word)?;
        }
        codec.u8(&mut self.interrupt)?;
        let known = self.interrupt & !(USED_BUFFER | CONFIG_CHANGE) == 0;
        codec.check(known, "an interrupt status that does not exist")?;
        codec.each(&mut self.slots, |codec, slot| slot.state(codec))?;
        Broken::state(&mut self.broken, codec)?;
        let told = self.broken.is_some() == (self.status & NEEDS_RESET != 0);
        codec.check(told, "a broken device that does not say so")?;
        codec.u64(&mut self.now)?;
        codec.count(&mut self.kicks)
    }
}

impl<D: VirtioDevice> State for VirtioMmio<D> {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.transport.state(codec)?;
        let agreed = self.transport.status & FEATURES_OK == 0 || self.acceptable();
        codec.check(agreed, "features that were not offered")?;
        self.device.state(codec)
    }
}

impl<D: VirtioDevice> Digest for VirtioMmio<D> {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, Transport { kicks: 0, ..self.transport.clone() });
        self.device.digest(sink);
    }
}
