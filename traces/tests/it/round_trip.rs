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
