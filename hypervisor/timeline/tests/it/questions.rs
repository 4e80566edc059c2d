//! Random questions, and what a brute-force trace says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hart::Writer;
use isa::Csr;
use session::{Event, ExitKind, Outcome, VmState};
use timeline::{
    Answer, Asked, Hit, Place, Player, Point, Pool, Question, Space, TravelError, What,
};

use crate::dice::Dice;
use crate::oracle::{Byte, CSRS, Trace, Who, trace};
use crate::program::{ALIAS, DATA, FRESH, HEADER, IN, OUT, RAM, TABLES, USED};
use crate::rig::{self, Case, Tape, Typed, fine, on};

/// A recording, all that happened in it, and players that are asked.
struct World {
    tape: Tape,
    trace: Trace,
    pool: Pool,
    dice: Dice,
    /// What of its own the guest has been asked about, and whether anything was found.
    asked: BTreeMap<&'static str, (u32, u32)>,
}

/// Everything that a question is about: steps, and a vCPU.
struct Scope {
    window: Range<u64>,
    at: u64,
    vcpu: usize,
}

impl World {
    fn new(case: &Case, seed: u64) -> Self {
        let tape = case.record("questions");
        let trace = trace(&tape);
        let pool = Pool::new((0..3).map(|_| tape.player(fine())).collect());
        Self { tape, trace, pool, dice: Dice(seed), asked: BTreeMap::new() }
    }

    fn player(&mut self) -> &mut Player {
        self.pool.player().unwrap()
    }

    /// A step, and a way to say it.
    fn point(&mut self) -> (u64, Point) {
        let last = self.tape.at.step;
        let frames = self.player().reader().keyframes().len() as u64;
        let step = match self.dice.below(8) {
            0 => self.dice.pick(&[0, 1, last - 1, last]),
            1 | 2 => {
                let frame = usize::try_from(self.dice.below(frames)).unwrap();
                let step = self.player().reader().keyframes()[frame].at.step;
                (step + self.dice.below(3)).saturating_sub(1).min(last)
            }
            3 => {
                // Just before or behind something that happened.
                let n = self.trace.events.len() as u64;
                let event = usize::try_from(self.dice.below(n)).unwrap();
                (self.trace.events[event].0 + self.dice.below(3)).min(last)
            }
            _ => self.dice.below(last + 1),
        };
        (step, Point::Step(step))
    }

    fn place(&mut self) -> Place {
        let interesting = [
            DATA,
            DATA + 8,
            DATA + 0x13,
            DATA + 0x200,
            DATA + 0xff8,
            DATA + 0x1000,
            USED,
            USED + 2,
            USED + 4,
            OUT,
            IN,
            IN + 8,
            HEADER,
            HEADER + 64,
            TABLES,
            TABLES + 0x2000,
            FRESH,
            FRESH + 8,
            FRESH + 0x3008,
            RAM,
            RAM + 0x4400,
            RAM + 0x6102,
            FRESH + 0x2_0000,
        ];
        let len = match self.dice.below(4) {
            0 => self.dice.between(1, 8),
            1 => self.dice.between(1, 64),
            2 => 8,
            _ => self.dice.pick(&[1, 2, 4, 4096, 5000, 0x1_0000]),
        };
        let (_, guest, size) = self.player().subject().guest_memory();
        let address = match self.dice.below(5) {
            0 => RAM + self.dice.below(size - 0x1_0000),
            1 | 2 if self.is_program() => self.dice.pick(&interesting) + self.dice.below(4),
            _ => {
                // Somebody wrote there.
                let n = self.trace.bytes.len() as u64;
                let byte = self.trace.bytes[usize::try_from(self.dice.below(n)).unwrap()];
                let offset = byte.hpa.checked_sub(guest).filter(|offset| *offset < size - 0x1_0000);
                RAM + offset.unwrap_or(0)
            }
        };
        let spaces = if matches!(self.tape.case.what, rig::What::Guest(_)) { 2 } else { 3 };
        match self.dice.below(spaces) {
            2 => {
                let alias =
                    self.is_program() && (DATA..DATA + 0x1000).contains(&address) && len < 4096;
                let address = if alias { address - DATA + ALIAS } else { address };
                Place { space: Space::Virtual, address, len }
            }
            1 => Place { space: Space::Physical, address, len },
            _ => {
                let address = address - RAM + self.guest();
                Place { space: Space::Host, address, len }
            }
        }
    }

