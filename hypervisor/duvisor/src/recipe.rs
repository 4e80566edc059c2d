//! Everything that decides a run but its inputs: from options, or from a recording; and the guest
//! that is made of it, as often as one is wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use driver::{Config, Hu, RAM_MAX, VmRequest};
use images::{Payload, Symbols};
use isa::{Ext, Extensions};
use machine::{BareConfig, BareMachine, Boot};
use timeline::{Delegated, Subject};
use tracing::info;
use vmm::layout::RAM_BASE;
use vmm::{AnyDisk, Leaf, Segment, VmConfig};

use crate::library::{self, GUEST};
use crate::{args, blame, disk, setup};

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Payload,
    Firmware,
    Initrd,
    DeviceTree,
}

impl Role {
    pub(crate) const ALL: [(Self, &str); 4] = [
        (Self::Payload, "payload"),
        (Self::Firmware, "firmware"),
        (Self::Initrd, "initrd"),
        (Self::DeviceTree, "dtb"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| name)
    }
}

/// An image, whole.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) role: Role,
    /// Where it is from, as errors have it: a path, or `guest NAME`.
    pub(crate) name: String,
    pub(crate) bytes: Arc<[u8]>,
}

impl Image {
    pub(crate) fn new(role: Role, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { role, name: name.into(), bytes: bytes.into() }
    }
}

/// How a bare machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Bare,
    DeviceTree,
    Firmware,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Vm { leaf: Leaf },
    Machine { start: Start },
}

/// Everything that decides a run but its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) vcpus: usize,
    pub(crate) memory: u64,
    pub(crate) isa: Extensions,
    pub(crate) quantum: u64,
    pub(crate) cmdline: String,
    pub(crate) seed: u64,
    pub(crate) rtc_base_ns: u64,
    pub(crate) reboot: bool,
    pub(crate) images: Vec<Image>,
    pub(crate) disk: Option<crate::values::Disk>,
    // Seen by no guest.
    pub(crate) n_blocks: usize,
    pub(crate) sample_every: u32,
}

/// A guest that was made of a recipe.
pub(crate) enum Made {
    Vm(Box<Delegated>),
    Machine(Box<BareMachine>),
}

impl Made {
    pub(crate) fn subject(self) -> Box<dyn Subject> {
        match self {
            Self::Vm(vm) => vm,
            Self::Machine(machine) => machine,
        }
    }
}

impl Recipe {
    /// The image of a role.
    pub(crate) fn image(&self, role: Role) -> Option<&Image> {
        self.images.iter().find(|image| image.role == role)
    }

    fn bytes(&self, role: Role) -> Option<Vec<u8>> {
        self.image(role).map(|image| image.bytes.to_vec())
    }

    /// What starts first, as errors have it.
    pub(crate) fn origin(&self) -> String {
        let first = self.image(Role::Firmware).or_else(|| self.image(Role::Payload));
        first.map(|image| image.name.clone()).unwrap_or_default()
    }

    fn payload(&self, role: Role) -> Result<Option<Payload>> {
        let Some(image) = self.image(role) else { return Ok(None) };
        let parsed = Payload::parse(&image.bytes, RAM_BASE);
        let parsed = if role == Role::Firmware {
            // fw_*.bin has no header: it goes where firmware goes.
            parsed.or_else(|_| Payload::raw(&image.bytes, RAM_BASE))
        } else {
            parsed
        };
        let name = &image.name;
        parsed.with_context(|| format!("loading {name}")).map(Some)
    }

    /// What the program says of itself.
    pub(crate) fn symbols(&self) -> Result<Symbols> {
        let first = self.payload(Role::Firmware)?;
        let first = if first.is_none() { self.payload(Role::Payload)? } else { first };
        Ok(first.map(|payload| payload.symbols).unwrap_or_default())
    }

    /// A VM's configuration, without its disk.
    pub(crate) fn vm_config(&self, leaf: Leaf) -> Result<VmConfig> {
        let payload = self.payload(Role::Payload)?.context("there is no program to run")?;
        let segments = payload.segments.into_iter().map(|segment| Segment {
            addr: segment.addr,
            bytes: segment.bytes,
            mem_size: segment.mem_size,
        });
        let mut config = VmConfig::new(&self.name, self.memory);
        config.vcpus = self.vcpus;
        config.isa = self.isa;
        config.segments = segments.collect();
        config.entry = payload.entry;
        config.initrd = self.bytes(Role::Initrd);
        config.cmdline.clone_from(&self.cmdline);
        config.dtb = self.bytes(Role::DeviceTree);
        config.seed = self.seed;
        config.rtc_base_ns = self.rtc_base_ns;
        config.reboot = self.reboot;
        config.leaf = leaf;
        config.sample_every = self.sample_every;
        Ok(config)
    }

