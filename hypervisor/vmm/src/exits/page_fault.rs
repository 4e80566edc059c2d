//! Guest-page faults: RAM is mapped, devices answer, and where nothing is the guest hears of it.

use devices::finisher::Finish;
use dv::{Denied, Dv};
use isa::fields::SSTATUS;
use isa::{Csr, Exception};
use session::{Access, ExitCause, Outcome, Region};

use crate::config::Leaf;
use crate::exits::{Done, End, Next, Taken};
use crate::gstage::{MapError, Rights};
use crate::layout;
use crate::mmio::{self, Hint, Register, Transfer};
use crate::vm::Vm;

/// `sstatus.FS`: registers differ from what is saved.
const FS_DIRTY: u64 = 3;

/// A fault, as the HU CSRs tell it.
#[derive(Clone, Copy)]
struct Fault {
    access: Access,
    gva: u64,
    gpa: u64,
    /// What the guest gets if there is nothing at `gpa`.
    denied: Exception,
}

impl<D: Dv> Vm<D> {
    /// Causes 20, 21 and 23.
    pub(super) fn guest_page_fault(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        exception: Exception,
    ) -> Result<Done, Denied> {
        let (access, denied) = if exception == Exception::InstructionGuestPageFault {
            (Access::Fetch, Exception::InstructionAccessFault)
        } else if exception == Exception::LoadGuestPageFault {
            (Access::Load, Exception::LoadAccessFault)
        } else {
            (Access::Store, Exception::StoreAccessFault)
        };
        let gva = self.dv.csr(vcpu, Csr::UTVAL)?;
        let hint = mmio::hint(self.dv.csr(vcpu, Csr::HUTINST)?);
        // The two low bits are those of the virtual address, but an entry of a page table, which
        // is what an implicit access is after, has none.
        let low = if hint == Hint::Walk { 0 } else { gva & 3 };
        let gpa = self.dv.csr(vcpu, Csr::HUTVAL)? << 2 | low;
        let fault = Fault { access, gva, gpa, denied };
        if self.ram.contains(gpa) {
            self.ram_fault(vcpu, taken, &fault)
        } else if hint == Hint::Walk || access == Access::Fetch {
            self.access_fault(vcpu, taken, &fault)
        } else {
            self.mmio(vcpu, taken, &fault, hint)
        }
    }

    /// The guest touched RAM that is not mapped yet.
    fn ram_fault(&mut self, vcpu: usize, taken: &Taken, fault: &Fault) -> Result<Done, Denied> {
        let cause =
            ExitCause::GuestPageFault { access: fault.access, gva: fault.gva, gpa: fault.gpa };
        if let Some(mapped) = self.gstage.lookup(&self.dv, fault.gpa)? {
            let allowed = match fault.access {
                Access::Fetch => mapped.rights.execute(),
                Access::Load => mapped.rights.read(),
                Access::Store => mapped.rights.write(),
            };
            if allowed {
                // Another vCPU was here first: trying again succeeds.
                return Ok(Done::enter(cause, Outcome::Handled));
            }
            return self.give_back(vcpu, taken, fault.denied, fault.gva, cause);
        }
        let outcome = self.map_ram(fault.gpa)?;
        Ok(Done::enter(cause, outcome))
    }

    /// Maps the largest leaf that is allowed, fits, and lies in RAM.
    fn map_ram(&mut self, gpa: u64) -> Result<Outcome, Denied> {
        for leaf in [Leaf::Giga, Leaf::Mega, Leaf::Page] {
            let size = leaf.bytes();
            let base = gpa & !(size - 1);
            let hpa = self.ram.hpa_of(base);
            if leaf > self.leaf || !self.ram.holds(base, size) || !hpa.is_multiple_of(size) {
                continue;
            }
            match self.gstage.map(&mut self.dv, base, hpa, leaf, Rights::ALL) {
                Ok(()) => {
                    self.ram.touch(base, size);
                    return Ok(Outcome::Mapped { gpa: base, hpa, size });
                }
                // A smaller leaf is in the way: so will this one be.
                Err(MapError::Mapped | MapError::Address) => {}
                Err(MapError::Denied) => return Err(Denied),
            }
        }
        // Only if guest-physical addresses of RAM are beyond what the table can name, which the
        // assembly of the VM rules out.
        Err(Denied)
    }

