//! Attacks with what was translated before.

use dv::Dv;
use isa::fields::{HSTATUS, PMPCFG};
use isa::{Csr, Exception, Mode, Op};

use super::scene::*;
use crate::guest::*;

/// A guest that has read through a window of its own, the third one, and does so again.
fn with_window() -> (Scene, u64) {
    let mut scene = Scene::new();
    let window = scene.grow(4096).unwrap();
    map(&mut scene, 3, leaf(window.hpa));
    scene.write(window.hpa, &0x1234_u64.to_le_bytes()).unwrap();
    let mut code = page_address(A1, 3).to_vec();
    code.extend([i(Op::Ld, A0, A1, 0), ecall(), addi(A0, 0, 0), i(Op::Ld, A0, A1, 0), ecall()]);
    scene.begin(&code);
    assert_eq!(trap(&mut scene, 0), 10);
    assert_eq!(scene.x(0, A0), 0x1234);
    (scene, window.hpa)
}

/// The third window's entry.
const ENTRY: u16 = 5;

#[test]
pub(super) fn a_window_that_is_turned_off_while_mapped_is_closed_at_once() {
    twice(|| {
        let (mut scene, _) = with_window();
        scene.kernel_changes(Csr::PMPCFG0, |cfg| cfg & !(PMPCFG::A.mask() << (8 * ENTRY)));
        skip(&mut scene, 0);
        stopped(&mut scene, "load access fault at 0x80003000");
        assert_eq!(scene.x(0, A0), 0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_window_that_is_moved_while_mapped_is_closed_at_once() {
    twice(|| {
        let (mut scene, hpa) = with_window();
        scene.kernel_sets(Csr(Csr::PMPADDR0.0 + ENTRY), hpa >> 2);
        skip(&mut scene, 0);
        stopped(&mut scene, "load access fault at 0x80003000");
        assert_eq!(scene.x(0, A0), 0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_window_that_is_closed_is_closed_to_guest_loads_of_hu() {
    let (mut scene, _) = with_window();
    assert!(scene.load(0, GPA + 0x3000, &mut [0; 8]).is_ok());
    scene.kernel_changes(Csr::PMPCFG0, |cfg| cfg & !(PMPCFG::A.mask() << (8 * ENTRY)));
    assert!(scene.load(0, GPA + 0x3000, &mut [0; 8]).is_err());
    assert!(scene.store(0, GPA + 0x3000, &[0; 8]).is_err());
    scene.unharmed();
}

#[test]
pub(super) fn a_page_that_is_taken_back_is_gone_without_a_fence() {
    twice(|| {
        let (mut scene, _) = with_window();
        map(&mut scene, 3, 0);
        skip(&mut scene, 0);
        assert_eq!(trap(&mut scene, 0), Exception::LoadGuestPageFault.code());
        let theirs = scene.their_page();
        map(&mut scene, 3, leaf(theirs));
        scene.huret(0).unwrap();
        stopped(&mut scene, "load access fault at 0x80003000");
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_window_follows_the_vm_to_all_its_harts_and_no_other() {
    twice(|| {
        let (mut scene, hpa) = with_window();
        enter(&mut scene, 1, 0);
        assert_eq!(trap(&mut scene, 1), 10);
        assert_eq!(scene.x(1, A0), 0x1234);
        for hart in 0..5 {
            let csr = |n| scene.driver().machine().harts()[hart].csr(Csr(n)).unwrap();
            let address = |n| csr(Csr::PMPADDR0.0 + n) << 2;
            let open = (1..16).any(|n| (address(n - 1)..address(n)).contains(&hpa));
            assert_eq!(open, hart >= 3, "hart {hart}");
        }
        scene.unharmed()
    });
}

#[test]
pub(super) fn what_one_vm_translated_is_not_used_for_the_next_on_its_hart() {
    let mut scene = Scene::new();
    let theirs = scene.theirs.clone();
    // A kernel that switches roots, and whose windows are those of both.
    for (window, entry) in theirs.iter().zip([9, 11]) {
        scene.kernel_sets(Csr(Csr::PMPADDR0.0 + entry - 1), window.hpa >> 2);
        scene.kernel_sets(Csr(Csr::PMPADDR0.0 + entry), (window.hpa + window.size) >> 2);
        scene.kernel_changes(Csr(Csr::PMPCFG0.0 + 2), |cfg| cfg | 0x2f << (8 * (entry - 8)));
    }
    let code = [i(Op::Ld, A0, A1, 0)];
    plant(&mut scene, theirs[0].hpa + 0xc000, &assemble(&code));
    plant(&mut scene, theirs[0].hpa + 0x1000, &2u64.to_le_bytes());
    let own = scene.windows()[0].hpa + 0x1000;
    scene.write(own, &1u64.to_le_bytes()).unwrap();
    scene.set_x(0, A1, GPA + 0x1000);
    let roots = [(2, scene.windows()[1].hpa), (1, theirs[1].hpa), (2, scene.windows()[1].hpa)];
    for ((vmid, root), value) in roots.into_iter().zip([1, 2, 1]) {
        scene.kernel_sets(Csr::H_VMID, vmid);
        scene.kernel_sets(Csr::HUGATP, 8 << 60 | root >> 12);
        assert_eq!(scene.state(Csr::HUGATP), 8 << 60 | vmid << 44 | root >> 12);
        scene.set_x(0, A0, 0);
        assert_eq!(scene.run(Mode::Vs, &code), None);
        assert_eq!(scene.x(0, A0), value, "VM {vmid}");
    }
    scene.unharmed();
}

#[test]
pub(super) fn what_a_guest_of_the_kernel_reached_a_guest_of_hu_does_not() {
    let mut scene = Scene::new();
    scene.open_to_host();
    let theirs = scene.their_page();
    map(&mut scene, 3, leaf(theirs));
    scene.set_x(0, A1, GPA + 0x3000);
    // The kernel's guest has the same table, and the kernel's rights.
    let root = scene.state(Csr::HUGATP);
    scene.kernel_sets(Csr::HGATP, root);
    scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, false));
    let code = [i(Op::Ld, A0, A1, 0)];
    assert_eq!(scene.run(Mode::Vs, &code), None);
    assert_eq!(scene.x(0, A0), SECRET);
    scene.set_x(0, A0, 0);
    scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::HU.with(value, true));
    let fault = Some((Mode::Hs, Exception::LoadAccessFault.into()));
    assert_eq!(scene.run(Mode::Vs, &code), fault);
    assert_eq!(scene.x(0, A0), 0);
    scene.unharmed();
}
