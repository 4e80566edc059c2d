//! What is worth measuring in a recording: a word that is often written, and words that are not in
//! pages that are.

use std::collections::{BTreeMap, BTreeSet};

use devices::virtio::rng::Generator;
use machine::PAGE;
use timeline::{Hit, Looking, Player, Progress, TravelError, What, Window};

/// Steps before a place that are looked at.
const SAMPLE: u64 = 1 << 20;
/// So many pages at least, and all that are written as often as these.
const PAGES_MIN: usize = 32;

/// Which pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// Written in one of twenty intervals at most.
    Seldom,
    /// Written in as many intervals as any.
    Hot,
}

/// Pages of RAM, and in how many of how many intervals of the window each is written.
pub(super) fn pages(player: &Player, window: Window, pick: Pick) -> Vec<(u32, (usize, usize))> {
    let frames = player.reader().keyframes();
    let mut written: BTreeMap<u32, usize> = BTreeMap::new();
    let mut all = 0;
    for (index, frame) in frames.iter().enumerate().skip(1) {
        if frame.at.step > window.from && frame.at.step <= window.to {
            all += 1;
            player.written(index).iter().for_each(|page| *written.entry(*page).or_default() += 1);
        }
    }
    let most = match pick {
        Pick::Seldom => (all / 20).max(1),
        Pick::Hot => usize::MAX,
    };
    let mut pages: Vec<(u32, usize)> = written.into_iter().filter(|(_, n)| *n <= most).collect();
    pages.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let enough = pages.get(PAGES_MIN).map_or(0, |(_, n)| *n);
    pages.retain(|(_, n)| *n >= enough);
    pages.into_iter().map(|(page, n)| (page, (n, all))).collect()
}

/// In a random order.
pub(super) fn shuffled<T>(mut all: Vec<T>, dice: &mut Generator) -> Vec<T> {
    for end in (1..all.len()).rev() {
        let other = usize::try_from(dice.next_u64() % (end as u64 + 1)).unwrap_or(end);
        all.swap(end, other);
    }
    all
}

/// Every word of RAM that was written before a place.
fn words_written(
    player: &mut Player,
    (from, to): (u64, u64),
    range: std::ops::Range<u64>,
    progress: Progress<'_>,
) -> Result<BTreeMap<u64, u64>, TravelError> {
    player.seek(from, progress)?;
    let mut words = BTreeMap::new();
    let mut count = |hit: Hit| {
        if let What::Write { hpa, len, .. } = hit.what {
            let last = (hpa + u64::from(len) - 1) & !7;
            (hpa & !7..=last).step_by(8).for_each(|word| *words.entry(word).or_default() += 1);
        }
        true
    };
    player.scan(to, &Looking::Writes(vec![range]), &mut count, progress)?;
    Ok(words)
}

/// The word that is written before most of these places, and most often there.
pub(super) fn hot_word(
    player: &mut Player,
    places: &[u64],
    progress: Progress<'_>,
) -> Result<Option<u64>, TravelError> {
    let mut all: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for place in places {
        let from = place.saturating_sub(SAMPLE).max(player.first().step);
        let memory = player.subject().machine().platform().memory();
        let ram = memory.base()..memory.base() + memory.size() as u64;
        for (word, n) in words_written(player, (from, *place), ram, progress)? {
            let (n_places, n_writes) = all.entry(word).or_default();
            *n_places += 1;
            *n_writes += n;
        }
    }
    Ok(all.into_iter().max_by_key(|(_, often)| *often).map(|(word, _)| word))
}

/// A word of a page that has no write in the last steps of a window, and was not tried yet.
pub(super) fn quiet_word(
    player: &mut Player,
    page: u32,
    window: Window,
    tried: &[u64],
    progress: Progress<'_>,
) -> Result<Option<u64>, TravelError> {
    let base = player.subject().machine().platform().memory().base();
    let page = base + u64::from(page) * PAGE as u64;
    let from = window.to.saturating_sub(4 * SAMPLE).max(window.from);
    let all = page..page + PAGE as u64;
    let written = words_written(player, (from, window.to), all.clone(), progress)?;
    let tried: BTreeSet<u64> = tried.iter().copied().collect();
    let mut words = all.step_by(8);
    Ok(words.find(|word| !written.contains_key(word) && !tried.contains(word)))
}
