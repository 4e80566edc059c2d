//! Opens a recording, whatever has become of it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use session::Position;
use thiserror::Error;

use crate::chunk::{CHUNK_HEADER, ChunkHead, ChunkKind, Codec, RAW_MAX, Seed};
use crate::damage::{Damage, What};
use crate::header::{self, Header, HeaderError};
use crate::index::Entry;
use crate::memory::Source;
use crate::record::{End, Format, Record};
use crate::schema::table;
use crate::varint::is_crc;

mod load;
mod moment;
mod records;
mod scan;
mod verify;

pub use load::{KeyframeInfo, Loaded};
pub use moment::Moment;
pub(crate) use records::time_of;
pub use records::{Events, Records};
pub use verify::Verified;

/// Why a file is no recording that can be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The host refused.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// Something else.
    #[error("this is not a recording: it does not begin as a .dvt file does")]
    Foreign,
    /// Not even the header is there.
    #[error("the recording is cut off in its header: it has {bytes} bytes")]
    Short {
        /// Bytes of the file.
        bytes: u64,
    },
    /// The header and its copy are damaged.
    #[error("the recording's header is damaged, and so is its copy")]
    Header,
    /// Of a later version.
    #[error("the recording has format {major}, this program reads up to {}", header::MAJOR)]
    Newer {
        /// Its version.
        major: u16,
    },
    /// It uses something that must be understood.
    #[error("the recording needs {name}, which this program does not have")]
    Feature {
        /// What that is called.
        name: String,
    },
}

/// Why something cannot be read from a recording that is open.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The host refused.
    #[error("the recording cannot be read")]
    Io(#[source] io::Error),
    /// It is damaged there; what stands behind can still be read.
    #[error("{0}")]
    Damaged(Damage),
    /// There is no such keyframe.
    #[error("there is no keyframe {0}")]
    NoKeyframe(usize),
    /// It holds more pages than it may.
    #[error("the keyframe holds more than {limit} bytes of memory")]
    TooLarge {
        /// The limit that [`Reader::limit`] set.
        limit: u64,
    },
}

/// The chunk that was open when the recording broke off, or is still.
#[derive(Clone, Debug)]
struct Open {
    entry: Entry,
    raw: Vec<u8>,
}

/// A recording.
#[derive(Debug)]
pub struct Reader {
    file: Source,
    len: u64,
    header: Header,
    header_bytes: Vec<u8>,
    minor: u16,
    format: Format,
    seed: Seed,
    chunks: Vec<Entry>,
    open: Option<Open>,
    blobs: Vec<Entry>,
    keyframes: Vec<load::Keyframe>,
    /// Of these, which can be loaded: those that [`Reader::keyframes`] shows.
    usable: Vec<usize>,
    infos: Vec<KeyframeInfo>,
    end: Option<End>,
    last: (Position, u64),
    damages: Vec<Damage>,
    limit: u64,
    pre_images: Option<records::PreImages>,
}

/// Bytes of memory that a keyframe may have unless [`Reader::limit`] says otherwise.
const LIMIT: u64 = 8 << 30;

