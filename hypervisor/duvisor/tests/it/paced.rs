//! A run that waits on the host where the guest waits is the run that does not.

use crate::program::{duvisor, scratch_with};

/// The digests of a run with these arguments, paced and not.
#[track_caller]
fn same_paced(guest: &str, code: i32, args: &[&str]) {
    let mut paced = vec!["run", guest, "--headless", "--digest"];
    paced.extend(args);
    let mut warp = paced.clone();
    warp.push("--warp");
    let (paced, warp) = (duvisor(&paced).ended(code), duvisor(&warp).ended(code));
    assert_eq!(paced.digests(), warp.digests(), "{guest}");
}

#[test]
fn guests_that_wait_for_timers() {
    for guest in ["timer", "wfi", "hsm"] {
        same_paced(guest, 0, &[]);
    }
    for vcpus in ["1", "4"] {
        same_paced("demo", 124, &["-c", vcpus, "--max-steps", "300000"]);
    }
}

/// What a script types comes at a guest time, not at a host time.
#[test]
fn a_script_that_sleeps() {
    let script = scratch_with(
        "paced.script",
        "expect Type a line\nsleep 3ms\nsend harts\nsleep 1500us\nsend help\n\
         sleep 20ms\nsend off\n",
    );
    for vcpus in ["1", "4"] {
        same_paced("demo", 0, &["-c", vcpus, "--script", &script]);
    }
}
