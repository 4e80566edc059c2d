//! What a guest does reaches its VM plane, and nothing else does.

use dv::{Dv, GuestFault, Virq, Woken};
use isa::fields::HUSTATUS;
use isa::{Csr, Interrupt, Mode, Op};

use crate::guest::*;

const INTERRUPT: u64 = 1 << 63;

#[test]
fn a_call_comes_to_the_vm_plane_and_goes_on() {
    twice(|| {
        let mut hu = running(&[addi(A0, 0, 7), ecall(), addi(A0, A0, 1), ecall()]);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!((hu.x(0, A0), hu.pc(0), hu.mode(0)), (7, GPA + 4, Mode::Vs));
        assert_eq!((hu.steps(), hu.vcpu_steps(0)), (2, 2));
        hu.set_x(0, A0, 41);
        skip(&mut hu, 0);
        assert_eq!((hu.pc(0), hu.mode(0)), (GPA + 8, Mode::Vs));
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), 42);
        assert_eq!(hu.driver_calls(), 0);
        hu
    });
}

#[test]
fn a_guest_page_fault_is_told_and_a_mapped_page_is_there_at_once() {
    twice(|| {
        let mut code = page_address(A1, 20).to_vec();
        code.extend([i(Op::Ld, A0, A1, 8), ecall()]);
        let mut hu = running(&code);
        assert_eq!(trap(&mut hu, 0), 21);
        let gpa = GPA + 20 * 4096 + 8;
        assert_eq!(hu.csr(0, Csr::UTVAL), Ok(gpa));
        assert_eq!(hu.csr(0, Csr::HUTVAL), Ok(gpa >> 2));
        let page = hu.windows()[0].hpa + 20 * 4096;
        hu.write(page + 8, &0x1234_u64.to_le_bytes()).unwrap();
        map(&mut hu, 20, leaf(page));
        hu.hufence_gvma(0);
        hu.huret(0).unwrap();
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!((hu.x(0, A0), hu.driver_calls()), (0x1234, 0));
        hu
    });
}

#[test]
fn a_csr_of_hu_is_a_virtual_instruction_in_the_guest() {
    twice(|| {
        let insn = csrw(Csr::HUGATP, A0);
        let mut hu = running(&[insn, ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        assert_eq!(hu.csr(0, Csr::UTVAL), Ok(u64::from(isa::encode(&insn))));
        skip(&mut hu, 0);
        assert_eq!(trap(&mut hu, 0), 10);
        hu
    });
}

#[test]
fn an_illegal_csr_is_the_guests_own_trouble() {
    twice(|| {
        // stvec = GPA + 0x100, where an ecall stands.
        let mut code = page_address(A1, 0).to_vec();
        code.extend([addi(A1, A1, 0x100), csrw(Csr::STVEC, A1), csrr(A0, Csr(0x7ff))]);
        let mut hu = running(&code);
        program(&mut hu, 0x100, &[csrr(A0, Csr::SCAUSE), ecall()]);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), 2);
        hu
    });
}

