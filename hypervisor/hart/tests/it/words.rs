//! RAM of the test bus by physical address.

use hart::{Bus, Writer};

use crate::ram::{BASE, Ram};

impl Ram {
    /// The offset of `len` bytes at `hpa`, if they are RAM.
    pub(crate) fn offset(&self, hpa: u64, len: u64) -> Option<usize> {
        let offset = hpa.checked_sub(BASE)?;
        let end = offset.checked_add(len)?;
        (end <= self.ram_size()).then(|| usize::try_from(offset).unwrap_or(0))
    }

    /// A write by the VM plane.
    pub(crate) fn set_word(&mut self, hpa: u64, value: u64) {
        if let Some(offset) = self.offset(hpa, 8) {
            self.store(offset, value.to_le_bytes(), Writer::VmPlane);
        }
    }
}
