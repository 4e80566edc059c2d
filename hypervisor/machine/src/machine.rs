//! The machine: harts on a platform, their schedule, and the clock they share.
//!
//! Guest time is one nanosecond a step, and what [`Machine::advance`] adds while nobody can run.

#[cfg(test)]
mod tests;

use hart::{BLOCKS_DEFAULT, Engine, Halt, Hart, Report, Watch, Writer};
use isa::{Csr, Extensions};
use state::{Codec, Damaged, State};

use crate::bare::board::Board;
use crate::context::Context;
use crate::memory::{Memory, NotRam};
use crate::platform::Platform;
use crate::schedule::Schedule;

pub(crate) use hart::NS_PER_TICK;

/// Steps of a turn if nothing else is asked for.
pub const QUANTUM_DEFAULT: u64 = 10_000;

/// Guest time in ns up to which the clock can jump: enough is left for all steps that anybody will
/// make, so that it never comes to its end, where it would begin again.
const JUMP_MAX_NS: u64 = 1 << 63;

/// More steps than a machine ever makes.
const STEPS_MAX: u64 = 1 << 62;

/// What a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Harts, at least one.
    pub n_harts: usize,
    /// Their extensions.
    pub isa: Extensions,
    /// Physical address of the first byte of RAM, a multiple of the page size.
    pub ram_base: u64,
    /// Bytes of RAM, a multiple of the page size.
    pub ram_size: usize,
    /// Steps of a turn.
    pub quantum: u64,
    /// Decoded blocks that are kept; no guest can see it.
    pub n_blocks: usize,
}

impl Config {
    /// One hart with everything, this much RAM at 2 GiB, and the defaults.
    #[must_use]
    pub fn new(ram_size: usize) -> Self {
        Self {
            n_harts: 1,
            isa: Extensions::ALL,
            ram_base: 0x8000_0000,
            ram_size,
            quantum: QUANTUM_DEFAULT,
            n_blocks: BLOCKS_DEFAULT,
        }
    }
}

/// Why [`Machine::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// A hart halted in its turn: a trap that is to be reported, a breakpoint, a watchpoint, a
    /// watched write, a CSR that changed; or it may make no more steps. Unless it is parked or
    /// stopped now, the same hart goes on with the rest of its turn.
    Woken {
        /// Which hart.
        hart: usize,
        /// Why.
        halt: Halt,
    },
    /// A turn is over.
    SliceEnd,
    /// Nobody can run before this guest time in ns (the alarm counts); never, if there is none that
    /// the clock can reach.
    Idle(Option<u64>),
    /// The machine has made that many steps.
    StepLimit,
    /// Guest time reached the alarm, which is thereby over.
    Alarm,
}

/// Whether a hart takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HartState {
    /// It runs, or waits by its own WFI.
    Started,
    /// It is off until an interrupt for it is pending and enabled, or something is posted to it.
    Parked,
    /// It is off until it is started.
    Stopped,
}

impl State for HartState {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.choice(self, &[Self::Started, Self::Parked, Self::Stopped])
    }
}

/// A machine.
///
/// Its [`State`] is that of harts, schedule, clock and devices, but not RAM, whose pages go one by
/// one, and not what is watched. Who loads it puts the pages back first ([`Memory::put_page`]).
#[derive(Debug)]
pub struct Machine {
    harts: Vec<Hart>,
    states: Vec<HartState>,
    engine: Engine<Platform>,
    platform: Platform,
    schedule: Schedule,
    // Runtime state.
    steps: u64,
    now_ns: u64,
    alarm_ns: Option<u64>,
    // For watchers; no part of the state.
    pub(crate) watches: bool,
    /// The last step before which the run could have been cut.
    pub(crate) cut: u64,
    /// A hart, and so many steps of it that it makes no more.
    pub(crate) stop: Option<(usize, u64)>,
}

