//! Keyframes: which there are, and the memory of a moment.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use session::Position;

use super::{ReadError, Reader, scan};
use crate::chunk::{BLOB_PAGES, ChunkKind, PAGE};
use crate::damage::{Damage, What};
use crate::index::Entry;
use crate::memory_hash::PageId;
use crate::record::StateHash;
use crate::varint::{Cursor, Malformed, unzigzag};

/// A keyframe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyframeInfo {
    /// Where in the run.
    pub at: Position,
    /// Guest time in nanoseconds.
    pub time_ns: u64,
    /// Hashes of that moment.
    pub hash: StateHash,
    /// Pages that were written to since the keyframe before.
    pub n_pages: u64,
}

/// Where the parts of a keyframe stand.
#[derive(Clone, Debug)]
pub(super) struct Keyframe {
    entry: Entry,
    lists: Vec<Entry>,
    state: std::ops::Range<u32>,
    state_len: u64,
}

/// The state and the pages of a moment.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The saved state without memory.
    pub state: Vec<u8>,
    /// Contents of pages, one after the other.
    contents: Vec<u8>,
    /// Pages in order, and which of the contents is theirs.
    pages: Vec<(PageId, Option<usize>)>,
}

impl Loaded {
    /// Pages in order, each once; `None`: it is all zero.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = (PageId, Option<&[u8; PAGE]>)> {
        let (contents, _) = self.contents.as_chunks();
        self.pages.iter().map(|(id, index)| (*id, index.map(|index| &contents[index])))
    }
}

/// A page and where its content stands.
type Placed = (PageId, Option<u64>);

impl Reader {
    /// All keyframes of which nothing is known to be missing, in order.
    #[must_use]
    pub fn keyframes(&self) -> &[KeyframeInfo] {
        &self.infos
    }

    /// Keyframes whose chunks are there.
    pub(super) fn find_keyframes(&mut self) {
        let mut lists = Vec::new();
        let mut damages = Vec::new();
        // A list that is gone leaves all later keyframes without some of their pages.
        let mut broken = false;
        for entry in self.chunks.clone() {
            match entry.meta.kind {
                Some(ChunkKind::Blob) => self.blobs.push(entry),
                Some(ChunkKind::Pages) => lists.push(entry),
                Some(ChunkKind::Keyframe) => {
                    let lists = std::mem::take(&mut lists);
                    match self.keyframe_at(&entry, &lists) {
                        Ok(Some((keyframe, info))) if !broken => {
                            self.keyframes.push(keyframe);
                            self.infos.push(info);
                        }
                        Ok(_) => broken = true,
                        Err(error) => {
                            broken = true;
                            damages.extend(error.damage().cloned());
                        }
                    }
                }
                _ => {}
            }
        }
        damages.iter().for_each(|damage| self.note(damage));
        self.find_usable();
    }

    /// Where blobs are missing, keyframes that need them are left out; later ones may not.
    fn find_usable(&mut self) {
        let numbers = self.blobs.iter().map(|entry| u64::from(entry.meta.blob));
        if numbers.eq(0..self.blobs.len() as u64) {
            self.usable = (0..self.keyframes.len()).collect();
            return;
        }
        let have = |blob: u64| {
            let key = |entry: &Entry| u64::from(entry.meta.blob);
            self.blobs.binary_search_by_key(&blob, key).is_ok()
        };
        let mut newest: BTreeMap<PageId, Option<u64>> = BTreeMap::new();
        let mut n_missing = 0;
        let mut usable = Vec::new();
        for (index, keyframe) in self.keyframes.iter().enumerate() {
            let mut placed = Vec::new();
            if self.list(keyframe, &mut placed).is_err() {
                break;
            }
            let is_missing = |place: Option<u64>| {
                usize::from(place.is_some_and(|place| !have(place / BLOB_PAGES as u64)))
            };
            for (id, place) in placed {
                n_missing += is_missing(place);
                n_missing -= newest.insert(id, place).map_or(0, is_missing);
            }
            let state = keyframe.state.clone().all(|blob| have(u64::from(blob)));
            if state && n_missing == 0 {
                usable.push(index);
            }
        }
        self.infos = usable.iter().map(|index| self.infos[*index].clone()).collect();
        self.usable = usable;
    }

