//! "Debug Console Extension": bytes through guest memory, without a device.

use dv::Dv;

use super::{SbiError, Value};
use crate::vm::Vm;

const WRITE: u64 = 0;
const READ: u64 = 1;
const WRITE_BYTE: u64 = 2;

/// Most bytes of one call; "less than or equal to num_bytes" are written or read.
const MAX_BYTES: u64 = 4096;

impl<D: Dv> Vm<D> {
    pub(super) fn sbi_console(&mut self, fid: u64, args: [u64; 3]) -> Value {
        let [len, low, high] = args;
        match fid {
            WRITE => {
                let len = self.console_range(len, low, high)?;
                let mut bytes = vec![0; len];
                self.ram.read(&self.dv, low, &mut bytes).or(Err(SbiError::Failed))?;
                self.bus.write_console(&bytes);
                Ok(len as u64)
            }
            READ => {
                let len = self.console_range(len, low, high)?;
                let bytes = self.bus.read_console(len);
                self.ram.write(&mut self.dv, low, &bytes).or(Err(SbiError::Failed))?;
                Ok(bytes.len() as u64)
            }
            WRITE_BYTE => {
                self.bus.write_console(&[len.to_le_bytes()[0]]);
                Ok(0)
            }
            _ => Err(SbiError::NotSupported),
        }
    }

    /// How many bytes are moved, if all that the guest names are in its RAM.
    fn console_range(&self, len: u64, low: u64, high: u64) -> Result<usize, SbiError> {
        if high != 0 || !self.ram.holds(low, len) {
            return Err(SbiError::InvalidParam);
        }
        usize::try_from(len.min(MAX_BYTES)).or(Err(SbiError::Failed))
    }
}
