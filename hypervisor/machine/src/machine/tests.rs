//! The schedule, driven by programs of a few instructions, and runs cut at every place.

mod kept;

use hart::{Bus, Post, Report, Writer};
use isa::fields::VTIMECTL;
use isa::{Csr, Interrupt};
use proptest::prelude::*;

use super::*;

const BASE: u64 = 0x8000_0000;
const RAM: usize = 1 << 20;

// Instructions, as the assembler gives them.
const ADDI_T0_T0_1: u32 = 0x0012_8293;
const J_SELF_MINUS_4: u32 = 0xffdf_f06f;
const WFI: u32 = 0x1050_0073;
const PAUSE: u32 = 0x0100_000f;
const ECALL: u32 = 0x0000_0073;
/// `lr.w t1, (a0)`
const LR_W: u32 = 0x1005_232f;
/// `sc.w t2, t1, (a0)`
const SC_W: u32 = 0x1865_23af;
const T0: u8 = 5;
const T2: u8 = 7;
const A0: u8 = 10;

fn config(n_harts: usize) -> Config {
    Config { n_harts, quantum: 100, n_blocks: 64, ..Config::new(RAM) }
}

/// Every hart begins at its own program.
fn machine(quantum: u64, programs: &[&[u32]]) -> Machine {
    let mut machine = Machine::new(&Config { quantum, ..config(programs.len()) });
    for (index, program) in programs.iter().enumerate() {
        let at = BASE + 0x1000 * index as u64;
        let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_le_bytes()).collect();
        machine.write(Writer::Loader, at, &bytes).unwrap();
        machine.hart_mut(index).0.set_pc(at);
    }
    machine
}

const COUNT: &[u32] = &[ADDI_T0_T0_1, J_SELF_MINUS_4];
const SLEEP: &[u32] = &[WFI, ADDI_T0_T0_1, 0xff9f_f06f];

fn digest(machine: &Machine) -> Vec<u8> {
    let mut all = Vec::new();
    machine.digest(&mut |bytes| all.extend_from_slice(bytes));
    all
}

fn steps(machine: &Machine) -> Vec<u64> {
    machine.harts().iter().map(Hart::steps).collect()
}

/// The hart's `vtimecmp` raises VSTIP at this tick, and that ends a WFI.
fn set_timer(machine: &mut Machine, index: usize, tick: u64) {
    let (hart, bus) = machine.hart_mut(index);
    hart.set_csr(bus, Csr::VTIMECMP, tick);
    let on = VTIMECTL::IRQ.set(VTIMECTL::EN.mask(), 6);
    hart.set_csr(bus, Csr::VTIMECTL, on);
    hart.set_csr(bus, Csr::MIE, Interrupt::VirtualSupervisorTimer.bit());
}

#[test]
fn harts_take_turns_and_share_the_clock() {
    let mut machine = machine(100, &[COUNT, COUNT, COUNT]);
    assert_eq!(machine.run(250), Ran::SliceEnd);
    assert_eq!(steps(&machine), [100, 0, 0]);
    assert_eq!(machine.run(250), Ran::SliceEnd);
    assert_eq!(machine.run(250), Ran::StepLimit);
    assert_eq!((steps(&machine), machine.now_ns()), (vec![100, 100, 50], 250));
    assert_eq!(machine.run(500), Ran::SliceEnd);
    assert_eq!(steps(&machine), [100, 100, 100]);
    assert_eq!(machine.harts()[2].now_ns(), 300);
}

#[test]
fn a_hart_that_gives_up_its_turn_has_the_next_one_in_order() {
    let mut machine = machine(100, &[&[ADDI_T0_T0_1, PAUSE, 0xff9f_f06f], COUNT]);
    assert_eq!(machine.run(1000), Ran::SliceEnd);
    assert_eq!(steps(&machine), [2, 0]);
    assert_eq!(machine.run(1000), Ran::SliceEnd);
    assert_eq!(steps(&machine), [2, 100]);
    assert_eq!(machine.run(1000), Ran::SliceEnd);
    assert_eq!(steps(&machine), [5, 100]);
}

#[test]
fn a_timer_of_a_waiting_hart_is_served_at_its_deadline() {
    let mut machine = machine(1000, &[COUNT, COUNT, SLEEP]);
    set_timer(&mut machine, 2, 25);
    for _ in 0..3 {
        assert_eq!(machine.run(u64::MAX), Ran::SliceEnd);
    }
    // The third hart waits since its only step; its timer comes due at 2500 ns.
    assert_eq!(steps(&machine), [1000, 1000, 1]);
    assert_eq!(machine.run(2510), Ran::StepLimit);
    assert_eq!(steps(&machine), [1499, 1000, 11]);
    // It has its turn, then the first hart goes on with the rest of its own.
    assert_eq!(machine.turn(), Some(2));
    let mut ends = 0;
    while machine.harts()[1].steps() == 1000 {
        ends += usize::from(machine.run(machine.steps() + 1) == Ran::SliceEnd);
    }
    assert_eq!(machine.harts()[0].steps(), 2000);
    assert!(ends >= 2);
}

