//! Attacks on memory: foreign addresses in tables, foreign tables, and what windows bind.

use dv::{Dv, Window, Woken};
use isa::fields::{HGATP, HUSTATUS, PMPCFG};
use isa::{Csr, Exception, Mode, Op};

use super::scene::*;
use crate::guest::*;

/// An access of each kind.
const ACCESSES: [Op; 10] = [
    Op::Lb,
    Op::Ld,
    Op::Fld,
    Op::Sb,
    Op::Sd,
    Op::AmoaddD,
    Op::LrD,
    Op::CboZero,
    Op::CboInval,
    Op::Jalr,
];

/// Each access to this address stops the VM and moves nothing.
fn stops_all(hpa: impl Fn(&Scene) -> u64) {
    let at = hpa(&Scene::new());
    for op in ACCESSES {
        twice(|| {
            let mut scene = Scene::reaching(at, op);
            stopped(&mut scene, "access fault at 0x80003000: outside of the VM's windows");
            let held = (scene.x(0, A0), scene.f(0, A0));
            assert_eq!(held, (0, 0), "{op:?}");
            scene.unharmed()
        });
    }
}

#[test]
pub(super) fn a_leaf_that_names_a_neighbours_page_stops_the_vm() {
    stops_all(Scene::their_page);
}

#[test]
pub(super) fn a_leaf_that_names_a_neighbours_table_stops_the_vm() {
    stops_all(|scene| scene.theirs[1].hpa + LEAVES);
}

#[test]
pub(super) fn a_leaf_that_names_the_hosts_memory_stops_the_vm() {
    stops_all(|_| HOST);
}

#[test]
pub(super) fn a_leaf_that_names_no_memory_stops_the_vm() {
    for hpa in [0, 0x10_0000, 0x1000_0000, HOST - 4096, HOST + (16 << 20), (1 << 56) - 4096] {
        twice(|| {
            let mut scene = Scene::reaching(hpa, Op::Ld);
            stopped(&mut scene, "outside of the VM's windows");
            scene.unharmed()
        });
    }
}

#[test]
pub(super) fn a_gigapage_over_all_of_memory_opens_only_the_windows() {
    let (host, theirs) = (HOST, Scene::new().their_page());
    for hpa in [host, theirs] {
        twice(|| {
            let mut scene = Scene::new();
            let windows = scene.windows().to_vec();
            scene.write(windows[1].hpa + 8 * (GPA >> 30), &leaf(HOST).to_le_bytes()).unwrap();
            let page = |hpa: u64| ((hpa - HOST) >> 12).cast_signed();
            let mut code = page_address(A1, page(windows[0].hpa)).to_vec();
            code.extend([i(Op::Ld, A0, A1, 0), ecall()]);
            code.extend(page_address(A1, page(hpa)));
            code.extend([i(Op::Ld, A0, A1, 0), ecall()]);
            program(&mut scene, 0, &code);
            enter(&mut scene, 0, windows[0].hpa - HOST);
            assert_eq!(trap(&mut scene, 0), 10);
            let own = scene.x(0, A0);
            assert_ne!(own, 0);
            skip(&mut scene, 0);
            stopped(&mut scene, "load access fault");
            assert_eq!(scene.x(0, A0), own);
            scene.unharmed()
        });
    }
}

#[test]
pub(super) fn an_access_across_the_end_of_a_window_moves_nothing() {
    for op in [Op::Sd, Op::Ld] {
        twice(|| {
            let mut scene = Scene::reaching(HOST, op);
            let (ram, theirs) = (scene.windows()[0].hpa, scene.their_page());
            map(&mut scene, 3, leaf(ram + 0x3000));
            map(&mut scene, 4, leaf(theirs));
            let mut code = page_address(A1, 3).to_vec();
            code.extend([addi(A0, 0, -1), isa::Insn { imm: 0x7fc, ..accessing(op) }, ecall()]);
            // The address is that of the page's last word.
            code.insert(4, addi(A1, A1, 0x400));
            code.insert(5, addi(A1, A1, 0x400));
            program(&mut scene, 0, &code);
            stopped(&mut scene, "outside of the VM's windows");
            assert_eq!(word(&scene, ram + 0x3ff8), 0);
            assert_eq!(scene.x(0, A0), u64::MAX);
            scene.unharmed()
        });
    }
}

