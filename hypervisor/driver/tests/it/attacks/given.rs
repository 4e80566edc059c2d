//! Attacks on the driver: what a VM asks for.

use driver::{CreateError, VmRequest};
use dv::{Denied, Dv, Window, Woken};
use isa::{Csr, Exception, Interrupt, Op};

use super::scene::*;
use crate::guest::*;

/// The driver says no, and nothing has changed.
#[track_caller]
fn refused(change: impl FnOnce(&mut VmRequest)) -> CreateError {
    let mut driver = driver();
    let free = driver.free_bytes();
    let mut request = modest(2);
    change(&mut request);
    let refused = driver.vm_create(&request).expect_err("the driver grants it");
    assert_eq!(driver.free_bytes(), free);
    assert_eq!(driver.vm_create(&modest(2)).unwrap().vmid(), 1);
    refused
}

#[test]
pub(super) fn a_request_for_exceptions_of_the_kernel_is_refused() {
    let own = Exception::ALL.iter().filter(|e| !Exception::DELEGABLE_TO_HU.contains(e));
    for bit in own.map(|exception| exception.bit()).chain([1 << 62, 1 << 63]) {
        let error = refused(|request| request.exceptions |= bit);
        assert_eq!(error, CreateError::Exceptions { bits: bit });
    }
}

#[test]
pub(super) fn a_request_for_interrupts_of_the_kernel_is_refused() {
    let own = Interrupt::ALL.iter().filter(|e| !Interrupt::DELEGABLE_TO_HU.contains(e));
    for bit in own.map(|interrupt| interrupt.bit()).chain([1 << 63]) {
        let error = refused(|request| request.interrupts |= bit);
        assert_eq!(error, CreateError::Interrupts { bits: bit });
    }
}

