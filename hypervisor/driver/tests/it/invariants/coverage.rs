//! What the steps came to, so that the test cannot become empty unseen.

use std::collections::BTreeMap;
use std::fmt;

use hart::Halt;
use isa::fields::HUSTATUS;
use isa::{Csr, Mode, Op};

use super::observe::Step;

/// Counts of steps.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) steps: u64,
    modes: BTreeMap<Mode, u64>,
    /// By who takes it and cause.
    traps: BTreeMap<(Mode, u64), u64>,
    hurets: BTreeMap<Mode, u64>,
    pub(crate) switches: u64,
    posts: u64,
    guest_faults: u64,
    guest_accesses: u64,
    walks: u64,
    accesses: u64,
    live: u64,
    of_kernel: u64,
}

impl Coverage {
    pub(crate) fn count(&mut self, step: &Step<'_>) {
        self.steps += 1;
        let (before, after) = (step.before, step.after);
        *self.modes.entry(before.mode).or_default() += 1;
        let taken = matches!(step.halt, Halt::Trap(_));
        if let Halt::Trap(taken) = step.halt {
            *self.traps.entry((taken.to, taken.trap.cause.bits())).or_default() += 1;
        }
        let op = step.expected.insn.map(|insn| insn.op);
        if op == Some(Op::Huret) && before.mode == Mode::Hu && !taken {
            *self.hurets.entry(after.mode).or_default() += 1;
        }
        let flag = |csr: u64| HUSTATUS::GLF.is_set(csr);
        let raised = !flag(before.get(Csr::HUSTATUS)) && flag(after.get(Csr::HUSTATUS));
        let of_guest = step.expected.data.is_some_and(|data| data.of_guest);
        self.guest_faults += u64::from(raised && of_guest);
        self.guest_accesses += u64::from(of_guest && !taken);
        self.posts += step.bus.posts.len() as u64;
        self.walks += u64::from(before.virt() && step.expected.fetch.is_ok());
        self.accesses += step.bus.accesses();
        self.live += u64::from(step.context.live);
        self.of_kernel += u64::from(step.context.of_kernel);
    }

    /// Steps that ended in this mode's handler, of any cause or of one.
    fn taken(&self, mode: Mode, cause: Option<u64>) -> u64 {
        let of = |key: &(Mode, u64)| key.0 == mode && cause.is_none_or(|cause| cause == key.1);
        self.traps.iter().filter(|(key, _)| of(key)).map(|(_, n)| n).sum()
    }

    /// What is too rare, by how often at least it has to be in a million steps.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mode = |mode| self.modes.get(&mode).copied().unwrap_or(0);
        let huret = |mode| self.hurets.get(&mode).copied().unwrap_or(0);
        const INTERRUPT: u64 = 1 << 63;
        let wanted = [
            ("steps in HU", mode(Mode::Hu), 300_000),
            ("steps in VS", mode(Mode::Vs), 150_000),
            ("steps in VU", mode(Mode::Vu), 30_000),
            ("steps in U", mode(Mode::U), 3_000),
            ("steps in HS", mode(Mode::Hs), 4_000),
            ("steps of others than HU's", self.of_kernel, 35_000),
            ("steps while HU handles a trap", self.live, 200_000),
            ("traps to VS", self.taken(Mode::Vs, None), 50_000),
            ("traps to HU", self.taken(Mode::Hu, None), 60_000),
            ("traps to HS", self.taken(Mode::Hs, None), 100_000),
            ("traps to M", self.taken(Mode::M, None), 10_000),
            ("calls to HU", self.taken(Mode::Hu, Some(10)), 1_500),
            ("guest-page faults to HU", self.taken(Mode::Hu, Some(21)), 1_200),
            ("virtual instructions to HU", self.taken(Mode::Hu, Some(22)), 10_000),
            ("kicks to HU", self.taken(Mode::Hu, Some(INTERRUPT)), 10_000),
            ("timers to HU", self.taken(Mode::Hu, Some(INTERRUPT | 4)), 6_000),
            ("posted interrupts to VS", self.taken(Mode::Vs, Some(INTERRUPT | 2)), 3_000),
            ("load access faults to HS", self.taken(Mode::Hs, Some(5)), 500),
            ("fetch access faults to HS", self.taken(Mode::Hs, Some(1)), 10_000),
            ("DV faults to HS", self.taken(Mode::Hs, Some(24)), 3_000),
            ("huret to VS", huret(Mode::Vs), 15_000),
            ("huret to VU", huret(Mode::Vu), 5_000),
            ("huret to HU", huret(Mode::Hu), 10_000),
            ("guest accesses", self.guest_accesses, 35_000),
            ("guest faults", self.guest_faults, 4_000),
            ("posts", self.posts, 300),
            ("walks", self.walks, 100_000),
            ("switches", self.switches, 7_000),
        ];
        let rare = wanted.into_iter().filter(|(_, n, least)| n * 1_000_000 < self.steps * least);
        rare.map(|(what, n, least)| format!("{what}: {n}, in a million {least} are wanted"))
            .collect()
    }
}

fn name(cause: u64) -> String {
    isa::Cause::from_bits(cause)
        .map_or(format!("{cause:#x}"), |cause| cause.short_name().to_owned())
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} steps, {} accesses of memory", self.steps, self.accesses)?;
        for (mode, n) in &self.modes {
            writeln!(f, "  {:<6}{n:>10} steps", mode.name())?;
        }
        for (mode, n) in &self.hurets {
            writeln!(f, "  huret to {:<6}{n:>10}", mode.name())?;
        }
        for (what, n) in [
            ("walked fetches of guests", self.walks),
            ("guest accesses", self.guest_accesses),
            ("GLF set", self.guest_faults),
            ("posts", self.posts),
            ("switches", self.switches),
            ("while TA is set", self.live),
            ("of others than HU's", self.of_kernel),
        ] {
            writeln!(f, "  {what:<26}{n:>10}")?;
        }
        for ((mode, cause), n) in &self.traps {
            writeln!(f, "  to {:<4}{:<18}{n:>10}", mode.name(), name(*cause))?;
        }
        Ok(())
    }
}
