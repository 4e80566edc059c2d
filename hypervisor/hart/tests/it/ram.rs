//! A bus for tests: RAM, one page of device registers, and the log of changes.

// Of the crate `hart`: its own tests use this file, too.
use crate::{AccessFault, Bus, Change, Post, Touch, Writer};

pub(crate) const BASE: u64 = 0x8000_0000;
/// Registers that read as their address; the upper half of the page refuses.
pub(crate) const DEVICE: u64 = 0x1000_0000;

const CODE: u8 = 1;
const TABLE: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Ram {
    pub(crate) bytes: Vec<u8>,
    marks: Vec<u8>,
    log: Vec<Change>,
    pub(crate) posts: Vec<Post>,
    /// What was written to the device.
    pub(crate) written: Vec<(u64, u8, u64)>,
}

impl Ram {
    pub(crate) fn new(n_pages: usize) -> Self {
        Self {
            bytes: vec![0; n_pages << 12],
            marks: vec![0; n_pages],
            log: Vec::new(),
            posts: Vec::new(),
            written: Vec::new(),
        }
    }

    fn note(&mut self, offset: usize, len: usize, writer: Writer) {
        let marks = self.marks[offset >> 12];
        if marks & CODE != 0 {
            self.log.push(Change::Code { offset, len });
        }
        if marks & TABLE == 0 || writer == Writer::Walker {
            return;
        }
        let mut entry = offset & !7;
        while entry < offset + len {
            if self.bytes[entry] & 1 != 0 {
                self.log.push(Change::Entry { offset: entry });
            }
            entry += 8;
        }
    }
}

impl Bus for Ram {
    fn ram_base(&self) -> u64 {
        BASE
    }

    fn ram_size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[offset..offset + N]);
        bytes
    }

    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N], writer: Writer) -> bool {
        let before = self.log.len();
        if self.marks[offset >> 12] != 0 {
            self.note(offset, N, writer);
        }
        self.bytes[offset..offset + N].copy_from_slice(&bytes);
        self.log.len() != before
    }

    fn mark_code(&mut self, offset: usize, _len: usize) {
        self.marks[offset >> 12] |= CODE;
    }

    fn mark_table(&mut self, offset: usize) {
        self.marks[offset >> 12] |= TABLE;
    }

    fn read_device(&mut self, touch: Touch) -> Result<u64, AccessFault> {
        if device_answers(touch.hpa) { Ok(touch.hpa) } else { Err(AccessFault) }
    }

    fn write_device(&mut self, touch: Touch, value: u64) -> Result<(), AccessFault> {
        if !device_answers(touch.hpa) {
            return Err(AccessFault);
        }
        self.written.push((touch.hpa, touch.width, value));
        Ok(())
    }

    fn is_device(&self, hpa: u64) -> bool {
        device_answers(hpa)
    }

    fn lines(&self, _hart: usize, _now_ns: u64) -> u64 {
        0
    }

    fn deadline_ns(&self, _hart: usize, _now_ns: u64) -> u64 {
        u64::MAX
    }

    fn n_changes(&self) -> u64 {
        self.log.len() as u64
    }

    fn changes(&self, from: u64) -> Option<&[Change]> {
        self.log.get(usize::try_from(from).ok()?..)
    }

    fn post(&mut self, post: Post) {
        self.posts.push(post);
    }

    /// VM 1 has vCPUs 1 to 3 and 64.
    fn owns_vcpu(&self, vmid: u16, vcpu: u16) -> bool {
        vmid == 1 && matches!(vcpu, 1..=3 | 64)
    }
}

pub(crate) fn device_answers(hpa: u64) -> bool {
    (DEVICE..DEVICE + 0x800).contains(&hpa)
}
