//! VMs on shared harts: what a switch keeps, and what a VM that is off its harts can do.

use driver::{CreateError, Driver, Harts, Hu, Next, Plane, Scheduler, Shift, VmId, VmRequest};
use dv::{Denied, Dv, Window, Woken};
use hart::{Bus, Post, Writer};
use isa::fields::HUSTATUS;
use isa::{Csr, Insn, Op};

use crate::guest::*;

/// A VM that shares its harts.
fn sharing(vcpus: usize) -> VmRequest {
    VmRequest { vcpus, harts: Harts::Shared { quantum: 50 }, ..request() }
}

/// A driver with that many harts, and room for four VMs.
fn driver(n_harts: usize) -> Driver {
    let mut config = config(&request());
    (config.n_harts, config.ram_size) = (n_harts, 20 << 20);
    Driver::new(config).unwrap()
}

/// A VM with such vCPUs and this program, which all of them begin; and a second one, which counts.
fn pair(vcpus: usize, insns: &[Insn]) -> (Hu, VmId) {
    let mut driver = driver(vcpus);
    let first = driver.vm_create(&sharing(vcpus)).unwrap();
    let second = driver.vm_create(&sharing(vcpus)).unwrap();
    let mut hu = Hu::new(driver, second);
    tables(&mut hu, 16);
    program(&mut hu, 0, &[addi(A0, A0, 1), i(Op::Jal, 0, 0, -4)]);
    (0..vcpus).for_each(|vcpu| enter(&mut hu, vcpu, 0));
    let second = hu.switch(first);
    tables(&mut hu, 16);
    program(&mut hu, 0, insns);
    (0..vcpus).for_each(|vcpu| enter(&mut hu, vcpu, 0));
    (hu, second)
}

/// So many steps more.
fn step(hu: &mut Hu, steps: u64) {
    hu.set_max_steps(hu.steps() + steps);
    assert_eq!(wait(hu), Woken::StepLimit);
    hu.set_max_steps(u64::MAX);
}

/// The second VM has the harts for a while.
fn away(hu: &mut Hu, second: VmId) -> VmId {
    let first = hu.switch(second);
    step(hu, 777);
    hu.switch(first)
}

#[test]
fn a_switch_ends_no_reservation() {
    twice(|| {
        let mut code = page_address(A1, 8).to_vec();
        let before = code.len() as u64 + 1;
        code.extend([r(Op::LrD, A0, A1, 0), r(Op::ScD, A2, A1, A0), ecall()]);
        let (mut hu, second) = pair(1, &code);
        step(&mut hu, before);
        let _second = away(&mut hu, second);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A2), 0, "the store has succeeded");
        hu
    });
}

#[test]
fn a_write_of_somebody_else_meanwhile_does() {
    let mut code = page_address(A1, 8).to_vec();
    let before = code.len() as u64 + 1;
    code.extend([r(Op::LrD, A0, A1, 0), r(Op::ScD, A2, A1, A0), ecall()]);
    for (offset, failed) in [(0x8020, 1), (0x8040, 0)] {
        let (mut hu, second) = pair(1, &code);
        step(&mut hu, before);
        let hpa = hu.windows()[0].hpa + offset;
        let first = hu.switch(second);
        hu.driver_mut().machine_mut().write(Writer::Debugger, hpa, &[1]).unwrap();
        hu.switch(first);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A2), failed);
    }
}

#[test]
fn a_wait_goes_on() {
    twice(|| {
        let (mut hu, second) = pair(1, &[wfi(), ecall()]);
        hu.stop(0);
        let status = hu.csr(0, Csr::HUSTATUS).unwrap();
        hu.set_csr(0, Csr::HUSTATUS, HUSTATUS::VTW.with(status, false)).unwrap();
        hu.set_csr(0, Csr::HUVSIE, 2).unwrap();
        hu.huret(0).unwrap();
        hu.unpark(0);
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        let _second = away(&mut hu, second);
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        assert_eq!(hu.steps(), 1);
        hu.post(0, dv::Virq::Software, true).unwrap();
        assert_eq!(trap(&mut hu, 0), 10);
        hu
    });
}

#[test]
fn a_park_goes_on_and_the_timer_ends_it_in_the_vms_own_time() {
    twice(|| {
        let (mut hu, second) = pair(1, &[wfi(), ecall()]);
        assert_eq!(trap(&mut hu, 0), 22);
        hu.set_csr(0, Csr::VTIMECMP, 50).unwrap();
        hu.set_csr(0, Csr::VTIMECTL, 1 | 4 << 1).unwrap();
        skip(&mut hu, 0);
        hu.park(0);
        let second = away(&mut hu, second);
        assert!(hu.is_parked(0));
        assert_eq!((wait(&mut hu), hu.now_ns()), (Woken::Idle(Some(5000)), 1));
        hu.advance(5000);
        let _second = away(&mut hu, second);
        assert_eq!(trap(&mut hu, 0), 1 << 63 | 4);
        assert_eq!(hu.now_ns(), 5001);
        hu
    });
}

