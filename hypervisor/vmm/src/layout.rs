//! Where a guest finds things in its physical memory: the map of QEMU's `virt`.
//!
//! ```text
//! 0x0010_0000  finisher (power off, reset)
//! 0x0010_1000  real-time clock                        irq 11
//! 0x0c00_0000  PLIC, one S context per vCPU, context = vCPU
//! 0x1000_0000  UART                                   irq 10
//! 0x1000_1000  virtio-mmio 0: block, if there is a disk   irq 1
//! 0x1000_2000  virtio-mmio 1: console                 irq 2
//! 0x1000_3000  virtio-mmio 2: entropy                 irq 3
//! 0x8000_0000  RAM ───────────────────────────────┐
//!              payload, where its file says       │
//!              …                                  │ low RAM ends at 3 GiB
//!              device tree, 8-byte aligned        │
//!              initrd, page aligned               │
//!              end of low RAM ────────────────────┘
//! ```
//! Slots are fixed: without a disk the window of slot 0 is a hole, and the others stay where
//! they are. There is no ACLINT: timer and inter-processor interrupts go through SBI or Sstc.

use session::Region;

/// A window of device registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First guest-physical address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

impl Span {
    /// The offset of `gpa` in this window, if it lies in it.
    #[must_use]
    pub const fn offset(self, gpa: u64) -> Option<u64> {
        if gpa >= self.base && gpa - self.base < self.size { Some(gpa - self.base) } else { None }
    }
}

/// The finisher.
pub const FINISHER: Span = Span { base: 0x10_0000, size: devices::finisher::WINDOW };
/// The real-time clock.
pub const RTC: Span = Span { base: 0x10_1000, size: devices::rtc::WINDOW };
/// The PLIC.
pub const PLIC: Span = Span { base: 0xc00_0000, size: 0x60_0000 };
/// The UART.
pub const UART: Span = Span { base: 0x1000_0000, size: devices::uart::WINDOW };
/// Interrupt of the UART.
pub const UART_IRQ: u32 = 10;
/// Interrupt of the real-time clock.
pub const RTC_IRQ: u32 = 11;
/// Interrupts of the PLIC: 1 to this one.
pub const PLIC_SOURCES: u32 = 95;

/// Virtio slots.
pub const VIRTIO_SLOTS: u8 = 3;
/// Slot of the block device.
pub const VIRTIO_BLOCK: u8 = 0;
/// Slot of the console.
pub const VIRTIO_CONSOLE: u8 = 1;
/// Slot of the entropy device.
pub const VIRTIO_RNG: u8 = 2;

/// The window of a virtio slot.
#[must_use]
pub const fn virtio(slot: u8) -> Span {
    let size = devices::virtio::mmio::WINDOW;
    Span { base: 0x1000_1000 + slot as u64 * size, size }
}

/// The interrupt of a virtio slot.
#[must_use]
pub const fn virtio_irq(slot: u8) -> u32 {
    1 + slot as u32
}

/// First address of RAM.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Device tree and initrd end below this address, which 32-bit firmware tools can still name.
pub const LOW_RAM_END: u64 = 3 << 30;
/// Frequency of guest time in `time`, `stimecmp` and SBI.
pub const TIMEBASE_HZ: u32 = 10_000_000;
/// Bytes of a cache block, for the Zicbo* extensions.
pub const CACHE_BLOCK: u32 = 64;
/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The device window that holds `gpa`, and the offset in it.
#[must_use]
pub fn find(gpa: u64) -> (Region, u64) {
    // The most used first: this is looked up at every MMIO exit.
    if let Some(offset) = UART.offset(gpa) {
        return (Region::Uart, offset);
    }
    if let Some(offset) = PLIC.offset(gpa) {
        return (Region::Plic, offset);
    }
    for slot in 0..VIRTIO_SLOTS {
        if let Some(offset) = virtio(slot).offset(gpa) {
            return (Region::Virtio(slot), offset);
        }
    }
    if let Some(offset) = RTC.offset(gpa) {
        return (Region::Rtc, offset);
    }
    if let Some(offset) = FINISHER.offset(gpa) {
        return (Region::Finisher, offset);
    }
    (Region::Hole, gpa)
}