    fn is_program(&self) -> bool {
        matches!(self.tape.case.what, rig::What::Vm { .. })
    }

    /// Where the guest's RAM is in the machine's.
    fn guest(&mut self) -> u64 {
        self.player().subject().guest_memory().1
    }

    /// The physical bytes of a place at a step, as the program has mapped them.
    fn range(&mut self, place: Place, scope: &Scope) -> Option<Range<u64>> {
        let guest = self.guest();
        let begin = match place.space {
            Space::Host => place.address,
            Space::Physical => place.address - RAM + guest,
            Space::Virtual if place.address >= RAM => place.address - RAM + guest,
            Space::Virtual => {
                self.translates(scope).then(|| place.address - ALIAS + DATA - RAM + guest)?
            }
        };
        Some(begin..begin + place.len)
    }

    /// Whether a vCPU has turned its tables on. A reset turns them off.
    fn translates(&self, scope: &Scope) -> bool {
        let changes = self.trace.csrs.get(&(scope.vcpu, Csr::VSATP.0));
        let before = changes.and_then(|all| all.iter().rfind(|change| change.0 < scope.at));
        before.is_some_and(|change| change.2 != 0)
    }

    fn scope(&mut self) -> (Scope, Point, (Point, Point)) {
        let ((a, from), (b, to)) = (self.point(), self.point());
        let (window, points) = if a <= b { (a..b, (from, to)) } else { (b..a, (to, from)) };
        let (at, point) = self.point();
        let vcpu = usize::try_from(self.dice.below(self.tape.case.harts as u64)).unwrap();
        (Scope { window, at, vcpu }, point, points)
    }

    fn ask(
        &mut self,
        subject: Asked,
        scope: &Scope,
        point: Point,
        window: (Point, Point),
    ) -> Result<Answer, TravelError> {
        let limit = usize::MAX;
        let question = Question { subject, at: point, window, vcpu: scope.vcpu, limit };
        let answer = self.pool.ask(&question, &mut on);
        if let Ok(Answer::Hits(all)) = &answer {
            // A few of them are the first of all.
            let limit = usize::try_from(self.dice.between(1, 30)).unwrap();
            let few = self.pool.ask(&Question { limit, ..question }, &mut on).unwrap();
            assert_eq!(few, Answer::Hits(all[..limit.min(all.len())].to_vec()));
        }
        answer
    }

    fn hits(&mut self, name: &'static str, subject: Asked) -> (Scope, Vec<Hit>) {
        let (scope, point, window) = self.scope();
        let Answer::Hits(hits) = self.ask(subject, &scope, point, window).unwrap() else {
            panic!("{name} has no hits")
        };
        self.count(name, hits.is_empty());
        (scope, hits)
    }

    fn count(&mut self, name: &'static str, none: bool) {
        let entry = self.asked.entry(name).or_default();
        *(if none { &mut entry.1 } else { &mut entry.0 }) += 1;
    }

    fn question(&mut self) {
        match self.dice.below(12) {
            0..=4 => self.about_writes(),
            5 => self.about_executions(),
            6 | 7 => self.about_a_csr(),
            8 => self.about_stage_2(),
            9 => self.about_exits(),
            10 => self.about_instructions(),
            _ => self.about_accesses(),
        }
    }

