//! What HU-mode software does, as calls: each is the instruction of the same name, checks included.
//!
//! A VM plane that is not RV64 code, but runs beside the model, acts through these. They fail with
//! the trap that the instruction would take, and count no step.

use isa::Csr;

use crate::bus::Bus;
use crate::hart::{Hart, Trap};

/// A guest load or store faulted, so `hustatus.GLF` is set; or the instruction was not legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The guest could not have made this access.
    GuestFault,
    /// The instruction traps.
    Trap(Trap),
}

impl From<Trap> for Refused {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

/// Calls `$access` for pieces that HLV and HSV can move: aligned, of 8, 4, 2 or 1 bytes.
fn pieces(mut va: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = len - done;
        let size = [8usize, 4, 2, 1]
            .into_iter()
            .find(|size| *size <= left && va.is_multiple_of(*size as u64))?;
        let piece = (va, done..done + size);
        done += size;
        va = va.wrapping_add(size as u64);
        Some(piece)
    })
}

impl Hart {
    /// HURET.
    ///
    /// # Errors
    /// Illegal or virtual instruction outside of HU.
    pub fn hu_ret(&mut self) -> Result<(), Trap> {
        self.huret()
    }

    /// `csrr`.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    #[inline]
    pub fn hu_csr_read(&self, csr: Csr) -> Result<u64, Trap> {
        self.check_csr(csr, true, false)?;
        Ok(self.read_csr(csr))
    }

    /// `csrw`.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    #[inline]
    pub fn hu_csr_write<B: Bus>(&mut self, bus: &mut B, csr: Csr, value: u64) -> Result<(), Trap> {
        self.check_csr(csr, false, true)?;
        self.write_csr(bus, csr, value)
    }

    /// HLV: reads guest-virtual memory.
    ///
    /// # Errors
    /// [`Refused`]; `buf` may then be filled in part.
    pub fn hu_load<B: Bus>(&mut self, bus: &mut B, va: u64, buf: &mut [u8]) -> Result<(), Refused> {
        self.may_access_guest()?;
        let rights = self.guest_rights(false);
        for (va, range) in pieces(va, buf.len()) {
            let target = &mut buf[range];
            let loaded = match target.len() {
                8 => self.load_as::<B, 8>(bus, va, rights).map(|b| target.copy_from_slice(&b.0)),
                4 => self.load_as::<B, 4>(bus, va, rights).map(|b| target.copy_from_slice(&b.0)),
                2 => self.load_as::<B, 2>(bus, va, rights).map(|b| target.copy_from_slice(&b.0)),
                _ => self.load_as::<B, 1>(bus, va, rights).map(|b| target.copy_from_slice(&b.0)),
            };
            self.flagged(loaded)?;
        }
        Ok(())
    }

    /// HLVX.HU: reads 16 bits that the guest may execute.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn hu_fetch<B: Bus>(&mut self, bus: &mut B, va: u64) -> Result<u16, Refused> {
        self.may_access_guest()?;
        let rights = self.guest_rights(true);
        let loaded = self.load_as::<B, 2>(bus, va, rights);
        self.flagged(loaded).map(|(bytes, _)| u16::from_le_bytes(bytes))
    }

    /// HSV: writes guest-virtual memory.
    ///
    /// # Errors
    /// [`Refused`]; a part may then have been written.
    pub fn hu_store<B: Bus>(&mut self, bus: &mut B, va: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.may_access_guest()?;
        let rights = self.guest_rights(false);
        for (va, range) in pieces(va, bytes.len()) {
            let source = &bytes[range];
            let stored = match *source {
                [a, b, c, d, e, f, g, h] => {
                    self.store_as(bus, va, [a, b, c, d, e, f, g, h], rights)
                }
                [a, b, c, d] => self.store_as(bus, va, [a, b, c, d], rights),
                [a, b] => self.store_as(bus, va, [a, b], rights),
                [a] => self.store_as(bus, va, [a], rights),
                _ => Ok(false),
            };
            self.flagged(stored)?;
        }
        Ok(())
    }

    /// In HU a fault of a guest access sets GLF instead of trapping.
    fn flagged<T>(&mut self, result: Result<T, Trap>) -> Result<T, Refused> {
        result.map_err(|trap| match self.guest_fault(trap) {
            Ok(()) => Refused::GuestFault,
            Err(trap) => Refused::Trap(trap),
        })
    }
}
