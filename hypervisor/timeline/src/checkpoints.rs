//! Checkpoints of a run in memory: an undo log that goes back page by page.
//!
//! ```text
//!   checkpoint      0          1          2            now
//!   state           ●──────────●──────────●─────────────┤
//!   images of       pages that changed    pages that
//!                   on the way to 1       changed since
//! ```
//! Each checkpoint has the state of harts and devices, and for each page that was written before
//! the next checkpoint what was in it. To go back to one, the oldest image of every page written
//! since then is put back: the cost grows with these pages, not with memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use devices::virtio::block::{Dirtied as DiskDirtied, Overlay};
use machine::{Before, Dirtied, PAGE, Tracking};
use session::Position;
use state::Damaged;

use crate::subject::Subject;

/// How densely checkpoints lie, and what they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    /// Bytes that a chain may take.
    pub budget: usize,
    /// Steps between checkpoints on the way forwards.
    pub coarse: u64,
    /// Steps between checkpoints on the way to a place just passed: there is more going back to
    /// come.
    pub fine: u64,
    /// Loading a keyframe costs as much as so many steps.
    pub load: u64,
}

/// Some milliseconds of running, and less than one.
impl Default for Grain {
    fn default() -> Self {
        Self { budget: 256 << 20, coarse: 1 << 20, fine: 1 << 15, load: 24 << 20 }
    }
}

/// A point to which the run can go back.
#[derive(Debug)]
struct Checkpoint {
    at: Position,
    time_ns: u64,
    /// Steps of each hart.
    harts: Vec<u64>,
    state: Arc<[u8]>,
    images: Vec<Dirtied>,
    /// The same for the disk.
    disk: Vec<DiskDirtied>,
}

impl Checkpoint {
    fn of(subject: &mut dyn Subject) -> Self {
        let machine = subject.machine();
        let harts = machine.harts().iter().map(hart::Hart::steps).collect();
        let (at, time_ns) = (subject.position(), machine.now_ns());
        let state = state::save(subject_state(subject)).into();
        Self { at, time_ns, harts, state, images: Vec::new(), disk: Vec::new() }
    }

    fn bytes(&self) -> usize {
        let page = |image: &Dirtied| match image.before {
            Before::Bytes(_) => PAGE + size_of::<Dirtied>(),
            Before::Untouched | Before::NotKept => size_of::<Dirtied>(),
        };
        let disk = self.disk.len() * (PAGE + size_of::<DiskDirtied>());
        self.state.len() + self.images.iter().map(page).sum::<usize>() + disk
    }
}

/// The part of a subject that [`state`] saves.
fn subject_state(subject: &mut dyn Subject) -> &mut dyn state::State {
    subject
}

/// What is known of a checkpoint without going there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it is.
    pub at: Position,
    /// Guest time in ns.
    pub time_ns: u64,
}

/// The checkpoints behind a subject, by rising position, the first one being the farthest back
/// that it can go.
#[derive(Debug)]
pub struct Chain {
    points: Vec<Checkpoint>,
    budget: usize,
    bytes: usize,
}

impl Chain {
    /// A chain that begins where the subject is.
    pub fn begin(subject: &mut dyn Subject, budget: usize) -> Self {
        subject.machine_mut().memory_mut().track(Tracking::Images);
        if let Some(overlay) = subject.overlay() {
            overlay.track(true);
        }
        let first = Checkpoint::of(subject);
        let bytes = first.bytes();
        Self { points: vec![first], budget, bytes }
    }

    /// The checkpoints.
    pub fn marks(&self) -> impl DoubleEndedIterator<Item = Mark> + ExactSizeIterator {
        self.points.iter().map(|point| Mark { at: point.at, time_ns: point.time_ns })
    }

    /// How many there are; at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The first step to which it can go back.
    #[must_use]
    pub fn first_step(&self) -> u64 {
        self.points.first().map_or(0, |point| point.at.step)
    }

    /// The step of the newest checkpoint.
    #[must_use]
    pub fn last_step(&self) -> u64 {
        self.points.last().map_or(0, |point| point.at.step)
    }

    /// The last checkpoint at or before a step.
    #[must_use]
    pub fn before(&self, step: u64) -> Option<usize> {
        self.points.partition_point(|point| point.at.step <= step).checked_sub(1)
    }

    /// The last checkpoint at which this hart had made fewer steps than that.
    #[must_use]
    pub fn before_hart_step(&self, hart: usize, steps: u64) -> Option<usize> {
        let earlier = |point: &Checkpoint| point.harts.get(hart).is_some_and(|n| *n < steps);
        self.points.partition_point(earlier).checked_sub(1)
    }

