//! What is looked for in a run, and how the machine is made to tell of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use hart::{Access, Halt, Watch, Writer};
use isa::Csr;
use machine::{Machine, PAGE};
use session::{Event, Sink};

use crate::error::TravelError;
use crate::subject::Subject;

/// Tells which events are looked for.
pub type Predicate = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// What is looked for.
#[derive(Clone)]
pub enum Looking {
    /// Instructions at these addresses, in any address space, on any hart.
    Executions(Vec<u64>),
    /// Every step.
    Steps,
    /// Accesses to guest-virtual memory by harts.
    Accesses(Watch),
    /// Writes to physical memory by anybody.
    Writes(Vec<Range<u64>>),
    /// Changes of a CSR of one hart, whatever changed it.
    Csr {
        /// Which hart.
        hart: usize,
        /// Which CSR.
        csr: Csr,
    },
    /// Events for which this holds.
    Events(Predicate),
}

impl std::fmt::Debug for Looking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Executions(pcs) => f.debug_tuple("Executions").field(pcs).finish(),
            Self::Steps => f.write_str("Steps"),
            Self::Accesses(watch) => f.debug_tuple("Accesses").field(watch).finish(),
            Self::Writes(ranges) => f.debug_tuple("Writes").field(ranges).finish(),
            Self::Csr { hart, csr } => f.debug_tuple("Csr").field(hart).field(csr).finish(),
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

impl Looking {
    /// The pages of RAM of which one has to be written for a hit; `None` if anything can be one.
    #[must_use]
    pub fn pages(&self, machine: &Machine) -> Option<Vec<u32>> {
        let Self::Writes(ranges) = self else { return None };
        let base = machine.platform().memory().base();
        let mut pages = Vec::new();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let first = range.start.saturating_sub(base) / PAGE as u64;
            let last = (range.end - 1).saturating_sub(base) / PAGE as u64;
            pages.extend((first..=last).filter_map(|page| u32::try_from(page).ok()));
        }
        Some(pages)
    }
}

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Steps that the guest had made when it had not happened yet: one more, and it has.
    pub step: u64,
    /// Guest time in ns at that moment, if it is known.
    pub time_ns: Option<u64>,
    /// The hart that did it, if it was one.
    pub hart: Option<usize>,
    /// The hart's pc.
    pub pc: u64,
    /// What it is.
    pub what: What,
}

/// What a [`Hit`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The instruction at the pc.
    Execution,
    /// A step, with the bits of the instruction, if it can be read.
    Step {
        /// The bits; of a compressed instruction 16.
        insn: u32,
    },
    /// An access.
    Access(hart::Hit),
    /// A write to physical memory.
    Write {
        /// First byte.
        hpa: u64,
        /// Bytes, 1 to 8: a longer write is several of these.
        len: u8,
        /// What was there, little endian.
        old: u64,
        /// What is there now.
        new: u64,
        /// Who wrote.
        writer: Writer,
    },
    /// A CSR has another value.
    Csr {
        /// Before.
        old: u64,
        /// After.
        new: u64,
    },
    /// An event.
    Event(Box<Event>),
}

/// Where single steps begin.
#[derive(Default)]
struct Here {
    step: u64,
    time_ns: u64,
    /// Steps and pc of each hart.
    harts: Vec<(u64, u64)>,
}

/// A machine that tells of what is looked for.
pub(crate) struct Armed<'a> {
    looking: &'a Looking,
    /// Where the run last went on from.
    here: Here,
    pub(crate) wants_events: bool,
    pub(crate) events: Chosen,
    /// What was found and not yet told.
    pub(crate) hits: VecDeque<Hit>,
}

impl<'a> Armed<'a> {
    pub(crate) fn new(looking: &'a Looking, machine: &mut Machine) -> Result<Self, TravelError> {
        let mut chosen = None;
        match looking {
            Looking::Executions(pcs) => machine.set_breakpoints(pcs),
            Looking::Accesses(watch) => machine.set_watches(&[*watch]),
            Looking::Writes(ranges) => machine.watch_writes(ranges, false),
            Looking::Csr { hart, csr } => {
                if machine.harts().get(*hart).is_none() {
                    return Err(TravelError::Query(format!("there is no hart {hart}")));
                }
                let watched = machine.watch_csr(*hart, Some(*csr));
                watched.map_err(|error| TravelError::Query(error.to_string()))?;
            }
            Looking::Steps => {}
            Looking::Events(predicate) => chosen = Some(Arc::clone(predicate)),
        }
        let events = Chosen { predicate: chosen, found: Vec::new(), waits_at: None };
        let wants_events = events.predicate.is_some();
        let here = Here::default();
        Ok(Self { looking, here, wants_events, events, hits: VecDeque::new() })
    }

    pub(crate) fn disarm(&self, machine: &mut Machine) {
        match self.looking {
            Looking::Executions(_) => machine.set_breakpoints(&[]),
            Looking::Accesses(_) => machine.set_watches(&[]),
            Looking::Writes(_) => {
                machine.watch_writes(&[], false);
                machine.take_writes();
            }
            Looking::Csr { hart, .. } => {
                // Nothing is asked for that could be refused.
                let _ = machine.watch_csr(*hart, None);
            }
            Looking::Steps | Looking::Events(_) => {}
        }
    }

