//! The split virtqueue, seen from the device: every index, length and chain is checked.
//!
//! ```text
//! descriptor table   size × { addr u64, len u32, flags u16, next u16 }
//! available ring     flags u16, idx u16, size × head u16, used_event u16
//! used ring          flags u16, idx u16, size × { id u32, len u32 }, avail_event u16
//! ```
//! What a correct driver cannot do ends in [`Broken`], and the device then asks for a reset.

mod chain;
#[cfg(test)]
mod tests;

pub use chain::{Buffer, Chain, Cursor};

use state::{Codec, Damaged, State};

use super::{BadAddress, GuestMemory, spec::*};

/// Longest chain that is followed, indirect descriptors included.
///
/// "A driver MUST NOT create a descriptor chain longer than the Queue Size", but some do with
/// indirect tables; this is the limit that other hypervisors set.
pub const MAX_CHAIN: usize = 1024;

/// Why a ring cannot be served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A ring, table or buffer is not in guest memory.
    Address(u64),
    /// The available index ran further ahead than the ring is long.
    AvailableIndex,
    /// A descriptor number lies outside of its table.
    DescriptorIndex,
    /// A chain loops, or is longer than [`MAX_CHAIN`].
    Chain,
    /// A chain holds 4 GiB or more.
    Length,
    /// A device-readable buffer comes after a device-writable one.
    Order,
    /// An indirect table is nested, chained, of odd length or was not negotiated.
    Indirect,
    /// A request lacks what is needed to answer it.
    Request,
}

impl Broken {
    /// All of them.
    const ALL: [Option<Broken>; 9] = [
        None,
        Some(Broken::Address(0)),
        Some(Broken::AvailableIndex),
        Some(Broken::DescriptorIndex),
        Some(Broken::Chain),
        Some(Broken::Length),
        Some(Broken::Order),
        Some(Broken::Indirect),
        Some(Broken::Request),
    ];

    /// The state of a device that may be broken.
    pub(super) fn state(broken: &mut Option<Broken>, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let mut addr = 0;
        if let Some(Broken::Address(at)) = broken {
            addr = std::mem::take(at);
        }
        codec.choice(broken, &Broken::ALL)?;
        if let Some(Broken::Address(at)) = broken {
            codec.u64(&mut addr)?;
            *at = addr;
        }
        Ok(())
    }
}

impl From<BadAddress> for Broken {
    fn from(bad: BadAddress) -> Broken {
        Broken::Address(bad.0)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Address(addr) => write!(f, "no guest memory at {addr:#x}"),
            Broken::AvailableIndex => write!(f, "available index too far ahead"),
            Broken::DescriptorIndex => write!(f, "descriptor number outside of its table"),
            Broken::Chain => write!(f, "descriptor chain loops or is too long"),
            Broken::Length => write!(f, "descriptor chain of 4 GiB or more"),
            Broken::Order => write!(f, "readable buffer after a writable one"),
            Broken::Indirect => write!(f, "malformed indirect descriptor"),
            Broken::Request => write!(f, "request without header or status"),
        }
    }
}

/// A split virtqueue.
#[derive(Clone, Debug)]
pub struct Queue {
    // Fixed configuration.
    max: u16,
    // Set by the driver, through the transport.
    pub(super) size: u16,
    pub(super) ready: bool,
    pub(super) desc: u64,
    pub(super) avail: u64,
    pub(super) used: u64,
    // Runtime state.
    next_avail: u16,
    next_used: u16,
}

impl Queue {
    /// A queue that is not set up and may have up to `max` entries, a power of two.
    #[must_use]
    pub fn new(max: u16) -> Queue {
        Queue {
            max,
            size: max,
            ready: false,
            desc: 0,
            avail: 0,
            used: 0,
            next_avail: 0,
            next_used: 0,
        }
    }

    /// Highest possible size.
    #[must_use]
    pub fn max(&self) -> u16 {
        self.max
    }

    /// Whether the driver has set it up.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// The size that the driver chose.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// How many requests were taken and how many answered, both modulo 2^16.
    #[must_use]
    pub fn positions(&self) -> (u16, u16) {
        (self.next_avail, self.next_used)
    }

    /// Accepts a size, if it is one that the driver may choose.
    pub(super) fn set_size(&mut self, size: u32) -> bool {
        match u16::try_from(size) {
            Ok(size) if size.is_power_of_two() && size <= self.max && !self.ready => {
                self.size = size;
                true
            }
            _ => false,
        }
    }

    /// Starts at the beginning of fresh rings, or stops.
    pub(super) fn set_ready(&mut self, ready: bool) {
        if ready && !self.ready {
            self.next_avail = 0;
            self.next_used = 0;
        }
        self.ready = ready;
    }

