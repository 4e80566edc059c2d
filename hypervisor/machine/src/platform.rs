//! What the harts of a machine are wired to: RAM, devices if it has any, and the vCPU registry.

use std::collections::BTreeMap;

use hart::{AccessFault, Bus, Change, Post, Touch, Unwritten, Writer};
use state::{Codec, Damaged, State};

use crate::bare::board::Board;
use crate::memory::Memory;

/// More vCPUs, or posts, than there can be: ids are 16 bits, but a driver has few of them.
const VCPUS_MAX: usize = 1 << 24;

/// Interrupts that can be posted, and the kick.
const INTERRUPTS: [u8; 4] = [0, 2, 6, 10];

/// A registered vCPU: its hart, or what waits for it to be on one.
#[derive(Clone, Debug, Default)]
struct Vcpu {
    hart: Option<usize>,
    /// Posted interrupts: for each the level to be.
    held: BTreeMap<u8, bool>,
    unwritten: Unwritten,
}

/// The outside of all harts of a machine.
#[derive(Debug)]
pub struct Platform {
    memory: Memory,
    /// The devices of machine mode; a machine for delegated VMs has none.
    board: Option<Box<Board>>,
    /// By VM and vCPU id.
    vcpus: BTreeMap<(u16, u16), Vcpu>,
    /// vCPUs that are off their harts with a reservation.
    n_reserved: usize,
    posts: Vec<Post>,
}

impl Platform {
    pub(crate) fn new(memory: Memory, board: Option<Box<Board>>) -> Self {
        Self { memory, board, vcpus: BTreeMap::new(), n_reserved: 0, posts: Vec::new() }
    }

    /// RAM.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// RAM. What is written here by others than harts ends no reservation:
    /// [`Machine::write`](crate::Machine::write) does.
    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    pub(crate) fn board(&self) -> Option<&Board> {
        self.board.as_deref()
    }

    pub(crate) fn board_mut(&mut self) -> Option<&mut Board> {
        self.board.as_deref_mut()
    }

    /// The devices, and the memory that they work on.
    pub(crate) fn parts_mut(&mut self) -> (&mut Memory, Option<&mut Board>) {
        (&mut self.memory, self.board.as_deref_mut())
    }

    /// Registers a vCPU id for a VM: from now on interrupts may be posted to it. They are kept
    /// until [`Machine::place_vcpu`](crate::Machine::place_vcpu) puts it on a hart.
    pub fn register_vcpu(&mut self, vmid: u16, vcpu: u16) {
        self.vcpus.entry((vmid, vcpu)).or_default();
    }

    /// Forgets all vCPUs of a VM, and what was posted to them.
    pub fn forget_vm(&mut self, vmid: u16) {
        self.vcpus.retain(|(owner, _), _| *owner != vmid);
        self.posts.retain(|post| post.vmid != vmid);
        self.count_reserved();
    }

    /// The hart that a vCPU is on.
    pub(crate) fn hart_of(&self, vmid: u16, vcpu: u16) -> Option<usize> {
        self.vcpus.get(&(vmid, vcpu))?.hart
    }

    /// Keeps what was on a vCPU's hart, and in none of its registers.
    pub(crate) fn keep_unwritten(&mut self, vmid: u16, vcpu: u16, unwritten: Unwritten) {
        if let Some(entry) = self.vcpus.get_mut(&(vmid, vcpu)) {
            entry.unwritten = unwritten;
            self.count_reserved();
        }
    }

    /// Puts a registered vCPU on a hart, or takes it off; gives what was kept meanwhile.
    pub(crate) fn place_vcpu(
        &mut self,
        vmid: u16,
        vcpu: u16,
        hart: Option<usize>,
    ) -> (BTreeMap<u8, bool>, Unwritten) {
        let Some(entry) = self.vcpus.get_mut(&(vmid, vcpu)) else { return Default::default() };
        entry.hart = hart;
        if hart.is_none() {
            return Default::default();
        }
        let kept = (std::mem::take(&mut entry.held), std::mem::take(&mut entry.unwritten));
        self.count_reserved();
        kept
    }

    fn count_reserved(&mut self) {
        let reserved = |vcpu: &&Vcpu| vcpu.unwritten.reservation.is_some();
        self.n_reserved = self.vcpus.values().filter(reserved).count();
    }

    /// Somebody else than a hart wrote there: kept reservations on it are gone.
    pub(crate) fn written(&mut self, hpa: u64, len: u64) {
        if self.n_reserved != 0 {
            self.vcpus.values_mut().for_each(|vcpu| vcpu.unwritten.written(hpa, len));
            self.count_reserved();
        }
    }

    pub(crate) fn swap_posts(&mut self, other: &mut Vec<Post>) {
        std::mem::swap(&mut self.posts, other);
    }

    /// Takes the posts on their way; those to vCPUs that are not on a hart are kept with them.
    pub(crate) fn take_posts(&mut self) -> Vec<(usize, Post)> {
        let mut placed = Vec::with_capacity(self.posts.len());
        for post in self.posts.drain(..) {
            let Some(entry) = self.vcpus.get_mut(&(post.vmid, post.vcpu)) else { continue };
            match entry.hart {
                Some(hart) => placed.push((hart, post)),
                None => {
                    entry.held.insert(post.interrupt, post.level);
                }
            }
        }
        placed
    }