    fn about_writes(&mut self) {
        let place = self.place();
        let (scope, point, window) = self.scope();
        let which = usize::try_from(self.dice.below(3)).unwrap();
        let subject = match which {
            0 => Asked::LastWrite(place),
            1 => Asked::NextWrite(place),
            _ => Asked::Writes(place),
        };
        let answer = self.ask(subject, &scope, point, window);
        let range = self.range(place, &scope);
        let Ok(Answer::Hits(hits)) = answer else {
            let tables = place.space == Space::Virtual && !self.has_tables(&scope);
            let query = matches!(answer, Err(TravelError::Query(_)));
            assert!(query && (range.is_none() || tables), "{place:?}: {answer:?}");
            return self.count("no memory", false);
        };
        let range = range.unwrap_or_else(|| panic!("{place:?} is memory?"));
        let last = self.tape.at.step;
        let window = [0..scope.at, scope.at..last, scope.window.clone()][which].clone();
        let all = self.trace.bytes.iter();
        let all: Vec<Byte> = all.filter(|byte| within(byte, &range, &window)).copied().collect();
        let got = bytes(&hits, &range);
        let what = format!("{place:?} = {range:x?} in {window:?}, {:?}", self.tape.case);
        if which == 2 {
            same(&got, &all, &what);
            return self.count("writes", hits.is_empty());
        }
        let (name, want) = [("last write", all.last()), ("next write", all.first())][which];
        assert!(hits.len() < 2, "{what}");
        let seen = |byte: &Byte| byte.who == Who::Host || all.contains(byte);
        assert!(got.iter().all(seen), "{what}: {got:x?}");
        let nearer =
            |step| want.is_none_or(|it| if which == 0 { step >= it.step } else { step <= it.step });
        if !hits.first().is_some_and(|hit| unseen(hit) && nearer(hit.step)) {
            assert_eq!(hits.first().map(|hit| hit.step), want.map(|it| it.step), "{what}");
        }
        self.count(name, hits.is_empty());
    }

    /// Whether stage 2 has the tables already. Before, nobody can say where a table leads.
    fn has_tables(&self, scope: &Scope) -> bool {
        let mut missing = BTreeSet::from([TABLES, TABLES + 0x1000, TABLES + 0x2000]);
        let before = self.trace.events.iter().rev().filter(|(step, _)| *step < scope.at);
        for (_, event) in before {
            if matches!(event, Event::Vm { state: VmState::Resetting, .. }) {
                break;
            }
            let Event::Exit(exit) = event else { continue };
            if let Outcome::Mapped { gpa, .. } = exit.outcome {
                missing.remove(&gpa);
            }
        }
        missing.is_empty()
    }

    fn about_executions(&mut self) {
        let any = self.dice.below(self.trace.steps.len() as u64);
        let pc = self.trace.steps[usize::try_from(any).unwrap()].pc;
        let (scope, hits) = self.hits("executions", Asked::Executions(pc));
        let steps = self.trace.steps.iter().zip(0u64..);
        let want = steps.filter(|(it, step)| it.pc == pc && it.attempted && scope.has(*step));
        let want: Vec<_> = want.map(|(it, step)| (step, Some(it.hart))).collect();
        let got: Vec<_> = hits.iter().map(|hit| (hit.step, hit.hart)).collect();
        same(&got, &want, &format!("{pc:#x} in {:?}", scope.window));
        assert!(hits.iter().all(|hit| hit.pc == pc && hit.what == What::Execution));
    }

    fn about_a_csr(&mut self) {
        let csr = self.dice.pick(&CSRS);
        let (scope, hits) = self.hits("csr", Asked::Csr(csr));
        let all = self.trace.csrs.get(&(scope.vcpu, csr.0)).map_or(&[][..], Vec::as_slice);
        let want: Vec<_> = all.iter().filter(|change| scope.has(change.0)).copied().collect();
        let got = hits.iter().map(|hit| {
            let What::Csr { old, new } = hit.what else { panic!("{hit:?}") };
            (hit.step, old, new)
        });
        let got: Vec<_> = got.collect();
        same(&got, &want, &format!("{csr} of {} in {:?}", scope.vcpu, scope.window));
    }

    fn about_events(
        &mut self,
        name: &'static str,
        subject: Asked,
        wanted: impl Fn(&Event) -> bool,
    ) {
        let (scope, hits) = self.hits(name, subject);
        let all = self.trace.events.iter().filter(|(step, _)| scope.has(*step));
        let want: Vec<_> = all.filter(|(_, event)| wanted(event)).cloned().collect();
        let got = hits.into_iter().map(|hit| {
            let What::Event(event) = hit.what else { panic!("{hit:?}") };
            (hit.step, *event)
        });
        same(&got.collect::<Vec<_>>(), &want, &format!("{name} in {:?}", scope.window));
    }

