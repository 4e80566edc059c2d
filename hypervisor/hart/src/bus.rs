//! What a hart is wired to: RAM, devices, interrupt lines, and the log of writes that matter.

/// Who writes to RAM. Every write names its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A store, an atomic or a `cbo.zero` of a hart.
    Hart,
    /// The page walker, setting A and D bits.
    Walker,
    /// A device.
    Dma,
    /// The VM plane.
    VmPlane,
    /// A debugger.
    Debugger,
    /// The loader, before the first step.
    Loader,
}

/// A write to RAM from which something cached derives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// These bytes of RAM, from which instructions were decoded.
    Code {
        /// Offset in RAM of the first byte.
        offset: usize,
        /// Bytes.
        len: usize,
    },
    /// The valid page-table entry at this offset, in a page that fed a walk.
    Entry {
        /// Offset in RAM of the entry.
        offset: usize,
    },
    /// So many entries of the page at this offset that it is hardly a table any more.
    Table {
        /// Offset in RAM of the page.
        offset: usize,
    },
    /// Somebody watches writes to these bytes. Nothing cached derives from them, but whoever made
    /// this one ends its block.
    Watched {
        /// Offset in RAM of the first byte.
        offset: usize,
    },
}

/// No device answers at that address, or not in that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessFault;

/// Where and when a hart touches a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Which hart.
    pub hart: usize,
    /// Physical address.
    pub hpa: u64,
    /// Bytes: 1, 2, 4 or 8; the address is a multiple of it.
    pub width: u8,
    /// Guest time in ns.
    pub now_ns: u64,
}

/// The outside of a hart.
///
/// RAM is addressed by the offset from [`Bus::ram_base`]; the caller has checked the range. There
/// is one function that writes RAM; `true` from it means that the log of changes has grown.
pub trait Bus {
    /// Physical address of the first byte of RAM, a multiple of 4096.
    fn ram_base(&self) -> u64;

    /// Bytes of RAM, a multiple of 4096.
    fn ram_size(&self) -> u64;

    /// Reads RAM.
    fn load<const N: usize>(&self, offset: usize) -> [u8; N];

    /// Writes RAM.
    fn store<const N: usize>(&mut self, offset: usize, bytes: [u8; N], writer: Writer) -> bool;

    /// Writes RAM for a hart if nobody needs to know: a part of [`Bus::store`] that calls nothing.
    /// `false` if nothing was written.
    #[inline(always)]
    fn store_quick<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> bool {
        let _ = (offset, bytes);
        false
    }

    /// Instructions were decoded from these bytes.
    fn mark_code(&mut self, offset: usize, len: usize);

    /// A walk went through the page at this offset, and its result is cached.
    fn mark_table(&mut self, offset: usize);

    /// Reads a device register.
    ///
    /// # Errors
    /// [`AccessFault`] if no device is there or it refuses.
    fn read_device(&mut self, touch: Touch) -> Result<u64, AccessFault>;

    /// Writes a device register.
    ///
    /// # Errors
    /// [`AccessFault`] if no device is there or it refuses.
    fn write_device(&mut self, touch: Touch, value: u64) -> Result<(), AccessFault>;

    /// Whether a device is there at all (an atomic or a fetch of it is an access fault anyway).
    fn is_device(&self, hpa: u64) -> bool;

    /// Bits of `mip` that wires drive into this hart at this guest time.
    fn lines(&self, hart: usize, now_ns: u64) -> u64;

    /// Guest time in ns after `now_ns` at which a wire of this hart changes by itself.
    fn deadline_ns(&self, hart: usize, now_ns: u64) -> u64;

    /// Number of changes so far.
    fn n_changes(&self) -> u64;

    /// The changes from number `from` on; `None` if they were not kept: forget everything.
    fn changes(&self, from: u64) -> Option<&[Change]>;

    /// Watched writes of late are this hart's, made by the instruction at `pc`, or by the walks for
    /// it, in the step before which the hart had made `step` steps; or in none.
    fn written_by(&mut self, hart: usize, step: Option<u64>, pc: u64) {
        let _ = (hart, step, pc);
    }

    /// Whether a run is to come back because of a watched write.
    fn comes_back(&self) -> bool {
        false
    }

    /// This hart posts a virtual interrupt to another vCPU (DV-ext, `hu_vitr` and `vipi0..3`),
    /// one that [`Bus::owns_vcpu`] knows.
    fn post(&mut self, post: Post);

    /// Whether the driver registered this vCPU id for that VM.
    fn owns_vcpu(&self, vmid: u16, vcpu: u16) -> bool;
}

/// A virtual interrupt on its way to a vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// The sender's VM.
    pub vmid: u16,
    /// The vCPU in that VM.
    pub vcpu: u16,
    /// 2, 6 or 10, or 0 for a kick.
    pub interrupt: u8,
    /// Set or clear.
    pub level: bool,
}
