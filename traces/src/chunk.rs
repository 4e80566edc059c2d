//! The chunk: a header of 128 bytes and a payload that decodes alone.
//!
//! ```text
//!   0 magic "DVTC"      4 version, codec, kind, flags      8 seq
//!  16 raw length       20 stored length   24 records      28 kinds of records (bit set)
//!  32 first step       40 first event     48 last step    56 last event
//!  64 first time ns    72 last time ns    80 events lost  84 CRC of the payload
//!  88 chain (32)      120 blob number    124 CRC: the id, then the 124 bytes before
//! ```

use session::Position;

use crate::varint::{Cursor, Malformed, is_crc};

/// The first bytes of a chunk.
pub const CHUNK_MAGIC: [u8; 4] = *b"DVTC";
/// Bytes of a chunk's header.
pub const CHUNK_HEADER: usize = 128;
/// The version of the chunk header.
pub const CHUNK_VERSION: u8 = 1;
/// A chunk of records is full at so many bytes.
pub const CHUNK_FULL: usize = 256 << 10;
/// Or at so many records.
pub const CHUNK_RECORDS: u32 = 16 << 10;
/// No payload is longer than this when decompressed: a record that is longer is refused.
pub const RAW_MAX: usize = 16 << 20;
/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Pages in a blob, at most.
pub const BLOB_PAGES: usize = 64;

const AT_KIND: usize = 6;
const AT_CHAIN: usize = 88;
const AT_CRC: usize = CHUNK_HEADER - 4;

/// How a payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One frame of Zstandard.
    Zstd = 1,
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkKind {
    /// A second copy of the file's header.
    Header = 1,
    /// Records.
    Records = 2,
    /// Pages, or a piece of saved state.
    Blob = 3,
    /// Which pages a keyframe has, and where they are.
    Pages = 4,
    /// A keyframe; what it consists of stands before it.
    Keyframe = 5,
    /// A part of the index.
    Index = 6,
}

impl ChunkKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Header, Self::Records, Self::Blob, Self::Pages, Self::Keyframe, Self::Index];

    fn new(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Records => "records",
            Self::Blob => "blob",
            Self::Pages => "pages",
            Self::Keyframe => "keyframe",
            Self::Index => "index",
        }
    }
}

/// What a chunk's header says, but for the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) codec: Codec,
    /// `None`: a kind that this program does not know.
    pub(crate) kind: Option<ChunkKind>,
    /// The number in the file.
    pub(crate) kind_number: u8,
    pub(crate) seq: u64,
    pub(crate) raw_len: u32,
    pub(crate) stored_len: u32,
    pub(crate) n_records: u32,
    /// Bit n: there is a record with tag n (31: with tag 31 or more).
    pub(crate) kinds: u32,
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// Events that were not recorded since the chunk before.
    pub(crate) lost: u32,
    pub(crate) blob: u32,
}

impl Meta {
    pub(crate) fn new(kind: ChunkKind) -> Self {
        Self {
            codec: Codec::Raw,
            kind: Some(kind),
            kind_number: kind as u8,
            seq: 0,
            raw_len: 0,
            stored_len: 0,
            n_records: 0,
            kinds: 0,
            first: Position::default(),
            last: Position::default(),
            first_ns: 0,
            last_ns: 0,
            lost: 0,
            blob: 0,
        }
    }

    pub(crate) fn is(&self, kind: ChunkKind) -> bool {
        self.kind == Some(kind)
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        CHUNK_HEADER as u64 + u64::from(self.stored_len)
    }

    /// Whether there may be a record with this tag.
    pub(crate) fn has(&self, tag: u8) -> bool {
        self.kinds & bit(tag) != 0
    }

    fn is_sound(&self) -> bool {
        let lengths = match self.codec {
            Codec::Raw => self.raw_len == self.stored_len,
            Codec::Zstd => self.stored_len < self.raw_len,
        };
        lengths && self.raw_len as usize <= RAW_MAX && self.seq < u64::MAX
    }
}

/// The bit of a tag in [`Meta::kinds`].
pub(crate) fn bit(tag: u8) -> u32 {
    1 << tag.min(31)
}

/// Where the CRC of chunk headers begins: at that of the recording's id, so that what a guest
/// writes, or a recording inside a recorded disk, is never taken for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(id: &[u8; 16]) -> Self {
        Self(crc32c::crc32c(id))
    }

    /// Copies of the header must be readable where the id is not known.
    fn crc(self, bytes: &[u8; CHUNK_HEADER]) -> u32 {
        let seed = if bytes[AT_KIND] == ChunkKind::Header as u8 { 0 } else { self.0 };
        crc32c::crc32c_append(seed, &bytes[..AT_CRC])
    }
}

/// A header as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    pub(crate) meta: Meta,
    pub(crate) payload_crc: u32,
    pub(crate) chain: [u8; 32],
}

