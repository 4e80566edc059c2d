//! Finds the chunks of a file: by its index, or one after another.

use std::io;

use super::{Open, ReadError, Reader};
use crate::chunk::{CHUNK_HEADER, CHUNK_MAGIC, ChunkHead, ChunkKind, Codec, Meta, Seed, bit};
use crate::damage::{Damage, What};
use crate::header;
use crate::index::{self, Entry, TRAILER, Trailer};
use crate::memory::Source;
use crate::record::{Decoder, Record};
use crate::tail::{self, Found, TAIL_ALIGN, TAIL_SIZE};
use crate::varint::Cursor;

/// Bytes that are looked through at a time.
const STRIDE: u64 = 1 << 20;
/// The copy of a header is looked for in so many bytes.
const COPY_WITHIN: u64 = 4 << 20;

/// What is lost with a chunk whose header is known.
pub(super) fn loss(entry: &Entry, what: What) -> Damage {
    let Entry { offset, meta } = entry;
    let records = match meta.kind {
        Some(ChunkKind::Records) | None => Some(u64::from(meta.n_records)),
        Some(ChunkKind::Header | ChunkKind::Index) => Some(0),
        // A keyframe, or a part of some.
        Some(ChunkKind::Blob | ChunkKind::Pages | ChunkKind::Keyframe) => None,
    };
    Damage {
        bytes: *offset..entry.end(),
        what,
        records,
        span: Some(meta.first..meta.last),
        time_ns: Some(meta.first_ns..meta.last_ns),
    }
}

