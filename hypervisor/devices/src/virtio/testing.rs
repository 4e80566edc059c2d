//! A driver for tests: memory, and the steps that Linux's virtio_mmio and virtio_ring take.

pub(crate) use super::mmio::VirtioMmio;
use super::{BadAddress, Dma, GuestMemory, VirtioDevice, spec::*};
use crate::{Device, Width, low_u8};

pub(crate) const BASE: u64 = 0x8000_0000;
const BYTES: usize = 1 << 20;
/// Each queue has 16 KiB for its rings, each chain's descriptors follow one another.
const RINGS: u64 = 0x4000;
pub(crate) const AVAIL: u64 = 0x1000;
pub(crate) const USED: u64 = 0x2000;

/// Guest memory from [`BASE`] on.
#[derive(Clone, Debug)]
pub(crate) struct Ram(pub(crate) Vec<u8>);

impl Ram {
    fn range(&self, addr: u64, len: usize) -> Result<std::ops::Range<usize>, BadAddress> {
        let bad = BadAddress(addr);
        let begin = usize::try_from(addr.checked_sub(BASE).ok_or(bad)?).or(Err(bad))?;
        let end = begin.checked_add(len).filter(|end| *end <= self.0.len()).ok_or(bad)?;
        Ok(begin..end)
    }
}

impl GuestMemory for Ram {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), BadAddress> {
        buf.copy_from_slice(&self.0[self.range(addr, buf.len())?]);
        Ok(())
    }

    fn write(&mut self, addr: u64, buf: &[u8]) -> Result<(), BadAddress> {
        let range = self.range(addr, buf.len())?;
        self.0[range].copy_from_slice(buf);
        Ok(())
    }
}

/// Memory in which descriptors, rings and table addresses are likely to make sense.
pub(crate) fn plausible(seed: u64) -> Ram {
    let mut generator = super::rng::Generator::new(seed);
    let mut ram = Ram(vec![0; 0x2000]);
    for at in (0..0x1000).step_by(16) {
        let bits = generator.next_u64();
        let addr = BASE + (bits & 0xf_fff0);
        let len = (bits >> 20) & if bits >> 63 == 0 { 0x7f0 } else { 0x1f_ffff };
        let flags = (bits >> 44) & 3 | if (bits >> 46) & 7 == 0 { 4 } else { 0 };
        let next = (bits >> 50) & 0x3f;
        let high = len | flags << 32 | next << 48;
        ram.write(BASE + at, &addr.to_le_bytes()).unwrap();
        ram.write(BASE + at + 8, &high.to_le_bytes()).unwrap();
    }
    ram.write(BASE + AVAIL + 2, &[low_u8(generator.next_u64() & 7), 0]).unwrap();
    for slot in 0..64 {
        let head = low_u8(generator.next_u64() & 7);
        ram.write(BASE + AVAIL + 4 + 2 * slot, &[head, 0]).unwrap();
    }
    ram
}

/// A piece of guest memory that a test uses as a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) addr: u64,
    pub(crate) len: u32,
}

#[derive(Clone, Debug, Default)]
struct Ring {
    size: u16,
    next_desc: u16,
    added: u16,
    seen: u16,
}

/// A device, its memory and its driver.
#[derive(Clone, Debug)]
pub(crate) struct Driver<D> {
    pub(crate) mmio: VirtioMmio<D>,
    pub(crate) ram: Ram,
    pub(crate) now: u64,
    pub(crate) features: u64,
    rings: Vec<Ring>,
    free: u64,
}

impl<D: VirtioDevice> Driver<D> {
    /// Probes and starts the device, accepting the features in `wanted`.
    pub(crate) fn start(device: D, wanted: u64) -> Driver<D> {
        let queues = device.queues().len();
        let mut driver = Driver {
            mmio: VirtioMmio::new(device),
            ram: Ram(vec![0; BYTES]),
            now: 1000,
            features: 0,
            rings: vec![Ring::default(); queues],
            free: BASE + RINGS * 4,
        };
        assert_eq!(driver.get(MAGIC_VALUE), MAGIC);
        assert_eq!(driver.get(VERSION_REG), 2);
        driver.put(STATUS, 0);
        assert_eq!(driver.get(STATUS), 0);
        driver.add_status(ACKNOWLEDGE);
        driver.add_status(DRIVER);
        let mut offered = 0;
        for half in [1, 0] {
            driver.put(DEVICE_FEATURES_SEL, half);
            offered = offered << 32 | driver.get(DEVICE_FEATURES);
        }
        driver.features = offered & (wanted | F_VERSION_1);
        for half in [1, 0] {
            driver.put(DRIVER_FEATURES_SEL, half);
            driver.put(DRIVER_FEATURES, driver.features >> (32 * half));
        }
        driver.add_status(FEATURES_OK);
        assert_ne!(driver.get(STATUS) & u64::from(FEATURES_OK), 0);
        for queue in 0..queues {
            driver.set_up(queue);
        }
        driver.add_status(DRIVER_OK);
        driver
    }

    fn set_up(&mut self, queue: usize) {
        let rings = Self::rings(queue);
        self.put(QUEUE_SEL, queue as u64);
        assert_eq!(self.get(QUEUE_READY), 0);
        let max = self.get(QUEUE_NUM_MAX);
        self.put(QUEUE_NUM, max);
        self.rings[queue].size = u16::try_from(max).unwrap();
        for (register, addr) in [
            (QUEUE_DESC_LOW, rings),
            (QUEUE_DRIVER_LOW, rings + AVAIL),
            (QUEUE_DEVICE_LOW, rings + USED),
        ] {
            self.put(register, addr);
            self.put(register + 4, addr >> 32);
        }
        self.put(QUEUE_READY, 1);
    }

