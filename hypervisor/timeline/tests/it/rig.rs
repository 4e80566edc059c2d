//! Guests to record, their recordings, and what replays them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use devices::virtio::block::CowDisk;
use driver::{Config, Hu, VmRequest};
use images::{Catalogue, Payload};
use machine::{BareConfig, BareMachine};
use session::{Idle, Input, Inputs, Position, Script};
use timeline::{
    Around, Delegated, Full, Grain, OnFull, Player, Recorded, Recorder, Source, Spacing, Subject,
};
use traces::{Header, Kind, Reader, Writer};
use vmm::{AnyDisk, Leaf, VmConfig};

use crate::dice::Dice;
use crate::program::{self, RAM, RAM_SIZE, SECTORS, Wanted};

/// A file that is gone afterwards.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("{name}-{}-{n}.dvt", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A committed guest in a VM.
    Guest(&'static str),
    /// The program of these tests in a VM, with a disk; so many rounds between resets.
    Vm { rounds: u64, resets: u64 },
    /// The same on a bare machine.
    Bare { rounds: u64, resets: u64 },
}

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Nothing,
    Script(&'static str),
    /// Anything anywhere, by a seed.
    Wild(u64),
    /// The same, and an end in so many waits.
    Quit(u64, u64),
}

/// A run to record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) what: What,
    pub(crate) harts: usize,
    pub(crate) typed: Typed,
    pub(crate) quantum: u64,
    pub(crate) n_blocks: usize,
    pub(crate) seed: u64,
    /// At most so many steps.
    pub(crate) steps: u64,
    /// Steps between keyframes.
    pub(crate) spacing: u64,
    pub(crate) with_events: bool,
}

impl Case {
    pub(crate) fn new(what: What, harts: usize, steps: u64) -> Self {
        Self {
            what,
            harts,
            typed: Typed::Nothing,
            quantum: 1000,
            n_blocks: hart::BLOCKS_DEFAULT,
            seed: 0,
            steps,
            spacing: steps / 12,
            with_events: true,
        }
    }

    /// A guest that has not run.
    pub(crate) fn subject(&self) -> Box<dyn Subject> {
        match self.what {
            What::Guest(name) => Box::new(Delegated(self.vm(guest(name), 64 << 20))),
            What::Vm { rounds, resets } => {
                let harts = self.harts as u64;
                let image = program::image(Wanted { vm: true, harts, rounds, resets });
                let mut config = VmConfig::new("program", RAM_SIZE);
                let mem_size = image.len() as u64;
                config.segments = vec![vmm::Segment { addr: RAM, bytes: image, mem_size }];
                config.leaf = Leaf::Page;
                config.disk = Some(AnyDisk::new(disk()));
                Box::new(Delegated(self.vm(config, RAM_SIZE)))
            }
            What::Bare { rounds, resets } => {
                let harts = self.harts as u64;
                let image = program::image(Wanted { vm: false, harts, rounds, resets });
                let mem_size = image.len() as u64;
                let config = BareConfig {
                    harts: self.harts,
                    quantum: self.quantum,
                    n_blocks: self.n_blocks,
                    seed: self.seed,
                    segments: vec![machine::Segment { addr: RAM, bytes: image, mem_size }],
                    disk: Some(Box::new(disk())),
                    ..BareConfig::new("program", RAM_SIZE)
                };
                Box::new(BareMachine::new(config).unwrap())
            }
        }
    }

    fn vm(&self, mut config: VmConfig, memory: u64) -> timeline::Vm {
        config.vcpus = self.harts;
        config.seed = self.seed;
        let request = VmRequest { vcpus: self.harts, ..VmRequest::new(memory) };
        let below = Config {
            quantum: self.quantum,
            n_blocks: self.n_blocks,
            ..Config::fitting(config.isa, &request)
        };
        vmm::Vm::new(Hu::start(below, &request).unwrap(), config).unwrap()
    }

    pub(crate) fn inputs(&self) -> Box<dyn Inputs> {
        match self.typed {
            Typed::Nothing => Box::new(session::NoInputs),
            Typed::Script(text) => Box::new(Script::parse(text).unwrap()),
            Typed::Wild(seed) => Box::new(Wild { dice: Dice(seed), waits: u64::MAX }),
            Typed::Quit(seed, waits) => Box::new(Wild { dice: Dice(seed), waits }),
        }
    }

    /// Records it.
    pub(crate) fn record(&self, name: &str) -> Tape {
        let file = Scratch::new(name);
        let mut subject = self.subject();
        let recorded = self.record_with(&file, &mut *subject, &mut *self.inputs());
        assert!(recorded.failed.is_none(), "{:?}", recorded.failed);
        Tape { case: *self, digest: digest(&*subject), at: subject.position(), recorded, file }
    }