#[test]
pub(super) fn an_instruction_across_the_end_of_a_window_is_not_executed() {
    twice(|| {
        let mut scene = Scene::new();
        let theirs = scene.their_page();
        map(&mut scene, 4, leaf(theirs));
        // The first half says that there is a second one.
        let at = scene.windows()[0].hpa + 0x3ffe;
        scene.write(at, &[0x13, 0x05]).unwrap();
        enter(&mut scene, 0, 0x3ffe);
        stopped(&mut scene, "instruction access fault");
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_table_of_the_host_or_of_a_neighbour_is_not_walked() {
    let theirs = Scene::new().theirs[0].hpa + 0x6000;
    for table in [HOST + 0x2000, theirs] {
        twice(|| {
            let mut scene = Scene::new();
            let (ram, pool) = (scene.windows()[0].hpa, scene.windows()[1].hpa);
            // Its entries lead to the attacker's own memory: only that they are read is wrong.
            plant(&mut scene, table, &leaf(ram).to_le_bytes());
            scene.write(pool + 0x4000, &(table >> 12 << 10 | 1).to_le_bytes()).unwrap();
            scene.begin(&[ecall()]);
            stopped(&mut scene, "instruction access fault at 0x80000000");
            assert_eq!(word(&scene, table), leaf(ram));
            scene.unharmed()
        });
    }
}

#[test]
pub(super) fn a_guests_own_table_outside_is_not_walked() {
    twice(|| {
        let mut scene = Scene::new();
        let table = HOST + 0x2000;
        plant(&mut scene, table + 16, &(GPA >> 12 << 10 | 0xcf).to_le_bytes());
        map(&mut scene, 3, leaf(table));
        scene.set_csr(0, Csr::HUVSATP, 8 << 60 | (GPA + 0x3000) >> 12).unwrap();
        scene.begin(&[ecall()]);
        stopped(&mut scene, "instruction access fault at 0x80000000");
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_and_d_are_not_set_where_a_window_is_read_only() {
    let bits = 0xc0;
    for (window, cause) in [(1, Exception::LoadAccessFault), (0, Exception::InstructionAccessFault)]
    {
        let mut scene = Scene::new();
        let (ram, pool) = (scene.windows()[0].hpa, scene.windows()[1].hpa);
        // An entry of the G-stage in the pool, one of the VS-stage in RAM.
        let entry = if window == 1 { pool + LEAVES + 8 * 3 } else { ram + 0x4000 + 16 };
        if window == 1 {
            scene.write(entry, &(leaf(ram + 0x3000) & !bits).to_le_bytes()).unwrap();
        } else {
            scene.write(entry, &(GPA >> 12 << 10 | 0xf).to_le_bytes()).unwrap();
            scene.set_csr(0, Csr::HUVSATP, 8 << 60 | (GPA + 0x4000) >> 12).unwrap();
        }
        let before = word(&scene, entry);
        let code = [i(Op::Ld, A0, A1, 0)];
        scene.set_x(0, A1, GPA + 0x3000);
        scene.kernel_changes(Csr::PMPCFG0, |cfg| {
            cfg & !(PMPCFG::W.mask() << (8 * (2 * window + 1)))
        });
        assert_eq!(scene.run(Mode::Vs, &code), Some((Mode::Hs, cause.into())));
        assert_eq!(word(&scene, entry), before);
        scene.unharmed();
    }
}

#[test]
pub(super) fn the_loads_and_stores_of_hu_stay_in_the_windows() {
    twice(|| {
        let mut scene = Scene::running(&[ecall()]);
        assert_eq!(trap(&mut scene, 0), 10);
        scene.open_to_host();
        for hpa in [HOST, scene.their_page(), scene.theirs[1].hpa + POOL - 4096, 0x1000_0000] {
            map(&mut scene, 3, leaf(hpa));
            let mut word = [1; 8];
            assert!(scene.load(0, GPA + 0x3000, &mut word).is_err());
            assert_eq!(word, [0; 8]);
            assert!(scene.store(0, GPA + 0x3000, &[7; 8]).is_err());
            assert!(scene.fetch(0, GPA + 0x3000).is_err());
            // Half of it inside.
            assert!(scene.store(0, GPA + 0x2ffc, &[7; 8]).is_err());
            assert!(scene.load(0, GPA + 0x2ffc, &mut word).is_err());
            scene.set_x(0, A1, GPA + 0x3000);
            for insn in [r(Op::HlvD, A0, A1, 0), r(Op::HlvxWu, A0, A1, 0), r(Op::HsvB, 0, A1, A0)] {
                scene.kernel_changes(Csr::HUSTATUS, |value| HUSTATUS::GLF.with(value, false));
                assert_eq!(scene.run(Mode::Hu, &[insn]), None);
                assert!(HUSTATUS::GLF.is_set(scene.state(Csr::HUSTATUS)), "{insn:?}");
                assert_eq!(scene.x(0, A0), 0);
            }
        }
        assert_eq!(scene.reason(), None);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_guest_that_edits_its_own_table_stays_in_its_windows() {
    twice(|| {
        let mut scene = Scene::new();
        let (pool, theirs) = (scene.windows()[1].hpa, scene.their_page());
        map(&mut scene, 3, leaf(pool + LEAVES));
        // The leaf of a page that it has read through before.
        let mut code = page_address(13, 5).to_vec();
        code.push(i(Op::Ld, 14, 13, 0));
        code.extend(page_address(A1, 3));
        let store = isa::Insn { rs1: A1, rs2: A0, imm: 8 * 5, ..isa::Insn::new(Op::Sd) };
        code.extend([ecall(), store, i(Op::Ld, 14, 13, 0), ecall()]);
        scene.begin(&code);
        assert_eq!(trap(&mut scene, 0), 10);
        scene.set_x(0, A0, leaf(theirs));
        skip(&mut scene, 0);
        stopped(&mut scene, "load access fault at 0x80005000");
        assert_eq!(scene.x(0, 14), 0);
        scene.unharmed()
    });
}

#[test]
pub(super) fn a_window_gives_no_more_than_its_rights() {
    let mut scene = Scene::new();
    scene.set_x(0, A1, GPA + 0x3000);
    let store = [accessing(Op::Sd)];
    assert_eq!(scene.run(Mode::Vs, &store), None);
    for (right, op, cause) in [
        (PMPCFG::W, Op::Sd, Exception::StoreAccessFault),
        (PMPCFG::X, Op::Ld, Exception::InstructionAccessFault),
    ] {
        let before = scene.state(Csr::PMPCFG0);
        scene.kernel_sets(Csr::PMPCFG0, before & !(right.mask() << 8));
        assert_eq!(scene.run(Mode::Vs, &[accessing(op)]), Some((Mode::Hs, cause.into())));
        scene.kernel_sets(Csr::PMPCFG0, before);
    }
    scene.unharmed();
}

#[test]
pub(super) fn code_in_the_pool_of_tables_is_not_executed() {
    twice(|| {
        let pool = Scene::new().windows()[1].hpa + 0x8000;
        let mut scene = Scene::reaching(pool, Op::Jalr);
        scene.write(pool, &assemble(&[ecall()])).unwrap();
        stopped(&mut scene, "instruction access fault at 0x80003000");
        scene.unharmed()
    });
}

#[test]
pub(super) fn windows_bind_nobody_but_the_guest() {
    // The host's programs execute where the guest may not, if the host lets them.
    let nop = assemble(&[addi(0, 0, 0)]);
    for mode in [Mode::Hu, Mode::U, Mode::Hs, Mode::M] {
        let mut scene = Scene::new();
        scene.open_to_host();
        let at = scene.windows()[1].hpa + 0x8000;
        scene.write(at, &nop).unwrap();
        assert_eq!(scene.run_at(mode, at, 1), None, "{mode}");
        scene.unharmed();
    }
    // And the windows of a guest are no right of the host's programs.
    for mode in [Mode::Hu, Mode::U, Mode::Hs] {
        let mut scene = Scene::new();
        let at = scene.windows()[0].hpa + 0x8000;
        scene.write(at, &nop).unwrap();
        let fault = Some((Mode::Hs, Exception::InstructionAccessFault.into()));
        assert_eq!(scene.run_at(mode, at, 1), fault, "{mode}");
        scene.unharmed();
    }
}

#[test]
pub(super) fn what_the_host_may_reach_the_guest_may_not() {
    for op in [Op::Ld, Op::Sd, Op::Jalr] {
        let mut scene = Scene::reaching(HOST, op);
        scene.open_to_host();
        stopped(&mut scene, "outside of the VM's windows");
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_guest_of_hu_is_not_translated_by_the_kernels_root() {
    twice(|| {
        let mut scene = Scene::running(&[ecall()]);
        let hugatp = scene.state(Csr::HUGATP);
        let theirs = scene.theirs[1].hpa;
        // The kernel's own guest is the neighbour, so to speak; and then there is none.
        scene.kernel_sets(Csr::HGATP, HGATP::PPN.set(hugatp, theirs >> 12));
        assert_eq!(trap(&mut scene, 0), 10);
        scene.kernel_sets(Csr::HGATP, 0);
        assert!(scene.load(0, HOST, &mut [0; 8]).is_ok(), "GPA and not HPA");
        assert_eq!(scene.fetch(0, GPA), Ok(0x73));
        scene.unharmed()
    });
}

/// Addresses with eight bytes that are not wholly in a window of the attacker's.
fn foreign(scene: &Scene) -> Vec<u64> {
    let edges = |window: &Window| [window.hpa - 1, window.hpa + window.size - 7];
    let mut all: Vec<u64> = scene.windows().iter().flat_map(edges).collect();
    all.extend([0, HOST, scene.their_page(), scene.theirs[1].hpa, u64::MAX - 3, u64::MAX - 7]);
    all
}

#[test]
pub(super) fn a_vm_plane_reads_nothing_outside_of_its_windows() {
    for hpa in foreign(&Scene::new()) {
        let mut scene = Scene::new();
        let mut bytes = [1; 8];
        assert!(scene.read(hpa, &mut bytes).is_err(), "{hpa:#x}");
        assert_eq!(bytes, [1; 8]);
        stopped(&mut scene, "outside of the VM's windows");
        scene.unharmed();
    }
}

#[test]
pub(super) fn a_vm_plane_and_its_devices_write_nothing_outside_of_its_windows() {
    for hpa in foreign(&Scene::new()) {
        for dma in [false, true] {
            let mut scene = Scene::new();
            let before = scene.windows().iter().map(|window| window.hpa).max().unwrap_or(0);
            let bytes = [0xee; 8];
            let written = if dma { scene.dma(hpa, &bytes) } else { scene.write(hpa, &bytes) };
            assert!(written.is_err(), "{hpa:#x}");
            assert_ne!(word(&scene, before), u64::from_le_bytes(bytes));
            stopped(&mut scene, "outside of the VM's windows");
            scene.unharmed();
        }
    }
}

#[test]
pub(super) fn a_request_of_a_length_that_overflows_is_refused() {
    let mut scene = Scene::new();
    let window = scene.windows()[0];
    let mut all = vec![0; usize::try_from(window.size).unwrap()];
    assert!(scene.read(window.hpa, &mut all).is_ok());
    all.push(0);
    assert!(scene.read(window.hpa, &mut all).is_err());
    assert_eq!(wait(&mut scene), Woken::Killed);
    scene.unharmed();
}
