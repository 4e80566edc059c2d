//! Attacks on who takes a trap, and nested traps.

use dv::Dv;
use isa::fields::{HSTATUS, HUSTATUS};
use isa::{Cause, Csr, Exception, Insn, Interrupt, Mode, Op};

use super::scene::*;
use crate::guest::*;

const USIP: u64 = Interrupt::UserSoftware.bit();

fn nop() -> Insn {
    addi(0, 0, 0)
}

fn ebreak() -> Insn {
    Insn::new(Op::Ebreak)
}

/// A careless kernel has delegated all that it can, to HU and to the guest.
fn all_delegated() -> Scene {
    let mut scene = Scene::new();
    scene.open_to_host();
    for csr in [Csr::MEDELEG, Csr::SEDELEG, Csr::HEDELEG, Csr::SIDELEG] {
        scene.kernel_sets(csr, u64::MAX);
    }
    scene
}

#[test]
pub(super) fn a_dv_fault_goes_to_the_kernel_whatever_is_delegated() {
    let mut scene = all_delegated();
    scene.set_x(0, A0, 77);
    let to_kernel = Some((Mode::Hs, DV_FAULT));
    assert_eq!(scene.run(Mode::Hu, &[csrw(Csr::HU_VITR, A0)]), to_kernel);
    assert_eq!(scene.run(Mode::Hu, &[csrw(Csr::HU_VCPUID, A0)]), to_kernel);
    scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::VIE.mask());
    for mode in [Mode::Vs, Mode::Vu] {
        assert_eq!(scene.run(mode, &[csrw(Csr::VIPI1, A0)]), to_kernel);
    }
    scene.unharmed();
}

