//! The file format of recordings: writer, reader, recovery.
//!
//! A file is a header, chunks one after the other, and an index. Whatever a [`Writer`] was given
//! is in the file when the call returns, also if the process is killed at that moment. A
//! [`Reader`] opens what is left of a file, names what is not, and never needs more memory than
//! the file's own limits say. The layout is normative: `docs/src/trace-format.md`.
//!
//! Nothing here runs a hart, starts a thread, looks at the host's time or prints. The only unsafe
//! code is the mapping of the open chunk, in `map.rs`.

mod chunk;
mod damage;
mod header;
mod index;
mod map;
mod memory;
mod memory_hash;
mod packer;
mod print;
mod reader;
mod record;
mod repair;
mod schema;
mod tail;
mod varint;
mod writer;

pub use chunk::{ChunkKind, PAGE};
pub use damage::{Damage, What};
pub use header::{Header, Image, Kind};
pub use memory_hash::{MemoryHash, PageId};
pub use packer::{Frame, Packed, Packer};
pub use print::{Filter, Shown, cat, event_line, info, info_text, record_json};
pub use reader::{
    Events, KeyframeInfo, Loaded, Moment, OpenError, ReadError, Reader, Records, Verified,
};
pub use record::{DiskBlock, End, How, InputRecord, Record, StateHash};
pub use repair::{Copied, CopyError, cut, repair};
pub use schema::schema_table;
pub use writer::{WriteError, Writer};

/// Numbers of the layout, which `docs/src/trace-format.md` draws.
pub mod layout {
    pub use crate::chunk::{
        BLOB_PAGES, CHUNK_FULL, CHUNK_HEADER, CHUNK_MAGIC, CHUNK_RECORDS, CHUNK_VERSION, Codec,
        RAW_MAX,
    };
    pub use crate::header::{BODY_MAX, FILE_HEADER, FILE_MAGIC, MAJOR, MINOR, REQUIRED};
    pub use crate::index::{TRAILER, TRAILER_MAGIC};
    pub use crate::schema::Wire;
    pub use crate::tail::{TAIL_ALIGN, TAIL_DATA, TAIL_MAGIC, TAIL_ROOM, TAIL_SIZE, TAIL_SLOT};
}
