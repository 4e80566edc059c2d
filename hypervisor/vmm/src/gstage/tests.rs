//! Tests of the gstage module: facts one by one, then random ones against a naive model.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::testing::{FakeDv, POOL_BYTES};

fn table(pool: u64) -> (FakeDv, GStage) {
    let mut dv = FakeDv::new(1, ROOT_BYTES, pool);
    let hugatp = dv.csr(0, isa::Csr::HUGATP).unwrap();
    let gstage = GStage::new(hugatp, dv.windows()[1]).unwrap();
    (dv, gstage)
}

#[test]
fn another_root_than_the_window_is_refused() {
    let (dv, _) = table(POOL_BYTES);
    let window = dv.windows()[1];
    let root = HGATP::MODE.set(HGATP::PPN.set(0, window.hpa / PAGE), atp_mode::SV39);
    assert!(GStage::new(root, window).is_some());
    assert!(GStage::new(HGATP::MODE.set(root, 0), window).is_none());
    assert!(GStage::new(root + 1, window).is_none());
    for (mode, levels) in [(atp_mode::SV48, 4), (atp_mode::SV57, 5)] {
        assert_eq!(GStage::new(HGATP::MODE.set(root, mode), window).unwrap().levels, levels);
    }
}

#[test]
fn a_leaf_must_be_aligned_and_within_reach() {
    let (mut dv, mut gstage) = table(POOL_BYTES);
    for (gpa, hpa, leaf) in [
        (0x1000, 0, Leaf::Mega),
        (0, 0x1000, Leaf::Mega),
        (2 << 20, 0, Leaf::Giga),
        (1 << 41, 0, Leaf::Page),
    ] {
        assert_eq!(gstage.map(&mut dv, gpa, hpa, leaf, Rights::ALL), Err(MapError::Address));
    }
    assert_eq!(gstage.mapped(), 0);
}

#[test]
fn a_dry_pool_calls_the_driver_and_may_be_refused() {
    // Root and two tables: one 4 KiB leaf fits.
    let (mut dv, mut gstage) = table(ROOT_BYTES + 2 * PAGE);
    gstage.map(&mut dv, 0, 0, Leaf::Page, Rights::ALL).unwrap();
    let far = 1 << 31;
    assert_eq!(gstage.map(&mut dv, far, 0, Leaf::Page, Rights::ALL), Err(MapError::Denied));
    dv.growth = 1;
    gstage.map(&mut dv, far, 0, Leaf::Page, Rights::READ).unwrap();
    assert_eq!(dv.driver_calls(), 1);
    // Tables from a grown window are zeroed before use: nothing else is mapped.
    let mut leaves = Vec::new();
    gstage.walk(&dv, &mut |leaf| leaves.push(leaf.gpa)).unwrap();
    assert_eq!(leaves, [0, far]);
}

#[test]
fn what_is_unmapped_gives_its_tables_back() {
    let (mut dv, mut gstage) = table(ROOT_BYTES + 2 * PAGE);
    for round in 0..10u64 {
        let gpa = round << 30;
        gstage.map(&mut dv, gpa, 0, Leaf::Page, Rights::ALL).unwrap();
        gstage.unmap(&mut dv, gpa, PAGE).unwrap();
    }
    assert_eq!(gstage.mapped(), 0);
    gstage.map(&mut dv, 0, 0, Leaf::Mega, Rights::ALL).unwrap();
    gstage.clear(&mut dv).unwrap();
    assert_eq!(gstage.lookup(&dv, 0), Ok(None));
    gstage.map(&mut dv, 0, 0, Leaf::Page, Rights::ALL).unwrap();
}

/// The naive model: every 4 KiB page with its physical page and rights.
type Pages = BTreeMap<u64, (u64, Rights)>;

#[derive(Clone, Debug)]
enum Action {
    Map(u64, u64, Leaf, Rights),
    Unmap(u64, u64),
    Protect(u64, u64, Rights),
}

/// Addresses cluster at the border of two 1 GiB entries, so that actions meet.
fn action() -> impl Strategy<Value = Action> {
    let page = (0u64..2000).prop_map(|page| (1 << 30) - 1000 * PAGE + page * PAGE);
    let rights = prop_oneof![Just(Rights::ALL), Just(Rights::READ), Just(Rights::READ_EXECUTE)];
    let leaf = prop_oneof![6 => Just(Leaf::Page), 6 => Just(Leaf::Mega), 1 => Just(Leaf::Giga)];
    let range = (page.clone(), 1u64..700);
    prop_oneof![
        (page, 0u64..16, leaf, rights.clone()).prop_map(|(gpa, hpa, leaf, rights)| {
            let align = |addr: u64| addr & !(leaf.bytes() - 1);
            Action::Map(align(gpa), align(hpa << 29), leaf, rights)
        }),
        range.clone().prop_map(|(gpa, pages)| Action::Unmap(gpa, pages * PAGE)),
        (range, rights).prop_map(|((gpa, n), rights)| Action::Protect(gpa, n * PAGE, rights)),
    ]
}

