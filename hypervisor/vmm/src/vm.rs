//! A VM: its parts put together, its start and its reset.

use dv::{Denied, Dv, Virq, Window};
use isa::fields::HUSTATUS;
use isa::{Csr, Ext, Interrupt};
use session::{RunState, Stream, VmState};

use crate::bus::Bus;
use crate::config::{ConfigError, Image, Leaf, Placed, Segment, VmConfig, place};
use crate::gstage::{GStage, MapError, Mapping, ROOT_BYTES, Rights};
use crate::layout::PAGE;
use crate::memory::Ram;
use crate::sbi::A0;
use crate::sbi::hsm::{Hsm, vcpu_id};
use crate::vcpu::{Host, Vcpu};

/// The vCPU that starts the payload.
const BOOT_VCPU: usize = 0;
const A1: u8 = 11;
const N_REGISTERS: u8 = 32;

/// Interrupts that take a vCPU out of the guest.
const HU_INTERRUPTS: u64 =
    Interrupt::UserSoftware.bit() | Interrupt::UserTimer.bit() | Interrupt::UserExternal.bit();

/// A VM over an implementation of [`Dv`].
///
/// What it asks of the driver: as many vCPUs as the configuration says, all stopped; the windows
/// in the order RAM, table pool; `hugatp` of every vCPU naming the begin of the pool as the root
/// of Sv39x4 (or wider), which only the driver can write; exceptions 10, 20, 21, 22 and 23 and
/// interrupts 0, 4 and 8 delegated, and any other that may be delegated if it likes.
#[derive(Debug)]
pub struct Vm<D> {
    pub(crate) dv: D,
    // Fixed configuration.
    pub(crate) name: String,
    pub(crate) leaf: Leaf,
    pub(crate) sstc: bool,
    pub(crate) reboot: bool,
    pub(crate) sample_every: u32,
    segments: Vec<Segment>,
    entry: u64,
    initrd: Option<Vec<u8>>,
    placed: Placed,
    // Runtime state.
    pub(crate) ram: Ram,
    pub(crate) gstage: GStage,
    pub(crate) bus: Bus,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) stream: Stream,
    pub(crate) run: RunState,
    pub(crate) booted: bool,
    /// Changes of the VM that wait for the event of the exit that caused them.
    pub(crate) news: Vec<VmState>,
    /// Somebody looks at single exits.
    pub(crate) sink_wants_exits: bool,
    /// Exits until one is timed.
    pub(crate) until_sample: u32,
    // Statistics.
    pub(crate) n_resets: u64,
}

impl<D: Dv> Vm<D> {
    /// Puts a VM together. Nothing runs and no guest memory is written yet.
    ///
    /// # Errors
    /// [`ConfigError`] says what of the configuration, or of the driver's grant, is not right.
    pub fn new(mut dv: D, mut config: VmConfig) -> Result<Self, ConfigError> {
        let placed = place(&config)?;
        if dv.n_vcpus() != config.vcpus {
            let (asked, granted) = (config.vcpus, dv.n_vcpus());
            return Err(ConfigError::VcpusGranted { asked, granted });
        }
        let ram_window = window(&dv, 0, config.memory)?;
        let pool = window(&dv, 1, ROOT_BYTES + PAGE)?;
        let hugatp = dv.csr(BOOT_VCPU, Csr::HUGATP).or_else(|Denied| killed(&dv))?;
        let gstage = GStage::new(hugatp, pool).ok_or(ConfigError::Root(hugatp))?;
        let disk = config.disk.take();
        let bus = Bus::new(config.vcpus, config.console, config.seed, config.rtc_base_ns, disk);
        Ok(Self {
            dv,
            name: config.name,
            leaf: config.leaf,
            sstc: config.isa.has(Ext::Sstc),
            reboot: config.reboot,
            sample_every: config.sample_every,
            segments: config.segments,
            entry: config.entry,
            initrd: config.initrd,
            placed,
            ram: Ram::new(ram_window.hpa, config.memory),
            gstage,
            bus,
            vcpus: (0..config.vcpus).map(|_| Vcpu::new()).collect(),
            stream: Stream::default(),
            run: RunState::Running,
            booted: false,
            news: Vec::new(),
            sink_wants_exits: true,
            until_sample: config.sample_every,
            n_resets: 0,
        })
    }

