//! SBI calls through the whole exit path: what comes back in `a0` and `a1`, and what it did.

use dv::{Dv, Virq};
use isa::Csr;
use isa::fields::{HUSTATUS, MIP, SSTATUS};
use session::{Event, Exit, ExitCause, Outcome, Stop, VmState};

use crate::layout::RAM_BASE;
use crate::sbi::{A0, A1, A6, A7};
use crate::testing::{FakeDv, State, exits, run, vm_with};
use crate::vm::Vm;

const PC: u64 = RAM_BASE + 0x100;

/// What happens at a call from VS-mode of vCPU 0.
fn call(vm: &mut Vm<FakeDv>, eid: u64, fid: u64, args: &[u64]) -> (Stop, Exit) {
    call_on(vm, 0, eid, fid, args)
}

fn call_on(vm: &mut Vm<FakeDv>, vcpu: usize, eid: u64, fid: u64, args: &[u64]) -> (Stop, Exit) {
    if !vm.booted {
        run(vm);
    }
    for (reg, value) in (A0..).zip(args) {
        vm.dv.set_x(vcpu, reg, *value);
    }
    vm.dv.set_x(vcpu, A6, fid);
    vm.dv.set_x(vcpu, A7, eid);
    vm.dv.trap(vcpu, &[(Csr::UCAUSE, 10), (Csr::UEPC, PC)]);
    let (stop, events) = run(vm);
    (stop, exits(&events)[0])
}

/// Error and value of a call that returns.
#[track_caller]
fn answer(vm: &mut Vm<FakeDv>, eid: u64, fid: u64, args: &[u64]) -> (i64, u64) {
    let (stop, exit) = call(vm, eid, fid, args);
    assert_eq!(stop, Stop::StepLimit);
    assert_eq!(vm.dv.pc(0), PC + 4, "the call is stepped over");
    let (error, value) = (vm.dv.x(0, A0).cast_signed(), vm.dv.x(0, A1));
    assert_eq!(exit.outcome, Outcome::Returned { error, value });
    assert!(matches!(exit.cause, ExitCause::Sbi { .. }));
    (error, value)
}

#[test]
fn base_says_what_is_there() {
    let vm = &mut vm_with(|_| {});
    assert_eq!(answer(vm, 0x10, 0, &[]), (0, 2 << 24));
    assert_eq!(answer(vm, 0x10, 1, &[]), (0, 0x445556));
    for (eid, there) in [(0x10, 1), (0x54494d45, 1), (0x4442434e, 1), (0x504d55, 0), (1, 0)] {
        assert_eq!(answer(vm, 0x10, 3, &[eid]), (0, there), "{eid:#x}");
    }
    for fid in 4..=6 {
        assert_eq!(answer(vm, 0x10, fid, &[]), (0, 0));
    }
    assert_eq!(answer(vm, 0x10, 7, &[]), (-2, 0));
}

#[test]
fn legacy_and_unknown_extensions_are_not_supported() {
    let vm = &mut vm_with(|_| {});
    for eid in [0, 1, 2, 8, 0x504d55, 0x535441, u64::MAX] {
        assert_eq!(answer(vm, eid, 0, &[1, 2]), (-2, 0), "{eid:#x}");
    }
}

#[test]
fn set_timer_uses_the_compare_register_that_is_there() {
    let vm = &mut vm_with(|_| {});
    assert_eq!(answer(vm, 0x54494d45, 0, &[1234]), (0, 0));
    assert_eq!(vm.dv.get(0, Csr::HUVSTIMECMP), 1234);
    assert_eq!(vm.dv.get(0, Csr::VTIMECTL), 0);
    assert_eq!(answer(vm, 0x54494d45, 1, &[1234]), (-2, 0));

    let vm = &mut vm_with(|config| config.isa = config.isa.without(isa::Ext::Sstc));
    assert_eq!(answer(vm, 0x54494d45, 0, &[1234]), (0, 0));
    assert_eq!(vm.dv.get(0, Csr::VTIMECMP), 1234);
    assert_eq!(vm.dv.get(0, Csr::VTIMECTL), 1 | 6 << 1);
}

#[test]
fn hart_masks_are_checked_bit_by_bit() {
    let vm = &mut vm_with(|config| config.vcpus = 3);
    let ipi = 0x735049;
    for (mask, base, error) in [
        (0b001, 0, 0),
        (0b110, 0, 0),
        (0b011, 1, 0),
        (0, u64::MAX, 0),
        (0xdead, u64::MAX, 0),
        (0, 0, 0),
        (0b1000, 0, -3),
        (0b100, 1, -3),
        (1, 3, -3),
        (1, 63, -3),
        (2, 63, -3),
        (1, 64, -3),
        (1, u64::MAX - 1, -3),
        (u64::MAX, 0, -3),
    ] {
        assert_eq!(answer(vm, ipi, 0, &[mask, base]).0, error, "{mask:#x} from {base}");
        for fid in 0..=2 {
            let args = [mask, base, 0, 4096, 0];
            assert_eq!(answer(vm, 0x52464e43, fid, &args).0, error, "rfence {mask:#x} {base}");
        }
    }
    assert_eq!(answer(vm, ipi, 1, &[1, 0]), (-2, 0));
}

