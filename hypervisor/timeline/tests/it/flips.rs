//! One bit that flips in a replay is reported within one interval of hashes, and found exactly.

use hart::Writer;
use isa::Csr;
use timeline::{Meddle, Player, Subject, TravelError, bisect, verify};

use crate::dice::Dice;
use crate::rig::{Case, Tape, Typed, What, fine, on};

/// Which bit.
#[derive(Clone, Copy, Debug)]
enum Bit {
    Ram { hpa: u64, bit: u64 },
    Register { hart: usize, reg: u8, bit: u64 },
    Scratch { hart: usize, bit: u64 },
}

impl Bit {
    fn flip(self, subject: &mut dyn Subject) {
        let machine = subject.machine_mut();
        match self {
            Self::Ram { hpa, bit } => {
                let mut byte = [0];
                machine.read(hpa, &mut byte).unwrap();
                byte[0] ^= 1 << bit;
                machine.write(Writer::Debugger, hpa, &byte).unwrap();
            }
            Self::Register { hart, reg, bit } => {
                let hart = machine.hart_mut(hart).0;
                hart.set_x(reg, hart.x(reg) ^ 1 << bit);
            }
            Self::Scratch { hart, bit } => {
                let (hart, platform) = machine.hart_mut(hart);
                let old = hart.csr(Csr::MSCRATCH).unwrap();
                hart.set_csr(platform, Csr::MSCRATCH, old ^ 1 << bit);
            }
        }
    }
}

fn any_bit(dice: &mut Dice, tape: &Tape, subject: &dyn Subject) -> Bit {
    let (_, hpa, size) = subject.guest_memory();
    let hart = usize::try_from(dice.below(tape.case.harts as u64)).unwrap();
    match dice.below(8) {
        0 => {
            let reg = u8::try_from(dice.between(1, 31)).unwrap();
            Bit::Register { hart, reg, bit: dice.below(64) }
        }
        1 => Bit::Scratch { hart, bit: dice.below(64) },
        // Anywhere, or where the program and its data are.
        2..5 => Bit::Ram { hpa: hpa + dice.below(size), bit: dice.below(8) },
        _ => {
            let begin = if matches!(tape.case.what, What::Guest(_)) { 2 << 20 } else { 0 };
            Bit::Ram { hpa: hpa + begin + dice.below(0x1_0000), bit: dice.below(8) }
        }
    }
}

/// Whether a run with the flip is the same again at a step.
fn healed(tape: &Tape, bit: Bit, step: u64, then: u64) -> bool {
    let (mut whole, mut flipped) = (tape.player(fine()), tape.player(fine()));
    whole.seek(then, &mut on).unwrap();
    go(&mut flipped, bit, step, then).unwrap();
    timeline::same(whole.subject_mut(), flipped.subject_mut())
}

/// Goes to `to`, by way of the flip if that lies before it.
fn go(player: &mut Player, bit: Bit, step: u64, to: u64) -> Result<(), TravelError> {
    player.seek(to.min(step), &mut on)?;
    if to < step {
        return Ok(());
    }
    bit.flip(player.subject_mut());
    match player.play(to, &mut session::NullSink, &mut on) {
        // An input finds no place any more: another run it is.
        Ok(_) | Err(TravelError::Diverged { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the flip was noticed, or nothing was left of it to notice.
fn check(tape: &Tape, seed: u64) -> bool {
    let mut dice = Dice(seed);
    let frames: Vec<u64> = tape.reader().keyframes().iter().map(|it| it.at.step).collect();
    let step = dice.below(tape.at.step);
    let next = *frames.iter().find(|frame| **frame > step).unwrap();
    let mut source = tape.source();
    let bit = any_bit(&mut dice, tape, &*source.subject);
    let mut act = |subject: &mut dyn Subject| bit.flip(subject);
    let mut meddle = Meddle { step, act: &mut act };
    let verified = verify(&mut source, &mut [], Some(&mut meddle), &mut on).unwrap();
    let what = format!("{bit:?} at {step}, {:?}", tape.case);
    let Err(divergence) = verified else {
        assert!(healed(tape, bit, step, next), "not noticed: {what}");
        return false;
    };
    let (good, bad) = (divergence.good, divergence.at.step);
    assert!(good <= step, "{what}: {divergence:?}");
    if bad > next {
        assert!(healed(tape, bit, step, next), "noticed late, at {bad}: {what}");
        return false;
    }
    let (mut whole, mut flipped) = (tape.player(fine()), tape.player(fine()));
    let mut there = |player: &mut Player, to| go(player, bit, step, to);
    let found = bisect(&mut whole, &mut flipped, good, bad, &mut there, &mut on).unwrap();
    // At the keyframe itself both were compared before the flip.
    assert_eq!(found, Some(step.max(good + 1)), "{what}: {divergence:?}");
    true
}

#[track_caller]
fn check_all(case: &Case, seeds: u64) {
    let tape = case.record("flips");
    let noticed = (0..seeds).filter(|seed| check(&tape, *seed)).count();
    assert!(noticed as u64 * 10 > seeds * 8, "{noticed} of {seeds} were noticed");
}

#[test]
fn in_a_recording_of_one_vcpu() {
    let case = Case::new(What::Guest("demo"), 1, 60_000);
    check_all(&Case { typed: Typed::Wild(1), ..case }, 30);
    let case = Case::new(What::Vm { rounds: 30, resets: 0 }, 1, 60_000);
    check_all(&Case { spacing: 900, quantum: 97, ..case }, 60);
}

#[test]
fn in_a_recording_of_four_vcpus() {
    let case = Case::new(What::Guest("demo"), 4, 120_000);
    check_all(&Case { typed: Typed::Wild(2), quantum: 300, ..case }, 30);
    let case = Case::new(What::Vm { rounds: 15, resets: 0 }, 4, 60_000);
    check_all(&Case { spacing: 900, quantum: 97, ..case }, 60);
}

#[test]
fn in_a_recording_of_a_bare_machine() {
    let case = Case::new(What::Bare { rounds: 20, resets: 0 }, 2, 60_000);
    check_all(&Case { spacing: 900, quantum: 97, ..case }, 60);
}
