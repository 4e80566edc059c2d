//! Instructions of software that is no guest of the engine: the VM plane in HU, the driver in HS.
//!
//! Both are programs of the host, so the engine does not run them. Each function here stands for an
//! instruction of theirs on this hart: it makes the checks of that mode and comes down to the
//! function that the engine's handler of the instruction calls. No step is counted and no trap is
//! taken: the trap is the result, and the caller plays the kernel that would get it.

use std::ops::Range;

use isa::{Check, Csr, Interrupt};

use crate::bus::{Bus, Writer};
use crate::checks::on;
use crate::hart::{Hart, Trap};
use crate::tlb::PAGE;
use crate::walk::Access;

/// A guest load or store of HU did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The guest could not have made this access: `hustatus.GLF` is set.
    GuestFault,
    /// The instruction traps, and not because of the address.
    Trap(Trap),
}

impl From<Trap> for Refused {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

impl Hart {
    /// HU code can only run here while the hart is in HU.
    fn must_be_hu(&self) -> Result<(), Trap> {
        if !on(Check::HuNotInGuest) {
            return Ok(());
        }
        if self.virt {
            return Err(Trap::virtual_instruction());
        }
        if self.prv == 0 && self.delegated() { Ok(()) } else { Err(Trap::illegal()) }
    }

    /// `HURET`.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hu_ret(&mut self) -> Result<(), Trap> {
        self.huret()
    }

    /// `csrr` in HU.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    #[inline]
    pub fn hu_csr_read(&self, csr: Csr) -> Result<u64, Trap> {
        self.must_be_hu()?;
        self.check_csr(csr, true, false)?;
        Ok(self.read_csr(csr))
    }

    /// `csrw` in HU.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    #[inline]
    pub fn hu_csr_write<B: Bus>(&mut self, bus: &mut B, csr: Csr, value: u64) -> Result<(), Trap> {
        self.must_be_hu()?;
        self.check_csr(csr, false, true)?;
        self.write_csr(bus, csr, value)
    }