    /// Whether a page of RAM was written between this checkpoint and the next one, or now.
    pub fn wrote(&mut self, subject: &mut dyn Subject, index: usize, pages: &[u32]) -> bool {
        if index + 1 == self.points.len() {
            self.settle(subject);
        }
        self.points[index].images.iter().any(|image| pages.contains(&image.page))
    }

    /// Marks every page of RAM that was written since the first checkpoint.
    pub fn mark_written(&mut self, subject: &mut dyn Subject, written: &mut [bool]) {
        self.settle(subject);
        for image in self.points.iter().flat_map(|point| &point.images) {
            if let Some(written) = written.get_mut(image.page as usize) {
                *written = true;
            }
        }
    }

    /// A checkpoint where the subject is.
    pub fn push(&mut self, subject: &mut dyn Subject) {
        if self.last_step() == subject.position().step {
            return;
        }
        self.settle(subject);
        let point = Checkpoint::of(subject);
        self.bytes += point.bytes();
        self.points.push(point);
        while self.bytes > self.budget && self.points.len() > 2 {
            self.thin();
        }
    }

    /// Takes over what the memory has noted since the newest checkpoint.
    fn settle(&mut self, subject: &mut dyn Subject) {
        let dirtied = subject.machine_mut().memory_mut().next_epoch();
        let disk = subject.overlay().map(Overlay::next_epoch).unwrap_or_default();
        let Some(last) = self.points.last_mut() else { return };
        self.bytes -= last.bytes();
        merge(&mut last.images, dirtied, |image| u64::from(image.page));
        merge(&mut last.disk, disk, |image| image.page);
        self.bytes += last.bytes();
    }

    /// Takes one checkpoint away: where they are dense, compared with how long ago it was.
    fn thin(&mut self) {
        let now = self.last_step();
        let density = |i: usize| {
            let gap = self.points[i + 1].at.step - self.points[i - 1].at.step;
            let age = (now - self.points[i].at.step).max(1);
            u128::from(gap) * 1024 / u128::from(age)
        };
        let Some(index) = (1..self.points.len() - 1).min_by_key(|i| density(*i)) else { return };
        let gone = self.points.remove(index);
        let kept = &mut self.points[index - 1];
        self.bytes -= kept.bytes() + gone.bytes();
        merge(&mut kept.images, gone.images, |image| u64::from(image.page));
        merge(&mut kept.disk, gone.disk, |image| image.page);
        self.bytes += kept.bytes();
    }

    /// Goes back to a checkpoint; those after it are gone.
    ///
    /// # Errors
    /// [`Damaged`] if what was saved cannot be loaded, which is an error of this program.
    pub fn restore(&mut self, subject: &mut dyn Subject, index: usize) -> Result<(), Damaged> {
        self.settle(subject);
        self.restore_memory(subject, index)?;
        self.restore_disk(subject, index)?;
        self.points.truncate(index + 1);
        self.points[index].images.clear();
        self.points[index].disk.clear();
        self.bytes = self.points.iter().map(Checkpoint::bytes).sum();
        let state = Arc::clone(&self.points[index].state);
        state::load(subject_state(subject), &state)
    }

    /// The oldest image of a page is what was in it.
    fn restore_memory(&self, subject: &mut dyn Subject, index: usize) -> Result<(), Damaged> {
        let memory = subject.machine_mut().memory_mut();
        let mut seen = vec![false; memory.size() / PAGE];
        for image in self.points[index..].iter().flat_map(|point| &point.images) {
            if std::mem::replace(&mut seen[image.page as usize], true) {
                continue;
            }
            match &image.before {
                Before::Bytes(bytes) => memory.put_page(image.page, Some(bytes)),
                Before::Untouched => memory.put_page(image.page, None),
                Before::NotKept => return Err(Damaged { what: "a page has no image" }),
            }
        }
        Ok(())
    }

    fn restore_disk(&self, subject: &mut dyn Subject, index: usize) -> Result<(), Damaged> {
        let Some(overlay) = subject.overlay() else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for image in self.points[index..].iter().flat_map(|point| &point.disk) {
            if seen.insert(image.page) {
                let put = overlay.put_page(image.page, image.before.clone());
                put.or(Err(Damaged { what: "a page of the disk cannot be put back" }))?;
            }
        }
        Ok(())
    }
}

/// Adds images of pages that have none: the older one is the one that counts.
fn merge<T>(images: &mut Vec<T>, newer: Vec<T>, page: impl Fn(&T) -> u64) {
    if images.is_empty() {
        *images = newer;
        return;
    }
    let known: BTreeSet<u64> = images.iter().map(&page).collect();
    images.extend(newer.into_iter().filter(|image| !known.contains(&page(image))));
}
