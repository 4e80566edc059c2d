//! Files to which something has happened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use session::{Event, Position};
use traces::{OpenError, ReadError, Reader, What, Writer};

use crate::sample::{self, Scratch};

const EVENTS: u64 = 300;
/// More than there are in any one chunk.
const CHUNK_EVENTS: usize = 110;

fn write(name: &str) -> (Scratch, Vec<u8>) {
    write_events(name, EVENTS)
}

fn write_events(name: &str, n: u64) -> (Scratch, Vec<u8>) {
    let file = Scratch::new(name);
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    sample::write(&mut writer, n).unwrap();
    let bytes = std::fs::read(&file.0).unwrap();
    (file, bytes)
}

/// What can be had of a file: its events, and how many keyframes can be loaded.
fn read_all(reader: &mut Reader) -> (Vec<Event>, usize) {
    let mut events = Vec::new();
    for event in reader.events(Position::default()) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => assert!(error.damage().is_some(), "{error}"),
        }
    }
    reader.inputs().unwrap();
    reader.disk_reads().unwrap();
    let _ = reader.pre_image(1, 69);
    let keyframes = 0..reader.keyframes().len();
    let loaded = keyframes.filter(|index| match reader.load(*index) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.damage().is_some(), "{error}");
            false
        }
    });
    (events, loaded.count())
}

#[test]
fn a_file_that_is_cut_off_anywhere_has_what_stands_before() {
    let (file, bytes) = write_events("cut", 120);
    let whole: Vec<Event> = (0..120).map(sample::event).collect();
    let cut = OpenOptions::new().write(true).open(&file.0).unwrap();
    let mut n_before = whole.len();
    let mut header_is_gone = false;
    for len in (0..bytes.len() as u64).rev() {
        cut.set_len(len).unwrap();
        match Reader::open(&file.0) {
            Ok((mut reader, damages)) => {
                assert!(!header_is_gone, "{len}");
                assert!(!damages.is_empty(), "{len}: nothing is said");
                let (events, _) = read_all(&mut reader);
                assert_eq!(events, whole[..events.len()], "{len}");
                assert!(events.len() <= n_before && n_before <= events.len() + CHUNK_EVENTS);
                n_before = events.len();
            }
            Err(OpenError::Short { bytes }) => {
                assert_eq!(bytes, len);
                header_is_gone = true;
            }
            Err(error) => panic!("{len}: {error}"),
        }
    }
    assert!(header_is_gone && n_before == 0);
}

