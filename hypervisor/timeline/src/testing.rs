//! Guests to test with, and what surrounds them.

use std::sync::{Arc, Mutex};

use driver::{Config, Hu, VmRequest};
use images::{Catalogue, Payload, Source};
use session::{Idle, Input, Inputs, Position, Stop};
use traces::{Header, Kind, Reader};
use vmm::layout::RAM_BASE;
use vmm::{Segment, VmConfig};

use crate::{Around, Delegated, Full, Kept, Means, OnFull, Recorded, Recorder, Rest, Subject};

/// A VM with one of the guests that come with the program.
pub(crate) fn guest(name: &str, vcpus: usize) -> Box<dyn Subject> {
    let catalogue = Catalogue::new();
    let Source::Embedded(bytes) = catalogue.get(name).unwrap().source else {
        panic!("{name} does not come with the program");
    };
    let payload = Payload::parse(bytes, RAM_BASE).unwrap();
    let segments = payload.segments.into_iter().map(|segment| Segment {
        addr: segment.addr,
        bytes: segment.bytes,
        mem_size: segment.mem_size,
    });
    let mut config = VmConfig::new(name, 64 << 20);
    config.vcpus = vcpus;
    config.segments = segments.collect();
    config.entry = payload.entry;
    let request = VmRequest { vcpus, ..VmRequest::new(config.memory) };
    let hu = Hu::start(Config::fitting(config.isa, &request), &request).unwrap();
    Box::new(Delegated(vmm::Vm::new(hu, config).unwrap()))
}

pub(crate) fn header() -> Header {
    Header {
        tool: "a test".to_owned(),
        model: crate::MODEL,
        kind: Kind::Vm,
        settings: Vec::new(),
        images: Vec::new(),
        id: [7; 16],
    }
}

/// Types a byte every so many steps.
#[derive(Clone, Debug)]
pub(crate) struct Typist {
    pub(crate) every: u64,
    pub(crate) next: u64,
}

impl Typist {
    pub(crate) fn new(every: u64) -> Self {
        Self { every, next: every }
    }
}

impl Inputs for Typist {
    fn next(&mut self, at: Position, _time_ns: u64) -> Option<Input> {
        if at.step < self.next {
            return None;
        }
        self.next = at.step + self.every;
        Some(Input::Console(vec![b'a' + u8::try_from(at.step % 26).unwrap()]))
    }

    fn idle(&mut self, _at: Position, _time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        if deadline_ns.is_some() { Idle::Deadline } else { Idle::Never }
    }
}

/// What a test sees of the recordings that are written.
pub(crate) type Written = Arc<Mutex<Vec<Arc<[u8]>>>>;

/// A history with this budget.
pub(crate) fn kept(budget: usize) -> (Kept, Written) {
    let written = Written::default();
    let files = Arc::clone(&written);
    let means = Means {
        header: header(),
        save: Box::new(move |_, at, bytes| {
            files.lock().unwrap().push(bytes.into());
            Ok(at.step.to_string())
        }),
        told: Box::new(|_| {}),
    };
    (Kept::new(crate::History::new(budget), means), written)
}

/// Runs a subject that is kept in memory.
pub(crate) fn run(
    subject: &mut dyn Subject,
    kept: Kept,
    around: Around<'_>,
    steps: u64,
) -> Recorded {
    let mut full = Full { policy: OnFull::Stop, wait: &mut |_| false };
    Recorder::in_memory(kept).record(subject, around, Some(steps), &mut full)
}

pub(crate) fn reader(bytes: &Arc<[u8]>) -> Reader {
    let (reader, damages) = Reader::from_bytes(Arc::clone(bytes)).unwrap();
    assert_eq!(damages, []);
    reader
}

/// The state of a guest.
pub(crate) fn digest(subject: &dyn Subject) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    subject.digest(&mut |bytes| {
        hash.update(bytes);
    });
    hash.finalize()
}

/// The same run, undisturbed, and where it ends.
pub(crate) fn undisturbed(
    name: &str,
    vcpus: usize,
    inputs: &mut dyn Inputs,
    steps: u64,
) -> (Position, blake3::Hash) {
    let mut subject = guest(name, vcpus);
    let mut around = Around::new(inputs);
    if subject.run_until(&mut around, steps) == Rest::StepLimit {
        assert_eq!(subject.end_at_limit(&mut around), Stop::StepLimit);
    }
    (subject.position(), digest(&*subject))
}
