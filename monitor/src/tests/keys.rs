//! What sequences of keys do to the run and to the screen.

use std::sync::atomic::AtomicBool;

use session::{Answer, Command, Position, Reply, Stop};

use super::{FakeHost, FakeSession, key};
use crate::Outcome;
use crate::drive::{Event, drive};
use crate::model::Model;

/// Plays keys, 300 ms apart, and leaves by Ctrl-C twice; says what was on the screen before that.
#[track_caller]
fn play(session: &mut FakeSession, keys: &str) -> (Outcome, String) {
    let events = keys.split_whitespace().enumerate();
    let events = events.map(|(i, name)| (300 * (i as u64 + 1), Event::Key(key(name))));
    let last = Event::Resize(80, 24);
    let end = (300 * (keys.split_whitespace().count() as u64 + 2), last);
    let mut host = FakeHost::new(events.chain([end]));
    let size = (80, 24);
    let mut model = Model::new("test", session::Session::capabilities(session), size);
    let outcome = drive(session, &mut host, &mut model, &AtomicBool::new(false)).unwrap();
    (outcome, host.screen())
}

#[test]
fn quit_asks_first() {
    let (outcome, screen) = play(&mut FakeSession::new(), "q");
    assert!(screen.contains("end the run?") && screen.contains("y power off"), "{screen}");
    // The Ctrl-C that ends each play.
    assert_eq!(outcome, Outcome::Kill);
    assert_eq!(play(&mut FakeSession::new(), "q y").0, Outcome::PowerOff);
    assert_eq!(play(&mut FakeSession::new(), "q k").0, Outcome::Kill);
    let (_, screen) = play(&mut FakeSession::new(), "q n");
    assert!(!screen.contains("end the run?"), "{screen}");
}

#[test]
fn p_pauses_and_goes_on() {
    let mut session = FakeSession::new();
    let (_, screen) = play(&mut session, "P");
    assert_eq!(session.controls(), [Command::Pause]);
    assert!(screen.contains("■ PAUSED") && screen.contains("P go on"), "{screen}");
    let (_, screen) = play(&mut session, "P");
    assert_eq!(session.controls(), [Command::Pause, Command::Resume]);
    assert!(screen.contains("● LIVE"), "{screen}");
}

#[test]
fn s_saves_the_run_and_says_where() {
    let mut session = FakeSession::new();
    let (_, screen) = play(&mut session, "S");
    assert_eq!(session.controls(), [Command::Save]);
    assert!(screen.contains("saved demo-9.dvt: 9 steps, 1234 bytes"), "{screen}");
}

#[test]
fn space_freezes_the_display_only() {
    let mut session = FakeSession::new();
    let (_, screen) = play(&mut session, "Space");
    assert!(screen.contains("‖ FROZEN") && screen.contains("live is 0 s ahead"), "{screen}");
    assert!(screen.contains("Space thaw"), "{screen}");
    assert_eq!(session.controls(), []);
    let (_, screen) = play(&mut session, "Space Space");
    assert!(screen.contains("● LIVE"), "{screen}");
}

#[test]
fn every_key_goes_to_the_guest_until_ctrl_a_x() {
    let mut session = FakeSession::new();
    let (_, screen) = play(&mut session, "2 i q Ctrl-C Ctrl-A Ctrl-A Ctrl-A a Ctrl-A x P");
    let typed: Vec<u8> = session
        .controls()
        .into_iter()
        .flat_map(|c| if let Command::Type(bytes) = c { bytes } else { Vec::new() })
        .collect();
    assert_eq!(typed, *b"q\x03\x01\x01");
    assert_eq!(session.controls().last(), Some(&Command::Pause));
    assert!(screen.contains("■ PAUSED"), "{screen}");
}

#[test]
fn while_typing_the_footer_says_how_to_leave() {
    let (_, screen) = play(&mut FakeSession::new(), "2 i");
    assert!(screen.contains("GUEST INPUT"), "{screen}");
    assert!(screen.contains("Ctrl-A x leave the guest"), "{screen}");
}

#[test]
fn a_session_that_only_watches_takes_no_commands() {
    let mut session = FakeSession::new();
    session.control = false;
    let (_, screen) = play(&mut session, "2 i x P");
    assert_eq!(session.controls(), []);
    assert!(screen.contains("! this session only watches"), "{screen}");
}

#[test]
fn the_selection_moves_and_explains() {
    let (_, screen) = play(&mut FakeSession::new(), "j");
    assert!(screen.contains("▸ V virt-insn"), "{screen}");
    assert!(screen.contains("V virt-insn  an instruction that VS-mode may not do"), "{screen}");
    let (_, screen) = play(&mut FakeSession::new(), "Tab G");
    assert!(screen.contains("▸  1 RUN"), "{screen}");
}

#[test]
fn console_scrolls_back_and_follows_again() {
    let mut session = FakeSession::new();
    (0..100).for_each(|i| session.output.extend(format!("line {i}\r\n").bytes()));
    let (_, screen) = play(&mut session, "2 k k");
    assert!(screen.contains("▲ 2 lines above"), "{screen}");
    assert!(screen.contains("line 97") && !screen.contains("line 99"), "{screen}");
    let (_, screen) = play(&mut session, "2 k g G");
    assert!(screen.contains("line 99"), "{screen}");
}

#[test]
fn help_lists_the_keys() {
    let (_, screen) = play(&mut FakeSession::new(), "?");
    assert!(screen.contains("freeze or thaw the display only"), "{screen}");
    let (_, screen) = play(&mut FakeSession::new(), "? G");
    assert!(screen.contains("close the list"), "{screen}");
    let (_, screen) = play(&mut FakeSession::new(), "? Esc");
    assert!(!screen.contains("close the list"), "{screen}");
}

#[test]
fn an_ended_run_stays_until_q() {
    let mut session = FakeSession::new();
    let stop = Stop::Failed { code: 3 };
    let answer = Answer::Ended(stop.clone());
    session.replies.push_back(Reply { generation: 0, at: Position::default(), answer });
    let (outcome, screen) = play(&mut session, "");
    assert!(screen.contains("✗ ENDED"), "{screen}");
    assert!(screen.contains("the guest reported failure, code 3"), "{screen}");
    assert_eq!(outcome, Outcome::Ended(stop));
}

#[test]
fn a_session_that_goes_away_is_said_to_be_lost() {
    let mut session = FakeSession::new();
    session.gone = true;
    let (outcome, screen) = play(&mut session, "");
    assert!(screen.contains("the run went away without a reason"), "{screen}");
    assert_eq!(outcome, Outcome::Lost);
}

#[test]
fn a_paste_reaches_the_guest_in_one_piece() {
    let mut session = FakeSession::new();
    let events = [
        (100, Event::Key(key("2"))),
        (200, Event::Key(key("i"))),
        (300, Event::Paste("ls\npwd\n".into())),
        (900, Event::Key(key("Ctrl-A"))),
        (950, Event::Key(key("x"))),
        (999, Event::Resize(80, 24)),
    ];
    let mut host = FakeHost::new(events);
    let mut model = Model::new("", session::Session::capabilities(&session), (80, 24));
    drive(&mut session, &mut host, &mut model, &AtomicBool::new(false)).unwrap();
    assert_eq!(session.controls(), [Command::Type(b"ls\rpwd\r".to_vec())]);
}
