//! Whatever takes long can be ended at any look-up, and the player is whole afterwards.

use std::sync::Arc;

use timeline::{
    Grain, Looking, Player, Point, Pool, Source, TravelError, Wanted, Window, bisect, verify,
};

use crate::dice::Dice;
use crate::program::{DATA, RAM};
use crate::rig::{Case, Tape, Typed, What, fine, on};
use crate::seek::{Straight, moment};

/// Steps between two look-ups at most.
const LOOK: u64 = 1 << 18;

type Asked<'a> = &'a mut dyn FnMut(u64, u64) -> bool;
type Long = fn(&mut Player, u64, Asked<'_>) -> Result<(), TravelError>;

/// Everything that takes long, from where the player is, with a step that decides what.
const LONG: [(&str, Long); 9] = [
    ("seek", |player, step, ask| player.seek(step, ask).map(drop)),
    ("time", |player, step, ask| player.go(Point::Time(step), ask)),
    ("event", |player, step, ask| player.go(Point::Event(step % player.last().seq), ask)),
    ("back", |player, _, ask| player.step_back(None, ask).map(drop)),
    ("hart", |player, _, ask| player.step_back(Some(0), ask).map(drop)),
    ("play", |player, step, ask| player.play(step, &mut session::NullSink, ask).map(drop)),
    ("scan", |player, step, ask| player.scan(step, &Looking::Steps, &mut |_| true, ask)),
    ("writes", |player, step, ask| player.scan(step, &writes(player), &mut |_| true, ask)),
    ("run back", |player, _, ask| player.run_back(&nothing(), ask).map(drop)),
];

fn writes(player: &Player) -> Looking {
    let hpa = DATA - RAM + player.subject().guest_memory().1;
    Looking::Writes(std::iter::once(hpa..hpa + 64).collect())
}

/// What never happens.
fn nothing() -> Looking {
    Looking::Events(Arc::new(|_| false))
}

fn tape() -> Tape {
    let case = Case::new(What::Vm { rounds: 12, resets: 0 }, 2, 60_000);
    Case { typed: Typed::Wild(3), quantum: 97, spacing: 900, ..case }.record("interrupt")
}

/// Ends at the k-th look-up.
fn until(k: u64) -> impl FnMut(u64, u64) -> bool {
    let mut n = 0;
    move |_, _| {
        n += 1;
        n <= k
    }
}

#[test]
fn a_player_that_was_interrupted_goes_on_anywhere() {
    let tape = tape();
    let mut player = tape.player(Grain { coarse: 300, fine: 40, ..fine() });
    let mut interrupted = 0;
    for (seed, (name, long)) in (0..).zip(LONG) {
        let mut dice = Dice(seed);
        for _ in 0..12 {
            let (from, to) = (dice.below(tape.at.step), dice.below(tape.at.step));
            player.seek(from, &mut on).unwrap();
            let k = dice.below(9);
            match long(&mut player, to, &mut until(k)) {
                Ok(()) => {}
                Err(TravelError::Interrupted) => interrupted += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            let then = dice.below(tape.at.step);
            player.seek(then, &mut on).unwrap();
            let want = Straight::new(&tape).go(then);
            assert_eq!(moment(player.subject()), want, "{name} from {from} to {to}, {k} look-ups");
        }
    }
    assert!(interrupted > 40, "{interrupted}");
}

#[test]
fn a_pool_that_was_interrupted_answers_the_next_question() {
    let tape = tape();
    let mut pool = Pool::new((0..3).map(|_| tape.player(fine())).collect());
    let whole = Window { from: 0, to: tape.at.step };
    let looking = writes(pool.player().unwrap());
    let all = Wanted::First(usize::MAX);
    let want = pool.find(&looking, whole, all, &mut on).unwrap();
    assert!(want.len() > 20);
    let ended = pool.find(&Looking::Steps, whole, all, &mut until(0));
    // It is asked every few milliseconds; what is over before needs no end.
    assert!(matches!(ended, Err(TravelError::Interrupted) | Ok(_)));
    assert_eq!(pool.find(&looking, whole, all, &mut on).unwrap(), want);
    assert_eq!(
        pool.find(&looking, whole, Wanted::Last(1), &mut on).unwrap(),
        want[want.len() - 1..]
    );
}

#[test]
fn a_comparison_and_a_bisection_can_be_ended() {
    let tape = tape();
    let mut source: Source = tape.source();
    let ended = verify(&mut source, &mut [], None, &mut until(3));
    assert!(matches!(ended, Err(TravelError::Interrupted)));
    let (mut one, mut other) = (tape.player(fine()), tape.player(fine()));
    let mut go = |player: &mut Player, to| player.seek(to, &mut on).map(drop);
    let ended = bisect(&mut one, &mut other, 0, tape.at.step, &mut go, &mut until(2));
    assert!(matches!(ended, Err(TravelError::Interrupted)));
    let same = bisect(&mut one, &mut other, 0, tape.at.step, &mut go, &mut on);
    assert!(matches!(same, Ok(None)));
}

#[test]
fn the_steps_between_two_look_ups_are_bounded() {
    let steps = 6 * LOOK;
    let case = Case { spacing: 4 * LOOK, ..Case::new(What::Guest("demo"), 1, steps) };
    let tape = case.record("look-ups");
    let grain = Grain::default();
    for (name, long) in LONG {
        // One by one is slow, and comes back after each step.
        if name == "scan" {
            continue;
        }
        let mut player = tape.player(grain);
        if ["run back", "hart", "back"].contains(&name) {
            player.seek(tape.at.step, &mut on).unwrap();
        }
        let (mut last, mut most, mut n) = (0, 0, 0);
        long(&mut player, tape.at.step, &mut |done, _| {
            most = most.max(done.saturating_sub(last));
            (last, n) = (done, n + 1);
            true
        })
        .unwrap();
        assert!(most <= LOOK, "{name}: {most} steps without a look-up");
        assert!(
            n >= u64::from(["seek", "play", "writes", "run back"].contains(&name)) * 6,
            "{name}"
        );
    }
}