    /// Takes the next request, if there is one.
    ///
    /// # Errors
    /// [`Broken`] if ring or chain are not what a driver may write.
    pub fn pop(&mut self, mem: &dyn GuestMemory, features: u64) -> Result<Option<Chain>, Broken> {
        if !self.ready {
            return Ok(None);
        }
        let ahead = read_u16(mem, self.avail, 2)?.wrapping_sub(self.next_avail);
        if ahead == 0 {
            return Ok(None);
        }
        if ahead > self.size {
            return Err(Broken::AvailableIndex);
        }
        let slot = u64::from(self.next_avail % self.size);
        let head = read_u16(mem, self.avail, 4 + 2 * slot)?;
        let chain = self.walk(mem, head, features & F_INDIRECT_DESC != 0)?;
        self.next_avail = self.next_avail.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Gives a request back, with `written` bytes in its device-writable part.
    ///
    /// # Errors
    /// [`Broken::Address`] if the used ring is not in memory.
    pub fn push(
        &mut self,
        mem: &mut dyn GuestMemory,
        head: u16,
        written: u32,
    ) -> Result<(), Broken> {
        let slot = u64::from(self.next_used % self.size);
        let element = (u64::from(written) << 32) | u64::from(head);
        mem.write(place(self.used, 4 + 8 * slot)?, &element.to_le_bytes())?;
        self.next_used = self.next_used.wrapping_add(1);
        mem.write(place(self.used, 2)?, &self.next_used.to_le_bytes())?;
        Ok(())
    }

    /// Asks to be notified of the next request; for a queue that was found empty.
    ///
    /// # Errors
    /// [`Broken::Address`] if the used ring is not in memory.
    pub fn ask_for_notification(
        &self,
        mem: &mut dyn GuestMemory,
        features: u64,
    ) -> Result<(), Broken> {
        // Without the feature the used ring's flags stay zero, which asks for all of them.
        if features & F_EVENT_IDX != 0 && self.ready {
            let avail_event = place(self.used, 4 + 8 * u64::from(self.size))?;
            mem.write(avail_event, &self.next_avail.to_le_bytes())?;
        }
        Ok(())
    }

    /// Whether the driver wants an interrupt for the requests answered since the used index was
    /// `before`, section "Used Buffer Notification Suppression".
    ///
    /// # Errors
    /// [`Broken::Address`] if the available ring is not in memory.
    pub fn interrupts_since(
        &self,
        mem: &dyn GuestMemory,
        features: u64,
        before: u16,
    ) -> Result<bool, Broken> {
        let answered = self.next_used.wrapping_sub(before);
        if answered == 0 {
            return Ok(false);
        }
        if features & F_EVENT_IDX == 0 {
            return Ok(read_u16(mem, self.avail, 0)? & NO_INTERRUPT == 0);
        }
        let event = read_u16(mem, self.avail, 4 + 2 * u64::from(self.size))?;
        Ok(self.next_used.wrapping_sub(event).wrapping_sub(1) < answered)
    }

    /// Follows a chain through the descriptor table and at most one indirect table at its end.
    fn walk(&self, mem: &dyn GuestMemory, head: u16, indirect: bool) -> Result<Chain, Broken> {
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let mut table = Table { addr: self.desc, len: u32::from(self.size), indirect: false };
        let mut index = head;
        let mut total = 0;
        // Each turn but the one that enters the indirect table adds a buffer.
        for _ in 0..=MAX_CHAIN {
            let desc = table.read(mem, index)?;
            if desc.flags & DESC_INDIRECT != 0 {
                if !indirect || table.indirect || desc.flags & DESC_NEXT != 0 {
                    return Err(Broken::Indirect);
                }
                table = Table::indirect(desc.buffer)?;
                index = 0;
                continue;
            }
            total += u64::from(desc.buffer.len);
            // "Drivers MUST NOT add a descriptor chain longer than 2^32 bytes in total".
            if total > u64::from(u32::MAX) {
                return Err(Broken::Length);
            }
            if desc.flags & DESC_WRITE != 0 {
                chain.writable.push(desc.buffer);
            } else if chain.writable.is_empty() {
                chain.readable.push(desc.buffer);
            } else {
                return Err(Broken::Order);
            }
            if desc.flags & DESC_NEXT == 0 {
                return Ok(chain);
            }
            index = desc.next;
        }
        Err(Broken::Chain)
    }
}

impl State for Queue {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.u16(&mut self.size)?;
        let possible = self.size.is_power_of_two() && self.size <= self.max;
        codec.check(possible, "a queue of a size that cannot be chosen")?;
        codec.bool(&mut self.ready)?;
        for addr in [&mut self.desc, &mut self.avail, &mut self.used] {
            codec.u64(addr)?;
        }
        codec.u16(&mut self.next_avail)?;
        codec.u16(&mut self.next_used)
    }
}

struct Descriptor {
    buffer: Buffer,
    flags: u16,
    next: u16,
}

/// A descriptor table: the queue's own or an indirect one.
struct Table {
    addr: u64,
    len: u32,
    indirect: bool,
}

impl Table {
    fn indirect(buffer: Buffer) -> Result<Table, Broken> {
        let bytes = u64::from(buffer.len);
        if bytes == 0 || !bytes.is_multiple_of(DESC_BYTES) {
            return Err(Broken::Indirect);
        }
        Ok(Table { addr: buffer.addr, len: buffer.len / 16, indirect: true })
    }

    fn read(&self, mem: &dyn GuestMemory, index: u16) -> Result<Descriptor, Broken> {
        if u32::from(index) >= self.len {
            return Err(Broken::DescriptorIndex);
        }
        let mut raw = [0; 16];
        mem.read(place(self.addr, DESC_BYTES * u64::from(index))?, &mut raw)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = raw;
        Ok(Descriptor {
            buffer: Buffer {
                addr: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
                len: u32::from_le_bytes([l0, l1, l2, l3]),
            },
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

fn place(base: u64, offset: u64) -> Result<u64, Broken> {
    base.checked_add(offset).ok_or(Broken::Address(base))
}

fn read_u16(mem: &dyn GuestMemory, base: u64, offset: u64) -> Result<u16, Broken> {
    let mut raw = [0; 2];
    mem.read(place(base, offset)?, &mut raw)?;
    Ok(u16::from_le_bytes(raw))
}
