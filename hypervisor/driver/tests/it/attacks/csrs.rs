//! Attacks through CSRs.

use dv::{Denied, Dv};
use isa::csr::{CsrRow, Group};
use isa::fields::{ENVCFG, HGATP, HSTATUS, HUSTATUS, MSTATUS, VTIMECTL};
use isa::{Csr, Exception, Interrupt, Mode, Op};

use super::scene::*;
use crate::guest::*;

/// The CSRs of DV-ext.
fn of_dv() -> impl Iterator<Item = Csr> {
    let dv = |row: &&CsrRow| matches!(row.group, Group::Dv | Group::Hu);
    isa::csr::CSRS.iter().filter(dv).map(|row| row.csr)
}

fn is_vipi(csr: Csr) -> bool {
    (Csr::VIPI0..=Csr::VIPI3).contains(&csr)
}

/// What a CSR of DV-ext holds, but for what the time changes.
fn values(scene: &Scene) -> Vec<(Csr, u64)> {
    of_dv().map(|csr| (csr, scene.state(csr))).collect()
}

#[test]
pub(super) fn a_thread_that_is_not_hu_reaches_no_csr_of_hu() {
    let mut scene = Scene::new();
    scene.open_to_host();
    scene.kernel_sets(Csr::USCRATCH, SECRET);
    for csr in of_dv() {
        scene.set_x(0, A0, 0);
        let before = values(&scene);
        let illegal = Some((Mode::Hs, ILLEGAL));
        assert_eq!(scene.run(Mode::U, &[csrr(A0, csr)]), illegal, "csrr {csr}");
        assert_eq!(scene.run(Mode::U, &[csrw(csr, A0)]), illegal, "csrw {csr}");
        assert_eq!(scene.x(0, A0), 0, "{csr}");
        scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, true));
        assert_eq!(values(&scene), before, "{csr}");
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_guest_reaches_no_csr_of_its_vm_plane() {
    for mode in [Mode::Vs, Mode::Vu] {
        let mut scene = Scene::new();
        for csr in of_dv().filter(|csr| !is_vipi(*csr)) {
            scene.set_x(0, A0, 0);
            let trap = Some((Mode::Hu, VIRTUAL));
            assert_eq!(scene.run(mode, &[csrr(A0, csr)]), trap, "csrr {csr} in {mode}");
            assert_eq!(scene.run(mode, &[csrw(csr, A0)]), trap, "csrw {csr} in {mode}");
            assert_eq!(scene.x(0, A0), 0, "{csr} in {mode}");
        }
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_guest_that_may_not_post_gets_a_virtual_instruction() {
    for mode in [Mode::Vs, Mode::Vu] {
        let mut scene = Scene::new();
        for csr in of_dv().filter(|csr| is_vipi(*csr)) {
            scene.set_x(0, A0, 1);
            let trap = Some((Mode::Hu, VIRTUAL));
            assert_eq!(scene.run(mode, &[csrw(csr, A0)]), trap, "csrw {csr} in {mode}");
            assert_eq!(scene.run(mode, &[csrr(A0, csr)]), trap, "csrr {csr} in {mode}");
            assert_eq!(scene.state(Csr::HUVIP), 0);
        }
        // What HU once allowed is nothing to a guest of the kernel.
        scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::VIE.mask());
        scene.open_to_host();
        let root = scene.state(Csr::HUGATP);
        scene.kernel_sets(Csr::HGATP, root);
        scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, false));
        assert_eq!(scene.run(mode, &[csrw(Csr::VIPI0, A0)]), Some((Mode::Hs, VIRTUAL)));
        scene.unharmed();
    }
}

#[test]
pub(super) fn hu_does_not_widen_what_is_delegated_to_it() {
    for csr in [Csr::SEDELEG, Csr::SIDELEG, Csr::H_VMID] {
        let mut scene = Scene::new();
        scene.open_to_host();
        let before = scene.state(csr);
        let hu = scene.run(Mode::Hu, &[csrr(A0, csr)]);
        assert_eq!((hu, scene.x(0, A0)), (Some((Mode::Hs, ILLEGAL)), 0), "csrr {csr}");
        scene.set_x(0, A0, u64::MAX);
        assert_eq!(scene.run(Mode::Hu, &[csrw(csr, A0)]), Some((Mode::Hs, ILLEGAL)), "csrw {csr}");
        assert_eq!(scene.state(csr), before);
        let mut scene = Scene::new();
        assert_eq!(scene.set_csr(0, csr, u64::MAX), Err(Denied));
        stopped(&mut scene, "illegal instruction");
        scene.unharmed();
    }
}

