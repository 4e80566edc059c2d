//! Each numbered check of the DV-ext chapter is taken away in turn, and the attacks succeed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use hart::checks::without;
use isa::Check;

use crate::attacks::{ATTACKS, Attack};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether the attack's test fails. What it says about it is nobody's concern.
fn fails(attack: &Attack) -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let failed = catch_unwind(AssertUnwindSafe(attack.run)).is_err();
    QUIET.set(false);
    failed
}

#[test]
#[expect(clippy::print_stdout, reason = "what was counted is what the test is about")]
fn each_check_that_is_taken_away_is_missed() {
    let mut unnoticed = Vec::new();
    let mut wrong = Vec::new();
    for check in Check::ALL {
        let attacks = ATTACKS.iter().filter(|attack| attack.held_by.contains(check));
        let (noticed, held): (Vec<&Attack>, Vec<&Attack>) =
            attacks.partition(|attack| without(*check, || fails(attack)));
        if noticed.is_empty() {
            unnoticed.push(format!("{} {check:?}: {}", check.number(), check.rule()));
        }
        wrong.extend(held.iter().map(|attack| format!("{} without {check:?}", attack.name)));
    }
    let n = Check::ALL.len();
    println!("{n} checks, {} noticed", n - unnoticed.len());
    assert!(unnoticed.is_empty(), "nobody misses\n{}", unnoticed.join("\n"));
    assert!(wrong.is_empty(), "fails as if nothing were missing:\n{}", wrong.join("\n"));
}
