//! What happened in a run, step by step: who wrote which bytes, also where they stayed the same;
//! which instructions were attempted; what CSRs were; which events were sent.
//!
//! It is found without anything that watches: single steps, the instruction's own operands, and
//! memory before and after. Of a device's writes the ring in memory says where they went.

use std::collections::BTreeMap;

use isa::{Cause, Csr, Format, Insn, Op};
use machine::{PAGE, Tracking};
use session::{Event, ExitCause, Sink};
use timeline::{Around, Rest, Subject};

use crate::program::{DESCRIPTORS, ENTRIES, RAM, RING, USED};
use crate::rig::Tape;

/// Who wrote, as far as one can see from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// A store of this hart at this pc.
    Hart(usize, u64),
    /// A walk of this hart, in the step at this pc.
    Walker(usize, u64),
    Device,
    /// The VM plane or a loader; only what is another value then is known.
    Host,
}

/// A byte that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Byte {
    pub(crate) step: u64,
    pub(crate) hpa: u64,
    pub(crate) who: Who,
    pub(crate) old: u8,
    pub(crate) new: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) hart: usize,
    pub(crate) pc: u64,
    pub(crate) insn: u32,
    /// Its instruction was attempted; else an interrupt was taken.
    pub(crate) attempted: bool,
    /// Where it read or wrote, if it retired: address and whether it is a store.
    pub(crate) access: Option<(u64, bool)>,
}

/// A change of a CSR: step, before, after.
pub(crate) type Change = (u64, u64, u64);

/// All of it.
pub(crate) struct Trace {
    /// By step.
    pub(crate) steps: Vec<Step>,
    pub(crate) bytes: Vec<Byte>,
    pub(crate) csrs: BTreeMap<(usize, u16), Vec<Change>>,
    /// Each with the step of whose making it is.
    pub(crate) events: Vec<(u64, Event)>,
}

/// CSRs that are looked at.
pub(crate) const CSRS: [Csr; 16] = [
    Csr::VSSCRATCH,
    Csr::VSSTATUS,
    Csr::VSEPC,
    Csr::VSCAUSE,
    Csr::VSATP,
    Csr::VSTVEC,
    Csr::VSTIMECMP,
    Csr::FFLAGS,
    Csr::FRM,
    Csr::FCSR,
    Csr::SSCRATCH,
    Csr::MSTATUS,
    Csr::MEPC,
    Csr::MCAUSE,
    Csr::MTVEC,
    Csr::UCAUSE,
];

struct Heard(Vec<Event>);

impl Sink for Heard {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

/// A hart before a step.
#[derive(Clone)]
struct Before {
    steps: u64,
    pc: u64,
    retired: u64,
    x: [u64; 32],
    csrs: Vec<u64>,
}

fn look(subject: &mut dyn Subject) -> Vec<Before> {
    let machine = subject.machine_mut();
    (0..machine.harts().len())
        .map(|index| {
            let (hart, platform) = machine.hart_mut(index);
            hart.look(platform);
            let csr = |csr| hart.csr(csr).unwrap_or(0);
            Before {
                steps: hart.steps(),
                pc: hart.pc(),
                retired: csr(Csr::MINSTRET),
                x: std::array::from_fn(|n| hart.x(u8::try_from(n).unwrap())),
                csrs: CSRS.into_iter().map(csr).collect(),
            }
        })
        .collect()
}

fn ram(subject: &dyn Subject) -> Vec<u8> {
    let memory = subject.machine().platform().memory();
    memory.slice(memory.base(), memory.size()).unwrap().to_vec()
}

/// What a step is, seen from behind it.
struct Observer {
    subject: Box<dyn Subject>,
    tape: timeline::Tape,
    /// All of RAM before the step.
    shadow: Vec<u8>,
    /// First address of RAM, and of the guest's, and its bytes.
    base: u64,
    guest: u64,
    size: u64,
    has_disk: bool,
    trace: Trace,
}

/// Follows a recorded run.
pub(crate) fn trace(tape: &Tape) -> Trace {
    let inputs = timeline::Tape::new(tape.reader().inputs().unwrap());
    let mut subject = tape.case.subject();
    let base = subject.machine().platform().memory().base();
    let (_, guest, size) = subject.guest_memory();
    subject.machine_mut().memory_mut().track(Tracking::Numbers);
    let has_disk = subject.overlay().is_some();
    let (steps, bytes, events) = (Vec::new(), Vec::new(), Vec::new());
    let trace = Trace { steps, bytes, csrs: BTreeMap::new(), events };
    let mut observer =
        Observer { shadow: Vec::new(), subject, tape: inputs, base, guest, size, has_disk, trace };
    // What is loaded was written, and the start was told, before the first moment.
    observer.run(0, &mut Heard(Vec::new()));
    observer.shadow = ram(&*observer.subject);
    observer.subject.machine_mut().memory_mut().next_epoch();
    for step in 0..tape.at.step {
        observer.step(step);
        if step % 20_000 == 0 {
            assert!(observer.shadow == ram(&*observer.subject), "a write has not been tracked");
        }
    }
    assert!(observer.shadow == ram(&*observer.subject), "a write has not been tracked");
    observer.trace
}

impl Observer {
    fn run(&mut self, limit: u64, heard: &mut Heard) {
        let mut around = Around::new(&mut self.tape);
        around.sinks.push(heard);
        let rest = self.subject.run_until(&mut around, limit);
        assert!(matches!(rest, Rest::StepLimit | Rest::Stopped(_)), "{rest:?}");
    }

