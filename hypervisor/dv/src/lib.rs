//! What HU-mode software may do: the interface between the VM plane and DV-ext.
//!
//! The VM plane sees the hardware only through [`Dv`]. Each operation stands for an HU-mode
//! instruction, or for memory that the driver granted, and is checked as if HU-mode code had
//! executed it: what the hardware refuses comes back as [`Denied`], and the driver stops the VM.
//!
//! One process serves all vCPUs of its VM. On silicon each vCPU has a thread of its own in which
//! `HURET` lasts until the next trap; here one thread serves them all, so the instruction is split:
//! [`Dv::huret`] gives a vCPU back to its guest, [`Dv::wait`] takes the next vCPU that trapped.
#![forbid(unsafe_code)]

use isa::{Csr, Mode};

/// The hardware or the driver refused an operation; the VM is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// A guest load, store or fetch on behalf of the VM plane that the guest could not have made:
/// `hustatus.GLF` is set and nothing was transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestFault;

/// A virtual interrupt that `hu_vitr` posts to a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virq {
    /// VSSI, 2.
    Software,
    /// VSTI, 6.
    Timer,
    /// VSEI, 10.
    External,
}

/// Why [`Dv::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// This vCPU trapped: its HU CSRs say why.
    Trap(usize),
    /// A slice ended; inputs and commands may be looked at.
    Slice,
    /// Guest time reached the deadline set with [`Dv::set_alarm`].
    Alarm,
    /// No vCPU can run: all are parked or stopped. The earliest timer of any of them, and the
    /// alarm, are at this guest time in nanoseconds.
    Idle(Option<u64>),
    /// The step limit was reached; or others have the harts now, and there will be more steps.
    StepLimit,
    /// The debug module halted this vCPU before an instruction of its guest. Nothing has happened,
    /// and no slice has ended: the VM plane has nothing to do but to tell whoever asked for it.
    Debug(usize),
    /// The driver stopped the VM; [`Dv::reason`] says why.
    Killed,
}

/// One of the memory windows that the driver granted, in the order of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First physical address.
    pub hpa: u64,
    /// Bytes.
    pub size: u64,
}

/// What HU-mode software may do. See the crate's documentation.
pub trait Dv {
    /// vCPUs that the driver registered for this VM; their ids are `0..n`.
    fn n_vcpus(&self) -> usize;

    /// The granted windows: guest RAM first, the VM plane's own table pool second.
    ///
    /// `hugatp` names the first 16 KiB of the second window as the root table, in all vCPUs; what
    /// [`Dv::grow`] adds follows behind these two.
    fn windows(&self) -> &[Window];

    // Time and position.

    /// Guest time in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Steps of all vCPUs.
    fn steps(&self) -> u64;

    /// Steps of one vCPU.
    fn vcpu_steps(&self, vcpu: usize) -> u64;

    /// Asks [`Dv::wait`] to come back with [`Woken::Alarm`] at this guest time (a device's work).
    fn set_alarm(&mut self, at_ns: Option<u64>);

    /// Every vCPU waits: lets guest time go on to `to_ns`.
    fn advance(&mut self, to_ns: u64);

    // Running the guest.

    /// `HURET` on this vCPU: back to the guest at `uepc`.
    ///
    /// # Errors
    /// [`Denied`] where the instruction traps.
    fn huret(&mut self, vcpu: usize) -> Result<(), Denied>;

    /// Takes this vCPU off its hart until an interrupt for it, its timer or a kick.
    fn park(&mut self, vcpu: usize);

    /// Puts a parked or stopped vCPU back (its next step is whatever `huret` left).
    fn unpark(&mut self, vcpu: usize);

    /// Takes this vCPU off its hart until [`Dv::unpark`]; interrupts do not bring it back.
    ///
    /// A vCPU that was in the guest leaves it as if it had been kicked, and no trap of it that
    /// waits to be taken is reported any more: its HU CSRs and registers may be read and written.
    /// All vCPUs are stopped when the VM starts.
    fn stop(&mut self, vcpu: usize);

    /// Whether this vCPU was parked and nothing has brought it back yet.
    fn is_parked(&self, vcpu: usize) -> bool;

    /// Lets vCPUs run until one needs its VM plane.
    fn wait(&mut self) -> Woken;

