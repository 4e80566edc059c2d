//! What is kept of a run is the run.

use std::sync::Arc;

use session::{Answer, Command, Request, Session, link};
use traces::{PageId, Writer};

use super::*;
use crate::testing::{self, Typist, guest, header, kept, reader, run};
use crate::{Around, Full, Grain, OnFull, Player, Recorder, Source, Spacing, Why, verify};

const STEPS: u64 = 150 << 20;
const PLENTY: usize = 256 << 20;

fn source(name: &str, vcpus: usize, bytes: &Arc<[u8]>) -> Source {
    Source { subject: guest(name, vcpus), reader: reader(bytes) }
}

/// A recording replays as the same run, with every keyframe's state; says how many these are, and
/// what state it ends in.
#[track_caller]
fn replays(name: &str, vcpus: usize, bytes: &Arc<[u8]>) -> (u64, blake3::Hash) {
    let mut source = source(name, vcpus, bytes);
    let verified = verify(&mut source, &mut [], None, &mut |_, _| true).unwrap().unwrap();
    let last = source.reader.last().0;
    assert_eq!(verified.at.step, last.step);
    // One that has no end stops where the last step begins to be over.
    assert!(verified.at == last || source.reader.end().is_none() && verified.at < last);
    (verified.states, testing::digest(&*source.subject))
}

#[test]
fn what_is_kept_has_the_inputs_and_keyframes_of_a_recording() {
    let path = std::env::temp_dir().join(format!("timeline-kept-{}.dvt", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let writer = Writer::create(&path, &header()).unwrap();
    let mut packers = Vec::new();
    let recorder = Recorder::new(writer, false, Spacing::default(), |pack| {
        packers.push(std::thread::spawn(pack))
    });
    let mut full = Full { policy: OnFull::Stop, wait: &mut |_| false };
    let mut typist = Typist::new(1 << 20);
    let mut subject = guest("demo", 4);
    recorder.record(&mut *subject, Around::new(&mut typist), Some(STEPS), &mut full);
    let (mut recorded, _) = traces::Reader::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();

    let (kept, written) = kept(PLENTY);
    let mut typist = Typist::new(1 << 20);
    let mut subject = guest("demo", 4);
    let ended = run(&mut *subject, kept, Around::new(&mut typist), STEPS);
    let mut kept = ended.kept.unwrap();
    assert_eq!(kept.history.inputs(), recorded.inputs().unwrap());
    assert!(kept.history.inputs().len() > 100);
    kept.save(&*subject, &Why::Ended(&ended.stop)).unwrap();
    let bytes = written.lock().unwrap()[0].clone();
    let mut saved = reader(&bytes);
    assert_eq!(saved.inputs().unwrap(), recorded.inputs().unwrap());
    assert_eq!(saved.end(), recorded.end());
    // A keyframe of a moment is the same wherever it is kept; which moments they are may differ.
    let mut same = 0;
    for frame in saved.keyframes() {
        same += recorded.keyframes().iter().filter(|it| it.at == frame.at).count();
        let other = recorded.keyframes().iter().find(|it| it.at == frame.at);
        assert!(other.is_none_or(|other| other.hash == frame.hash), "{:?}", frame.at);
    }
    assert!(same >= 2 && saved.keyframes().len() >= 3, "{same}");
    assert_eq!(replays("demo", 4, &bytes).0, saved.keyframes().len() as u64);
}

#[test]
fn a_saved_run_goes_on_and_each_of_its_files_replays() {
    for (name, vcpus, every, steps) in [
        ("demo", 4, 1 << 18, 20 << 20),
        ("timer", 1, 300, 40_000),
        ("amo_contend", 4, 1000, 1 << 20),
    ] {
        let undisturbed = testing::undisturbed(name, vcpus, &mut Typist::new(every), steps);
        let (kept, written) = kept(PLENTY);
        let capabilities = session::Capabilities { live: true, control: true, time_travel: true };
        let (mut client, mut server) = link(capabilities);
        let mut subject = guest(name, vcpus);
        let mut inputs = Saving { typist: Typist::new(every), client: &mut client, saves: 0 };
        let mut around = Around::new(&mut inputs);
        around.server = Some(&mut server);
        let ended = run(&mut *subject, kept, around, steps);
        assert_eq!((subject.position(), testing::digest(&*subject)), undisturbed, "{name}");
        let asked = inputs.saves;
        ended.kept.unwrap().save(&*subject, &Why::Ended(&ended.stop)).unwrap();
        let mut saved = 0;
        while let Some(reply) = client.poll() {
            if let Answer::Saved { steps, bytes, .. } = reply.answer {
                let file = &written.lock().unwrap()[saved];
                assert_eq!((bytes, steps), (file.len() as u64, reply.at.step));
                assert_eq!(reader(file).last().0, reply.at);
                saved += 1;
            }
        }
        let written = written.lock().unwrap();
        assert!(saved >= 3, "{name}: {saved} saved");
        assert_eq!((saved, written.len()), (asked, asked + 1), "{name}");
        for file in written.iter() {
            replays(name, vcpus, file);
        }
    }
}

/// Asks for the run to be saved with each of the first inputs.
struct Saving<'a> {
    typist: Typist,
    client: &'a mut session::Client,
    saves: usize,
}

impl session::Inputs for Saving<'_> {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<session::Input> {
        let input = self.typist.next(at, time_ns)?;
        if self.saves < 6 {
            self.saves += 1;
            self.client.send(Request { generation: 1, command: Command::Save }).unwrap();
        }
        Some(input)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline: Option<u64>) -> session::Idle {
        self.typist.idle(at, time_ns, deadline)
    }
}

