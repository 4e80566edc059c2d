//! Any script against any console output: it ends, and never types before its time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session::{Idle, Inputs, Position, Script};

const AT: Position = Position { step: 0, seq: 0 };

fuzz_target!(|data: (&str, Vec<(u32, Vec<u8>)>)| {
    let (text, world) = data;
    let Ok(mut script) = Script::parse(text) else { return };
    let mut now = 0_u64;
    for (pause, output) in world {
        script.output(&output);
        let due = script.due_ns(now);
        let typed = script.next(AT, now);
        assert_eq!(typed.is_some(), due.is_some_and(|at| at <= now));
        let deadline = (pause % 2 == 0).then(|| now.saturating_add(u64::from(pause)));
        match script.idle(AT, now, deadline) {
            Idle::Input { time_ns, .. } => {
                assert!(time_ns >= now && deadline.is_none_or(|end| time_ns < end));
                now = time_ns;
            }
            Idle::Deadline | Idle::Never | Idle::Attention => {
                now = now.saturating_add(u64::from(pause) << 8);
            }
        }
        let _ = script.waiting_for();
    }
    // With nothing more to hear it comes to its end or to an `expect`.
    let n_lines = text.lines().count();
    for _ in 0..=n_lines {
        if let Idle::Input { time_ns, .. } = script.idle(AT, now, None) {
            now = time_ns;
        }
    }
    assert!(script.is_done() || script.waiting_for().is_some() || script.due_ns(now).is_none());
});
