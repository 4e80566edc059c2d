//! What HU-mode code may not do stops the VM, with the reason.

use driver::Hu;
use dv::{Denied, Dv, Woken};
use isa::Csr;

use crate::guest::*;

fn fresh() -> Hu {
    let mut hu = vm(2);
    tables(&mut hu, 16);
    program(&mut hu, 0, &[ecall()]);
    hu
}

#[track_caller]
fn refuses(op: impl FnOnce(&mut Hu) -> Result<(), Denied>, reason: &str) {
    let mut hu = fresh();
    assert_eq!(op(&mut hu), Err(Denied));
    killed(&mut hu, reason);
    // Nothing brings it back.
    assert_eq!(hu.huret(0), Err(Denied));
    hu.unpark(0);
    hu.unpark(1);
    assert_eq!(hu.wait(), Woken::Killed);
    assert_eq!(hu.steps(), 0);
}

#[test]
fn csrs_of_the_kernel_are_out_of_reach() {
    let plane = |what: &str| format!("the VM plane of vCPU 0: {what}: illegal instruction");
    refuses(|hu| hu.set_csr(0, Csr::HUGATP, 0), &plane("csrw hugatp, 0x0"));
    refuses(|hu| hu.set_csr(0, Csr::SEDELEG, 1), &plane("csrw sedeleg, 0x1"));
    refuses(|hu| hu.set_csr(0, Csr::SIDELEG, 1), &plane("csrw sideleg, 0x1"));
    refuses(|hu| hu.set_csr(0, Csr::H_VMID, 2), &plane("csrw h_vmid, 0x2"));
    refuses(|hu| hu.set_csr(0, Csr::HSTATUS, 0), &plane("csrw hstatus, 0x0"));
    refuses(|hu| hu.set_csr(0, Csr::SATP, 0), &plane("csrw satp, 0x0"));
    refuses(|hu| hu.set_csr(0, Csr::PMPCFG0, 0), &plane("csrw pmpcfg0, 0x0"));
    refuses(|hu| hu.csr(0, Csr::SEDELEG).map(|_| ()), &plane("csrr sedeleg"));
    refuses(|hu| hu.csr(0, Csr::HU_VITR).map(|_| ()), &plane("csrr hu_vitr"));
    refuses(|hu| hu.csr(0, Csr(0xfff)).map(|_| ()), &plane("csrr 0xfff"));
}

#[test]
fn a_vcpu_that_is_not_there_is_a_dv_fault() {
    refuses(|hu| hu.kick(2), "the VM plane of vCPU 2: csrw hu_vitr, 0x1000002: DV fault");
    refuses(
        |hu| hu.set_csr(1, Csr::HU_VITR, 1 << 16),
        "the VM plane of vCPU 1: csrw hu_vitr, 0x10000: DV fault",
    );
    refuses(|hu| hu.set_csr(0, Csr::VIPI0, 4), "the VM plane of vCPU 0: csrw vipi0, 0x4: DV fault");
    refuses(|hu| hu.set_csr(0, Csr::HU_VCPUID, 1), "vCPU 1 is not the one of vCPU 0's hart");
    refuses(|hu| hu.kick(1 << 40), "the VM plane: there is no vCPU 1099511627776");
    refuses(|hu| hu.huret(2), "the VM plane: there is no vCPU 2");
    refuses(|hu| hu.csr(9, Csr::UEPC).map(|_| ()), "the VM plane: there is no vCPU 9");
}

#[test]
fn looking_at_a_vcpu_that_is_not_there_shows_nothing() {
    let mut hu = fresh();
    assert_eq!((hu.x(7, 1), hu.f(7, 1), hu.pc(7), hu.vcpu_steps(7)), (0, 0, 0, 0));
    hu.set_x(7, 1, 1);
    hu.set_f(7, 1, 1);
    hu.park(7);
    hu.unpark(7);
    hu.stop(7);
    assert!(!hu.is_parked(7));
    assert_eq!(hu.reason(), None);
}

#[test]
fn hu_code_does_not_run_while_its_guest_does() {
    let enters = |hu: &mut Hu| enter(hu, 0, 0);
    let virt = |what: &str| format!("the VM plane of vCPU 0: {what}: virtual instruction");
    let mut hu = fresh();
    enters(&mut hu);
    assert_eq!(hu.huret(0), Err(Denied));
    killed(&mut hu, &virt("huret"));
    let mut hu = fresh();
    enters(&mut hu);
    assert_eq!(hu.csr(0, Csr::UEPC), Err(Denied));
    killed(&mut hu, &virt("csrr uepc"));
    let mut hu = fresh();
    enters(&mut hu);
    assert!(hu.load(0, GPA, &mut [0; 4]).is_err());
    killed(&mut hu, &virt("hlv"));
}

#[test]
fn memory_outside_of_the_windows_is_out_of_reach() {
    let reason = |len: u64, hpa: u64| {
        format!("the VM plane: {len} bytes at {hpa:#x} are outside of the VM's windows")
    };
    refuses(|hu| hu.read(0x8000_0000, &mut [0; 8]), &reason(8, 0x8000_0000));
    refuses(|hu| hu.write(0x8000_0000, &[0; 8]), &reason(8, 0x8000_0000));
    refuses(|hu| hu.dma(0, &[0; 8]), &reason(8, 0));
    refuses(|hu| hu.read(u64::MAX, &mut [0; 8]), &reason(8, u64::MAX));
    let window = fresh().windows()[1];
    let last = window.hpa + window.size;
    refuses(|hu| hu.write(last - 7, &[0; 8]), &reason(8, last - 7));
    refuses(|hu| hu.read(last, &mut [0; 1]), &reason(1, last));
}

#[test]
fn huret_with_spv_clear_stays_in_hu() {
    twice(|| {
        let mut hu = fresh();
        // The row that isolation rests on: SPVP alone does not lead to S.
        hu.set_csr(0, Csr::HUSTATUS, 0x100).unwrap();
        hu.set_csr(0, Csr::UEPC, GPA).unwrap();
        hu.huret(0).unwrap();
        hu.unpark(0);
        assert_eq!(hu.driver().machine().harts()[0].mode(), isa::Mode::Hu);
        assert_eq!(wait(&mut hu), Woken::Idle(None));
        assert_eq!((hu.steps(), hu.reason()), (0, None));
        hu
    });
}