#[test]
pub(super) fn a_guest_does_not_hide_from_the_vm_plane_what_it_asked_for() {
    twice(|| {
        let own = Exception::Breakpoint.bit() | Exception::IllegalInstruction.bit();
        let mut scene = Scene::asking(|request| request.exceptions |= own);
        scene.begin(&[isa::Insn::new(Op::Ebreak), csrr(A0, Csr(0x7ff)), forever()]);
        assert_eq!(trap(&mut scene, 0), Exception::Breakpoint.code());
        skip(&mut scene, 0);
        assert_eq!(trap(&mut scene, 0), Exception::IllegalInstruction.code());
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_window_does_not_end_within_a_page_of_somebody_else() {
    for size in [1, 4095, GUEST_RAM + 1, GUEST_RAM - 4, GUEST_RAM + 2048] {
        assert_eq!(refused(|request| request.guest_ram = size), CreateError::Size { size });
    }
    let size = POOL + 2048;
    assert_eq!(refused(|request| request.pool = size), CreateError::Size { size });
}

#[test]
pub(super) fn a_request_that_overflows_is_refused() {
    for size in [1 << 40, 1 << 63, u64::MAX - 4095] {
        assert_eq!(refused(|request| request.guest_ram = size), CreateError::Memory { size });
        assert_eq!(refused(|request| request.pool = size), CreateError::Memory { size });
    }
    for asked in [0, 257, usize::MAX] {
        assert_eq!(refused(|request| request.vcpus = asked), CreateError::Vcpus { asked });
    }
    let mut scene = Scene::new();
    assert_eq!(scene.grow(u64::MAX), Err(Denied));
    stopped(&mut scene, "bytes of memory are left");
    scene.unharmed();
}

fn apart(windows: &[Window]) {
    let mut sorted = windows.to_vec();
    sorted.sort_by_key(|window| window.hpa);
    assert!(sorted[0].hpa >= HOST + (2 << 20), "the host's memory");
    for pair in sorted.windows(2) {
        assert!(pair[0].hpa + pair[0].size <= pair[1].hpa, "{:x?} and {:x?}", pair[0], pair[1]);
    }
}

#[test]
pub(super) fn no_two_vms_have_the_same_memory() {
    let mut scene = Scene::new();
    scene.grow(8192).unwrap();
    let mut all = scene.windows().to_vec();
    all.extend(&scene.theirs);
    apart(&all);
    // As long as there is memory, and with holes in it.
    let mut driver = driver();
    let mut ids: Vec<_> =
        std::iter::from_fn(|| driver.vm_create(&VmRequest { pool: 20 << 10, ..modest(1) }).ok())
            .collect();
    assert!(ids.len() >= 3);
    let second = ids.remove(1);
    driver.vm_destroy(second);
    ids.push(driver.vm_create(&modest(1)).unwrap());
    let mut hu = driver::Hu::new(driver, ids.remove(0));
    let mut all = hu.windows().to_vec();
    while let Some(id) = ids.pop() {
        hu.switch(id);
        all.extend(hu.windows());
    }
    apart(&all);
}

#[test]
pub(super) fn a_window_that_no_hart_could_check_is_not_granted() {
    let mut scene = Scene::new();
    while scene.windows().len() < 8 {
        let window = scene.grow(4096).unwrap();
        map(&mut scene, 3, leaf(window.hpa));
        assert!(scene.load(0, GPA + 0x3000, &mut [0; 8]).is_ok());
    }
    assert!(scene.driver().free_bytes() > 4096);
    assert_eq!(scene.grow(4096), Err(Denied));
    stopped(&mut scene, "bytes of memory are left");
    scene.unharmed();
}

#[test]
pub(super) fn a_vm_does_not_take_all_the_memory_that_is_left() {
    let mut scene = Scene::asking(|request| request.spare = 3 << 12);
    let free = scene.driver().free_bytes();
    assert!(free > 1 << 20);
    scene.grow(4096).unwrap();
    scene.grow(8000).unwrap();
    assert_eq!(scene.grow(1), Err(Denied));
    stopped(&mut scene, "bytes of memory are left");
    assert_eq!(scene.driver().free_bytes(), free, "it was kept for the VM from the start");
    scene.unharmed();
}

#[test]
pub(super) fn a_vm_has_the_memory_that_it_announced_whatever_others_took() {
    let mut scene = Scene::asking(|request| request.spare = 5 << 12);
    let mut others = Vec::new();
    for size in [2 << 20, 64 << 10, 4096] {
        let greedy = VmRequest { guest_ram: size, pool: 20 << 10, spare: 0, ..modest(1) };
        let greedy = VmRequest { harts: driver::Harts::Shared { quantum: 10 }, ..greedy };
        others.extend(std::iter::from_fn(|| scene.driver_mut().vm_create(&greedy).ok()));
    }
    for size in [1, 8192, 4097] {
        let window = scene.grow(size).unwrap();
        scene.write(window.hpa, &[0xff; 8]).unwrap();
    }
    assert_eq!((scene.windows().len(), scene.reason()), (5, None));
    others.into_iter().for_each(|id| scene.driver_mut().vm_destroy(id));
    scene.unharmed();
}

#[test]
pub(super) fn a_vm_plane_does_not_move_the_clock_of_those_who_run() {
    twice(|| {
        let mut scene = Scene::new();
        for to in [1 << 20, 1 << 63, u64::MAX] {
            scene.advance(to);
            assert_eq!(scene.now_ns(), 0, "the neighbour runs");
        }
        // Nor past the timer of anybody, if all wait.
        let mut scene = Scene::running(&[ecall()]);
        assert_eq!(trap(&mut scene, 0), 10);
        let machine = scene.machine();
        (0..3).for_each(|hart| machine.stop(hart));
        let (hart, platform) = machine.hart_mut(0);
        hart.set_csr(platform, Csr::VTIMECMP, 50);
        hart.set_csr(platform, Csr::VTIMECTL, 1 | 4 << 1);
        machine.park(0);
        scene.advance(u64::MAX);
        assert_eq!(scene.now_ns(), 5000);
        let machine = scene.machine();
        let (hart, platform) = machine.hart_mut(0);
        hart.set_csr(platform, Csr::VTIMECTL, 4 << 1);
        machine.start(0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_vm_plane_does_not_take_the_alarm_of_a_neighbour() {
    twice(|| {
        let mut scene = Scene::running(&[forever()]);
        scene.as_neighbour(|hu| hu.set_alarm(Some(700)));
        for at in [Some(0), Some(400), None, Some(u64::MAX)] {
            scene.set_alarm(at);
        }
        // Neither does the neighbour hear the attacker's, nor does its own get lost.
        scene.set_alarm(Some(100));
        scene.as_neighbour(|hu| {
            assert_eq!(wait(hu), Woken::Alarm);
            assert_eq!(hu.now_ns(), 700);
        });
        assert_eq!(wait(&mut scene), Woken::Alarm);
        assert_eq!(scene.now_ns(), 700);
        scene.unharmed()
    });
}
