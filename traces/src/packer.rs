//! Keyframes made small: each content once, zeros not at all, the rest compressed.

use std::collections::BTreeMap;
use std::sync::Arc;

use session::Position;

use crate::chunk::{BLOB_PAGES, ChunkKind, Codec, Meta, PAGE};
use crate::memory_hash::{MemoryHash, PageId, is_zero};
use crate::record::StateHash;
use crate::varint::{put, zigzag};

/// Contents that are remembered to be written once only: of 1 GiB.
const CONTENTS_MAX: usize = 1 << 18;
/// Bytes of a list of pages in one chunk.
const LIST_FULL: usize = 240 << 10;
/// The level of Zstandard: more of it costs more than it saves.
pub(crate) const LEVEL: i32 = 1;

/// A moment of a run: its state, and the pages that changed since the frame before.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where in the run.
    pub at: Position,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// The saved state without memory.
    pub state: Vec<u8>,
    /// Pages that were written to since the frame before; `None`: it is all zero.
    pub pages: Vec<(PageId, Option<Arc<[u8; PAGE]>>)>,
}

/// A keyframe, ready to be written by [`crate::Writer::keyframe`].
#[derive(Debug)]
pub struct Packed {
    pub(crate) first_blob: u32,
    pub(crate) end_blob: u32,
    /// What is still to be written, the last first.
    pub(crate) chunks: Vec<(Meta, Vec<u8>)>,
    pub(crate) n_written: u32,
    hash: StateHash,
    n_pages: u64,
}

impl Packed {
    /// Hashes of this moment.
    #[must_use]
    pub fn hash(&self) -> &StateHash {
        &self.hash
    }

    /// Pages that it lists.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.n_pages
    }

    /// Bytes that are still to be written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(meta, _)| meta.len()).sum()
    }
}

/// Makes keyframes small. Each recording has one, and every [`Packed`] is written, in order.
pub struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    memory: MemoryHash,
    /// Where a content stands.
    contents: BTreeMap<[u8; 16], u64>,
    next_blob: u32,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("next_blob", &self.next_blob).finish_non_exhaustive()
    }
}

impl Packer {
    /// For a recording that begins.
    #[must_use]
    pub fn new() -> Self {
        Self::after(MemoryHash::new())
    }

    /// For a recording of a run that begins with this in memory: see [`Packer::know`].
    #[must_use]
    pub fn after(memory: MemoryHash) -> Self {
        Self { zstd: compressor(), memory, contents: BTreeMap::new(), next_blob: 0 }
    }

    /// A page that is there before the first frame, since the run itself begins with it: it is in
    /// the hash of memory and in no frame.
    pub fn know(&mut self, id: PageId, content: &[u8; PAGE]) {
        self.memory.update(id, Some(content));
    }

    /// Packs one frame.
    #[must_use]
    pub fn pack(&mut self, frame: Frame) -> Packed {
        self.pack_with(frame, None)
    }

    /// Packs one frame of another recording: its hashes are known, and not all that they are of
    /// need be in a recording.
    pub(crate) fn pack_copy(&mut self, frame: Frame, hash: StateHash) -> Packed {
        self.pack_with(frame, Some(hash))
    }

    fn pack_with(&mut self, frame: Frame, known: Option<StateHash>) -> Packed {
        let Frame { at, time_ns, state, mut pages } = frame;
        // The last word on a page holds.
        pages.reverse();
        pages.sort_by_key(|(id, _)| *id);
        pages.dedup_by_key(|(id, _)| *id);
        let meta = |kind| {
            let mut meta = Meta::new(kind);
            (meta.first, meta.last) = (at, at);
            (meta.first_ns, meta.last_ns) = (time_ns, time_ns);
            meta
        };
        let first_blob = self.next_blob;
        let mut chunks = Vec::new();
        let mut list = List::default();
        let mut raw = Vec::new();
        for (id, content) in &pages {
            let place = self.place(*id, content.as_deref(), &mut raw);
            list.add(*id, place);
            if raw.len() == BLOB_PAGES * PAGE {
                self.blob(meta(ChunkKind::Blob), &mut raw, &mut chunks);
            }
        }
        self.blob(meta(ChunkKind::Blob), &mut raw, &mut chunks);
        let state_blob = self.next_blob;
        for piece in state.chunks(BLOB_PAGES * PAGE) {
            raw.extend_from_slice(piece);
            self.blob(meta(ChunkKind::Blob), &mut raw, &mut chunks);
        }
        let lists = list.finish();
        let n_lists = lists.len() as u64;
        for (n, bytes) in lists {
            let meta = Meta { n_records: n, ..meta(ChunkKind::Pages) };
            chunks.push(compress(&mut self.zstd, meta, &bytes));
        }
        let hash = known.unwrap_or_else(|| StateHash {
            state: *blake3::hash(&state).as_bytes(),
            ram: self.memory.value(),
        });
        let mut manifest = Vec::new();
        manifest.extend(hash.state);
        manifest.extend(hash.ram);
        let state_blobs = u64::from(self.next_blob - state_blob);
        let n_pages = pages.len() as u64;
        let numbers = [state.len() as u64, u64::from(state_blob), state_blobs, n_lists, n_pages];
        for number in numbers {
            put(&mut manifest, number);
        }
        chunks.push(compress(&mut self.zstd, meta(ChunkKind::Keyframe), &manifest));
        chunks.reverse();
        Packed { first_blob, end_blob: self.next_blob, chunks, n_written: 0, hash, n_pages }
    }