/// Within each budget the first keyframe and all inputs stay, and the recording is the same run.
#[test]
fn keyframes_are_thinned_to_the_budget_and_the_run_is_still_whole() {
    let mut counts = Vec::new();
    let mut bytes_before = PLENTY;
    // All keyframes, half of them, and none but the first.
    for part in [1, 2, 6] {
        let budget = bytes_before / part;
        let (kept, written) = kept(budget);
        let mut typist = Typist::new(1 << 20);
        let mut subject = guest("demo", 2);
        let ended = run(&mut *subject, kept, Around::new(&mut typist), 400 << 20);
        let mut kept = ended.kept.unwrap();
        let held = kept.history.held();
        assert!(held.bytes <= 2 * budget, "{held:?}");
        assert_eq!(kept.history.keyframes().next().unwrap().step, 0);
        assert!(held.inputs > 300, "{held:?}");
        kept.save(&*subject, &Why::Ended(&ended.stop)).unwrap();
        let bytes = written.lock().unwrap()[0].clone();
        assert_eq!(reader(&bytes).last().0, subject.position());
        assert_eq!(replays("demo", 2, &bytes).1, testing::digest(&*subject));
        counts.push(held.keyframes);
        bytes_before = held.bytes;
    }
    assert!(counts[0] > counts[1] && counts[1] > counts[2], "{counts:?}");
}

fn page(n: u64) -> PageId {
    PageId { space: 0, page: n }
}

fn frame(step: u64, pages: &[(u64, u8)]) -> Frame {
    let content = |value: u8| (value != 0).then(|| Arc::new([value; PAGE]));
    Frame {
        at: Position { step, seq: step },
        time_ns: step,
        state: vec![0; 100],
        pages: pages.iter().map(|(n, value)| (page(*n), content(*value))).collect(),
    }
}

