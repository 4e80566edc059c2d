//! The six invariants of DV-ext under random instructions of HU, VS and VU.

use isa::Check;

mod bus;
mod coverage;
mod generator;
mod harts;
mod kernel;
mod layout;
#[path = "../../../hart/tests/it/naive.rs"]
mod naive;
mod observe;
mod oracle;
mod predict;
#[path = "../../../hart/tests/it/rng.rs"]
mod rng;
mod state;
mod values;
mod world;

use coverage::Coverage;
use observe::Broken;
use world::World;

/// Steps of a world; then another one begins.
const N_STEPS: u64 = 2_000;

/// Runs one world; gives what did not hold, and in which step.
fn run(seed: u64, steps: u64, coverage: &mut Coverage) -> Result<(), (u64, Vec<Broken>)> {
    let mut world = World::new(seed).map_err(|broken| (0, broken))?;
    for step in 0..steps {
        world.step(coverage).map_err(|broken| (step, broken))?;
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
#[expect(clippy::print_stdout, reason = "coverage for who asks for it by --nocapture")]
fn the_six_hold() {
    let only = number("INVARIANT_SEED");
    let steps = number("INVARIANT_STEPS").unwrap_or(100_000);
    let mut coverage = Coverage::default();
    for seed in only.map_or(0..steps.div_ceil(N_STEPS), |seed| seed..seed + 1) {
        if let Err((step, broken)) = run(seed, N_STEPS, &mut coverage) {
            let what: Vec<String> = broken.iter().map(ToString::to_string).collect();
            panic!(
                "world {seed}, step {step}: {}\nagain: INVARIANT_SEED={seed} cargo test -p driver \
                 --test it invariants::the_six_hold",
                what.join("\n")
            );
        }
    }
    println!("{coverage}");
    let gaps = coverage.gaps();
    assert!(only.is_some() || gaps.is_empty(), "{coverage}\ntoo rare: {gaps:#?}");
}

/// What broke without a check.
#[derive(Debug, Default)]
struct Found {
    /// World and step of the first thing.
    first: Option<(u64, u64)>,
    /// The invariants, one bit each.
    invariants: u8,
}

impl Found {
    fn has(&self, invariant: u8) -> bool {
        self.invariants >> invariant & 1 == 1
    }
}

/// Runs worlds without a check until something breaks, and this invariant, if one is named.
fn break_without(check: Check, wanted: Option<u8>, worlds: u64) -> Found {
    let mut found = Found::default();
    hart::checks::without(check, || {
        for seed in 0..worlds {
            let Err((step, broken)) = run(seed, N_STEPS, &mut Coverage::default()) else {
                continue;
            };
            found.first.get_or_insert((seed, step));
            broken.iter().for_each(|broken| found.invariants |= 1 << broken.invariant);
            if wanted.is_none_or(|invariant| found.has(invariant)) {
                break;
            }
        }
    });
    found
}

/// Checks without which the test has to fail, and an invariant that does not hold then.
const CAUGHT: [(Check, u8); 54] = [
    (Check::HuretNeverRises, 1),
    (Check::AccessInWindow, 2),
    (Check::AddressInWindow, 2),
    (Check::CodeInRam, 2),
    (Check::DefaultDeny, 2),
    (Check::GatpMode, 2),
    (Check::GuestNotServed, 2),
    (Check::GuestTableInWindow, 2),
    (Check::RevokedAddr, 2),
    (Check::TableInWindow, 2),
    (Check::TaggedByHu, 2),
    (Check::UpdateInWindow, 2),
    (Check::WindowRights, 2),
    (Check::WindowsApart, 2),
    (Check::HuCsrInGuest, 3),
    (Check::HuCsrInU, 3),
    (Check::HugatpReadOnly, 3),
    (Check::HuieBits, 3),
    (Check::HuipBits, 3),
    (Check::HuvipBits, 3),
    (Check::KernelCsrInHu, 3),
    (Check::PostInterrupt, 3),
    (Check::PostKnown, 3),
    (Check::VcpuidKnown, 3),
    (Check::VtimectlIrq, 3),
    (Check::AccessFlagged, 4),
    (Check::EntryMasks, 4),
    (Check::EntrySetsTa, 4),
    (Check::NestedToKernel, 4),
    (Check::TaOfHardware, 4),
    (Check::AccessPrivilege, 5),
    (Check::HostNotBound, 5),
    (Check::RevokedCfg, 5),
    (Check::RootOfHu, 5),
    (Check::TaggedByRoot, 5),
    (Check::AccessInGuest, 6),
    (Check::AccessInU, 6),
    (Check::ExceptionNeedsHu, 6),
    (Check::FaultToKernel, 6),
    (Check::HedelegBits, 6),
    (Check::HuMasked, 6),
    (Check::HufenceInGuest, 6),
    (Check::HufenceOutsideHu, 6),
    (Check::HuretInGuest, 6),
    (Check::HuretOutsideHu, 6),
    (Check::InterruptNeedsHu, 6),
    (Check::KernelFirst, 6),
    (Check::KernelsOwn, 6),
    (Check::SedelegBits, 6),
    (Check::SidelegBits, 6),
    (Check::TimerNeedsStce, 6),
    (Check::VipiNeedsVie, 6),
    (Check::VitrWriteOnly, 6),
    (Check::WindowToKernel, 6),
];

#[test]
#[expect(clippy::print_stdout, reason = "a table for who asks for it by --nocapture")]
fn a_broken_rule_is_caught() {
    let mut missed = Vec::new();
    for check in Check::ALL {
        let wanted = CAUGHT.iter().find(|(caught, _)| caught == check).map(|(_, n)| *n);
        // The others are about something else, or take long.
        let worlds = number("INVARIANT_WORLDS").unwrap_or(if wanted.is_some() { 400 } else { 2 });
        let Ok(found) = std::panic::catch_unwind(|| break_without(*check, wanted, worlds)) else {
            println!("{:2} {check:?}: the model panics", check.number());
            continue;
        };
        let which: Vec<String> =
            (1..=6).filter(|n| found.has(*n)).map(|n| format!("I{n}")).collect();
        let first = found.first.map_or("-".to_owned(), |(world, step)| {
            format!("{}, first in step {step} of world {world}", which.join(" "))
        });
        println!("{:2} {:<22} {first}", check.number(), format!("{check:?}"));
        if let Some(number) = wanted.filter(|number| !found.has(*number)) {
            missed.push(format!("{check:?}: I{number} should break in {worlds} worlds; {first}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for number in 1..=6 {
        assert!(CAUGHT.iter().any(|(_, invariant)| *invariant == number));
    }
}

#[test]
fn a_guest_reaches_other_harts_by_posts_only() {
    let steps = number("INVARIANT_STEPS").unwrap_or(100_000) / 10;
    let mut arrived = 0;
    for seed in 0..steps.div_ceil(N_STEPS) {
        arrived += harts::run(seed, N_STEPS).unwrap();
    }
    assert!(arrived >= steps / 500, "{arrived} posts in {steps} steps");
}