#[test]
pub(super) fn an_access_outside_goes_to_the_kernel_whatever_is_delegated() {
    let faults = [
        (Op::Ld, Exception::LoadAccessFault),
        (Op::Sd, Exception::StoreAccessFault),
        (Op::Jalr, Exception::InstructionAccessFault),
    ];
    for (op, fault) in faults {
        // To HU; and to the guest, which would not be told where its memory ends either.
        for csr in [Csr::HEDELEG, Csr::SEDELEG] {
            let mut scene = all_delegated();
            scene.kernel_sets(csr, 0);
            let theirs = scene.their_page();
            map(&mut scene, 3, leaf(theirs));
            scene.set_x(0, A1, GPA + 0x3000);
            let mut trap = scene.run(Mode::Vs, &[accessing(op)]);
            if op == Op::Jalr {
                trap = scene.run_at(Mode::Vs, GPA + 0x3000, 1);
            }
            assert_eq!(trap, Some((Mode::Hs, fault.into())), "{op:?}, {csr} is zero");
            assert_eq!(scene.state(Csr::UTVAL), 0);
            scene.unharmed();
        }
    }
    // The same as the driver sees it: a VM plane that asked for these gets none of them.
    twice(|| {
        let faults = Exception::LoadAccessFault.bit() | Exception::StoreAccessFault.bit();
        let mut scene = Scene::asking(|request| request.exceptions |= faults);
        let theirs = scene.their_page();
        map(&mut scene, 3, leaf(theirs));
        let mut code = page_address(A1, 3).to_vec();
        code.push(i(Op::Ld, A0, A1, 0));
        scene.begin(&code);
        stopped(&mut scene, "load access fault at 0x80003000: outside of the VM's windows");
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_trap_of_the_kernel_does_not_go_to_hu() {
    let mut scene = all_delegated();
    scene.set_x(0, A1, GPA + 0x100_0000);
    let traps = [
        (csrr(A0, Csr(0x7ff)), Exception::IllegalInstruction),
        (ebreak(), Exception::Breakpoint),
        // Of a guest of HS's own, which has no memory.
        (r(Op::HlvD, A0, A1, 0), Exception::LoadAccessFault),
        (r(Op::HsvD, 0, A1, A0), Exception::StoreAccessFault),
    ];
    for (insn, cause) in traps {
        let uepc = scene.state(Csr::UEPC);
        assert_eq!(scene.run(Mode::Hs, &[insn]), Some((Mode::Hs, cause.into())));
        assert_eq!(scene.state(Csr::UEPC), uepc);
    }
    scene.unharmed();
}

#[test]
pub(super) fn an_interrupt_of_hu_does_not_leave_the_kernel() {
    let mut scene = all_delegated();
    scene.kernel_sets(Csr::MIE, USIP);
    scene.kernel_sets(Csr::MIP, USIP);
    scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::UIE.mask());
    for mode in [Mode::Hs, Mode::M] {
        assert_eq!(scene.run(mode, &[nop()]), None, "{mode}");
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_trap_of_a_thread_that_is_not_hu_does_not_go_to_hu() {
    let mut scene = all_delegated();
    for (insn, cause) in
        [(csrr(A0, Csr(0x7ff)), Exception::IllegalInstruction), (ebreak(), Exception::Breakpoint)]
    {
        assert_eq!(scene.run(Mode::U, &[insn]), Some((Mode::Hs, cause.into())));
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_kick_does_not_reach_a_thread_that_is_not_hu() {
    let mut scene = all_delegated();
    scene.kernel_sets(Csr::MIE, USIP);
    scene.kernel_sets(Csr::MIP, USIP);
    scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::UIE.mask());
    let cause = Interrupt::UserSoftware.into();
    assert_eq!(scene.run(Mode::U, &[nop()]), Some((Mode::Hs, cause)));
    scene.unharmed();
}

/// The CSRs that tell the handler what it is about.
fn told(scene: &Scene) -> [u64; 6] {
    [Csr::UEPC, Csr::UCAUSE, Csr::UTVAL, Csr::HUTVAL, Csr::HUTINST, Csr::HUSTATUS]
        .map(|csr| scene.state(csr))
}

/// A handler of an ecall, in a VM whose VM plane has breakpoints and illegal instructions for
/// itself.
fn handling() -> Scene {
    let own = Exception::Breakpoint.bit() | Exception::IllegalInstruction.bit();
    let mut scene = Scene::asking(|request| request.exceptions |= own);
    scene.begin(&[ecall(), forever()]);
    assert_eq!(trap(&mut scene, 0), 10);
    scene.open_to_host();
    scene
}

#[test]
pub(super) fn a_trap_in_the_handler_does_not_overwrite_what_it_handles() {
    let mut scene = handling();
    let before = told(&scene);
    for (insn, cause) in [(ebreak(), Exception::Breakpoint), (wfi(), Exception::IllegalInstruction)]
    {
        assert_eq!(scene.run(Mode::Hu, &[insn]), Some((Mode::Hs, cause.into())));
        assert_eq!(told(&scene), before);
    }
    // Nor an interrupt, if the handler let it.
    scene.kernel_sets(Csr::MIP, USIP);
    scene.kernel_changes(Csr::HUSTATUS, |value| HUSTATUS::UIE.with(value, true));
    let before = told(&scene);
    let interrupt = Interrupt::UserSoftware.into();
    assert_eq!(scene.run(Mode::Hu, &[nop()]), Some((Mode::Hs, interrupt)));
    assert_eq!(told(&scene), before);
    // A handler that is done can trap to itself.
    scene.kernel_sets(Csr::MIP, 0);
    scene.kernel_changes(Csr::HUSTATUS, |value| HUSTATUS::TA.with(value, false));
    assert_eq!(scene.run(Mode::Hu, &[ebreak()]), Some((Mode::Hu, Exception::Breakpoint.into())));
    // And it is told that it was itself, and no guest.
    let status = scene.state(Csr::HUSTATUS);
    assert!(!HUSTATUS::SPV.is_set(status) && HUSTATUS::UPIE.is_set(status));
    scene.unharmed();
}

#[test]
pub(super) fn a_guest_that_makes_its_handler_trap_gains_nothing() {
    // The guest jumps to a page that is not there; the handler looks at the instruction.
    let mut scene = Scene::new();
    let mut code = page_address(A1, 20).to_vec();
    code.push(i(Op::Jalr, 0, A1, 0));
    scene.begin(&code);
    assert_eq!(trap(&mut scene, 0), Exception::InstructionGuestPageFault.code());
    scene.open_to_host();
    scene.kernel_changes(Csr::HUSTATUS, |value| HUSTATUS::GLF.with(value, false));
    let before = told(&scene);
    let pc = scene.csr(0, Csr::UEPC).unwrap();
    assert_eq!(scene.fetch(0, pc), Err(dv::GuestFault));
    scene.set_x(0, A1, pc);
    assert_eq!(scene.run(Mode::Hu, &[r(Op::HlvxHu, A0, A1, 0)]), None);
    let mut after = told(&scene);
    after[5] = HUSTATUS::GLF.with(after[5], false);
    assert_eq!((after, scene.mode()), (before, Mode::Hu));
    scene.unharmed();
}

#[test]
pub(super) fn a_handler_is_not_interrupted_before_it_is_ready() {
    let mut scene = Scene::new();
    program(&mut scene, 0, &[ecall(), forever()]);
    // Its interrupts were on when the guest was entered.
    let status = HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask() | HUSTATUS::UPIE.mask();
    scene.set_csr(0, Csr::HUSTATUS, status).unwrap();
    scene.set_csr(0, Csr::HUIE, USIP).unwrap();
    scene.set_csr(0, Csr::UEPC, GPA).unwrap();
    scene.huret(0).unwrap();
    scene.unpark(0);
    assert_eq!(trap(&mut scene, 0), 10);
    scene.kick(0).unwrap();
    scene.open_to_host();
    assert_eq!(scene.run(Mode::Hu, &[nop()]), None);
    assert!(HUSTATUS::UPIE.is_set(scene.state(Csr::HUSTATUS)));
    scene.unharmed();
}

#[test]
pub(super) fn hu_that_masks_its_interrupts_is_not_interrupted() {
    let mut scene = Scene::new();
    scene.open_to_host();
    scene.set_csr(0, Csr::HUIE, USIP).unwrap();
    scene.kick(0).unwrap();
    assert_eq!(scene.run(Mode::Hu, &[nop()]), None);
    scene.set_csr(0, Csr::HUSTATUS, HUSTATUS::UIE.mask()).unwrap();
    let taken = Some((Mode::Hu, Interrupt::UserSoftware.into()));
    assert_eq!(scene.run(Mode::Hu, &[nop()]), taken);
    scene.unharmed();
}

#[test]
pub(super) fn a_storm_of_posts_does_not_hold_back_the_kernels_interrupts() {
    let host = Interrupt::SupervisorSoftware;
    for mode in [Mode::Vs, Mode::Vu, Mode::Hu] {
        let mut scene = all_delegated();
        // Everything that HU and the guest can have pending.
        scene.set_csr(0, Csr::HUVIP, u64::MAX).unwrap();
        scene.set_csr(0, Csr::HUIP, u64::MAX).unwrap();
        scene.set_csr(0, Csr::HUSTATUS, HUSTATUS::UIE.mask()).unwrap();
        scene.kernel_sets(Csr::VSSTATUS, 2);
        scene.kernel_sets(Csr::MIE, u64::MAX);
        scene.kernel_changes(Csr::MIP, |value| value | host.bit());
        // In what HS has, and then in what firmware has.
        for to in [Mode::Hs, Mode::M] {
            scene.kernel_sets(Csr::MIDELEG, if to == Mode::M { 0x111 } else { u64::MAX });
            assert_eq!(scene.run(mode, &[nop()]), Some((to, Cause::Interrupt(host))), "{mode}");
        }
        scene.kernel_sets(Csr::MIE, 0);
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_trap_that_nobody_was_given_goes_to_the_kernel() {
    twice(|| {
        let mut scene = Scene::asking(|request| {
            request.exceptions = Exception::EcallFromVs.bit();
            request.interrupts = 0;
        });
        let mut code = page_address(A1, 20).to_vec();
        code.extend([ecall(), i(Op::Ld, A0, A1, 0)]);
        scene.begin(&code);
        assert_eq!(trap(&mut scene, 0), 10);
        skip(&mut scene, 0);
        stopped(&mut scene, "load guest-page fault");
        scene.unharmed()
    });
    // The kernel's own guests have a VM plane nowhere.
    let mut scene = all_delegated();
    scene.kernel_sets(Csr::HEDELEG, 0);
    scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, false));
    // Bare, so that code of the guest is the same memory.
    let code = scene.windows()[0].hpa + 0x1000;
    program(&mut scene, 0x1000, &[ecall()]);
    let call = Some((Mode::Hs, Exception::EcallFromVs.into()));
    assert_eq!(scene.run_at(Mode::Vs, code, 1), call);
    scene.unharmed();
}
