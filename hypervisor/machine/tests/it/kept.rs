//! Bare machines that are saved and restored go on as they did; an epoch notes every page.

use machine::{BareMachine, Before, Dirtied, Host, PAGE, Rest, Tracking};
use proptest::prelude::*;
use session::{NoInputs, Stop};

use crate::programs::digest;
use crate::rig::{busy, put_ram, ram, random, run};

/// A machine and what it is at the end of each of these runs.
fn course(machine: &mut BareMachine, cuts: &[u64]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut states = Vec::new();
    for steps in cuts {
        run(machine, *steps);
        states.push((digest(machine), state::save(machine)));
    }
    states
}

fn goes_on(fresh: &dyn Fn() -> BareMachine, before: &[u64], after: &[u64]) {
    let mut machine = fresh();
    course(&mut machine, before);
    let saved = state::save(&mut machine);
    let pages = ram(&machine);
    let want = course(&mut machine, after);
    for mut other in [machine, fresh()] {
        put_ram(&mut other, &pages);
        state::load(&mut other, &saved).unwrap();
        assert!(state::save(&mut other) == saved);
        assert!(course(&mut other, after) == want, "after {before:?}, in {after:?}");
    }
}

fn cuts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1..700_u64, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_bare_machine_goes_on_as_it_did(before in cuts(), after in cuts()) {
        goes_on(&busy, &before, &after);
    }

    #[test]
    fn random_programs_go_on_as_they_did(
        seed in 0..1000_u64, harts in 1..3_usize, before in cuts(), after in cuts(),
    ) {
        goes_on(&|| random(seed, harts), &before, &after);
    }

    #[test]
    fn an_epoch_notes_every_page_that_changes(
        seed in prop::option::of(0..1000_u64), cuts in cuts(),
    ) {
        let mut machine = seed.map_or_else(busy, |seed| random(seed, 2));
        machine.machine_mut().memory_mut().track(Tracking::Images);
        let mut begin = ram(&machine);
        for steps in cuts {
            run(&mut machine, steps);
            let end = ram(&machine);
            let dirtied = machine.machine_mut().memory_mut().next_epoch();
            compare(&begin, &end, &dirtied);
            begin = end;
        }
    }
}

/// What was noted is what was there, and nothing else has changed.
fn compare(begin: &[Option<[u8; PAGE]>], end: &[Option<[u8; PAGE]>], dirtied: &[Dirtied]) {
    for (page, (begin, end)) in begin.iter().zip(end).enumerate() {
        let mut noted = dirtied.iter().filter(|dirtied| dirtied.page as usize == page);
        match noted.next() {
            None => assert!(begin == end, "page {page} is not noted"),
            Some(Dirtied { before: Before::Bytes(bytes), .. }) => {
                assert!(begin.as_ref() == Some(&**bytes), "page {page} held something else");
            }
            Some(Dirtied { before: Before::Untouched, .. }) => assert!(begin.is_none()),
            Some(Dirtied { before: Before::NotKept, .. }) => panic!("images were asked for"),
        }
        assert_eq!(noted.next(), None, "page {page} is noted twice");
    }
}

#[test]
fn the_busy_machine_is_busy() {
    let mut machine = busy();
    assert_eq!(run(&mut machine, 20_000), Rest::StepLimit);
    let pages = ram(&machine);
    let random = pages[0x14].unwrap();
    assert!(random[0xff0..] != [0; 16], "the device wrote");
    assert!(pages[0x15].unwrap()[..24] != [0; 24], "into the next page, too");
    assert!(machine.position().seq > 20, "there are traps and output");
    let steps: Vec<u64> = machine.machine().harts().iter().map(hart::Hart::steps).collect();
    assert!(steps[0] < steps[1], "the first hart sleeps: {steps:?}");
}

#[test]
fn every_byte_may_be_damaged() {
    let mut machine = busy();
    run(&mut machine, 3000);
    let (good, pages) = (state::save(&mut machine), ram(&machine));
    let mut loaded = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= [0x01, 0x80, 0xff][at % 3];
        if state::load(&mut machine, &bytes).is_ok() {
            loaded += 1;
            run(&mut machine, 300);
            let _ = (digest(&machine), state::save(&mut machine));
        }
        put_ram(&mut machine, &pages);
        assert!(state::load(&mut machine, &good[..at]).is_err(), "{at} bytes of {}", good.len());
    }
    assert!(loaded > good.len() / 4);
    let mut one = random(1, 1);
    assert!(state::load(&mut one, &good).is_err(), "another number of harts");
}

fn end(machine: &mut BareMachine) -> Stop {
    machine.run(&mut Host::new(&mut NoInputs), Some(1000))
}

#[test]
fn a_run_that_had_ended_goes_on_from_before_its_end() {
    let mut machine = busy();
    run(&mut machine, 500);
    let (saved, pages) = (state::save(&mut machine), ram(&machine));
    assert_eq!(end(&mut machine), Stop::StepLimit);
    let last = state::save(&mut machine);
    put_ram(&mut machine, &pages);
    state::load(&mut machine, &saved).unwrap();
    assert_eq!(end(&mut machine), Stop::StepLimit);
    assert!(state::save(&mut machine) == last);
}
