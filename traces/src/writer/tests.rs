//! A disk that fills up, and a process that ends within a system call.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use session::{Event, Input, Position, Stop};

use super::{WriteError, Writer};
use crate::map::Map;
use crate::tail::Medium;
use crate::{End, Frame, Header, How, InputRecord, Kind, PAGE, Packer, PageId, Reader, StateHash};

/// What the disk still takes.
#[derive(Debug)]
struct Limits {
    bytes: u64,
    /// Calls until the process ends, in the midst of one.
    calls: u64,
}

#[derive(Debug)]
struct Limited {
    file: File,
    limits: Arc<Mutex<Limits>>,
}

impl Limited {
    fn take(&self, bytes: u64) -> Result<(), (u64, io::Error)> {
        let mut limits = self.limits.lock().unwrap();
        if limits.calls == 0 {
            return Err((bytes / 2, io::ErrorKind::Interrupted.into()));
        }
        limits.calls -= 1;
        if limits.bytes < bytes {
            return Err((limits.bytes, io::ErrorKind::StorageFull.into()));
        }
        limits.bytes -= bytes;
        Ok(())
    }
}

impl Medium for Limited {
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        match self.take(bytes.len() as u64) {
            Ok(()) => self.file.write_at(bytes, at),
            Err((some, error)) => {
                let some = usize::try_from(some).unwrap();
                self.file.write_at(&bytes[..some], at)?;
                Err(error)
            }
        }
    }

    fn map(&mut self, at: u64, len: usize) -> io::Result<Map> {
        self.take(len as u64).map_err(|(some, error)| {
            // The file may have grown nevertheless.
            let _ = self.file.set_len(at + some);
            error
        })?;
        Medium::map(&mut self.file, at, len)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.take(0).map_err(|(_, error)| error)?;
        Medium::truncate(&mut self.file, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.take(0).map_err(|(_, error)| error)
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn limited(name: &str, bytes: u64, calls: u64) -> (Scratch, Arc<Mutex<Limits>>, Limited) {
    let path = std::env::temp_dir().join(format!("traces-{name}-{}.dvt", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
    let limits = Arc::new(Mutex::new(Limits { bytes, calls }));
    let medium = Limited { file, limits: Arc::clone(&limits) };
    (Scratch(path), limits, medium)
}

fn header() -> Header {
    let (settings, images) = (Vec::new(), Vec::new());
    Header { tool: "test".to_owned(), model: 1, kind: Kind::Vm, settings, images, id: [3; 16] }
}

/// Events that do not compress well.
fn event(n: u64) -> Event {
    let mut bytes = Vec::new();
    let mut state = n;
    for _ in 0..8 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_le_bytes());
    }
    Event::Console { seq: n, step: n, bytes }
}

fn input(n: u64) -> InputRecord {
    let at = Position { step: n, seq: n };
    InputRecord { at, time_ns: n, how: How::Slice, input: Input::Console(vec![b'x'; 8]) }
}

fn end(n: u64) -> End {
    let (at, hash) = (Position { step: n, seq: n }, StateHash::default());
    End { at, time_ns: n, stop: Stop::User, hash }
}

fn events_of(path: &Path) -> Vec<Event> {
    let (reader, damages) = Reader::open(path).unwrap();
    assert_eq!(damages, []);
    reader.events(Position::default()).map(Result::unwrap).collect()
}

#[test]
fn a_full_disk_leaves_a_valid_file_and_inputs_still_go_in() {
    let (file, limits, medium) = limited("full", 2 << 20, u64::MAX);
    let mut writer = Writer::on(Box::new(medium), &header()).unwrap();
    let mut n = 0;
    while writer.event(&event(n)).is_ok() {
        n += 1;
    }
    assert!(matches!(writer.event(&event(n)), Err(WriteError::Full)));
    let written: Vec<Event> = (0..n).map(event).collect();
    assert_eq!(events_of(&file.0), written);

    // Inputs take what is left of the tail; events are counted.
    for index in 0..1000 {
        writer.input(&input(n + index)).unwrap();
        assert!(matches!(writer.event(&event(n)), Err(WriteError::Full)));
        writer.lose(1);
    }
    assert_eq!(events_of(&file.0), written);
    assert_eq!(Reader::open(&file.0).unwrap().0.inputs().unwrap().len(), 1000);

    // Somebody made room.
    limits.lock().unwrap().bytes = u64::MAX;
    writer.event(&event(n)).unwrap();
    writer.end(&end(n)).unwrap();
    assert!(matches!(writer.event(&event(n)), Err(WriteError::Ended)));
    let (mut reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!(damages, []);
    assert_eq!(reader.lost().unwrap(), 1000);
    assert_eq!(reader.events(Position::default()).count(), written.len() + 1);
    assert_eq!(reader.verify(&mut |_, _| true).unwrap().damages, []);
}

#[test]
fn a_recording_ends_on_a_full_disk() {
    let (file, _, medium) = limited("full-end", 2 << 20, u64::MAX);
    let mut writer = Writer::on(Box::new(medium), &header()).unwrap();
    let mut n = 0;
    while writer.event(&event(n)).is_ok() {
        n += 1;
    }
    while writer.input(&input(n)).is_ok() {}
    assert!(matches!(writer.end(&end(n)), Err(WriteError::Full)));
    drop(writer);
    let (reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!((damages, reader.end()), (vec![], Some(&end(n))));
    assert_eq!(reader.events(Position::default()).count() as u64, n);
}

#[test]
fn a_keyframe_goes_on_where_the_disk_was_full() {
    let (file, limits, medium) = limited("full-keyframe", 2 << 20, u64::MAX);
    let mut writer = Writer::on(Box::new(medium), &header()).unwrap();
    let page = |n: u64| {
        let mut bytes = [0; PAGE];
        let mut hash = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
        hash.fill(&mut bytes);
        Arc::new(bytes)
    };
    let pages = (0..1000).map(|n| (PageId { space: 0, page: n }, Some(page(n)))).collect();
    let at = Position { step: 5, seq: 1 };
    let frame = Frame { at, time_ns: 5, state: vec![1, 2, 3], pages };
    let mut packed = Packer::new().pack(frame);
    let mut tries = 0;
    while let Err(error) = writer.keyframe(&mut packed) {
        assert!(matches!(error, WriteError::Full));
        assert_eq!(events_of(&file.0), []);
        // Events go in between.
        writer.input(&input(6)).unwrap();
        limits.lock().unwrap().bytes += 600 << 10;
        tries += 1;
    }
    assert!(tries > 2);
    limits.lock().unwrap().bytes = u64::MAX;
    writer.end(&end(6)).unwrap();
    let (mut reader, damages) = Reader::open(&file.0).unwrap();
    assert_eq!(damages, []);
    let loaded = reader.load(0).unwrap();
    assert_eq!(loaded.state, [1, 2, 3]);
    assert!(loaded.pages().all(|(id, content)| content == Some(&*page(id.page))));
    assert_eq!(loaded.pages().len(), 1000);
}

#[test]
fn a_process_that_ends_within_any_call_loses_nothing() {
    for calls in 2.. {
        let (file, _, medium) = limited("calls", u64::MAX, calls);
        let Ok(mut writer) = Writer::on(Box::new(medium), &header()) else {
            // Not even the recording had begun.
            continue;
        };
        let mut n = 0;
        let mut failed = false;
        let mut packer = Packer::new();
        while n < 24_000 && !failed {
            failed = writer.event(&event(n)).is_err();
            n += u64::from(!failed);
            if n % 10_000 == 9_999 && !failed {
                let at = Position { step: n, seq: n };
                let frame = Frame { at, time_ns: n, state: vec![5; 1 << 20], pages: Vec::new() };
                failed = writer.keyframe(&mut packer.pack(frame)).is_err();
            }
        }
        let ended = !failed && writer.end(&end(n)).is_ok();
        // As if it were killed: the mapping is shared, nothing is flushed.
        std::mem::forget(writer);
        let (reader, damages) = Reader::open(&file.0).unwrap();
        let lost_something = damages.iter().any(|damage| damage.records != Some(0));
        assert!(!lost_something, "{calls} calls: {damages:?}");
        assert_eq!(reader.events(Position::default()).count() as u64, n, "{calls} calls");
        if ended {
            assert!(calls > 12);
            return;
        }
    }
}