#[test]
fn an_ipi_reaches_started_vcpus_only() {
    let vm = &mut vm_with(|config| config.vcpus = 3);
    answer(vm, 0x48534d, 0, &[2, RAM_BASE, 0]);
    vm.dv.posted.clear();
    assert_eq!(answer(vm, 0x735049, 0, &[0b111, 0]), (0, 0));
    let posted = [(0, Virq::Software, true), (2, Virq::Software, true)];
    assert_eq!(vm.dv.posted, posted);
}

#[test]
fn fences_check_their_range_and_leave_hypervisors_out() {
    let vm = &mut vm_with(|config| config.vcpus = 2);
    let rfence = 0x52464e43;
    vm.dv.fences = 0;
    assert_eq!(answer(vm, rfence, 0, &[3, 0]), (0, 0));
    assert_eq!(vm.dv.fences, 0);
    assert_eq!(answer(vm, rfence, 1, &[3, 0, 0, u64::MAX]), (0, 0));
    assert_eq!(answer(vm, rfence, 2, &[1, 0, u64::MAX - 4095, 4096, 5]), (0, 0));
    assert_eq!(vm.dv.fences, 3);
    assert_eq!(answer(vm, rfence, 1, &[3, 0, u64::MAX, 2]), (-5, 0));
    for fid in 3..=7 {
        assert_eq!(answer(vm, rfence, fid, &[1, 0, 0, 0]), (-2, 0));
    }
}

#[test]
fn harts_start_stop_and_report() {
    let vm = &mut vm_with(|config| config.vcpus = 2);
    let hsm = 0x48534d;
    assert_eq!(answer(vm, hsm, 2, &[0]), (0, 0));
    assert_eq!(answer(vm, hsm, 2, &[1]), (0, 1));
    assert_eq!(answer(vm, hsm, 2, &[2]), (-3, 0));
    assert_eq!(answer(vm, hsm, 0, &[2, RAM_BASE, 0]), (-3, 0));
    assert_eq!(answer(vm, hsm, 0, &[1, 0x1000, 0]), (-5, 0));
    assert_eq!(answer(vm, hsm, 0, &[1, RAM_BASE + 1, 0]), (-5, 0));
    assert_eq!(answer(vm, hsm, 0, &[1, RAM_BASE + 2, 77]), (0, 0));
    assert_eq!(vm.dv.states[1], State::Running);
    assert_eq!((vm.dv.x(1, A0), vm.dv.x(1, A1), vm.dv.pc(1)), (1, 77, RAM_BASE + 2));
    assert_eq!(answer(vm, hsm, 0, &[1, RAM_BASE, 0]), (-6, 0));
    assert_eq!(answer(vm, hsm, 0, &[0, RAM_BASE, 0]), (-6, 0));
    assert_eq!(answer(vm, hsm, 2, &[1]), (0, 0));

    call_on(vm, 1, hsm, 1, &[]);
    assert_eq!(vm.dv.states[1], State::Stopped);
    assert_eq!(answer(vm, hsm, 2, &[1]), (0, 1));
    assert_eq!(answer(vm, hsm, 0, &[1, RAM_BASE, 0]), (0, 0));
    assert_eq!(answer(vm, hsm, 4, &[]), (-2, 0));
}

#[test]
fn starting_and_stopping_is_told_after_the_exit() {
    let vm = &mut vm_with(|config| config.vcpus = 2);
    run(vm);
    vm.dv.x[0][17] = 0x48534d;
    vm.dv.x[0][10] = 1;
    vm.dv.x[0][11] = RAM_BASE;
    vm.dv.trap(0, &[(Csr::UCAUSE, 10)]);
    let (_, events) = run(vm);
    assert!(matches!(events[0], Event::Exit(_)));
    let started = VmState::VcpuStarted(session::VcpuId(1));
    assert!(matches!(&events[1], Event::Vm { state, .. } if *state == started));
}

