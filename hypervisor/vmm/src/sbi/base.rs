//! "Base Extension": which SBI this is.

use super::{SbiError, Value, eid};

/// Major version in bits 30:24, minor below.
const SPEC_VERSION: u64 = 2 << 24;
/// Ours ("DUV"); the registered ids are small numbers. Linux prints it and goes on.
const IMPL_ID: u64 = 0x0044_5556;
/// Version of this implementation, as the others write it.
const IMPL_VERSION: u64 = 1;

/// Answers a call. The three machine ids are zero: "not implemented", as on the hart.
pub(super) fn call(fid: u64, arg: u64) -> Value {
    match fid {
        0 => Ok(SPEC_VERSION),
        1 => Ok(IMPL_ID),
        2 => Ok(IMPL_VERSION),
        3 => Ok(u64::from(eid::ALL.contains(&arg))),
        4..=6 => Ok(0),
        _ => Err(SbiError::NotSupported),
    }
}
