//! For tests: a `Dv` made of plain memory and a map of CSRs, driven by a script of wake-ups.

use std::collections::{BTreeMap, VecDeque};

use dv::{Denied, Dv, GuestFault, Virq, Window, Woken};
use isa::fields::{HGATP, HUSTATUS, atp_mode};
use isa::{Csr, Mode};
use session::{Event, Exit, Inputs, NoInputs, Sink, Stop};

use crate::config::VmConfig;
use crate::layout::PAGE;
use crate::vcpu::Host;
use crate::vm::Vm;

pub(crate) const RAM_HPA: u64 = 0x2_4000_0000;
pub(crate) const POOL_BYTES: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Parked,
    Stopped,
}

#[derive(Debug)]
pub(crate) struct FakeDv {
    pub(crate) windows: Vec<Window>,
    /// All windows, one behind the other from [`RAM_HPA`] on.
    memory: Vec<u8>,
    pub(crate) csrs: BTreeMap<(usize, u16), u64>,
    pub(crate) x: Vec<[u64; 32]>,
    pub(crate) f: Vec<[u64; 32]>,
    pub(crate) states: Vec<State>,
    pub(crate) posted: Vec<(usize, Virq, bool)>,
    pub(crate) code: BTreeMap<u64, u16>,
    /// What `wait` returns; when it is used up, the step limit.
    pub(crate) script: VecDeque<Woken>,
    /// CSRs to set right before a trap is reported.
    traps: VecDeque<Vec<(Csr, u64)>>,
    pub(crate) now: u64,
    pub(crate) alarm: Option<u64>,
    pub(crate) fences: u32,
    pub(crate) growth: u32,
    steps: u64,
    calls: u64,
    killed: Option<&'static str>,
}

impl FakeDv {
    pub(crate) fn new(vcpus: usize, ram: u64, pool: u64) -> Self {
        let pool_hpa = RAM_HPA + ram;
        let root = HGATP::MODE.set(HGATP::PPN.set(0, pool_hpa / PAGE), atp_mode::SV39);
        Self {
            windows: vec![Window { hpa: RAM_HPA, size: ram }, Window { hpa: pool_hpa, size: pool }],
            memory: vec![0; usize::try_from(ram + pool).unwrap()],
            csrs: (0..vcpus).map(|vcpu| ((vcpu, Csr::HUGATP.0), root)).collect(),
            x: vec![[0; 32]; vcpus],
            f: vec![[0; 32]; vcpus],
            states: vec![State::Stopped; vcpus],
            posted: Vec::new(),
            code: BTreeMap::new(),
            script: VecDeque::new(),
            traps: VecDeque::new(),
            now: 0,
            alarm: None,
            fences: 0,
            growth: 0,
            steps: 0,
            calls: 0,
            killed: None,
        }
    }

    /// The next thing that happens is this trap.
    pub(crate) fn trap(&mut self, vcpu: usize, csrs: &[(Csr, u64)]) {
        self.script.push_back(Woken::Trap(vcpu));
        self.traps.push_back(csrs.to_vec());
    }

    pub(crate) fn get(&self, vcpu: usize, csr: Csr) -> u64 {
        self.csrs.get(&(vcpu, csr.0)).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, vcpu: usize, csr: Csr, value: u64) {
        self.csrs.insert((vcpu, csr.0), value);
    }

    fn range(&self, hpa: u64, len: usize) -> Result<std::ops::Range<usize>, Denied> {
        let begin = hpa.checked_sub(RAM_HPA).and_then(|at| usize::try_from(at).ok());
        let begin = begin.ok_or(Denied)?;
        let end = begin.checked_add(len).filter(|end| *end <= self.memory.len());
        Ok(begin..end.ok_or(Denied)?)
    }
}

impl Dv for FakeDv {
    fn n_vcpus(&self) -> usize {
        self.x.len()
    }

    fn windows(&self) -> &[Window] {
        &self.windows
    }

