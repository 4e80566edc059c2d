//! Register state machines of the devices that a guest or a bare machine sees.
//!
//! A device owns no thread, no clock, no file, no host handle and no base address. Guest accesses
//! arrive as `(offset, width)`, host input arrives through a method of the device that its owner
//! calls, output leaves as bytes that the owner drains. Guest time comes in as an argument.
#![forbid(unsafe_code)]

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
