//! What was written is read.

use session::Position;
use traces::{Reader, Record, Writer};

use crate::sample::{self, Scratch};

#[test]
fn a_recording_is_read_as_it_was_written() {
    let file = Scratch::new("round-trip");
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    let chain = sample::write(&mut writer, 1000).unwrap();
    let (mut reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!(damages, []);
    assert_eq!(*reader.header(), sample::header());
    assert_eq!(reader.end(), Some(&sample::end(1000)));
    let events: Vec<_> = reader.events(Position::default()).collect::<Result<_, _>>().unwrap();
    assert_eq!(events, (0..1000).map(sample::event).collect::<Vec<_>>());
    let inputs: Vec<_> = (0..1000).filter(|n| n % 10 == 9).map(sample::input).collect();
    assert_eq!(reader.inputs().unwrap(), inputs);
    assert_eq!(reader.disk_reads().unwrap().len(), 16);
    assert_eq!(reader.pre_image(1, 69).unwrap().as_deref(), Some(&sample::page(69, 0)[..]));
    assert_eq!(reader.pre_image(0, 69).unwrap(), None);
    let verified = reader.verify(&mut |_, _| true).unwrap();
    assert_eq!((verified.chain, verified.damages), (Some(chain), vec![]));
    let records = reader.records(Position::default());
    assert!(records.map(Result::unwrap).all(|record| !matches!(record, Record::Unknown { .. })));
}

#[test]
fn a_recording_in_memory_is_the_file_that_it_would_be() {
    let file = Scratch::new("memory");
    let mut writer = Writer::create(&file.0, &sample::header()).unwrap();
    let mut memory = Writer::in_memory(&sample::header()).unwrap();
    let chain = sample::write(&mut writer, 1000).unwrap();
    assert_eq!(sample::write(&mut memory, 1000).unwrap(), chain);
    assert_eq!(writer.take_bytes(), b"");
    let bytes = memory.take_bytes();
    assert!(bytes == std::fs::read(&file.0).unwrap());
    let (mut reader, damages) = Reader::from_bytes(bytes.into()).unwrap();
    assert_eq!((reader.end(), damages), (Some(&sample::end(1000)), vec![]));
    assert_eq!(reader.verify(&mut |_, _| true).unwrap().chain, Some(chain));
}

#[test]
fn a_recording_without_an_end_goes_as_far_as_is_said() {
    for events in [0, 3] {
        let mut writer = Writer::in_memory(&sample::header()).unwrap();
        for n in 0..events {
            writer.event(&sample::event(n)).unwrap();
        }
        let at = Position { step: 123_456_789, seq: 77 };
        writer.reach(at, 99).unwrap();
        writer.close().unwrap();
        let (mut reader, damages) = Reader::from_bytes(writer.take_bytes().into()).unwrap();
        assert_eq!((reader.last(), reader.end(), damages), ((at, 99), None, vec![]));
        let found = reader.events(Position::default()).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(found, (0..events).map(sample::event).collect::<Vec<_>>());
        assert_eq!(reader.verify(&mut |_, _| true).unwrap().damages, []);
    }
}
