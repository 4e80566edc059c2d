//! VMs come and go: requests, emergencies, teardown.

use driver::{CreateError, Driver, Gstage, Hu, VmRequest};
use dv::{Denied, Dv, Woken};
use isa::{Csr, Ext, Extensions, Op};

use crate::guest::*;

#[track_caller]
fn refused(change: impl FnOnce(&mut VmRequest), expected: CreateError) {
    let mut driver = Driver::new(config(&request())).unwrap();
    let free = driver.free_bytes();
    let mut request = request();
    change(&mut request);
    let error = driver.vm_create(&request).unwrap_err();
    assert_eq!(error, expected, "{error}");
    assert_eq!(driver.free_bytes(), free);
    // Nothing was taken: a good request still succeeds, with the first id.
    assert_eq!(driver.vm_create(&self::request()).unwrap().vmid(), 1);
}

#[test]
fn a_request_is_checked_before_anything_is_done() {
    refused(|r| r.vcpus = 0, CreateError::Vcpus { asked: 0 });
    refused(|r| r.vcpus = 257, CreateError::Vcpus { asked: 257 });
    refused(|r| r.vcpus = 2, CreateError::Harts { asked: 2, free: 1 });
    refused(|r| r.guest_ram = 0, CreateError::Size { size: 0 });
    refused(|r| r.guest_ram = 4097, CreateError::Size { size: 4097 });
    refused(|r| r.pool = 16 << 10, CreateError::Pool { size: 16 << 10 });
    refused(|r| r.guest_ram = 1 << 40, CreateError::Memory { size: 1 << 40 });
    refused(|r| r.pool = 1 << 40, CreateError::Memory { size: 1 << 40 });
    refused(|r| r.guest_ram = u64::MAX - 4095, CreateError::Memory { size: u64::MAX - 4095 });
    // Ecalls of U and HS, page faults, and what does not exist.
    refused(|r| r.exceptions |= 1 << 8, CreateError::Exceptions { bits: 1 << 8 });
    refused(|r| r.exceptions |= 1 << 13, CreateError::Exceptions { bits: 1 << 13 });
    refused(|r| r.exceptions |= 1 << 24, CreateError::Exceptions { bits: 1 << 24 });
    refused(|r| r.interrupts |= 1 << 5, CreateError::Interrupts { bits: 1 << 5 });
}

#[test]
fn a_machine_has_to_be_able_to() {
    let with = |isa: Extensions| Driver::new(driver::Config { isa, ..config(&request()) }).unwrap();
    let plain = with(Extensions::ALL.without(Ext::Xdv)).vm_create(&request());
    assert_eq!(plain, Err(CreateError::NoDvExt));
    let wide = VmRequest { gstage: Gstage::Sv57x4, ..request() };
    let narrow = with(Extensions::ALL.without(Ext::Sv57)).vm_create(&wide);
    assert_eq!(narrow, Err(CreateError::Gstage { gstage: Gstage::Sv57x4 }));
    assert!(with(Extensions::ALL).vm_create(&wide).is_ok());
    let new = |config| Driver::new(config).unwrap_err();
    let good = config(&request());
    assert_eq!(
        new(driver::Config { n_harts: 0, ..good }),
        CreateError::Harts { asked: 1, free: 0 }
    );
    for size in [0, 4097 << 10, 1 << 60, u64::MAX] {
        let size = size + u64::from(size == 4097 << 10);
        assert_eq!(new(driver::Config { ram_size: size, ..good }), CreateError::Ram { size });
    }
}

#[test]
fn a_vm_can_be_had_with_any_extensions_that_dv_ext_is_among() {
    let all = Extensions::ALL;
    for (one, other) in Ext::ALL.iter().flat_map(|one| Ext::ALL.iter().map(move |o| (*one, *o))) {
        let isa = all.without(one).without(other);
        if isa.has(Ext::Xdv) && isa.check().is_ok() {
            let config = driver::Config { isa, ..config(&request()) };
            let started = Hu::start(config, &request()).err();
            assert_eq!(started, None, "without {one} and {other}");
        }
    }
}

#[test]
fn the_root_is_the_begin_of_the_pool() {
    for (gstage, mode) in [(Gstage::Sv39x4, 8), (Gstage::Sv48x4, 9), (Gstage::Sv57x4, 10)] {
        let request = VmRequest { gstage, ..request() };
        let mut hu = Hu::start(config(&request), &request).unwrap();
        let pool = hu.windows()[1];
        assert_eq!(hu.csr(0, Csr::HUGATP), Ok(mode << 60 | 1 << 44 | pool.hpa >> 12));
        assert_eq!((pool.hpa % (16 << 10), pool.size), (0, POOL));
    }
}

#[test]
fn what_is_delegated_is_what_was_asked_for() {
    let csr = |hu: &Hu, csr| hu.driver().machine().harts()[0].csr(csr).unwrap();
    let hu = vm(1);
    assert_eq!(csr(&hu, Csr::SEDELEG), 0xf0_0400);
    assert_eq!(csr(&hu, Csr::SIDELEG), 0x111);
    assert_eq!(csr(&hu, Csr::HEDELEG), 0xb15d);
    assert_eq!(csr(&hu, Csr::HIDELEG), 0x444);
    let request = VmRequest {
        exceptions: VmRequest::EXCEPTIONS | 1 << 2 | 1 << 3,
        interrupts: 0,
        ..request()
    };
    let hu = Hu::start(config(&request), &request).unwrap();
    assert_eq!(csr(&hu, Csr::SEDELEG), 0xf0_040c);
    assert_eq!(csr(&hu, Csr::SIDELEG), 1);
    assert_eq!(csr(&hu, Csr::HEDELEG), 0xb151);
}

