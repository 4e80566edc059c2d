//! What a VM can see of itself: the same wherever its memory is, and whoever its neighbours are.

use dv::Dv;
use isa::fields::{HGATP, MIP, SSTATUS};
use isa::{Csr, Ext};

use crate::hu::Hu;
use crate::switch::SWITCHED;

/// What tells where a VM is, or what happened in HS: not for the VM to know.
const NOT_SEEN: [Csr; 3] = [Csr::HSTATUS, Csr::H_VMID, Csr::SEPC];

impl Hu {
    /// Feeds what this VM and its VM plane can see to a hash: registers and CSRs of all vCPUs,
    /// their steps, guest time, and the guest's RAM.
    ///
    /// Left out is where the windows are, and so the pool, whose tables name physical addresses;
    /// the VM's id; and which harts it has.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        for vcpu in 0..self.n_vcpus() {
            self.digest_vcpu(vcpu, sink);
        }
        let mut feed = |word: u64| sink(&word.to_le_bytes());
        feed(self.now_ns());
        feed(self.driver_calls());
        feed(u64::from(self.reason().is_some()));
        self.windows().iter().for_each(|window| feed(window.size));
        let Some(ram) = self.windows().first() else { return };
        let memory = self.driver().machine().platform().memory();
        for hpa in (ram.hpa..ram.hpa + ram.size).step_by(machine::PAGE) {
            // Windows are RAM.
            let page = memory.slice(hpa, machine::PAGE).unwrap_or(&[]);
            if page != [0; machine::PAGE] {
                sink(&(hpa - ram.hpa).to_le_bytes());
                sink(page);
            }
        }
    }

    fn digest_vcpu(&self, vcpu: usize, sink: &mut dyn FnMut(&[u8])) {
        let mut feed = |word: u64| sink(&word.to_le_bytes());
        for reg in 0..32 {
            feed(self.x(vcpu, reg));
            feed(self.f(vcpu, reg));
        }
        feed(self.pc(vcpu));
        feed(self.mode(vcpu) as u64);
        feed(self.vcpu_steps(vcpu));
        feed(u64::from(self.is_parked(vcpu)));
        let Some(hart) = self.driver().hart_of(self.id(), vcpu) else { return };
        let hart = &self.driver().machine().harts()[hart];
        feed(hart.mode() as u64);
        feed(u64::from(hart.is_waiting()));
        let csr = |csr| hart.csr(csr).unwrap_or(0);
        for kept in SWITCHED.into_iter().filter(|kept| !NOT_SEEN.contains(kept)) {
            feed(match kept {
                Csr::HUGATP => HGATP::MODE.get(csr(kept)),
                Csr::SSTATUS => SSTATUS::FS.get(csr(kept)),
                // Without what follows from the timers and the time.
                Csr::HUIP => csr(kept) & (MIP::USIP.mask() | MIP::UEIP.mask()),
                _ => csr(kept),
            });
        }
        if hart.isa().has(Ext::Zicntr) {
            feed(csr(Csr::CYCLE));
            feed(csr(Csr::INSTRET));
        }
    }
}