#[test]
fn one_bit_that_is_wrong_costs_one_chunk_at_most_and_is_named() {
    let (file, bytes) = write("flip");
    let whole: Vec<Event> = (0..EVENTS).map(sample::event).collect();
    let patch = OpenOptions::new().write(true).open(&file.0).unwrap();
    let step = (bytes.len() / 10_000).max(1);
    for (index, at) in (0..bytes.len()).step_by(step).enumerate() {
        let wrong = bytes[at] ^ 1 << (index % 8);
        patch.write_all_at(&[wrong], at as u64).unwrap();
        let (mut reader, _) = Reader::open(&file.0).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(*reader.header(), sample::header());
        let (events, _) = read_all(&mut reader);
        let verified = reader.verify(&mut |_, _| true).unwrap();
        assert!(!verified.damages.is_empty() && verified.chain.is_none(), "{at}: not found");
        assert!(events.iter().all(|event| whole.contains(event)), "{at}: something else");
        assert!(events.len() + CHUNK_EVENTS >= whole.len(), "{at}: {} are left", events.len());
        let named: u64 = verified.damages.iter().filter_map(|damage| damage.records).sum();
        let is_unknown = verified.damages.iter().any(|damage| damage.records.is_none());
        let n_lost = (whole.len() - events.len()) as u64;
        assert!(named >= n_lost || is_unknown, "{at}: {n_lost} lost, {named} named");
        let covers = verified.damages.iter().any(|damage| damage.bytes.contains(&(at as u64)));
        assert!(covers, "{at}: {:?}", verified.damages);
        patch.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
}

#[test]
fn a_flipped_byte_is_named_with_bytes_records_and_time() {
    let (file, bytes) = write("named");
    let (reader, _) = Reader::open(&file.0).unwrap();
    let damage_at = |at: u64| {
        let patch = OpenOptions::new().write(true).open(&file.0).unwrap();
        patch.write_all_at(&[!bytes[usize::try_from(at).unwrap()]], at).unwrap();
        let (mut reader, _) = Reader::open(&file.0).unwrap();
        let damages = reader.verify(&mut |_, _| true).unwrap().damages;
        patch.write_all_at(&bytes, 0).unwrap();
        damages[0].to_string()
    };
    drop(reader);
    // The first chunk of records begins behind the header and its copy.
    let first = bytes.windows(4).enumerate().filter(|(_, window)| *window == b"DVTC");
    let (at, _) = first.clone().nth(1).unwrap();
    let text = damage_at(at as u64 + 200);
    let words =
        "a chunk's content is damaged; 58 records are lost, steps 0 to 6850, events 0 to 50";
    assert!(text.contains(words), "{text}");
    assert!(text.contains("guest time 0 to 6850 ns"), "{text}");
    assert!(damage_at(9).contains("bytes 0.."));
}

#[test]
fn other_files_are_refused_in_a_sentence() {
    let file = Scratch::new("other");
    let refused = |bytes: &[u8]| {
        std::fs::write(&file.0, bytes).unwrap();
        Reader::open(&file.0).unwrap_err()
    };
    assert!(matches!(refused(b"\x7fELF\x02\x01\x01 and more of it"), OpenError::Foreign));
    assert!(matches!(refused(b""), OpenError::Short { bytes: 0 }));
    assert!(matches!(refused(b"\x89DVT\r\n"), OpenError::Short { bytes: 6 }));
    let (_file, mut bytes) = write("newer");
    bytes.truncate(500);
    bytes[8] = 2;
    let error = refused(&bytes);
    assert!(matches!(error, OpenError::Newer { major: 2 }), "{error}");
    assert!(error.to_string().contains("this program reads up to 1"));
}

#[test]
fn a_chunk_that_was_exchanged_breaks_the_chain() {
    let (file, bytes) = write("chain");
    let (other, _) = {
        let file = Scratch::new("chain-other");
        let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
        writer.event(&sample::event(0)).unwrap();
        writer.event(&sample::event(1)).unwrap();
        sample::write(&mut writer, EVENTS).unwrap();
        (std::fs::read(&file.0).unwrap(), file)
    };
    // Same header, so the first chunk of the other file is a chunk here, too.
    let at = |bytes: &[u8]| {
        bytes.windows(4).enumerate().filter(|(_, w)| *w == b"DVTC").nth(1).unwrap().0
    };
    let mut mixed = other[..at(&other)].to_vec();
    mixed.extend(&other[at(&other)..]);
    let second = |bytes: &[u8]| {
        bytes.windows(4).enumerate().filter(|(_, w)| *w == b"DVTC").nth(2).unwrap().0
    };
    mixed.truncate(second(&mixed));
    mixed.extend(&bytes[second(&bytes)..]);
    std::fs::write(&file.0, &mixed).unwrap();
    let (mut reader, _) = Reader::open(&file.0).unwrap();
    let verified = reader.verify(&mut |_, _| true).unwrap();
    assert!(verified.damages.iter().any(|damage| damage.what == What::Chain));
    assert_eq!(verified.chain, None);
}

#[test]
fn a_verification_can_be_broken_off() {
    let (file, _) = write("broken-off");
    let (mut reader, _) = Reader::open(&file.0).unwrap();
    let verified = reader.verify(&mut |_, _| false).unwrap();
    assert!(verified.interrupted && verified.chunks == 1);
}

#[test]
fn a_keyframe_that_is_not_there_is_an_error() {
    let (file, _) = write("no-keyframe");
    let (mut reader, _) = Reader::from_file(File::open(&file.0).unwrap()).unwrap();
    let n = reader.keyframes().len();
    assert!(matches!(reader.load(n), Err(ReadError::NoKeyframe(found)) if found == n));
    reader.limit(10 * 4096);
    assert!(matches!(reader.load(0), Err(ReadError::TooLarge { .. })));
}
