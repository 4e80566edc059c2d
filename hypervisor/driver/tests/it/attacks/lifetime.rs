//! Attacks by VMs that end, and on what they leave to their successors.

use driver::Driver;
use dv::{Denied, Dv, Virq, Window, Woken};
use hart::{Bus, Hart};
use isa::fields::HUSTATUS;
use isa::{Csr, Extensions, Mode, Op};
use machine::HartState;

use super::scene::*;
use crate::guest::*;

#[test]
pub(super) fn a_vm_that_was_stopped_does_not_run_again() {
    twice(|| {
        let mut scene = Scene::running(&[forever()]);
        assert_eq!(scene.wait(), Woken::Slice);
        assert!(scene.read(HOST, &mut [0; 8]).is_err());
        stopped(&mut scene, "outside of the VM's windows");
        let steps = scene.steps();
        assert_eq!(scene.huret(1), Err(Denied));
        scene.unpark(0);
        scene.unpark(1);
        let _ = scene.kick(0);
        assert_eq!(wait(&mut scene), Woken::Killed);
        let machine = scene.driver().machine();
        assert_eq!((machine.state(3), machine.state(4)), (HartState::Stopped, HartState::Stopped));
        assert_eq!(scene.steps(), steps);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_vm_that_was_stopped_does_not_run_while_a_neighbour_does() {
    twice(|| {
        let mut scene = Scene::running(&[forever()]);
        assert_eq!(scene.wait(), Woken::Slice);
        // What only looks cannot stop harts, and this VM plane does not wait any more.
        assert!(scene.read(HOST, &mut [0; 8]).is_err());
        let steps = scene.driver().machine().harts()[3].steps();
        let hu = scene.unharmed();
        assert_eq!(hu.driver().machine().harts()[3].steps(), steps);
        hu
    });
}

/// The attacker's harts are as if nobody had ever been there.
#[track_caller]
fn harts_are_fresh(driver: &Driver) {
    // Time goes on, and these are as firmware leaves them to the kernel.
    let skipped = [Csr::TIME, Csr::MEDELEG, Csr::MIDELEG, Csr::MCOUNTEREN, Csr::MENVCFG];
    // The kernel's own timer, whose compare is zero.
    let mask = |csr| if matches!(csr, Csr::MIP | Csr::SIP) { !0x20 } else { u64::MAX };
    for (index, hart) in driver.machine().harts().iter().enumerate().skip(3) {
        let fresh = Hart::new(index, Extensions::ALL);
        assert_eq!((hart.mode(), hart.pc()), (Mode::M, 0), "hart {index}");
        let registers = (0..32).all(|reg| hart.x(reg) == 0 && hart.f(reg) == 0);
        assert!(registers, "hart {index} has registers of its last guest");
        for csr in isa::csr::CSRS.iter().map(|row| row.csr).filter(|csr| !skipped.contains(csr)) {
            let of = |hart: &Hart| hart.csr(csr).unwrap() & mask(csr);
            assert_eq!(of(hart), of(&fresh), "{csr} of hart {index}");
        }
    }
}

#[track_caller]
fn memory_is_zero(driver: &Driver, windows: &[Window]) {
    for window in windows {
        let mut bytes = vec![1; usize::try_from(window.size).unwrap()];
        driver.machine().read(window.hpa, &mut bytes).unwrap();
        let left = bytes.iter().position(|byte| *byte != 0);
        assert_eq!(left, None, "something is left in {window:x?}");
    }
}

#[track_caller]
fn harts_are_stopped(driver: &Driver) {
    let states = [3, 4].map(|hart| driver.machine().state(hart));
    assert_eq!(states, [HartState::Stopped; 2]);
}

/// Nobody knows the attacker's vCPUs.
#[track_caller]
fn ids_are_nobodys(driver: &Driver) {
    let platform = driver.machine().platform();
    assert!((0..4).all(|vcpu| !platform.owns_vcpu(2, vcpu)));
    assert!((0..3).all(|vcpu| platform.owns_vcpu(1, vcpu)));
}

/// Both vCPUs of the attacker: one posts, waits for its timer, writes, calls; the other is posted
/// to. Each exit is skipped.
fn busy() -> Scene {
    let mut scene = Scene::new();
    let mut code = page_address(A1, 9).to_vec();
    code.extend([
        addi(A0, 0, 3),
        csrw(Csr::VIPI0, A0),
        isa::Insn { rs1: A1, rs2: A1, ..isa::Insn::new(Op::Sd) },
        ecall(),
        wfi(),
        i(Op::Jal, 0, 0, -20),
    ]);
    program(&mut scene, 0, &code);
    program(&mut scene, 0x800, &[addi(A0, A0, 1), csrw(Csr::SIE, A0), i(Op::Jal, 0, 0, -8)]);
    scene.set_csr(0, Csr::VTIMECMP, 2).unwrap();
    scene.set_csr(0, Csr::VTIMECTL, 1 | 4 << 1).unwrap();
    enter(&mut scene, 0, 0);
    enter(&mut scene, 1, 0x800);
    scene
}

/// Lets it run up to this step of its own.
fn run_to(scene: &mut Scene, step: u64) {
    scene.set_max_steps(step);
    loop {
        match wait(scene) {
            Woken::StepLimit => return,
            Woken::Trap(vcpu) => {
                let cause = scene.csr(vcpu, Csr::UCAUSE).unwrap();
                // On its last step the trap stays as it is.
                if scene.steps() >= step {
                    return;
                }
                if cause >> 63 != 0 {
                    scene.set_csr(vcpu, Csr::VTIMECTL, 4 << 1).unwrap();
                    scene.huret(vcpu).unwrap();
                } else {
                    skip(scene, vcpu);
                }
            }
            woken @ (Woken::Slice
            | Woken::Alarm
            | Woken::Idle(_)
            | Woken::Debug(_)
            | Woken::Killed) => panic!("{woken:?}: {:?}", scene.reason()),
        }
    }
}

#[test]
pub(super) fn a_vm_plane_that_dies_at_any_step_leaves_nothing_behind() {
    for step in (0..48).chain((48..700).step_by(41)) {
        let mut scene = busy();
        run_to(&mut scene, step);
        // Posts under way, a park, a trap that nobody took.
        scene.post(1, Virq::External, true).unwrap();
        if step % 3 == 0 {
            scene.park(1);
        }
        let windows = scene.windows().to_vec();
        let theirs: Vec<u64> = words(&scene, 0..3);
        scene.destroy();
        harts_are_stopped(scene.driver());
        harts_are_fresh(scene.driver());
        memory_is_zero(scene.driver(), &windows);
        ids_are_nobodys(scene.driver());
        assert_eq!(words(&scene, 0..3), theirs, "step {step}");
        scene.unharmed();
    }
}

/// The whole state of some harts.
fn words(scene: &Scene, harts: std::ops::Range<usize>) -> Vec<u64> {
    let mut words = Vec::new();
    for hart in &scene.driver().machine().harts()[harts] {
        hart.for_each_word(|word| words.push(word));
    }
    words
}

#[test]
pub(super) fn the_harts_of_a_destroyed_vm_stop() {
    let mut scene = Scene::running(&[forever()]);
    enter(&mut scene, 1, 0);
    assert_eq!(scene.wait(), Woken::Slice);
    scene.destroy();
    harts_are_stopped(scene.driver());
    scene.unharmed();
}

#[test]
pub(super) fn the_registers_and_windows_of_a_destroyed_vm_are_gone() {
    let mut scene = busy();
    run_to(&mut scene, 60);
    scene.destroy();
    harts_are_fresh(scene.driver());
    scene.unharmed();
}

#[test]
pub(super) fn the_memory_of_a_destroyed_vm_is_zero_before_it_is_granted_again() {
    let mut scene = busy();
    run_to(&mut scene, 60);
    let grown = scene.grow(4096).unwrap();
    for window in scene.windows().to_vec() {
        for at in [window.hpa, window.hpa + window.size - 4096] {
            scene.write(at, &SECRET.to_le_bytes().repeat(512)).unwrap();
        }
    }
    let windows = scene.windows().to_vec();
    assert!(windows.contains(&grown));
    scene.destroy();
    memory_is_zero(scene.driver(), &windows);
    scene.unharmed();
}

/// The VM plane of a VM that has taken the place, the harts and the memory of another one.
fn successor(scene: &mut Scene, windows: &[Window], vcpus: usize) {
    scene.destroy();
    let id = scene.driver_mut().vm_create(&modest(vcpus)).unwrap();
    assert_eq!(id.vmid(), 2);
    scene.take(id);
    assert_eq!(scene.windows(), &windows[..2]);
    assert_eq!(scene.hart(), 3);
}

#[test]
pub(super) fn a_recycled_vm_id_gets_no_post_of_its_last_owner() {
    twice(|| {
        // vCPU 0 posts to vCPU 1 in the middle of a turn: the post is under way.
        let code = [addi(A0, 0, 2), csrw(Csr::VIPI0, A0), ecall()];
        let mut scene = Scene::running(&code);
        assert_eq!(trap(&mut scene, 0), 10);
        assert_eq!(scene.driver().machine().harts()[4].csr(Csr::MIP), Some(0), "under way");
        let windows = scene.windows().to_vec();
        successor(&mut scene, &windows, 2);
        tables(&mut scene, 16);
        scene.begin(&[forever()]);
        enter(&mut scene, 1, 0);
        assert_eq!(scene.wait(), Woken::Slice);
        for hart in [3, 4] {
            assert_eq!(scene.driver().machine().harts()[hart].csr(Csr::MIP), Some(0));
        }
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_recycled_vm_id_has_no_vcpu_of_its_last_owner() {
    twice(|| {
        let mut scene = Scene::new();
        let windows = scene.windows().to_vec();
        successor(&mut scene, &windows, 1);
        assert_eq!(scene.kick(1), Err(Denied));
        stopped(&mut scene, "DV fault");
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_recycled_vm_id_uses_no_translation_of_its_last_owner() {
    twice(|| {
        let mut code = page_address(A1, 3).to_vec();
        code.extend([i(Op::Ld, A0, A1, 0), ecall()]);
        let mut scene = Scene::new();
        let ram = scene.windows()[0].hpa;
        map(&mut scene, 3, leaf(ram + 0x9000));
        scene.write(ram + 0x9000, &SECRET.to_le_bytes()).unwrap();
        scene.begin(&code);
        assert_eq!(trap(&mut scene, 0), 10);
        assert_eq!(scene.x(0, A0), SECRET);
        let windows = scene.windows().to_vec();
        successor(&mut scene, &windows, 2);
        assert_eq!((scene.x(0, A0), scene.csr(0, Csr::UCAUSE)), (0, Ok(0)));
        tables(&mut scene, 16);
        map(&mut scene, 3, 0);
        scene.begin(&code);
        assert_eq!(trap(&mut scene, 0), 21);
        map(&mut scene, 3, leaf(ram + 0x9000));
        scene.huret(0).unwrap();
        assert_eq!(trap(&mut scene, 0), 10);
        assert_eq!(scene.x(0, A0), 0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_new_vm_does_not_read_how_long_its_hart_has_worked() {
    let counters = [Csr::CYCLE, Csr::INSTRET];
    let read = |scene: &mut Scene| {
        tables(scene, 16);
        scene.begin(&[csrr(A0, counters[0]), csrr(A1, counters[1]), ecall()]);
        assert_eq!(trap(scene, 0), 10);
        [scene.x(0, A0), scene.x(0, A1)]
    };
    let first = read(&mut Scene::new());
    let mut scene = busy();
    run_to(&mut scene, 300);
    let windows = scene.windows().to_vec();
    successor(&mut scene, &windows, 2);
    assert_eq!(read(&mut scene), first);
    scene.unharmed();
}

#[test]
pub(super) fn a_vm_that_ends_takes_no_hart_or_memory_with_it() {
    let mut scene = Scene::new();
    let windows = scene.windows().to_vec();
    let free = scene.driver().free_bytes();
    for _ in 0..40 {
        successor(&mut scene, &windows, 2);
        assert!(scene.read(HOST, &mut [0; 8]).is_err());
        assert_eq!(scene.driver().free_bytes(), free);
    }
    scene.unharmed();
}

#[test]
pub(super) fn the_driver_is_not_called_by_a_guest_or_a_stopped_vm_plane() {
    twice(|| {
        let mut scene = busy();
        run_to(&mut scene, 500);
        assert_eq!(scene.driver_calls(), 0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_storm_of_timers_does_not_starve_a_neighbour() {
    twice(|| {
        let mut scene = Scene::new();
        let code = [
            addi(A0, 0, 0x20),
            csrw(Csr::SIE, A0),
            csrr(A0, Csr::TIME),
            csrw(Csr::STIMECMP, A0),
            wfi(),
            addi(A0, A0, 1),
            i(Op::Jal, 0, 0, -12),
        ];
        program(&mut scene, 0, &code);
        scene.set_max_steps(u64::MAX);
        for vcpu in [0, 1] {
            enter(&mut scene, vcpu, 0);
            scene.stop(vcpu);
            let status = HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask();
            scene.set_csr(vcpu, Csr::HUSTATUS, status).unwrap();
            scene.huret(vcpu).unwrap();
            scene.unpark(vcpu);
        }
        let hu = scene.unharmed();
        let (now, theirs) = (hu.driver().machine().steps(), hu.steps());
        assert!(theirs * 4 > now, "{theirs} of {now} steps");
        hu
    });
}

#[test]
pub(super) fn a_vm_plane_that_waits_for_none_of_its_traps_fills_no_memory() {
    twice(|| {
        let mut scene = Scene::running(&[ecall(), i(Op::Jal, 0, 0, -4)]);
        for _ in 0..2 {
            // It traps while the neighbour waits, who is told nothing of it.
            scene.as_neighbour(|hu| assert_eq!([hu.wait(), hu.wait()], [Woken::Slice; 2]));
            assert_eq!(scene.csr(0, Csr::UCAUSE), Ok(10));
            skip(&mut scene, 0);
        }
        // Of all of them it hears the last.
        assert_eq!(trap(&mut scene, 0), 10);
        assert_eq!(scene.wait(), Woken::Slice);
        scene.unharmed()
    });
}
