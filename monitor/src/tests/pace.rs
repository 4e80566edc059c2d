//! Frames are drawn when something changed, not more often, and not at all otherwise.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use session::{Command, RunState, Session};

use super::{FakeHost, FakeSession, key};
use crate::Outcome;
use crate::drive::{Event, drive};
use crate::model::Model;

/// Runs for `ms` milliseconds with these events before.
fn host(session: &mut FakeSession, ms: u64, events: &[(u64, Event)]) -> FakeHost {
    let mut host = FakeHost::new(events.iter().cloned().chain([(ms, Event::Resize(80, 24))]));
    let mut model = Model::new("", session.capabilities(), (80, 24));
    drive(session, &mut host, &mut model, &AtomicBool::new(false)).unwrap();
    host
}

fn frames_after(host: &FakeHost, from: u64, to: u64) -> usize {
    let range = Duration::from_millis(from)..Duration::from_millis(to);
    host.frames.iter().filter(|at| range.contains(at)).count()
}

#[test]
fn nothing_is_drawn_while_nothing_changes() {
    for run in [RunState::Paused, RunState::Ended(session::Stop::PowerOff)] {
        let mut session = FakeSession::new();
        session.overview.run = run;
        let host = host(&mut session, 12_000, &[]);
        assert!(!host.frames.is_empty());
        assert_eq!(frames_after(&host, 1500, 12_000), 0);
    }
}

#[test]
fn a_frozen_display_of_a_standing_guest_is_not_drawn() {
    let mut session = FakeSession::new();
    let host = host(&mut session, 12_000, &[(500, Event::Key(key("Space")))]);
    assert_eq!(frames_after(&host, 1500, 12_000), 0);
}

#[test]
fn waiting_is_not_a_busy_loop() {
    let mut session = FakeSession::new();
    session.silent = true;
    let host = host(&mut session, 10_000, &[]);
    assert!(host.waits < 1500, "{} waits in 10 s", host.waits);
    assert!(session.sent.len() < 10, "{} questions without an answer", session.sent.len());
}

#[test]
fn silence_is_shown() {
    let mut session = FakeSession::new();
    session.silent = true;
    let host = host(&mut session, 3500, &[(3400, Event::Key(key("2")))]);
    assert!(host.screen().contains("no answer for 3 s"), "{}", host.screen());
}

#[test]
fn stale_answers_are_dropped() {
    let mut session = FakeSession::new();
    let generation = 1 << 40;
    let answer = session::Answer::Console { from: 0, bytes: b"stale".to_vec() };
    session.replies.push_back(session::Reply { generation, at: Default::default(), answer });
    let host = host(&mut session, 900, &[(300, Event::Key(key("2")))]);
    assert!(!host.screen().contains("stale"), "{}", host.screen());
}

#[test]
fn a_slow_terminal_gets_few_frames() {
    let events: Vec<_> = (0..400).map(|i| (i * 25, Event::Resize(80, 24))).collect();
    let run = |cost| {
        let mut session = FakeSession::new();
        let mut host = FakeHost::new(events.clone());
        host.frame_cost = Duration::from_millis(cost);
        let mut model = Model::new("", session.capabilities(), (80, 24));
        drive(&mut session, &mut host, &mut model, &AtomicBool::new(false)).unwrap();
        host.frames.len()
    };
    let (fast, slow) = (run(1), run(100));
    assert!(slow <= 60 && slow < fast, "{slow} slow, {fast} fast");
}

#[test]
fn the_stop_flag_ends_the_monitor() {
    let mut session = FakeSession::new();
    let mut host = FakeHost::new([]);
    let mut model = Model::new("", session.capabilities(), (80, 24));
    let outcome = drive(&mut session, &mut host, &mut model, &AtomicBool::new(true)).unwrap();
    assert_eq!(outcome, Outcome::Stopped);
}

#[test]
fn typed_bytes_wait_for_the_one_before() {
    let mut session = FakeSession::new();
    let keys = ["2", "i", "a", "b", "c", "Ctrl-A", "x"];
    let events: Vec<_> = keys.iter().map(|name| (100, Event::Key(key(name)))).collect();
    host(&mut session, 500, &events);
    assert_eq!(session.controls(), [Command::Type(b"abc".to_vec())]);
}
