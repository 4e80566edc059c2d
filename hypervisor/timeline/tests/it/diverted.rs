//! What somebody did to a guest is gone once its player goes somewhere.

use hart::Writer;
use timeline::Grain;

use crate::dice::Dice;
use crate::program::RAM;
use crate::rig::{Case, What, fine, on};
use crate::seek::{Straight, moment};

#[test]
fn what_a_debugger_wrote_is_gone_wherever_the_player_goes() {
    let case = Case {
        quantum: 97,
        spacing: 1500,
        ..Case::new(What::Bare { rounds: 6, resets: 1 }, 2, 40_000)
    };
    let tape = case.record("diverted");
    // With checkpoints, and with keyframes only.
    let sparse = Grain { budget: 0, coarse: 1 << 40, fine: 1 << 40, load: 0 };
    for (n, grain) in [fine(), sparse].into_iter().enumerate() {
        let (mut player, mut dice) = (tape.player(grain), Dice(n as u64));
        let last = player.last().step;
        for _ in 0..60 {
            let subject = player.subject_mut();
            let hpa = RAM + dice.below(16 << 10);
            subject.machine_mut().write(Writer::Debugger, hpa, &[0x5a; 3]).unwrap();
            if dice.one_in(3) {
                player.forget();
            }
            // Forwards it would be another run.
            let step = dice.below(player.position().step.max(1)).max(player.first().step);
            player.seek(step, &mut on).unwrap();
            let there = player.position();
            if there.step != 0 {
                assert_eq!(moment(player.subject()), Straight::new(&tape).go(there.step));
            }
            player.seek(dice.between(there.step, last), &mut on).unwrap();
            let there = player.position();
            assert_eq!(moment(player.subject()), Straight::new(&tape).go(there.step));
        }
    }
}
