//! "Hart State Management Extension": vCPUs start, stop and suspend.
//!
//! ```text
//!               hart_start                   hart_suspend
//!   Stopped ───────────────▶ Started ───────────────────────▶ Suspended
//!           ◀───────────────         ◀───────────────────────
//!               hart_stop                    interrupt
//! ```
//! Transitions are done when the call is over, so the four pending states are never seen.

use dv::{Denied, Dv};
use isa::Csr;
use isa::fields::{HUSTATUS, SSTATUS};
use session::{VcpuId, VmState};

use super::{A0, A1, Call, SbiError};
use crate::vm::Vm;

const HART_START: u64 = 0;
const HART_STOP: u64 = 1;
const HART_GET_STATUS: u64 = 2;
const HART_SUSPEND: u64 = 3;

const STATUS_STARTED: u64 = 0;
const STATUS_STOPPED: u64 = 1;
const STATUS_SUSPENDED: u64 = 4;

/// "Default retentive suspend" and "Default non-retentive suspend".
const RETENTIVE: u32 = 0;
const NON_RETENTIVE: u32 = 0x8000_0000;

/// What a vCPU is for the SBI. Suspended is not kept: a vCPU that is parked by this call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hsm {
    Started,
    Stopped,
}

impl<D: Dv> Vm<D> {
    pub(super) fn sbi_hsm(
        &mut self,
        vcpu: usize,
        fid: u64,
        args: [u64; 3],
    ) -> Result<Call, Denied> {
        match fid {
            HART_START => self.hart_start(args[0], args[1], args[2]),
            HART_STOP => {
                self.vcpus[vcpu].hsm = Hsm::Stopped;
                self.news.push(VmState::VcpuStopped(vcpu_id(vcpu)));
                Ok(Call::Halt)
            }
            HART_GET_STATUS => Ok(Call::Return(self.hart_status(args[0]))),
            HART_SUSPEND => self.hart_suspend(vcpu, args[0], args[1], args[2]),
            _ => Ok(Call::Return(Err(SbiError::NotSupported))),
        }
    }

    fn hart(&self, id: u64) -> Result<usize, SbiError> {
        let id = usize::try_from(id).ok();
        id.filter(|id| *id < self.vcpus.len()).ok_or(SbiError::InvalidParam)
    }

    fn hart_start(&mut self, id: u64, start: u64, opaque: u64) -> Result<Call, Denied> {
        let target = match self.hart(id) {
            Ok(target) => target,
            Err(error) => return Ok(Call::Return(Err(error))),
        };
        if self.vcpus[target].hsm == Hsm::Started {
            return Ok(Call::Return(Err(SbiError::AlreadyAvailable)));
        }
        if !self.executable(start) {
            return Ok(Call::Return(Err(SbiError::InvalidAddress)));
        }
        self.start_vcpu(target, start, opaque)?;
        self.news.push(VmState::VcpuStarted(vcpu_id(target)));
        Ok(Call::Return(Ok(0)))
    }

    /// "not a valid physical address" or "not executable in supervisor mode".
    fn executable(&self, start: u64) -> bool {
        start.is_multiple_of(2) && self.ram.contains(start)
    }

    fn hart_status(&self, id: u64) -> Result<u64, SbiError> {
        let target = self.hart(id)?;
        let vcpu = &self.vcpus[target];
        Ok(if vcpu.hsm == Hsm::Stopped {
            STATUS_STOPPED
        } else if vcpu.suspended && self.dv.is_parked(target) {
            STATUS_SUSPENDED
        } else {
            STATUS_STARTED
        })
    }

    fn hart_suspend(
        &mut self,
        vcpu: usize,
        kind: u64,
        resume: u64,
        opaque: u64,
    ) -> Result<Call, Denied> {
        // `suspend_type` is a `uint32_t`: the upper half of the register says nothing.
        let kind = u32::from_le_bytes([
            kind.to_le_bytes()[0],
            kind.to_le_bytes()[1],
            kind.to_le_bytes()[2],
            kind.to_le_bytes()[3],
        ]);
        match kind {
            RETENTIVE => Ok(Call::Suspend),
            NON_RETENTIVE if !self.executable(resume) => {
                Ok(Call::Return(Err(SbiError::InvalidAddress)))
            }
            NON_RETENTIVE => {
                self.resume_state(vcpu, resume, opaque)?;
                Ok(Call::Restart)
            }
            // All others are reserved, or of a platform that this is not.
            _ => Ok(Call::Return(Err(SbiError::InvalidParam))),
        }
    }

    /// "HSM Hart Resume Register State". `sie` stays, for it says what may wake the vCPU, and
    /// since interrupts are off nothing is lost by setting all this before the wait.
    fn resume_state(&mut self, vcpu: usize, resume: u64, opaque: u64) -> Result<(), Denied> {
        let hart_id = u64::from(vcpu_id(vcpu).0);
        self.dv.set_x(vcpu, A0, hart_id);
        self.dv.set_x(vcpu, A1, opaque);
        self.dv.set_csr(vcpu, Csr::HUVSATP, 0)?;
        let status = self.dv.csr(vcpu, Csr::HUVSSTATUS)?;
        self.dv.set_csr(vcpu, Csr::HUVSSTATUS, SSTATUS::SIE.with(status, false))?;
        // The call came from VS-mode, and there it goes on.
        let hustatus = self.dv.csr(vcpu, Csr::HUSTATUS)?;
        self.dv.set_csr(vcpu, Csr::HUSTATUS, HUSTATUS::SPVP.with(hustatus, true))?;
        self.dv.set_csr(vcpu, Csr::UEPC, resume)
    }
}

pub(crate) fn vcpu_id(vcpu: usize) -> VcpuId {
    VcpuId(u16::try_from(vcpu).unwrap_or(u16::MAX))
}