#[test]
fn a_wait_traps_and_the_timer_ends_the_park() {
    twice(|| {
        let mut hu = running(&[wfi(), ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        hu.set_csr(0, Csr::VTIMECMP, 50).unwrap();
        hu.set_csr(0, Csr::VTIMECTL, 1 | 4 << 1).unwrap();
        skip(&mut hu, 0);
        hu.park(0);
        assert!(hu.is_parked(0));
        assert_eq!(wait(&mut hu), Woken::Idle(Some(5000)));
        hu.advance(5000);
        assert_eq!(trap(&mut hu, 0), INTERRUPT | Interrupt::UserTimer.code());
        assert!(!hu.is_parked(0));
        assert_eq!((hu.now_ns(), hu.pc(0)), (5001, GPA + 4));
        hu.set_csr(0, Csr::VTIMECTL, 4 << 1).unwrap();
        hu.huret(0).unwrap();
        assert_eq!(trap(&mut hu, 0), 10);
        hu
    });
}

#[test]
fn the_timer_can_be_the_guests_own_without_an_exit() {
    twice(|| {
        let mut hu = running(&[wfi(), ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        hu.set_csr(0, Csr::VTIMECMP, 50).unwrap();
        hu.set_csr(0, Csr::VTIMECTL, 1 | 6 << 1).unwrap();
        hu.set_csr(0, Csr::HUVSIE, 1 << 5).unwrap();
        skip(&mut hu, 0);
        hu.park(0);
        assert_eq!(wait(&mut hu), Woken::Idle(Some(5000)));
        hu.advance(5000);
        // Enabled in vsie, masked in vsstatus: the wait ends, and there is no trap.
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.csr(0, Csr::HUVSIP), Ok(1 << 5));
        hu
    });
}

#[test]
fn a_wait_that_does_not_trap_is_the_hardwares() {
    twice(|| {
        let mut hu = vm(1);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[wfi(), ecall()]);
        enter(&mut hu, 0, 0);
        hu.stop(0);
        let status = hu.csr(0, Csr::HUSTATUS).unwrap();
        hu.set_csr(0, Csr::HUSTATUS, HUSTATUS::VTW.with(status, false)).unwrap();
        hu.set_csr(0, Csr::HUVSIE, 2).unwrap();
        hu.huret(0).unwrap();
        hu.unpark(0);
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        hu.post(0, Virq::Software, true).unwrap();
        assert_eq!(trap(&mut hu, 0), 10);
        hu
    });
}

#[test]
fn a_posted_interrupt_is_taken_by_the_guest_without_an_exit() {
    twice(|| {
        let mut code = page_address(A1, 0).to_vec();
        code.extend([addi(A1, A1, 0x100), csrw(Csr::STVEC, A1), addi(A0, 0, 0x222)]);
        code.extend([
            csrw(Csr::SIE, A0),
            i(Op::Csrrsi, 0, 2, i64::from(Csr::SSTATUS.0)),
            forever(),
        ]);
        let mut hu = running(&code);
        program(&mut hu, 0x100, &[csrr(A0, Csr::SCAUSE), ecall()]);
        assert_eq!(hu.wait(), Woken::Slice);
        hu.post(0, Virq::External, true).unwrap();
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), INTERRUPT | 9);
        // A level stays until it is taken back.
        assert_eq!(hu.csr(0, Csr::HUVSIP), Ok(1 << 9));
        hu.post(0, Virq::External, false).unwrap();
        assert_eq!(hu.csr(0, Csr::HUVSIP), Ok(0));
        hu
    });
}

#[test]
fn a_kick_leaves_the_guest() {
    twice(|| {
        let mut hu = running(&[forever()]);
        assert_eq!(hu.wait(), Woken::Slice);
        hu.kick(0).unwrap();
        assert_eq!(trap(&mut hu, 0), INTERRUPT);
        assert_eq!(hu.pc(0), GPA);
        hu.set_csr(0, Csr::HUIP, 0).unwrap();
        hu.huret(0).unwrap();
        assert_eq!(hu.wait(), Woken::Slice);
        hu
    });
}

