//! What a driver manages, what a VM asks of it, and why it may say no.

use hart::checks::on;
use isa::{Check, Exception, Ext, Extensions, Interrupt};

use crate::frames::align_up;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a G-stage root table.
pub(crate) const ROOT_SIZE: u64 = 4 * PAGE;
/// Alignment of windows, so that a guest can have leaves of that size.
const MEGAPAGE: u64 = 2 << 20;
const GIGAPAGE: u64 = 1 << 30;
/// Most RAM of a machine.
pub const RAM_MAX: u64 = 64 << 30;
/// What the host and this plane keep for themselves, at the begin of RAM.
pub(crate) const HOST_SIZE: u64 = MEGAPAGE;
/// Where RAM begins.
pub(crate) const RAM_BASE: u64 = 0x8000_0000;
/// As many ids as `vipi0` to `vipi3` can name.
pub(crate) const VCPUS_MAX: usize = 256;

/// The machine that a driver manages.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Extensions of the harts; DV-ext has to be among them.
    pub isa: Extensions,
    /// Harts; each vCPU takes one, which VMs may share.
    pub n_harts: usize,
    /// Bytes of RAM, for the host and all windows.
    pub ram_size: u64,
    /// Steps of a turn, for VMs with harts of their own.
    pub quantum: u64,
    /// Decoded blocks that are kept; no guest can see it.
    pub n_blocks: usize,
}

impl Config {
    /// A machine that is just large enough for one such VM.
    #[must_use]
    pub fn fitting(isa: Extensions, request: &VmRequest) -> Self {
        let ram = request.guest_ram.saturating_add(request.pool).saturating_add(request.spare);
        // The windows may begin after a gap.
        let slack = alignment(request.guest_ram) + 3 * MEGAPAGE;
        let defaults = machine::Config::new(0);
        Self {
            isa,
            n_harts: request.vcpus,
            ram_size: align_up(HOST_SIZE.saturating_add(slack).saturating_add(ram), PAGE)
                .unwrap_or(u64::MAX),
            quantum: defaults.quantum,
            n_blocks: defaults.n_blocks,
        }
    }
}

/// Alignment of a window of this size.
pub(crate) fn alignment(size: u64) -> u64 {
    if size >= GIGAPAGE { GIGAPAGE } else { MEGAPAGE }
}

/// The paging mode of a VM's G-stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gstage {
    /// 41 bits of guest-physical address.
    #[default]
    Sv39x4,
    /// 50 bits.
    Sv48x4,
    /// 59 bits.
    Sv57x4,
}

impl Gstage {
    pub(crate) fn mode(self) -> u64 {
        match self {
            Self::Sv39x4 => isa::fields::atp_mode::SV39,
            Self::Sv48x4 => isa::fields::atp_mode::SV48,
            Self::Sv57x4 => isa::fields::atp_mode::SV57,
        }
    }

    fn ext(self) -> Ext {
        match self {
            Self::Sv39x4 => Ext::Sv39,
            Self::Sv48x4 => Ext::Sv48,
            Self::Sv57x4 => Ext::Sv57,
        }
    }
}

/// Whose the harts of a VM are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Harts {
    /// Its own: each vCPU has one to itself, and nothing of it is ever switched.
    #[default]
    Own,
    /// Those of all VMs that ask for this: they take turns, each with all of its vCPUs, under a
    /// [`Scheduler`](crate::Scheduler).
    Shared {
        /// Steps of a vCPU's turn, while its VM has the harts.
        quantum: u64,
    },
}

/// What a VM plane asks for.
#[derive(Clone, Copy, Debug)]
pub struct VmRequest {
    /// vCPUs; their ids are `0..vcpus`.
    pub vcpus: usize,
    /// Whose the harts are.
    pub harts: Harts,
    /// Bytes of the first window, the guest's RAM: readable, writable, executable.
    pub guest_ram: u64,
    /// Bytes of the second window, the G-stage's tables: readable and writable for page walks.
    pub pool: u64,
    /// Bytes that the VM may grow by in emergencies. They are kept for it, in one piece, so that
    /// no neighbour can take them.
    pub spare: u64,
    /// Exceptions that go to HU, as bits. What of them could go to the guest does not.
    pub exceptions: u64,
    /// Interrupts that go to HU, as bits; 0, the kick, is always among them.
    pub interrupts: u64,
    /// The paging mode of the G-stage.
    pub gstage: Gstage,
    /// So many steps of all vCPUs, and the VM stands still.
    pub max_steps: u64,
}

