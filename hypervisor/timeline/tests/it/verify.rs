//! A recording replays as the run that it is of, and recording changes nothing.

use session::{Event, Sink, Stop};
use timeline::{Around, Rest, Source, verify};

use crate::rig::{Case, Tape, Typed, What, digest, on};

/// All events of a run.
#[derive(Default)]
struct All(Vec<Event>);

impl Sink for All {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

const SCRIPT: &str = "expect Type a line\nsleep 1ms\nsend harts\nsleep 3ms\nsend help\nsleep 2ms\n\
                      send jobs\n";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for harts in [1, 4] {
        let steps = 150_000 * harts as u64;
        let demo = Case::new(What::Guest("demo"), harts, steps);
        cases.push(Case { typed: Typed::Script(SCRIPT), ..demo });
        cases.push(Case { typed: Typed::Wild(harts as u64), seed: 7, quantum: 333, ..demo });
        for name in ["timer", "ipi", "hsm", "wfi", "uart_irq", "smc", "lr_sc", "amo_contend"] {
            cases.push(Case { spacing: 5000, ..Case::new(What::Guest(name), harts, 20_000_000) });
        }
        for name in ["two_stage_fault", "satp_switch", "sfence_reuse", "sbi_probe", "fp"] {
            cases.push(Case { spacing: 9999, ..Case::new(What::Guest(name), harts, 20_000_000) });
        }
        for what in [What::Vm { rounds: 6, resets: 3 }, What::Bare { rounds: 6, resets: 3 }] {
            let case = Case::new(what, harts, 2_000_000);
            cases.push(Case { quantum: 97, spacing: 1500, ..case });
            cases.push(Case { typed: Typed::Wild(5), spacing: 777, ..case });
        }
    }
    cases
}

/// The run that nobody records.
fn unrecorded(case: &Case) -> (blake3::Hash, Stop, Vec<Event>) {
    let (mut subject, mut inputs, mut all) = (case.subject(), case.inputs(), All::default());
    let mut nothing = |_| {};
    let mut asked = None;
    let mut once = timeline::Recording::new(&mut *inputs, &mut asked, &mut nothing);
    let mut around = Around::new(&mut once);
    around.sinks.push(&mut all);
    let stop = match subject.run_until(&mut around, case.steps) {
        Rest::StepLimit => subject.end_at_limit(&mut around),
        Rest::Stopped(stop) => stop,
        rest @ (Rest::Asked | Rest::Debug { .. }) => panic!("{rest:?}"),
    };
    (digest(&*subject), stop, all.0)
}

#[track_caller]
fn check(tape: &Tape, source: &mut Source, events: &[Event]) {
    let mut all = All::default();
    let verified = verify(source, &mut [&mut all], None, &mut on).unwrap();
    let verified = verified.unwrap_or_else(|divergence| panic!("{:?}: {divergence:?}", tape.case));
    let Tape { case, at, .. } = tape;
    assert_eq!(verified.at, *at, "{case:?}");
    assert_eq!(verified.stop.as_ref(), Some(&tape.recorded.stop), "{case:?}");
    assert_eq!(digest(&*source.subject), tape.digest, "{case:?}");
    let inputs = all.0.iter().filter(|event| matches!(event, Event::Input { .. })).count();
    assert_eq!(all.0, events, "{case:?}");
    assert_eq!(verified.events, (events.len() - inputs) as u64, "{case:?}");
    let keyframes = source.reader.keyframes().len();
    assert_eq!(verified.states, keyframes as u64, "{case:?}");
}

#[test]
fn recordings_replay_with_the_same_events_and_states() {
    let mut keyframes = 0;
    for (n, case) in cases().into_iter().enumerate() {
        let tape = case.record(&format!("verify-{n}"));
        let (plain, stop, events) = unrecorded(&case);
        assert_eq!(tape.digest, plain, "recording changes nothing: {case:?}");
        assert_eq!(tape.recorded.stop, stop, "{case:?}");
        keyframes += tape.reader().keyframes().len();
        for n_blocks in [1, 64, hart::BLOCKS_DEFAULT] {
            let mut source = tape.source();
            source.subject = Case { n_blocks, ..case }.subject();
            check(&tape, &mut source, &events);
        }
    }
    assert!(keyframes > 400, "{keyframes}");
}