    /// Records this subject with these inputs.
    pub(crate) fn record_with(
        &self,
        file: &Scratch,
        subject: &mut dyn Subject,
        inputs: &mut dyn Inputs,
    ) -> Recorded {
        let writer = Writer::create(&file.0, &header()).unwrap();
        let spacing = Spacing { min_steps: self.spacing, bytes_per_gigastep: u64::MAX >> 32 };
        let recorder = Recorder::new(writer, self.with_events, spacing, |work| {
            thread::spawn(work);
        });
        let mut wait = |_: &traces::WriteError| false;
        let mut full = Full { policy: OnFull::Stop, wait: &mut wait };
        recorder.record(subject, Around::new(inputs), Some(self.steps), &mut full)
    }
}

/// A recording in a file.
#[derive(Debug)]
pub(crate) struct Tape {
    pub(crate) case: Case,
    /// Of the guest that was recorded, at its end.
    pub(crate) digest: blake3::Hash,
    pub(crate) at: Position,
    pub(crate) recorded: Recorded,
    pub(crate) file: Scratch,
}

impl Tape {
    pub(crate) fn reader(&self) -> Reader {
        let (reader, damages) = Reader::open(&self.file.0).unwrap();
        assert_eq!(damages, [], "{:?}", self.case);
        reader
    }

    pub(crate) fn source(&self) -> Source {
        Source { subject: self.case.subject(), reader: self.reader() }
    }

    pub(crate) fn player(&self, grain: Grain) -> Player {
        Player::open(self.source(), grain).unwrap()
    }
}

/// Checkpoints everywhere, and keyframes that are worth loading.
pub(crate) fn fine() -> Grain {
    Grain { budget: 16 << 20, coarse: 4096, fine: 512, load: 3000 }
}

pub(crate) fn header() -> Header {
    Header {
        tool: "tests".to_owned(),
        model: timeline::MODEL,
        kind: Kind::Vm,
        settings: Vec::new(),
        images: Vec::new(),
        id: *b"0123456789abcdef",
    }
}

fn disk() -> CowDisk<Arc<[u8]>> {
    let sectors = 0..SECTORS - 1;
    let mut bytes: Vec<u8> = sectors.flat_map(|n| [n.to_le_bytes()[0]; 512]).collect();
    bytes.extend([0; 512]);
    CowDisk::new(bytes.into(), 1 << 20)
}

fn guest(name: &str) -> VmConfig {
    let images::Source::Embedded(bytes) = Catalogue::new().get(name).unwrap().source else {
        panic!("{name} does not come with the program");
    };
    let payload = Payload::parse(bytes, RAM).unwrap();
    let mut config = VmConfig::new(name, 64 << 20);
    let segments = payload.segments.into_iter();
    config.segments = segments
        .map(|it| vmm::Segment { addr: it.addr, bytes: it.bytes, mem_size: it.mem_size })
        .collect();
    config.entry = payload.entry;
    config
}

/// Everything of a guest, as one number.
pub(crate) fn digest(subject: &dyn Subject) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    subject.digest(&mut |bytes| {
        hash.update(bytes);
    });
    hash.finalize()
}

/// Never wants to stop.
pub(crate) fn on(_: u64, _: u64) -> bool {
    true
}

/// Inputs at random: at slices, while everybody waits, with looks at commands between.
struct Wild {
    dice: Dice,
    /// Waits until the end.
    waits: u64,
}

impl Wild {
    fn input(&mut self) -> Input {
        let words = [&b"help\n"[..], b"harts\n", b"x", b"jobs\n", b"", b"\x03\n"];
        Input::Console(self.dice.pick(&words).to_vec())
    }
}

impl Inputs for Wild {
    fn next(&mut self, _at: Position, _time_ns: u64) -> Option<Input> {
        self.dice.one_in(9).then(|| self.input())
    }

    fn idle(&mut self, _at: Position, time_ns: u64, deadline_ns: Option<u64>) -> Idle {
        self.waits -= 1;
        if self.waits == 0 {
            return Idle::Input { time_ns, input: Input::Quit };
        }
        match (self.dice.below(4), deadline_ns) {
            (0, _) => Idle::Attention,
            (1 | 2, Some(_)) => Idle::Deadline,
            _ => {
                let time_ns = time_ns + self.dice.below(2_000_000);
                Idle::Input { time_ns, input: self.input() }
            }
        }
    }
}