#[test]
fn an_alarm_is_the_vms_own() {
    let (mut hu, second) = pair(1, &[forever()]);
    hu.set_alarm(Some(400));
    let first = hu.switch(second);
    hu.set_alarm(Some(100));
    assert_eq!((wait(&mut hu), hu.now_ns()), (Woken::Alarm, 100));
    step(&mut hu, 1000);
    hu.switch(first);
    assert_eq!((wait(&mut hu), hu.now_ns(), hu.steps()), (Woken::Alarm, 400, 400));
}

#[test]
fn counters_and_time_are_the_vcpus_own() {
    twice(|| {
        let code = [csrr(A0, Csr::CYCLE), csrr(A1, Csr::INSTRET), csrr(A2, Csr::TIME), ecall()];
        let (mut hu, second) = pair(1, &code);
        step(&mut hu, 0);
        let second = away(&mut hu, second);
        step(&mut hu, 1);
        let second = away(&mut hu, second);
        step(&mut hu, 1);
        let _second = away(&mut hu, second);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!((hu.x(0, A0), hu.x(0, A1), hu.x(0, A2)), (0, 1, 0));
        assert_eq!((hu.vcpu_steps(0), hu.now_ns()), (4, 4));
        hu
    });
}

#[test]
fn posts_on_their_way_arrive_when_the_vm_is_back() {
    twice(|| {
        // vCPU 0 posts to vCPU 1, which waits.
        let (mut hu, second) = pair(2, &[addi(A0, 0, 2), csrw(Csr::VIPI0, A0), forever()]);
        program(&mut hu, 0x200, &[addi(A0, 0, 2), csrw(Csr::SIE, A0), wfi(), ecall()]);
        hu.stop(0);
        hu.stop(1);
        enter(&mut hu, 1, 0x200);
        assert_eq!(trap(&mut hu, 1), 22);
        skip(&mut hu, 1);
        hu.park(1);
        enter(&mut hu, 0, 0);
        step(&mut hu, 2);
        let _second = away(&mut hu, second);
        assert!(hu.is_parked(1), "its turn has not begun");
        assert_eq!(trap(&mut hu, 1), 10);
        assert_eq!(hu.csr(1, Csr::HUVSIP), Ok(2));
        hu
    });
}

#[test]
fn a_post_to_a_vcpu_that_is_off_is_kept_and_unparks_it() {
    let (mut hu, second) = pair(1, &[wfi(), ecall()]);
    assert_eq!(trap(&mut hu, 0), 22);
    skip(&mut hu, 0);
    hu.park(0);
    let vmid = hu.id().vmid();
    let first = hu.switch(second);
    let machine = hu.driver_mut().machine_mut();
    machine.platform_mut().post(Post { vmid, vcpu: 0, interrupt: 10, level: true });
    machine.deliver_posts();
    step(&mut hu, 100);
    hu.switch(first);
    assert!(!hu.is_parked(0));
    assert_eq!(trap(&mut hu, 0), 10);
    assert_eq!(hu.csr(0, Csr::HUVSIP), Ok(1 << 9));
}

#[test]
fn a_debuggers_look_at_the_driver_finds_the_vm_that_is_on() {
    let (mut hu, second) = pair(1, &[forever()]);
    assert_eq!(hu.driver().hart_of(hu.id(), 0), Some(0));
    assert_eq!(hu.driver().hart_of(&second, 0), None);
    let first = hu.switch(second);
    assert_eq!(hu.driver().hart_of(hu.id(), 0), Some(0));
    assert_eq!(hu.driver().hart_of(&first, 0), None);
}

/// What is left of the pair goes on, and what is gone is zero.
#[track_caller]
fn survives(mut hu: Hu, gone: VmId, windows: &[Window]) {
    let x = hu.x(0, A0);
    hu.driver_mut().vm_destroy(gone);
    assert_eq!(hu.x(0, A0), x);
    step(&mut hu, 100);
    assert!(hu.x(0, A0) > x);
    assert_eq!(hu.reason(), None);
    let mut page = [1; 4096];
    for window in windows {
        for hpa in (window.hpa..window.hpa + window.size).step_by(4096) {
            hu.driver().machine().read(hpa, &mut page).unwrap();
            assert!(page == [0; 4096], "{hpa:#x} is not zero");
        }
    }
}

