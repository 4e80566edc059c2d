//! New recordings from old ones: all that can be read, or a part.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use session::Position;
use thiserror::Error;

use crate::damage::Damage;
use crate::packer::{Frame, Packer};
use crate::reader::{Loaded, OpenError, ReadError, Reader};
use crate::record::Record;
use crate::schema::hex;
use crate::writer::{WriteError, Writer};

/// Why there is no new recording.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The old one cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Or not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new one cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The old one has nothing there.
    #[error("the recording ends at step {}", last.step)]
    Empty {
        /// Where it ends.
        last: Position,
    },
}

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Records that are in the new one.
    pub records: u64,
    /// Keyframes that are.
    pub keyframes: u64,
    /// What could not be read of the old one.
    pub damages: Vec<Damage>,
    /// The chain of the new one.
    pub chain: [u8; 32],
}

/// Writes a new recording with all of an old one that can be read.
///
/// # Errors
/// [`CopyError`].
pub fn repair(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    let everything = Position::default()..=Position { step: u64::MAX, seq: u64::MAX };
    copy(from, to, &everything, false)
}

/// Writes a new recording of a part of an old one: from the last keyframe at or before its begin
/// on, which the new one begins with, so that all of the part can be visited.
///
/// # Errors
/// [`CopyError`].
pub fn cut(from: &Path, to: &Path, range: RangeInclusive<Position>) -> Result<Copied, CopyError> {
    copy(from, to, &range, true)
}

/// Copies keyframes between records.
struct Copy<'a> {
    source: &'a mut Reader,
    writer: Writer,
    packer: Packer,
    /// Keyframes still to come, and the one before.
    keyframes: std::iter::Peekable<std::ops::Range<usize>>,
    before: Option<usize>,
    n_keyframes: u64,
}

fn copy(
    from: &Path,
    to: &Path,
    range: &RangeInclusive<Position>,
    is_part: bool,
) -> Result<Copied, CopyError> {
    let (mut source, _) = Reader::open(from)?;
    if is_part && *range.start() > source.last().0 {
        return Err(CopyError::Empty { last: source.last().0 });
    }
    let keyframes = source.keyframes();
    let first = keyframes.partition_point(|keyframe| keyframe.at <= *range.start());
    let first = if is_part { first.saturating_sub(1) } else { 0 };
    let end = keyframes.partition_point(|keyframe| keyframe.at <= *range.end());
    let begin = keyframes.get(first).map_or(Position::default(), |keyframe| keyframe.at);
    let begin = if is_part && begin <= *range.start() { begin } else { Position::default() };

    let mut header = source.header().clone();
    if is_part {
        let edge = hex(&source.chain_before(begin)?);
        let part = format!("{} from step {} on, chain {edge}", hex(&header.id), begin.step);
        header.settings.push(("part-of".to_owned(), part));
    }
    let (records, _) = Reader::open(from)?;
    let writer = Writer::create(to, &header)?;
    let mut copy = Copy {
        source: &mut source,
        writer,
        packer: Packer::new(),
        keyframes: (first..end.max(first)).peekable(),
        before: None,
        n_keyframes: 0,
    };
    let mut n_records = 0;
    let mut damages = Vec::new();
    // Inputs up to the begin are in the keyframe; what disks held is needed from the begin on.
    for record in records.records(Position::default()) {
        match record {
            Ok(record) => n_records += u64::from(copy.record(&record, begin, *range.end())?),
            Err(ReadError::Damaged(damage)) => damages.push(damage),
            Err(error) => return Err(error.into()),
        }
    }
    copy.keyframes_up_to(*range.end())?;
    let chain = copy.writer.close()?;
    let n_keyframes = copy.n_keyframes;
    for damage in damages {
        source.note(&damage);
    }
    let damages = source.damages().to_vec();
    Ok(Copied { records: n_records, keyframes: n_keyframes, damages, chain })
}

impl Copy<'_> {
    /// Whether it was copied.
    fn record(
        &mut self,
        record: &Record,
        begin: Position,
        end: Position,
    ) -> Result<bool, CopyError> {
        if let Some((at, _)) = record.now() {
            if at < begin || at > end {
                return Ok(false);
            }
            self.keyframes_up_to(at)?;
        }
        match record {
            Record::Event(event) => self.writer.event(event)?,
            Record::Input(input) => self.writer.input(input)?,
            Record::DiskRead(block) => self.writer.disk_read(block)?,
            Record::PreImage { disk, block, bytes } => {
                self.writer.pre_image(*disk, *block, bytes)?;
            }
            Record::Lost { events } => self.writer.lose(*events),
            Record::End(end) => self.writer.record_end(end)?,
            // Its bytes mean something only to its schema.
            Record::Unknown { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Copies the keyframes that stand before a record.
    fn keyframes_up_to(&mut self, at: Position) -> Result<(), CopyError> {
        while let Some(index) = self.keyframes.next_if(|index| {
            self.source.keyframes().get(*index).is_some_and(|keyframe| keyframe.at <= at)
        }) {
            let loaded = match self.before {
                Some(before) => self.source.load_between(before, index),
                None => self.source.load(index),
            };
            let loaded = match loaded {
                Ok(loaded) => loaded,
                // A part of it is gone; the source has noted which. The next one may be whole.
                Err(ReadError::Damaged(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let frame = self.frame(index, &loaded);
            let hash = self.source.keyframes()[index].hash;
            self.writer.keyframe(&mut self.packer.pack_copy(frame, hash))?;
            self.before = Some(index);
            self.n_keyframes += 1;
        }
        Ok(())
    }

    fn frame(&self, index: usize, loaded: &Loaded) -> Frame {
        let info = &self.source.keyframes()[index];
        let pages = loaded.pages().map(|(id, content)| (id, content.map(|page| Arc::new(*page))));
        let (at, time_ns) = (info.at, info.time_ns);
        Frame { at, time_ns, state: loaded.state.clone(), pages: pages.collect() }
    }
}