    pub(crate) fn has_posts(&self) -> bool {
        !self.posts.is_empty()
    }

    pub(crate) fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        self.memory.digest(sink);
        if let Some(board) = &self.board {
            board.digest(sink);
        }
        let mut feed = |value: u64| sink(&value.to_le_bytes());
        feed(self.vcpus.len() as u64);
        for ((vmid, vcpu), entry) in &self.vcpus {
            feed(u64::from(*vmid));
            feed(u64::from(*vcpu));
            feed(entry.hart.map_or(u64::MAX, |hart| hart as u64));
            feed(entry.held.len() as u64);
            entry.held.iter().for_each(|(irq, level)| {
                feed(u64::from(*irq) << 1 | u64::from(*level));
            });
            entry.unwritten.reservation.into_iter().for_each(&mut feed);
            if entry.unwritten.waits {
                feed(1);
            }
        }
        feed(self.posts.len() as u64);
        for post in &self.posts {
            feed(u64::from(post.vmid) << 16 | u64::from(post.vcpu));
            feed(u64::from(post.interrupt) << 1 | u64::from(post.level));
        }
    }
}

/// Posts on their way.
pub(crate) fn posts_state(codec: &mut Codec<'_>, posts: &mut Vec<Post>) -> Result<(), Damaged> {
    codec.list(posts, VCPUS_MAX, |codec, post| post.state(codec))
}

impl Platform {
    /// What of it is state, RAM excepted.
    pub(crate) fn state(&mut self, codec: &mut Codec<'_>, n_harts: usize) -> Result<(), Damaged> {
        codec.map(&mut self.vcpus, VCPUS_MAX, |codec, (vmid, number), vcpu| {
            codec.u16(vmid)?;
            codec.u16(number)?;
            codec.option(&mut vcpu.hart, |codec, hart| codec.index(hart, n_harts))?;
            codec.map(&mut vcpu.held, usize::from(u8::MAX), |codec, interrupt, level| {
                codec.choice(interrupt, &INTERRUPTS)?;
                codec.bool(level)
            })?;
            vcpu.unwritten.state(codec)
        })?;
        posts_state(codec, &mut self.posts)?;
        self.count_reserved();
        if let Some(board) = &mut self.board {
            board.state(codec)?;
        }
        Ok(())
    }
}

impl Bus for Platform {
    #[inline(always)]
    fn ram_base(&self) -> u64 {
        self.memory.base()
    }

    #[inline(always)]
    fn ram_size(&self) -> u64 {
        self.memory.size() as u64
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.memory.load(offset)
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N], writer: Writer) -> bool {
        self.memory.store(offset, bytes, writer)
    }

    #[inline(always)]
    fn store_quick<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> bool {
        self.memory.store_quick(offset, bytes)
    }

    fn mark_code(&mut self, offset: usize, len: usize) {
        self.memory.mark_code(offset, len);
    }

    fn mark_table(&mut self, offset: usize) {
        self.memory.mark_table(offset);
    }

    fn read_device(&mut self, touch: Touch) -> Result<u64, AccessFault> {
        self.board.as_deref_mut().ok_or(AccessFault)?.read(touch)
    }

    fn write_device(&mut self, touch: Touch, value: u64) -> Result<(), AccessFault> {
        self.board.as_deref_mut().ok_or(AccessFault)?.write(touch, value)
    }

    fn is_device(&self, hpa: u64) -> bool {
        self.board.as_deref().is_some_and(|board| board.find(hpa).is_some())
    }

    #[inline]
    fn lines(&self, hart: usize, now_ns: u64) -> u64 {
        self.board.as_deref().map_or(0, |board| board.lines(hart, now_ns))
    }

    #[inline]
    fn deadline_ns(&self, hart: usize, now_ns: u64) -> u64 {
        self.board.as_deref().map_or(u64::MAX, |board| board.timer_deadline_ns(hart, now_ns))
    }

    #[inline(always)]
    fn n_changes(&self) -> u64 {
        self.memory.n_changes()
    }

    fn changes(&self, from: u64) -> Option<&[Change]> {
        self.memory.changes(from)
    }

    #[cold]
    fn written_by(&mut self, hart: usize, step: Option<u64>, pc: u64) {
        self.memory.sign(hart, step, pc);
    }

    fn comes_back(&self) -> bool {
        self.memory.is_due()
    }

    /// One post is kept for each interrupt of a vCPU, the last: who posts for a whole turn fills
    /// no memory.
    fn post(&mut self, post: Post) {
        let target = |post: &Post| (post.vmid, post.vcpu, post.interrupt);
        match self.posts.iter_mut().find(|known| target(known) == target(&post)) {
            Some(known) => known.level = post.level,
            None => self.posts.push(post),
        }
    }

    fn owns_vcpu(&self, vmid: u16, vcpu: u16) -> bool {
        self.vcpus.contains_key(&(vmid, vcpu))
    }
}
