//! Looks at every byte: CRCs, and the chain from the header on.

use super::{ReadError, Reader, scan};
use crate::chunk::{ChunkKind, link};
use crate::damage::{Damage, What};

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Chunks that are as they were written.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The chain of the last chunk; `None`: something is missing before it.
    pub chain: Option<[u8; 32]>,
    /// Everything that is not as it was written.
    pub damages: Vec<Damage>,
    /// It was not gone through to the end.
    pub interrupted: bool,
}

impl Reader {
    /// Reads all of the file. `progress` is told how many bytes of how many are done, and says
    /// whether to go on.
    ///
    /// # Errors
    /// [`ReadError::Io`]; damage is no error here.
    pub fn verify(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Verified, ReadError> {
        let mut chain = Some(*blake3::hash(&self.header_bytes).as_bytes());
        let (mut chunks, mut bytes) = (0, self.header_bytes.len() as u64);
        let mut interrupted = false;
        let mut next = 0;
        for entry in self.to_verify() {
            match self.stored(&entry) {
                Ok((head, payload)) => {
                    let follows = entry.meta.seq == next;
                    let before = chain.filter(|_| follows);
                    let expected = before.map(|b| link(&b, &head.meta, head.payload_crc, &payload));
                    if expected.is_some_and(|expected| expected != head.chain) {
                        self.note(&scan::loss(&entry, What::Chain));
                    }
                    // A chunk may be gone: what follows can be checked from here on.
                    chain = Some(head.chain);
                    chunks += 1;
                }
                Err(ReadError::Damaged(damage)) => {
                    self.note(&damage);
                    chain = None;
                }
                Err(error) => return Err(error),
            }
            next = entry.meta.seq + 1;
            bytes += entry.meta.len();
            if !progress(bytes, self.len) {
                interrupted = true;
                break;
            }
        }
        let chain = chain.filter(|_| self.damages.is_empty());
        Ok(Verified { chunks, bytes, chain, damages: self.damages.clone(), interrupted })
    }

    /// All chunks that are in the file, those of the index, too.
    fn to_verify(&self) -> Vec<crate::index::Entry> {
        let mut all = self.chunks.clone();
        let mut at = all.last().map_or(self.header_bytes.len() as u64, crate::index::Entry::end);
        while let Ok(Some(entry)) = self.chunk_at(at) {
            if !entry.meta.is(ChunkKind::Index) || entry.end() > self.len {
                break;
            }
            at = entry.end();
            all.push(entry);
        }
        all
    }
}
