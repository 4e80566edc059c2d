//! Keyframes: the memory of a moment, and what becomes of it in copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use session::{Event, Position};
use traces::{Copied, CopyError, Filter, Frame, MemoryHash, PAGE, Packer, PageId, Reader, Writer};

use crate::sample::{self, Scratch};

type Memory = BTreeMap<PageId, Arc<[u8; PAGE]>>;

/// Frames with pages that are new, changed, zeroed, the same as others; and memory after each.
fn frames() -> Vec<(Frame, Memory)> {
    let mut memory = Memory::new();
    let mut frames = Vec::new();
    for n in 0..12_u64 {
        let first = n * 37 % 150;
        let mut frame = sample::frame(1000 + n * 10, first..first + 90);
        for (id, content) in &mut frame.pages {
            if id.page % 7 == n % 7 {
                *content = None;
            }
            match content {
                Some(content) if **content != [0; PAGE] => {
                    memory.insert(*id, Arc::clone(content));
                }
                _ => drop(memory.remove(id)),
            }
        }
        frame.state = vec![u8::try_from(n).unwrap(); 300_000];
        frames.push((frame, memory.clone()));
    }
    frames
}

fn write(file: &Scratch, frames: &[(Frame, Memory)]) {
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    let mut packer = Packer::new();
    for index in 0..1200 {
        for (frame, _) in frames.iter().filter(|(frame, _)| frame.at.seq == index) {
            writer.keyframe(&mut packer.pack(frame.clone())).unwrap();
        }
        writer.event(&sample::event(index)).unwrap();
        writer.input(&sample::input(index)).unwrap();
    }
    writer.end(&sample::end(1200)).unwrap();
}

fn memory_of(reader: &mut Reader, keyframe: usize) -> Memory {
    let loaded = reader.load(keyframe).unwrap();
    let pages = loaded.pages().filter_map(|(id, page)| Some((id, Arc::new(*page?))));
    pages.collect()
}

