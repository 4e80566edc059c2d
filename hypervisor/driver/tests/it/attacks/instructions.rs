//! Attacks with the instructions of DV-ext.

use dv::{Denied, Dv, Woken};
use isa::fields::{HSTATUS, HUSTATUS, SSTATUS};
use isa::{Csr, Exception, Format, Insn, Mode, Op};

use super::csrs::kernels;
use super::scene::*;
use crate::guest::*;

#[test]
pub(super) fn huret_with_spvp_alone_does_not_enter_the_kernel() {
    twice(|| {
        let mut scene = Scene::new();
        scene.set_csr(0, Csr::HUSTATUS, HUSTATUS::SPVP.mask()).unwrap();
        scene.set_csr(0, Csr::UEPC, HOST).unwrap();
        scene.huret(0).unwrap();
        assert_eq!(scene.mode(), Mode::Hu);
        scene.unpark(0);
        // There is no guest, so nobody has anything to do but the neighbour.
        assert_eq!(wait(&mut scene), Woken::Idle(None));
        assert_eq!((scene.steps(), scene.reason()), (0, None));
        let mut scene = Scene::new();
        scene.open_to_host();
        scene.set_x(0, A0, HUSTATUS::SPVP.mask());
        let code = [csrw(Csr::HUSTATUS, A0), csrw(Csr::UEPC, A1), Insn::new(Op::Huret)];
        assert_eq!(scene.run(Mode::Hu, &code), None);
        assert_eq!(scene.mode(), Mode::Hu);
        scene.unharmed()
    });
}

#[test]
pub(super) fn huret_in_the_guest_does_not_return() {
    for mode in [Mode::Vs, Mode::Vu] {
        let mut scene = Scene::new();
        // What a kernel of the guest would like: its own user code becomes VS.
        let status = HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask();
        scene.set_csr(0, Csr::HUSTATUS, status).unwrap();
        scene.set_csr(0, Csr::UEPC, GPA).unwrap();
        let trap = scene.run(mode, &[Insn::new(Op::Huret)]);
        assert_eq!(trap, Some((Mode::Hu, VIRTUAL)), "{mode}");
        scene.unharmed();
    }
}

#[test]
pub(super) fn huret_elsewhere_does_not_enter_the_guest() {
    for (mode, to) in [(Mode::U, Mode::Hs), (Mode::Hs, Mode::Hs), (Mode::M, Mode::M)] {
        let mut scene = Scene::new();
        scene.open_to_host();
        scene.kernel_sets(Csr::HUSTATUS, HUSTATUS::SPV.mask() | HUSTATUS::SPVP.mask());
        let trap = scene.run(mode, &[Insn::new(Op::Huret)]);
        assert_eq!(trap, Some((to, ILLEGAL)), "{mode}");
        assert!(HUSTATUS::SPV.is_set(scene.state(Csr::HUSTATUS)));
        scene.unharmed();
    }
}

const FENCES: [Op; 2] = [Op::HufenceGvma, Op::HufenceVvma];

#[test]
pub(super) fn a_guest_does_not_fence_for_its_vm_plane() {
    for mode in [Mode::Vs, Mode::Vu] {
        let mut scene = Scene::new();
        for op in FENCES {
            let trap = scene.run(mode, &[Insn::new(op)]);
            assert_eq!(trap, Some((Mode::Hu, VIRTUAL)), "{op:?} in {mode}");
        }
        scene.unharmed();
    }
}

#[test]
pub(super) fn nobody_but_hu_fences_as_hu() {
    let mut scene = Scene::new();
    scene.open_to_host();
    for (mode, to) in [(Mode::U, Mode::Hs), (Mode::Hs, Mode::Hs), (Mode::M, Mode::M)] {
        for op in FENCES {
            let trap = scene.run(mode, &[Insn::new(op)]);
            assert_eq!(trap, Some((to, ILLEGAL)), "{op:?} in {mode}");
        }
    }
    scene.unharmed();
}

