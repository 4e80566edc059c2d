//! The list itself, and what is said of hosts that lack something.

use std::collections::BTreeSet;

use landlock::{ABI, LandlockStatus, RulesetStatus};

use crate::list::{CALLS, Call, DYING, NEVER, NEVER_OLD, SPARED, Uses, allowed};
use crate::{Disk, Lack, Plan, Ui, enforced, filter};

/// Most system calls that are left while a guest runs.
const MOST: usize = 20;

fn plans() -> impl Iterator<Item = Plan> {
    [Ui::Headless, Ui::Terminal].into_iter().flat_map(|ui| {
        [Disk::None, Disk::Read, Disk::Write].into_iter().map(move |disk| Plan {
            ui,
            disk,
            records: false,
        })
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "the list is there to be read")]
fn no_run_is_left_more_than_twenty_calls() {
    for plan in plans() {
        let names: Vec<&str> = allowed(plan).iter().map(|call| call.name).collect();
        println!("{:?}, disk {:?}: {} calls: {}", plan.ui, plan.disk, names.len(), names.join(" "));
        assert!(names.len() <= MOST, "{plan:?}: {names:?}");
    }
}

fn numbers(calls: &[Call]) -> BTreeSet<i64> {
    calls.iter().map(|call| call.number).collect()
}

#[test]
fn a_call_stands_in_one_row() {
    for table in [CALLS, SPARED, NEVER, NEVER_OLD, DYING] {
        assert_eq!(numbers(table).len(), table.len(), "{table:?}");
    }
    assert!(numbers(CALLS).is_disjoint(&numbers(SPARED)));
    assert!(numbers(CALLS).is_disjoint(&numbers(DYING)));
    // What is allowed and never made are different uses of one call.
    for never in NEVER.iter().chain(NEVER_OLD) {
        let allowed = CALLS.iter().find(|call| call.number == never.number);
        assert!(allowed.is_none_or(|call| call.uses != Uses::All), "{}", never.name);
    }
}

#[test]
fn every_filter_can_be_made_here() {
    for plan in plans() {
        filter::never(plan.ui).unwrap();
        filter::closed(plan).unwrap();
    }
    filter::dying().unwrap();
}

#[test]
fn a_host_without_landlock_says_why() {
    let not = RulesetStatus::NotEnforced;
    let said = |landlock| Lack::Landlock(enforced(&not, &landlock).unwrap_err()).to_string();
    assert_eq!(
        said(LandlockStatus::NotImplemented),
        "this host has no Landlock (the kernel is older than Linux 5.13, or built without it): \
         the run goes on without it"
    );
    assert_eq!(
        said(LandlockStatus::NotEnabled),
        "this host has no Landlock (not in the kernel's list of security modules, `lsm=`): \
         the run goes on without it"
    );
}

#[test]
fn an_older_landlock_is_no_news() {
    let old = LandlockStatus::Available { effective_abi: ABI::V1, kernel_abi: None };
    assert_eq!(enforced(&RulesetStatus::PartiallyEnforced, &old), Ok(()));
    assert_eq!(enforced(&RulesetStatus::FullyEnforced, &old), Ok(()));
}

#[test]
fn a_host_without_filters_says_so() {
    assert_eq!(
        Lack::Seccomp("Function not implemented".to_owned()).to_string(),
        "this host takes no seccomp filter (Function not implemented): the run goes on with all \
         system calls"
    );
}