#[test]
fn a_vm_is_destroyed_on_its_harts_and_off_them() {
    let count = [addi(A0, A0, 1), i(Op::Jal, 0, 0, -4)];
    // The second one is off.
    let (mut hu, second) = pair(2, &count);
    step(&mut hu, 20);
    let first = hu.switch(second);
    let windows = hu.windows().to_vec();
    step(&mut hu, 20);
    let second = hu.switch(first);
    survives(hu, second, &windows);
    // It is on, and nobody is at first afterwards.
    let (mut hu, second) = pair(2, &count);
    step(&mut hu, 20);
    let first = hu.switch(second);
    let windows = hu.windows().to_vec();
    step(&mut hu, 20);
    let (mut driver, second) = hu.into_parts();
    let third = driver.vm_create(&sharing(1)).unwrap();
    driver.vm_destroy(second);
    survives(Hu::new(driver, first), third, &windows);
}

#[test]
fn harts_are_shared_or_ones_own() {
    let harts = |asked, free| Err(CreateError::Harts { asked, free });
    let own = |vcpus| VmRequest { vcpus, ..request() };
    let mut driver = driver(3);
    assert_eq!(driver.vm_create(&sharing(4)), harts(4, 3));
    let shared = driver.vm_create(&sharing(2)).unwrap();
    // The two that are shared are nobody's own, even while nobody is on them.
    assert_eq!(driver.vm_create(&own(2)), harts(2, 1));
    let alone = driver.vm_create(&own(1)).unwrap();
    assert_eq!(driver.vm_create(&sharing(3)), harts(3, 2));
    let other = driver.vm_create(&sharing(2)).unwrap();
    assert_eq!((shared.vmid(), alone.vmid(), other.vmid()), (1, 2, 3));
    driver.vm_destroy(shared);
    assert_eq!(driver.vm_create(&own(1)), harts(1, 0));
    driver.vm_destroy(other);
    let id = driver.vm_create(&own(2)).unwrap();
    assert_eq!(id.vmid(), 1);
}

#[test]
fn a_vm_with_harts_of_its_own_stands_still_while_shared_ones_are_on() {
    twice(|| {
        let mut driver = driver(2);
        let own = driver.vm_create(&request()).unwrap();
        let shared = driver.vm_create(&sharing(1)).unwrap();
        let mut hu = Hu::new(driver, own);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[addi(A0, A0, 1), i(Op::Jal, 0, 0, -4)]);
        enter(&mut hu, 0, 0);
        step(&mut hu, 11);
        let own = hu.switch(shared);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[addi(A0, A0, 3), i(Op::Jal, 0, 0, -4)]);
        enter(&mut hu, 0, 0);
        assert_eq!((hu.now_ns(), hu.steps()), (0, 0));
        step(&mut hu, 100);
        assert_eq!((hu.x(0, A0), hu.now_ns()), (150, 100));
        let _shared = hu.switch(own);
        assert_eq!((hu.x(0, A0), hu.now_ns(), hu.steps()), (6, 11, 11));
        step(&mut hu, 1);
        assert_eq!((hu.now_ns(), hu.steps()), (12, 12));
        hu
    });
}

#[test]
fn a_store_of_a_vm_plane_ends_no_reservation_of_another_vm() {
    let mut code = page_address(A1, 8).to_vec();
    let before = code.len() as u64 + 1;
    code.extend([r(Op::LrD, A0, A1, 0), r(Op::ScD, A2, A1, A0), ecall()]);
    let mut driver = driver(2);
    let first = driver.vm_create(&request()).unwrap();
    let second = driver.vm_create(&request()).unwrap();
    let mut hu = Hu::new(driver, second);
    tables(&mut hu, 16);
    let second = hu.switch(first);
    tables(&mut hu, 16);
    program(&mut hu, 0, &code);
    enter(&mut hu, 0, 0);
    step(&mut hu, before);
    let first = hu.switch(second);
    hu.set_csr(0, Csr::HUSTATUS, HUSTATUS::SPVP.mask()).unwrap();
    hu.store(0, GPA + 0x8000, &[1; 8]).unwrap();
    hu.switch(first);
    assert_eq!(trap(&mut hu, 0), 10);
    assert_eq!(hu.x(0, A2), 0, "the store has succeeded");
}

// The scheduler.

/// A VM plane that lets its guest run, and handles no trap.
struct Runner {
    hu: Hu,
    /// Its steps at the end of each shift.
    ends: Vec<u64>,
}

impl Runner {
    fn new(mut hu: Hu, insns: &[Insn]) -> Self {
        tables(&mut hu, 16);
        program(&mut hu, 0, insns);
        enter(&mut hu, 0, 0);
        Self { hu, ends: Vec::new() }
    }
}