#[test]
fn time_jumps_when_nobody_can_run() {
    let mut machine = machine(100, &[SLEEP]);
    set_timer(&mut machine, 0, 1000);
    assert_eq!(machine.run(u64::MAX), Ran::SliceEnd);
    assert_eq!(machine.run(u64::MAX), Ran::Idle(Some(100_000)));
    machine.set_alarm(Some(500));
    assert_eq!(machine.run(u64::MAX), Ran::Idle(Some(500)));
    machine.advance(500);
    assert_eq!(machine.run(u64::MAX), Ran::Alarm);
    machine.advance(100_000);
    assert_eq!(machine.run(machine.steps() + 1), Ran::StepLimit);
    assert_eq!(machine.harts()[0].x(T0), 1);
}

#[test]
fn the_clock_does_not_come_to_its_end() {
    let mut machine = machine(100, &[SLEEP]);
    // Ticks of 100 ns: due 15 ns before the clock would begin again.
    set_timer(&mut machine, 0, u64::MAX / 100);
    assert_eq!(machine.run(u64::MAX), Ran::SliceEnd);
    assert_eq!(machine.run(u64::MAX), Ran::Idle(None));
    machine.advance(u64::MAX);
    let before = machine.now_ns();
    assert_eq!(machine.run(u64::MAX), Ran::Idle(None));
    set_timer(&mut machine, 0, 0);
    assert_eq!(machine.run(machine.steps() + 50), Ran::StepLimit);
    assert_eq!(machine.now_ns(), before + 50);
}

#[test]
fn nobody_and_nothing_to_wait_for() {
    let mut machine = machine(100, &[SLEEP, COUNT]);
    machine.stop(1);
    assert_eq!(machine.run(u64::MAX), Ran::SliceEnd);
    assert_eq!(machine.run(u64::MAX), Ran::Idle(None));
    machine.start(1);
    assert_eq!(machine.run(u64::MAX), Ran::SliceEnd);
    assert_eq!(steps(&machine), [1, 100]);
}

#[test]
fn a_reported_trap_leaves_the_turn_as_it_was() {
    let mut machine = machine(10, &[&[ADDI_T0_T0_1, ECALL], COUNT]);
    machine.set_report(Report::Everything);
    let (hart, bus) = machine.hart_mut(0);
    hart.set_csr(bus, Csr::MTVEC, BASE);
    let Ran::Woken { hart: 0, halt: Halt::Trap(taken) } = machine.run(100) else { panic!() };
    assert_eq!((taken.pc, machine.turn()), (BASE + 4, Some(0)));
    let mut traps = 1;
    while let Ran::Woken { hart: 0, .. } = machine.run(100) {
        traps += 1;
    }
    assert_eq!((traps, steps(&machine)), (5, vec![10, 0]));
}

#[test]
fn another_harts_turn_ends_a_reservation_but_a_limit_does_not() {
    let program: &[u32] = &[LR_W, SC_W, J_SELF_MINUS_4];
    let run = |n_harts: usize, quantum: u64| {
        let programs: Vec<&[u32]> =
            std::iter::once(program).chain(std::iter::repeat_n(COUNT, n_harts - 1)).collect();
        let mut machine = machine(quantum, &programs);
        for hart in 0..n_harts {
            machine.hart_mut(hart).0.set_x(A0, BASE + 0x8000);
        }
        for limit in 1.. {
            while machine.run(limit) != Ran::StepLimit {}
            if machine.harts()[0].steps() == 2 {
                break;
            }
        }
        machine.harts()[0].x(T2)
    };
    assert_eq!(run(1, 1), 0, "alone, the store succeeds whatever the quantum");
    assert_eq!(run(2, 100), 0, "within a turn as well");
    assert_eq!(run(2, 1), 1, "not across the turn of another");
}

#[test]
fn writes_of_others_end_a_reservation_on_those_bytes() {
    for (at, failed) in [(BASE + 0x8020, 1), (BASE + 0x8040, 0)] {
        let mut machine = machine(100, &[&[LR_W, SC_W, J_SELF_MINUS_4]]);
        machine.hart_mut(0).0.set_x(A0, BASE + 0x8000);
        assert_eq!(machine.run(1), Ran::StepLimit);
        machine.write(Writer::VmPlane, at, &[1]).unwrap();
        assert_eq!(machine.run(2), Ran::StepLimit);
        assert_eq!(machine.harts()[0].x(T2), failed);
    }
}

