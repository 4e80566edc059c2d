//! What a watcher of a VM is told of writes and CSRs, by the guest and by its VM plane.

use dv::{Dv, Virq, Woken};
use hart::{CsrChange, Halt, Writer};
use isa::{Csr, Insn, Op};
use machine::Write;

use crate::guest::*;

/// Stores to the ninth page, twice, then calls.
fn storing() -> Vec<Insn> {
    let mut code = page_address(A0, 8).to_vec();
    code.extend([
        addi(A1, 0, 77),
        r(Op::Sd, 0, A0, A1),
        addi(A1, A1, 1),
        r(Op::Sd, 0, A0, A1),
        ecall(),
    ]);
    code
}

fn word(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

#[test]
fn a_store_of_the_guest_ends_the_wait_and_the_breakpoint_behind_it_is_not_lost() {
    let mut hu = running(&storing());
    let hpa = hu.windows()[0].hpa + 0x8000;
    let machine = hu.driver_mut().machine_mut();
    machine.watch_writes(std::slice::from_ref(&(hpa + 7..hpa + 9)), true);
    machine.set_breakpoints(&[GPA + 24]);
    assert_eq!(wait(&mut hu), Woken::Debug(0));
    let Some((0, Halt::Written)) = hu.stopped_at() else { panic!() };
    let steps = hu.driver().machine().steps();
    let pc = GPA + 20;
    let want = Write {
        step: steps - 1,
        hart: Some(0),
        pc,
        hpa,
        len: 8,
        old: word(0),
        new: word(77),
        writer: Writer::Hart,
    };
    assert_eq!(hu.driver_mut().machine_mut().take_writes(), [want]);
    // Nobody takes this one: the next wait goes on.
    assert_eq!(wait(&mut hu), Woken::Debug(0));
    let Some((0, Halt::Breakpoint)) = hu.stopped_at() else { panic!() };
    hu.driver_mut().machine_mut().hart_mut(0).0.pass_once();
    assert_eq!(wait(&mut hu), Woken::Debug(0));
    assert_eq!(hu.pc(0), GPA + 32);
    let second = Write { step: steps + 1, pc: pc + 8, old: word(77), new: word(78), ..want };
    assert_eq!(hu.driver_mut().machine_mut().take_writes(), [second]);
    assert_eq!(trap(&mut hu, 0), 10);
}

#[test]
fn stores_of_the_vm_plane_are_part_of_the_step_that_left_the_guest() {
    let mut hu = running(&storing());
    assert_eq!(trap(&mut hu, 0), 10);
    let hpa = hu.windows()[0].hpa + 0x8000;
    hu.driver_mut().machine_mut().watch_writes(std::slice::from_ref(&(hpa..hpa + 16)), true);
    hu.store(0, GPA + 0x8004, &[1, 2, 3]).unwrap();
    hu.write(hpa + 8, &[4]).unwrap();
    hu.dma(hpa - 8, &[5; 32]).unwrap();
    let step = hu.driver().machine().steps() - 1;
    let pc = hu.driver().machine().harts()[0].pc();
    let log = hu.driver_mut().machine_mut().take_writes();
    let seen: Vec<_> = log.iter().map(|write| (write.hpa, write.len, write.writer)).collect();
    let want = [
        (hpa + 4, 3, Writer::Hart),
        (hpa + 8, 1, Writer::VmPlane),
        (hpa, 8, Writer::Dma),
        (hpa + 8, 8, Writer::Dma),
    ];
    assert_eq!(seen, want);
    assert!(log.iter().all(|write| write.step == step));
    assert_eq!((log[0].hart, log[0].pc), (Some(0), pc));
    assert_eq!((log[1].hart, log[1].pc), (None, 0));
    assert_eq!(log[2].old[4..7], [1, 2, 3]);
}

#[test]
fn a_reported_trap_comes_before_the_csr_that_it_changed() {
    let mut hu = running(&storing());
    hu.driver_mut().machine_mut().watch_csr(0, Some(Csr::UCAUSE)).unwrap();
    assert_eq!(trap(&mut hu, 0), 10);
    let step = hu.driver().machine().steps() - 1;
    skip(&mut hu, 0);
    assert_eq!(wait(&mut hu), Woken::Debug(0));
    let change = CsrChange { csr: Csr::UCAUSE, old: 0, new: 10, step, pc: Some(GPA + 32) };
    assert_eq!(hu.stopped_at(), Some((0, Halt::Changed(change))));
}

#[test]
fn a_posted_interrupt_changes_a_csr_in_no_step() {
    let mut hu = running(&[addi(A0, A0, 1), forever()]);
    hu.driver_mut().machine_mut().watch_csr(0, Some(Csr::HVIP)).unwrap();
    hu.set_max_steps(100);
    assert_eq!(wait(&mut hu), Woken::StepLimit);
    hu.post(0, Virq::External, true).unwrap();
    hu.set_max_steps(200);
    assert_eq!(wait(&mut hu), Woken::Debug(0));
    let change = CsrChange { csr: Csr::HVIP, old: 0, new: 1 << 10, step: 100, pc: None };
    assert_eq!(hu.stopped_at(), Some((0, Halt::Changed(change))));
    assert_eq!(wait(&mut hu), Woken::StepLimit);
}
