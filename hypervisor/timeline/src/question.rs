//! Questions about a recording, and how they are answered.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use hart::{Watch, Writer};
use isa::Csr;
use session::{Event, ExitKind, Outcome, VmState};

use crate::error::TravelError;
use crate::looking::{Hit, Looking, Predicate, What};
use crate::player::{Player, Progress};
use crate::point::Point;
use crate::pool::{Pool, Wanted, Window};

/// Which memory an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Guest-virtual: as a vCPU translates it at the moment of the question.
    Virtual,
    /// Guest-physical.
    Physical,
    /// Of the machine below the VM.
    Host,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of which memory.
    pub space: Space,
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// Most bytes that a question is about.
const LEN_MAX: u64 = 1 << 20;

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no place in memory: expected an address such as 0x80200000, gpa:0x…, \
                 hpa:0x… or gva:0x…, and perhaps ,LENGTH (1 to 1M, 8 if left out)"
            )
        };
        let (name, rest) = text.split_once(':').unwrap_or(("gva", text));
        let space = match name {
            "gva" => Space::Virtual,
            "gpa" => Space::Physical,
            "hpa" => Space::Host,
            _ => return Err(wrong()),
        };
        let (address, len) = rest.split_once(',').unwrap_or((rest, "8"));
        let (address, len) = (number(address), number(len).filter(|len| *len <= LEN_MAX));
        match (address, len) {
            (Some(address), Some(len @ 1..)) if address.checked_add(len).is_some() => {
                Ok(Self { space, address, len })
            }
            _ => Err(wrong()),
        }
    }
}

/// A number in decimal or hexadecimal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16).ok(),
        None => text.parse().ok(),
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The last write before the moment.
    LastWrite(Place),
    /// The first write after it.
    NextWrite(Place),
    /// All writes in the window.
    Writes(Place),
    /// All executions of an instruction in the window.
    Executions(u64),
    /// All changes of a CSR in the window.
    Csr(Csr),
    /// Who mapped a guest-physical page, in the window.
    Stage2(u64),
    /// Exits of a kind in the window, or all.
    Exits(Option<ExitKind>),
    /// Every instruction in the window.
    Instructions,
    /// Every access to memory in the window.
    Accesses,
    /// Every event in the window.
    Events,
    /// The content of memory at the moment.
    Memory(Place),
    /// All registers at the moment.
    Registers,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub subject: Subject,
    /// The moment from which it is asked.
    pub at: Point,
    /// The window, from and to.
    pub window: (Point, Point),
    /// The vCPU, where it matters.
    pub vcpu: usize,
    /// At most so many answers.
    pub limit: usize,
}

/// Answers that are given if nobody says how many.
pub const LIMIT_DEFAULT: usize = 20;

/// How questions are written.
pub const GRAMMAR: &str = "\
last-write PLACE      the last write before the moment (@POINT; the end if left out)
next-write PLACE      the first write after it
writes PLACE          all writes in the window
exec ADDRESS          all executions of the instruction at this address
csr NAME              all changes of a CSR
stage-2 GPA           when and why a guest-physical page was mapped
exits [KIND]          exits of a kind, such as sbi-call or store-gpf
insns, accesses, events   everything of a window
mem PLACE, regs       memory and registers at the moment
and then: @POINT the moment, FROM..TO the window, vcpu N, limit N
PLACE is an address and perhaps ,LENGTH: guest-virtual, or gpa:ADDRESS, hpa:ADDRESS
POINT is a step (1200000, 1.2M), a share (50%), a guest time (2.5s), an event (#4711), start, end";

impl FromStr for Question {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut words = words.into_iter().peekable();
        let verb = words.next().ok_or_else(|| format!("nothing is asked: expected\n{GRAMMAR}"))?;
        let mut next =
            |what: &str| words.next().ok_or_else(|| format!("{verb}: expected {what} behind it"));
        let subject = match verb {
            "last-write" => Subject::LastWrite(next("a place")?.parse()?),
            "next-write" => Subject::NextWrite(next("a place")?.parse()?),
            "writes" => Subject::Writes(next("a place")?.parse()?),
            "exec" => Subject::Executions(address(next("an address")?)?),
            "csr" => Subject::Csr(csr(next("the name of a CSR")?)?),
            "stage-2" => Subject::Stage2(address(next("a guest-physical address")?)?),
            "exits" => {
                Subject::Exits(words.next_if(|word| !is_option(word)).map(kind).transpose()?)
            }
            "insns" => Subject::Instructions,
            "accesses" => Subject::Accesses,
            "events" => Subject::Events,
            "mem" => Subject::Memory(next("a place")?.parse()?),
            "regs" => Subject::Registers,
            _ => return Err(format!("{verb:?} is no question: expected one of\n{GRAMMAR}")),
        };
        let window = (Point::Start, Point::End);
        let mut question = Self { subject, at: Point::End, window, vcpu: 0, limit: LIMIT_DEFAULT };
        while let Some(word) = words.next() {
            question.option(word, words.next_if(|_| matches!(word, "vcpu" | "limit")))?;
        }
        Ok(question)
    }
}

