//! Recordings that broke off replay as far as they go; those that somebody damaged are refused, or
//! are another run, and nothing worse.

use std::path::PathBuf;
use std::sync::Arc;

use machine::PAGE;
use session::{Idle, Input, Inputs, Position, Stop};
use timeline::{Around, Difference, Player, Source, TravelError, verify};
use traces::{End, Frame, How, InputRecord, Packer, PageId, Reader, Writer};

use crate::dice::Dice;
use crate::rig::{Case, Scratch, Tape, Typed, What, fine, header, on};
use crate::seek::{Straight, moment};

fn cases() -> [Case; 3] {
    let program = |what| Case { quantum: 97, spacing: 900, ..Case::new(what, 2, 30_000) };
    [
        Case { typed: Typed::Wild(4), ..program(What::Vm { rounds: 6, resets: 1 }) },
        Case { typed: Typed::Wild(5), ..program(What::Bare { rounds: 6, resets: 1 }) },
        Case { typed: Typed::Wild(6), ..Case::new(What::Guest("demo"), 1, 60_000) },
    ]
}

/// Inputs that copy the file at one of them, as if everything had ended there.
struct Killed {
    inputs: Box<dyn Inputs>,
    from: PathBuf,
    to: PathBuf,
    left: usize,
}

impl Killed {
    fn given(&mut self, any: bool) {
        if any && self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                std::fs::copy(&self.from, &self.to).unwrap();
            }
        }
    }
}

impl Inputs for Killed {
    fn next(&mut self, at: Position, time_ns: u64) -> Option<Input> {
        let input = self.inputs.next(at, time_ns);
        self.given(input.is_some());
        input
    }

    fn idle(&mut self, at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        let idle = self.inputs.idle(at, time_ns, deadline_ns);
        self.given(matches!(idle, Idle::Input { .. }));
        idle
    }
}

/// What is left of a recording of this case that ends while an input is handed out.
fn killed(case: &Case, whole: &Tape, n: usize) -> Scratch {
    let (file, left) = (Scratch::new("killed"), Scratch::new("left"));
    let (from, to) = (file.0.clone(), left.0.clone());
    let mut inputs = Killed { inputs: case.inputs(), from, to, left: n };
    case.record_with(&file, &mut *case.subject(), &mut inputs);
    assert!(whole.reader().inputs().unwrap().len() >= n);
    left
}

fn source(case: &Case, file: &Scratch) -> Source {
    let (reader, _) = Reader::open(&file.0).unwrap();
    Source { subject: case.subject(), reader }
}

/// It replays to its end, and is there what the whole one is.
fn replays(case: &Case, file: &Scratch, whole: &Tape) {
    let verified = verify(&mut source(case, file), &mut [], None, &mut on).unwrap().unwrap();
    let mut player = Player::open(source(case, file), fine()).unwrap();
    let last = player.last();
    assert_eq!(verified.at.step, last.step);
    player.seek(last.step, &mut on).unwrap();
    // The whole one may have got one more input at its last step.
    let inputs = player.reader_mut().inputs().unwrap();
    assert_eq!(moment(player.subject()), Straight::of(case, inputs).go(last.step), "{case:?}");
    let middle = last.step / 2;
    player.seek(middle, &mut on).unwrap();
    assert_eq!(moment(player.subject()), Straight::new(whole).go(middle), "{case:?}");
}

#[test]
fn a_recording_that_was_killed_replays_to_its_last_input() {
    for case in cases() {
        let whole = case.record("whole");
        let inputs = whole.reader().inputs().unwrap();
        for n in [1, 2, inputs.len() / 3, inputs.len() / 2, inputs.len()] {
            let left = killed(&case, &whole, n);
            let (mut reader, damages) = Reader::open(&left.0).unwrap();
            assert_eq!(damages, []);
            assert!(reader.end().is_none());
            // Those that the guest has seen are all there, and no other.
            assert_eq!(reader.inputs().unwrap(), inputs[..n - 1], "{case:?}");
            replays(&case, &left, &whole);
        }
    }
}