    fn about_stage_2(&mut self) {
        let place = self.place();
        let gpa = if place.space == Space::Physical { place.address } else { RAM + 0x8000 };
        self.about_events("stage 2", Asked::Stage2(gpa), |event| {
            if let Event::Vm { state, .. } = event {
                return matches!(state, VmState::Started | VmState::Resetting);
            }
            let Event::Exit(exit) = event else { return false };
            let Outcome::Mapped { gpa: first, size, .. } = exit.outcome else { return false };
            (first..first + size).contains(&gpa)
        });
    }

    fn about_exits(&mut self) {
        if self.dice.coin() {
            return self.about_events("events", Asked::Events, |_| true);
        }
        let kind = self.dice.pick(&ExitKind::ALL);
        let kind = self.dice.coin().then_some(kind);
        self.about_events("exits", Asked::Exits(kind), |event| {
            let Event::Exit(exit) = event else { return false };
            kind.is_none_or(|kind| exit.cause.kind() == kind)
        });
    }

    fn about_instructions(&mut self) {
        let (scope, hits) = self.hits("instructions", Asked::Instructions);
        let want = self.trace.steps.iter().zip(0u64..).filter(|(_, step)| scope.has(*step));
        let want: Vec<_> = want.map(|(it, step)| (step, Some(it.hart), it.pc, it.insn)).collect();
        let got = hits.iter().map(|hit| {
            let What::Step { insn } = hit.what else { panic!("{hit:?}") };
            (hit.step, hit.hart, hit.pc, insn)
        });
        same(&got.collect::<Vec<_>>(), &want, "instructions");
    }

    /// Of accesses that trap only the program knows.
    fn about_accesses(&mut self) {
        let (scope, hits) = self.hits("accesses", Asked::Accesses);
        let steps = self.trace.steps.iter().zip(0u64..).filter(|(_, step)| scope.has(*step));
        let access = |(it, step): (&crate::oracle::Step, u64)| {
            let (address, store) = it.access?;
            Some((step, Some(it.hart), it.pc, address, store))
        };
        let want: Vec<_> = steps.filter_map(access).collect();
        let retired: BTreeSet<u64> = want.iter().map(|it| it.0).collect();
        let got = hits.iter().map(|hit| {
            let What::Access(access) = hit.what else { panic!("{hit:?}") };
            (hit.step, hit.hart, hit.pc, access.address, access.store)
        });
        let got: Vec<_> = got.filter(|it| retired.contains(&it.0)).collect();
        same(&got, &want, "accesses");
    }

    /// Memory and registers at many moments.
    fn moments(&mut self, n: usize) {
        let mut asked = Vec::new();
        for _ in 0..n {
            let place = self.place();
            let place =
                Place { space: Space::Physical, address: RAM + place.address % 0x4000, ..place };
            let (scope, point, window) = self.scope();
            let bytes = self.ask(Asked::Memory(place), &scope, point, window).unwrap();
            let registers = self.ask(Asked::Registers, &scope, point, window).unwrap();
            asked.push((scope, place, bytes, registers));
        }
        asked.sort_by_key(|it| it.0.at);
        let mut run = crate::seek::Straight::new(&self.tape);
        for (scope, place, bytes, registers) in asked {
            run.go(scope.at);
            let (begin, len) =
                (place.address - RAM + self.guest(), usize::try_from(place.len).unwrap());
            let memory = run.subject().machine().platform().memory();
            let want = memory.slice(begin, len).unwrap().to_vec();
            assert_eq!(bytes, Answer::Memory { step: scope.at, bytes: want });
            let hart = &run.subject().machine().harts()[scope.vcpu];
            let Answer::Registers { step, values } = registers else { panic!("registers") };
            assert_eq!(step, scope.at);
            let value = |name: &str| values.iter().find(|it| it.0 == name).unwrap().1;
            assert_eq!((value("pc"), value("a0")), (hart.pc(), hart.x(10)));
            assert_eq!((value("s1"), value("ft1")), (hart.x(9), hart.f(1)));
            assert_eq!(Some(value("vsepc")), hart.csr(Csr::VSEPC));
        }
    }
}

impl Scope {
    fn has(&self, step: u64) -> bool {
        self.window.contains(&step)
    }
}