    fn step(&mut self, step: u64) {
        let before = look(&mut *self.subject);
        let mut heard = Heard(Vec::new());
        self.run(step + 1, &mut heard);
        let after = look(&mut *self.subject);
        let made = before.iter().zip(&after);
        let hart = made.clone().position(|(before, after)| before.steps != after.steps).unwrap();
        assert_eq!(made.filter(|(before, after)| before.steps != after.steps).count(), 1);
        let (was, is) = (&before[hart], &after[hart]);
        assert_eq!(was.steps + 1, is.steps);
        let retired = was.retired != is.retired;
        let insn = self.insn_at(hart, was.pc);
        let attempted = retired || !interrupted(&heard.0, hart, is);
        let decoded = isa::decode(insn).filter(|_| retired);
        let access = decoded.as_ref().and_then(|insn| access(insn, &was.x));
        let stores = decoded.map_or(Vec::new(), |insn| self.stores(hart, &insn, was, is));
        self.trace.steps.push(Step { hart, pc: was.pc, insn, attempted, access });
        self.note_writes(step, hart, was.pc, &stores);
        for (index, (was, is)) in before.iter().zip(&after).enumerate() {
            for (csr, (old, new)) in CSRS.iter().zip(was.csrs.iter().zip(&is.csrs)) {
                if old != new {
                    let list = self.trace.csrs.entry((index, csr.0)).or_default();
                    list.push((step, *old, *new));
                }
            }
        }
        self.trace.events.extend(heard.0.into_iter().map(|event| (step, event)));
    }

    fn byte(&self, hpa: u64) -> u8 {
        self.subject.machine().platform().memory().slice(hpa, 1).unwrap()[0]
    }

    fn insn_at(&mut self, hart: usize, pc: u64) -> u32 {
        let parcel = |observer: &mut Self, va| {
            let (hart, platform) = observer.subject.machine_mut().hart_mut(hart);
            let hpa = hart.probe_translate(platform, va, hart::Access::Fetch).ok()?;
            let bytes = platform.memory().slice(hpa, 2).ok()?;
            Some(u16::from_le_bytes([bytes[0], bytes[1]]))
        };
        let Some(low) = parcel(self, pc) else { return 0 };
        if isa::fetch_len(low) == 2 {
            return low.into();
        }
        u32::from(low) | u32::from(parcel(self, pc + 2).unwrap_or(0)) << 16
    }

    /// The physical bytes that a retired instruction has stored to.
    fn stores(&mut self, index: usize, insn: &Insn, was: &Before, is: &Before) -> Vec<u64> {
        let Some((mut va, true)) = access(insn, &was.x) else { return Vec::new() };
        let mut len = width(insn);
        if matches!(insn.op, Op::ScW | Op::ScD) {
            assert_ne!(insn.rd, 0, "nobody can see whether it failed");
            len *= u64::from(is.x[usize::from(insn.rd)] == 0);
        }
        if insn.op == Op::CboZero {
            va &= !63;
        }
        let (hart, platform) = self.subject.machine_mut().hart_mut(index);
        let place = |va| hart.probe_translate(platform, va, hart::Access::Store).unwrap();
        let found: Vec<u64> = (va..va + len).map(place).collect();
        let end = self.base + self.shadow.len() as u64;
        found.into_iter().filter(|hpa| (self.base..end).contains(hpa)).collect()
    }

