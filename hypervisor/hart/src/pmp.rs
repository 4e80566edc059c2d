//! Physical memory protection, and DV-ext's confinement of guests (PMC).
//!
//! The granularity is 4 KiB (G = 10: NA4 does not exist, addresses are compared by page), so that
//! a page is allowed or refused as a whole and the answer can be cached with its translation.
//!
//! An entry whose `V` bit (bit 5) is set confines guests of a delegated VM: it applies to their
//! accesses, to HLV and HSV of HU and to both stages' tables, and to nothing else.

use isa::Check;
use isa::fields::PMPCFG;

use crate::checks::on;
use crate::hart::Hart;

/// Number of entries.
pub(crate) const N_PMP: usize = 16;
/// `pmpaddr` holds address bits 55:2.
pub(crate) const PMPADDR_MASK: u64 = (1 << 54) - 1;
/// Address bits below the granularity.
const GRAIN_LOW: u64 = (1 << 10) - 1;

/// What an access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
    Execute,
}

impl Right {
    fn field(self) -> isa::Field {
        match self {
            Self::Read => PMPCFG::R,
            Self::Write => PMPCFG::W,
            Self::Execute => PMPCFG::X,
        }
    }
}

/// One entry, decoded once when its CSRs are written: pages `first..end`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PmpRange {
    first: u64,
    end: u64,
    cfg: u64,
}

impl Hart {
    /// Decodes `pmpcfg` and `pmpaddr`.
    pub(crate) fn decode_pmp(&mut self) {
        self.pmp.clear();
        for i in 0..N_PMP {
            let cfg = self.csr.pmpcfg[i];
            let addr = self.csr.pmpaddr[i];
            let (first, end) = match PMPCFG::A.get(cfg) {
                1 => {
                    let below = if i == 0 { 0 } else { self.csr.pmpaddr[i - 1] };
                    (below >> 10, addr >> 10)
                }
                3 => {
                    let napot = addr | (GRAIN_LOW >> 1);
                    let size = (napot ^ (napot + 1)).wrapping_add(1) >> 10;
                    let first = (napot & (napot + 1)) >> 10;
                    (first, first.saturating_add(size.max(1)))
                }
                _ => continue,
            };
            self.pmp.push(PmpRange { first, end, cfg });
        }
        self.pmp_any = self.pmp.iter().any(|range| !PMPCFG::V.is_set(range.cfg));
    }

    /// Whether this mode, or a guest that is `confined`, may do this to this physical page.
    pub(crate) fn may(&self, hpa: u64, right: Right, prv: u8, confined: bool) -> bool {
        if !confined && prv == 3 && !self.pmp_any {
            return true;
        }
        let page = hpa >> 12;
        let hit = self
            .pmp
            .iter()
            .find(|range| binds(range.cfg, confined) && range.first <= page && page < range.end);
        match hit {
            Some(range) if prv == 3 && !PMPCFG::L.is_set(range.cfg) => true,
            Some(_) if confined && !on(Check::WindowRights) => true,
            Some(range) => right.field().is_set(range.cfg),
            None if confined => !on(Check::DefaultDeny),
            // "If no PMP entry matches an M-mode access, the access succeeds"; other modes fail.
            None => prv == 3,
        }
    }
}

/// Whether an entry is about accesses of a guest of HU, or about all others.
#[inline(always)]
fn binds(cfg: u64, confined: bool) -> bool {
    match (PMPCFG::V.is_set(cfg), confined) {
        (true, true) | (false, false) => true,
        (true, false) => !on(Check::HostNotBound),
        (false, true) => !on(Check::GuestNotServed),
    }
}
