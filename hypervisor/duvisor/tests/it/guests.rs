//! The guests that come with the program: each passes, and each run can be had again.

use images::{Catalogue, Guest, Source};

use crate::program::{Ran, json_lines, plain, run, scratch, text};

/// Events of a guest that its snapshot shows.
const SHOWN: usize = 200;
/// Far more steps than any guest that ends takes.
const STEPS_MAX: &str = "200000000";
/// Steps of the demo, which does not end.
const DEMO_STEPS: &str = "3000000";

/// The guests that end by themselves.
fn small() -> Vec<Guest> {
    let all = Catalogue::new();
    let small = all.iter().filter(|guest| matches!(guest.source, Source::Embedded(_)));
    let small: Vec<Guest> = small.filter(|guest| guest.name != "demo").cloned().collect();
    assert!(small.len() >= 10, "only {} guests", small.len());
    small
}

fn passes(guest: &str, vcpus: &str) -> Ran {
    let ran = run(guest, &["-c", vcpus, "--digest", "--max-steps", STEPS_MAX]).ended(0);
    assert!(ran.out.contains(&format!("PASS {guest}\r\n")), "-c {vcpus}: {ran:#?}");
    assert_eq!(ran.line("driver calls after start:"), "0", "{guest} -c {vcpus}");
    ran
}

#[test]
fn every_guest_passes_with_any_number_of_vcpus_and_twice_the_same() {
    for guest in small() {
        let meant = guest.vcpus.to_string();
        for vcpus in ["1", meant.as_str(), "8"] {
            let (first, second) = (passes(&guest.name, vcpus), passes(&guest.name, vcpus));
            assert_eq!(first.digests(), second.digests(), "{} -c {vcpus}", guest.name);
        }
    }
}

#[test]
fn the_exits_of_every_guest_are_these() {
    for guest in small() {
        let file = text(scratch(&format!("{}.jsonl", guest.name)));
        run(&guest.name, &["--max-steps", STEPS_MAX, "--events", &file]).ended(0);
        let events = json_lines(&std::fs::read_to_string(&file).unwrap());
        let lines = events.iter().skip(1).take(SHOWN).map(plain);
        let mut shown = lines.collect::<Vec<_>>().join("\n");
        if events.len() > SHOWN + 1 {
            shown.push_str(&format!("\n      and {} more", events.len() - 1 - SHOWN));
        }
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(guest.name.as_str(), shown);
        });
    }
}

#[test]
fn the_demo_goes_on_for_ever_and_is_the_same_each_time() {
    for vcpus in ["1", "2", "4", "8"] {
        for quantum in ["1000", "10000", "37000"] {
            let steps = ["-c", vcpus, "--quantum", quantum, "--max-steps", DEMO_STEPS, "--digest"];
            let (first, second) = (run("demo", &steps).ended(124), run("demo", &steps).ended(124));
            assert_eq!(first.digests(), second.digests(), "-c {vcpus} --quantum {quantum}");
            assert_eq!(first.line("driver calls after start:"), "0");
        }
    }
}

/// What changes the speed of a run changes nothing else.
#[test]
fn the_number_of_kept_blocks_cannot_be_seen() {
    for guest in ["demo", "smc", "sfence_reuse", "satp_switch"] {
        let steps = ["--max-steps", DEMO_STEPS, "--digest"];
        let usual = run(guest, &steps);
        for blocks in ["1", "2", "64"] {
            let mut args = vec!["--blocks", blocks];
            args.extend(steps);
            let other = run(guest, &args);
            assert_eq!(other.digests(), usual.digests(), "{guest} --blocks {blocks}");
        }
    }
}

/// The size of stage-2 leaves decides how often a guest faults, not what it computes.
#[test]
fn a_guest_passes_with_leaves_of_any_size() {
    let faults = |leaf: &str| {
        let ran = run("two_stage_fault", &["--leaf", leaf]).ended(0);
        assert!(ran.out.contains("PASS two_stage_fault"), "{ran:#?}");
        let count = |kind| ran.line(kind).split_whitespace().next().unwrap().parse::<u64>();
        count("store-gpf").unwrap() + count("load-gpf").unwrap_or(0)
    };
    let (pages, mega, giga) = (faults("4k"), faults("2m"), faults("1g"));
    assert!(pages >= 1024 && mega < pages && giga <= mega, "{pages} {mega} {giga}");
}
