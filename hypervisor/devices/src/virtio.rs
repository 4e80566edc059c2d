//! Paravirtual devices of the *Virtual I/O Device (VIRTIO) Version 1.2* specification.
//!
//! [`mmio::VirtioMmio`] is the transport, [`queue::Queue`] the split virtqueue, and each device
//! type is a [`VirtioDevice`] that answers one request at a time. A register access never touches
//! guest memory: a notification only notes the time at which its queue is to be served, and
//! [`Dma::run`], called by the owner at that time, does the work and raises the interrupt.

pub mod block;
pub mod console;
pub mod mmio;
pub mod queue;
pub mod rng;
mod spec;
#[cfg(test)]
pub(crate) mod testing;

use state::State;

use crate::{Device, Digest};
use queue::{Broken, Chain};

/// An address range that is not, or not wholly, memory of the guest; the address is its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress(pub u64);

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no guest memory at {:#x}", self.0)
    }
}

impl std::error::Error for BadAddress {}

/// What a device may do with the memory of its guest.
pub trait GuestMemory {
    /// Fills `buf` from guest physical address `addr` on.
    ///
    /// # Errors
    /// [`BadAddress`] if not all of it is memory; `buf` is then of no meaning.
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), BadAddress>;

    /// Stores `buf` at guest physical address `addr`.
    ///
    /// # Errors
    /// [`BadAddress`] if not all of it is memory; whether a part was stored is left open.
    fn write(&mut self, addr: u64, buf: &[u8]) -> Result<(), BadAddress>;
}

/// A device that works on guest memory, apart from register accesses, at times that it names.
pub trait Dma: Device + Digest + State {
    /// Tells guest time; to be called before each access to a register.
    fn set_time(&mut self, now_ns: u64);

    /// The guest time at which [`run`](Dma::run) wants to be called, if there is work.
    ///
    /// It may lie in the past; then it is due at once.
    fn deadline(&self) -> Option<u64>;

    /// Does the work that is due at `now_ns`. The interrupt line may have changed afterwards.
    ///
    /// One call does a bounded amount of work; what is left gets a new, later deadline.
    fn run(&mut self, now_ns: u64, mem: &mut dyn GuestMemory);
}

/// One type of virtio device, behind its transport.
pub trait VirtioDevice: Digest + State {
    /// The name that events, panes and error messages use.
    fn name(&self) -> &'static str;

    /// The device type, section "Device Types".
    fn device_type(&self) -> u32;

    /// The feature bits of this device type that are offered.
    fn features(&self) -> u64;

    /// Highest size of each queue, powers of two.
    fn queues(&self) -> &'static [u16];

    /// The configuration space. Nothing in it can be written by the driver.
    fn config(&self) -> &[u8];

    /// Guest time from the notification of a queue to its completions.
    fn latency_ns(&self) -> u64 {
        0
    }

    /// Whether requests may be taken from `queue` now.
    fn wants(&self, queue: usize) -> bool {
        let _ = queue;
        true
    }

    /// Answers one request and says how many bytes were written into its device-writable part.
    ///
    /// `features` are the negotiated ones.
    ///
    /// # Errors
    /// [`Broken`] if the request cannot even be answered; the device then needs a reset.
    fn request(
        &mut self,
        queue: usize,
        chain: &Chain,
        features: u64,
        mem: &mut dyn GuestMemory,
    ) -> Result<u32, Broken>;

    /// The driver reset the device.
    fn reset(&mut self) {}
}