    /// The hardware below, for whoever put the VM together.
    pub fn dv(&self) -> &D {
        &self.dv
    }

    /// The hardware below, for whoever put the VM together.
    pub fn dv_mut(&mut self) -> &mut D {
        &mut self.dv
    }

    /// Where device tree and initrd will lie: first address and first after it.
    #[must_use]
    pub fn images(&self) -> Vec<(Image, u64, u64)> {
        let Placed { dtb, dtb_addr, initrd } = &self.placed;
        let dtb = (Image::DeviceTree, *dtb_addr, dtb_addr + dtb.len() as u64);
        let initrd = initrd.map(|(begin, end)| (Image::Initrd, begin, end));
        [dtb].into_iter().chain(initrd).collect()
    }

    /// Keeps exits for watchers from the start, not only once one has asked.
    pub fn keep_exits(&mut self) {
        self.stream.keep_exits();
    }

    /// Typed bytes that were lost because the guest did not read its console.
    #[must_use]
    pub fn dropped_input(&self) -> u64 {
        self.bus.dropped()
    }

    /// All leaves of the stage-2 table, by rising guest-physical address.
    ///
    /// # Errors
    /// [`Denied`] if the driver has taken the table away.
    pub fn mappings(&self) -> Result<Vec<Mapping>, Denied> {
        let mut leaves = Vec::new();
        self.gstage.walk(&self.dv, &mut |leaf| leaves.push(leaf))?;
        Ok(leaves)
    }

    /// Takes a range of pages out of the stage-2 table: the guest's next access there is an exit
    /// again, and maps it anew. The content stays.
    ///
    /// # Errors
    /// [`MapError`] says why not.
    pub fn unmap(&mut self, gpa: u64, len: u64) -> Result<(), MapError> {
        let done = self.gstage.unmap(&mut self.dv, gpa, len);
        self.fence_stage2();
        done
    }

    /// Changes what the guest may do with the mapped pages of a range; what it then may not do is
    /// an access fault for it.
    ///
    /// # Errors
    /// [`MapError`] says why not.
    pub fn protect(&mut self, gpa: u64, len: u64, rights: Rights) -> Result<(), MapError> {
        let done = self.gstage.protect(&mut self.dv, gpa, len, rights);
        self.fence_stage2();
        done
    }

    /// Entries went away or lost rights: no vCPU may use what it has cached of them.
    fn fence_stage2(&mut self) {
        for vcpu in 0..self.vcpus.len() {
            self.dv.hufence_gvma(vcpu);
        }
    }

