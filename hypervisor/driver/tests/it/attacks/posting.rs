//! Attacks with posted interrupts and vCPU ids.

use dv::{Denied, Dv, Virq, Woken};
use isa::fields::{HU_VITR, HUSTATUS};
use isa::{Csr, Mode, Op};

use super::scene::*;
use crate::guest::*;

/// The neighbour has this vCPU and the attacker has not.
const THEIRS: u64 = 2;

#[test]
pub(super) fn hu_does_not_claim_a_vcpu_that_is_not_of_its_vm() {
    let mut scene = Scene::new();
    scene.open_to_host();
    for id in [THEIRS, 3, 0xffff, 1 << 16, u64::MAX] {
        scene.set_x(0, A0, id);
        let trap = scene.run(Mode::Hu, &[csrw(Csr::HU_VCPUID, A0)]);
        assert_eq!(trap, Some((Mode::Hs, DV_FAULT)), "{id:#x}");
        assert_eq!(scene.state(Csr::HU_VCPUID), 0);
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_hart_does_not_take_the_vcpu_of_another_hart() {
    let mut scene = Scene::new();
    assert_eq!(scene.set_csr(1, Csr::HU_VCPUID, 1), Ok(()));
    assert_eq!(scene.set_csr(0, Csr::HU_VCPUID, 1), Err(Denied));
    stopped(&mut scene, "vCPU 1 is not the one of vCPU 0's hart");
    scene.unharmed();
}

/// What the harts of the neighbour have pending.
fn pending_there(scene: &Scene) -> Vec<u64> {
    let harts = scene.driver().machine().harts();
    harts[..3].iter().map(|hart| hart.csr(Csr::MIP).unwrap()).collect()
}

#[test]
pub(super) fn a_post_to_a_vcpu_of_a_neighbour_stops_the_vm() {
    twice(|| {
        let tries: [Try<()>; 5] = [
            |scene, ()| scene.kick(2),
            |scene, ()| scene.post(2, Virq::External, true),
            |scene, ()| scene.set_csr(0, Csr::HU_VITR, 0x102_0000 | THEIRS),
            |scene, ()| scene.set_csr(0, Csr::HU_VITR, 0xffff),
            |scene, ()| scene.set_csr(0, Csr::VIPI0, 1 << THEIRS),
        ];
        for attempt in tries {
            let mut scene = Scene::new();
            let before = pending_there(&scene);
            assert_eq!(attempt(&mut scene, ()), Err(Denied));
            stopped(&mut scene, "DV fault");
            assert_eq!(pending_there(&scene), before);
            scene.unharmed();
        }
        Scene::new().unharmed()
    });
}

#[test]
pub(super) fn a_guest_that_posts_to_a_vcpu_of_a_neighbour_stops_its_vm() {
    twice(|| {
        let mut scene =
            Scene::running(&[addi(A0, 0, 1 << THEIRS), csrw(Csr::VIPI0, A0), forever()]);
        let before = pending_there(&scene);
        stopped(&mut scene, "value 0x4: no such vCPU or interrupt of this VM");
        assert_eq!(pending_there(&scene), before);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_storm_of_posts_reaches_only_the_vm_that_posts() {
    twice(|| {
        let code = [addi(A0, 0, 3), csrw(Csr::VIPI0, A0), i(Op::Jal, 0, 0, -4)];
        let mut scene = Scene::running(&code);
        let before = pending_there(&scene);
        for _ in 0..20 {
            assert_eq!(scene.wait(), Woken::Slice);
            for virq in [Virq::Software, Virq::Timer, Virq::External] {
                scene.post(1, virq, true).unwrap();
            }
            scene.kick(1).unwrap();
        }
        assert_eq!(pending_there(&scene), before);
        assert_eq!(scene.csr(1, Csr::HUVIP), Ok(0x444));
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_post_of_an_interrupt_of_the_kernel_is_a_dv_fault() {
    let mut scene = Scene::new();
    scene.open_to_host();
    for vcpu in [0, 1] {
        for interrupt in (0..256).filter(|interrupt| ![0, 2, 6, 10].contains(interrupt)) {
            let value = HU_VITR::LEVEL.with(HU_VITR::IRQ.set(vcpu, interrupt), true);
            let before = scene.state(Csr::MIP);
            scene.set_x(0, A0, value);
            let trap = scene.run(Mode::Hu, &[csrw(Csr::HU_VITR, A0)]);
            assert_eq!(trap, Some((Mode::Hs, DV_FAULT)), "interrupt {interrupt}");
            assert_eq!(scene.state(Csr::MIP), before);
        }
    }
    scene.unharmed();
}

#[test]
pub(super) fn a_guest_posts_nothing_but_its_software_interrupt() {
    twice(|| {
        let mut scene = Scene::running(&[addi(A0, 0, 3), csrw(Csr::VIPI0, A0), ecall()]);
        assert_eq!(trap(&mut scene, 0), 10);
        // What the VM plane writes next brings what is under way.
        scene.set_csr(0, Csr::USCRATCH, 0).unwrap();
        assert_eq!((scene.csr(0, Csr::HUVIP), scene.csr(1, Csr::HUVIP)), (Ok(4), Ok(4)));
        assert_eq!((scene.csr(0, Csr::HUIP), scene.csr(1, Csr::HUIP)), (Ok(0), Ok(0)));
        assert!(HUSTATUS::VIE.is_set(scene.csr(0, Csr::HUSTATUS).unwrap()));
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_vm_plane_that_names_an_absent_vcpu_is_stopped() {
    for vcpu in [2, 256, 1 << 16, usize::MAX] {
        let tries: [Try<usize>; 5] = [
            |scene, vcpu| scene.huret(vcpu),
            |scene, vcpu| scene.csr(vcpu, Csr::UEPC).map(|_| ()),
            |scene, vcpu| scene.set_csr(vcpu, Csr::UEPC, 0),
            |scene, vcpu| scene.load(vcpu, GPA, &mut [0; 8]).map_err(|dv::GuestFault| Denied),
            |scene, vcpu| scene.store(vcpu, GPA, &[0; 8]).map_err(|dv::GuestFault| Denied),
        ];
        for attempt in tries {
            let mut scene = Scene::new();
            assert_eq!(attempt(&mut scene, vcpu), Err(Denied));
            stopped(&mut scene, &format!("there is no vCPU {vcpu}"));
            scene.unharmed();
        }
        // What only looks shows nothing, and what only asks for less does nothing.
        let mut scene = Scene::new();
        assert_eq!((scene.x(vcpu, 10), scene.f(vcpu, 10), scene.pc(vcpu)), (0, 0, 0));
        scene.set_x(vcpu, 10, 1);
        scene.set_f(vcpu, 10, 1);
        scene.park(vcpu);
        scene.unpark(vcpu);
        scene.stop(vcpu);
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_guest_that_posts_without_end_fills_no_memory() {
    twice(|| {
        let code = [addi(A0, 0, 3), csrw(Csr::VIPI0, A0), i(Op::Jal, 0, 0, -4)];
        let mut scene = Scene::running(&code);
        let mut fed = Vec::new();
        // All in one turn, in which nothing is delivered.
        for steps in [2, 20, 290] {
            scene.set_max_steps(steps);
            assert_eq!(wait(&mut scene), Woken::StepLimit);
            assert_eq!(scene.driver().machine().turn(), Some(3));
            let mut n = 0;
            scene.driver().digest(&mut |bytes| n += bytes.len());
            fed.push(n);
        }
        assert_eq!(fed, [fed[0]; 3], "the state grows with each post");
        scene.unharmed()
    });
}