    /// A bare machine's configuration, without its disk.
    pub(crate) fn bare_config(&self, start: Start) -> Result<BareConfig> {
        let mut config = BareConfig::new(&self.name, self.memory);
        config.harts = self.vcpus;
        config.isa = self.isa;
        config.quantum = self.quantum;
        config.n_blocks = self.n_blocks;
        let (firmware, payload) = (self.payload(Role::Firmware)?, self.payload(Role::Payload)?);
        config.boot = match start {
            Start::Bare => Boot::Bare,
            Start::DeviceTree => Boot::DeviceTree,
            Start::Firmware => Boot::Firmware { next: payload.as_ref().map(|it| it.entry) },
        };
        let payloads: Vec<Payload> = [firmware, payload].into_iter().flatten().collect();
        let first = payloads.first().context("there is no program to run")?;
        config.entry = first.entry;
        config.tohost = first.symbols.tohost;
        config.fromhost = first.symbols.fromhost;
        let segments = payloads.into_iter().flat_map(|payload| payload.segments);
        config.segments = segments
            .map(|it| machine::Segment { addr: it.addr, bytes: it.bytes, mem_size: it.mem_size })
            .collect();
        config.initrd = self.bytes(Role::Initrd);
        config.cmdline.clone_from(&self.cmdline);
        config.dtb = self.bytes(Role::DeviceTree);
        config.seed = self.seed;
        config.rtc_base_ns = self.rtc_base_ns;
        config.reboot = self.reboot;
        Ok(config)
    }

    /// A guest that has not run, over this disk.
    pub(crate) fn make(&self, disk: Option<AnyDisk>, boot: &args::Boot) -> Result<Made> {
        match self.kind {
            Kind::Vm { leaf } => {
                let mut config = self.vm_config(leaf)?;
                config.disk = disk;
                Ok(Made::Vm(Box::new(Delegated(self.assemble_vm(config, boot)?))))
            }
            Kind::Machine { start } => {
                let mut config = self.bare_config(start)?;
                config.disk = disk.map(|disk| Box::new(disk) as machine::AnyDisk);
                Ok(Made::Machine(Box::new(self.assemble_machine(config, boot)?)))
            }
        }
    }

    /// Asks the driver for a VM and puts it together.
    fn assemble_vm(&self, config: VmConfig, boot: &args::Boot) -> Result<timeline::Vm> {
        let spans = config.segments.iter().map(|it| (it.addr, it.mem_size));
        setup::log_memory(RAM_BASE, config.ram_end(), config.entry, spans);
        let request = VmRequest { vcpus: config.vcpus, ..VmRequest::new(config.memory) };
        let memory = config.memory;
        let fitting = Config::fitting(config.isa, &request);
        let below = Config { quantum: self.quantum, n_blocks: self.n_blocks, ..fitting };
        if below.ram_size > RAM_MAX {
            let fits = |gib: &u64| {
                Config::fitting(config.isa, &VmRequest::new(gib << 30)).ram_size <= RAM_MAX
            };
            let most = (1..RAM_MAX >> 30).rev().find(fits).unwrap_or_default();
            bail!("--mem: {memory} bytes are too many: expected at most {most}G");
        }
        setup::can_allocate(memory, below.ram_size)?;
        info!(
            quantum = below.quantum,
            blocks = below.n_blocks,
            ram = format_args!("{:#x}", below.ram_size),
            "the machine below",
        );
        let hu = Hu::start(below, &request).context("asking the driver for a VM")?;
        let vm = vmm::Vm::new(hu, config);
        let vm = vm.map_err(|error| blame::vm(error, &self.origin(), boot, memory))?;
        for (image, begin, end) in vm.images() {
            info!("{image} at {begin:#x} to {end:#x}");
        }
        Ok(vm)
    }

    fn assemble_machine(&self, config: BareConfig, boot: &args::Boot) -> Result<BareMachine> {
        setup::can_allocate(config.memory, config.memory)?;
        info!(
            name = config.name,
            harts = config.harts,
            boot = ?config.boot,
            quantum = config.quantum,
            blocks = config.n_blocks,
            "a bare machine",
        );
        let spans = config.segments.iter().map(|it| (it.addr, it.mem_size));
        setup::log_memory(RAM_BASE, config.ram_end(), config.entry, spans);
        let (origin, memory) = (self.origin(), config.memory);
        let blame = |error| blame::machine(error, &origin, boot, memory);
        let machine = BareMachine::new(config).map_err(blame)?;
        for (image, begin, end) in machine.images() {
            info!("{image} at {begin:#x} to {end:#x}");
        }
        Ok(machine)
    }
}

// Recordings.

