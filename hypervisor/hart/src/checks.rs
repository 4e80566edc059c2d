//! The numbered checks of the DV-ext chapter, and the switch with which a test turns one off.
//!
//! A check that no test misses is a check that nothing holds. So each one has a name, and with the
//! feature `switches`, which only tests of this workspace turn on, `without` runs a piece of code
//! without it. Without the feature [`on`] is `true` at compile time.

use isa::Check;

#[cfg(feature = "switches")]
thread_local! {
    static OFF: std::cell::Cell<Option<Check>> = const { std::cell::Cell::new(None) };
}

/// Whether this check is made.
#[inline(always)]
#[must_use]
pub fn on(check: Check) -> bool {
    #[cfg(feature = "switches")]
    return OFF.get() != Some(check);
    #[cfg(not(feature = "switches"))]
    {
        let _ = check;
        true
    }
}

/// A mask, or everything if the check that it stands for is off.
#[inline(always)]
#[must_use]
pub(crate) fn mask(check: Check, mask: u64) -> u64 {
    if on(check) { mask } else { u64::MAX }
}

/// Does something in this thread without the check; it is back afterwards, also after a panic.
#[cfg(feature = "switches")]
pub fn without<T>(check: Check, f: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            OFF.set(None);
        }
    }
    let _back = Back;
    OFF.set(Some(check));
    f()
}