/// Says where they part, not all of both.
#[track_caller]
fn same<T: std::fmt::Debug + PartialEq>(got: &[T], want: &[T], what: &str) {
    if let Some(at) = (0..got.len().max(want.len())).find(|at| got.get(*at) != want.get(*at)) {
        let near = |list: &[T]| format!("{:x?}", list.iter().skip(at).take(3).collect::<Vec<_>>());
        panic!("{what}: at {at} of {}\n got {}\nwant {}", want.len(), near(got), near(want));
    }
}

/// A write that who looks before and behind need not see: where a guest is reset, zeros are written
/// over zeros, and the program over itself.
fn unseen(hit: &Hit) -> bool {
    let What::Write { writer, .. } = hit.what else { return false };
    matches!(writer, Writer::VmPlane | Writer::Loader)
}

fn within(byte: &Byte, range: &Range<u64>, window: &Range<u64>) -> bool {
    let seen = byte.who != Who::Host || byte.old != byte.new;
    range.contains(&byte.hpa) && window.contains(&byte.step) && seen
}

/// Writes byte by byte, as the oracle has them.
fn bytes(hits: &[Hit], range: &Range<u64>) -> Vec<Byte> {
    let mut found: Vec<Byte> = Vec::new();
    for hit in hits {
        let What::Write { hpa, len, old, new, writer } = hit.what else { panic!("{hit:?}") };
        let who = match (writer, hit.hart) {
            (Writer::Hart, Some(hart)) => Who::Hart(hart, hit.pc),
            (Writer::Walker, Some(hart)) => Who::Walker(hart, hit.pc),
            (Writer::Dma, None) => Who::Device,
            (Writer::VmPlane | Writer::Loader, None) => Who::Host,
            _ => panic!("{hit:?}"),
        };
        for (i, (old, new)) in (0..len).zip(old.to_le_bytes().into_iter().zip(new.to_le_bytes())) {
            let byte = Byte { step: hit.step, hpa: hpa + u64::from(i), who, old, new };
            // What the host writes twice is one write to who looks before and behind.
            let same =
                |it: &&mut Byte| (it.step, it.hpa, it.who) == (byte.step, byte.hpa, Who::Host);
            if let Some(before) = found.iter_mut().rev().take(1 << 16).find(same) {
                before.new = new;
            } else {
                found.push(byte);
            }
        }
    }
    found.retain(|byte| within(byte, range, &(0..u64::MAX)));
    found.sort_by_key(|byte| (byte.step, byte.hpa));
    found
}

fn check(case: &Case, n: usize) -> BTreeMap<&'static str, (u32, u32)> {
    let mut world = World::new(case, n as u64);
    for _ in 0..n {
        world.question();
    }
    world.moments(n / 10);
    world.asked
}

fn program(what: rig::What, harts: usize) -> Case {
    Case { quantum: 97, spacing: 900, ..Case::new(what, harts, 60_000) }
}

#[track_caller]
fn answered(asked: &BTreeMap<&'static str, (u32, u32)>, n: u32) {
    assert!(asked.values().all(|it| it.0 > n), "{asked:?}");
}

#[test]
fn a_vm_with_one_vcpu_and_a_disk() {
    let case = program(rig::What::Vm { rounds: 40, resets: 0 }, 1);
    answered(&check(&Case { typed: Typed::Wild(11), ..case }, 225), 0);
}

#[test]
fn a_vm_with_four_vcpus_and_a_disk() {
    let case = program(rig::What::Vm { rounds: 20, resets: 0 }, 4);
    answered(&check(&Case { typed: Typed::Wild(12), ..case }, 225), 0);
}

#[test]
fn bare_machines_with_a_disk() {
    check(&program(rig::What::Bare { rounds: 40, resets: 0 }, 1), 100);
    let case = program(rig::What::Bare { rounds: 20, resets: 0 }, 3);
    check(&Case { typed: Typed::Wild(13), ..case }, 100);
}

#[test]
fn guests_that_are_reset() {
    check(&program(rig::What::Vm { rounds: 5, resets: 3 }, 2), 100);
    check(&program(rig::What::Bare { rounds: 5, resets: 3 }, 2), 100);
}

#[test]
fn the_demo() {
    for (harts, steps) in [(1, 40_000), (4, 60_000)] {
        let case = Case::new(rig::What::Guest("demo"), harts, steps);
        check(&Case { typed: Typed::Wild(14), quantum: 300, ..case }, 100);
    }
}
