//! VMs of the committed guests, and what is left of a run.

use driver::{Config, Hu, VmRequest};
use images::{Catalogue, Payload, Source};
use session::{Event, Exit, Outcome, Sink};
use vmm::layout::RAM_BASE;
use vmm::{Segment, Vm, VmConfig};

pub(crate) const MEMORY: u64 = 64 << 20;

/// A VM with one of the guests that come with the program.
pub(crate) fn guest(name: &str, vcpus: usize) -> VmConfig {
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
    let mut config = VmConfig::new(name, MEMORY);
    config.vcpus = vcpus;
    config.segments = segments.collect();
    config.entry = payload.entry;
    config
}

/// A VM with these instructions at the begin of RAM.
pub(crate) fn code(words: &[u32]) -> VmConfig {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut config = VmConfig::new("code", MEMORY);
    config.segments = vec![Segment { addr: RAM_BASE, mem_size: bytes.len() as u64, bytes }];
    config
}

/// What is asked of the driver for a VM.
pub(crate) fn request(config: &VmConfig) -> VmRequest {
    VmRequest { vcpus: config.vcpus, ..VmRequest::new(config.memory) }
}

/// The VM over a driver that gives what is asked for.
pub(crate) fn assemble(config: VmConfig, request: &VmRequest) -> Vm<Hu> {
    assemble_in(Config::fitting(config.isa, request), config, request)
}

/// The same on such a machine.
pub(crate) fn assemble_in(machine: Config, config: VmConfig, request: &VmRequest) -> Vm<Hu> {
    Vm::new(Hu::start(machine, request).unwrap(), config).unwrap()
}

/// All events as text, which compare equal if the runs do; and the guest's console.
#[derive(Clone, Default)]
pub(crate) struct Log {
    /// What physical addresses are counted from.
    base: u64,
    hash: blake3::Hasher,
    pub(crate) events: u64,
    pub(crate) console: String,
}

impl Log {
    /// A log that does not depend on where the VM's RAM is.
    pub(crate) fn counted_from(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// How many events there were, and the hash of all of them.
    pub(crate) fn digest(&self) -> (u64, blake3::Hash) {
        (self.events, self.hash.finalize())
    }
}

impl Sink for Log {
    fn event(&mut self, event: &Event) {
        let mut event = event.clone();
        if let Event::Exit(Exit { outcome: Outcome::Mapped { hpa, .. }, .. }) = &mut event {
            *hpa -= self.base;
        }
        self.hash.update(format!("{event:?}\n").as_bytes());
        self.events += 1;
        if let Event::Console { bytes, .. } = event {
            self.console.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// Everything that a run left: its events, where it is, and the state of all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    events: (u64, blake3::Hash),
    at: session::Position,
    state: blake3::Hash,
}

pub(crate) fn left(vm: &Vm<Hu>, log: &Log) -> Left {
    let mut hash = blake3::Hasher::new();
    let mut feed = |bytes: &[u8]| {
        hash.update(bytes);
    };
    vm.dv().driver().digest(&mut feed);
    vm.digest(&mut feed);
    Left { events: log.digest(), at: vm.position(), state: hash.finalize() }
}
