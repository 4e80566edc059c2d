//! The context switch: takes a vCPU off a hart, and puts it on again, as a kernel in HS does.
//!
//! Nothing but CSR accesses of HS is used, and of firmware for counters and windows; what HS cannot
//! reach goes with [`hart::Unwritten`]. HS's own trap CSRs and firmware's are no vCPU's.

#[cfg(test)]
mod tests;

use dv::Window;
use hart::{Bus, Hart};
use isa::fields::SSTATUS;
use isa::{Csr, Ext, Mode};
use state::{Codec, Damaged, State};

use crate::hs;

/// What a VM can change on its harts, or what differs between VMs, in the order of writing. The
/// other CSRs that a VM sees are views of these.
///
/// `h_vmid` is copied to `hugatp`, and a write of `fcsr` makes `sstatus.FS` dirty.
pub(crate) const SWITCHED: [Csr; 38] = [
    // HS's, for this thread. `sepc`, `hstatus` and `sstatus` are its pc and its mode, for `sret`.
    Csr::HSTATUS,
    Csr::HEDELEG,
    Csr::HIDELEG,
    Csr::SEDELEG,
    Csr::SIDELEG,
    Csr::HENVCFG,
    Csr::H_VMID,
    Csr::HUGATP,
    // What HU and the guest share with HS, in place of twins.
    Csr::FCSR,
    Csr::SSTATUS,
    Csr::SEPC,
    Csr::SCOUNTEREN,
    Csr::SENVCFG,
    // Interrupts: enables in `mie`, and what was written or posted to `mip`.
    Csr::HIE,
    Csr::HVIP,
    Csr::HUIE,
    Csr::HUIP,
    // HU's.
    Csr::HUSTATUS,
    Csr::HUTIMEDELTA,
    Csr::HUCOUNTEREN,
    Csr::HUTVAL,
    Csr::HUTINST,
    Csr::HU_VCPUID,
    Csr::UTVEC,
    Csr::USCRATCH,
    Csr::UEPC,
    Csr::UCAUSE,
    Csr::UTVAL,
    Csr::VTIMECMP,
    Csr::VTIMECTL,
    // The guest's.
    Csr::VSSTATUS,
    Csr::VSTVEC,
    Csr::VSSCRATCH,
    Csr::VSEPC,
    Csr::VSCAUSE,
    Csr::VSTVAL,
    Csr::VSATP,
    Csr::VSTIMECMP,
];
const N_REGISTERS: u8 = 32;

/// A vCPU that is off its hart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    x: [u64; N_REGISTERS as usize],
    f: [u64; N_REGISTERS as usize],
    /// In the order of the list that it was saved with.
    csrs: Vec<u64>,
    cycle: u64,
    instret: u64,
}

impl Saved {
    pub(crate) fn for_each_word(&self, f: impl FnMut(u64)) {
        let counters = [self.cycle, self.instret];
        let registers = self.x.iter().chain(&self.f);
        registers.chain(&self.csrs).chain(&counters).copied().for_each(f);
    }
}

impl State for Saved {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.words(&mut self.x)?;
        codec.words(&mut self.f)?;
        codec.list(&mut self.csrs, SWITCHED.len(), |codec, csr| codec.u64(csr))?;
        codec.u64(&mut self.cycle)?;
        codec.u64(&mut self.instret)
    }
}

/// The part of a list that a hart has.
fn present<'a>(hart: &Hart, list: &'a [Csr]) -> impl Iterator<Item = Csr> + use<'a> {
    let (fp, sstc) = (hart.isa().has(Ext::F), hart.isa().has(Ext::Sstc));
    list.iter().copied().filter(move |csr| match *csr {
        Csr::FCSR => fp,
        Csr::VSTIMECMP => sstc,
        _ => true,
    })
}

/// Takes the thread off the hart, which is closed to all guests afterwards. The error is a CSR that
/// HS was refused.
pub(crate) fn save<B: Bus>(hart: &mut Hart, bus: &mut B, list: &[Csr]) -> Result<Saved, Csr> {
    if !hart.hs_take() {
        // Firmware has kept the interrupt to itself.
        return Err(Csr::MIDELEG);
    }
    let mut saved = Saved::default();
    for (reg, (x, f)) in (0..).zip(saved.x.iter_mut().zip(&mut saved.f)) {
        (*x, *f) = (hart.x(reg), hart.f(reg));
    }
    for csr in present(hart, list) {
        saved.csrs.push(hart.hs_csr_read(bus, csr).or(Err(csr))?);
    }
    saved.cycle = hart.hs_csr_read(bus, Csr::CYCLE).or(Err(Csr::CYCLE))?;
    saved.instret = hart.hs_csr_read(bus, Csr::INSTRET).or(Err(Csr::INSTRET))?;
    hs::set_windows(hart, bus, &[]);
    Ok(saved)
}

/// Puts a thread on the hart, confined to these windows. The error is a CSR that HS was refused.
pub(crate) fn restore<B: Bus>(
    hart: &mut Hart,
    bus: &mut B,
    list: &[Csr],
    saved: &Saved,
    windows: &[Window],
) -> Result<(), Csr> {
    hart.set_mode(Mode::Hs);
    hs::set_windows(hart, bus, windows);
    // HS turns floating point on for itself; the thread's own status comes after its fcsr.
    let fp_on = SSTATUS::FS.set(0, 1);
    hart.hs_csr_write(bus, Csr::SSTATUS, fp_on).or(Err(Csr::SSTATUS))?;
    for (csr, value) in present(hart, list).zip(&saved.csrs) {
        hart.hs_csr_write(bus, csr, *value).or(Err(csr))?;
    }
    hs::set_counters(hart, bus, saved.cycle, saved.instret);
    for (reg, (x, f)) in (0..N_REGISTERS).zip(saved.x.iter().zip(&saved.f)) {
        hart.set_x(reg, *x);
        hart.set_f(reg, *f);
    }
    hart.hs_ret().or(Err(Csr::SSTATUS))
}
