//! Wherever a player goes, the guest is as in a run that went straight there.

use std::collections::BTreeMap;

use session::Position;
use timeline::{Around, Grain, Player, Point, Rest, Subject};
use traces::InputRecord;

use crate::dice::Dice;
use crate::rig::{Case, Tape, Typed, What, digest, fine, on};

/// What a straight run is at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    at: Position,
    time_ns: u64,
    harts: Vec<u64>,
    digest: blake3::Hash,
}

pub(crate) fn moment(subject: &dyn Subject) -> Moment {
    let harts = subject.machine().harts().iter().map(hart::Hart::steps).collect();
    let (at, time_ns) = (subject.position(), subject.machine().now_ns());
    Moment { at, time_ns, harts, digest: digest(subject) }
}

/// A run without checkpoints, keyframes or a way back.
pub(crate) struct Straight {
    subject: Box<dyn Subject>,
    tape: timeline::Tape,
}

impl Straight {
    pub(crate) fn new(tape: &Tape) -> Self {
        Self::of(&tape.case, tape.reader().inputs().unwrap())
    }

    pub(crate) fn of(case: &Case, inputs: Vec<InputRecord>) -> Self {
        Self { subject: case.subject(), tape: timeline::Tape::new(inputs) }
    }

    pub(crate) fn go(&mut self, step: u64) -> Moment {
        self.at(step);
        moment(&*self.subject)
    }

    pub(crate) fn subject(&self) -> &dyn Subject {
        &*self.subject
    }

    /// Position and guest time there.
    fn at(&mut self, step: u64) -> (Position, u64) {
        let rest = self.subject.run_until(&mut Around::new(&mut self.tape), step);
        assert!(matches!(rest, Rest::StepLimit | Rest::Stopped(_)), "{rest:?}");
        (self.subject.position(), self.subject.machine().now_ns())
    }
}

