//! Register state machines of the devices that a guest or a bare machine sees.
//!
//! A device owns no thread, no clock, no file, no host handle and no base address. Guest accesses
//! arrive as `(offset, width)`, host input arrives through a method of the device that its owner
//! calls, output leaves as bytes that the owner drains. Guest time comes in as an argument, or
//! through a `set_time` that the owner calls before each access. All state is plain data:
//! [`State`] goes through it to save and restore a device, [`Digest`] feeds it to a hash.
#![forbid(unsafe_code)]

pub mod aclint;
pub mod finisher;
pub mod plic;
pub mod rtc;
#[cfg(test)]
mod tests;
pub mod uart;
pub mod virtio;

use state::State;

/// Width of one register access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
    /// 64 bits.
    Double,
}

impl Width {
    /// The number of bytes of such an access.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Width::Byte => 1,
            Width::Half => 2,
            Width::Word => 4,
            Width::Double => 8,
        }
    }

    /// The width of an access of `bytes` bytes, if there is one.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Option<Width> {
        match bytes {
            1 => Some(Width::Byte),
            2 => Some(Width::Half),
            4 => Some(Width::Word),
            8 => Some(Width::Double),
            _ => None,
        }
    }
}

/// The device does not implement that access: reads give zeros, writes are dropped, it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A block of memory-mapped registers.
pub trait Device {
    /// The name that events, panes and error messages use.
    fn name(&self) -> &'static str;

    /// Reads the register at `offset` from the start of the device's window.
    ///
    /// # Errors
    /// [`Refused`] if there is no such register or it has no such width.
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused>;

    /// Writes the register at `offset`.
    ///
    /// # Errors
    /// [`Refused`] if there is no such register or it has no such width.
    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused>;

    /// The level of the device's interrupt line, looked at after each access and each tick.
    fn irq(&self) -> bool {
        false
    }
}

/// A device (or a part of one) whose whole state can be fed to a hash.
pub trait Digest {
    /// Gives the complete state to `sink`, in a fixed order and with lengths before lists.
    ///
    /// It is the [`State`] less what no guest can find: output that waits to be drained, and
    /// counters for panes. It has the content of a disk besides, which is saved
    /// [page by page](virtio::block::Overlay).
    fn digest(&self, sink: &mut dyn FnMut(&[u8]));
}

/// Feeds one number to a digest.
pub(crate) fn feed(sink: &mut dyn FnMut(&[u8]), value: u64) {
    sink(&value.to_le_bytes());
}

/// Feeds the state of a copy, which lacks what does not belong into a digest.
pub(crate) fn feed_state(sink: &mut dyn FnMut(&[u8]), mut copy: impl State) {
    sink(&state::save(&mut copy));
}

/// The low 8 bits.
pub(crate) const fn low_u8(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// The low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) const fn low_u32(value: u64) -> u32 {
    value as u32
}

/// `value` with its low (`high == false`) or high word replaced.
pub(crate) const fn with_word(value: u64, high: bool, word: u32) -> u64 {
    if high {
        (value & 0xffff_ffff) | ((word as u64) << 32)
    } else {
        (value & !0xffff_ffff) | word as u64
    }
}

/// The low or high word of `value`.
pub(crate) const fn word_of(value: u64, high: bool) -> u64 {
    if high { value >> 32 } else { value & 0xffff_ffff }
}