/// Does the same to the model; true if it should have worked.
fn model(pages: &mut Pages, action: &Action) -> bool {
    match *action {
        Action::Map(gpa, hpa, leaf, rights) => {
            let range = gpa..gpa + leaf.bytes();
            let free = pages.range(range.clone()).next().is_none();
            if free {
                for at in range.step_by(4096) {
                    pages.insert(at, (hpa + (at - gpa), rights));
                }
            }
            free
        }
        Action::Unmap(gpa, len) => {
            pages.retain(|page, _| *page < gpa || *page >= gpa + len);
            true
        }
        Action::Protect(gpa, len, rights) => {
            for (_, page) in pages.range_mut(gpa..gpa + len) {
                page.1 = rights;
            }
            true
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_table_maps_what_a_naive_list_maps(actions in prop::collection::vec(action(), 1..24)) {
        let (mut dv, mut gstage) = table(POOL_BYTES);
        dv.growth = 100;
        let mut pages = Pages::new();
        for action in &actions {
            let done = match *action {
                Action::Map(gpa, hpa, leaf, rights) => {
                    gstage.map(&mut dv, gpa, hpa, leaf, rights)
                }
                Action::Unmap(gpa, len) => gstage.unmap(&mut dv, gpa, len),
                Action::Protect(gpa, len, rights) => gstage.protect(&mut dv, gpa, len, rights),
            };
            // An empty table in the way of a larger leaf is taken away as it empties, so that the
            // two always agree.
            prop_assert_eq!(done.is_ok(), model(&mut pages, action), "{:?} {:?}", action, done);
        }
        prop_assert_eq!(gstage.mapped(), pages.len() as u64 * PAGE);
        let mut walked = Pages::new();
        gstage.walk(&dv, &mut |leaf: Mapping| {
            for at in (0..leaf.size).step_by(4096) {
                walked.insert(leaf.gpa + at, (leaf.hpa + at, leaf.rights));
            }
        }).unwrap();
        prop_assert!(walked == pages, "the walk differs from the list");
        for (gpa, (hpa, rights)) in pages.iter().step_by(97) {
            let leaf = gstage.lookup(&dv, gpa + 7).unwrap().unwrap();
            prop_assert_eq!((leaf.hpa + (gpa - leaf.gpa), leaf.rights), (*hpa, *rights));
        }
    }
}

/// The state of a table, apart from the memory that it is in.
struct Kept<'a>(&'a mut GStage, &'a FakeDv);

impl state::State for Kept<'_> {
    fn state(&mut self, codec: &mut state::Codec<'_>) -> Result<(), state::Damaged> {
        self.0.state(codec, self.1)
    }
}

#[test]
fn memory_that_is_no_table_is_not_loaded() {
    let (mut dv, mut gstage) = table(POOL_BYTES);
    for gpa in [0, 1 << 21, 1 << 31] {
        gstage.map(&mut dv, gpa, 0, Leaf::Page, Rights::ALL).unwrap();
    }
    gstage.map(&mut dv, 3 << 30, 0, Leaf::Giga, Rights::ALL).unwrap();
    gstage.unmap(&mut dv, 1 << 21, PAGE).unwrap();
    let saved = state::save(&mut Kept(&mut gstage, &dv));
    let (root, mapped) = (gstage.root, gstage.mapped());
    let free = gstage.pool.free()[0];
    let load = |dv: &FakeDv| {
        let (_, mut fresh) = table(POOL_BYTES);
        state::load(&mut Kept(&mut fresh, dv), &saved).map(|()| fresh.mapped())
    };
    assert_eq!(load(&dv), Ok(mapped), "what is mapped follows from the table");
    let first = PTE::PPN.get(read(&dv, root).unwrap()) * PAGE;
    let last = PTE::PPN.get(read(&dv, first).unwrap()) * PAGE;
    let pool_end = dv.windows()[1].hpa + POOL_BYTES;
    for (at, pte) in [
        (root + 8, table_pte(root)),
        (root + 8, table_pte(first)),
        (root + 8, table_pte(free)),
        (root + 8, table_pte(pool_end - PAGE)),
        (root + 8, table_pte(0)),
        (last + 8, table_pte(last)),
        (last + 8, table_pte(free)),
    ] {
        let before = read(&dv, at).unwrap();
        write(&mut dv, at, pte).unwrap();
        assert!(load(&dv).is_err(), "{pte:#x} at {at:#x}");
        write(&mut dv, at, before).unwrap();
    }
    assert_eq!(load(&dv), Ok(mapped));
    for at in 0..saved.len() {
        assert!(state::load(&mut Kept(&mut gstage, &dv), &saved[..at]).is_err());
    }
}