/// Every load and store of guest memory, with `A1` as its address.
fn accesses() -> Vec<Insn> {
    let rows = isa::ROWS.iter();
    let guest = rows.filter(|row| matches!(row.fmt, Format::HLoad | Format::HStore));
    let insn = |row: &isa::Row| {
        let rd = if matches!(row.fmt, Format::HLoad) { A0 } else { 0 };
        let rs2 = if matches!(row.fmt, Format::HStore) { A0 } else { 0 };
        Insn { rd, rs1: A1, rs2, ..Insn::new(row.op) }
    };
    let all: Vec<Insn> = guest.map(insn).collect();
    assert_eq!(all.len(), 26);
    all
}

#[test]
pub(super) fn a_guest_does_not_access_its_memory_as_its_vm_plane() {
    for mode in [Mode::Vs, Mode::Vu] {
        let mut scene = Scene::new();
        scene.set_x(0, A1, GPA);
        for insn in accesses() {
            let trap = scene.run(mode, &[insn]);
            assert_eq!(trap, Some((Mode::Hu, VIRTUAL)), "{insn:?} in {mode}");
        }
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_thread_that_is_not_hu_does_not_access_guest_memory() {
    let mut scene = Scene::new();
    scene.open_to_host();
    scene.set_x(0, A1, GPA);
    for insn in accesses() {
        assert_eq!(scene.run(Mode::U, &[insn]), Some((Mode::Hs, ILLEGAL)), "{insn:?}");
    }
    scene.unharmed();
}

#[test]
pub(super) fn an_address_that_a_guest_made_up_does_not_trap_its_handler() {
    let mut scene = Scene::running(&[ecall()]);
    assert_eq!(trap(&mut scene, 0), 10);
    scene.open_to_host();
    let before = [Csr::UEPC, Csr::UCAUSE, Csr::UTVAL, Csr::USCRATCH].map(|csr| scene.state(csr));
    for address in [0, GPA + 0x100_0000, GPA + 0x1_0000, 1 << 45, u64::MAX - 3] {
        for insn in accesses() {
            scene.kernel_changes(Csr::HUSTATUS, |value| HUSTATUS::GLF.with(value, false));
            scene.set_x(0, A1, address);
            scene.set_x(0, A0, 0);
            let trap = scene.run(Mode::Hu, &[insn]);
            assert_eq!(trap, None, "{insn:?} at {address:#x}");
            let glf = HUSTATUS::GLF.is_set(scene.state(Csr::HUSTATUS));
            assert!(glf, "{insn:?} at {address:#x}");
        }
    }
    let after = [Csr::UEPC, Csr::UCAUSE, Csr::UTVAL, Csr::USCRATCH].map(|csr| scene.state(csr));
    assert_eq!(after, before);
    scene.unharmed();
}

#[test]
pub(super) fn the_vm_plane_is_no_deputy_of_the_guests_user() {
    let mut scene = Scene::new();
    scene.open_to_host();
    // VS-stage: one gigapage of the guest's kernel, and its user hands out a pointer into it.
    let root = scene.windows()[0].hpa + 0x4000;
    let kernels = GPA >> 12 << 10 | 0xcf;
    scene.write(root + 16, &kernels.to_le_bytes()).unwrap();
    scene.set_csr(0, Csr::HUVSATP, 8 << 60 | (GPA + 0x4000) >> 12).unwrap();
    scene.set_csr(0, Csr::HUVSSTATUS, SSTATUS::SUM.mask()).unwrap();
    // The kernel itself was last in a guest's VS.
    scene.kernel_changes(Csr::HSTATUS, |value| HSTATUS::SPVP.with(value, true));
    scene.set_csr(0, Csr::HUSTATUS, 0).unwrap();
    let mut bytes = [1; 8];
    assert!(scene.load(0, GPA + 0x1000, &mut bytes).is_err());
    assert_eq!(bytes, [0; 8]);
    assert!(scene.store(0, GPA + 0x1000, &[7; 8]).is_err());
    scene.set_csr(0, Csr::HUSTATUS, 0).unwrap();
    scene.set_x(0, A1, GPA + 0x1000);
    assert_eq!(scene.run(Mode::Hu, &[r(Op::HlvD, A0, A1, 0)]), None);
    assert!(HUSTATUS::GLF.is_set(scene.state(Csr::HUSTATUS)));
    // For the guest's kernel it is its own.
    scene.set_csr(0, Csr::HUSTATUS, HUSTATUS::SPVP.mask()).unwrap();
    assert!(scene.load(0, GPA + 0x1000, &mut bytes).is_ok());
    scene.unharmed();
}

#[test]
pub(super) fn the_vm_plane_does_not_act_for_a_vcpu_that_is_in_its_guest() {
    twice(|| {
        let tries: [Try<()>; 6] = [
            |scene, ()| scene.huret(0),
            |scene, ()| scene.csr(0, Csr::UEPC).map(|_| ()),
            |scene, ()| scene.set_csr(0, Csr::UEPC, GPA),
            |scene, ()| scene.load(0, GPA, &mut [0; 8]).map_err(|dv::GuestFault| Denied),
            |scene, ()| scene.store(0, GPA + 0x1000, &[7; 8]).map_err(|dv::GuestFault| Denied),
            |scene, ()| scene.fetch(0, GPA).map(|_| ()).map_err(|dv::GuestFault| Denied),
        ];
        for attempt in tries {
            let mut scene = Scene::running(&[forever()]);
            assert_eq!(scene.driver_calls(), 0);
            assert_eq!(attempt(&mut scene, ()), Err(Denied));
            stopped(&mut scene, Exception::VirtualInstruction.name());
            scene.unharmed();
        }
        Scene::new().unharmed()
    });
}

#[test]
pub(super) fn hu_executes_no_instruction_of_the_kernel() {
    let mut scene = Scene::new();
    scene.open_to_host();
    for insn in [wfi(), Insn::new(Op::Sret), Insn::new(Op::Mret), Insn::new(Op::HfenceGvma)] {
        assert_eq!(scene.run(Mode::Hu, &[insn]), Some((Mode::Hs, ILLEGAL)), "{insn:?}");
    }
    scene.unharmed();
}

/// Bits without an end, the same in every run.
fn bits() -> impl Iterator<Item = u64> {
    let next = |state: &u64| Some(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405));
    std::iter::successors(Some(SECRET), next).map(|state| state >> 32)
}

#[test]
pub(super) fn no_instruction_reaches_the_kernel_from_u_hu_vs_or_vu() {
    let mut scene = Scene::new();
    scene.open_code_to_host();
    let before = kernels(&scene);
    let index = scene.hart();
    let fresh = scene.driver().machine().harts()[index].clone();
    let mut bits = bits();
    let mut any = || bits.next().unwrap_or(0);
    for row in &isa::ROWS {
        for (mode, spvs) in [Mode::U, Mode::Hu, Mode::Vs, Mode::Vu].repeat(4).into_iter().zip(0..) {
            *scene.machine().hart_mut(index).0 = fresh.clone();
            // A wait of the guest is a trap, and huret leads to where it can.
            let status = HUSTATUS::VTW.mask() | (spvs >> 2) << HUSTATUS::SPV.lsb;
            scene.kernel_sets(Csr::HUSTATUS, status);
            for reg in 1..32 {
                // The attacker's memory in its guest, the host's in others.
                scene.set_x(0, reg, GPA + (any() & 0xffff));
            }
            #[expect(clippy::cast_possible_truncation, reason = "32 bits of many")]
            let word = row.value | any() as u32 & !row.mask;
            let trap = scene.run_words(mode, &[word]);
            let what = format!("{} ({word:#010x}) in {mode}: {trap:?}", row.mnemonic);
            let now = scene.mode();
            let allowed = match (trap, mode) {
                (Some((to, _)), _) => to != Mode::M,
                (None, Mode::U | Mode::Vu) => now == mode,
                (None, Mode::Vs) => now.is_virtual(),
                (None, _) => now == Mode::Hu || now.is_virtual(),
            };
            assert!(allowed, "{what}, now in {now}");
            assert!(kernels(&scene) == before, "{what}");
        }
    }
    scene.unharmed();
}