impl Reader {
    /// Opens a recording: one that was ended, one that broke off, one that is being written, or
    /// what is left of one. What is damaged as far as it can be seen without reading everything
    /// comes back, too.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Damage>), OpenError> {
        Self::from_file(File::open(path).map_err(OpenError::Io)?)
    }

    /// The same of a file that is open.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn from_file(file: File) -> Result<(Self, Vec<Damage>), OpenError> {
        Self::of(Source::File(file))
    }

    /// The same of bytes in memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn from_bytes(bytes: Arc<[u8]>) -> Result<(Self, Vec<Damage>), OpenError> {
        Self::of(Source::Memory(bytes))
    }

    fn of(file: Source) -> Result<(Self, Vec<Damage>), OpenError> {
        let len = file.len().map_err(OpenError::Io)?;
        let mut damages = Vec::new();
        let (read, bytes) = match read_header(&file, len)? {
            Ok(found) => found,
            Err(error) => scan::header_copy(&file, len, &mut damages)
                .map_err(OpenError::Io)?
                .ok_or_else(|| refusal(error, len))?,
        };
        let mut reader = Self {
            len,
            seed: Seed::new(&read.header.id),
            header: read.header,
            header_bytes: bytes,
            minor: read.minor,
            format: Format::new(read.schema),
            file,
            chunks: Vec::new(),
            open: None,
            blobs: Vec::new(),
            keyframes: Vec::new(),
            usable: Vec::new(),
            infos: Vec::new(),
            end: None,
            last: (Position::default(), 0),
            damages,
            limit: LIMIT,
            pre_images: None,
        };
        reader.find_chunks().map_err(OpenError::Io)?;
        reader.find_keyframes();
        reader.find_end();
        let damages = reader.damages.clone();
        Ok((reader, damages))
    }

    /// What was recorded.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Major and minor version of the file.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        (header::MAJOR, self.minor)
    }

    /// How it ended; `None`: it broke off, or is being written.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Position and guest time of the last record.
    #[must_use]
    pub fn last(&self) -> (Position, u64) {
        self.last
    }

    /// Position and guest time at which it begins.
    #[must_use]
    pub fn first(&self) -> (Position, u64) {
        let keyframe = self.infos.first().map(|keyframe| (keyframe.at, keyframe.time_ns));
        let record = self.all().find(|entry| entry.meta.is(ChunkKind::Records));
        let record = record.map(|entry| (entry.meta.first, entry.meta.first_ns));
        keyframe.into_iter().chain(record).min().unwrap_or_default()
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// All damage that was found as yet.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Chunks of a kind.
    #[must_use]
    pub fn chunks(&self, kind: ChunkKind) -> usize {
        self.all().filter(|entry| entry.meta.is(kind)).count()
    }

    /// Bytes of all chunks of a kind, their headers among them.
    #[must_use]
    pub fn bytes_of(&self, kind: ChunkKind) -> u64 {
        self.all().filter(|entry| entry.meta.is(kind)).map(|entry| entry.meta.len()).sum()
    }

    /// A keyframe with more bytes of memory than this is refused.
    pub fn limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Records of all kinds.
    #[must_use]
    pub fn n_records(&self) -> u64 {
        let records = self.all().filter(|entry| entry.meta.is(ChunkKind::Records));
        records.map(|entry| u64::from(entry.meta.n_records)).sum()
    }

    /// The chain before the first chunk that ends at a position or later.
    pub(crate) fn chain_before(&self, at: Position) -> Result<[u8; 32], ReadError> {
        let index = self.chunks.partition_point(|entry| entry.meta.last < at);
        match index.checked_sub(1).and_then(|index| self.chunks.get(index)) {
            Some(entry) => Ok(self.stored(entry)?.0.chain),
            None => Ok(*blake3::hash(&self.header_bytes).as_bytes()),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().chain(self.open.as_ref().map(|open| &open.entry))
    }

    /// A damage is named once.
    pub(crate) fn note(&mut self, damage: &Damage) {
        if !self.damages.contains(damage) {
            self.damages.push(damage.clone());
        }
    }

    /// The header of a chunk and its payload as it is stored.
    fn stored(&self, entry: &Entry) -> Result<(ChunkHead, Vec<u8>), ReadError> {
        let damaged = |what| ReadError::Damaged(scan::loss(entry, what));
        if entry.end() > self.len {
            return Err(damaged(What::Cut));
        }
        let mut head = [0; CHUNK_HEADER];
        self.read_at(&mut head, entry.offset)?;
        let head = ChunkHead::decode(&head, self.seed).filter(|head| head.meta == entry.meta);
        let head = head.ok_or_else(|| damaged(What::Chunk))?;
        let mut payload = vec![0; entry.meta.stored_len as usize];
        self.read_at(&mut payload, entry.offset + CHUNK_HEADER as u64)?;
        if !is_crc(crc32c::crc32c(&payload), &head.payload_crc.to_le_bytes()) {
            return Err(damaged(What::Payload));
        }
        Ok((head, payload))
    }

    /// A chunk's content.
    fn raw(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        if let Some(open) = self.open.as_ref().filter(|open| open.entry == *entry) {
            return Ok(open.raw.clone());
        }
        let (head, payload) = self.stored(entry)?;
        let raw_len = head.meta.raw_len as usize;
        let raw = match head.meta.codec {
            Codec::Raw => Some(payload),
            Codec::Zstd if raw_len <= RAW_MAX => zstd::bulk::decompress(&payload, raw_len).ok(),
            Codec::Zstd => None,
        };
        let raw = raw.filter(|raw| raw.len() == raw_len);
        raw.ok_or_else(|| ReadError::Damaged(scan::loss(entry, What::Payload)))
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), ReadError> {
        self.file.read_exact_at(bytes, at).map_err(ReadError::Io)
    }

    /// Looks for the record of the end, and for the last position.
    fn find_end(&mut self) {
        let last = self.all().map(|entry| (entry.meta.last, entry.meta.last_ns)).max();
        self.last = last.unwrap_or_default();
        let with_end = self
            .all()
            .filter(|entry| entry.meta.is(ChunkKind::Records) && entry.meta.has(table::END));
        let Some(entry) = with_end.last().copied() else { return };
        let mut records = Records::of_chunk(self, &entry);
        while let Some(Ok(record)) = records.next() {
            if let Record::End(end) = record {
                self.end = Some(*end);
                return;
            }
        }
    }
}

type HeaderOf = Result<(header::Read, Vec<u8>), HeaderError>;

fn read_header(file: &Source, len: u64) -> Result<HeaderOf, OpenError> {
    let mut start = vec![0; header::FILE_HEADER.min(usize::try_from(len).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut start, 0).map_err(OpenError::Io)?;
    let n = match header::length(&start) {
        Ok(n) if n as u64 <= len => n,
        Ok(_longer) => return Ok(Err(HeaderError::Short)),
        Err(error) => return Ok(Err(error)),
    };
    let mut bytes = vec![0; n];
    file.read_exact_at(&mut bytes, 0).map_err(OpenError::Io)?;
    Ok(header::decode(&bytes).map(|read| (read, bytes)))
}

fn refusal(error: HeaderError, len: u64) -> OpenError {
    match error {
        HeaderError::Foreign => OpenError::Foreign,
        HeaderError::Newer { major } => OpenError::Newer { major },
        HeaderError::Feature(name) => OpenError::Feature { name },
        HeaderError::Damaged => OpenError::Header,
        HeaderError::Short => OpenError::Short { bytes: len },
    }
}
