//! What of a file cannot be read, by name.

use std::fmt;
use std::ops::Range;

use session::Position;

/// What happened to a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The file's header; its copy was read instead.
    Header,
    /// Bytes that are no chunk where one should be.
    Chunk,
    /// A chunk whose payload does not fit its CRC.
    Payload,
    /// A chunk whose records are none.
    Records,
    /// A chunk that goes on behind the end of the file.
    Cut,
    /// Chunks that are missing, by their numbers.
    Missing,
    /// The file ends without an index and without an open chunk.
    End,
    /// The open chunk of a recording that was not ended.
    Tail,
    /// The index, which was made anew.
    Index,
    /// A chunk that does not follow from the one before: the file was changed.
    Chain,
}

impl What {
    /// A sentence about it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Header => "the header is damaged; its copy was read",
            Self::Chunk => "no chunk can be read here",
            Self::Payload => "a chunk's content is damaged",
            Self::Records => "a chunk's records cannot be read",
            Self::Cut => "a chunk is cut off",
            Self::Missing => "chunks are missing",
            Self::End => "the file is cut off; what stood behind is not known",
            Self::Tail => "the last records before the recording broke off are damaged",
            Self::Index => "the index is damaged; it was made anew",
            Self::Chain => "a chunk does not follow from the one before: the file was changed",
        }
    }
}

/// A part of a file that cannot be read, and what is lost by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which bytes.
    pub bytes: Range<u64>,
    /// What happened to them.
    pub what: What,
    /// Records that are lost; `None`: nobody knows how many.
    pub records: Option<u64>,
    /// Between which positions they stood.
    pub span: Option<Range<Position>>,
    /// Between which guest times, in nanoseconds.
    pub time_ns: Option<Range<u64>>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, what, records, span, time_ns } = self;
        write!(f, "bytes {}..{}: {}", bytes.start, bytes.end, what.text())?;
        match records {
            Some(0) => write!(f, "; nothing is lost")?,
            Some(n) => write!(f, "; {n} records are lost")?,
            None => {}
        }
        if let Some(span) = span.as_ref().filter(|_| *records != Some(0)) {
            write!(f, ", steps {} to {}", span.start.step, span.end.step)?;
            write!(f, ", events {} to {}", span.start.seq, span.end.seq)?;
        }
        if let Some(time) = time_ns.as_ref().filter(|_| *records != Some(0)) {
            write!(f, ", guest time {} to {} ns", time.start, time.end)?;
        }
        Ok(())
    }
}