#[test]
pub(super) fn hu_does_not_move_the_root_of_its_table() {
    let mut scene = Scene::new();
    scene.open_to_host();
    let root = scene.state(Csr::HUGATP);
    // The neighbour's root, with the attacker's own id.
    let pool = scene.theirs[1].hpa;
    scene.set_x(0, A0, HGATP::PPN.set(root, pool >> 12));
    assert_eq!(scene.run(Mode::Hu, &[csrw(Csr::HUGATP, A0)]), Some((Mode::Hs, ILLEGAL)));
    // Setting no bit is a write as well, and no bits to set are none.
    let set = |rs1| i(Op::Csrrs, 0, rs1, i64::from(Csr::HUGATP.0));
    assert_eq!(scene.run(Mode::Hu, &[set(A0)]), Some((Mode::Hs, ILLEGAL)));
    assert_eq!(scene.run(Mode::Hu, &[csrr(A1, Csr::HUGATP)]), None);
    assert_eq!((scene.x(0, A1), scene.state(Csr::HUGATP)), (root, root));
    let mut scene = Scene::new();
    assert_eq!(scene.set_csr(0, Csr::HUGATP, 0), Err(Denied));
    stopped(&mut scene, "csrw hugatp, 0x0: illegal instruction");
    scene.unharmed();
}

