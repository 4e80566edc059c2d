//! When a timer of a hart that does not run comes due.

use hart::Hart;
use isa::fields::{ENVCFG, HSTATUS, VTIMECTL};
use isa::{Csr, Ext};

/// Nanoseconds of guest time for one tick of `time`.
pub(crate) const NS_PER_TICK: u64 = 100;

/// The first guest time after `now_ns` at which `stimecmp`, `vstimecmp` or `vtimecmp` is reached;
/// `u64::MAX` if none will be.
pub(crate) fn deadline_ns(hart: &Hart, now_ns: u64) -> u64 {
    let csr = |csr| hart.csr(csr).unwrap_or(0);
    let isa = hart.isa();
    let mut next = u64::MAX;
    let mut consider = |compare: u64, delta: u64| next = next.min(reached(now_ns, compare, delta));
    if isa.has(Ext::Sstc) && ENVCFG::STCE.is_set(csr(Csr::MENVCFG)) {
        consider(csr(Csr::STIMECMP), 0);
        if isa.has(Ext::H) && ENVCFG::STCE.is_set(csr(Csr::HENVCFG)) {
            let delegated = isa.has(Ext::Xdv) && HSTATUS::HU.is_set(csr(Csr::HSTATUS));
            let delta = if delegated { Csr::HUTIMEDELTA } else { Csr::HTIMEDELTA };
            consider(csr(Csr::VSTIMECMP), csr(delta));
        }
    }
    if isa.has(Ext::Xdv) && VTIMECTL::EN.is_set(csr(Csr::VTIMECTL)) {
        consider(csr(Csr::VTIMECMP), csr(Csr::HUTIMEDELTA));
    }
    next
}

/// When `time + delta >= compare` comes true, in ns; never, if it is true already.
fn reached(now_ns: u64, compare: u64, delta: u64) -> u64 {
    let time = now_ns / NS_PER_TICK;
    match compare.checked_sub(time.wrapping_add(delta)) {
        None | Some(0) => u64::MAX,
        Some(ticks) => time.saturating_add(ticks).saturating_mul(NS_PER_TICK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compare_is_reached_at_the_begin_of_its_tick() {
        assert_eq!(reached(950, 12, 0), 1200);
        assert_eq!(reached(1199, 12, 0), 1200);
        assert_eq!(reached(1200, 12, 0), u64::MAX);
        assert_eq!(reached(0, 12, 2), 1000);
        assert_eq!(reached(0, u64::MAX, 0), u64::MAX);
    }
}
