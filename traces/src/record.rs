//! Records: what a run sent, what came into it, and what the recording says about itself.

use session::{Event, Input, Position, Stop};

use crate::schema::{Generic, Registers, Schema, table};
use crate::varint::{Cursor, Malformed};

mod decode;
mod encode;

pub(crate) use encode::{Encoder, bound, bound_of_input};

/// How an input entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Where a slice ended.
    Slice,
    /// While every vCPU waited.
    Idle,
}

/// An input and where it entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRecord {
    /// Where in the run.
    pub at: Position,
    /// Guest time in nanoseconds that it carries.
    pub time_ns: u64,
    /// How it entered.
    pub how: How,
    /// The input.
    pub input: Input,
}

/// What a block of a disk held when it was first read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBlock {
    /// Which disk.
    pub disk: u8,
    /// Which block of 64 KiB.
    pub block: u64,
    /// BLAKE3 of its content.
    pub hash: [u8; 32],
}

/// Hashes of a moment: the state without memory, and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHash {
    /// BLAKE3 of the saved state.
    pub state: [u8; 32],
    /// The value of a [`crate::MemoryHash`].
    pub ram: [u8; 32],
}

/// How a recording ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Where in the run.
    pub at: Position,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// Why.
    pub stop: Stop,
    /// The state at the end.
    pub hash: StateHash,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Something that the run sent.
    Event(Event),
    /// Something that came in.
    Input(InputRecord),
    /// A block of a disk that was read.
    DiskRead(DiskBlock),
    /// A block of a disk before it was first written.
    PreImage {
        /// Which disk.
        disk: u8,
        /// Which block of 64 KiB.
        block: u64,
        /// What it held.
        bytes: Vec<u8>,
    },
    /// Events that were not recorded, since the disk was full.
    Lost {
        /// How many.
        events: u64,
    },
    /// The end.
    End(Box<End>),
    /// A kind of record that this program does not know.
    Unknown {
        /// Its tag.
        tag: u8,
        /// All of it, in JSON.
        json: String,
    },
}

/// What a decoder has to know about the file.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) schema: Schema,
    /// By tag: written as this program writes it.
    agrees: Vec<bool>,
}

impl Format {
    pub(crate) fn new(schema: Schema) -> Self {
        let ours = Schema::ours();
        let agrees = (0..=u8::MAX).map(|tag| schema.agrees(&ours, tag)).collect();
        Self { schema, agrees }
    }
}

/// Reads the records of one chunk, one by one.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    registers: Registers,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { registers: Registers::new() }
    }

    pub(crate) fn next(
        &mut self,
        format: &Format,
        cursor: &mut Cursor<'_>,
    ) -> Result<Record, Malformed> {
        let tag = cursor.byte()?;
        if format.agrees[usize::from(tag)] {
            return decode::record(&mut self.registers, tag, cursor);
        }
        let json = Generic::new(&format.schema, &mut self.registers).record(tag, cursor)?;
        // An event that has got more fields since is one still.
        let event = (tag < table::OTHER_EVENT).then(|| serde_json::from_str(&json).ok()).flatten();
        Ok(event.map_or(Record::Unknown { tag, json }, Record::Event))
    }
}