/// The header's bytes with chain and CRC left zero: what the chain goes over.
fn bare(meta: &Meta, payload_crc: u32) -> [u8; CHUNK_HEADER] {
    let mut out = Vec::with_capacity(CHUNK_HEADER);
    out.extend(CHUNK_MAGIC);
    out.extend([CHUNK_VERSION, meta.codec as u8, meta.kind_number, 0]);
    out.extend(meta.seq.to_le_bytes());
    for value in [meta.raw_len, meta.stored_len, meta.n_records, meta.kinds] {
        out.extend(value.to_le_bytes());
    }
    let span = [meta.first.step, meta.first.seq, meta.last.step, meta.last.seq];
    for value in span.into_iter().chain([meta.first_ns, meta.last_ns]) {
        out.extend(value.to_le_bytes());
    }
    out.extend(meta.lost.to_le_bytes());
    out.extend(payload_crc.to_le_bytes());
    out.extend([0; 32]);
    out.extend(meta.blob.to_le_bytes());
    out.extend([0; 4]);
    let mut bytes = [0; CHUNK_HEADER];
    bytes.copy_from_slice(&out);
    bytes
}

/// The link of a chunk: over the link before, the header and the payload.
pub(crate) fn link(before: &[u8; 32], meta: &Meta, payload_crc: u32, payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&bare(meta, payload_crc)).update(payload);
    *hasher.finalize().as_bytes()
}

impl ChunkHead {
    /// For a payload as it is stored.
    pub(crate) fn new(meta: Meta, payload: &[u8], before: &[u8; 32]) -> Self {
        let payload_crc = crc32c::crc32c(payload);
        Self { meta, payload_crc, chain: link(before, &meta, payload_crc, payload) }
    }

    pub(crate) fn encode(&self, seed: Seed) -> [u8; CHUNK_HEADER] {
        let mut bytes = bare(&self.meta, self.payload_crc);
        bytes[AT_CHAIN..AT_CHAIN + 32].copy_from_slice(&self.chain);
        let crc = seed.crc(&bytes);
        bytes[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None`: these are not the bytes of a header.
    pub(crate) fn decode(bytes: &[u8; CHUNK_HEADER], seed: Seed) -> Option<Self> {
        if bytes[..4] != CHUNK_MAGIC || !is_crc(seed.crc(bytes), &bytes[AT_CRC..]) {
            return None;
        }
        Self::fields(&mut Cursor::new(&bytes[4..AT_CRC])).ok().filter(|head| head.meta.is_sound())
    }

    fn fields(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let version = cursor.byte()?;
        let codec = match cursor.byte()? {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(Malformed),
        };
        let kind_number = cursor.byte()?;
        let flags = cursor.byte()?;
        if version != CHUNK_VERSION || flags != 0 {
            return Err(Malformed);
        }
        let seq = cursor.u64()?;
        let (raw_len, stored_len) = (cursor.u32()?, cursor.u32()?);
        let (n_records, kinds) = (cursor.u32()?, cursor.u32()?);
        let first = Position { step: cursor.u64()?, seq: cursor.u64()? };
        let last = Position { step: cursor.u64()?, seq: cursor.u64()? };
        let (first_ns, last_ns) = (cursor.u64()?, cursor.u64()?);
        let (lost, payload_crc) = (cursor.u32()?, cursor.u32()?);
        let chain = cursor.array()?;
        let blob = cursor.u32()?;
        let kind = ChunkKind::new(kind_number);
        let meta = Meta {
            codec,
            kind,
            kind_number,
            seq,
            raw_len,
            stored_len,
            n_records,
            kinds,
            first,
            last,
            first_ns,
            last_ns,
            lost,
            blob,
        };
        Ok(Self { meta, payload_crc, chain })
    }
}

#[cfg(test)]
mod tests {
    //! Headers that nobody wrote.

    use super::{CHUNK_HEADER, ChunkHead, ChunkKind, Meta, RAW_MAX, Seed};

    #[test]
    fn what_cannot_be_is_no_header() {
        let seed = Seed::new(&[5; 16]);
        let good = Meta { seq: 7, ..Meta::new(ChunkKind::Blob) };
        let read =
            |meta| ChunkHead::decode(&ChunkHead::new(meta, b"", &[0; 32]).encode(seed), seed);
        assert_eq!(read(good).map(|head| head.meta), Some(good));
        let long = u32::try_from(RAW_MAX + 1).unwrap();
        for bad in [
            // The number of the next chunk would be none.
            Meta { seq: u64::MAX, ..good },
            Meta { raw_len: long, stored_len: long, ..good },
            Meta { raw_len: 1, ..good },
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let mut bytes: [u8; CHUNK_HEADER] = ChunkHead::new(good, b"", &[0; 32]).encode(seed);
        assert_eq!(ChunkHead::decode(&bytes, Seed::new(&[6; 16])), None);
        bytes[7] = 1;
        assert_eq!(ChunkHead::decode(&bytes, seed), None);
    }
}