    fn now_ns(&self) -> u64 {
        self.now
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn vcpu_steps(&self, _vcpu: usize) -> u64 {
        self.steps
    }

    fn set_alarm(&mut self, at_ns: Option<u64>) {
        self.alarm = at_ns;
    }

    fn advance(&mut self, to_ns: u64) {
        assert!(to_ns >= self.now, "time runs backwards");
        self.now = to_ns;
    }

    fn huret(&mut self, vcpu: usize) -> Result<(), Denied> {
        assert!(HUSTATUS::SPV.is_set(self.get(vcpu, Csr::HUSTATUS)), "huret would leave V=1");
        if self.states[vcpu] != State::Stopped {
            self.states[vcpu] = State::Running;
        }
        Ok(())
    }

    fn park(&mut self, vcpu: usize) {
        self.states[vcpu] = State::Parked;
    }

    fn unpark(&mut self, vcpu: usize) {
        self.states[vcpu] = State::Running;
    }

    fn stop(&mut self, vcpu: usize) {
        self.states[vcpu] = State::Stopped;
    }

    fn is_parked(&self, vcpu: usize) -> bool {
        self.states[vcpu] == State::Parked
    }

    fn wait(&mut self) -> Woken {
        if self.killed.is_some() {
            return Woken::Killed;
        }
        self.steps += 10;
        let woken = self.script.pop_front().unwrap_or(Woken::StepLimit);
        if let Woken::Trap(vcpu) = woken {
            for (csr, value) in self.traps.pop_front().unwrap_or_default() {
                self.set(vcpu, csr, value);
            }
            let status = HUSTATUS::SPV.with(self.get(vcpu, Csr::HUSTATUS), true);
            self.set(vcpu, Csr::HUSTATUS, status);
        }
        woken
    }

    fn reason(&self) -> Option<&str> {
        self.killed
    }

    fn csr(&mut self, vcpu: usize, csr: Csr) -> Result<u64, Denied> {
        Ok(self.get(vcpu, csr))
    }

    fn set_csr(&mut self, vcpu: usize, csr: Csr, value: u64) -> Result<(), Denied> {
        if csr == Csr::HUGATP {
            self.killed = Some("a write to hugatp");
            return Err(Denied);
        }
        self.set(vcpu, csr, value);
        Ok(())
    }

    fn x(&self, vcpu: usize, reg: u8) -> u64 {
        self.x[vcpu][usize::from(reg)]
    }

    fn set_x(&mut self, vcpu: usize, reg: u8, value: u64) {
        if reg != 0 {
            self.x[vcpu][usize::from(reg)] = value;
        }
    }

    fn f(&self, vcpu: usize, reg: u8) -> u64 {
        self.f[vcpu][usize::from(reg)]
    }

    fn set_f(&mut self, vcpu: usize, reg: u8, value: u64) {
        self.f[vcpu][usize::from(reg)] = value;
    }

    fn mode(&self, vcpu: usize) -> Mode {
        if HUSTATUS::SPVP.is_set(self.get(vcpu, Csr::HUSTATUS)) { Mode::Vs } else { Mode::Vu }
    }

    fn pc(&self, vcpu: usize) -> u64 {
        self.get(vcpu, Csr::UEPC)
    }

    fn load(&mut self, _vcpu: usize, _gva: u64, _buf: &mut [u8]) -> Result<(), GuestFault> {
        Err(GuestFault)
    }

    fn fetch(&mut self, _vcpu: usize, gva: u64) -> Result<u16, GuestFault> {
        self.code.get(&gva).copied().ok_or(GuestFault)
    }

    fn store(&mut self, _vcpu: usize, _gva: u64, _bytes: &[u8]) -> Result<(), GuestFault> {
        Err(GuestFault)
    }

    fn hufence_gvma(&mut self, _vcpu: usize) {
        self.fences += 1;
    }

    fn hufence_vvma(&mut self, _vcpu: usize) {
        self.fences += 1;
    }

    fn post(&mut self, vcpu: usize, virq: Virq, level: bool) -> Result<(), Denied> {
        self.posted.push((vcpu, virq, level));
        Ok(())
    }

    fn kick(&mut self, _vcpu: usize) -> Result<(), Denied> {
        Ok(())
    }

    fn read(&self, hpa: u64, buf: &mut [u8]) -> Result<(), Denied> {
        buf.copy_from_slice(&self.memory[self.range(hpa, buf.len())?]);
        Ok(())
    }

    fn write(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied> {
        let range = self.range(hpa, bytes.len())?;
        self.memory[range].copy_from_slice(bytes);
        Ok(())
    }

    fn dma(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied> {
        self.write(hpa, bytes)
    }

    fn grow(&mut self, bytes: u64) -> Result<Window, Denied> {
        self.growth = self.growth.checked_sub(1).ok_or(Denied)?;
        self.calls += 1;
        let window = Window { hpa: RAM_HPA + self.memory.len() as u64, size: bytes };
        self.memory.resize(self.memory.len() + usize::try_from(bytes).unwrap(), 0xa5);
        self.windows.push(window);
        Ok(window)
    }

    fn driver_calls(&self) -> u64 {
        self.calls
    }
}

/// A sink that keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Vec<Event>);

impl Sink for Kept {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

pub(crate) const RAM: u64 = 8 << 20;

/// A VM over a [`FakeDv`], changed by `change` beforehand.
pub(crate) fn vm_with(change: impl FnOnce(&mut VmConfig)) -> Vm<FakeDv> {
    let mut config = VmConfig::new("test", RAM);
    change(&mut config);
    Vm::new(FakeDv::new(config.vcpus, config.memory, POOL_BYTES), config).unwrap()
}

/// Runs until the script is used up, or the run ends.
pub(crate) fn run_with(vm: &mut Vm<FakeDv>, inputs: &mut dyn Inputs) -> (Stop, Vec<Event>) {
    let mut kept = Kept::default();
    let mut host = Host::new(inputs);
    host.sinks.push(&mut kept);
    let stop = vm.run(&mut host);
    (stop, kept.0)
}

/// The same without inputs.
pub(crate) fn run(vm: &mut Vm<FakeDv>) -> (Stop, Vec<Event>) {
    run_with(vm, &mut NoInputs)
}

/// The exits among events.
pub(crate) fn exits(events: &[Event]) -> Vec<Exit> {
    let exit = |event: &Event| if let Event::Exit(exit) = event { Some(*exit) } else { None };
    events.iter().filter_map(exit).collect()
}
