//! A whole VM around some guest code: how it is put together, and what every run of it promises.

use driver::{Config, Hu, VmRequest};
use isa::Extensions;
use session::{Idle, Input, Inputs, Position, Stop};
use vmm::{Host, Leaf, Segment, Vm, VmConfig};

/// Where guests begin.
pub(crate) const ENTRY: u64 = 0x8020_0000;
const MEMORY: u64 = 4 << 20;

/// What a run depends on, apart from the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) vcpus: usize,
    pub(crate) leaf: Leaf,
    pub(crate) quantum: u64,
    pub(crate) max_steps: u64,
}

impl Setting {
    /// The setting that a byte names.
    pub(crate) fn of(byte: u8, max_steps: u64) -> Self {
        Self {
            vcpus: [1, 2, 4, 8][usize::from(byte & 3)],
            leaf: [Leaf::Page, Leaf::Mega, Leaf::Giga, Leaf::Mega][usize::from(byte >> 2 & 3)],
            quantum: [1, 37, 1000, 10_000][usize::from(byte >> 4 & 3)],
            max_steps,
        }
    }
}

/// Types something at the first opportunity.
struct Typing(Option<Vec<u8>>);

impl Inputs for Typing {
    fn next(&mut self, _at: Position, _time_ns: u64) -> Option<Input> {
        self.0.take().map(Input::Console)
    }

    fn idle(&mut self, _at: Position, _time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        if deadline_ns.is_some() { Idle::Deadline } else { Idle::Never }
    }
}

fn end(setting: Setting, n_blocks: usize, segments: Vec<Segment>, digest: bool) -> (Stop, u64) {
    let Setting { vcpus, leaf, quantum, max_steps } = setting;
    let mut config = VmConfig::new("fuzz", MEMORY);
    (config.vcpus, config.leaf, config.segments) = (vcpus, leaf, segments);
    config.entry = ENTRY;
    let request = VmRequest { vcpus, max_steps, ..VmRequest::new(MEMORY) };
    let fitting = Config::fitting(Extensions::ALL, &request);
    let hu = Hu::start(Config { quantum, n_blocks, ..fitting }, &request);
    let mut vm = Vm::new(hu.expect("the driver has room"), config).expect("the payload fits");
    let mut typing = Typing(Some(b"typed\r".to_vec()));
    let stop = vm.run(&mut Host::new(&mut typing));
    let mut hash = vm.position().step ^ vm.position().seq << 32;
    if digest {
        let mut feed = |bytes: &[u8]| {
            for part in bytes.chunks(8) {
                let mut word = [0; 8];
                word[..part.len()].copy_from_slice(part);
                let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash = mixed ^ mixed >> 29;
            }
        };
        vm.dv().driver().digest(&mut feed);
        vm.digest(&mut feed);
    }
    (stop, hash)
}

/// Runs the guest. It cannot make the driver stop the VM, nor bring the VM plane to its end; and if
/// asked, a second run with another block cache has to end in the same state.
pub(crate) fn run(setting: Setting, segments: &[Segment], twice: bool) {
    let first = end(setting, 64, segments.to_vec(), twice);
    assert!(
        matches!(first.0, Stop::PowerOff | Stop::Failed { .. } | Stop::StepLimit | Stop::Deadlock),
        "{:?}",
        first.0
    );
    if twice {
        assert_eq!(first, end(setting, 1, segments.to_vec(), true), "two runs differ");
    }
}

/// A segment of instruction words and what follows them.
pub(crate) fn code(words: &[u32], tail: &[u8]) -> Segment {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(tail);
    Segment { addr: ENTRY, mem_size: bytes.len() as u64, bytes }
}