    /// A hart has halted for something that is watched for.
    pub(crate) fn halted(&mut self, subject: &mut dyn Subject, index: usize, halt: Halt) {
        let (steps, now_ns) = (subject.position().step, subject.machine().now_ns());
        let (hart, _) = subject.machine_mut().hart_mut(index);
        let pc = hart.pc();
        let mut hit = Hit {
            step: steps,
            time_ns: Some(now_ns),
            hart: Some(index),
            pc,
            what: What::Execution,
        };
        match halt {
            Halt::Breakpoint => hart.pass_once(),
            Halt::Watchpoint(access) => {
                hart.pass_once();
                hit.what = What::Access(access);
            }
            Halt::Changed(change) => {
                hit.what = What::Csr { old: change.old, new: change.new };
                (hit.step, hit.time_ns) = (change.step, None);
                hit.pc = change.pc.unwrap_or(pc);
            }
            // More writes than the log keeps: they are taken where the run came back.
            Halt::Written => return,
            Halt::Limit | Halt::Waiting | Halt::Yield | Halt::Trap(_) => return,
        }
        self.hits.push_back(hit);
    }

    /// Whether the run has to come back after each step.
    pub(crate) fn steps_singly(&self) -> bool {
        matches!(self.looking, Looking::Steps)
    }

    /// The run is about to go on from here.
    pub(crate) fn before(&mut self, subject: &dyn Subject) {
        if self.steps_singly() {
            self.here = Here {
                step: subject.position().step,
                time_ns: subject.machine().now_ns(),
                harts: subject.machine().harts().iter().map(|it| (it.steps(), it.pc())).collect(),
            };
        }
    }

    /// The step that was made, if one was.
    fn collect_step(&mut self, subject: &mut dyn Subject) {
        let harts = subject.machine().harts().iter().zip(&self.here.harts);
        let Some(index) = harts.map(|(now, (steps, _))| now.steps() != *steps).position(|it| it)
        else {
            return;
        };
        let pc = self.here.harts[index].1;
        let what = What::Step { insn: insn_at(subject, index, pc) };
        let (step, time_ns) = (self.here.step, Some(self.here.time_ns));
        self.hits.push_back(Hit { step, time_ns, hart: Some(index), pc, what });
    }

    /// Takes what the machine and the stream have noted.
    pub(crate) fn collect(&mut self, subject: &mut dyn Subject) {
        if self.steps_singly() {
            self.collect_step(subject);
        }
        if matches!(self.looking, Looking::Writes(_)) {
            for write in subject.machine_mut().take_writes() {
                let what = What::Write {
                    hpa: write.hpa,
                    len: write.len,
                    old: u64::from_le_bytes(write.old),
                    new: u64::from_le_bytes(write.new),
                    writer: write.writer,
                };
                let (hart, pc) = (write.hart, write.pc);
                self.hits.push_back(Hit { step: write.step, time_ns: None, hart, pc, what });
            }
        }
        if let Looking::Csr { hart, .. } = self.looking {
            while let Some(change) = subject.machine_mut().take_change(*hart) {
                self.halted(subject, *hart, Halt::Changed(change));
            }
        }
        for (step, event) in self.events.found.drain(..) {
            self.hits.push_back(hit_of(step, event));
        }
    }
}

/// The bits of an instruction, as the hart sees memory after it; zero if it does not.
fn insn_at(subject: &mut dyn Subject, index: usize, pc: u64) -> u32 {
    let (hart, platform) = subject.machine_mut().hart_mut(index);
    let parcel = |va: u64| {
        let hpa = hart.probe_translate(platform, va, Access::Fetch).ok()?;
        let bytes = platform.memory().slice(hpa, 2).ok()?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let Some(first) = parcel(pc) else { return 0 };
    if isa::fetch_len(first) == 2 {
        return first.into();
    }
    let second = parcel(pc.wrapping_add(2)).unwrap_or(0);
    u32::from(first) | u32::from(second) << 16
}

fn hit_of(step: u64, event: Event) -> Hit {
    let (hart, pc, time_ns) = if let Event::Exit(exit) = &event {
        (Some(exit.vcpu.index()), exit.pc, Some(exit.time_ns))
    } else if let Event::Trap(trap) = &event {
        (Some(trap.hart.index()), trap.pc, Some(trap.time_ns))
    } else {
        (None, 0, None)
    };
    Hit { step, time_ns, hart, pc, what: What::Event(Box::new(event)) }
}

/// Keeps the events that are looked for.
pub(crate) struct Chosen {
    predicate: Option<Predicate>,
    /// Each with the step of which it is a part.
    found: Vec<(u64, Event)>,
    /// Nobody could run after so many steps.
    waits_at: Option<u64>,
}

impl Sink for Chosen {
    fn event(&mut self, event: &Event) {
        if self.predicate.as_ref().is_some_and(|predicate| predicate(event)) {
            let step = event.position().step;
            // The step that led to it is over where it is sent.
            let waits = self.waits_at == Some(step);
            let step = if waits { step } else { step.saturating_sub(1) };
            self.found.push((step, event.clone()));
        }
    }

    fn waits(&mut self, step: u64) {
        self.waits_at = Some(step);
    }
}
