//! Numbers of virtio 1.2: registers, feature bits, status bits, ring layout (table)

/// "virt", little-endian.
pub(super) const MAGIC: u64 = 0x7472_6976;
/// Version of the register layout: not legacy.
pub(super) const VERSION: u64 = 2;
/// Ours: "DUVI", little-endian.
pub(super) const VENDOR: u64 = 0x4956_5544;

// Section "MMIO Device Register Layout".
pub(super) const MAGIC_VALUE: u64 = 0x000;
pub(super) const VERSION_REG: u64 = 0x004;
pub(super) const DEVICE_ID: u64 = 0x008;
pub(super) const VENDOR_ID: u64 = 0x00c;
pub(super) const DEVICE_FEATURES: u64 = 0x010;
pub(super) const DEVICE_FEATURES_SEL: u64 = 0x014;
pub(super) const DRIVER_FEATURES: u64 = 0x020;
pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
pub(super) const QUEUE_SEL: u64 = 0x030;
pub(super) const QUEUE_NUM_MAX: u64 = 0x034;
pub(super) const QUEUE_NUM: u64 = 0x038;
pub(super) const QUEUE_READY: u64 = 0x044;
pub(super) const QUEUE_NOTIFY: u64 = 0x050;
pub(super) const INTERRUPT_STATUS: u64 = 0x060;
pub(super) const INTERRUPT_ACK: u64 = 0x064;
pub(super) const STATUS: u64 = 0x070;
pub(super) const QUEUE_DESC_LOW: u64 = 0x080;
pub(super) const QUEUE_DESC_HIGH: u64 = 0x084;
pub(super) const QUEUE_DRIVER_LOW: u64 = 0x090;
pub(super) const QUEUE_DRIVER_HIGH: u64 = 0x094;
pub(super) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
pub(super) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
pub(super) const SHM_SEL: u64 = 0x0ac;
pub(super) const SHM_LEN_LOW: u64 = 0x0b0;
pub(super) const SHM_LEN_HIGH: u64 = 0x0b4;
pub(super) const SHM_BASE_LOW: u64 = 0x0b8;
pub(super) const SHM_BASE_HIGH: u64 = 0x0bc;
pub(super) const CONFIG_GENERATION: u64 = 0x0fc;
pub(super) const CONFIG: u64 = 0x100;

// Section "Device Status Field".
pub(super) const ACKNOWLEDGE: u8 = 1;
pub(super) const DRIVER: u8 = 2;
pub(super) const DRIVER_OK: u8 = 4;
pub(super) const FEATURES_OK: u8 = 8;
pub(super) const NEEDS_RESET: u8 = 64;
pub(super) const FAILED: u8 = 128;
/// Status bits that exist.
pub(super) const STATUS_BITS: u8 =
    ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | NEEDS_RESET | FAILED;

/// Interrupt status: buffers were used.
pub(super) const USED_BUFFER: u8 = 1;
/// Interrupt status: the configuration changed.
pub(super) const CONFIG_CHANGE: u8 = 2;

// Section "Reserved Feature Bits".
pub(super) const F_INDIRECT_DESC: u64 = 1 << 28;
pub(super) const F_EVENT_IDX: u64 = 1 << 29;
pub(super) const F_VERSION_1: u64 = 1 << 32;

// Section "The Virtqueue Descriptor Table".
pub(super) const DESC_BYTES: u64 = 16;
pub(super) const DESC_NEXT: u16 = 1;
pub(super) const DESC_WRITE: u16 = 2;
pub(super) const DESC_INDIRECT: u16 = 4;
/// Available ring flag: the driver wants no interrupts.
pub(super) const NO_INTERRUPT: u16 = 1;

// Section "Block Device".
pub(super) const BLOCK: u32 = 2;
pub(super) const BLK_F_SIZE_MAX: u64 = 1 << 1;
pub(super) const BLK_F_SEG_MAX: u64 = 1 << 2;
pub(super) const BLK_F_RO: u64 = 1 << 5;
pub(super) const BLK_F_BLK_SIZE: u64 = 1 << 6;
pub(super) const BLK_F_FLUSH: u64 = 1 << 9;
pub(super) const BLK_IN: u32 = 0;
pub(super) const BLK_OUT: u32 = 1;
pub(super) const BLK_FLUSH: u32 = 4;
pub(super) const BLK_GET_ID: u32 = 8;
pub(super) const BLK_S_OK: u8 = 0;
pub(super) const BLK_S_IOERR: u8 = 1;
pub(super) const BLK_S_UNSUPP: u8 = 2;

// Section "Console Device".
pub(super) const CONSOLE: u32 = 3;
pub(super) const CONSOLE_F_SIZE: u64 = 1 << 0;

// Section "Entropy Device".
pub(super) const ENTROPY: u32 = 4;