#[test]
fn a_kick_before_the_park_is_not_lost() {
    twice(|| {
        let mut hu = running(&[wfi(), ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        hu.kick(0).unwrap();
        skip(&mut hu, 0);
        hu.park(0);
        assert_eq!(trap(&mut hu, 0), INTERRUPT);
        hu
    });
}

#[test]
fn a_park_while_in_hu_begins_with_huret() {
    twice(|| {
        let mut hu = running(&[wfi(), ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        hu.park(0);
        assert!(hu.is_parked(0));
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        skip(&mut hu, 0);
        assert!(hu.is_parked(0));
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        hu.unpark(0);
        assert_eq!(trap(&mut hu, 0), 10);
        hu
    });
}

#[test]
fn a_stopped_vcpu_leaves_the_guest_and_is_not_woken() {
    twice(|| {
        let mut hu = running(&[forever()]);
        assert_eq!(hu.wait(), Woken::Slice);
        let steps = hu.steps();
        hu.stop(0);
        assert_eq!((hu.csr(0, Csr::UCAUSE), hu.csr(0, Csr::UEPC)), (Ok(INTERRUPT), Ok(GPA)));
        hu.kick(0).unwrap();
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        assert_eq!(hu.steps(), steps);
        hu.huret(0).unwrap();
        hu.unpark(0);
        assert_eq!(trap(&mut hu, 0), INTERRUPT);
        hu
    });
}

#[test]
fn a_vcpu_whose_trap_is_handled_does_not_run() {
    twice(|| {
        let mut hu = running(&[ecall(), forever()]);
        assert_eq!(trap(&mut hu, 0), 10);
        let steps = hu.steps();
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        assert_eq!(hu.steps(), steps);
        hu
    });
}

#[test]
fn vcpus_post_to_each_other_without_an_exit() {
    twice(|| {
        let mut hu = vm(2);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[addi(A0, 0, 2), csrw(Csr::VIPI0, A0), forever()]);
        program(&mut hu, 0x200, &[addi(A0, 0, 2), csrw(Csr::SIE, A0), wfi(), ecall()]);
        enter(&mut hu, 1, 0x200);
        assert_eq!(trap(&mut hu, 1), 22);
        skip(&mut hu, 1);
        hu.park(1);
        enter(&mut hu, 0, 0);
        assert_eq!(trap(&mut hu, 1), 10);
        assert_eq!(hu.csr(1, Csr::HUVSIP), Ok(2));
        assert!(hu.steps() > hu.vcpu_steps(1));
        hu
    });
}

#[test]
fn guest_memory_is_reached_with_the_guests_rights() {
    twice(|| {
        let mut hu = running(&[ecall()]);
        assert_eq!(trap(&mut hu, 0), 10);
        let text: Vec<u8> = (0..50).collect();
        // Across two pages.
        hu.store(0, GPA + 4096 - 13, &text).unwrap();
        let mut back = [0xff; 50];
        hu.load(0, GPA + 4096 - 13, &mut back).unwrap();
        assert_eq!(back[..], text[..]);
        assert_eq!(hu.fetch(0, GPA), Ok(0x0073));
        // Page 16 is not mapped: nothing is transferred, not even before it.
        let before = GPA + 16 * 4096 - 8;
        assert_eq!(hu.store(0, before, &text), Err(GuestFault));
        assert!(HUSTATUS::GLF.is_set(hu.csr(0, Csr::HUSTATUS).unwrap()));
        hu.load(0, before, &mut back[..8]).unwrap();
        assert_eq!(back[..8], [0; 8]);
        assert_eq!(hu.load(0, before, &mut back), Err(GuestFault));
        assert_eq!(back, [0; 50]);
        assert_eq!(hu.fetch(0, GPA + 16 * 4096), Err(GuestFault));
        assert_eq!((hu.reason(), hu.driver_calls()), (None, 0));
        // What the trap left is still there.
        assert_eq!((hu.csr(0, Csr::UCAUSE), hu.csr(0, Csr::UEPC)), (Ok(10), Ok(GPA)));
        hu
    });
}

#[test]
fn an_alarm_and_the_step_limit_end_a_wait() {
    twice(|| {
        let request = driver::VmRequest { max_steps: 1000, ..request() };
        let mut hu = driver::Hu::start(config(&request), &request).unwrap();
        tables(&mut hu, 16);
        program(&mut hu, 0, &[forever()]);
        enter(&mut hu, 0, 0);
        hu.set_alarm(Some(400));
        assert_eq!(wait(&mut hu), Woken::Alarm);
        assert_eq!(hu.now_ns(), 400);
        assert_eq!(wait(&mut hu), Woken::StepLimit);
        assert_eq!(hu.steps(), 1000);
        assert_eq!(wait(&mut hu), Woken::StepLimit);
        hu
    });
}

#[test]
fn floating_point_works_from_the_start() {
    twice(|| {
        // sstatus.FS = 1, fmv.d.x f1, a0; fadd.d f2, f1, f1.
        let mut hu = running(&[
            i(Op::Lui, A1, 0, 0x2000),
            i(Op::Csrrs, 0, A1, i64::from(Csr::SSTATUS.0)),
            i(Op::FmvDX, 1, A0, 0),
            isa::Insn { rm: 7, ..r(Op::FaddD, 2, 1, 1) },
            ecall(),
        ]);
        hu.set_x(0, A0, 1.5f64.to_bits());
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.f(0, 2), 3.0f64.to_bits());
        hu.set_f(0, 2, 5);
        assert_eq!(hu.f(0, 2), 5);
        hu
    });
}