/// Whether a word is one of those behind a question.
fn is_option(word: &str) -> bool {
    word.starts_with('@') || word.contains("..") || matches!(word, "vcpu" | "limit")
}

impl Question {
    fn option(&mut self, word: &str, value: Option<&str>) -> Result<(), String> {
        let count = |value: Option<&str>| {
            let count = value.and_then(|value| value.parse::<usize>().ok());
            count.ok_or_else(|| format!("{word}: expected a number behind it"))
        };
        if let Some(point) = word.strip_prefix('@') {
            self.at = point.parse()?;
        } else if let Some((from, to)) = word.split_once("..") {
            let point =
                |text: &str, default| if text.is_empty() { Ok(default) } else { text.parse() };
            self.window = (point(from, Point::Start)?, point(to, Point::End)?);
        } else if word == "vcpu" {
            self.vcpu = count(value)?;
        } else if word == "limit" {
            self.limit = count(value)?.max(1);
        } else {
            return Err(format!("{word:?} is not understood: expected\n{GRAMMAR}"));
        }
        Ok(())
    }
}

fn address(text: &str) -> Result<u64, String> {
    number(text).ok_or_else(|| format!("{text:?} is no address: expected one such as 0x80200000"))
}

fn csr(name: &str) -> Result<Csr, String> {
    Csr::from_name(name).ok_or_else(|| format!("{name:?} is no CSR: expected one such as vsatp"))
}

fn kind(name: &str) -> Result<ExitKind, String> {
    let found = ExitKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let all: Vec<&str> = ExitKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("{name:?} is no kind of exit: expected one of {}", all.join(", "))
    })
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was found, in the order in which it happened.
    Hits(Vec<Hit>),
    /// Bytes of memory at a step.
    Memory {
        /// The step.
        step: u64,
        /// What they are.
        bytes: Vec<u8>,
    },
    /// Registers at a step: names and values.
    Registers {
        /// The step.
        step: u64,
        /// Names and values.
        values: Vec<(String, u64)>,
    },
}

impl Pool {
    /// Answers a question.
    ///
    /// # Errors
    /// [`TravelError::Query`] if it cannot be answered, or another [`TravelError`].
    pub fn ask(
        &mut self,
        question: &Question,
        progress: Progress<'_>,
    ) -> Result<Answer, TravelError> {
        let player = self.player().ok_or(TravelError::NoKeyframe)?;
        let vcpu = question.vcpu;
        if vcpu >= player.subject().machine().harts().len() {
            return Err(TravelError::Query(format!("there is no vCPU {vcpu}")));
        }
        // Memory and registers, and what an address means, are those of the moment.
        player.go(question.at, progress)?;
        let at = player.position().step;
        let (looking, wanted) = match &question.subject {
            Subject::Memory(place) => {
                return Ok(Answer::Memory { step: at, bytes: read(player, vcpu, *place)? });
            }
            Subject::Registers => {
                return Ok(Answer::Registers { step: at, values: registers(player, vcpu) });
            }
            Subject::LastWrite(place) => (writes(player, vcpu, *place)?, Wanted::Last(1)),
            Subject::NextWrite(place) => (writes(player, vcpu, *place)?, Wanted::First(1)),
            Subject::Writes(place) => {
                (writes(player, vcpu, *place)?, Wanted::First(question.limit))
            }
            Subject::Executions(_)
            | Subject::Csr(_)
            | Subject::Stage2(_)
            | Subject::Exits(_)
            | Subject::Instructions
            | Subject::Accesses
            | Subject::Events => (looking(&question.subject, vcpu), Wanted::First(question.limit)),
        };
        let (from, to) = if matches!(question.subject, Subject::LastWrite(_)) {
            (Point::Start, question.at)
        } else if matches!(question.subject, Subject::NextWrite(_)) {
            (question.at, Point::End)
        } else {
            question.window
        };
        let player = self.player().ok_or(TravelError::NoKeyframe)?;
        let mut step_of = |point| player.go(point, progress).map(|()| player.position().step);
        let window = Window { from: step_of(from)?, to: step_of(to)? };
        self.find(&looking, window, wanted, progress).map(Answer::Hits)
    }
}

/// Writes to a place, wherever it is now.
fn writes(player: &mut Player, vcpu: usize, place: Place) -> Result<Looking, TravelError> {
    Ok(Looking::Writes(ranges(player, vcpu, place)?))
}

fn looking(subject: &Subject, vcpu: usize) -> Looking {
    match subject {
        Subject::Executions(pc) => Looking::Executions(vec![*pc]),
        Subject::Csr(csr) => Looking::Csr { hart: vcpu, csr: *csr },
        Subject::Stage2(gpa) => Looking::Events(maps(*gpa)),
        Subject::Exits(kind) => {
            let kind = *kind;
            Looking::Events(Arc::new(move |event| {
                let Event::Exit(exit) = event else { return false };
                kind.is_none_or(|kind| exit.cause.kind() == kind)
            }))
        }
        Subject::Instructions => Looking::Steps,
        Subject::Accesses => {
            Looking::Accesses(Watch { start: 0, len: u64::MAX, load: true, store: true })
        }
        Subject::Events => Looking::Events(Arc::new(|_| true)),
        // These are about a place, which is looked for where it is.
        Subject::LastWrite(_)
        | Subject::NextWrite(_)
        | Subject::Writes(_)
        | Subject::Memory(_)
        | Subject::Registers => Looking::Writes(Vec::new()),
    }
}

