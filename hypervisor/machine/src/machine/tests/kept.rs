//! Saved and restored: the same machine, or another one of the same configuration, goes on alike.

use super::*;

/// Harts that count, wait, yield, sleep and hold reservations, with timers, an alarm, vCPUs on
/// harts and off them, and posts on their way.
fn lively() -> Machine {
    let mut machine = busy();
    let lock: &[u32] = &[LR_W, ADDI_T0_T0_1, SC_W, 0xff5f_f06f];
    let bytes: Vec<u8> = lock.iter().flat_map(|insn| insn.to_le_bytes()).collect();
    machine.write(Writer::Loader, BASE, &bytes).unwrap();
    machine.hart_mut(0).0.set_x(A0, BASE + 0x8000);
    for vcpu in 0..3 {
        machine.platform_mut().register_vcpu(7, vcpu);
    }
    machine.place_vcpu(7, 0, Some(2));
    machine.place_vcpu(7, 1, Some(3));
    machine
}

/// Something that a VM plane might do.
fn meddle(machine: &mut Machine, what: u64) {
    let vcpu = u16::try_from(what % 3).unwrap();
    let level = what & 8 != 0;
    machine.platform_mut().post(Post { vmid: 7, vcpu, interrupt: 10, level });
    match what % 5 {
        0 => machine.place_vcpu(7, 0, None),
        1 => machine.place_vcpu(7, 0, Some(2)),
        2 => machine.park(3),
        3 => machine.start(3),
        _ => set_timer(machine, 1, machine.now_ns() / 100 + 2),
    }
}

fn go(machine: &mut Machine, from: usize, to: usize, script: &[(u64, u64)]) {
    for (steps, what) in &script[from..to] {
        run_to(machine, machine.steps() + steps);
        meddle(machine, *what);
    }
}

/// The RAM of one machine in another one.
fn copy_pages(from: &Machine, to: &mut Machine) {
    for page in 0..RAM / crate::PAGE {
        let page = u32::try_from(page).unwrap();
        let content = from.platform().memory().page(page).copied();
        to.memory_mut().put_page(page, content.as_ref());
    }
}

proptest! {
    #[test]
    fn goes_on_as_it_did(
        script in prop::collection::vec((1..300_u64, any::<u64>()), 2..20),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(script.len());
        let mut machine = lively();
        go(&mut machine, 0, at, &script);
        let saved = state::save(&mut machine);
        prop_assert!(saved == state::save(&mut machine), "saving changes nothing");
        let mut ram = lively();
        copy_pages(&machine, &mut ram);
        go(&mut machine, at, script.len(), &script);
        let end = (digest(&machine), state::save(&mut machine));
        for mut other in [machine, lively()] {
            copy_pages(&ram, &mut other);
            state::load(&mut other, &saved).unwrap();
            prop_assert!(state::save(&mut other) == saved);
            go(&mut other, at, script.len(), &script);
            prop_assert!((digest(&other), state::save(&mut other)) == end);
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_a_machine(
        steps in 1..3000_u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut machine = lively();
        run_to(&mut machine, steps);
        meddle(&mut machine, steps);
        let mut bytes = state::save(&mut machine);
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if state::load(&mut machine, &bytes).is_ok() {
            run_anyhow(&mut machine, 10_000);
        }
    }
}

/// Runs on, whatever comes of it.
fn run_anyhow(machine: &mut Machine, steps: u64) {
    let limit = machine.steps() + steps;
    for _ in 0..steps {
        match machine.run(limit) {
            Ran::StepLimit | Ran::Idle(None) => return,
            Ran::Idle(Some(at)) => machine.advance(at),
            Ran::Alarm | Ran::SliceEnd | Ran::Woken { .. } => {}
        }
    }
    (0..3).for_each(|vcpu| machine.place_vcpu(7, vcpu, None));
    let _ = digest(machine);
}

/// Every single byte, since a random one seldom is the one that matters.
#[test]
fn every_byte_may_be_damaged() {
    let mut machine = lively();
    run_to(&mut machine, 700);
    meddle(&mut machine, 0);
    machine.platform_mut().post(Post { vmid: 7, vcpu: 2, interrupt: 6, level: true });
    let good = state::save(&mut machine);
    let mut loaded = 0;
    for at in 0..good.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            if state::load(&mut machine, &bytes).is_ok() {
                loaded += 1;
                run_anyhow(&mut machine, 200);
            }
        }
        assert!(state::load(&mut machine, &good[..at]).is_err(), "{at} bytes of {}", good.len());
    }
    assert!(loaded > good.len(), "most bytes are of registers");
    let mut other = super::machine(37, &[COUNT, COUNT]);
    assert!(state::load(&mut other, &good).is_err(), "another number of harts");
}