impl Machine {
    /// A machine for delegated VMs: RAM and harts, all started at pc 0 in M-mode, no device.
    ///
    /// # Panics
    /// If there is no hart, or RAM is not whole pages.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_board(config, None)
    }

    pub(crate) fn with_board(config: &Config, board: Option<Box<Board>>) -> Self {
        assert!(config.n_harts != 0, "a machine without harts");
        let memory = Memory::new(config.ram_base, config.ram_size);
        Self {
            harts: (0..config.n_harts).map(|id| Hart::new(id, config.isa)).collect(),
            states: vec![HartState::Started; config.n_harts],
            engine: Engine::new(config.isa, config.n_blocks),
            platform: Platform::new(memory, board),
            schedule: Schedule::new(config.n_harts, config.quantum),
            steps: 0,
            now_ns: 0,
            alarm_ns: None,
            watches: false,
            cut: 0,
            stop: None,
        }
    }

    /// Harts and RAM as after power-on. Steps and guest time go on.
    pub(crate) fn reset(&mut self) {
        self.harts.iter_mut().for_each(Hart::reset);
        self.states.fill(HartState::Started);
        self.platform.memory_mut().clear();
        self.schedule.reset();
    }

    // Looking at it.

    /// The harts.
    #[must_use]
    pub fn harts(&self) -> &[Hart] {
        &self.harts
    }

    /// RAM, devices, vCPUs.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// RAM, devices, vCPUs.
    pub fn platform_mut(&mut self) -> &mut Platform {
        &mut self.platform
    }

    /// A hart and what it is wired to, told the time: for what is done in its name.
    pub fn hart_mut(&mut self, hart: usize) -> (&mut Hart, &mut Platform) {
        let found = &mut self.harts[hart];
        found.set_now_ns(self.now_ns);
        (found, &mut self.platform)
    }

    /// Steps of all harts so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Guest time in ns.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Whether this hart takes part.
    #[must_use]
    pub fn state(&self, hart: usize) -> HartState {
        self.states[hart]
    }

    /// The hart whose turn it is, if a turn has begun.
    #[must_use]
    pub fn turn(&self) -> Option<usize> {
        self.schedule.current().map(|turn| turn.hart)
    }

    // Memory.

    /// Reads physical memory.
    ///
    /// # Errors
    /// [`NotRam`] if not all of it is RAM.
    pub fn read(&self, hpa: u64, buf: &mut [u8]) -> Result<(), NotRam> {
        self.platform.memory().read(hpa, buf)
    }

    /// RAM, for who tracks it and puts it back. What is written there past [`Machine::write`] ends
    /// no reservation.
    pub fn memory_mut(&mut self) -> &mut Memory {
        self.platform.memory_mut()
    }

    /// Writes physical memory in the name of anybody but a hart: reservations on it are gone.
    ///
    /// # Errors
    /// [`NotRam`] if not all of it is RAM; nothing is then written.
    pub fn write(&mut self, writer: Writer, hpa: u64, bytes: &[u8]) -> Result<(), NotRam> {
        self.platform.memory_mut().write(hpa, bytes, writer)?;
        self.written(hpa, bytes.len() as u64);
        Ok(())
    }

    /// Somebody else than a hart wrote there.
    pub(crate) fn written(&mut self, hpa: u64, len: u64) {
        self.harts.iter_mut().for_each(|hart| hart.written(hpa, len));
        self.platform.written(hpa, len);
    }

    // Watching.

    /// Of which traps [`Machine::run`] comes back.
    pub fn set_report(&mut self, report: Report) {
        self.harts.iter_mut().for_each(|hart| hart.set_report(report));
    }

    /// Replaces the breakpoints of all harts.
    pub fn set_breakpoints(&mut self, addresses: &[u64]) {
        self.harts.iter_mut().for_each(|hart| hart.set_breakpoints(addresses.to_vec()));
        self.engine.set_cuts(addresses.iter().copied());
    }

    /// Replaces the watchpoints of all harts.
    pub fn set_watches(&mut self, watches: &[Watch]) {
        self.harts.iter_mut().for_each(|hart| hart.set_watches(watches.to_vec()));
    }

    // Who runs.

    /// Lets a stopped or parked hart take part.
    pub fn start(&mut self, hart: usize) {
        self.states[hart] = HartState::Started;
    }

    /// Takes a hart off until an interrupt for it is pending and enabled, or a post arrives.
    pub fn park(&mut self, hart: usize) {
        self.states[hart] = HartState::Parked;
    }

    /// Takes a hart off until [`Machine::start`].
    pub fn stop(&mut self, hart: usize) {
        self.states[hart] = HartState::Stopped;
    }

    /// Puts a registered vCPU on a hart: posts to it arrive there, those that waited at once. With
    /// `None` takes it off, and posts to it are kept; so is what no register of the hart holds, its
    /// reservation and its wait.
    pub fn place_vcpu(&mut self, vmid: u16, vcpu: u16, hart: Option<usize>) {
        if let Some(from) = self.platform.hart_of(vmid, vcpu) {
            let unwritten = self.harts[from].take_unwritten();
            self.platform.keep_unwritten(vmid, vcpu, unwritten);
        }
        let (held, unwritten) = self.platform.place_vcpu(vmid, vcpu, hart);
        if let Some(hart) = hart {
            self.harts[hart].set_unwritten(unwritten);
            held.into_iter().for_each(|(interrupt, level)| self.receive(hart, interrupt, level));
        }
    }

    /// A context in which nobody runs yet, for [`Machine::swap_context`].
    #[must_use]
    pub fn context(&self, quantum: u64) -> Context {
        Context::new(self.harts.len(), quantum)
    }

    /// Others have the harts from now on: exchanges who takes part, whose turn it is, steps, guest
    /// time, the alarm and the posts on their way.
    ///
    /// # Panics
    /// If the context is that of a machine with another number of harts.
    pub fn swap_context(&mut self, other: &mut Context) {
        assert_eq!(self.states.len(), other.states.len(), "a context of another machine");
        self.settle_writes();
        std::mem::swap(&mut self.states, &mut other.states);
        std::mem::swap(&mut self.schedule, &mut other.schedule);
        std::mem::swap(&mut self.steps, &mut other.steps);
        std::mem::swap(&mut self.now_ns, &mut other.now_ns);
        std::mem::swap(&mut self.alarm_ns, &mut other.alarm_ns);
        self.platform.swap_posts(&mut other.posts);
    }

    /// Gives posted interrupts to the harts of their vCPUs. Done at the begin of every turn; who
    /// lets a hart post outside of its turn (the VM plane) calls it afterwards.
    pub fn deliver_posts(&mut self) {
        if self.platform.has_posts() {
            for (hart, post) in self.platform.take_posts() {
                self.receive(hart, post.interrupt, post.level);
            }
        }
    }

    fn receive(&mut self, hart: usize, interrupt: u8, level: bool) {
        self.harts[hart].receive(u64::from(interrupt), level);
        if self.states[hart] == HartState::Parked && (level || interrupt == 0) {
            self.states[hart] = HartState::Started;
        }
    }

    // Running.

    /// At this guest time [`Machine::run`] comes back with [`Ran::Alarm`]; this is no part of the
    /// schedule, the turn goes on afterwards.
    pub fn set_alarm(&mut self, at_ns: Option<u64>) {
        self.alarm_ns = at_ns;
    }

    /// Nobody can run: guest time goes on to `to_ns`, but to no more than 2^63 (in 292 years).
    pub fn advance(&mut self, to_ns: u64) {
        self.now_ns = self.now_ns.max(to_ns.min(JUMP_MAX_NS));
    }

    /// The guest time in ns up to which nobody can run, `u64::MAX` if that is for ever; `None` if
    /// somebody can run now.
    pub fn idle_until_ns(&mut self) -> Option<u64> {
        self.deliver_posts();
        let runs = (0..self.harts.len()).any(|hart| self.can_run(hart));
        (!runs).then(|| self.deadline_ns().unwrap_or(u64::MAX))
    }

    /// Runs until something is wanted of the caller, at most until [`Machine::steps`] reaches
    /// `step_limit`. A run in two halves is the same as a run in one.
    pub fn run(&mut self, step_limit: u64) -> Ran {
        if self.watches {
            if let Some(ran) = self.begin_watching() {
                return ran;
            }
        }
        loop {
            if self.schedule.current().is_some_and(|turn| turn.left == 0) {
                self.schedule.end_turn();
                return Ran::SliceEnd;
            }
            if self.alarm_ns.is_some_and(|at| at <= self.now_ns) {
                self.alarm_ns = None;
                return Ran::Alarm;
            }
            if self.cut != self.steps {
                self.pass_cut();
            }
            if self.steps >= step_limit {
                return Ran::StepLimit;
            }
            let Some(turn) = self.schedule.current() else {
                if self.begin_turn() {
                    continue;
                }
                return Ran::Idle(self.deadline_ns());
            };
            if self.states[turn.hart] != HartState::Started {
                self.schedule.end_turn();
                continue;
            }
            let mut room = turn.left.min(step_limit - self.steps);
            if self.watches {
                room = room.min(self.steps_before_stop(turn.hart));
                if room == 0 {
                    return Ran::Woken { hart: turn.hart, halt: Halt::Limit };
                }
            }
            let (halt, steps) = self.run_hart(turn.hart, room);
            match halt {
                Halt::Limit => {}
                Halt::Waiting | Halt::Yield => {
                    self.schedule.drop_turn(turn.hart);
                    if steps != 0 {
                        return Ran::SliceEnd;
                    }
                }
                Halt::Written => return Ran::Woken { hart: self.written_last(), halt },
                Halt::Trap(_) | Halt::Breakpoint | Halt::Watchpoint(_) | Halt::Changed(_) => {
                    return Ran::Woken { hart: turn.hart, halt };
                }
            }
        }
    }

    /// Gives the next turn to the first hart of the ring that can run.
    fn begin_turn(&mut self) -> bool {
        self.deliver_posts();
        let found = self.schedule.ring().find(|hart| self.can_run(*hart));
        if let Some(hart) = found {
            self.schedule.begin_turn(hart);
        }
        found.is_some()
    }

    /// Runs a hart for at most `room` steps, up to the alarm, and up to the first timer of a hart
    /// that waits, which then has its turn. Says how many steps that were.
    fn run_hart(&mut self, index: usize, room: u64) -> (Halt, u64) {
        let cut_ns = self.idle_deadline_ns(index);
        let until = cut_ns.min(self.alarm_ns.unwrap_or(u64::MAX));
        let room = room.min(until.saturating_sub(self.now_ns).max(1));
        if self.watches {
            self.tell_steps(index);
        }
        let hart = &mut self.harts[index];
        hart.set_now_ns(self.now_ns);
        let before = hart.steps();
        let halt = hart.run(&mut self.engine, &mut self.platform, before.saturating_add(room));
        let steps = hart.steps() - before;
        self.now_ns = hart.now_ns();
        self.steps += steps;
        if let Some(other) = self.schedule.count(steps) {
            self.harts[other].end_turn();
        }
        if self.now_ns >= cut_ns {
            self.interrupt_turn(index);
        }
        (halt, steps)
    }

    /// Harts that waited and can run now go before the current one.
    fn interrupt_turn(&mut self, current: usize) {
        let n_harts = self.harts.len();
        let due: Vec<usize> =
            (0..n_harts).filter(|hart| *hart != current && self.is_off(*hart)).collect();
        let due: Vec<usize> = due.into_iter().filter(|hart| self.can_run(*hart)).collect();
        self.schedule.interrupt(&due);
    }

    /// Whether a hart waits or is parked.
    fn is_off(&self, hart: usize) -> bool {
        match self.states[hart] {
            HartState::Started => self.harts[hart].is_waiting(),
            HartState::Parked => true,
            HartState::Stopped => false,
        }
    }

    /// Whether a hart can make a step now; one that waited or was parked, and can, is back.
    fn can_run(&mut self, index: usize) -> bool {
        if self.states[index] == HartState::Stopped {
            return false;
        }
        let hart = &mut self.harts[index];
        if self.states[index] == HartState::Started && !hart.is_waiting() {
            return true;
        }
        // No steps: the hart looks at its wires and timers, and stops waiting if it may.
        hart.set_now_ns(self.now_ns);
        let halt = hart.attend(&mut self.engine, &mut self.platform);
        if self.states[index] == HartState::Parked {
            let csr = |csr| hart.csr(csr).unwrap_or(0);
            if csr(Csr::MIP) & csr(Csr::MIE) == 0 {
                return false;
            }
            self.states[index] = HartState::Started;
        }
        halt != Halt::Waiting
    }

    /// The first guest time after now at which a hart that waits, other than this one, might be
    /// able to run.
    fn idle_deadline_ns(&mut self, except: usize) -> u64 {
        let off = (0..self.harts.len()).filter(|hart| *hart != except && self.is_off(*hart));
        off.map(|hart| self.hart_deadline_ns(hart)).min().unwrap_or(u64::MAX)
    }

    fn deadline_ns(&self) -> Option<u64> {
        let off = (0..self.harts.len()).filter(|hart| self.is_off(*hart));
        let deadlines = off.map(|hart| self.hart_deadline_ns(hart));
        deadlines.chain(self.alarm_ns).min().filter(|at| *at <= JUMP_MAX_NS)
    }

    fn hart_deadline_ns(&self, hart: usize) -> u64 {
        use hart::Bus;
        let wires = self.platform.deadline_ns(hart, self.now_ns);
        wires.min(self.harts[hart].timer_deadline_ns(self.now_ns))
    }

    /// Feeds the whole state to a hash: harts, RAM, schedule, clock, devices.
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        {
            let mut feed = |word: u64| sink(&word.to_le_bytes());
            feed(self.steps);
            feed(self.now_ns);
            feed(self.alarm_ns.unwrap_or(u64::MAX));
            for (hart, state) in self.harts.iter().zip(&self.states) {
                feed(*state as u64);
                hart.for_each_word(&mut feed);
            }
            self.schedule.digest(&mut feed);
        }
        self.platform.digest(sink);
    }
}