    /// `None`: not all of its lists are there.
    fn keyframe_at(
        &self,
        entry: &Entry,
        lists: &[Entry],
    ) -> Result<Option<(Keyframe, KeyframeInfo)>, ReadError> {
        let raw = self.raw(entry)?;
        let parse = || -> Result<_, Malformed> {
            let cursor = &mut Cursor::new(&raw);
            let hash = StateHash { state: cursor.array()?, ram: cursor.array()? };
            let (state_len, blob, n) = (cursor.number()?, cursor.number()?, cursor.number()?);
            let first = u32::try_from(blob).map_err(|_wide| Malformed)?;
            let last = u32::try_from(blob.saturating_add(n)).map_err(|_wide| Malformed)?;
            Ok((hash, state_len, first..last, cursor.number()?, cursor.number()?))
        };
        let damaged = |Malformed| ReadError::Damaged(scan::loss(entry, What::Records));
        let (hash, state_len, state, n_lists, n_pages) = parse().map_err(damaged)?;
        let listed: u64 = lists.iter().map(|list| u64::from(list.meta.n_records)).sum();
        if lists.len() as u64 != n_lists || listed != n_pages {
            return Ok(None);
        }
        let (at, time_ns) = (entry.meta.first, entry.meta.first_ns);
        let keyframe = Keyframe { entry: *entry, lists: lists.to_vec(), state, state_len };
        Ok(Some((keyframe, KeyframeInfo { at, time_ns, hash, n_pages })))
    }

