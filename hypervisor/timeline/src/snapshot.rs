//! A moment of a recording as a file of its own, and as a guest that goes on from there.
//!
//! A snapshot is a recording of no steps: a header, what is known of the disk's image, and one
//! keyframe with every page that is not as the images left it. So whatever replays a recording
//! takes a snapshot, and any moment of any recording can be gone on from.

use std::sync::Arc;

use devices::virtio::block::Seen;
use machine::Tracking;
use session::{Position, Stop};
use traces::{DiskBlock, Frame, Packer, PageId, WriteError, Writer};

use crate::base::{self, Page};
use crate::error::TravelError;
use crate::kept;
use crate::player::{Player, Progress};
use crate::point::Point;
use crate::subject::Subject;

/// The disk's number: there is one.
const DISK: u8 = 0;

/// A guest that goes on, with other inputs than those that were recorded.
pub struct Resumed {
    /// The guest.
    pub subject: Box<dyn Subject>,
    /// What a recording of how it goes on has to begin with.
    pub origin: Origin,
}

impl std::fmt::Debug for Resumed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resumed").field("at", &self.subject.position()).finish_non_exhaustive()
    }
}

/// What was in memory before a guest's first step, of which its keyframes are the difference.
#[derive(Debug)]
pub struct Origin(pub(crate) Vec<Page>);

impl Player {
    /// Goes to a point at which the run is not over.
    ///
    /// # Errors
    /// [`TravelError::Over`] if it is, or another [`TravelError`].
    pub fn go_before_end(
        &mut self,
        point: Point,
        progress: Progress<'_>,
    ) -> Result<(), TravelError> {
        self.go(point, progress)?;
        let at = self.position().step;
        let Some(end) = self.reader().end().filter(|end| end.at.step <= at) else { return Ok(()) };
        let stop = end.stop.clone();
        match stop {
            // The end was only the user's, or came since there were no inputs: the step before
            // it and this one again, and it has not come yet.
            Stop::User | Stop::Deadlock if at > self.first().step => {
                self.seek(at - 1, progress)?;
                self.seek(at, progress)?;
            }
            Stop::StepLimit => return Ok(()),
            Stop::PowerOff
            | Stop::Failed { .. }
            | Stop::Reset
            | Stop::Deadlock
            | Stop::Killed { .. }
            | Stop::Crashed { .. }
            | Stop::User
            | _ => return Err(TravelError::Over { step: at, stop }),
        }
        match self.ended() {
            Some(stop) => Err(TravelError::Over { step: at, stop: stop.clone() }),
            None => Ok(()),
        }
    }

    /// The guest as it stands here, to go on.
    #[must_use]
    pub fn into_resumed(self) -> Resumed {
        let Self { mut subject, base, .. } = self;
        subject.machine_mut().memory_mut().track(Tracking::Off);
        if let Some(overlay) = subject.overlay() {
            overlay.track(false);
        }
        Resumed { subject, origin: Origin(base) }
    }

    /// Writes this moment as a snapshot; gives the end of its hash chain. `seen` is what is known
    /// of the disk's image.
    ///
    /// # Errors
    /// [`WriteError`]
    pub fn save(&mut self, mut writer: Writer, seen: &[Seen]) -> Result<[u8; 32], WriteError> {
        for seen in seen {
            put_on_record(&mut writer, seen)?;
        }
        let mut packer = Packer::new();
        know(&mut packer, &self.base);
        let frame = whole(&mut *self.subject, &self.base);
        writer.keyframe(&mut packer.pack(frame))?;
        writer.close()
    }
}

/// Where a snapshot, or a run that went on, is from: as a recording says it.
#[must_use]
pub fn origin_text(id: &[u8; 16], at: Position) -> String {
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{id} at step {}", at.step)
}

/// What became known of a disk's image.
///
/// # Errors
/// [`WriteError`]
pub fn put_on_record(writer: &mut Writer, seen: &Seen) -> Result<(), WriteError> {
    match seen {
        Seen::Block { block, hash } => {
            writer.disk_read(&DiskBlock { disk: DISK, block: *block, hash: *hash })
        }
        Seen::Page { page, before } => writer.pre_image(DISK, *page, &before[..]),
    }
}

/// Pages that are in no keyframe, for they are loaded from images.
pub(crate) fn know(packer: &mut Packer, pages: &[Page]) {
    for (page, content) in pages {
        packer.know(base::ram(*page), content);
    }
}

/// The subject here, with every page that is not as it was loaded.
pub(crate) fn whole(subject: &mut dyn Subject, loaded: &[Page]) -> Frame {
    let (at, time_ns) = (subject.position(), subject.machine().now_ns());
    let mut pages = Vec::new();
    let memory = subject.machine().platform().memory();
    let mut loaded = loaded.iter().peekable();
    for (page, now) in base::ram_pages(memory) {
        let before = loaded.next_if(|(it, _)| *it == page).map(|(_, content)| content);
        if now != before.map(|content| &**content) {
            pages.push((base::ram(page), now.map(|bytes| Arc::new(*bytes))));
        }
    }
    if let Some(overlay) = subject.overlay() {
        let written = overlay.pages().into_iter();
        pages.extend(written.map(|page| -> (PageId, _) { (base::disk(page), overlay.page(page)) }));
    }
    Frame { at, time_ns, state: kept::save(subject), pages }
}
