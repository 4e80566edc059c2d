//! The memory map of machine mode: that of QEMU's `virt`.
//!
//! ```text
//! 0x0010_0000  finisher (power off, reset)
//! 0x0010_1000  real-time clock                          irq 11
//! 0x0200_0000  ACLINT: software interrupts and timers
//! 0x0c00_0000  PLIC: contexts 2h (M) and 2h + 1 (S) of hart h
//! 0x1000_0000  UART                                     irq 10
//! 0x1000_1000  virtio-mmio 0: block, if there is a disk     irq 1
//! 0x1000_2000  virtio-mmio 1: console                   irq 2
//! 0x1000_3000  virtio-mmio 2: entropy                   irq 3
//! 0x8000_0000  RAM ───────────────────────────────┐
//!              firmware, kernel, program: where their files say
//!              …                                  │ low RAM ends at 3 GiB
//!              what fw_dynamic is told, device tree, 8-byte aligned
//!              initrd, page aligned               │
//!              end of low RAM ────────────────────┘
//! ```
//! There is no boot ROM: all harts start at the entry point with its registers set. Flash, fw_cfg
//! and PCI are absent.

use session::Region;

/// A window of device registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First physical address.
    pub(crate) base: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl Span {
    /// The offset of `hpa` in this window, if it lies in it.
    pub(crate) const fn offset(self, hpa: u64) -> Option<u64> {
        if hpa >= self.base && hpa - self.base < self.size { Some(hpa - self.base) } else { None }
    }
}

pub(crate) const FINISHER: Span = Span { base: 0x10_0000, size: devices::finisher::WINDOW };
pub(crate) const RTC: Span = Span { base: 0x10_1000, size: devices::rtc::WINDOW };
pub(crate) const ACLINT: Span = Span { base: 0x200_0000, size: devices::aclint::WINDOW };
pub(crate) const PLIC: Span = Span { base: 0xc00_0000, size: 0x60_0000 };
pub(crate) const UART: Span = Span { base: 0x1000_0000, size: devices::uart::WINDOW };

/// Interrupt of the UART.
pub(crate) const UART_IRQ: u32 = 10;
/// Interrupt of the real-time clock.
pub(crate) const RTC_IRQ: u32 = 11;
/// Interrupts of the PLIC: 1 to this one.
pub(crate) const PLIC_SOURCES: u32 = 95;

/// Virtio slots.
pub(crate) const VIRTIO_SLOTS: u8 = 3;
pub(crate) const VIRTIO_BLOCK: u8 = 0;
pub(crate) const VIRTIO_CONSOLE: u8 = 1;
pub(crate) const VIRTIO_RNG: u8 = 2;

/// The window of a virtio slot.
pub(crate) const fn virtio(slot: u8) -> Span {
    let size = devices::virtio::mmio::WINDOW;
    Span { base: 0x1000_1000 + slot as u64 * size, size }
}

/// The interrupt of a virtio slot.
pub(crate) const fn virtio_irq(slot: u8) -> u32 {
    1 + slot as u32
}

/// All windows, the most used first.
pub(crate) const WINDOWS: [(Region, Span); 8] = [
    (Region::Uart, UART),
    (Region::Aclint, ACLINT),
    (Region::Plic, PLIC),
    (Region::Virtio(VIRTIO_BLOCK), virtio(VIRTIO_BLOCK)),
    (Region::Virtio(VIRTIO_CONSOLE), virtio(VIRTIO_CONSOLE)),
    (Region::Virtio(VIRTIO_RNG), virtio(VIRTIO_RNG)),
    (Region::Rtc, RTC),
    (Region::Finisher, FINISHER),
];

/// First address of RAM, and where firmware starts.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Where firmware that jumps to a fixed address expects a kernel.
pub const KERNEL_BASE: u64 = 0x8020_0000;
/// Device tree and initrd end below this address, which 32-bit firmware tools can still name.
pub(crate) const LOW_RAM_END: u64 = 3 << 30;
/// Frequency of `time` and `mtime`.
pub(crate) const TIMEBASE_HZ: u32 = 10_000_000;
/// Bytes of a cache block, for the Zicbo* extensions.
pub(crate) const CACHE_BLOCK: u32 = 64;
