//! A part of a file, mapped and shared: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "a mapping is memory that the compiler does not know")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;
use rustix::mm::{MapFlags, ProtFlags};

use crate::tail::Medium;

/// Memory that outlives the process, if it is that of a file.
#[derive(Debug)]
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone; no thread-local state is involved.
unsafe impl Send for Map {}

impl Map {
    /// Of a part of the file that was reserved and begins at a page.
    fn new(file: &File, at: u64, len: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; it overlaps nothing.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, file, at)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, len })
    }

    /// Of no file: memory that ends with the process.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `new`; what is mapped is memory of nobody else.
        let start = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, len })
    }

    fn check(&self, at: usize, len: usize) {
        let end = at.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "{at}+{len} of {}", self.len);
    }

    #[inline]
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        // SAFETY: `check` holds the range inside the mapping, which is writable and does not
        // overlap `bytes`: no reference to mapped memory ever leaves this type. Other processes
        // may look at it, but nobody writes to it.
        unsafe {
            let to = self.start.as_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// Stores a word after everything that was written before.
    #[inline]
    pub(crate) fn store(&mut self, at: usize, word: u64) {
        self.check(at, 8);
        assert!(at.is_multiple_of(8), "a word at {at}");
        // SAFETY: `check` holds the word inside the mapping, which begins at a page, so that the
        // word is aligned; it is only accessed as an atomic while this reference lives.
        let place = unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) };
        place.store(word.to_le(), Ordering::Release);
    }

    /// Copies a part into a buffer, which is then as long as the part.
    pub(crate) fn read(&self, at: usize, len: usize, bytes: &mut Vec<u8>) {
        self.check(at, len);
        bytes.clear();
        bytes.resize(len, 0);
        // SAFETY: as in `write`, in the other direction.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start.as_ptr().add(at), bytes.as_mut_ptr(), len);
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; no reference to it is left.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Zeros where the file system cannot reserve space.
fn zeros(file: &File, at: u64, len: usize) -> io::Result<()> {
    file.write_all_at(&vec![0; len], at)
}

impl Medium for File {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn map(&mut self, at: u64, len: usize) -> io::Result<Map> {
        let flags = FallocateFlags::empty();
        let reserved =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&*self, flags, at, len as u64));
        match reserved {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => zeros(self, at, len)?,
            other => other?,
        }
        Map::new(self, at, len)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
