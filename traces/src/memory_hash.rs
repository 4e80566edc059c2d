//! A hash of memory that follows it page by page, in any order.

use std::collections::BTreeMap;

use crate::chunk::PAGE;

/// A page of 4 KiB of something that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId {
    /// 0: RAM, 1: what was written to disks.
    pub space: u8,
    /// Its number.
    pub page: u64,
}

/// The sum over all pages that are not all zero of a hash of place and content.
///
/// A sum, so that the order of updates does not matter and one page changes it at the cost of one
/// page. It finds what diverged; it is no proof against somebody who makes pages to fit.
#[derive(Clone, Debug, Default)]
pub struct MemoryHash {
    pages: BTreeMap<PageId, [u64; 4]>,
    sum: [u64; 4],
}

impl MemoryHash {
    /// Of memory that is all zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A page has this content now; `None`: zeros.
    pub fn update(&mut self, id: PageId, content: Option<&[u8; PAGE]>) {
        let hash = content.filter(|bytes| !is_zero(bytes)).map(|bytes| blake3::hash(bytes));
        self.update_hashed(id, hash.as_ref().map(blake3::Hash::as_bytes));
    }

    /// The same, where BLAKE3 of the content is known; `None`: zeros.
    pub fn update_hashed(&mut self, id: PageId, content: Option<&[u8; 32]>) {
        let lanes = content.map(|hash| lanes(id, hash));
        let before = match lanes {
            Some(lanes) => self.pages.insert(id, lanes),
            None => self.pages.remove(&id),
        };
        for (index, sum) in self.sum.iter_mut().enumerate() {
            let minus = before.map_or(0, |lanes| lanes[index]);
            let plus = lanes.map_or(0, |lanes| lanes[index]);
            *sum = sum.wrapping_sub(minus).wrapping_add(plus);
        }
    }

    /// The hash of all memory as it is now.
    #[must_use]
    pub fn value(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, lane) in bytes.chunks_exact_mut(8).zip(self.sum) {
            part.copy_from_slice(&lane.to_le_bytes());
        }
        bytes
    }
}

fn lanes(id: PageId, content: &[u8; 32]) -> [u64; 4] {
    let mut bytes = [0; 41];
    bytes[0] = id.space;
    bytes[1..9].copy_from_slice(&id.page.to_le_bytes());
    bytes[9..].copy_from_slice(content);
    let hash = blake3::hash(&bytes);
    let mut lanes = [0; 4];
    for (lane, part) in lanes.iter_mut().zip(hash.as_bytes().as_chunks().0) {
        *lane = u64::from_le_bytes(*part);
    }
    lanes
}

pub(crate) fn is_zero(page: &[u8; PAGE]) -> bool {
    page.as_chunks::<8>().0.iter().fold(0, |all, part| all | u64::from_ne_bytes(*part)) == 0
}