    /// Pages that were written to between the keyframe before this one and this one, in order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn keyframe_pages(&self, keyframe: usize) -> Result<Vec<PageId>, ReadError> {
        let mut placed = Vec::new();
        // Pages of keyframes that are left out are among those of the next one.
        let before = keyframe.checked_sub(1).and_then(|before| self.usable.get(before));
        let first = before.map_or(0, |before| before + 1);
        for keyframe in (first..=self.number(keyframe)?).rev() {
            self.list(&self.keyframes[keyframe], &mut placed)?;
        }
        newest(&mut placed);
        Ok(placed.into_iter().map(|(id, _)| id).collect())
    }

    /// Its number among all.
    fn number(&self, keyframe: usize) -> Result<usize, ReadError> {
        self.usable.get(keyframe).copied().ok_or(ReadError::NoKeyframe(keyframe))
    }

    fn list(&self, keyframe: &Keyframe, placed: &mut Vec<Placed>) -> Result<(), ReadError> {
        for entry in &keyframe.lists {
            let raw = self.raw(entry)?;
            let most = self.limit / PAGE as u64;
            let n = placed.len() as u64 + u64::from(entry.meta.n_records);
            if n > most {
                return Err(ReadError::TooLarge { limit: self.limit });
            }
            let damaged = |Malformed| ReadError::Damaged(scan::loss(entry, What::Records));
            pages(&raw, entry.meta.n_records, placed).map_err(damaged)?;
        }
        Ok(())
    }

    /// The state at a keyframe, and the newest content of every page that was ever written to.
    ///
    /// # Errors
    /// [`ReadError`]; another keyframe may be there still.
    pub fn load(&mut self, keyframe: usize) -> Result<Loaded, ReadError> {
        let loaded = self.load_some(keyframe, &|_| true, &mut || true)?;
        Ok(loaded.unwrap_or_default())
    }

    /// The state at a keyframe, and the newest content of those pages that are wanted and were
    /// ever written to. `go_on` is asked every few milliseconds; `None`: it said no.
    ///
    /// # Errors
    /// [`ReadError`]; another keyframe may be there still.
    pub fn load_some(
        &mut self,
        keyframe: usize,
        wanted: &dyn Fn(PageId) -> bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Loaded>, ReadError> {
        self.load_pages(None, keyframe, wanted, go_on)
    }

    /// The state at `to`, and the content there of every page that was written to after `from`.
    ///
    /// # Errors
    /// [`ReadError`]; another keyframe may be there still.
    pub fn load_between(&mut self, from: usize, to: usize) -> Result<Loaded, ReadError> {
        let loaded = self.load_pages(Some(from), to, &|_| true, &mut || true)?;
        Ok(loaded.unwrap_or_default())
    }

    fn load_pages(
        &mut self,
        after: Option<usize>,
        last: usize,
        wanted: &dyn Fn(PageId) -> bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Loaded>, ReadError> {
        let first = after.map_or(Ok(0), |after| Ok(self.number(after)? + 1))?;
        let loaded = self.try_load(first..=self.number(last)?, wanted, go_on);
        if let Err(ReadError::Damaged(damage)) = &loaded {
            self.note(&damage.clone());
        }
        loaded
    }

    /// The saved state at a keyframe, without memory.
    ///
    /// # Errors
    /// [`ReadError`]; another keyframe may be there still.
    pub fn load_state(&self, keyframe: usize) -> Result<Vec<u8>, ReadError> {
        self.state(&self.keyframes[self.number(keyframe)?])
    }

    fn try_load(
        &self,
        range: RangeInclusive<usize>,
        wanted: &dyn Fn(PageId) -> bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Loaded>, ReadError> {
        let found = &self.keyframes[*range.end()];
        let most = self.limit / PAGE as u64;
        let (mut placed, mut listed): (Vec<Placed>, Vec<Placed>) = (Vec::new(), Vec::new());
        // The newest first: a stable sort then keeps it before older ones.
        for keyframe in range.rev() {
            if !go_on() {
                return Ok(None);
            }
            self.list(&self.keyframes[keyframe], &mut listed)?;
            placed.extend(listed.drain(..).filter(|(id, _)| wanted(*id)));
            // Each page is listed many times.
            if keyframe.is_multiple_of(8) {
                newest(&mut placed);
            }
            if placed.len() as u64 > 8 * most {
                return Err(ReadError::TooLarge { limit: self.limit });
            }
        }
        newest(&mut placed);
        let mut loaded = Loaded { state: self.state(found)?, ..Loaded::default() };
        let mut places: Vec<u64> = placed.iter().filter_map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        let Some(contents) = self.contents(&places, &found.entry, go_on)? else {
            return Ok(None);
        };
        loaded.contents = contents;
        let index = |place: Option<u64>| place.and_then(|place| places.binary_search(&place).ok());
        loaded.pages = placed.iter().map(|(id, place)| (*id, index(*place))).collect();
        Ok(Some(loaded))
    }

    fn state(&self, keyframe: &Keyframe) -> Result<Vec<u8>, ReadError> {
        let mut state = Vec::new();
        let most = keyframe.state_len.min(self.limit);
        for blob in keyframe.state.clone() {
            state.extend(self.raw(&self.blob(blob, &keyframe.entry)?)?);
            if state.len() as u64 > most {
                break;
            }
        }
        if state.len() as u64 == keyframe.state_len {
            Ok(state)
        } else {
            Err(ReadError::Damaged(scan::loss(&keyframe.entry, What::Records)))
        }
    }

    /// Blobs are numbered in the order of the file.
    fn blob(&self, number: u32, wanted_by: &Entry) -> Result<Entry, ReadError> {
        let found = self.blobs.binary_search_by_key(&number, |entry| entry.meta.blob);
        let lost = || Damage { what: What::Missing, ..scan::loss(wanted_by, What::Missing) };
        found.map(|index| self.blobs[index]).map_err(|_gone| ReadError::Damaged(lost()))
    }

    /// Contents of some places in order; each blob is decompressed once.
    fn contents(
        &self,
        places: &[u64],
        wanted_by: &Entry,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let bytes = (places.len() * PAGE) as u64;
        if bytes > self.limit {
            return Err(ReadError::TooLarge { limit: self.limit });
        }
        let mut contents = Vec::new();
        let blob_of = |place: u64| place / BLOB_PAGES as u64;
        for group in places.chunk_by(|a, b| blob_of(*a) == blob_of(*b)) {
            if !go_on() {
                return Ok(None);
            }
            let number = u32::try_from(blob_of(group[0])).unwrap_or(u32::MAX);
            let entry = self.blob(number, wanted_by)?;
            let raw = self.raw(&entry)?;
            let (pages, _) = raw.as_chunks::<PAGE>();
            for place in group {
                let index = usize::try_from(place % BLOB_PAGES as u64).unwrap_or(usize::MAX);
                let page = pages.get(index);
                let damaged = || ReadError::Damaged(scan::loss(&entry, What::Records));
                contents.extend_from_slice(page.ok_or_else(damaged)?);
            }
        }
        Ok(Some(contents))
    }
}

/// One entry a page, in order: the first that was there.
fn newest(placed: &mut Vec<Placed>) {
    placed.sort_by_key(|(id, _)| *id);
    placed.dedup_by_key(|(id, _)| *id);
}

/// Reads a list of pages.
fn pages(raw: &[u8], n: u32, placed: &mut Vec<Placed>) -> Result<(), Malformed> {
    let cursor = &mut Cursor::new(raw);
    let (mut page, mut at) = (0u64, 0u64);
    for _ in 0..n {
        let space = cursor.byte()?;
        let step = unzigzag(cursor.number()?).cast_unsigned();
        page = page.wrapping_add(1).wrapping_add(step);
        let place = match cursor.number()? {
            0 => None,
            code => {
                at = at.wrapping_add(1).wrapping_add(unzigzag(code - 1).cast_unsigned());
                Some(at)
            }
        };
        placed.push((PageId { space, page }, place));
    }
    if cursor.is_empty() { Ok(()) } else { Err(Malformed) }
}