#[test]
fn a_debugging_vm_plane_sees_breakpoints() {
    twice(|| {
        let request = VmRequest { exceptions: VmRequest::EXCEPTIONS | 1 << 3, ..request() };
        let mut hu = Hu::start(config(&request), &request).unwrap();
        tables(&mut hu, 16);
        program(&mut hu, 0, &[isa::Insn::new(Op::Ebreak)]);
        enter(&mut hu, 0, 0);
        assert_eq!(trap(&mut hu, 0), 3);
        hu
    });
}

#[test]
fn what_is_not_delegated_stops_the_vm() {
    twice(|| {
        let request = VmRequest { exceptions: 1 << 10, ..request() };
        let mut hu = Hu::start(config(&request), &request).unwrap();
        enter(&mut hu, 0, 0);
        killed(
            &mut hu,
            "vCPU 0 in VS at pc 0x80000000: instruction guest-page fault at 0x80000000, \
             guest-physical 0x80000000: not delegated",
        );
        hu
    });
}

#[test]
fn an_emergency_is_counted_and_the_window_is_good() {
    twice(|| {
        let mut code = page_address(A1, 3).to_vec();
        code.extend([r(Op::Sd, 0, A1, A0), i(Op::Ld, A0, A1, 0), ecall()]);
        let mut hu = vm(1);
        tables(&mut hu, 16);
        program(&mut hu, 0, &code);
        // Before the start it is no emergency.
        let before = hu.grow(4096).unwrap();
        assert_eq!((hu.driver_calls(), before.size), (0, 4096));
        enter(&mut hu, 0, 0);
        let window = hu.grow(5000).unwrap();
        assert_eq!((hu.driver_calls(), window.size), (1, 8192));
        assert_eq!(hu.windows()[3], window);
        map(&mut hu, 3, leaf(window.hpa + 4096));
        hu.set_x(0, A0, 99);
        assert_eq!(trap(&mut hu, 0), 10);
        assert_eq!(hu.x(0, A0), 99);
        let mut word = [0; 8];
        hu.read(window.hpa + 4096, &mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), 99);
        hu
    });
}

#[test]
fn an_emergency_that_cannot_be_helped_stops_the_vm() {
    let mut hu = vm(1);
    assert_eq!(hu.grow(1 << 40), Err(Denied));
    killed(&mut hu, "no 0x10000000000 bytes of memory are left");
    let mut hu = vm(1);
    // Two windows take four of sixteen entries.
    for _ in 0..6 {
        hu.grow(4096).unwrap();
    }
    assert_eq!(hu.grow(4096), Err(Denied));
    assert_eq!(hu.wait(), Woken::Killed);
}

#[test]
fn a_vm_leaves_nothing_behind_wherever_it_is_taken_away() {
    for stage in 0..5 {
        let mut driver = Driver::new(config(&request())).unwrap();
        let free = driver.free_bytes();
        let id = driver.vm_create(&request()).unwrap();
        let mut hu = Hu::new(driver, id);
        tables(&mut hu, 16);
        program(&mut hu, 0, &[ecall(), forever()]);
        if stage > 0 {
            enter(&mut hu, 0, 0);
        }
        if stage > 1 {
            assert_eq!(trap(&mut hu, 0), 10);
            hu.grow(1 << 20).unwrap();
        }
        if stage > 2 {
            skip(&mut hu, 0);
            hu.post(0, dv::Virq::Timer, true).unwrap();
            assert_eq!(hu.wait(), Woken::Slice);
        }
        if stage > 3 {
            hu.park(0);
        }
        let windows = hu.windows().to_vec();
        let (mut driver, id) = hu.into_parts();
        driver.vm_destroy(id);
        assert_eq!(driver.free_bytes(), free);
        let mut page = [1; 4096];
        for window in windows {
            for hpa in (window.hpa..window.hpa + window.size).step_by(4096) {
                driver.machine().read(hpa, &mut page).unwrap();
                assert!(page.iter().all(|byte| *byte == 0), "{hpa:#x} is not zero");
            }
        }
        // Its id and its hart are free, and the next one sees nothing of it.
        let id = driver.vm_create(&request()).unwrap();
        assert_eq!(id.vmid(), 1);
        let mut hu = Hu::new(driver, id);
        assert_eq!((hu.csr(0, Csr::HUVSIP), hu.csr(0, Csr::UCAUSE)), (Ok(0), Ok(0)));
        assert_eq!((hu.steps(), hu.driver_calls(), hu.reason()), (0, 0, None));
        tables(&mut hu, 0);
        enter(&mut hu, 0, 0);
        // No translation of the old one is left: the page is not mapped.
        assert_eq!(trap(&mut hu, 0), 20);
    }
}
