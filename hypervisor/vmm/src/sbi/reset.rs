//! "System Reset Extension": power off, or start anew.

use super::{Call, SbiError};
use crate::exits::End;

const SYSTEM_RESET: u64 = 0;

const SHUTDOWN: u64 = 0;
const COLD_REBOOT: u64 = 1;
const WARM_REBOOT: u64 = 2;
const NO_REASON: u64 = 0;
const SYSTEM_FAILURE: u64 = 1;

/// Both parameters are `uint32_t`: the upper half of a register says nothing.
const WORD: u64 = 0xffff_ffff;

/// What a shutdown for a failure reports: the specification has no code to pass on.
const FAILURE_CODE: u64 = 1;

/// Answers a call. A warm reboot is a cold one: nothing here survives one and not the other.
pub(super) fn call(fid: u64, kind: u64, reason: u64) -> Call {
    if fid != SYSTEM_RESET {
        return Call::Return(Err(SbiError::NotSupported));
    }
    match (kind & WORD, reason & WORD) {
        (SHUTDOWN, NO_REASON) => Call::End(End::PowerOff),
        (SHUTDOWN, SYSTEM_FAILURE) => Call::End(End::Failed(FAILURE_CODE)),
        (COLD_REBOOT | WARM_REBOOT, NO_REASON | SYSTEM_FAILURE) => Call::End(End::Reset),
        _ => Call::Return(Err(SbiError::InvalidParam)),
    }
}