#[test]
fn thinned_keyframes_are_dense_near_now_and_lose_no_page() {
    let mut subject = guest("hello", 1);
    let mut history = History::new(40 * (PAGE + 200));
    for n in 0..500u64 {
        let value = u8::try_from(n % 251).unwrap();
        history.keyframe(&mut *subject, frame(n * 1000, &[(n % 20, value), (20, value)]));
        assert!(history.held().bytes <= history.budget);
        // All pages together are the memory of now.
        let mut memory = std::collections::BTreeMap::new();
        for frame in &history.frames {
            assert!(frame.pages.is_sorted_by_key(|(id, _)| *id));
            memory.extend(frame.pages.iter().cloned());
        }
        for i in n.saturating_sub(19)..=n {
            let value = u8::try_from(i % 251).unwrap();
            assert_eq!(
                memory[&page(i % 20)].as_deref(),
                frame(0, &[(0, value)]).pages[0].1.as_deref()
            );
        }
    }
    let steps: Vec<u64> = history.keyframes().map(|at| at.step).collect();
    assert_eq!((steps[0], steps[steps.len() - 1]), (0, 499_000));
    assert!(steps.len() >= 6, "{steps:?}");
    let gaps: Vec<u64> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] > 20 * gaps[gaps.len() - 1], "{steps:?}");
    let now = steps[steps.len() - 1];
    assert!(
        steps.iter().filter(|step| now - **step <= now / 2).count() * 2 > steps.len(),
        "{steps:?}"
    );
}

#[test]
fn pages_of_a_keyframe_that_goes_are_older_than_those_of_the_next() {
    let older = frame(1, &[(1, 1), (3, 1), (5, 1)]).pages;
    let newer = frame(2, &[(0, 2), (3, 2), (5, 0), (9, 2)]).pages;
    let expected = frame(2, &[(0, 2), (1, 1), (3, 2), (5, 0), (9, 2)]).pages;
    assert_eq!(merged(older.clone(), newer), expected);
    assert_eq!(merged(older.clone(), Vec::new()), older);
    assert_eq!(merged(Vec::new(), older.clone()), older);
}

#[test]
fn more_input_than_is_kept_ends_the_history_and_nothing_else() {
    let (kept, written) = kept(64 << 10);
    let mut typist = Typist::new(2000);
    let expected = testing::undisturbed("demo", 1, &mut typist.clone(), 20 << 20);
    let mut subject = guest("demo", 1);
    let ended = run(&mut *subject, kept, Around::new(&mut typist), 20 << 20);
    assert_eq!((subject.position(), testing::digest(&*subject)), expected);
    let mut kept = ended.kept.unwrap();
    assert!(kept.history.gave_up());
    assert_eq!(kept.history.held().inputs, 0);
    let error = kept.save(&*subject, &Why::Asked).unwrap_err().to_string();
    assert!(error.contains("more input than its history keeps"), "{error}");
    assert!(written.lock().unwrap().is_empty());
}

/// Panics at a step, as an error of this program would.
struct Panicking(Typist);

impl session::Inputs for Panicking {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<session::Input> {
        assert!(at.step < 130 << 20, "the error of this test");
        self.0.next(at, time_ns)
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline: Option<u64>) -> session::Idle {
        self.0.idle(at, time_ns, deadline)
    }
}

#[test]
fn what_was_kept_before_an_internal_error_replays() {
    let (kept, written) = kept(PLENTY);
    let mut subject = guest("demo", 2);
    let mut inputs = Panicking(Typist::new(1 << 20));
    let ended = run(&mut *subject, kept, Around::new(&mut inputs), u64::MAX);
    assert!(ended.panicked.is_some());
    ended.kept.unwrap().save(&*subject, &Why::Panicked).unwrap();
    let bytes = written.lock().unwrap()[0].clone();
    let reader = reader(&bytes);
    assert_eq!(reader.end(), None);
    assert!(reader.last().0.step >= 130 << 20 && reader.keyframes().len() == 3);
    let mut player = Player::open(source("demo", 2, &bytes), Grain::default()).unwrap();
    player.seek(u64::MAX, &mut |_, _| true).unwrap();
    assert_eq!(player.position().step, reader.last().0.step);
}