#[test]
fn a_retentive_suspend_returns_when_an_interrupt_comes() {
    let vm = &mut vm_with(|config| config.vcpus = 2);
    let hsm = 0x48534d;
    answer(vm, hsm, 0, &[1, RAM_BASE, 0]);
    let (_, exit) = call_on(vm, 1, hsm, 3, &[0, 0, 0]);
    assert_eq!(exit.outcome, Outcome::Parked);
    assert_eq!(vm.dv.states[1], State::Parked);
    assert_eq!((vm.dv.x(1, A0), vm.dv.pc(1)), (0, PC + 4));
    assert_eq!(answer(vm, hsm, 2, &[1]), (0, 4));
    vm.dv.unpark(1);
    assert_eq!(answer(vm, hsm, 2, &[1]), (0, 0));
    // An interrupt that is there already: no wait.
    vm.dv.set(0, Csr::HUVSIP, MIP::SSIP.mask());
    vm.dv.set(0, Csr::HUVSIE, MIP::SSIP.mask());
    assert_eq!(answer(vm, hsm, 3, &[0, 0, 0]), (0, 0));
}

#[test]
fn a_non_retentive_suspend_goes_on_at_its_own_address() {
    let vm = &mut vm_with(|_| {});
    let hsm = 0x48534d;
    assert_eq!(answer(vm, hsm, 3, &[0x8000_0000, 0x10, 0]), (-5, 0));
    for kind in [1, 0x0fff_ffff, 0x1000_0000, 0x8000_0001, 0xffff_ffff] {
        assert_eq!(answer(vm, hsm, 3, &[kind, RAM_BASE, 0]), (-3, 0), "{kind:#x}");
    }
    vm.dv.set(0, Csr::HUVSATP, 8 << 60);
    vm.dv.set(0, Csr::HUVSSTATUS, SSTATUS::SIE.mask());
    // The ABI sign-extends a `uint32_t`.
    let (_, exit) = call(vm, hsm, 3, &[0xffff_ffff_8000_0000, RAM_BASE + 64, 5]);
    assert_eq!(exit.outcome, Outcome::Parked);
    assert_eq!(vm.dv.states[0], State::Parked);
    assert_eq!((vm.dv.x(0, A0), vm.dv.x(0, A1), vm.dv.pc(0)), (0, 5, RAM_BASE + 64));
    assert_eq!((vm.dv.get(0, Csr::HUVSATP), vm.dv.get(0, Csr::HUVSSTATUS)), (0, 0));
    assert!(HUSTATUS::SPVP.is_set(vm.dv.get(0, Csr::HUSTATUS)));
}

#[test]
fn system_reset_ends_the_run_or_is_refused() {
    let srst = 0x53525354;
    for (kind, reason, stop) in [
        (0, 0, Some(Stop::PowerOff)),
        (0, 1, Some(Stop::Failed { code: 1 })),
        (1, 0, Some(Stop::Reset)),
        (2, 1, Some(Stop::Reset)),
        (3, 0, None),
        (0, 2, None),
        (0xf000_0000, 0, None),
        (0, 0xe000_0000, None),
    ] {
        let vm = &mut vm_with(|config| config.reboot = false);
        match stop {
            Some(stop) => assert_eq!(call(vm, srst, 0, &[kind, reason]).0, stop),
            None => assert_eq!(answer(vm, srst, 0, &[kind, reason]), (-3, 0)),
        }
    }
    assert_eq!(answer(&mut vm_with(|_| {}), srst, 1, &[0, 0]), (-2, 0));
}

#[test]
fn the_debug_console_moves_bytes_within_ram() {
    let vm = &mut vm_with(|_| {});
    let dbcn = 0x4442434e;
    let at = RAM_BASE + 0x2000;
    run(vm);
    vm.ram.write(&mut vm.dv, at, b"hello\n").unwrap();
    assert_eq!(answer(vm, dbcn, 0, &[6, at, 0]), (0, 6));
    assert_eq!(answer(vm, dbcn, 2, &[u64::from(b'!')]), (0, 0));
    assert_eq!(vm.stream.console_from(0).1, b"hello\n!");
    vm.bus.type_in(b"typed");
    assert_eq!(answer(vm, dbcn, 1, &[3, at, 0]), (0, 3));
    assert_eq!(answer(vm, dbcn, 1, &[9, at + 3, 0]), (0, 2));
    assert_eq!(answer(vm, dbcn, 1, &[9, at + 5, 0]), (0, 0));
    let mut bytes = [0; 5];
    vm.ram.read(&vm.dv, at, &mut bytes).unwrap();
    assert_eq!(&bytes, b"typed");
    // Longer than one call moves: the rest is the guest's to ask for.
    assert_eq!(answer(vm, dbcn, 0, &[5000, at, 0]), (0, 4096));
    for args in [[1, at, 1], [1, 0x1000_0000, 0], [u64::MAX, at, 0], [1, u64::MAX, 0]] {
        assert_eq!(answer(vm, dbcn, 0, &args), (-3, 0), "{args:x?}");
        assert_eq!(answer(vm, dbcn, 1, &args), (-3, 0), "{args:x?}");
    }
    assert_eq!(answer(vm, dbcn, 3, &[]), (-2, 0));
}
