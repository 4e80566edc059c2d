//! "RFENCE Extension": fences on other vCPUs.
//!
//! No exit is made on the targets: hardware keeps translations and fetched code coherent (they
//! always equal a fresh walk), so what is left of a remote fence is to say that it was asked for.

use dv::{Denied, Dv};

use super::{Call, SbiError};
use crate::vm::Vm;

const FENCE_I: u64 = 0;
const SFENCE_VMA: u64 = 1;
const SFENCE_VMA_ASID: u64 = 2;

impl<D: Dv> Vm<D> {
    /// The four functions from 3 on are for hypervisors, and the guest's hart has no H extension.
    pub(super) fn sbi_rfence(&mut self, fid: u64, args: [u64; 5]) -> Result<Call, Denied> {
        if fid > SFENCE_VMA_ASID {
            return Ok(Call::Return(Err(SbiError::NotSupported)));
        }
        let harts = match self.harts(args[0], args[1]) {
            Ok(harts) => harts,
            Err(error) => return Ok(Call::Return(Err(error))),
        };
        // A range that wraps names no addresses: "start_addr or size is not valid". All ones, and
        // zero for both, mean everything.
        let (start, size) = (args[2], args[3]);
        let ranged = fid == SFENCE_VMA || fid == SFENCE_VMA_ASID;
        if ranged && size != u64::MAX && start.checked_add(size.saturating_sub(1)).is_none() {
            return Ok(Call::Return(Err(SbiError::InvalidAddress)));
        }
        if fid != FENCE_I {
            for vcpu in (0..self.vcpus.len()).filter(|vcpu| harts >> vcpu & 1 == 1) {
                self.dv.hufence_vvma(vcpu);
            }
        }
        Ok(Call::Return(Ok(0)))
    }
}