/// Whether an event has to do with the mapping of a page: a leaf was made, or all went away.
fn maps(gpa: u64) -> Predicate {
    Arc::new(move |event| {
        if let Event::Exit(exit) = event
            && let Outcome::Mapped { gpa: first, size, .. } = exit.outcome
        {
            return gpa.checked_sub(first).is_some_and(|offset| offset < size);
        }
        matches!(event, Event::Vm { state: VmState::Started | VmState::Resetting, .. })
    })
}

/// Physical addresses of a place, as things are now.
fn ranges(player: &mut Player, vcpu: usize, place: Place) -> Result<Vec<Range<u64>>, TravelError> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = place.address;
    let end = place.address + place.len;
    while at < end {
        let next = end.min((at | 0xfff).saturating_add(1));
        let hpa = physical(player, vcpu, place.space, at)?;
        match found.last_mut() {
            Some(last) if last.end == hpa => last.end += next - at,
            _ => found.push(hpa..hpa + (next - at)),
        }
        at = next;
    }
    Ok(found)
}

/// The physical address of a byte, as things are now.
fn physical(player: &mut Player, vcpu: usize, space: Space, at: u64) -> Result<u64, TravelError> {
    let (gpa, hpa, size) = player.subject().guest_memory();
    let machine = player.subject.machine_mut();
    let no_memory = |what: &str| {
        Err(TravelError::Query(format!(
            "no memory is at the {what} address {at:#x} at this moment"
        )))
    };
    let of_guest = |at: u64| {
        let offset = at.checked_sub(gpa).filter(|offset| *offset < size)?;
        Some(hpa + offset)
    };
    let found = match space {
        Space::Host => Some(at),
        Space::Physical => of_guest(at),
        Space::Virtual => {
            let (hart, platform) = machine.hart_mut(vcpu);
            match hart.probe_place(platform, at) {
                Ok(hpa) => Some(hpa),
                // The guest has not touched it yet, and yet it is there.
                Err(trap) if trap.gpa != 0 && trap.tinst == 0 => of_guest(trap.gpa),
                Err(_) => None,
            }
        }
    };
    match found.filter(|hpa| machine.platform().memory().offset(*hpa, 1).is_ok()) {
        Some(hpa) => Ok(hpa),
        None => no_memory(match space {
            Space::Host => "physical",
            Space::Physical => "guest-physical",
            Space::Virtual => "guest-virtual",
        }),
    }
}

fn read(player: &mut Player, vcpu: usize, place: Place) -> Result<Vec<u8>, TravelError> {
    let mut bytes = Vec::new();
    for range in ranges(player, vcpu, place)? {
        let len = usize::try_from(range.end - range.start).unwrap_or(0);
        let memory = player.subject().machine().platform().memory();
        let found = memory.slice(range.start, len);
        bytes.extend(found.map_err(|error| TravelError::Query(error.to_string()))?);
    }
    Ok(bytes)
}

fn registers(player: &Player, vcpu: usize) -> Vec<(String, u64)> {
    let Some(hart) = player.subject().machine().harts().get(vcpu) else { return Vec::new() };
    let mut values = vec![("pc".to_owned(), hart.pc())];
    values.extend((1..32).map(|n| (isa::reg::x_name(n).to_owned(), hart.x(n))));
    values.extend((0..32).map(|n| (isa::reg::f_name(n).to_owned(), hart.f(n))));
    let csrs = isa::csr::CSRS.iter();
    values.extend(csrs.filter_map(|row| Some((row.name.to_owned(), hart.csr(row.csr)?))));
    values
}

/// What a hit is, in the words of a question.
#[must_use]
pub fn describe(hit: &Hit) -> String {
    match &hit.what {
        What::Execution => "executed".to_owned(),
        What::Step { insn } => format!("{insn:08x}"),
        What::Access(access) => {
            let what = if access.store { "store" } else { "load" };
            format!("{what} at {:#x}", access.address)
        }
        What::Write { hpa, len, old, new, writer } => {
            let writer = match writer {
                Writer::Hart => "the hart",
                Writer::Walker => "the page walker",
                Writer::Dma => "a device",
                Writer::VmPlane => "the VM plane",
                Writer::Debugger => "a debugger",
                Writer::Loader => "the loader",
            };
            format!("{writer} wrote {len} bytes at hpa {hpa:#x}: {old:#x} -> {new:#x}")
        }
        What::Csr { old, new } => format!("{old:#x} -> {new:#x}"),
        What::Event(event) => format!("#{} {event}", event.position().seq),
    }
}
