//! Records in order, from any position on.

use std::collections::BTreeMap;

use session::{Event, Position};

use super::{ReadError, Reader, scan};
use crate::chunk::{ChunkKind, bit};
use crate::damage::What;
use crate::index::Entry;
use crate::record::{Decoder, DiskBlock, InputRecord, Record};
use crate::schema::table;
use crate::varint::Cursor;

/// Bits of all tags.
const ALL: u32 = u32::MAX;
/// Bits of what a run sent.
const EVENTS: u32 = 1 << table::EXIT
    | 1 << table::TRAP
    | 1 << table::CONSOLE
    | 1 << table::INPUT_EVENT
    | 1 << table::VM
    | 1 << table::OTHER_EVENT;

/// Which chunk and which of its records holds a block.
pub(super) type PreImages = BTreeMap<(u8, u64), (Entry, u32)>;

/// Records in the order in which they were written. A chunk that is damaged is an error, once; the
/// next item is that of the next chunk.
#[derive(Debug)]
pub struct Records<'a> {
    reader: &'a Reader,
    /// Chunks still to be read.
    chunks: std::vec::IntoIter<Entry>,
    entry: Option<Entry>,
    raw: Vec<u8>,
    done: usize,
    decoder: Decoder,
}

impl<'a> Records<'a> {
    fn of(reader: &'a Reader, chunks: Vec<Entry>) -> Self {
        let chunks = chunks.into_iter();
        Self { reader, chunks, entry: None, raw: Vec::new(), done: 0, decoder: Decoder::new() }
    }

    pub(super) fn of_chunk(reader: &'a Reader, entry: &Entry) -> Self {
        Self::of(reader, vec![*entry])
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.done == self.raw.len() {
            let entry = self.chunks.next()?;
            self.entry = Some(entry);
            self.decoder = Decoder::new();
            (self.raw, self.done) = (Vec::new(), 0);
            match self.reader.raw(&entry) {
                Ok(raw) => self.raw = raw,
                Err(error) => return Some(Err(error)),
            }
        }
        let mut cursor = Cursor::new(&self.raw[self.done..]);
        match self.decoder.next(&self.reader.format, &mut cursor) {
            Ok(record) => {
                self.done = self.raw.len() - cursor.left();
                Some(Ok(record))
            }
            Err(_malformed) => {
                self.done = self.raw.len();
                let entry = self.entry?;
                Some(Err(ReadError::Damaged(scan::loss(&entry, What::Records))))
            }
        }
    }
}

/// What a run sent, in order, from a position on.
#[derive(Debug)]
pub struct Events<'a> {
    records: Records<'a>,
    from: Position,
}

impl Iterator for Events<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(Record::Event(event)) if event.position() >= self.from => {
                    return Some(Ok(event));
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Reader {
    /// Chunks that may have records with these tags, from the first that ends at `from` or later.
    fn chunks_with(&self, kinds: u32, from: Position) -> Vec<Entry> {
        let skip = self.chunks.partition_point(|entry| entry.meta.last < from);
        let wanted =
            |entry: &&Entry| entry.meta.is(ChunkKind::Records) && entry.meta.kinds & kinds != 0;
        let open = self.open.as_ref().map(|open| &open.entry);
        self.chunks[skip..].iter().chain(open).filter(wanted).copied().collect()
    }

    /// All records of all kinds, from the chunk on in which a position lies.
    #[must_use]
    pub fn records(&self, from: Position) -> Records<'_> {
        Records::of(self, self.chunks_with(ALL, from))
    }

    /// What the run sent from a position on: at once, however long the recording is.
    #[must_use]
    pub fn events(&self, from: Position) -> Events<'_> {
        Events { records: Records::of(self, self.chunks_with(EVENTS, from)), from }
    }

    /// Records with some tags, as many as can be read. Damage is noted in [`Reader::damages`].
    fn gather<T>(
        &mut self,
        tag: u8,
        mut pick: impl FnMut(Record) -> Option<T>,
    ) -> Result<Vec<T>, ReadError> {
        let mut found = Vec::new();
        let mut damages = Vec::new();
        for record in Records::of(self, self.chunks_with(bit(tag), Position::default())) {
            match record {
                Ok(record) => found.extend(pick(record)),
                Err(ReadError::Damaged(damage)) => damages.push(damage),
                Err(error) => return Err(error),
            }
        }
        damages.iter().for_each(|damage| self.note(damage));
        Ok(found)
    }

    /// Everything that came in, as much as can be read: see [`Reader::damages`] afterwards.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn inputs(&mut self) -> Result<Vec<InputRecord>, ReadError> {
        self.gather(table::INPUT, |record| {
            if let Record::Input(input) = record { Some(input) } else { None }
        })
    }

    /// What blocks of disks held when they were first read, as much as can be read.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn disk_reads(&mut self) -> Result<Vec<DiskBlock>, ReadError> {
        self.gather(table::DISK_READ, |record| {
            if let Record::DiskRead(block) = record { Some(block) } else { None }
        })
    }

    /// How many events were not recorded, since the disk was full.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn lost(&mut self) -> Result<u64, ReadError> {
        let lost = self.gather(table::LOST, |record| {
            if let Record::Lost { events } = record { Some(events) } else { None }
        })?;
        Ok(lost.into_iter().fold(0, u64::saturating_add))
    }

    /// A block of a disk as it was before it was first written.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn pre_image(&mut self, disk: u8, block: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if self.pre_images.is_none() {
            self.pre_images = Some(self.find_pre_images()?);
        }
        let found = self.pre_images.as_ref().and_then(|all| all.get(&(disk, block)));
        let Some((entry, index)) = found.copied() else { return Ok(None) };
        let record = Records::of_chunk(self, &entry).nth(index as usize);
        match record.transpose()? {
            Some(Record::PreImage { bytes, .. }) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    fn find_pre_images(&mut self) -> Result<PreImages, ReadError> {
        let mut found = PreImages::new();
        let mut damages = Vec::new();
        for entry in self.chunks_with(bit(table::PRE_IMAGE), Position::default()) {
            for (index, record) in (0..).zip(Records::of_chunk(self, &entry)) {
                match record {
                    Ok(Record::PreImage { disk, block, .. }) => {
                        found.entry((disk, block)).or_insert((entry, index));
                    }
                    Ok(_) => {}
                    Err(ReadError::Damaged(damage)) => damages.push(damage),
                    Err(error) => return Err(error),
                }
            }
        }
        damages.iter().for_each(|damage| self.note(damage));
        Ok(found)
    }
}

impl Record {
    /// Where it stands and, if it says so, when.
    #[must_use]
    pub fn now(&self) -> Option<(Position, Option<u64>)> {
        match self {
            Self::Event(event) => Some((event.position(), time_of(event))),
            Self::Input(input) => Some((input.at, Some(input.time_ns))),
            Self::End(end) => Some((end.at, Some(end.time_ns))),
            Self::DiskRead(_)
            | Self::PreImage { .. }
            | Self::Lost { .. }
            | Self::Unknown { .. } => None,
        }
    }
}

/// The guest time of an event, if it has one.
#[inline]
pub(crate) fn time_of(event: &Event) -> Option<u64> {
    match event {
        Event::Exit(exit) => Some(exit.time_ns),
        Event::Trap(trap) => Some(trap.time_ns),
        Event::Console { .. } | Event::Input { .. } | Event::Vm { .. } | _ => None,
    }
}