impl Plane for Runner {
    fn hu(&mut self) -> &mut Hu {
        &mut self.hu
    }

    fn run(&mut self) -> Next {
        let woken = wait(&mut self.hu);
        self.ends.push(self.hu.steps());
        if woken == Woken::StepLimit && self.hu.steps_left() != 0 {
            Next::Again
        } else {
            Next::Over
        }
    }
}

#[test]
fn a_shift_is_so_many_steps() {
    let mut scheduler = Scheduler::new(driver(1), 70);
    for (max_steps, code) in
        [(200, [forever(), ecall()]), (u64::MAX, [ecall(), ecall()]), (500, [forever(), ecall()])]
    {
        let request = VmRequest { max_steps, ..sharing(1) };
        scheduler.add(&request, |hu| Runner::new(hu, &code)).unwrap();
    }
    assert!(scheduler.planes().map(|(vmid, _)| vmid).eq([1, 2, 3]));
    let left = scheduler.run();
    let ids: Vec<u16> = left.iter().map(|(vmid, _)| *vmid).collect();
    assert_eq!(ids, [2, 1, 3]);
    assert_eq!(left[0].1.ends, [1]);
    assert_eq!(left[1].1.ends, [70, 140, 200]);
    assert_eq!(left[2].1.ends, [70, 140, 210, 280, 350, 420, 490, 500]);
    assert!(matches!(scheduler.run_shift(), Shift::Nobody));
}

#[test]
fn a_switch_is_no_call_of_the_vm() {
    let mut scheduler = Scheduler::new(driver(1), 7);
    for _ in 0..2 {
        scheduler.add(&sharing(1), |hu| Runner::new(hu, &[forever()])).unwrap();
    }
    for _ in 0..50 {
        assert!(matches!(scheduler.run_shift(), Shift::Done));
    }
    for vmid in [1, 2] {
        let calls = |runner: &mut Runner| (runner.hu.driver_calls(), runner.hu.steps());
        assert_eq!(scheduler.with(vmid, calls), Some((0, 25 * 7)));
    }
    assert!(scheduler.with(3, |_| ()).is_none());
}

#[test]
fn a_vm_plane_without_its_harts_sees_nothing_and_does_no_harm() {
    let mut scheduler = Scheduler::new(driver(1), 100);
    scheduler.add(&sharing(1), |hu| Runner::new(hu, &[forever()])).unwrap();
    let vmid = scheduler.add(&sharing(1), |hu| Runner::new(hu, &[forever()])).unwrap();
    let free = scheduler.driver().free_bytes();
    let mut runner = scheduler.remove(vmid).unwrap();
    assert!(scheduler.remove(vmid).is_none());
    assert!(scheduler.driver().free_bytes() > free);
    let hu = &mut runner.hu;
    assert_eq!(hu.wait(), Woken::StepLimit);
    assert_eq!((hu.n_vcpus(), hu.windows().len(), hu.steps(), hu.now_ns()), (0, 0, 0, 0));
    assert_eq!(hu.read(GPA, &mut [0; 8]), Err(Denied));
    assert_eq!(hu.csr(0, Csr::UEPC), Err(Denied));
    assert_eq!(hu.huret(0), Err(Denied));
    // The right to its VM is gone with the VM: what has its id now is another one.
    assert_eq!(scheduler.add(&sharing(1), |hu| Runner::new(hu, &[forever()])).unwrap(), vmid);
    let (mut absent, id) = runner.hu.into_parts();
    absent.vm_destroy(id);
    assert!(matches!(scheduler.run_shift(), Shift::Done));
    assert!(matches!(scheduler.run_shift(), Shift::Done));
    assert_eq!(scheduler.planes().count(), 2);
}

#[test]
fn a_vm_that_is_killed_leaves_and_its_neighbour_stays() {
    let mut scheduler = Scheduler::new(driver(1), 100);
    scheduler.add(&sharing(1), |hu| Runner::new(hu, &[forever()])).unwrap();
    let mut outside = page_address(A1, 3).to_vec();
    outside.push(i(Op::Ld, A0, A1, 0));
    let attacker = |hu| {
        let mut runner = Runner::new(hu, &outside);
        map(&mut runner.hu, 3, leaf(0x8000_0000));
        runner
    };
    scheduler.add(&sharing(1), attacker).unwrap();
    assert!(matches!(scheduler.run_shift(), Shift::Done));
    assert!(matches!(scheduler.run_shift(), Shift::Left(_)));
    for _ in 0..3 {
        assert!(matches!(scheduler.run_shift(), Shift::Done));
    }
    assert_eq!(scheduler.planes().next().unwrap().1.ends, [100, 200, 300, 400]);
}
