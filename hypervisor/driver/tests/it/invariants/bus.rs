//! A bus that writes down every access, and says which ones nobody was allowed to make.

use std::cell::{Cell, RefCell};

use hart::{AccessFault, Bus, Change, Post, Touch, Writer};
use machine::{Memory, PAGE};

use super::layout::{HOST, Zones};

/// One access to RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) write: bool,
}

/// Zones that may be read, written and executed from during a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) read: Zones,
    pub(crate) write: Zones,
    pub(crate) execute: Zones,
}

/// RAM as the machine has it, with a witness.
pub(crate) struct Recorder {
    memory: Memory,
    /// For each page its zone.
    zones: Vec<Zones>,
    reach: Reach,
    touched: RefCell<Vec<Touched>>,
    outside: Cell<Option<Touched>>,
    decoded: Option<usize>,
    /// Bits of `mip` that wires drive into every hart.
    pub(crate) lines: u64,
    pub(crate) posts: Vec<Post>,
    vcpus: Vec<(u16, u16)>,
}

impl Recorder {
    pub(crate) fn new(size: usize, zones: Vec<Zones>, vcpus: Vec<(u16, u16)>) -> Self {
        Self {
            memory: Memory::new(HOST, size),
            zones,
            reach: Reach::default(),
            touched: RefCell::new(Vec::new()),
            outside: Cell::new(None),
            decoded: None,
            lines: 0,
            posts: Vec::new(),
            vcpus,
        }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, reach: Reach) {
        self.reach = reach;
        self.touched.get_mut().clear();
        self.outside.set(None);
        self.decoded = None;
        self.posts.clear();
    }

    /// The first access of the step that was not allowed.
    pub(crate) fn outside(&self) -> Option<Touched> {
        self.outside.get()
    }

    /// Where instructions were decoded from in this step, if they were.
    pub(crate) fn decoded(&self) -> Option<u64> {
        self.decoded.map(|offset| HOST + offset as u64)
    }

    /// Whether such an access was among those of the step.
    pub(crate) fn has_touched(&self, hpa: u64, len: u64, write: bool) -> bool {
        let wanted = (hpa.wrapping_sub(HOST), len, write);
        let touched = self.touched.borrow();
        touched.iter().any(|t| (t.offset as u64, t.len as u64, t.write) == wanted)
    }

    pub(crate) fn accesses(&self) -> u64 {
        self.touched.borrow().len() as u64
    }

    pub(crate) fn zone(&self, hpa: u64) -> Zones {
        let page = usize::try_from(hpa.wrapping_sub(HOST) >> 12).unwrap_or(usize::MAX);
        self.zones.get(page).copied().unwrap_or(0)
    }

    /// Eight bytes, unseen by the witness; `None` where is no RAM.
    pub(crate) fn word(&self, hpa: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read(hpa, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Two bytes, unseen by the witness.
    pub(crate) fn half(&self, hpa: u64) -> Option<u16> {
        let mut bytes = [0; 2];
        self.memory.read(hpa, &mut bytes).ok()?;
        Some(u16::from_le_bytes(bytes))
    }

    /// A write by somebody who is no hart.
    pub(crate) fn put(&mut self, hpa: u64, bytes: &[u8]) {
        // Where there is no RAM nothing is written.
        let _ = self.memory.write(hpa, bytes, Writer::VmPlane);
    }

    fn note(&self, offset: usize, len: usize, write: bool) {
        let touched = Touched { offset, len, write };
        self.touched.borrow_mut().push(touched);
        let may = if write { self.reach.write } else { self.reach.read };
        if self.zones[offset / PAGE] & may == 0 && self.outside.get().is_none() {
            self.outside.set(Some(touched));
        }
    }
}

impl Bus for Recorder {
    fn ram_base(&self) -> u64 {
        HOST
    }

    fn ram_size(&self) -> u64 {
        self.memory.size() as u64
    }

    fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.note(offset, N, false);
        self.memory.load(offset)
    }

    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N], writer: Writer) -> bool {
        self.note(offset, N, true);
        self.memory.store(offset, bytes, writer)
    }

    fn mark_code(&mut self, offset: usize, len: usize) {
        self.decoded = Some(offset);
        if self.zones[offset / PAGE] & self.reach.execute == 0 && self.outside.get().is_none() {
            self.outside.set(Some(Touched { offset, len, write: false }));
        }
        self.memory.mark_code(offset, len);
    }

    fn mark_table(&mut self, offset: usize) {
        self.memory.mark_table(offset);
    }

    fn read_device(&mut self, _touch: Touch) -> Result<u64, AccessFault> {
        Err(AccessFault)
    }

    fn write_device(&mut self, _touch: Touch, _value: u64) -> Result<(), AccessFault> {
        Err(AccessFault)
    }

    fn is_device(&self, _hpa: u64) -> bool {
        false
    }

    fn lines(&self, _hart: usize, _now_ns: u64) -> u64 {
        self.lines
    }

    fn deadline_ns(&self, _hart: usize, _now_ns: u64) -> u64 {
        u64::MAX
    }

    fn n_changes(&self) -> u64 {
        self.memory.n_changes()
    }

    fn changes(&self, from: u64) -> Option<&[Change]> {
        self.memory.changes(from)
    }

    fn post(&mut self, post: Post) {
        self.posts.push(post);
    }

    fn owns_vcpu(&self, vmid: u16, vcpu: u16) -> bool {
        self.vcpus.contains(&(vmid, vcpu))
    }
}