    /// There is no memory: the guest gets the access fault that a bare machine would give it.
    fn access_fault(&mut self, vcpu: usize, taken: &Taken, fault: &Fault) -> Result<Done, Denied> {
        let (region, offset) = layout::find(fault.gpa);
        let cause = ExitCause::Mmio {
            region: if self.bus.has(region) { region } else { Region::Hole },
            access: fault.access,
            gpa: fault.gpa,
            offset,
            width: 0,
            value: 0,
        };
        self.give_back(vcpu, taken, fault.denied, fault.gva, cause)
    }

    /// A load or store that may be for a device. Atomics and misaligned accesses are not.
    fn mmio(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        fault: &Fault,
        hint: Hint,
    ) -> Result<Done, Denied> {
        let transfer = match hint {
            Hint::Insn(word) => mmio::from_hint(word),
            Hint::None | Hint::Walk => match self.fetch(vcpu, taken.pc) {
                Some(word) => mmio::from_fetched(word),
                // The page went away under the guest: trying again shows what it is now.
                None => {
                    let (access, gva, gpa) = (fault.access, fault.gva, fault.gpa);
                    let cause = ExitCause::GuestPageFault { access, gva, gpa };
                    return Ok(Done::enter(cause, Outcome::Handled));
                }
            },
        };
        let (region, offset) = layout::find(fault.gpa);
        match transfer {
            Some(transfer)
                if transfer.store == (fault.access == Access::Store)
                    && fault.gpa.is_multiple_of(transfer.width.bytes())
                    && self.bus.has(region) =>
            {
                self.access_device(vcpu, taken, fault.gpa, &transfer, region, offset)
            }
            _ => self.access_fault(vcpu, taken, fault),
        }
    }

    /// The device answers, the guest goes on behind the instruction.
    fn access_device(
        &mut self,
        vcpu: usize,
        taken: &Taken,
        gpa: u64,
        transfer: &Transfer,
        region: Region,
        offset: u64,
    ) -> Result<Done, Denied> {
        let now = self.dv.now_ns();
        let width = transfer.width;
        let (value, answered) = if transfer.store {
            let value = mmio::stored(width, self.register(vcpu, transfer.register));
            (value, self.bus.store(region, offset, width, value, now).is_ok())
        } else {
            let value = self.bus.load(region, offset, width, now);
            self.set_register(vcpu, transfer.register, mmio::loaded(transfer, value.unwrap_or(0)))?;
            (value.unwrap_or(0), value.is_ok())
        };
        self.dv.set_csr(vcpu, Csr::UEPC, taken.pc.wrapping_add(transfer.len))?;
        self.bus.settle(&mut self.dv, &mut self.ram, now)?;
        let cause = ExitCause::Mmio {
            region,
            access: if transfer.store { Access::Store } else { Access::Load },
            gpa,
            offset,
            width: 1 << (width as u8),
            value,
        };
        let outcome = if answered { Outcome::Handled } else { Outcome::Refused };
        Ok(self.finished(region).map_or(Done::enter(cause, outcome), |end| Done {
            cause,
            outcome: Outcome::Stopped,
            next: Next::End(end),
        }))
    }

    /// What the guest asked of the finisher, if that was the device.
    fn finished(&mut self, region: Region) -> Option<End> {
        if region != Region::Finisher {
            return None;
        }
        Some(match self.bus.finish()? {
            Finish::Pass => End::PowerOff,
            Finish::Fail(code) => End::Failed(u64::from(code)),
            Finish::Reset => End::Reset,
        })
    }

    fn register(&self, vcpu: usize, register: Register) -> u64 {
        match register {
            Register::X(x) => self.dv.x(vcpu, x),
            Register::F(f) => self.dv.f(vcpu, f),
        }
    }

    fn set_register(&mut self, vcpu: usize, register: Register, value: u64) -> Result<(), Denied> {
        match register {
            Register::X(x) => {
                self.dv.set_x(vcpu, x, value);
                Ok(())
            }
            Register::F(f) => {
                self.dv.set_f(vcpu, f, value);
                // The guest's floating-point registers are no longer what it saved.
                let status = self.dv.csr(vcpu, Csr::HUVSSTATUS)?;
                self.dv.set_csr(vcpu, Csr::HUVSSTATUS, SSTATUS::FS.set(status, FS_DIRTY))
            }
        }
    }
}