/// The options that decide a run, by the names under which a recording has them.
impl Recipe {
    /// As a recording has it.
    pub(crate) fn header(&self, id: [u8; 16]) -> traces::Header {
        let mut settings = vec![
            ("name", self.name.clone()),
            ("vcpus", self.vcpus.to_string()),
            ("mem", self.memory.to_string()),
            ("isa", format!("{:#x}", self.isa.bits())),
            ("isa-string", self.isa.device_tree_isa().to_string()),
            ("quantum", self.quantum.to_string()),
            ("append", self.cmdline.clone()),
            ("seed", self.seed.to_string()),
            ("rtc-base-ns", self.rtc_base_ns.to_string()),
            ("reboot", self.reboot.to_string()),
        ];
        let kind = match self.kind {
            Kind::Vm { leaf } => {
                settings.push(("leaf", leaf.bytes().to_string()));
                traces::Kind::Vm
            }
            Kind::Machine { start } => {
                settings.push(("start", start.name().to_owned()));
                traces::Kind::Machine
            }
        };
        let mut images: Vec<traces::Image> = self.images.iter().map(recorded_image).collect();
        if let Some(disk) = &self.disk {
            settings.push(("disk-mode", disk.mode.name().to_owned()));
            images.push(traces::Image {
                role: "disk".to_owned(),
                name: absolute(&disk.path),
                bytes: std::fs::metadata(&disk.path).map_or(0, |it| it.len()),
                hash: [0; 32],
            });
        }
        traces::Header {
            tool: concat!("duvisor ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: timeline::MODEL,
            kind,
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            images,
            id,
        }
    }

    /// From a recording, and images that are still what they were.
    pub(crate) fn from_header(header: &traces::Header, images: Option<&Path>) -> Result<Self> {
        let settings = Settings(header);
        let kind = match header.kind {
            traces::Kind::Vm => {
                let bytes: u64 = settings.number("leaf")?;
                let leaf = [Leaf::Page, Leaf::Mega, Leaf::Giga].into_iter();
                let leaf = leaf.into_iter().find(|leaf| leaf.bytes() == bytes);
                Kind::Vm { leaf: leaf.ok_or_else(|| settings.wrong("leaf"))? }
            }
            traces::Kind::Machine => {
                let name = settings.text("start")?;
                let start = Start::ALL.into_iter().find(|start| start.name() == name);
                Kind::Machine { start: start.ok_or_else(|| settings.wrong("start"))? }
            }
        };
        let bits = settings.text("isa")?;
        let bits = bits.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let isa = bits.and_then(Extensions::from_bits).ok_or_else(|| settings.wrong("isa"))?;
        isa.check().or(Err(settings.wrong("isa")))?;
        if kind.is_vm() && !isa.has(Ext::Xdv) {
            return Err(settings.wrong("isa"));
        }
        let vcpus: usize = settings.number("vcpus")?;
        if !(1..=vmm::MAX_VCPUS).contains(&vcpus) {
            return Err(settings.wrong("vcpus"));
        }
        let mut found = Vec::new();
        let mut disk = None;
        for image in &header.images {
            if image.role == "disk" {
                let mode = settings.text("disk-mode")?;
                disk = Some(disk::recorded(image, mode, images)?);
            } else {
                found.push(library::find(image, images)?);
            }
        }
        Ok(Self {
            kind,
            name: settings.text("name")?.to_owned(),
            vcpus,
            memory: settings.number("mem")?,
            isa,
            quantum: settings.number::<u64>("quantum")?.max(1),
            cmdline: settings.text("append")?.to_owned(),
            seed: settings.number("seed")?,
            rtc_base_ns: settings.number("rtc-base-ns")?,
            reboot: settings.text("reboot")? == "true",
            images: found,
            disk,
            n_blocks: hart::BLOCKS_DEFAULT,
            sample_every: 0,
        })
    }
}

impl Kind {
    pub(crate) fn is_vm(self) -> bool {
        matches!(self, Self::Vm { .. })
    }
}

impl Start {
    const ALL: [Self; 3] = [Self::Bare, Self::DeviceTree, Self::Firmware];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::DeviceTree => "device-tree",
            Self::Firmware => "firmware",
        }
    }
}

fn recorded_image(image: &Image) -> traces::Image {
    let name = if image.name.starts_with(GUEST) {
        image.name.clone()
    } else {
        absolute(Path::new(&image.name))
    };
    traces::Image {
        role: image.role.name().to_owned(),
        name,
        bytes: image.bytes.len() as u64,
        hash: *blake3::hash(&image.bytes).as_bytes(),
    }
}

/// A path that means the same in every folder.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    absolute.display().to_string()
}

/// The settings of a recording, which may be anybody's.
struct Settings<'a>(&'a traces::Header);

impl Settings<'_> {
    fn text(&self, name: &str) -> Result<&str> {
        let found = self.0.settings.iter().find(|(it, _)| it == name);
        let found = found.map(|(_, value)| value.as_str());
        found.with_context(|| format!("the recording does not say what \"{name}\" was"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T> {
        self.text(name)?.parse().or(Err(self.wrong(name)))
    }

    fn wrong(&self, name: &str) -> anyhow::Error {
        let value = self.text(name).unwrap_or_default();
        anyhow!(
            "the recording says that \"{name}\" was {value:?}, which this program does not know"
        )
    }
}
