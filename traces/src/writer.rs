//! Writes a recording, so that whatever was written is there also when the process is killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use session::{Event, Position};
use thiserror::Error;

use crate::chunk::{CHUNK_FULL, CHUNK_RECORDS, ChunkHead, ChunkKind, Meta, RAW_MAX, Seed, bit};
use crate::header::Header;
use crate::index::{Entry, Index, Trailer};
use crate::memory::Memory;
use crate::packer::{Packed, compress, compressor};
use crate::reader::time_of;
use crate::record::{DiskBlock, Encoder, End, InputRecord, bound, bound_of_input};
use crate::schema::Schema;
use crate::tail::{Medium, Slot, TAIL_ALIGN, TAIL_ROOM, TAIL_SIZE, Tail};

/// From the chunks to the tail: when they have met, the tail moves on.
const GAP: u64 = if cfg!(test) { 512 << 10 } else { 4 << 20 };
/// Of the tail, what only the end may use.
const RESERVE: usize = 64 << 10;
/// A record that may be longer becomes a chunk of its own.
const LARGE: usize = 128 << 10;

/// Why something is not in the recording.
#[derive(Debug, Error)]
pub enum WriteError {
    /// There is no space left; what was written before is safe, and the call can be made again.
    #[error("no space is left on the disk of the recording")]
    Full,
    /// The record is longer than the format allows.
    #[error("a record of {bytes} bytes; {RAW_MAX} are most")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A keyframe of another packer, or one that was left out before.
    #[error("a keyframe begins at blob {found}, the recording goes on at {expected}")]
    Order {
        /// What the recording goes on with.
        expected: u32,
        /// What came.
        found: u32,
    },
    /// The recording has been ended.
    #[error("the recording has ended already")]
    Ended,
    /// The host refused.
    #[error("the recording cannot be written")]
    Io(#[source] io::Error),
}

impl WriteError {
    fn new(error: io::Error) -> Self {
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if is_full { Self::Full } else { Self::Io(error) }
    }
}

/// Writes one recording.
///
/// When a call has returned, what it was given survives the end of the process in any form.
/// After `create` it makes these system calls and no others: `pwrite64`; about once in 4 MiB
/// `fallocate`, `mmap`, `munmap`; in `end` `ftruncate`; in `sync` `fdatasync`; `close` and `munmap`
/// when it is dropped.
#[derive(Debug)]
pub struct Writer {
    // Fixed configuration.
    medium: Box<dyn Medium>,
    seed: Seed,
    // Runtime state.
    tail: Tail,
    tail_at: u64,
    encoder: Encoder,
    zstd: Compressor,
    /// The records of the chunk that is being sealed.
    raw: Vec<u8>,
    /// The chunk that is open.
    open: Meta,
    /// Offset and number of the next chunk.
    slot: Slot,
    chain: [u8; 32],
    next_blob: u32,
    index: Index,
    now: (Position, u64),
    /// Events that are to be reported as lost.
    lost: u64,
    end_is_in: bool,
    ended: bool,
}

struct Compressor(Option<zstd::bulk::Compressor<'static>>);

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Writer {
    /// Begins a recording in a file that must not exist; only its owner may read it.
    ///
    /// # Errors
    /// [`WriteError::Full`] and [`WriteError::Io`]; the file is gone again then, unless it was
    /// there before.
    pub fn create(path: &Path, header: &Header) -> Result<Self, WriteError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file: File = options.open(path).map_err(WriteError::new)?;
        Self::on(Box::new(file), header).inspect_err(|_error| {
            let _ = std::fs::remove_file(path);
        })
    }

    /// Begins a recording in memory, which [`Writer::take_bytes`] gives when it is over.
    ///
    /// # Errors
    /// [`WriteError`]
    pub fn in_memory(header: &Header) -> Result<Self, WriteError> {
        Self::on(Box::new(Memory::default()), header)
    }

    /// The file that a recording in memory would be. Of one in a file: nothing.
    #[must_use]
    pub fn take_bytes(mut self) -> Vec<u8> {
        self.medium.take_bytes()
    }

    pub(crate) fn on(mut medium: Box<dyn Medium>, header: &Header) -> Result<Self, WriteError> {
        let bytes = header.encode(&Schema::ours().encode());
        if bytes.len() > crate::header::BODY_MAX {
            return Err(WriteError::TooLarge { bytes: bytes.len() });
        }
        medium.write_at(&bytes, 0).map_err(WriteError::new)?;
        let slot = Slot { seq: 0, end: bytes.len() as u64 };
        let tail_at = (slot.end + bytes.len() as u64 + GAP).next_multiple_of(TAIL_ALIGN);
        let map = medium.map(tail_at, TAIL_SIZE).map_err(WriteError::new)?;
        let mut writer = Self {
            medium,
            seed: Seed::new(&header.id),
            tail: Tail::new(map, slot),
            tail_at,
            encoder: Encoder::new(),
            zstd: Compressor(compressor()),
            raw: Vec::new(),
            open: Meta::new(ChunkKind::Records),
            slot,
            chain: *blake3::hash(&bytes).as_bytes(),
            next_blob: 0,
            index: Index::default(),
            now: (Position::default(), 0),
            lost: 0,
            end_is_in: false,
            ended: false,
        };
        let (meta, payload) = compress(&mut writer.zstd.0, Meta::new(ChunkKind::Header), &bytes);
        writer.chunk(meta, &payload)?;
        Ok(writer)
    }

    /// Adds an input.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was added then.
    pub fn input(&mut self, record: &InputRecord) -> Result<(), WriteError> {
        let bound = bound_of_input(&record.input);
        self.add(bound, true, (record.at, record.time_ns), |encoder| encoder.input(record))
    }

    /// Adds an event.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was added then.
    #[inline]
    pub fn event(&mut self, event: &Event) -> Result<(), WriteError> {
        let time_ns = time_of(event).unwrap_or(self.now.1);
        let now = (event.position(), time_ns);
        self.add(bound(event), false, now, |encoder| encoder.event(event))
    }

    /// Adds what a block of a disk held when it was first read.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was added then.
    pub fn disk_read(&mut self, block: &DiskBlock) -> Result<(), WriteError> {
        self.add(128, true, self.now, |encoder| encoder.disk_read(block))
    }

    /// Adds a block of a disk as it was before it is first written.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was added then.
    pub fn pre_image(&mut self, disk: u8, block: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let bound = 128 + bytes.len();
        self.add(bound, true, self.now, |encoder| encoder.pre_image(disk, block, bytes))
    }

    /// So many events are not recorded, since the disk is full: a record says so as soon as there
    /// is room for one.
    pub fn lose(&mut self, events: u64) {
        self.lost = self.lost.saturating_add(events);
    }

    /// Adds a keyframe. What is in the file of it stays there: after [`WriteError::Full`] the same
    /// call goes on where it was.
    ///
    /// # Errors
    /// [`WriteError`]; the keyframe is not in the recording then.
    pub fn keyframe(&mut self, packed: &mut Packed) -> Result<(), WriteError> {
        if self.ended || self.end_is_in {
            return Err(WriteError::Ended);
        }
        let expected = self.next_blob;
        if packed.n_written == 0 && packed.first_blob != expected {
            return Err(WriteError::Order { expected, found: packed.first_blob });
        }
        self.seal()?;
        while let Some((meta, payload)) = packed.chunks.last() {
            self.chunk(*meta, payload)?;
            self.now = self.now.max((meta.last, meta.last_ns));
            packed.chunks.pop();
            packed.n_written += 1;
            self.next_blob = packed.end_blob;
        }
        Ok(())
    }

    /// Ends the recording: the file gets its index, and is as long as what is in it.
    /// The chain of the last chunk vouches for all of the file.
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::Full`] the end is recorded, but the file lacks its
    /// index, which makes it slower to open and nothing else; the call can be made again.
    pub fn end(&mut self, end: &End) -> Result<[u8; 32], WriteError> {
        if !self.end_is_in {
            self.record_end(end)?;
        }
        self.close()
    }

    /// Adds the record of the end and nothing more.
    pub(crate) fn record_end(&mut self, end: &End) -> Result<(), WriteError> {
        self.open(true, usize::MAX)?;
        self.put((end.at, end.time_ns), |encoder| encoder.end(end));
        self.end_is_in = true;
        Ok(())
    }

    /// The recording goes as far as this, though nothing is on record of it: for one that is closed
    /// and not ended.
    ///
    /// # Errors
    /// [`WriteError`]
    pub fn reach(&mut self, at: Position, time_ns: u64) -> Result<(), WriteError> {
        self.open(true, 0)?;
        if self.open.n_records == 0 {
            (self.open.first, self.open.first_ns) = (at, time_ns);
        }
        (self.open.last, self.open.last_ns) = (at, time_ns);
        self.now = (at, time_ns);
        let open = std::mem::replace(&mut self.open, Meta::new(ChunkKind::Records));
        self.tail.read(&mut self.raw);
        let (meta, payload) = compress(&mut self.zstd.0, open, &self.raw);
        self.chunk(meta, &payload)?;
        self.encoder.reset();
        Ok(())
    }

    /// Gives the file its index without a record of the end: a part of a recording.
    ///
    /// # Errors
    /// [`WriteError`]; the call can be made again.
    pub fn close(&mut self) -> Result<[u8; 32], WriteError> {
        if self.ended {
            return Err(WriteError::Ended);
        }
        self.seal()?;
        let chain = self.write_index().map_err(WriteError::new)?;
        self.ended = true;
        Ok(chain)
    }

    /// Waits until all that was written is on the disk, also if the host loses its power.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.medium.sync().map_err(WriteError::new)
    }

    /// Bytes of the recording as yet.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.slot.end + self.tail.len() as u64
    }

    /// Adds a record of at most `bound` bytes.
    #[inline]
    fn add(
        &mut self,
        bound: usize,
        must: bool,
        now: (Position, u64),
        encode: impl FnOnce(&mut Encoder),
    ) -> Result<(), WriteError> {
        if self.is_tight(bound) {
            if bound > LARGE {
                return self.large(bound, now, encode);
            }
            self.open(must, bound)?;
        }
        self.put(now, encode);
        Ok(())
    }

    /// Whether a record needs more than to be appended.
    #[inline]
    fn is_tight(&self, bound: usize) -> bool {
        self.tail.len() >= CHUNK_FULL
            || self.open.n_records >= CHUNK_RECORDS
            || bound > LARGE
            || self.lost > 0
            || self.end_is_in
            || self.ended
    }

    /// Makes room for a record: what must be recorded may take what is left of the tail.
    #[cold]
    fn open(&mut self, must: bool, bound: usize) -> Result<(), WriteError> {
        if self.end_is_in || self.ended {
            return Err(WriteError::Ended);
        }
        if self.tail.len() >= CHUNK_FULL || self.open.n_records >= CHUNK_RECORDS {
            let is_end = bound == usize::MAX;
            let fits = is_end || bound <= (self.tail.room()).saturating_sub(RESERVE);
            match self.seal() {
                Err(WriteError::Full) if must && fits => {}
                other => other?,
            }
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 && self.tail.room() > RESERVE / 2 {
            self.open.lost = self.open.lost.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
            self.put(self.now, |encoder| encoder.lost(lost));
        } else {
            self.lost = lost;
        }
        Ok(())
    }

    /// Appends a record for which there is room.
    #[inline]
    fn put(&mut self, now: (Position, u64), encode: impl FnOnce(&mut Encoder)) {
        encode(&mut self.encoder);
        self.tail.append(&self.encoder.out);
        let open = &mut self.open;
        if open.n_records == 0 {
            (open.first, open.first_ns) = now;
        }
        (open.last, open.last_ns) = now;
        open.n_records += 1;
        open.kinds |= bit(self.encoder.out[0]);
        self.now = now;
    }

    /// A record that is a chunk of its own, in the file at once.
    #[cold]
    fn large(
        &mut self,
        bound: usize,
        now: (Position, u64),
        encode: impl FnOnce(&mut Encoder),
    ) -> Result<(), WriteError> {
        if bound > RAW_MAX {
            return Err(WriteError::TooLarge { bytes: bound });
        }
        self.open(false, 0)?;
        self.seal()?;
        encode(&mut self.encoder);
        let mut meta = Meta { n_records: 1, ..Meta::new(ChunkKind::Records) };
        meta.kinds = bit(self.encoder.out[0]);
        (meta.first, meta.first_ns) = now;
        (meta.last, meta.last_ns) = now;
        let raw = std::mem::take(&mut self.encoder.out);
        let (meta, payload) = compress(&mut self.zstd.0, meta, &raw);
        self.encoder.reset();
        self.chunk(meta, &payload)?;
        self.now = now;
        Ok(())
    }

    /// Writes the open chunk to the file, if there is anything in it.
    fn seal(&mut self) -> Result<(), WriteError> {
        if self.open.n_records == 0 {
            return Ok(());
        }
        self.tail.read(&mut self.raw);
        let (meta, payload) = compress(&mut self.zstd.0, self.open, &self.raw);
        self.chunk(meta, &payload)?;
        self.open = Meta::new(ChunkKind::Records);
        self.encoder.reset();
        Ok(())
    }

    /// Writes a chunk. A tail with records in it must be those of this chunk.
    fn chunk(&mut self, meta: Meta, payload: &[u8]) -> Result<(), WriteError> {
        self.try_chunk(meta, payload).map_err(WriteError::new)
    }

    fn try_chunk(&mut self, meta: Meta, payload: &[u8]) -> io::Result<()> {
        let meta = Meta { seq: self.slot.seq, ..meta };
        let head = ChunkHead::new(meta, payload, &self.chain);
        let end = self.slot.end + meta.len();
        if end > self.tail_at {
            let to = (end + GAP).next_multiple_of(TAIL_ALIGN);
            let map = self.medium.map(to, TAIL_SIZE)?;
            self.tail = self.tail.moved(map);
            self.tail_at = to;
        }
        let mut bytes = head.encode(self.seed).to_vec();
        bytes.extend_from_slice(payload);
        self.medium.write_at(&bytes, self.slot.end)?;
        self.index.add(Entry { offset: self.slot.end, meta });
        self.chain = head.chain;
        self.slot = Slot { seq: meta.seq + 1, end };
        self.tail.reset(self.slot);
        Ok(())
    }

    /// Writes index and trailer.
    fn write_index(&mut self) -> io::Result<[u8; 32]> {
        let (mut at, mut seq, mut chain) = (self.slot.end, self.slot.seq, self.chain);
        let mut parts = 0;
        let mut bytes = Vec::new();
        for part in self.index.parts() {
            let meta = Meta { seq, ..Meta::new(ChunkKind::Index) };
            let (meta, payload) = compress(&mut self.zstd.0, meta, part);
            let head = ChunkHead::new(meta, &payload, &chain);
            bytes.extend(head.encode(self.seed));
            bytes.extend(payload);
            (seq, chain, parts) = (seq + 1, head.chain, parts + 1);
        }
        let trailer = Trailer { index: self.slot.end, parts, chain };
        bytes.extend(trailer.encode());
        self.medium.write_at(&bytes, at)?;
        at += bytes.len() as u64;
        self.medium.truncate(at)?;
        Ok(chain)
    }
}

#[cfg(test)]
mod tests;

const _: () = assert!(CHUNK_FULL + LARGE + RESERVE <= TAIL_ROOM);
