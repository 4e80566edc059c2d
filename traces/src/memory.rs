//! A recording that is in no file: written and read in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::map::Map;
use crate::tail::Medium;

/// The bytes of a recording that is written in memory. The tail is none of them: there is nothing
/// that could outlive the process.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<u8>);

impl Medium for Memory {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).or(Err(io::ErrorKind::OutOfMemory))?;
        let end = at.checked_add(bytes.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        if end > self.0.len() {
            self.0.try_reserve(end - self.0.len()).or(Err(io::ErrorKind::OutOfMemory))?;
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn map(&mut self, _at: u64, len: usize) -> io::Result<Map> {
        Map::private(len)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Where a recording is read from.
#[derive(Debug)]
pub(crate) enum Source {
    File(File),
    Memory(Arc<[u8]>),
}

impl Source {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(bytes, at),
            Self::Memory(all) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let there = all.get(at..).and_then(|rest| rest.get(..bytes.len()));
                bytes.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}
