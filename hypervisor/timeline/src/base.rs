//! What is in memory before the first step: loaded from images that a recording names, so that no
//! keyframe has to hold it.

use std::sync::Arc;

use machine::{Memory, PAGE};
use session::NoInputs;
use traces::PageId;

use crate::subject::{Around, Subject};

/// RAM, among what has pages.
pub(crate) const RAM: u8 = 0;
/// What was written to the disk.
pub(crate) const DISK: u8 = 1;

/// A page of RAM and what is in it.
pub(crate) type Page = (u32, Arc<[u8; PAGE]>);

/// A page of RAM as a recording has it.
pub(crate) fn ram(page: u32) -> PageId {
    PageId { space: RAM, page: page.into() }
}

/// A page of the disk as a recording has it.
pub(crate) fn disk(page: u64) -> PageId {
    PageId { space: DISK, page }
}

/// Lets a subject that has not run load its images; gives all pages that it has written.
pub(crate) fn load(subject: &mut dyn Subject) -> Vec<Page> {
    // No step is made, so there is no slice whose end could ask for an input.
    subject.run_until(&mut Around::new(&mut NoInputs), 0);
    pages(subject)
}

/// All pages of RAM that were ever written.
pub(crate) fn pages(subject: &dyn Subject) -> Vec<Page> {
    let memory = subject.machine().platform().memory();
    ram_pages(memory).filter_map(|(page, now)| Some((page, Arc::new(*now?)))).collect()
}

/// All pages of RAM; those that were never written are zero.
pub(crate) fn ram_pages(memory: &Memory) -> impl Iterator<Item = (u32, Option<&[u8; PAGE]>)> {
    let n_pages = u32::try_from(memory.size() / PAGE).unwrap_or(u32::MAX);
    (0..n_pages).map(|page| (page, memory.page(page)))
}
