//! The buffers of one request, and a cursor that reads and writes across them.

use super::Broken;
use crate::virtio::GuestMemory;

/// One buffer in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Guest physical address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
}

/// The buffers of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub(super) head: u16,
    pub(super) readable: Vec<Buffer>,
    pub(super) writable: Vec<Buffer>,
}

impl Chain {
    /// The number of the first descriptor.
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }

    /// The part that the device reads.
    #[must_use]
    pub fn readable(&self) -> Cursor<'_> {
        Cursor::new(&self.readable)
    }

    /// The part that the device writes.
    #[must_use]
    pub fn writable(&self) -> Cursor<'_> {
        Cursor::new(&self.writable)
    }

    /// Bytes of both parts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.readable().remaining() + self.writable().remaining()
    }
}

/// A place in a list of buffers that reads and writes advance.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    buffers: &'a [Buffer],
    /// Bytes of the first buffer that are behind us.
    offset: u32,
    remaining: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(buffers: &'a [Buffer]) -> Cursor<'a> {
        let remaining = buffers.iter().map(|buffer| u64::from(buffer.len)).sum();
        Cursor { buffers, offset: 0, remaining }
    }

    /// Bytes ahead.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Reads into `buf` until it is full or the buffers end, and says how many bytes that were.
    ///
    /// # Errors
    /// [`Broken::Address`] if a buffer is not in memory.
    pub fn read(&mut self, mem: &dyn GuestMemory, buf: &mut [u8]) -> Result<usize, Broken> {
        let mut done = 0;
        while let Some((addr, len)) = self.piece(buf.len() - done)? {
            mem.read(addr, &mut buf[done..done + len])?;
            done += len;
        }
        Ok(done)
    }

    /// Writes `bytes` until they or the buffers end, and says how many bytes that were.
    ///
    /// # Errors
    /// [`Broken::Address`] if a buffer is not in memory.
    pub fn write(&mut self, mem: &mut dyn GuestMemory, bytes: &[u8]) -> Result<usize, Broken> {
        let mut done = 0;
        while let Some((addr, len)) = self.piece(bytes.len() - done)? {
            mem.write(addr, &bytes[done..done + len])?;
            done += len;
        }
        Ok(done)
    }

    /// Leaves out the next `bytes`.
    pub fn skip(&mut self, bytes: u64) {
        let mut left = bytes;
        while left != 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX);
            let Some((_, len)) = self.advance(want) else { return };
            left -= len as u64;
        }
    }

    /// Passes at most `want` bytes of one buffer: their address and number.
    fn piece(&mut self, want: usize) -> Result<Option<(u64, usize)>, Broken> {
        let before = self.offset_after_empty();
        let Some((buffer, len)) = self.advance(want) else { return Ok(None) };
        let addr = buffer.addr.checked_add(before).ok_or(Broken::Address(buffer.addr))?;
        Ok(Some((addr, len)))
    }

    /// Drops finished buffers; the offset into the first one that is left.
    fn offset_after_empty(&mut self) -> u64 {
        while let Some((first, rest)) = self.buffers.split_first() {
            if self.offset < first.len {
                break;
            }
            self.buffers = rest;
            self.offset = 0;
        }
        u64::from(self.offset)
    }

    fn advance(&mut self, want: usize) -> Option<(Buffer, usize)> {
        self.offset_after_empty();
        let first = *self.buffers.first()?;
        let len = u32::try_from(want).unwrap_or(u32::MAX).min(first.len - self.offset);
        self.offset += len;
        self.remaining -= u64::from(len);
        (len != 0).then_some((first, usize::try_from(len).ok()?))
    }
}
