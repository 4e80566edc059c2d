//! The open chunk: records as they are written, in a part of the file that is mapped, shared.
//!
//! ```text
//!    0 slot  magic "DVTTAIL1" | seq | where its chunk will stand | CRC of these | state
//!   64 slot
//! 4096 records, not compressed
//! ```
//! `state` is the number of committed bytes and their CRC in one word, which is stored after them:
//! a process that is killed leaves all records whose word was stored. The slots take turns, so
//! that one of them is whole at any time; the one with the larger `seq` holds.

use std::io;

use crate::map::Map;
use crate::varint::{Cursor, Malformed, is_crc};

/// The first bytes of a slot.
pub const TAIL_MAGIC: [u8; 8] = *b"DVTTAIL1";
/// Bytes of a slot.
pub const TAIL_SLOT: usize = 64;
/// Where the records begin.
pub const TAIL_DATA: usize = 4096;
/// Bytes of the whole tail.
pub const TAIL_SIZE: usize = TAIL_DATA + TAIL_ROOM;
/// Bytes of records that it has room for.
pub const TAIL_ROOM: usize = 512 << 10;
/// It stands at a multiple of this.
pub const TAIL_ALIGN: u64 = 4096;

const AT_STATE: usize = 32;

/// Which chunk the tail is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) seq: u64,
    /// Offset of the chunk; every chunk before has been written.
    pub(crate) end: u64,
}

impl Slot {
    fn encode(self) -> [u8; AT_STATE] {
        let mut bytes = [0; AT_STATE];
        bytes[..8].copy_from_slice(&TAIL_MAGIC);
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.end.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<(Self, u64), Malformed> {
        let cursor = &mut Cursor::new(bytes);
        let magic = cursor.array()?;
        let slot = Self { seq: cursor.u64()?, end: cursor.u64()? };
        let crc = cursor.u32()?;
        cursor.u32()?;
        let state = cursor.u64()?;
        let good = magic == TAIL_MAGIC && is_crc(crc32c::crc32c(&bytes[..24]), &crc.to_le_bytes());
        if good { Ok((slot, state)) } else { Err(Malformed) }
    }
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Tail {
    map: Map,
    /// Which slot holds.
    turn: usize,
    slot: Slot,
    len: usize,
    crc: u32,
}

impl Tail {
    /// On a part of the file that was just reserved.
    pub(crate) fn new(map: Map, slot: Slot) -> Self {
        let mut tail = Self { map, turn: 1, slot, len: 0, crc: 0 };
        tail.reset(slot);
        tail
    }

    /// The next chunk begins: what was committed is in the file.
    pub(crate) fn reset(&mut self, slot: Slot) {
        self.turn ^= 1;
        (self.slot, self.len, self.crc) = (slot, 0, 0);
        let at = self.turn * TAIL_SLOT;
        // Until its CRC is there, this slot is none.
        self.map.store(at + AT_STATE, 0);
        self.map.write(at, &slot.encode());
    }

    /// The same records in another place.
    pub(crate) fn moved(&self, map: Map) -> Self {
        let mut tail = Self::new(map, self.slot);
        let mut bytes = Vec::new();
        self.read(&mut bytes);
        tail.append(&bytes);
        tail
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn room(&self) -> usize {
        TAIL_ROOM - self.len
    }

    /// What is committed.
    pub(crate) fn read(&self, bytes: &mut Vec<u8>) {
        self.map.read(TAIL_DATA, self.len, bytes);
    }

    /// Commits some bytes; there must be room for them.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.map.write(TAIL_DATA + self.len, bytes);
        self.len += bytes.len();
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        let state = self.len as u64 | u64::from(self.crc) << 32;
        self.map.store(self.turn * TAIL_SLOT + AT_STATE, state);
    }
}

/// What a reader finds in a tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It holds these records of this chunk.
    Records(Slot, Vec<u8>),
    /// It held something, which is damaged; of which chunk, if that is known.
    Damaged(Option<Slot>),
}

/// Looks at the bytes of a tail, which may be cut off; `None`: there is none.
pub(crate) fn look(bytes: &[u8]) -> Option<Found> {
    let part = |turn: usize| bytes.get(turn * TAIL_SLOT..(turn + 1) * TAIL_SLOT);
    let slots = [part(0)?, part(1)?];
    if !slots.iter().any(|slot| slot[..8] == TAIL_MAGIC) {
        return None;
    }
    let word = |slot: &[u8]| Cursor::new(&slot[AT_STATE..]).u64().unwrap_or(0);
    // A slot that is being written is no slot yet, and its state is zero.
    let spoilt = slots.iter().any(|slot| Slot::decode(slot).is_err() && word(slot) != 0);
    let whole = slots.iter().filter_map(|slot| Slot::decode(slot).ok());
    let Some((slot, state)) = whole.max_by_key(|(slot, _)| slot.seq).filter(|_| !spoilt) else {
        return Some(Found::Damaged(None));
    };
    let len = usize::try_from(state & 0xffff_ffff).unwrap_or(usize::MAX);
    let committed = len.checked_add(TAIL_DATA).and_then(|end| bytes.get(TAIL_DATA..end));
    Some(match committed {
        Some(committed) if is_crc(crc32c::crc32c(committed), &state.to_le_bytes()[4..]) => {
            Found::Records(slot, committed.to_vec())
        }
        _ => Found::Damaged(Some(slot)),
    })
}

/// A place where a file is kept: the host's, memory, or a test's.
pub(crate) trait Medium: Send + std::fmt::Debug {
    /// Writes all bytes at an offset.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Takes space for a part of the file, so that a store to it cannot fail, and maps it.
    fn map(&mut self, at: u64, len: usize) -> io::Result<Map>;
    /// Cuts the file.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Waits until all is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// What was written, if that is in memory only.
    fn take_bytes(&mut self) -> Vec<u8> {
        Vec::new()
    }
}