/// Steps of a recording, and the moments at which they begin.
fn straight(tape: &Tape, steps: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Moment> {
    let mut run = Straight::new(tape);
    let mut steps: Vec<u64> = steps.into_iter().collect();
    steps.sort_unstable();
    steps.into_iter().map(|step| (step, run.go(step))).collect()
}

fn tapes() -> Vec<Tape> {
    let demo = |harts: usize| Case::new(What::Guest("demo"), harts, 60_000 * harts as u64);
    let program =
        |what, harts| Case { quantum: 97, spacing: 1500, ..Case::new(what, harts, 99_999) };
    let cases = [
        Case { typed: Typed::Wild(1), ..demo(1) },
        Case { typed: Typed::Wild(2), quantum: 50, ..demo(4) },
        Case { typed: Typed::Wild(3), ..program(What::Vm { rounds: 6, resets: 3 }, 1) },
        program(What::Vm { rounds: 4, resets: 3 }, 4),
        Case { typed: Typed::Wild(4), ..program(What::Bare { rounds: 6, resets: 3 }, 2) },
        program(What::Bare { rounds: 9, resets: 1 }, 1),
    ];
    let name = |n: usize| format!("seek-{n}");
    cases.iter().enumerate().map(|(n, case)| case.record(&name(n))).collect()
}

/// Budgets from none to enough, checkpoints from every few steps to none.
fn grains() -> [Grain; 4] {
    [
        fine(),
        Grain { budget: 0, coarse: 300, fine: 40, load: 100_000 },
        Grain { budget: 400 << 10, coarse: 1000, fine: 100, load: 10_000 },
        Grain::default(),
    ]
}

/// A step, mostly anywhere, sometimes near an edge or a keyframe, or where it is.
fn any_step(dice: &mut Dice, player: &Player) -> u64 {
    let (first, last) = (player.first().step, player.last().step);
    let frames = player.reader().keyframes();
    let near = |dice: &mut Dice, step: u64| (step + dice.below(4)).saturating_sub(2);
    let step = match dice.below(8) {
        0 => dice.pick(&[first, first + 1, last - 1, last]),
        1 => {
            let frame = usize::try_from(dice.below(frames.len() as u64)).unwrap();
            near(dice, frames[frame].at.step)
        }
        2 | 3 => near(dice, player.position().step),
        _ => dice.between(first, last),
    };
    step.clamp(first, last)
}

#[test]
fn a_seek_to_any_step_is_a_straight_run_to_it() {
    for (n, tape) in tapes().iter().enumerate() {
        for (k, grain) in grains().into_iter().enumerate() {
            let mut dice = Dice(100 * n as u64 + k as u64);
            let mut player = tape.player(grain);
            let mut seen = Vec::new();
            for _ in 0..120 {
                let step = any_step(&mut dice, &player);
                let at = player.seek(step, &mut on).unwrap();
                assert_eq!((at.step, at), (step, player.position()));
                seen.push((step, moment(player.subject())));
            }
            let want = straight(tape, seen.iter().map(|(step, _)| *step));
            for (step, moment) in seen {
                assert_eq!(moment, want[&step], "{:?} with {grain:?}", tape.case);
            }
        }
    }
}

#[test]
fn steps_back_of_the_guest_and_of_a_hart() {
    for (n, tape) in tapes().iter().enumerate() {
        for (k, grain) in grains().into_iter().enumerate() {
            let mut dice = Dice(1000 * n as u64 + k as u64);
            let mut player = tape.player(grain);
            for _ in 0..8 {
                let step = any_step(&mut dice, &player);
                player.seek(step, &mut on).unwrap();
                for _ in 0..4 {
                    step_back(tape, &mut player, &mut dice);
                }
            }
        }
    }
}

fn step_back(tape: &Tape, player: &mut Player, dice: &mut Dice) {
    let before = moment(player.subject());
    let hart = usize::try_from(dice.below(tape.case.harts as u64)).unwrap();
    let hart = dice.coin().then_some(hart);
    let done = player.step_back(hart, &mut on).unwrap();
    let now = moment(player.subject());
    let mut run = Straight::new(tape);
    assert_eq!(now, run.go(now.at.step));
    let Some(hart) = hart else {
        assert_eq!(done, before.at.step > player.first().step);
        assert_eq!(now.at.step, before.at.step.saturating_sub(u64::from(done)));
        return;
    };
    if done {
        // The last moment before the hart's last step.
        assert_eq!(now.harts[hart] + 1, before.harts[hart], "{:?}", tape.case);
        assert_eq!(run.go(now.at.step + 1).harts[hart], before.harts[hart]);
    } else {
        assert_eq!(before.harts[hart], 0, "{:?}", tape.case);
        assert_eq!(now, before, "nothing to go back to, and yet it moved");
    }
}

#[test]
fn a_seek_to_a_time_or_an_event_finds_the_first_moment_with_it() {
    for (n, tape) in tapes().iter().enumerate() {
        let mut run = Straight::new(tape);
        let all: Vec<(Position, u64)> = (0..=tape.at.step).map(|step| run.at(step)).collect();
        let last = *all.last().unwrap();
        let mut dice = Dice(n as u64);
        let mut seen = Vec::new();
        for grain in grains() {
            let mut player = tape.player(grain);
            for _ in 0..25 {
                let time_ns = dice.below(last.1 + 2);
                player.go(Point::Time(time_ns), &mut on).unwrap();
                let want = all.iter().find(|it| it.1 >= time_ns).unwrap_or(&last);
                assert_eq!(player.position(), want.0, "{time_ns} ns, {:?}", tape.case);
                seen.push(moment(player.subject()));
                let seq = dice.below(last.0.seq);
                player.go(Point::Event(seq), &mut on).unwrap();
                let want = all.iter().find(|it| it.0.seq > seq).unwrap_or(&last);
                assert_eq!(player.position(), want.0, "event {seq}, {:?}", tape.case);
                seen.push(moment(player.subject()));
            }
        }
        let want = straight(tape, seen.iter().map(|moment| moment.at.step));
        seen.iter().for_each(|moment| assert_eq!(*moment, want[&moment.at.step]));
    }
}

#[test]
fn the_edges_are_where_the_recording_begins_and_ends() {
    for tape in tapes() {
        let mut player = tape.player(fine());
        let (first, last) = (player.first(), player.last());
        for _ in 0..2 {
            player.go(Point::End, &mut on).unwrap();
            assert_eq!(player.position().step, last.step);
            assert_eq!(player.seek(u64::MAX, &mut on).unwrap().step, last.step);
            assert!(player.go(Point::Step(last.step + 1), &mut on).is_err());
            assert!(player.go(Point::Event(last.seq), &mut on).is_err());
            player.go(Point::Time(u64::MAX), &mut on).unwrap();
            assert_eq!(player.position().step, last.step);
            player.go(Point::Start, &mut on).unwrap();
            assert_eq!(player.position(), first);
            assert!(!player.step_back(None, &mut on).unwrap());
            assert!(!player.step_back(Some(0), &mut on).unwrap());
            assert_eq!(player.position(), first);
        }
    }
}

/// Where nobody can run the end comes behind the last moment.
#[test]
fn an_end_without_a_step_is_behind_the_last_moment() {
    let program = |what| Case { quantum: 97, spacing: 1500, ..Case::new(what, 2, 99_999) };
    for what in [What::Vm { rounds: 40, resets: 0 }, What::Bare { rounds: 40, resets: 0 }] {
        let tape = Case { typed: Typed::Quit(1, 150), ..program(what) }.record("quit");
        assert_eq!(tape.recorded.stop, session::Stop::User);
        let want = Straight::new(&tape).go(tape.at.step);
        assert_ne!(want.digest, tape.digest);
        let mut dice = Dice(9);
        for grain in grains() {
            let mut player = tape.player(grain);
            for _ in 0..6 {
                player.seek(tape.at.step, &mut on).unwrap();
                assert_eq!(moment(player.subject()), want);
                player.go(Point::End, &mut on).unwrap();
                assert_eq!(player.ended(), Some(&session::Stop::User));
                assert_eq!((player.position(), digest(player.subject())), (tape.at, tape.digest));
                let step = dice.between(tape.at.step / 2, tape.at.step);
                player.seek(step, &mut on).unwrap();
                assert_eq!(moment(player.subject()), Straight::new(&tape).go(step));
            }
        }
    }
}