    pub(crate) fn rings(queue: usize) -> u64 {
        BASE + RINGS * queue as u64
    }

    pub(crate) fn get(&mut self, register: u64) -> u64 {
        self.mmio.set_time(self.now);
        self.mmio.read(register, Width::Word).unwrap()
    }

    pub(crate) fn put(&mut self, register: u64, value: u64) {
        self.mmio.set_time(self.now);
        self.mmio.write(register, Width::Word, value & 0xffff_ffff).unwrap();
    }

    fn add_status(&mut self, bit: u8) {
        let status = self.get(STATUS);
        self.put(STATUS, status | u64::from(bit));
    }

    /// Memory that nobody uses yet.
    pub(crate) fn space(&mut self, len: u32) -> Space {
        let addr = self.free;
        self.free += u64::from(len).next_multiple_of(16);
        Space { addr, len }
    }

    pub(crate) fn filled(&mut self, bytes: &[u8]) -> Space {
        let space = self.space(u32::try_from(bytes.len()).unwrap());
        self.ram.write(space.addr, bytes).unwrap();
        space
    }

    pub(crate) fn bytes(&self, space: Space) -> Vec<u8> {
        let mut bytes = vec![0; space.len as usize];
        self.ram.read(space.addr, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn word(&self, addr: u64) -> u16 {
        let mut raw = [0; 2];
        self.ram.read(addr, &mut raw).unwrap();
        u16::from_le_bytes(raw)
    }

    pub(crate) fn describe(&mut self, table: u64, index: u16, to: Space, flags: u16, next: u16) {
        let at = table + 16 * u64::from(index);
        self.ram.write(at, &to.addr.to_le_bytes()).unwrap();
        self.ram.write(at + 8, &to.len.to_le_bytes()).unwrap();
        self.ram.write(at + 12, &flags.to_le_bytes()).unwrap();
        self.ram.write(at + 14, &next.to_le_bytes()).unwrap();
    }

    /// Makes a chain available, without telling the device.
    pub(crate) fn add(&mut self, queue: usize, readable: &[Space], writable: &[Space]) {
        let rings = Self::rings(queue);
        let size = self.rings[queue].size;
        let buffers: Vec<(Space, u16)> = readable
            .iter()
            .map(|space| (*space, 0))
            .chain(writable.iter().map(|space| (*space, DESC_WRITE)))
            .collect();
        let head = self.rings[queue].next_desc;
        for (at, (space, flags)) in buffers.iter().enumerate() {
            let index = self.rings[queue].next_desc;
            let next = (index + 1) % size;
            let more = if at + 1 < buffers.len() { DESC_NEXT } else { 0 };
            self.describe(rings, index, *space, flags | more, next);
            self.rings[queue].next_desc = next;
        }
        self.publish(queue, head);
    }

    pub(crate) fn publish(&mut self, queue: usize, head: u16) {
        let avail = Self::rings(queue) + AVAIL;
        let slot = u64::from(self.rings[queue].added % self.rings[queue].size);
        self.ram.write(avail + 4 + 2 * slot, &head.to_le_bytes()).unwrap();
        self.rings[queue].added = self.rings[queue].added.wrapping_add(1);
        self.ram.write(avail + 2, &self.rings[queue].added.to_le_bytes()).unwrap();
    }

    /// Sets used_event.
    pub(crate) fn want_interrupt_at(&mut self, queue: usize, event: u16) {
        let at = Self::rings(queue) + AVAIL + 4 + 2 * u64::from(self.rings[queue].size);
        self.ram.write(at, &event.to_le_bytes()).unwrap();
    }

    pub(crate) fn avail_event(&self, queue: usize) -> u16 {
        self.word(Self::rings(queue) + USED + 4 + 8 * u64::from(self.rings[queue].size))
    }

    /// Makes a chain available and notifies.
    pub(crate) fn submit(&mut self, queue: usize, readable: &[Space], writable: &[Space]) {
        self.add(queue, readable, writable);
        self.put(QUEUE_NOTIFY, queue as u64);
    }

    /// Lets time pass up to the deadline, and the device work.
    pub(crate) fn run(&mut self) {
        if let Some(at) = self.mmio.deadline() {
            self.now = self.now.max(at);
            self.mmio.run(self.now, &mut self.ram);
        }
    }

    /// Lets the device work, serves the interrupt, and collects the lengths of what was used.
    pub(crate) fn finish(&mut self, queue: usize) -> Vec<u32> {
        self.run();
        if self.mmio.irq() {
            let status = self.get(INTERRUPT_STATUS);
            self.put(INTERRUPT_ACK, status);
            assert!(!self.mmio.irq());
        }
        self.collect(queue)
    }

    pub(crate) fn collect(&mut self, queue: usize) -> Vec<u32> {
        let used = Self::rings(queue) + USED;
        let mut lengths = Vec::new();
        while self.rings[queue].seen != self.word(used + 2) {
            let slot = u64::from(self.rings[queue].seen % self.rings[queue].size);
            let mut raw = [0; 4];
            self.ram.read(used + 8 + 8 * slot, &mut raw).unwrap();
            lengths.push(u32::from_le_bytes(raw));
            self.rings[queue].seen = self.rings[queue].seen.wrapping_add(1);
        }
        // As virtqueue_enable_cb does.
        let seen = self.rings[queue].seen;
        self.want_interrupt_at(queue, seen);
        lengths
    }
}