impl VmRequest {
    /// What every VM plane needs delegated: calls, guest-page faults and virtual instructions.
    pub const EXCEPTIONS: u64 = Exception::EcallFromVs.bit()
        | Exception::InstructionGuestPageFault.bit()
        | Exception::LoadGuestPageFault.bit()
        | Exception::VirtualInstruction.bit()
        | Exception::StoreGuestPageFault.bit();

    /// The interrupts of HU.
    pub const INTERRUPTS: u64 = Interrupt::SIDELEG_MASK;

    /// One vCPU with this much RAM, and the defaults.
    #[must_use]
    pub fn new(guest_ram: u64) -> Self {
        // Tables of 4 KiB leaves for all of RAM take a 512th of it; twice that leaves room for
        // the upper levels and for devices.
        let tables = align_up(guest_ram / 256, PAGE).unwrap_or(0);
        Self {
            vcpus: 1,
            harts: Harts::Own,
            guest_ram,
            pool: tables.saturating_add(16 * ROOT_SIZE),
            spare: 4 << 20,
            exceptions: Self::EXCEPTIONS,
            interrupts: Self::INTERRUPTS,
            gstage: Gstage::default(),
            max_steps: u64::MAX,
        }
    }

    pub(crate) fn check(&self, isa: Extensions) -> Result<(), CreateError> {
        if !isa.has(Ext::Xdv) {
            return Err(CreateError::NoDvExt);
        }
        if self.vcpus == 0 || self.vcpus > VCPUS_MAX {
            return Err(CreateError::Vcpus { asked: self.vcpus });
        }
        for size in [self.guest_ram, self.pool] {
            if size == 0 || (!size.is_multiple_of(PAGE) && on(Check::WholePages)) {
                return Err(CreateError::Size { size });
            }
        }
        if self.pool < ROOT_SIZE + PAGE {
            return Err(CreateError::Pool { size: self.pool });
        }
        let exceptions = self.exceptions & !Exception::SEDELEG_MASK;
        if exceptions != 0 && on(Check::AskedExceptions) {
            return Err(CreateError::Exceptions { bits: exceptions });
        }
        let interrupts = self.interrupts & !Interrupt::SIDELEG_MASK;
        if interrupts != 0 && on(Check::AskedInterrupts) {
            return Err(CreateError::Interrupts { bits: interrupts });
        }
        if isa.has(self.gstage.ext()) {
            Ok(())
        } else {
            Err(CreateError::Gstage { gstage: self.gstage })
        }
    }
}

/// Why a VM was not created. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The harts lack DV-ext.
    #[error("the harts have no DV-ext (xdv)")]
    NoDvExt,
    /// No vCPU, or too many.
    #[error("a VM has 1 to {VCPUS_MAX} vCPUs, not {asked}")]
    Vcpus {
        /// How many were asked for.
        asked: usize,
    },
    /// A window that is no whole pages.
    #[error("a window of {size:#x} bytes is not whole pages")]
    Size {
        /// Its bytes.
        size: u64,
    },
    /// A pool without room for the root table and another one.
    #[error("a table pool of {size:#x} bytes is too small")]
    Pool {
        /// Its bytes.
        size: u64,
    },
    /// Exceptions that may not go to HU.
    #[error("exceptions {bits:#x} cannot be delegated to HU")]
    Exceptions {
        /// Them, as bits.
        bits: u64,
    },
    /// Interrupts that may not go to HU.
    #[error("interrupts {bits:#x} cannot be delegated to HU")]
    Interrupts {
        /// Them, as bits.
        bits: u64,
    },
    /// A paging mode that the machine does not have.
    #[error("the machine does not have {gstage:?}")]
    Gstage {
        /// The mode.
        gstage: Gstage,
    },
    /// More RAM than a machine may have, or less than the driver needs.
    #[error("a machine with {size:#x} bytes of RAM: expected whole pages, at most {RAM_MAX:#x}")]
    Ram {
        /// How much was asked for.
        size: u64,
    },
    /// Fewer free harts than vCPUs.
    #[error("{asked} vCPUs were asked for, {free} harts are free")]
    Harts {
        /// vCPUs asked for.
        asked: usize,
        /// Harts that nobody has.
        free: usize,
    },
    /// No range of free memory is large enough.
    #[error("no {size:#x} bytes of memory in one piece are free")]
    Memory {
        /// The window's size.
        size: u64,
    },
    /// All VM ids are taken.
    #[error("all VM ids are taken")]
    Ids,
    /// The hart refused what the driver set up; the driver's tables and the hart disagree.
    #[error("the hart refused {csr}")]
    Refused {
        /// Which CSR.
        csr: isa::Csr,
    },
}