    fn note_writes(&mut self, step: u64, hart: usize, pc: u64, stores: &[u64]) {
        let dirtied = self.subject.machine_mut().memory_mut().next_epoch();
        let mut changed = Vec::new();
        for page in dirtied.iter().map(|it| it.page as usize * PAGE) {
            let memory = self.subject.machine().platform().memory();
            let now = memory.slice(self.base + page as u64, PAGE).unwrap();
            let was = &self.shadow[page..page + PAGE];
            let other = (0..PAGE).filter(|at| now[*at] != was[*at]);
            changed.extend(other.map(|at| self.base + (page + at) as u64));
        }
        let mut bytes: BTreeMap<u64, Who> = BTreeMap::new();
        for hpa in stores {
            assert!(bytes.insert(*hpa, Who::Hart(hart, pc)).is_none());
        }
        if self.has_disk {
            for hpa in self.device_writes(&changed) {
                assert!(bytes.insert(hpa, Who::Device).is_none(), "two writers of a byte");
            }
        }
        let guest = self.guest..self.guest + self.size;
        let reset = self.was_reset(&changed);
        for hpa in changed {
            if bytes.contains_key(&hpa) {
                continue;
            }
            if reset || !guest.contains(&hpa) {
                bytes.insert(hpa, Who::Host);
                continue;
            }
            // An entry of a page table, whole.
            for at in (hpa & !7)..(hpa & !7) + 8 {
                assert!(bytes.insert(at, Who::Walker(hart, pc)).is_none(), "{hpa:#x} at {step}");
            }
        }
        for (hpa, who) in bytes {
            let new = self.byte(hpa);
            let old = &mut self.shadow[usize::try_from(hpa - self.base).unwrap()];
            let byte = Byte { step, hpa, who, old: *old, new };
            *old = new;
            self.trace.bytes.push(byte);
        }
    }

    /// A reset, and nobody else, takes the ring's index back.
    fn was_reset(&self, changed: &[u64]) -> bool {
        self.has_disk && changed.contains(&(self.place(RING) + 2)) && self.half(RING + 2) == 0
    }

    /// The physical address of a guest-physical one.
    fn place(&self, gpa: u64) -> u64 {
        gpa - RAM + self.guest
    }

    fn half(&self, gpa: u64) -> u16 {
        u16::from_le_bytes([self.byte(self.place(gpa)), self.byte(self.place(gpa + 1))])
    }

    fn word(&self, gpa: u64) -> u32 {
        u32::from(self.half(gpa)) | u32::from(self.half(gpa + 2)) << 16
    }

    /// Virtio, "The Virtqueue Used Ring": an index that has moved on by one says that the request
    /// of this entry is done, and so all of its buffers are written.
    fn device_writes(&self, changed: &[u64]) -> Vec<u64> {
        let index = self.place(USED + 2);
        let now = self.half(USED + 2);
        if !changed.contains(&index) || now == 0 {
            return Vec::new();
        }
        let entry = USED + 4 + 8 * ((u64::from(now) - 1) % ENTRIES);
        assert_eq!(self.word(entry), 0, "all requests begin with the first descriptor");
        let mut bytes: Vec<u64> = vec![index, index + 1];
        bytes.extend(self.place(entry)..self.place(entry) + 8);
        for at in [DESCRIPTORS, DESCRIPTORS + 16, DESCRIPTORS + 32] {
            let low = u64::from(self.word(at));
            if self.half(at + 12) & 2 != 0 {
                bytes.extend(self.place(low)..self.place(low) + u64::from(self.word(at + 8)));
            }
        }
        bytes
    }
}

/// Whether a step that did not retire was an interrupt.
fn interrupted(heard: &[Event], index: usize, is: &Before) -> bool {
    let told = heard.iter().find_map(|event| {
        if let Event::Exit(exit) = event {
            let cause = exit.cause;
            return Some(matches!(cause, ExitCause::Timer | ExitCause::Kick | ExitCause::External));
        }
        let Event::Trap(trap) = event else { return None };
        (trap.hart.index() == index).then_some(trap.cause >> 63 != 0)
    });
    if let Some(told) = told {
        return told;
    }
    // Nobody was told: the guest took it itself.
    let cause = CSRS.iter().position(|csr| *csr == Csr::VSCAUSE).unwrap();
    matches!(Cause::from_bits(is.csrs[cause]), Some(Cause::Interrupt(_)))
}

/// The address that a load or store names, and whether it is a store.
fn access(insn: &Insn, x: &[u64; 32]) -> Option<(u64, bool)> {
    let base = x[usize::from(insn.rs1)];
    let offset = base.wrapping_add(insn.imm.cast_unsigned());
    let fmt = insn.row().fmt;
    if matches!(fmt, Format::Store | Format::FStore) {
        return Some((offset, true));
    }
    if matches!(fmt, Format::Amo) || insn.op == Op::CboZero {
        return Some((base, true));
    }
    let loads = matches!(fmt, Format::Load | Format::FLoad) && insn.op != Op::Jalr;
    loads.then_some((offset, false)).or((fmt == Format::Lr).then_some((base, false)))
}

/// Bytes of an access.
fn width(insn: &Insn) -> u64 {
    let name = insn.op.mnemonic();
    if insn.op == Op::CboZero {
        return 64;
    }
    let name =
        if insn.row().fmt == Format::Amo { &name[name.rfind('.').unwrap() + 1..] } else { name };
    match name.as_bytes()[name.len() - 1] {
        b'b' => 1,
        b'h' => 2,
        b'w' => 4,
        b'd' => 8,
        _ => panic!("{name} has a width of its own"),
    }
}