#[test]
fn a_recording_that_was_cut_anywhere_replays_as_far_as_it_goes() {
    for (seed, case) in (0..).zip(cases()) {
        let mut dice = Dice(seed);
        let whole = case.record("whole");
        let bytes = std::fs::read(&whole.file.0).unwrap();
        let mut replayed = 0;
        for _ in 0..25 {
            let cut = Scratch::new("cut");
            let len = dice.below(bytes.len() as u64);
            std::fs::write(&cut.0, &bytes[..usize::try_from(len).unwrap()]).unwrap();
            let Ok((reader, _)) = Reader::open(&cut.0) else { continue };
            if reader.keyframes().is_empty() {
                let refused = Player::open(source(&case, &cut), fine());
                assert!(matches!(refused, Err(TravelError::NoKeyframe)), "{refused:?}");
                continue;
            }
            replays(&case, &cut, &whole);
            replayed += 1;
        }
        assert!(replayed > 10, "{replayed} of 25");
    }
}

/// A recording anew, with what somebody did to it, and all of its checksums right.
struct Forged {
    /// What is in memory before the first step.
    base: Vec<(u64, Arc<[u8; PAGE]>)>,
    frames: Vec<Frame>,
    inputs: Vec<InputRecord>,
    end: Option<End>,
}

impl Forged {
    fn of(tape: &Tape) -> Self {
        let mut reader = tape.reader();
        let infos = reader.keyframes().to_vec();
        let frame = |(index, info): (usize, &traces::KeyframeInfo)| {
            let loaded = reader.load(index).unwrap();
            let pages = loaded.pages().map(|(id, bytes)| (id, bytes.map(|it| Arc::new(*it))));
            let (at, time_ns, pages) = (info.at, info.time_ns, pages.collect());
            Frame { at, time_ns, state: loaded.state, pages }
        };
        let frames = infos.iter().enumerate().map(frame).collect();
        let inputs = tape.reader().inputs().unwrap();
        let mut subject = tape.case.subject();
        subject.run_until(&mut Around::new(&mut session::NoInputs), 0);
        let memory = subject.machine().platform().memory();
        let content = |page| memory.page(u32::try_from(page).unwrap()).map(|it| Arc::new(*it));
        let pages = 0..(memory.size() / PAGE) as u64;
        let base = pages.filter_map(|page| Some((page, content(page)?))).collect();
        Self { base, frames, inputs, end: reader.end().cloned() }
    }

    fn write(self) -> Scratch {
        let file = Scratch::new("forged");
        let mut writer = Writer::create(&file.0, &header()).unwrap();
        for input in &self.inputs {
            writer.input(input).unwrap();
        }
        let mut packer = Packer::new();
        for (page, content) in &self.base {
            packer.know(PageId { space: 0, page: *page }, content);
        }
        for frame in self.frames {
            writer.keyframe(&mut packer.pack(frame)).unwrap();
        }
        match self.end {
            Some(end) => writer.end(&end).unwrap(),
            None => writer.close().unwrap(),
        };
        file
    }
}

/// Goes everywhere, and says how often that was refused.
fn roam(case: &Case, file: &Scratch, dice: &mut Dice) -> u32 {
    let Ok(mut player) = Player::open(source(case, file), fine()) else { return 1 };
    let mut refused = 0;
    for _ in 0..6 {
        let frames = player.reader().keyframes().len() as u64;
        let frame = usize::try_from(dice.below(frames)).unwrap();
        let step = player.reader().keyframes()[frame].at.step;
        refused += u32::from(player.seek(step, &mut on).is_err());
        let behind = step.saturating_add(dice.below(500));
        refused += u32::from(player.seek(behind, &mut on).is_err());
        let _ = player.subject().overview();
        refused += u32::from(player.step_back(Some(0), &mut on).is_err());
    }
    refused
}

#[test]
fn keyframes_that_somebody_changed_are_refused_or_run() {
    for (seed, case) in (0..).zip(cases()) {
        let mut dice = Dice(seed);
        let tape = case.record("honest");
        let mut refused = 0;
        for _ in 0..40 {
            let mut forged = Forged::of(&tape);
            for frame in &mut forged.frames {
                spoil(frame, &mut dice);
            }
            let file = forged.write();
            refused += roam(&case, &file, &mut dice);
            let _ = verify(&mut source(&case, &file), &mut [], None, &mut on);
        }
        assert!(refused > 40, "{refused}");
    }
}

/// A bit of the state, its length, a page, or where it says that it is.
fn spoil(frame: &mut Frame, dice: &mut Dice) {
    let at = usize::try_from(dice.below(frame.state.len() as u64)).unwrap();
    match dice.below(8) {
        0 => frame.state.truncate(at),
        1 => frame.state.extend([0; 9]),
        2 => {
            let space = dice.pick(&[0, 1, 2, 255]);
            let page = dice.pick(&[0, 1, 1 << 20, 1 << 40, u64::MAX]);
            frame.pages.push((PageId { space, page }, None));
        }
        3 => frame.at.seq = dice.roll(),
        4 => frame.time_ns = dice.roll(),
        _ => frame.state[at] ^= 1 << dice.below(8),
    }
}

