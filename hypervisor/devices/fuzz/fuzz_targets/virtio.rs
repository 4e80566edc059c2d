//! Any driver of the three virtio devices: rings, descriptors and registers of its choice.
//!
//! ```text
//!   input: 1 byte device | 2 bytes n | n bytes of guest memory | (offset, width, value) …
//! ```
#![no_main]

use std::sync::Arc;

use devices::virtio::block::{Block, CowDisk};
use devices::virtio::console::Console;
use devices::virtio::mmio::VirtioMmio;
use devices::virtio::rng::Rng;
use devices::virtio::{BadAddress, Dma, GuestMemory, VirtioDevice};
use devices::{Device, Width};
use libfuzzer_sys::fuzz_target;

const BASE: u64 = 0x8000_0000;
const RAM: usize = 0x1_0000;
/// Rings of a queue: descriptors, available ring, used ring, a page each.
const RINGS: u64 = 0x3000;

struct Ram(Vec<u8>);

impl Ram {
    fn range(&self, addr: u64, len: usize) -> Result<std::ops::Range<usize>, BadAddress> {
        let begin = addr.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
        let begin = begin.ok_or(BadAddress(addr))?;
        let end = begin.checked_add(len).filter(|end| *end <= self.0.len());
        Ok(begin..end.ok_or(BadAddress(addr))?)
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

/// What Linux writes to start a device, its queues behind one another at the begin of memory.
fn start<D: VirtioDevice>(mmio: &mut VirtioMmio<D>) {
    let mut put = |offset: u64, value: u64| {
        let _ = mmio.write(offset, Width::Word, value);
    };
    // Status, all features that are offered or not, status.
    for (offset, value) in [(0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0), (0x20, 1 << 28 | 1 << 29)] {
        put(offset, value);
    }
    put(0x70, 11);
    for queue in 0..2 {
        let at = BASE + queue * RINGS;
        for (offset, value) in [
            (0x30, queue),
            (0x38, 16),
            (0x80, at),
            (0x90, at + 0x1000),
            (0xa0, at + 0x2000),
            (0x44, 1),
        ] {
            put(offset, value);
        }
    }
    put(0x70, 15);
    put(0x50, 0);
    put(0x50, 1);
}

fn traffic<D: VirtioDevice>(device: D, memory: &[u8], accesses: &[u8]) {
    let mut mmio = VirtioMmio::new(device);
    let mut ram = Ram(vec![0; RAM]);
    ram.0[..memory.len()].copy_from_slice(memory);
    let mut now = 0;
    start(&mut mmio);
    mmio.run(1 << 40, &mut ram);
    for access in accesses.chunks_exact(8) {
        let (offset, kind) = (u64::from(access[0]) | u64::from(access[1] & 1) << 8, access[1]);
        let value = u64::from(u32::from_le_bytes([access[4], access[5], access[6], access[7]]));
        let width = Width::from_bytes(1 << (kind >> 1 & 3)).unwrap_or(Width::Word);
        mmio.set_time(now);
        let _ = mmio.write(offset & !3, Width::Word, value);
        let _ = mmio.write(offset, width, value);
        let _ = mmio.read(offset, width);
        // Now and then the driver changes its rings.
        if kind & 8 != 0 {
            let _ = ram.write(BASE + (value & 0x7fff), &access[2..4]);
        }
        now += u64::from(access[2]);
        mmio.run(now, &mut ram);
        let _ = (mmio.irq(), mmio.deadline(), mmio.broken());
    }
}

fuzz_target!(|data: &[u8]| {
    let [device, low, high, rest @ ..] = data else { return };
    let n = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (memory, accesses) = rest.split_at(n);
    match device % 3 {
        0 => {
            let base: Arc<[u8]> = vec![0; 1 << 14].into();
            traffic(Block::new(CowDisk::new(base, 1 << 13), "id", 3), memory, accesses);
        }
        1 => traffic(Console::new(Some((80, 25))), memory, accesses),
        _ => traffic(Rng::new(0), memory, accesses),
    }
});
