//! An image of the host of which is known what was read, so that a run over it can be repeated.
//!
//! A recording says which content it used: the hash of each block at its first read, and, where
//! the image is written in place, what was in each page before its first write. A replay over the
//! same image puts these pages before it and checks the hashes. The hash function is the owner's.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::disk::{Disk, DiskError, SECTOR, range};
use super::overlay::{PAGE, PAGE_SECTORS, Page, parts, patch};
use crate::Digest;

/// Bytes of a block, which is hashed as a whole.
pub const BLOCK_BYTES: usize = 64 << 10;
const BLOCK_SECTORS: u64 = 128;

/// The hash of a block.
pub type Hash = [u8; 32];

/// What became known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A block was read for the first time.
    Block {
        /// Its number.
        block: u64,
        /// The hash of its content at the begin of the run.
        hash: Hash,
    },
    /// A page was written for the first time.
    Page {
        /// Its number.
        page: u64,
        /// Its content at the begin of the run.
        before: Page,
    },
}

/// Why a repeated run cannot be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The image is not the one that was recorded.
    Changed {
        /// The first block that is known to be another one.
        block: u64,
        /// Its hash when it was recorded.
        recorded: Hash,
        /// Its hash now.
        found: Hash,
    },
    /// The host could not read or write, and the guest was told.
    Host,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |f: &mut std::fmt::Formatter<'_>, hash: &Hash| {
            hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Trouble::Host => f.write_str("the host failed to read or write the disk image"),
            Trouble::Changed { block, recorded, found } => {
                write!(f, "block {block} (64 KiB each) of the disk image has the hash ")?;
                hex(f, found)?;
                f.write_str(", it was recorded with ")?;
                hex(f, recorded)
            }
        }
    }
}

impl std::error::Error for Trouble {}

/// What is known of the image below a disk. It is the host's, no state of a guest.
pub trait Witness {
    /// What became known since the last call, in order.
    fn take_seen(&mut self) -> Vec<Seen>;

    /// The first reason why the run, repeated, would not be, or is not, the same.
    fn trouble(&self) -> Option<Trouble>;
}

/// An image that reads as it was at the begin of the run, whatever was written to it since.
#[derive(Clone, Debug)]
pub struct Recorded<B> {
    // Fixed configuration.
    image: B,
    hash: fn(&[u8]) -> Hash,
    replays: bool,
    // About the host's image; no part of the state.
    /// In a replay the blocks that are still to be checked.
    blocks: BTreeMap<u64, Hash>,
    checked: BTreeSet<u64>,
    before: BTreeMap<u64, Page>,
    seen: Vec<Seen>,
    trouble: Option<Trouble>,
}

impl<B: Disk> Recorded<B> {
    /// An image that is being recorded.
    #[must_use]
    pub fn new(image: B, hash: fn(&[u8]) -> Hash) -> Recorded<B> {
        Recorded {
            image,
            hash,
            replays: false,
            blocks: BTreeMap::new(),
            checked: BTreeSet::new(),
            before: BTreeMap::new(),
            seen: Vec::new(),
            trouble: None,
        }
    }

    /// An image as it was when `seen` was recorded. It is never written.
    ///
    /// Blocks of which nothing was recorded are taken as they are.
    pub fn replay(
        image: B,
        hash: fn(&[u8]) -> Hash,
        seen: impl IntoIterator<Item = Seen>,
    ) -> Recorded<B> {
        let mut recorded = Recorded { replays: true, ..Recorded::new(image, hash) };
        for seen in seen {
            match seen {
                Seen::Block { block, hash } => {
                    recorded.blocks.entry(block).or_insert(hash);
                }
                Seen::Page { page, before } => {
                    recorded.before.entry(page).or_insert(before);
                }
            }
        }
        recorded
    }

    fn read_image(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let read = self.image.read(sector, buf);
        self.noticed(read)?;
        patch(&self.before, sector * SECTOR, buf);
        Ok(())
    }

    /// The host's failures are remembered.
    fn noticed(&mut self, done: Result<(), DiskError>) -> Result<(), DiskError> {
        if done == Err(DiskError::Host) {
            self.trouble.get_or_insert(Trouble::Host);
        }
        done
    }

    /// The first read of a block.
    fn see(&mut self, block: u64) -> Result<(), DiskError> {
        let first = block * BLOCK_SECTORS;
        let there = self.sectors().saturating_sub(first).min(BLOCK_SECTORS);
        let mut bytes = vec![0; usize::try_from(there * SECTOR).or(Err(DiskError::OutOfRange))?];
        self.read_image(first, &mut bytes)?;
        let found = (self.hash)(&bytes);
        self.checked.insert(block);
        match self.blocks.remove(&block) {
            Some(recorded) if recorded != found => {
                self.trouble.get_or_insert(Trouble::Changed { block, recorded, found });
            }
            Some(_) => {}
            // Also in a replay, which may go on to what was never recorded.
            None => self.seen.push(Seen::Block { block, hash: found }),
        }
        Ok(())
    }

    /// The first write to a page.
    fn keep(&mut self, page: u64) -> Result<(), DiskError> {
        let first = page * PAGE_SECTORS;
        let there = self.sectors().saturating_sub(first).min(PAGE_SECTORS);
        let there = usize::try_from(there * SECTOR).or(Err(DiskError::OutOfRange))?;
        let mut bytes = [0; PAGE];
        self.read_image(first, &mut bytes[..there])?;
        let before: Page = Arc::new(bytes);
        self.before.insert(page, before.clone());
        self.seen.push(Seen::Page { page, before });
        Ok(())
    }
}

impl<B: Disk> Disk for Recorded<B> {
    fn sectors(&self) -> u64 {
        self.image.sectors()
    }

    fn read(&mut self, sector: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let (at, end) = range(self.sectors(), sector, buf.len())?;
        for block in at / BLOCK_BYTES as u64..end.div_ceil(BLOCK_BYTES as u64) {
            if !self.checked.contains(&block) {
                self.see(block)?;
            }
        }
        self.read_image(sector, buf)
    }

    fn write(&mut self, sector: u64, buf: &[u8]) -> Result<(), DiskError> {
        if self.read_only() {
            return Err(DiskError::ReadOnly);
        }
        let (at, _) = range(self.sectors(), sector, buf.len())?;
        for (page, _) in parts(at, buf.len()) {
            if !self.before.contains_key(&page) {
                self.keep(page)?;
            }
        }
        let written = self.image.write(sector, buf);
        self.noticed(written)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.read_only() {
            return Ok(());
        }
        let flushed = self.image.flush();
        self.noticed(flushed)
    }

    fn read_only(&self) -> bool {
        self.replays || self.image.read_only()
    }

    fn witness(&mut self) -> Option<&mut dyn Witness> {
        Some(self)
    }
}

impl<B> Witness for Recorded<B> {
    fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }
}

impl<B: Disk> Digest for Recorded<B> {
    /// What can be read of it never changes.
    fn digest(&self, _sink: &mut dyn FnMut(&[u8])) {}
}