/// Reads what is there, which may be less than was asked for.
fn part(file: &Source, at: u64, len: u64, file_len: u64) -> io::Result<Vec<u8>> {
    let len = len.min(file_len.saturating_sub(at));
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The copy of a header that is damaged.
pub(super) fn header_copy(
    file: &Source,
    len: u64,
    damages: &mut Vec<Damage>,
) -> io::Result<Option<(header::Read, Vec<u8>)>> {
    let bytes = part(file, 0, COPY_WITHIN, len)?;
    for (at, window) in bytes.windows(CHUNK_HEADER).enumerate() {
        if window[..4] != CHUNK_MAGIC {
            continue;
        }
        let head = window.try_into().ok();
        // Copies are not seeded with the id.
        let Some(head) = head.and_then(|head| ChunkHead::decode(head, Seed::new(&[0; 16]))) else {
            continue;
        };
        let payload = at + CHUNK_HEADER..at + CHUNK_HEADER + head.meta.stored_len as usize;
        let Some(payload) = bytes.get(payload).filter(|_| head.meta.is(ChunkKind::Header)) else {
            continue;
        };
        let raw = match head.meta.codec {
            Codec::Raw => Some(payload.to_vec()),
            Codec::Zstd => zstd::bulk::decompress(payload, head.meta.raw_len as usize).ok(),
        };
        // It stands right behind the header whose copy it is.
        let read = raw.and_then(|raw| Some((header::decode(&raw).ok()?, raw)));
        if let Some((read, raw)) = read.filter(|(read, _)| read.len == at) {
            let bytes = 0..at as u64;
            let what = What::Header;
            damages.push(Damage { bytes, what, records: Some(0), span: None, time_ns: None });
            return Ok(Some((read, raw)));
        }
    }
    Ok(None)
}

/// What stands somewhere in a file.
enum Place {
    Chunk(Entry),
    Tail(u64, Found),
}

impl Reader {
    pub(super) fn find_chunks(&mut self) -> io::Result<()> {
        let trailer = self.trailer()?;
        if let Some(entries) = trailer.as_ref().and_then(|trailer| self.by_index(trailer)) {
            self.chunks = entries;
            return Ok(());
        }
        let had_trailer = trailer.is_some();
        self.walk(had_trailer)
    }

    fn trailer(&self) -> io::Result<Option<Trailer>> {
        let mut bytes = [0; TRAILER];
        let Some(at) = self.len.checked_sub(TRAILER as u64) else { return Ok(None) };
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Trailer::decode(&bytes))
    }

    /// All chunks as the index says; `None`: it is not right.
    fn by_index(&self, trailer: &Trailer) -> Option<Vec<Entry>> {
        let max = usize::try_from(self.len / CHUNK_HEADER as u64).ok()?;
        let mut entries = Vec::new();
        let mut at = trailer.index;
        for _ in 0..trailer.parts {
            let entry = self.chunk_at(at).ok()?.filter(|entry| entry.meta.is(ChunkKind::Index))?;
            index::decode(&self.raw(&entry).ok()?, &mut entries, max).ok()?;
            at = entry.end();
        }
        let whole = at == self.len - TRAILER as u64
            && entries.first().is_some_and(|first| {
                first.offset == self.header_bytes.len() as u64 && first.meta.seq == 0
            })
            && entries.windows(2).all(|pair| {
                pair[0].end() == pair[1].offset && pair[1].meta.seq == pair[0].meta.seq + 1
            })
            && entries.last().is_some_and(|last| last.end() == trailer.index);
        whole.then_some(entries)
    }

    /// The chunk whose header stands here.
    pub(super) fn chunk_at(&self, at: u64) -> io::Result<Option<Entry>> {
        let head = part(&self.file, at, CHUNK_HEADER as u64, self.len)?;
        let head = <&[u8; CHUNK_HEADER]>::try_from(&*head).ok();
        let head = head.and_then(|head| ChunkHead::decode(head, self.seed));
        Ok(head.map(|head| Entry { offset: at, meta: head.meta }))
    }

    /// Goes from chunk to chunk, and looks for the next one where there is none.
    fn walk(&mut self, had_trailer: bool) -> io::Result<()> {
        let mut at = self.header_bytes.len() as u64;
        let mut next = 0;
        let mut tail: Option<(u64, Found)> = None;
        let mut index_from = None;
        while at < self.len {
            let here = self.chunk_at(at)?.filter(|entry| entry.meta.seq >= next);
            let (found, passed) = match here {
                Some(entry) => (Some(entry), at),
                None => self.search(at, next, &mut tail)?,
            };
            let Some(entry) = found else {
                self.rest(at, next, index_from, had_trailer, tail)?;
                return Ok(());
            };
            if passed > at || entry.meta.seq > next {
                self.gap(at..passed, &entry);
            }
            if entry.end() > self.len {
                let damage = Damage { bytes: entry.offset..self.len, ..loss(&entry, What::Cut) };
                // A chunk that was being written when the process was killed is in the tail still.
                self.rest_or(entry.offset, next, tail, damage)?;
                return Ok(());
            }
            (at, next) = (entry.end(), entry.meta.seq + 1);
            if entry.meta.is(ChunkKind::Index) {
                index_from.get_or_insert(entry.offset);
            } else {
                self.chunks.push(entry);
            }
        }
        self.rest(at, next, index_from, had_trailer, tail)
    }

    /// The next chunk with a number of at least `next`, and where it stands. Tails on the way are
    /// noted.
    fn search(
        &self,
        from: u64,
        next: u64,
        tail: &mut Option<(u64, Found)>,
    ) -> io::Result<(Option<Entry>, u64)> {
        let mut at = from;
        while at < self.len {
            let bytes = part(&self.file, at, STRIDE + CHUNK_HEADER as u64, self.len)?;
            for place in self.places(at, &bytes)? {
                match place {
                    Place::Chunk(entry) if entry.meta.seq >= next => {
                        return Ok((Some(entry), entry.offset));
                    }
                    Place::Tail(offset, found) if better(tail.as_ref(), &found) => {
                        *tail = Some((offset, found));
                    }
                    Place::Chunk(_) | Place::Tail(..) => {}
                }
            }
            at += STRIDE;
        }
        Ok((None, self.len))
    }

    /// What begins in the first [`STRIDE`] of some bytes.
    fn places(&self, at: u64, bytes: &[u8]) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        let starts = bytes.len().min(usize::try_from(STRIDE).unwrap_or(usize::MAX));
        let mut index = 0;
        while let Some(step) = bytes[index..starts].iter().position(|byte| *byte == CHUNK_MAGIC[0])
        {
            index += step;
            let offset = at + index as u64;
            if bytes[index..].starts_with(&CHUNK_MAGIC) {
                let head = bytes[index..].first_chunk();
                let head = head.and_then(|head| ChunkHead::decode(head, self.seed));
                places.extend(head.map(|head| Place::Chunk(Entry { offset, meta: head.meta })));
            }
            index += 1;
        }
        let first = at.next_multiple_of(TAIL_ALIGN);
        for offset in (first..at + starts as u64).step_by(4096) {
            let inside = usize::try_from(offset - at).unwrap_or(usize::MAX);
            let slots = bytes.get(inside..).is_some_and(|rest| {
                let slot = |turn: usize| rest.get(turn * tail::TAIL_SLOT..);
                [slot(0), slot(1)]
                    .into_iter()
                    .flatten()
                    .any(|slot| slot.starts_with(&tail::TAIL_MAGIC))
            });
            if slots {
                let found = self.tail_at(offset)?;
                places.extend(found.map(|found| Place::Tail(offset, found)));
            }
        }
        Ok(places)
    }

    /// A tail, whose records may be changing at this moment.
    fn tail_at(&self, at: u64) -> io::Result<Option<Found>> {
        let mut found = None;
        for _ in 0..8 {
            let bytes = part(&self.file, at, TAIL_SIZE as u64, self.len)?;
            found = tail::look(&bytes);
            if matches!(found, Some(Found::Records(..)) | None) {
                break;
            }
        }
        Ok(found)
    }

    /// Chunks are missing between two that were found.
    fn gap(&mut self, bytes: std::ops::Range<u64>, after: &Entry) {
        let before = self.chunks.last().map(|entry| entry.meta);
        let what = if bytes.is_empty() { What::Missing } else { What::Chunk };
        let span = before.map(|before| before.last..after.meta.first);
        let time_ns = before.map(|before| before.last_ns..after.meta.first_ns);
        let n_missing = after.meta.seq.saturating_sub(before.map_or(0, |before| before.seq + 1));
        let records = (n_missing == 0 || before.is_none() && n_missing == 1).then_some(0);
        self.note(&Damage { bytes, what, records, span, time_ns });
    }

    /// Behind the last chunk: an open chunk, the remains of an index, or damage.
    fn rest(
        &mut self,
        at: u64,
        next: u64,
        index_from: Option<u64>,
        had_trailer: bool,
        tail: Option<(u64, Found)>,
    ) -> io::Result<()> {
        if index_from.is_some() || had_trailer {
            let bytes = index_from.unwrap_or(at)..self.len;
            let none =
                Damage { bytes, what: What::Index, records: Some(0), span: None, time_ns: None };
            self.note(&none);
            return Ok(());
        }
        let last = self.chunks.last().map(|entry| entry.meta);
        let what = if at < self.len { What::Chunk } else { What::End };
        let span = last.map(|last| last.last..last.last);
        let time_ns = last.map(|last| last.last_ns..last.last_ns);
        let damage = Damage { bytes: at..self.len, what, records: None, span, time_ns };
        self.rest_or(at, next, tail, damage)
    }

    /// An open chunk, or else this damage.
    fn rest_or(
        &mut self,
        at: u64,
        next: u64,
        mut tail: Option<(u64, Found)>,
        damage: Damage,
    ) -> io::Result<()> {
        if tail.is_none() {
            self.search(at, u64::MAX, &mut tail)?;
        }
        let (at, next) = match &tail {
            Some((_, Found::Records(slot, _))) => self.without_torn(slot.seq, at, next),
            Some((_, Found::Damaged(_))) | None => (at, next),
        };
        match tail {
            Some((offset, Found::Records(slot, raw))) if slot.seq >= next => {
                if slot.seq > next {
                    // Nothing but the chunks before it is missing.
                    self.note(&Damage { bytes: at..offset, ..damage });
                }
                self.open_chunk(offset, slot.seq, raw);
            }
            Some((offset, Found::Damaged(_))) => {
                let end = (offset + TAIL_SIZE as u64).min(self.len);
                self.note(&Damage { bytes: offset..end, what: What::Tail, ..damage });
            }
            Some(_) | None => self.note(&damage),
        }
        Ok(())
    }

    /// A tail with the number of the last chunk: that one was being written when the process was
    /// killed, or it was written and the tail was not told any more.
    fn without_torn(&mut self, seq: u64, at: u64, next: u64) -> (u64, u64) {
        let torn = self.chunks.last().copied().filter(|entry| {
            let is_torn = || matches!(self.stored(entry), Err(ReadError::Damaged(_)));
            entry.meta.seq == seq && entry.meta.seq + 1 == next && is_torn()
        });
        match torn {
            Some(entry) => {
                self.chunks.pop();
                (entry.offset, seq)
            }
            None => (at, next),
        }
    }

    /// The records of a tail as a chunk.
    fn open_chunk(&mut self, offset: u64, seq: u64, raw: Vec<u8>) {
        let before = self.chunks.last().map(|entry| entry.meta);
        let mut now = before.map_or_else(Default::default, |meta| (meta.last, meta.last_ns));
        let mut meta = Meta { seq, ..Meta::new(ChunkKind::Records) };
        let mut cursor = Cursor::new(&raw);
        let mut decoder = Decoder::new();
        let mut good = 0;
        while !cursor.is_empty() {
            let tag = raw[raw.len() - cursor.left()];
            let Ok(record) = decoder.next(&self.format, &mut cursor) else { break };
            now = record.now().map_or(now, |(at, time_ns)| (at, time_ns.unwrap_or(now.1)));
            if meta.n_records == 0 {
                (meta.first, meta.first_ns) = now;
            }
            (meta.last, meta.last_ns) = now;
            if let Record::Lost { events } = record {
                let events = u32::try_from(events).unwrap_or(u32::MAX);
                meta.lost = meta.lost.saturating_add(events);
            }
            meta.n_records += 1;
            meta.kinds |= bit(tag);
            good = raw.len() - cursor.left();
        }
        if good < raw.len() {
            let bytes = offset..offset + TAIL_SIZE as u64;
            let (span, time_ns) = (Some(now.0..now.0), Some(now.1..now.1));
            self.note(&Damage { bytes, what: What::Records, records: None, span, time_ns });
        }
        let raw = raw[..good].to_vec();
        if meta.n_records > 0 {
            meta.raw_len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
            meta.stored_len = meta.raw_len;
            self.open = Some(Open { entry: Entry { offset, meta }, raw });
        }
    }
}

/// Of several tails the one holds that is the newest, or has more in it.
fn better(old: Option<&(u64, Found)>, new: &Found) -> bool {
    match (old.map(|(_, found)| found), new) {
        (None, _) | (Some(Found::Damaged(_)), Found::Records(..)) => true,
        (Some(Found::Records(old, a)), Found::Records(new, b)) => {
            (new.seq, b.len()) >= (old.seq, a.len())
        }
        (Some(_), Found::Damaged(_)) => false,
    }
}

impl ReadError {
    /// The damage, if it is one.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        match self {
            Self::Damaged(damage) => Some(damage),
            Self::Io(_) | Self::NoKeyframe(_) | Self::TooLarge { .. } => None,
        }
    }
}