    /// Why the driver stopped the VM.
    fn reason(&self) -> Option<&str>;

    // A vCPU that trapped.

    /// Reads a CSR as HU-mode code on that vCPU's hart.
    ///
    /// # Errors
    /// [`Denied`] where `csrr` traps.
    fn csr(&mut self, vcpu: usize, csr: Csr) -> Result<u64, Denied>;

    /// Writes a CSR as HU-mode code on that vCPU's hart.
    ///
    /// # Errors
    /// [`Denied`] where `csrw` traps.
    fn set_csr(&mut self, vcpu: usize, csr: Csr, value: u64) -> Result<(), Denied>;

    /// An integer register of the guest, as the trap left it.
    fn x(&self, vcpu: usize, reg: u8) -> u64;

    /// Sets an integer register of the guest (writes of `x0` do nothing).
    fn set_x(&mut self, vcpu: usize, reg: u8, value: u64);

    /// A floating-point register of the guest, NaN-boxed.
    fn f(&self, vcpu: usize, reg: u8) -> u64;

    /// Sets a floating-point register of the guest.
    fn set_f(&mut self, vcpu: usize, reg: u8, value: u64);

    /// The guest's mode (VS or VU) as `hustatus` has it, or the mode it runs in now.
    fn mode(&self, vcpu: usize) -> Mode;

    /// The guest's pc: `uepc` of a vCPU that trapped, its pc otherwise.
    fn pc(&self, vcpu: usize) -> u64;

    /// `HLV.D/W/H/B`: reads guest-virtual memory with the guest's rights.
    ///
    /// # Errors
    /// [`GuestFault`] where the guest's own load would trap.
    fn load(&mut self, vcpu: usize, gva: u64, buf: &mut [u8]) -> Result<(), GuestFault>;

    /// `HLVX.HU`: reads 16 bits of guest-virtual memory with the guest's execute right.
    ///
    /// # Errors
    /// [`GuestFault`] where the guest's own fetch would trap.
    fn fetch(&mut self, vcpu: usize, gva: u64) -> Result<u16, GuestFault>;

    /// `HSV.*`: writes guest-virtual memory with the guest's rights.
    ///
    /// # Errors
    /// [`GuestFault`] where the guest's own store would trap.
    fn store(&mut self, vcpu: usize, gva: u64, bytes: &[u8]) -> Result<(), GuestFault>;

    /// `HUFENCE.GVMA` with both operands zero.
    fn hufence_gvma(&mut self, vcpu: usize);

    /// `HUFENCE.VVMA` with both operands zero.
    fn hufence_vvma(&mut self, vcpu: usize);

    // Posted interrupts.

    /// Writes `hu_vitr`: sets or clears the level of a virtual interrupt of a vCPU of this VM.
    ///
    /// # Errors
    /// [`Denied`] for a vCPU that is not this VM's.
    fn post(&mut self, vcpu: usize, virq: Virq, level: bool) -> Result<(), Denied>;

    /// Writes `hu_vitr` with interrupt 0: makes a vCPU leave the guest (USIP).
    ///
    /// # Errors
    /// [`Denied`] for a vCPU that is not this VM's.
    fn kick(&mut self, vcpu: usize) -> Result<(), Denied>;

    // Granted memory.

    /// Reads granted physical memory.
    ///
    /// # Errors
    /// [`Denied`] outside the windows.
    fn read(&self, hpa: u64, buf: &mut [u8]) -> Result<(), Denied>;

    /// Writes granted physical memory.
    ///
    /// # Errors
    /// [`Denied`] outside the windows.
    fn write(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied>;

    /// Writes granted physical memory on behalf of a device.
    ///
    /// # Errors
    /// [`Denied`] outside the windows.
    fn dma(&mut self, hpa: u64, bytes: &[u8]) -> Result<(), Denied>;

    // Emergencies.

    /// Calls the driver for another window of this size (an emergency: the pool ran dry).
    ///
    /// # Errors
    /// [`Denied`] if the VM did not announce that it might need so much, or has too many windows.
    fn grow(&mut self, bytes: u64) -> Result<Window, Denied>;

    /// Driver calls since the VM started.
    fn driver_calls(&self) -> u64;
}