#[test]
fn inputs_that_somebody_changed_make_another_run() {
    for (seed, case) in (0..).zip(cases()) {
        let mut dice = Dice(seed);
        let tape = case.record("honest");
        for round in 0..24 {
            let mut forged = Forged::of(&tape);
            let n = forged.inputs.len() as u64;
            let at = usize::try_from(dice.below(n)).unwrap();
            let input = &mut forged.inputs[at];
            match round % 6 {
                0 => input.at.step = input.at.step.wrapping_add(1),
                1 => input.at.seq = dice.roll(),
                2 => input.how = if input.how == How::Idle { How::Slice } else { How::Idle },
                3 => forged.inputs.reverse(),
                4 => input.at.step = u64::MAX,
                _ => drop(forged.inputs.remove(at)),
            }
            let file = forged.write();
            let verified = verify(&mut source(&case, &file), &mut [], None, &mut on);
            assert!(matches!(verified, Ok(Err(_)) | Err(_)), "round {round}: {verified:?}");
            roam(&case, &file, &mut dice);
        }
    }
}

#[test]
fn an_input_behind_the_end_is_not_the_run_that_was_recorded() {
    let case = Case::new(What::Guest("timer"), 1, 1_000_000);
    let tape = case.record("honest");
    let mut forged = Forged::of(&tape);
    let at = Position { step: tape.at.step + 7, seq: tape.at.seq + 7 };
    let input = Input::Console(b"late".to_vec());
    forged.inputs.push(InputRecord { at, time_ns: 1 << 40, how: How::Slice, input });
    let file = forged.write();
    let verified = verify(&mut source(&case, &file), &mut [], None, &mut on).unwrap();
    let divergence = verified.unwrap_err();
    assert_eq!(divergence.difference, Difference::Input);
    roam(&case, &file, &mut Dice(1));
}

#[test]
fn an_end_that_is_not_the_runs_is_a_difference() {
    let case = Case::new(What::Guest("timer"), 1, 1_000_000);
    let tape = case.record("honest");
    type Change = fn(&mut End);
    let changes: [Change; 4] = [
        |end| end.stop = Stop::User,
        |end| end.at.step += 1,
        |end| end.at.seq += 1,
        |end| end.at.step = u64::MAX,
    ];
    for change in changes {
        let mut forged = Forged::of(&tape);
        change(forged.end.as_mut().unwrap());
        let file = forged.write();
        let verified = verify(&mut source(&case, &file), &mut [], None, &mut on).unwrap();
        assert!(verified.is_err(), "{verified:?}");
        let _ = roam(&case, &file, &mut Dice(2));
    }
}

#[test]
fn bytes_that_the_disk_lost_do_no_harm() {
    for (seed, case) in (0..).zip(cases()) {
        let mut dice = Dice(seed);
        let tape = case.record("whole");
        let bytes = std::fs::read(&tape.file.0).unwrap();
        for _ in 0..25 {
            let mut bytes = bytes.clone();
            for _ in 0..dice.between(1, 4) {
                let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
                bytes[at] ^= 1 << dice.below(8);
            }
            let damaged = Scratch::new("damaged");
            std::fs::write(&damaged.0, &bytes).unwrap();
            let Ok((reader, _)) = Reader::open(&damaged.0) else { continue };
            let source = Source { subject: case.subject(), reader };
            let Ok(mut player) = Player::open(source, fine()) else { continue };
            let step = dice.below(tape.at.step);
            if player.seek(step, &mut on).is_ok() && player.position().step == step {
                // What can be visited is right, as long as no input before it is lost.
                let n = player.reader_mut().inputs().map_or(0, |it| it.len());
                if n == tape.reader().inputs().unwrap().len() {
                    let want = Straight::new(&tape).go(step);
                    assert_eq!(moment(player.subject()), want, "{case:?}");
                }
            }
        }
    }
}

/// Nobody needs a file that can be written to read one.
#[test]
fn a_recording_is_only_read() {
    let case = Case::new(What::Guest("timer"), 1, 1_000_000);
    let tape = case.record("read-only");
    let mut permissions = std::fs::metadata(&tape.file.0).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&tape.file.0, permissions).unwrap();
    let before = std::fs::read(&tape.file.0).unwrap();
    replays(&case, &tape.file, &tape);
    assert!(before == std::fs::read(&tape.file.0).unwrap());
}