    /// Where a page's content stands, which is put into the blob that is open if it is new.
    fn place(
        &mut self,
        id: PageId,
        content: Option<&[u8; PAGE]>,
        raw: &mut Vec<u8>,
    ) -> Option<u64> {
        let Some(content) = content.filter(|content| !is_zero(content)) else {
            self.memory.update_hashed(id, None);
            return None;
        };
        let hash = blake3::hash(content);
        self.memory.update_hashed(id, Some(hash.as_bytes()));
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        if let Some(place) = self.contents.get(&key) {
            return Some(*place);
        }
        if self.contents.len() >= CONTENTS_MAX {
            self.contents.clear();
        }
        let place = u64::from(self.next_blob) * BLOB_PAGES as u64 + (raw.len() / PAGE) as u64;
        self.contents.insert(key, place);
        raw.extend_from_slice(content);
        Some(place)
    }

    /// The blob that is open becomes a chunk, if there is anything in it.
    fn blob(&mut self, meta: Meta, raw: &mut Vec<u8>, chunks: &mut Vec<(Meta, Vec<u8>)>) {
        if !raw.is_empty() {
            let meta = Meta { blob: self.next_blob, ..meta };
            chunks.push(compress(&mut self.zstd, meta, raw));
            self.next_blob += 1;
            raw.clear();
        }
    }
}

/// Pages and where their contents stand, in pieces that decode alone.
#[derive(Debug, Default)]
struct List {
    done: Vec<(u32, Vec<u8>)>,
    n: u32,
    bytes: Vec<u8>,
    before: (u64, u64),
}

impl List {
    fn add(&mut self, id: PageId, place: Option<u64>) {
        self.bytes.push(id.space);
        let (page, at) = self.before;
        put(&mut self.bytes, zigzag(id.page.wrapping_sub(page).wrapping_sub(1).cast_signed()));
        let code = place
            .map_or(0, |place| zigzag(place.wrapping_sub(at).wrapping_sub(1).cast_signed()) + 1);
        put(&mut self.bytes, code);
        self.before = (id.page, place.unwrap_or(at));
        self.n += 1;
        if self.bytes.len() >= LIST_FULL {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.n > 0 {
            self.done.push((self.n, std::mem::take(&mut self.bytes)));
            (self.n, self.before) = (0, (0, 0));
        }
    }

    fn finish(mut self) -> Vec<(u32, Vec<u8>)> {
        self.cut();
        self.done
    }
}

/// `None` where there is no memory for one: then payloads stay as they are.
pub(crate) fn compressor() -> Option<zstd::bulk::Compressor<'static>> {
    zstd::bulk::Compressor::new(LEVEL).ok()
}

/// A payload as it is stored, with its lengths.
pub(crate) fn compress(
    zstd: &mut Option<zstd::bulk::Compressor<'static>>,
    meta: Meta,
    raw: &[u8],
) -> (Meta, Vec<u8>) {
    let small = zstd.as_mut().and_then(|zstd| zstd.compress(raw).ok());
    let small = small.filter(|small| small.len() < raw.len());
    let codec = if small.is_some() { Codec::Zstd } else { Codec::Raw };
    let payload = small.unwrap_or_else(|| raw.to_vec());
    let length = |n: usize| u32::try_from(n).expect("payloads are bounded by RAW_MAX");
    let (raw_len, stored_len) = (length(raw.len()), length(payload.len()));
    (Meta { codec, raw_len, stored_len, ..meta }, payload)
}