#[test]
fn a_keyframe_is_loaded_with_all_pages_as_they_were() {
    let (file, frames) = (Scratch::new("keyframes"), frames());
    write(&file, &frames);
    let (mut reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!((damages, reader.keyframes().len()), (vec![], frames.len()));
    let mut hash = MemoryHash::new();
    for (index, (frame, memory)) in frames.iter().enumerate() {
        let info = reader.keyframes()[index].clone();
        assert_eq!((info.at, info.time_ns), (frame.at, frame.time_ns));
        assert_eq!(info.hash.state, *blake3::hash(&frame.state).as_bytes());
        for (id, content) in &frame.pages {
            hash.update(*id, content.as_deref());
        }
        assert_eq!(info.hash.ram, hash.value());
        assert_eq!(reader.load(index).unwrap().state, frame.state);
        assert_eq!(memory_of(&mut reader, index), *memory);
        let mut listed: Vec<PageId> = frame.pages.iter().map(|(id, _)| *id).collect();
        listed.sort();
        assert_eq!(reader.keyframe_pages(index).unwrap(), listed);
    }
    // From one to another: what changed, and nothing else.
    for (from, to) in [(0, 1), (2, 7), (0, 11), (5, 5)] {
        let mut memory = frames[from].1.clone();
        for (id, content) in reader.load_between(from, to).unwrap().pages() {
            match content {
                Some(content) => drop(memory.insert(id, Arc::new(*content))),
                None => drop(memory.remove(&id)),
            }
        }
        assert_eq!(memory, frames[to].1, "{from} to {to}");
    }
}

#[test]
fn of_a_keyframe_only_wanted_pages_are_loaded_and_that_can_be_broken_off() {
    let (file, frames) = (Scratch::new("wanted"), frames());
    write(&file, &frames);
    let (mut reader, _) = Reader::open(&file.0).unwrap();
    for (index, (frame, memory)) in frames.iter().enumerate() {
        let wanted = |id: PageId| id.page.is_multiple_of(3);
        let mut looks = 0;
        let mut count = || {
            looks += 1;
            true
        };
        let loaded = reader.load_some(index, &wanted, &mut count).unwrap().unwrap();
        let pages = loaded.pages().filter_map(|(id, page)| Some((id, Arc::new(*page?))));
        let all = memory.iter().filter(|(id, _)| wanted(**id));
        assert_eq!(pages.collect::<Memory>(), all.map(|(id, page)| (*id, page.clone())).collect());
        assert_eq!(reader.load_state(index).unwrap(), frame.state);
        for enough in 0..looks {
            let mut left: u32 = enough;
            let mut go_on = || {
                let go_on = left != 0;
                left = left.saturating_sub(1);
                go_on
            };
            assert!(reader.load_some(index, &wanted, &mut go_on).unwrap().is_none());
        }
    }
}

#[test]
fn the_same_content_is_written_once_and_zeros_never() {
    let mut packer = Packer::new();
    let frame =
        |pages: Vec<_>| Frame { at: Position::default(), time_ns: 0, state: vec![1], pages };
    let id = |page| PageId { space: 0, page };
    let noise = |n: u64| {
        let mut bytes = [0; PAGE];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Arc::new(bytes)
    };
    let once = packer.pack(frame((0..100).map(|n| (id(n), Some(noise(n)))).collect()));
    assert!(once.bytes() > 100 * PAGE as u64);
    let again = packer.pack(frame((0..100).map(|n| (id(n + 50), Some(noise(n)))).collect()));
    assert!(again.bytes() < 1000, "{}", again.bytes());
    let zeros = packer.pack(frame((0..100).map(|n| (id(n), Some(Arc::new([0; PAGE])))).collect()));
    assert!(zeros.bytes() < 1000, "{}", zeros.bytes());
    assert_eq!(zeros.pages(), 100);
}

fn events(reader: &Reader) -> Vec<Event> {
    reader.events(Position::default()).map(Result::unwrap).collect()
}

#[test]
fn a_part_begins_with_a_keyframe_and_has_everything_of_its_range() {
    let (file, part, frames) = (Scratch::new("whole"), Scratch::new("part"), frames());
    write(&file, &frames);
    let at = |n: u64| sample::event(n).position();
    let Copied { keyframes, damages, .. } =
        traces::cut(&file.0, &part.0, at(1035)..=at(1085)).unwrap();
    assert_eq!((keyframes, damages), (6, vec![]));
    let (mut reader, damages) = Reader::open(&part.0).unwrap();
    assert_eq!((damages, reader.end()), (vec![], None));
    assert_eq!(events(&reader), (1030..=1085).map(sample::event).collect::<Vec<_>>());
    assert_eq!(reader.inputs().unwrap().len(), 56);
    for index in 0..6 {
        assert_eq!(memory_of(&mut reader, index), frames[index + 3].1);
    }
    let (whole, _) = Reader::open(&file.0).unwrap();
    assert_eq!(
        reader.keyframes()[..],
        whole.keyframes()[3..9]
            .iter()
            .zip(reader.keyframes())
            .map(|(whole, part)| traces::KeyframeInfo { n_pages: part.n_pages, ..whole.clone() })
            .collect::<Vec<_>>()[..]
    );
    assert!(reader.header().settings.iter().any(|(name, _)| name == "part-of"));
    assert_eq!(reader.verify(&mut |_, _| true).unwrap().damages, []);
    let behind = traces::cut(&file.0, &part.0, at(5000)..=at(6000));
    assert!(matches!(behind, Err(CopyError::Empty { .. })));
}

#[test]
fn a_repaired_file_is_clean_and_has_what_could_be_read() {
    let (file, repaired, frames) = (Scratch::new("broken"), Scratch::new("repaired"), frames());
    write(&file, &frames);
    let mut bytes = std::fs::read(&file.0).unwrap();
    // A chunk of records, somewhere in the middle; and the index.
    let chunks: Vec<usize> = bytes
        .windows(4)
        .enumerate()
        .filter(|(at, window)| *window == b"DVTC" && bytes[at + 6] == 2)
        .map(|(at, _)| at)
        .collect();
    let middle = chunks[chunks.len() / 2];
    bytes[middle + 150] ^= 1;
    let end = bytes.len();
    bytes.truncate(end - 10);
    std::fs::write(&file.0, &bytes).unwrap();
    let copied = traces::repair(&file.0, &repaired.0).unwrap();
    assert_eq!(copied.damages.len(), 2, "{:?}", copied.damages);
    let (mut reader, damages) = Reader::open(&repaired.0).unwrap();
    assert_eq!(damages, []);
    let verified = reader.verify(&mut |_, _| true).unwrap();
    assert_eq!((verified.chain, verified.damages), (Some(copied.chain), vec![]));
    assert_eq!(reader.end(), Some(&sample::end(1200)));
    let n = events(&reader).len();
    assert!((1180..1200).contains(&n), "{n}");
    assert_eq!(reader.keyframes().len(), frames.len());
    assert_eq!(memory_of(&mut reader, 11), frames[11].1);
}

#[test]
fn a_blob_that_is_gone_costs_the_keyframes_that_need_it() {
    let (file, repaired, frames) = (Scratch::new("blob"), Scratch::new("blob-repaired"), frames());
    write(&file, &frames);
    let bytes = std::fs::read(&file.0).unwrap();
    let blob = bytes.windows(4).enumerate();
    let blob =
        blob.filter(|(at, window)| *window == b"DVTC" && bytes[at + 6] == 3).nth(9).unwrap().0;
    let mut broken = bytes.clone();
    broken[blob + 8] ^= 0xff;
    broken.truncate(bytes.len() - 1);
    std::fs::write(&file.0, &broken).unwrap();
    let (mut reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!(damages.len(), 2, "{damages:?}");
    let n = reader.keyframes().len();
    assert!((1..frames.len()).contains(&n), "{n}");
    for index in 0..n {
        let at = reader.keyframes()[index].at;
        let expected = frames.iter().find(|(frame, _)| frame.at == at).unwrap();
        assert_eq!(memory_of(&mut reader, index), expected.1);
    }
    let copied = traces::repair(&file.0, &repaired.0).unwrap();
    assert_eq!(copied.keyframes, n as u64);
    let (mut reader, _) = Reader::open(&repaired.0).unwrap();
    for index in 0..n {
        let at = reader.keyframes()[index].at;
        let expected = frames.iter().find(|(frame, _)| frame.at == at).unwrap();
        assert_eq!(memory_of(&mut reader, index), expected.1);
    }
}

#[test]
fn a_recording_is_printed_as_text_and_as_json() {
    let file = Scratch::new("printed");
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    sample::write(&mut writer, 60).unwrap();
    let (reader, _) = Reader::open(&file.0).unwrap();
    let print = |filter: &Filter, as_json| {
        let mut out = Vec::new();
        assert_eq!(traces::cat(&reader, &mut out, filter, as_json).unwrap(), 0);
        String::from_utf8(out).unwrap()
    };
    let text = print(&Filter::default(), false);
    assert!(text.contains(" 0x80200044 "), "{text}");
    assert!(text.contains("console \"line 13\\n\""), "{text}");
    assert!(text.lines().all(|line| line.len() > 20));
    let kinds = ["exit", "trap", "console", "vm"].map(|kind| kind.parse().unwrap()).to_vec();
    let only = Filter { from: sample::event(5).position(), kinds, ..Filter::default() };
    let json = print(&only, true);
    let events = json.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    let expected = (5..60).map(sample::event).filter(|it| !matches!(it, Event::Input { .. }));
    assert_eq!(events.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let info = traces::info(&reader);
    let (keyframes, last) = (info["keyframes"].as_array().unwrap(), &info["last"]["seq"]);
    assert_eq!((keyframes.len(), last), (1, &60.into()));
    assert!(traces::info_text(&reader).contains("keyframes     1\n"));
}