impl State for Machine {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let n_harts = self.harts.len();
        let mut saved = n_harts;
        codec.usize(&mut saved)?;
        codec.check(saved == n_harts, "it is of a machine with another number of harts")?;
        // What is logged so far was written where the machine is now.
        self.settle_writes();
        codec.each(&mut self.states, |codec, state| state.state(codec))?;
        self.schedule.state(codec)?;
        clock_state(codec, &mut self.steps, &mut self.now_ns, &mut self.alarm_ns)?;
        codec.each(&mut self.harts, |codec, hart| hart.state(codec))?;
        self.platform.state(codec, n_harts)?;
        if codec.is_loading() {
            self.cut = self.steps;
            self.platform.memory_mut().take_due();
            for hart in &mut self.harts {
                hart.set_now_ns(self.now_ns);
                hart.arrive(&self.platform);
            }
        }
        Ok(())
    }
}

/// Steps, guest time and alarm.
pub(crate) fn clock_state(
    codec: &mut Codec<'_>,
    steps: &mut u64,
    now_ns: &mut u64,
    alarm_ns: &mut Option<u64>,
) -> Result<(), Damaged> {
    codec.u64(steps)?;
    codec.check(*steps <= STEPS_MAX, "a machine has made too many steps")?;
    codec.u64(now_ns)?;
    codec.check(*now_ns <= JUMP_MAX_NS + STEPS_MAX, "guest time is too late")?;
    codec.option(alarm_ns, |codec, at| codec.u64(at))
}