#[test]
pub(super) fn what_was_posted_is_not_read_back() {
    let mut scene = Scene::new();
    scene.open_to_host();
    let swap = i(Op::Csrrw, A0, A1, i64::from(Csr::HU_VITR.0));
    for insn in [csrr(A0, Csr::HU_VITR), swap] {
        for mode in [Mode::Hu, Mode::Hs] {
            assert_eq!(scene.run(mode, &[insn]), Some((Mode::Hs, ILLEGAL)), "{mode}");
        }
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_timer_that_the_kernel_keeps_is_not_set_by_hu() {
    for csr in [Csr::HENVCFG, Csr::MENVCFG] {
        let mut scene = Scene::new();
        scene.open_to_host();
        let before = scene.state(Csr::VSTIMECMP);
        scene.kernel_changes(csr, |value| ENVCFG::STCE.with(value, false));
        let access = [csrw(Csr::HUVSTIMECMP, A0), csrr(A0, Csr::HUVSTIMECMP)];
        for insn in access {
            assert_eq!(scene.run(Mode::Hu, &[insn]), Some((Mode::Hs, ILLEGAL)), "{csr}");
        }
        assert_eq!(scene.state(Csr::VSTIMECMP), before);
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_kernel_that_delegates_every_exception_keeps_its_own() {
    let mut scene = Scene::new();
    scene.open_to_host();
    scene.kernel_sets(Csr::SEDELEG, u64::MAX);
    let call = Some((Mode::Hs, Exception::EcallFromU.into()));
    assert_eq!(scene.run(Mode::Hu, &[ecall()]), call);
    // Nor page faults of the process itself.
    scene.kernel_sets(Csr::SATP, 8 << 60 | HOST >> 12);
    let fault = Some((Mode::Hs, Exception::InstructionPageFault.into()));
    assert_eq!(scene.run(Mode::Hu, &[ecall()]), fault);
    scene.unharmed();
}

#[test]
pub(super) fn a_kernel_that_delegates_every_interrupt_keeps_its_own() {
    let mut scene = Scene::new();
    scene.open_to_host();
    scene.kernel_sets(Csr::SIDELEG, u64::MAX);
    let mine =
        Interrupt::UserSoftware.bit() | Interrupt::UserTimer.bit() | Interrupt::UserExternal.bit();
    assert_eq!(scene.state(Csr::SIDELEG), mine);
    scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::UIE.mask());
    scene.kernel_sets(Csr::MIE, u64::MAX);
    scene.kernel_sets(Csr::MIP, Interrupt::SupervisorSoftware.bit());
    let taken = scene.run(Mode::Hu, &[addi(0, 0, 0)]);
    assert_eq!(taken, Some((Mode::Hs, Interrupt::SupervisorSoftware.into())));
    scene.unharmed();
}

#[test]
pub(super) fn a_kernel_that_delegates_everything_to_the_guest_keeps_stage_two_from_it() {
    let mut scene = Scene::new();
    scene.kernel_sets(Csr::HEDELEG, u64::MAX);
    let mut load = page_address(A1, 20).to_vec();
    load.push(i(Op::Ld, A0, A1, 0));
    let to_hu = |cause: Exception| Some((Mode::Hu, cause.into()));
    assert_eq!(scene.run(Mode::Vs, &load), to_hu(Exception::LoadGuestPageFault));
    assert_eq!(scene.run(Mode::Vs, &[ecall()]), to_hu(Exception::EcallFromVs));
    let foreign = [csrr(A0, Csr::HGATP)];
    assert_eq!(scene.run(Mode::Vs, &foreign), to_hu(Exception::VirtualInstruction));
    scene.unharmed();
}

#[test]
pub(super) fn a_mode_that_is_not_there_does_not_turn_stage_two_off() {
    let mut scene = Scene::new();
    scene.open_to_host();
    let root = scene.state(Csr::HUGATP);
    for mode in (1..8).chain(11..16) {
        scene.set_x(0, A0, HGATP::MODE.set(root, mode));
        assert_eq!(scene.run(Mode::Hs, &[csrw(Csr::HUGATP, A0)]), None);
        assert_eq!(scene.state(Csr::HUGATP), root, "MODE {mode}");
    }
    scene.unharmed();
}

#[test]
pub(super) fn hu_does_not_say_that_it_handles_no_trap() {
    twice(|| {
        let mut scene = Scene::running(&[ecall()]);
        assert_eq!(trap(&mut scene, 0), 10);
        let status = scene.csr(0, Csr::HUSTATUS).unwrap();
        assert!(HUSTATUS::TA.is_set(status));
        scene.set_csr(0, Csr::HUSTATUS, HUSTATUS::TA.with(status, false)).unwrap();
        assert_eq!(scene.csr(0, Csr::HUSTATUS), Ok(status));
        scene.unharmed()
    });
}

/// HU writes all ones; gives which bits of `mip` or `mie` changed.
fn changed_by(csr: Csr, seen: Csr) -> u64 {
    let mut scene = Scene::new();
    let before = scene.state(seen);
    scene.set_csr(0, csr, u64::MAX).unwrap();
    let ones = scene.state(seen);
    scene.set_csr(0, csr, 0).unwrap();
    let zeros = scene.state(seen);
    scene.unharmed();
    (before ^ ones) | (before ^ zeros)
}

#[test]
pub(super) fn hu_enables_no_interrupt_of_the_kernel() {
    assert_eq!(changed_by(Csr::HUIE, Csr::MIE), 0x111);
}

#[test]
pub(super) fn hu_raises_no_interrupt_of_the_kernel() {
    assert_eq!(changed_by(Csr::HUIP, Csr::MIP), 0x101);
}

#[test]
pub(super) fn hu_injects_no_interrupt_of_the_kernel() {
    assert_eq!(changed_by(Csr::HUVIP, Csr::MIP), 0x444);
}

#[test]
pub(super) fn hu_does_not_see_what_interrupts_the_kernel() {
    let mut scene = Scene::new();
    scene.kernel_sets(Csr::MIP, u64::MAX);
    let ours = 0x111;
    for csr in [Csr::UIP, Csr::HUIP] {
        assert_eq!(scene.csr(0, csr).unwrap() & !ours, 0, "{csr}");
    }
    scene.kernel_sets(Csr::MIP, 0);
    scene.unharmed();
}

#[test]
pub(super) fn hu_does_not_see_what_the_kernel_waits_for() {
    let mut scene = Scene::new();
    scene.kernel_sets(Csr::MIE, u64::MAX);
    for csr in [Csr::UIE, Csr::HUIE] {
        assert_eq!(scene.csr(0, csr), Ok(0x111), "{csr}");
    }
    scene.kernel_sets(Csr::MIE, 0);
    scene.unharmed();
}

#[test]
pub(super) fn hus_timer_raises_no_interrupt_of_the_kernel() {
    let mut scene = Scene::new();
    scene.set_csr(0, Csr::VTIMECMP, 0).unwrap();
    let before = scene.state(Csr::MIP);
    for irq in 0..64 {
        let ctl = VTIMECTL::EN.with(VTIMECTL::IRQ.set(0, irq), true);
        scene.set_csr(0, Csr::VTIMECTL, ctl).unwrap();
        let raised = scene.state(Csr::MIP) & !before;
        assert_eq!(raised & !0x50, 0, "IRQ {irq}");
    }
    scene.unharmed();
}

/// Supervisor CSRs that a guest in VS has of its own.
const OF_VS: [Csr; 12] = [
    Csr::SSTATUS,
    Csr::SIE,
    Csr::STVEC,
    Csr::SCOUNTEREN,
    Csr::SENVCFG,
    Csr::SSCRATCH,
    Csr::SEPC,
    Csr::SCAUSE,
    Csr::STVAL,
    Csr::SIP,
    Csr::STIMECMP,
    Csr::SATP,
];
/// What code in any mode may reach.
const OF_ALL: [Csr; 6] = [Csr::FFLAGS, Csr::FRM, Csr::FCSR, Csr::CYCLE, Csr::TIME, Csr::INSTRET];
const OF_KERNEL: [Csr; 3] = [Csr::SEDELEG, Csr::SIDELEG, Csr::H_VMID];

/// Whether this mode may read or write this CSR, told without the hart.
fn is_open(mode: Mode, csr: Csr, write: bool) -> bool {
    if OF_ALL.contains(&csr) {
        return !write || csr.0 >> 10 != 3;
    }
    match mode {
        Mode::Hu if write => {
            of_dv().any(|dv| dv == csr) && !OF_KERNEL.contains(&csr) && csr != Csr::HUGATP
        }
        Mode::Hu => of_dv().any(|dv| dv == csr) && !OF_KERNEL.contains(&csr) && csr != Csr::HU_VITR,
        // VIE is clear here.
        Mode::Vs => OF_VS.contains(&csr),
        Mode::M | Mode::Hs | Mode::U | Mode::Vu => false,
    }
}

/// The CSRs of firmware and kernel, without what a trap or the guest leaves in them.
pub(super) fn kernels(scene: &Scene) -> Vec<(Csr, u64)> {
    let trap = [Csr::SEPC, Csr::SCAUSE, Csr::STVAL, Csr::HTVAL, Csr::HTINST];
    let shared = [Csr::SCOUNTEREN, Csr::SENVCFG, Csr::TIME, Csr::MCYCLE, Csr::MINSTRET];
    let rows = isa::csr::CSRS.iter().filter(|row| match row.group {
        Group::Machine | Group::Supervisor | Group::Hypervisor => true,
        Group::Dv => OF_KERNEL.contains(&row.csr),
        Group::Hu => row.csr == Csr::HUGATP,
        Group::User | Group::Vs | Group::Debug => false,
    });
    let csrs = rows.map(|row| row.csr).filter(|csr| !trap.contains(csr) && !shared.contains(csr));
    let mask = |csr| match csr {
        Csr::MSTATUS | Csr::SSTATUS => {
            let trap = MSTATUS::SPP.mask() | MSTATUS::SPIE.mask() | MSTATUS::SIE.mask();
            !(trap | MSTATUS::FS.mask() | MSTATUS::SD.mask())
        }
        Csr::HSTATUS => {
            !(HSTATUS::SPV.mask() | HSTATUS::SPVP.mask() | HSTATUS::GVA.mask() | HSTATUS::HU.mask())
        }
        Csr::MIP | Csr::MIE | Csr::SIP | Csr::SIE => 0xaaa & !0x444,
        Csr::HIP | Csr::HIE | Csr::HVIP => 0,
        _ => u64::MAX,
    };
    csrs.map(|csr| (csr, scene.state(csr) & mask(csr))).collect()
}

#[test]
pub(super) fn no_csr_number_reaches_the_kernel_from_u_hu_vs_or_vu() {
    let mut scene = Scene::new();
    scene.open_to_host();
    for csr in [Csr::HUCOUNTEREN, Csr::HCOUNTEREN] {
        scene.kernel_sets(csr, 7);
    }
    // For FP.
    scene.kernel_changes(Csr::VSSTATUS, |value| MSTATUS::FS.set(value, 3));
    let before = kernels(&scene);
    let index = scene.hart();
    let fresh = scene.driver().machine().harts()[index].clone();
    for number in 0..1 << 12 {
        let csr = Csr(number);
        for mode in [Mode::U, Mode::Hu, Mode::Vs, Mode::Vu] {
            for (write, insn) in [(false, csrr(A0, csr)), (true, csrw(csr, A0))] {
                *scene.machine().hart_mut(index).0 = fresh.clone();
                // Ids that are there, in what posts; every bit in what does not.
                let value = match csr {
                    Csr::HU_VITR | Csr::HU_VCPUID | Csr::VIPI0 => 1,
                    csr if is_vipi(csr) => 0,
                    _ => u64::MAX,
                };
                scene.set_x(0, A0, value);
                let done = scene.run(mode, &[insn]);
                let what = format!("{csr} in {mode}, write: {write}");
                assert_eq!(done.is_none(), is_open(mode, csr, write), "{what}: {done:?}");
                assert!(kernels(&scene) == before, "{what}");
            }
        }
    }
    scene.unharmed();
}