#[test]
fn a_vcpu_that_is_off_keeps_its_reservation_until_somebody_writes_there() {
    for (at, failed) in [(BASE + 0x8020, 1), (BASE + 0x8040, 0)] {
        let mut machine = machine(100, &[&[LR_W, SC_W, J_SELF_MINUS_4]]);
        machine.hart_mut(0).0.set_x(A0, BASE + 0x8000);
        machine.platform_mut().register_vcpu(7, 0);
        machine.place_vcpu(7, 0, Some(0));
        assert_eq!(machine.run(1), Ran::StepLimit);
        machine.place_vcpu(7, 0, None);
        machine.write(Writer::Debugger, at, &[1]).unwrap();
        machine.place_vcpu(7, 0, Some(0));
        assert_eq!(machine.run(2), Ran::StepLimit);
        assert_eq!(machine.harts()[0].x(T2), failed);
    }
}

#[test]
fn posts_reach_the_hart_of_their_vcpu_and_unpark_it() {
    let mut machine = machine(100, &[COUNT, COUNT]);
    let platform = machine.platform_mut();
    platform.register_vcpu(7, 0);
    platform.register_vcpu(7, 1);
    machine.place_vcpu(7, 0, Some(0));
    machine.park(1);
    let post = Post { vmid: 7, vcpu: 1, interrupt: 10, level: true };
    machine.platform_mut().post(post);
    machine.deliver_posts();
    assert_eq!(machine.state(1), HartState::Parked, "the vCPU is on no hart");
    machine.place_vcpu(7, 1, Some(1));
    assert_eq!(machine.state(1), HartState::Started);
    let mip = |machine: &Machine| machine.harts()[1].csr(Csr::MIP).unwrap() & 1 << 10;
    assert_ne!(mip(&machine), 0);
    machine.park(1);
    machine.platform_mut().post(Post { level: false, ..post });
    machine.deliver_posts();
    assert_eq!((machine.state(1), mip(&machine)), (HartState::Parked, 0));
    machine.platform_mut().forget_vm(7);
    assert!(!machine.platform().owns_vcpu(7, 1));
}

#[test]
fn a_parked_hart_is_back_with_its_timer() {
    let mut machine = machine(100, &[COUNT]);
    set_timer(&mut machine, 0, 30);
    machine.park(0);
    assert_eq!(machine.run(u64::MAX), Ran::Idle(Some(3000)));
    machine.advance(3000);
    assert_eq!(machine.run(10), Ran::StepLimit);
    assert_eq!(machine.state(0), HartState::Started);
}

/// Four harts that count, wait, yield and sleep, with timers and an alarm.
fn busy() -> Machine {
    let sleeper: &[u32] = &[WFI, ADDI_T0_T0_1, PAUSE, 0xff5f_f06f];
    let mut machine = machine(37, &[COUNT, sleeper, &[ADDI_T0_T0_1, PAUSE, 0xff9f_f06f], SLEEP]);
    set_timer(&mut machine, 1, 3);
    set_timer(&mut machine, 3, 5);
    machine.set_alarm(Some(777));
    machine
}

fn run_to(machine: &mut Machine, limit: u64) {
    loop {
        match machine.run(limit) {
            Ran::StepLimit => return,
            Ran::Idle(at) => machine.advance(at.unwrap()),
            // What a device would do.
            Ran::Alarm => machine.set_alarm(Some(machine.now_ns() + 333)),
            Ran::SliceEnd => {}
            Ran::Woken { .. } => panic!("nobody asked"),
        }
    }
}

proptest! {
    #[test]
    fn a_context_that_is_put_away_goes_on_as_before(
        mut cuts in prop::collection::vec(1..2000_u64, 1..60),
    ) {
        cuts.sort_unstable();
        let mut whole = busy();
        run_to(&mut whole, 2000);
        let mut cut = busy();
        let mut other = cut.context(10);
        for limit in cuts {
            run_to(&mut cut, limit);
            // Nobody takes part in the other one, whose time goes on meanwhile.
            cut.swap_context(&mut other);
            assert_eq!((cut.run(u64::MAX), cut.steps()), (Ran::Idle(None), 0));
            cut.advance(cut.now_ns() + 99_999);
            cut.swap_context(&mut other);
        }
        run_to(&mut cut, 2000);
        prop_assert!(digest(&cut) == digest(&whole));
    }

    #[test]
    fn where_a_run_is_cut_cannot_be_seen(mut cuts in prop::collection::vec(1..2000_u64, 1..60)) {
        cuts.sort_unstable();
        let mut whole = busy();
        run_to(&mut whole, 2000);
        let mut cut = busy();
        for limit in cuts {
            run_to(&mut cut, limit);
        }
        run_to(&mut cut, 2000);
        prop_assert_eq!(steps(&cut), steps(&whole));
        prop_assert!(digest(&cut) == digest(&whole));
    }
}
