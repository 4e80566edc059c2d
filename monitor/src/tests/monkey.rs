//! Whatever comes in whatever order at whatever size, nothing panics and nothing is drawn outside.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use session::{Capabilities, RunState, Stop};

use super::{key, overview};
use crate::keys::{Code, Key, REGISTRY};
use crate::model::Model;
use crate::theme::{Colors, Theme};
use crate::update::{Msg, update};

fn any_key() -> impl Strategy<Value = Key> {
    let known: Vec<Key> = REGISTRY.iter().flat_map(|row| row.keys).copied().collect();
    prop_oneof![
        8 => prop::sample::select(known),
        1 => any::<char>().prop_map(|c| Key::plain(Code::Char(c))),
        1 => any::<u8>().prop_map(|n| Key { code: Code::F(n), ctrl: false, alt: true }),
    ]
}

fn any_msg() -> impl Strategy<Value = Msg> {
    let run = prop::sample::select(vec![
        RunState::Running,
        RunState::Paused,
        RunState::Ended(Stop::Crashed { reason: "\x1b[31mno\n".into() }),
    ]);
    let state = (0u64..100_000, 0u16..40, 0u64..12, run).prop_map(|(ms, n, quarters, run)| {
        let mut overview = overview(n, quarters);
        overview.run = run;
        overview.time_ns = overview.time_ns.wrapping_mul(ms);
        Msg::Overview(Duration::from_millis(ms), Box::new(overview))
    });
    prop_oneof![
        12 => any_key().prop_map(Msg::Key),
        3 => (1u16..300, 1u16..100).prop_map(|(columns, rows)| Msg::Resize(columns, rows)),
        3 => state,
        3 => (0u64..900, prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(\\x1b\\[[?]?[0-9]{0,4}(;[0-9]{0,4}){0,2}[@A-Za-z]|\\PC){0,20}"
                .prop_map(String::into_bytes),
        ]).prop_map(|(from, bytes)| Msg::Console { from, bytes }),
        1 => ".{0,9}".prop_map(Msg::Paste),
        1 => Just(Msg::Lost),
        1 => Just(Msg::Refused("no")),
        1 => ".{0,99}".prop_map(|text| Msg::Done(Ok(text))),
        1 => ".{0,99}".prop_map(|text| Msg::Done(Err(text))),
        1 => (0u64..9).prop_map(|s| Msg::Stalled(Some(s))),
        1 => (0u64..9000).prop_map(|ms| Msg::Tick(Duration::from_millis(ms))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nothing_panics(msgs in prop::collection::vec(any_msg(), 1..50)) {
        let capabilities = Capabilities { live: true, control: true, time_travel: false };
        let mut model = Model::new("\u{7}name", capabilities, (80, 24));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        for msg in msgs {
            if let Msg::Resize(columns, rows) = msg {
                terminal.backend_mut().resize(columns, rows);
            }
            update(&mut model, msg);
            // Writing outside the buffer panics.
            let theme = Theme::new(Colors::True);
            terminal.draw(|frame| crate::view::draw(&model, theme, frame)).unwrap();
            for cell in terminal.backend().buffer().content() {
                prop_assert!(!cell.symbol().chars().any(char::is_control), "{:?}", cell);
            }
        }
    }
}

#[test]
fn every_size_is_drawn() {
    let capabilities = Capabilities { live: true, control: true, time_travel: false };
    let mut model = Model::new("", capabilities, (80, 24));
    for quarter in 0..6 {
        let now = Duration::from_millis(quarter * 250);
        update(&mut model, Msg::Overview(now, Box::new(overview(9, quarter))));
    }
    for (name, dialog) in [("1", "q"), ("2", "?")] {
        for width in (1..60).chain((60..300).step_by(7)) {
            for height in (1..40).chain([50, 77, 100]) {
                update(&mut model, Msg::Key(key(name)));
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                let theme = Theme::new(Colors::None);
                terminal.draw(|frame| crate::view::draw(&model, theme, frame)).unwrap();
                update(&mut model, Msg::Key(key(dialog)));
                terminal.draw(|frame| crate::view::draw(&model, theme, frame)).unwrap();
                update(&mut model, Msg::Key(key("Esc")));
            }
        }
    }
}