    /// Feeds the VM plane's own state to a hash: devices, vCPUs, the number of the next event. The
    /// harts and all memory are below, in what implements [`Dv`].
    pub fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.bus.digest(sink);
        for vcpu in &self.vcpus {
            sink(&[vcpu.hsm as u8, u8::from(vcpu.suspended)]);
        }
        sink(&self.stream.seq().to_le_bytes());
        sink(&self.n_resets.to_le_bytes());
    }

    /// Loads the images and gives the boot vCPU its first state.
    pub(crate) fn boot(&mut self, host: &mut Host<'_>) -> Result<(), Denied> {
        self.booted = true;
        self.gstage.clear(&mut self.dv)?;
        self.load()?;
        self.start_vcpu(BOOT_VCPU, self.entry, self.placed.dtb_addr)?;
        // The deadline that was told last may be that of a device before the reset.
        self.bus.alarm_over();
        self.devices_due()?;
        let step = self.dv.steps();
        self.stream.vm(step, VmState::Started, &mut host.sinks);
        Ok(())
    }

    /// Power-cycles the guest; the run, its clock and its stream go on.
    pub(crate) fn reset(&mut self, host: &mut Host<'_>) -> Result<(), Denied> {
        self.flush_console(host);
        let step = self.dv.steps();
        self.stream.vm(step, VmState::Resetting, &mut host.sinks);
        for vcpu in 0..self.vcpus.len() {
            self.dv.stop(vcpu);
            self.vcpus[vcpu].hsm = Hsm::Stopped;
            self.vcpus[vcpu].suspended = false;
        }
        self.ram.wipe(&mut self.dv)?;
        self.gstage.clear(&mut self.dv)?;
        self.fence_stage2();
        self.bus.reset();
        self.n_resets += 1;
        self.boot(host)
    }

    /// Writes payload, initrd and device tree into RAM, which is zero where they leave it alone.
    fn load(&mut self) -> Result<(), Denied> {
        let (dv, ram, placed) = (&mut self.dv, &mut self.ram, &self.placed);
        let mut put = |addr: u64, bytes: &[u8]| ram.write(dv, addr, bytes).or(Err(Denied));
        for segment in &self.segments {
            put(segment.addr, &segment.bytes)?;
        }
        if let (Some(initrd), Some((begin, _))) = (&self.initrd, placed.initrd) {
            put(begin, initrd)?;
        }
        put(placed.dtb_addr, &placed.dtb)
    }

    /// Gives a stopped vCPU the state of "HSM Hart Start Register State" and lets it run.
    pub(crate) fn start_vcpu(&mut self, vcpu: usize, pc: u64, opaque: u64) -> Result<(), Denied> {
        self.clear_csrs(vcpu)?;
        for virq in [Virq::Software, Virq::Timer, Virq::External] {
            self.dv.post(vcpu, virq, false)?;
        }
        for reg in 0..N_REGISTERS {
            self.dv.set_x(vcpu, reg, 0);
            self.dv.set_f(vcpu, reg, 0);
        }
        self.dv.set_x(vcpu, A0, u64::from(vcpu_id(vcpu).0));
        self.dv.set_x(vcpu, A1, opaque);
        self.dv.set_csr(vcpu, Csr::UEPC, pc)?;
        self.bus.repost(&mut self.dv, vcpu)?;
        self.vcpus[vcpu].hsm = Hsm::Started;
        self.vcpus[vcpu].suspended = false;
        self.dv.huret(vcpu)?;
        self.dv.unpark(vcpu);
        Ok(())
    }

    /// The CSRs of a vCPU as after a reset: VS-mode, no translation, no interrupt, no deadline.
    ///
    /// Not among them, because HU cannot reach them: `scounteren` and `senvcfg`, which have no vs
    /// twin, and `fcsr`. A kernel sets all three before it relies on them.
    fn clear_csrs(&mut self, vcpu: usize) -> Result<(), Denied> {
        let entry = [HUSTATUS::SPV, HUSTATUS::SPVP, HUSTATUS::VTW, HUSTATUS::UPIE];
        let hustatus = entry.into_iter().fold(0, |value, field| field.with(value, true));
        let hustatus = HUSTATUS::VSXL.set(hustatus, 2);
        for (csr, value) in [
            (Csr::HUSTATUS, hustatus),
            (Csr::HUIE, HU_INTERRUPTS),
            (Csr::HUCOUNTEREN, 0xffff_ffff),
            (Csr::HUTIMEDELTA, 0),
            (Csr::HUVIP, 0),
            (Csr::HUVSSTATUS, 0),
            (Csr::HUVSIE, 0),
            (Csr::HUVSTVEC, 0),
            (Csr::HUVSSCRATCH, 0),
            (Csr::HUVSEPC, 0),
            (Csr::HUVSCAUSE, 0),
            (Csr::HUVSTVAL, 0),
            (Csr::HUVSATP, 0),
            (Csr::VTIMECTL, 0),
            (Csr::VTIMECMP, u64::MAX),
        ] {
            self.dv.set_csr(vcpu, csr, value)?;
        }
        if self.sstc {
            self.dv.set_csr(vcpu, Csr::HUVSTIMECMP, u64::MAX)?;
        }
        Ok(())
    }
}

/// A window of the grant that has at least `needed` bytes.
fn window<D: Dv>(dv: &D, index: usize, needed: u64) -> Result<Window, ConfigError> {
    let window = dv.windows().get(index).copied();
    let granted = window.map_or(0, |window| window.size);
    window.filter(|window| window.size >= needed).ok_or(ConfigError::Window {
        index,
        granted,
        needed,
    })
}

fn killed<D: Dv, T>(dv: &D) -> Result<T, ConfigError> {
    let reason = dv.reason().unwrap_or("the driver gave no reason");
    Err(ConfigError::Killed(reason.to_owned()))
}
