//! SBI calls: the *RISC-V Supervisor Binary Interface Specification*, version 2.0.
//!
//! Base, TIME, IPI, RFENCE, HSM, SRST and DBCN are there. Absent, and answered with
//! `SBI_ERR_NOT_SUPPORTED`: the legacy extensions (all that they did is in the others), PMU, CPPC,
//! SUSP, NACL and STA.

mod base;
mod console;
pub(crate) mod hsm;
mod ipi;
mod reset;
mod rfence;
#[cfg(test)]
mod tests;
mod time;

use dv::{Denied, Dv};
use isa::Csr;
use session::{ExitCause, Outcome};

use crate::exits::{Done, End, Next, Taken};
use crate::vm::Vm;

/// Integer registers by their role in a call.
pub(crate) const A0: u8 = 10;
const A1: u8 = 11;
const A6: u8 = 16;
const A7: u8 = 17;

/// Extension ids: the name of each in ASCII, but for Base.
mod eid {
    pub(super) const BASE: u64 = 0x10;
    pub(super) const TIME: u64 = 0x5449_4d45;
    pub(super) const IPI: u64 = 0x0073_5049;
    pub(super) const RFENCE: u64 = 0x5246_4e43;
    pub(super) const HSM: u64 = 0x0048_534d;
    pub(super) const SRST: u64 = 0x5352_5354;
    pub(super) const DBCN: u64 = 0x4442_434e;

    pub(super) const ALL: [u64; 7] = [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN];
}

/// "Standard SBI Errors", those that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SbiError {
    Failed = -1,
    NotSupported = -2,
    InvalidParam = -3,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
}

/// A call that returns: its value, or why not.
type Value = Result<u64, SbiError>;

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// It returns.
    Return(Value),
    /// It returns success as soon as an interrupt waits.
    Suspend,
    /// It does not return: the vCPU begins somewhere else as soon as an interrupt waits.
    Restart,
    /// It does not return: the vCPU has stopped.
    Halt,
    /// It does not return: the run ends, or starts anew.
    End(End),
}

impl From<Value> for Call {
    fn from(value: Value) -> Self {
        Self::Return(value)
    }
}

impl<D: Dv> Vm<D> {
    /// Cause 10: `a7` and `a6` say what is called, `a0` and `a1` take the answer.
    pub(crate) fn sbi_call(&mut self, vcpu: usize, taken: &Taken) -> Result<Done, Denied> {
        let arg = |n: u8| self.dv.x(vcpu, A0 + n);
        let args = [arg(0), arg(1), arg(2), arg(3), arg(4)];
        let (eid, fid) = (self.dv.x(vcpu, A7), self.dv.x(vcpu, A6));
        let cause = ExitCause::Sbi { eid, fid, args: [args[0], args[1], args[2]] };
        let call = self.dispatch(vcpu, eid, fid, args)?;
        let (outcome, next) = match call {
            Call::Return(value) => (self.sbi_return(vcpu, taken, value)?, Next::Enter),
            Call::Suspend => {
                let returned = self.sbi_return(vcpu, taken, Ok(0))?;
                self.wait_for_interrupt(vcpu, returned)?
            }
            Call::Restart => self.wait_for_interrupt(vcpu, Outcome::Handled)?,
            Call::Halt => (Outcome::Handled, Next::Halt),
            Call::End(end) => (Outcome::Stopped, Next::End(end)),
        };
        Ok(Done { cause, outcome, next })
    }

    fn dispatch(
        &mut self,
        vcpu: usize,
        eid: u64,
        fid: u64,
        args: [u64; 5],
    ) -> Result<Call, Denied> {
        match eid {
            eid::BASE => Ok(base::call(fid, args[0]).into()),
            eid::TIME => self.sbi_time(vcpu, fid, args[0]),
            eid::IPI => self.sbi_ipi(fid, args[0], args[1]),
            eid::RFENCE => self.sbi_rfence(fid, args),
            eid::HSM => self.sbi_hsm(vcpu, fid, [args[0], args[1], args[2]]),
            eid::SRST => Ok(reset::call(fid, args[0], args[1])),
            eid::DBCN => Ok(self.sbi_console(fid, [args[0], args[1], args[2]]).into()),
            _ => Ok(Call::Return(Err(SbiError::NotSupported))),
        }
    }

    /// Writes the answer and steps over the `ecall`.
    fn sbi_return(&mut self, vcpu: usize, taken: &Taken, value: Value) -> Result<Outcome, Denied> {
        let (error, value) = match value {
            Ok(value) => (0, value),
            Err(error) => (error as i64, 0),
        };
        self.dv.set_x(vcpu, A0, error.cast_unsigned());
        self.dv.set_x(vcpu, A1, value);
        self.dv.set_csr(vcpu, Csr::UEPC, taken.pc.wrapping_add(4))?;
        Ok(Outcome::Returned { error, value })
    }

    /// Waits, unless an interrupt is there already: then the outcome is `otherwise`.
    fn wait_for_interrupt(
        &mut self,
        vcpu: usize,
        otherwise: Outcome,
    ) -> Result<(Outcome, Next), Denied> {
        if self.interrupt_waits(vcpu)? {
            return Ok((otherwise, Next::Enter));
        }
        self.vcpus[vcpu].suspended = true;
        Ok((Outcome::Parked, Next::Park))
    }

    /// The vCPUs of a hart mask: "hart_mask is a scalar bit-vector containing hartids,
    /// hart_mask_base is the starting hartid … −1: hart_mask must be ignored and all available
    /// harts must be considered".
    fn harts(&self, mask: u64, base: u64) -> Result<u64, SbiError> {
        let n = self.vcpus.len();
        let all = (1 << n) - 1;
        if base == u64::MAX {
            return Ok(all);
        }
        if mask == 0 {
            return Ok(0);
        }
        // At most 8 vCPUs exist, so a larger base names one that does not.
        let harts = u32::try_from(base)
            .ok()
            .filter(|base| *base < 64 && mask.leading_zeros() >= *base)
            .map(|base| mask << base);
        harts.filter(|harts| harts & !all == 0).ok_or(SbiError::InvalidParam)
    }
}
