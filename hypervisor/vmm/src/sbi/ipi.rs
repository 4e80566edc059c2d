//! "IPI Extension": a software interrupt for other vCPUs.

use dv::{Denied, Dv, Virq};

use super::{Call, SbiError, hsm::Hsm};
use crate::vm::Vm;

const SEND_IPI: u64 = 0;

impl<D: Dv> Vm<D> {
    pub(super) fn sbi_ipi(&mut self, fid: u64, mask: u64, base: u64) -> Result<Call, Denied> {
        if fid != SEND_IPI {
            return Ok(Call::Return(Err(SbiError::NotSupported)));
        }
        let harts = match self.harts(mask, base) {
            Ok(harts) => harts,
            Err(error) => return Ok(Call::Return(Err(error))),
        };
        for vcpu in 0..self.vcpus.len() {
            // A stopped vCPU would begin its life with an interrupt that nobody meant.
            if harts >> vcpu & 1 == 1 && self.vcpus[vcpu].hsm == Hsm::Started {
                self.dv.post(vcpu, Virq::Software, true)?;
            }
        }
        Ok(Call::Return(Ok(0)))
    }
}