    /// `csrw hu_vitr` by another thread of the VM plane, while this hart may be in the guest: what
    /// is posted depends on the VM alone, and not on the hart that posts.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hu_post<B: Bus>(&mut self, bus: &mut B, value: u64) -> Result<(), Trap> {
        if !self.delegated() {
            return Err(Trap::illegal());
        }
        let was = (self.prv, self.virt);
        (self.prv, self.virt) = (0, false);
        let checked = self.check_csr(Csr::HU_VITR, false, true);
        let done = checked.and_then(|()| self.write_csr(bus, Csr::HU_VITR, value));
        (self.prv, self.virt) = was;
        done
    }

    /// `HUFENCE.GVMA` and `HUFENCE.VVMA`: they check who may, and then have nothing to do.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hu_fence(&mut self) -> Result<(), Trap> {
        self.must_be_hu()
    }

    /// `HLV`, as many as it takes.
    ///
    /// # Errors
    /// [`Refused`]; `buf` is then zero.
    pub fn hu_load<B: Bus>(
        &mut self,
        bus: &mut B,
        gva: u64,
        buf: &mut [u8],
    ) -> Result<(), Refused> {
        self.guest_read(bus, gva, buf, false)
    }

    /// `HLVX.HU`: 16 bits that the guest may execute.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn hu_fetch<B: Bus>(&mut self, bus: &mut B, gva: u64) -> Result<u16, Refused> {
        let mut half = [0; 2];
        self.guest_read(bus, gva, &mut half, true)?;
        Ok(u16::from_le_bytes(half))
    }

    /// `HSV`, as many as it takes, after a look whether all of them can be done.
    ///
    /// # Errors
    /// [`Refused`]; nothing is then stored.
    pub fn hu_store<B: Bus>(&mut self, bus: &mut B, gva: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.must_be_hu()?;
        self.catch_up(bus);
        let done = self.each_page(bus, gva, bytes.len(), Access::Store, false, |_, _, _| {});
        let done = done.and_then(|()| self.store_pages(bus, gva, bytes));
        self.sign(bus);
        done
    }

    fn store_pages<B: Bus>(&mut self, bus: &mut B, gva: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.each_page(bus, gva, bytes.len(), Access::Store, false, |bus, mut to, part| {
            let words = bytes[part].chunks_exact(8);
            let tail = words.remainder();
            for word in words {
                let mut value = [0; 8];
                value.copy_from_slice(word);
                bus.store(to, value, Writer::Hart);
                to += 8;
            }
            for byte in tail {
                bus.store(to, [*byte], Writer::Hart);
                to += 1;
            }
        })
    }

    fn guest_read<B: Bus>(
        &mut self,
        bus: &mut B,
        gva: u64,
        buf: &mut [u8],
        hlvx: bool,
    ) -> Result<(), Refused> {
        self.must_be_hu()?;
        self.catch_up(bus);
        let done =
            self.each_page(bus, gva, buf.len(), Access::Load, hlvx, |bus, mut from, part| {
                let mut words = buf[part].chunks_exact_mut(8);
                for word in &mut words {
                    word.copy_from_slice(&bus.load::<8>(from));
                    from += 8;
                }
                for byte in words.into_remainder() {
                    [*byte] = bus.load(from);
                    from += 1;
                }
            });
        self.sign(bus);
        if done.is_err() {
            buf.fill(0);
        }
        done
    }

    /// What was written since [`Hart::catch_up`] was in the name of this hart, and in no step.
    fn sign<B: Bus>(&self, bus: &mut B) {
        if bus.n_changes() != self.seen_changes {
            bus.written_by(self.id, None, self.pc);
        }
    }

    /// Translates `len` bytes from `gva` on with the guest's rights, and hands each page's part to
    /// `f` with its offset in RAM; up to the first part that faults.
    fn each_page<B: Bus>(
        &mut self,
        bus: &mut B,
        gva: u64,
        len: usize,
        access: Access,
        hlvx: bool,
        mut f: impl FnMut(&mut B, usize, Range<usize>),
    ) -> Result<(), Refused> {
        let rights = self.guest_rights(hlvx);
        let mut done = 0;
        while done < len {
            let va = gva.wrapping_add(done as u64);
            let in_page = usize::try_from(PAGE - va % PAGE).unwrap_or(usize::MAX);
            let n = in_page.min(len - done);
            // Where there is no RAM there is nothing for a guest of HU: it has no devices.
            let no_ram = Trap::memory(access.access_fault(), va, true);
            match self.locate(bus, va, n as u64, access, rights).and_then(|at| at.ok_or(no_ram)) {
                Ok(offset) => f(bus, offset, done..done + n),
                Err(trap) => {
                    self.guest_fault(trap)?;
                    return Err(Refused::GuestFault);
                }
            }
            done += n;
        }
        Ok(())
    }

    /// The kernel takes the thread off this hart: a guest is left as by a kick, before its next
    /// instruction, in no step. `false` if the hart is not in HU afterwards.
    pub fn hu_leave(&mut self) -> bool {
        if self.virt {
            let not_retired = self.not_retired;
            self.take_trap(Trap::plain(Interrupt::UserSoftware));
            self.not_retired = not_retired;
        }
        self.must_be_hu().is_ok()
    }

    /// `csrr` in HS.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hs_csr_read<B: Bus>(&mut self, bus: &mut B, csr: Csr) -> Result<u64, Trap> {
        self.in_hs(|hart| hart.csr_access(bus, csr, true, None::<fn(u64) -> u64>))
    }

    /// `csrw` in HS.
    ///
    /// # Errors
    /// The trap that the instruction takes.
    pub fn hs_csr_write<B: Bus>(&mut self, bus: &mut B, csr: Csr, value: u64) -> Result<(), Trap> {
        self.in_hs(|hart| hart.csr_access(bus, csr, false, Some(|_| value))).map(|_| ())
    }

    fn in_hs<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let was = (self.prv, self.virt);
        (self.prv, self.virt) = (1, false);
        let done = f(self);
        (self.prv, self.virt) = was;
        self.moved = true;
        done
    }
}
