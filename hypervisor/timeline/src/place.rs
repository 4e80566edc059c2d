//! A keyframe's pages put where they belong: RAM, and what was written to the disk.

use std::sync::Arc;

use machine::PAGE;
use state::Damaged;

use crate::base;
use crate::error::TravelError;
use crate::kept;
use crate::subject::Subject;

/// Takes a subject to a keyframe, at this step. Of its RAM these pages may be others now.
pub(crate) fn go(
    subject: &mut dyn Subject,
    base: &[base::Page],
    loaded: &traces::Loaded,
    changed: &[bool],
    step: u64,
) -> Result<(), TravelError> {
    let damaged = |damaged| TravelError::Keyframe { step, damaged };
    put(subject, base, loaded, changed).map_err(damaged)?;
    kept::load(subject, &loaded.state).map_err(damaged)
}

/// Puts those of a keyframe's pages that changed where they belong: as they were loaded, or else as
/// they were at the begin.
fn put(
    subject: &mut dyn Subject,
    base: &[base::Page],
    loaded: &traces::Loaded,
    changed: &[bool],
) -> Result<(), Damaged> {
    let mut written = Vec::new();
    let memory = subject.machine_mut().memory_mut();
    let n_pages = memory.size() / PAGE;
    let mut there: Vec<bool> = changed.iter().map(|changed| !changed).collect();
    for (id, content) in loaded.pages() {
        if id.space == base::DISK {
            written.push((id.page, content.map(|bytes| Arc::new(*bytes))));
            continue;
        }
        let page = usize::try_from(id.page).ok();
        let page = page.filter(|page| id.space == base::RAM && *page < n_pages);
        let page = page.ok_or(Damaged { what: "a page is not in memory" })?;
        there[page] = true;
        memory.put_page(u32::try_from(page).unwrap_or(u32::MAX), content);
    }
    for (page, content) in base {
        if !std::mem::replace(&mut there[*page as usize], true) {
            memory.put_page(*page, Some(content));
        }
    }
    for (page, there) in (0..).zip(there) {
        if !there {
            memory.put_page(page, None);
        }
    }
    put_disk(subject, written)
}

/// The same for what was written to the disk.
fn put_disk(
    subject: &mut dyn Subject,
    written: Vec<(u64, Option<Arc<[u8; PAGE]>>)>,
) -> Result<(), Damaged> {
    let Some(overlay) = subject.overlay() else {
        let none = written.is_empty();
        return if none { Ok(()) } else { Err(Damaged { what: "there is no disk" }) };
    };
    let damaged = |_| Damaged { what: "a page is not on the disk" };
    for page in overlay.pages() {
        overlay.put_page(page, None).map_err(damaged)?;
    }
    for (page, content) in written {
        // A page of zeros is one that was written.
        let content = content.unwrap_or_else(|| Arc::new([0; PAGE]));
        overlay.put_page(page, Some(content)).map_err(damaged)?;
    }
    Ok(())
}
