//! The index at the end of a file that was closed, and the trailer behind it.
//!
//! ```text
//! 0 magic "DVTINDEX"   8 offset of the first chunk of the index   16 chunks of the index
//! 20 zero             24 chain: that of the last chunk           56 zero   60 CRC of the 60 before
//! ```
//! A chunk of the index says first where its first chunk stands, then for each chunk its numbers as
//! differences to the chunk before.

use session::Position;

use crate::chunk::{ChunkKind, Codec, Meta};
use crate::varint::{Cursor, Malformed, is_crc, put, unzigzag, zigzag};

/// The first bytes of a trailer.
pub const TRAILER_MAGIC: [u8; 8] = *b"DVTINDEX";
/// Bytes of the trailer.
pub const TRAILER: usize = 64;
/// Bytes of a part of the index.
const PART_FULL: usize = 192 << 10;

/// A chunk and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) meta: Meta,
}

impl Entry {
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.meta.len())
    }
}

/// Collects the index while a file is written.
#[derive(Debug, Default)]
pub(crate) struct Index {
    parts: Vec<Vec<u8>>,
    before: Option<Entry>,
}

impl Index {
    pub(crate) fn add(&mut self, entry: Entry) {
        if self.parts.last().is_none_or(|part| part.len() >= PART_FULL) {
            self.parts.push(Vec::new());
            self.before = None;
        }
        let Some(out) = self.parts.last_mut() else { return };
        let base = self.before.map_or_else(|| Meta::new(ChunkKind::Records), |before| before.meta);
        if self.before.is_none() {
            put(out, entry.offset);
            put(out, entry.meta.seq);
        }
        let meta = &entry.meta;
        out.extend([meta.codec as u8, meta.kind_number]);
        for number in [meta.raw_len, meta.stored_len, meta.n_records, meta.kinds, meta.lost] {
            put(out, u64::from(number));
        }
        let mut put_signed =
            |value: u64, base: u64| put(out, zigzag(value.wrapping_sub(base).cast_signed()));
        put_signed(u64::from(meta.blob), u64::from(base.blob));
        put_signed(meta.first.step, base.last.step);
        put_signed(meta.first.seq, base.last.seq);
        put_signed(meta.first_ns, base.last_ns);
        put_signed(meta.last.step, meta.first.step);
        put_signed(meta.last.seq, meta.first.seq);
        put_signed(meta.last_ns, meta.first_ns);
        self.before = Some(entry);
    }

    pub(crate) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }
}

/// Reads a part of the index; at most `max` chunks can be in the file.
pub(crate) fn decode(raw: &[u8], entries: &mut Vec<Entry>, max: usize) -> Result<(), Malformed> {
    let cursor = &mut Cursor::new(raw);
    let (mut offset, mut seq) = (cursor.number()?, cursor.number()?);
    let mut base = Meta::new(ChunkKind::Records);
    while !cursor.is_empty() {
        if entries.len() >= max {
            return Err(Malformed);
        }
        let meta = entry(cursor, &base, seq)?;
        entries.push(Entry { offset, meta });
        offset = offset.checked_add(meta.len()).ok_or(Malformed)?;
        seq = seq.checked_add(1).ok_or(Malformed)?;
        base = meta;
    }
    Ok(())
}

fn entry(cursor: &mut Cursor<'_>, base: &Meta, seq: u64) -> Result<Meta, Malformed> {
    let codec = match cursor.byte()? {
        0 => Codec::Raw,
        1 => Codec::Zstd,
        _ => return Err(Malformed),
    };
    let kind_number = cursor.byte()?;
    let kind = ChunkKind::ALL.into_iter().find(|kind| *kind as u8 == kind_number);
    let mut narrow = || u32::try_from(cursor.number()?).map_err(|_wide| Malformed);
    let (raw_len, stored_len, n_records) = (narrow()?, narrow()?, narrow()?);
    let (kinds, lost) = (narrow()?, narrow()?);
    let mut signed = |base: u64| -> Result<u64, Malformed> {
        Ok(base.wrapping_add(unzigzag(cursor.number()?).cast_unsigned()))
    };
    let blob = u32::try_from(signed(u64::from(base.blob))?).map_err(|_wide| Malformed)?;
    let first = Position { step: signed(base.last.step)?, seq: signed(base.last.seq)? };
    let first_ns = signed(base.last_ns)?;
    let last = Position { step: signed(first.step)?, seq: signed(first.seq)? };
    let last_ns = signed(first_ns)?;
    Ok(Meta {
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
    })
}

/// The last bytes of a file that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) index: u64,
    pub(crate) parts: u32,
    pub(crate) chain: [u8; 32],
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        bytes[..8].copy_from_slice(&TRAILER_MAGIC);
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.parts.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.chain);
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; TRAILER]) -> Option<Self> {
        if bytes[..8] != TRAILER_MAGIC || !is_crc(crc32c::crc32c(&bytes[..60]), &bytes[60..]) {
            return None;
        }
        let cursor = &mut Cursor::new(&bytes[8..]);
        let (index, parts) = (cursor.u64().ok()?, cursor.u32().ok()?);
        cursor.u32().ok()?;
        Some(Self { index, parts, chain: cursor.array().ok()? })
    }
}
