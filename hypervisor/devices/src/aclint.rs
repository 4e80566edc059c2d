//! Software interrupts and timers of the harts, in the layout that CLINT and ACLINT share.
//!
//! ```text
//! 0x0000  msip of hart 0, 1, …       4 bytes each, bit 0 only      (MSWI)
//! 0x4000  mtimecmp of hart 0, 1, …   8 bytes each                  (MTIMER)
//! 0xbff8  mtime
//! ```
//! Time is the owner's: it counts ticks, and what a program writes to mtime is kept as a
//! difference. Source: *RISC-V Advanced Core Local Interruptor Specification*. SSWI is absent.

#[cfg(test)]
mod tests;

use state::{Codec, Damaged, State};

use crate::{Device, Digest, Refused, Width, feed_state, low_u32, with_word, word_of};

/// Bytes that the window of registers spans.
pub const WINDOW: u64 = 0x1_0000;
/// Highest number of harts, given by the layout.
pub const MAX_HARTS: usize = 4095;

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

/// MSWI and MTIMER of a number of harts.
#[derive(Clone, Debug)]
pub struct Aclint {
    // Runtime state.
    msip: Vec<bool>,
    mtimecmp: Vec<u64>,
    /// mtime less the owner's ticks.
    offset: u64,
    /// The owner's ticks, as last told.
    now: u64,
}

enum Register {
    Msip(usize),
    Mtimecmp(usize),
    Mtime,
}

impl Aclint {
    /// For harts 0 to `harts - 1`; no software interrupt, and timers that never fire.
    ///
    /// # Panics
    /// If the owner asks for more than [`MAX_HARTS`].
    #[must_use]
    pub fn new(harts: usize) -> Aclint {
        assert!(harts <= MAX_HARTS, "{harts} harts, at most {MAX_HARTS} fit");
        let mtimecmp = (0..harts).map(|_| u64::MAX).collect();
        Aclint { msip: (0..harts).map(|_| false).collect(), mtimecmp, offset: 0, now: 0 }
    }

    /// Tells the time in ticks; to be called before an access.
    pub fn set_time(&mut self, ticks: u64) {
        self.now = ticks;
    }

    /// mtime when the owner's time is `ticks`; the CSR `time` of the harts is this as well.
    #[must_use]
    pub fn mtime(&self, ticks: u64) -> u64 {
        ticks.wrapping_add(self.offset)
    }

    /// Level of the machine software interrupt of `hart`.
    #[must_use]
    pub fn msip(&self, hart: usize) -> bool {
        self.msip.get(hart).copied().unwrap_or(false)
    }

    /// Level of the machine timer interrupt of `hart` when the owner's time is `ticks`.
    #[must_use]
    pub fn mtip(&self, hart: usize, ticks: u64) -> bool {
        self.mtimecmp.get(hart).is_some_and(|compare| self.mtime(ticks) >= *compare)
    }

    /// The first moment after `ticks`, in the owner's time, at which the timer of `hart` fires.
    ///
    /// `None` if it is pending already, or lies beyond the end of time.
    #[must_use]
    pub fn deadline(&self, hart: usize, ticks: u64) -> Option<u64> {
        let compare = *self.mtimecmp.get(hart)?;
        let wait = compare.checked_sub(self.mtime(ticks)).filter(|wait| *wait != 0)?;
        // Linux and OpenSBI write all ones for "never".
        if compare == u64::MAX { None } else { ticks.checked_add(wait) }
    }

    /// The earliest [`deadline`](Aclint::deadline) of all harts.
    #[must_use]
    pub fn next_deadline(&self, ticks: u64) -> Option<u64> {
        (0..self.mtimecmp.len()).filter_map(|hart| self.deadline(hart, ticks)).min()
    }

    /// The register, and whether the access is to its high word.
    fn register(&self, offset: u64, width: Width) -> Result<(Register, bool), Refused> {
        let wide = match width {
            Width::Word => false,
            Width::Double => true,
            Width::Byte | Width::Half => return Err(Refused),
        };
        if !offset.is_multiple_of(width.bytes()) {
            return Err(Refused);
        }
        let hart = |index: u64| {
            let hart = usize::try_from(index).or(Err(Refused))?;
            if hart < self.msip.len() { Ok(hart) } else { Err(Refused) }
        };
        let high = offset & 4 != 0;
        if offset < MTIMECMP {
            if wide { Err(Refused) } else { Ok((Register::Msip(hart(offset / 4)?), false)) }
        } else if offset < MTIME {
            Ok((Register::Mtimecmp(hart((offset - MTIMECMP) / 8)?), high))
        } else if offset < MTIME + 8 {
            Ok((Register::Mtime, high))
        } else {
            Err(Refused)
        }
    }
}

fn part(value: u64, high: bool, width: Width) -> u64 {
    if width == Width::Double { value } else { word_of(value, high) }
}

fn merged(old: u64, high: bool, width: Width, new: u64) -> u64 {
    if width == Width::Double { new } else { with_word(old, high, low_u32(new)) }
}

impl Device for Aclint {
    fn name(&self) -> &'static str {
        "aclint"
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused> {
        Ok(match self.register(offset, width)? {
            (Register::Msip(hart), _) => u64::from(self.msip[hart]),
            (Register::Mtimecmp(hart), high) => part(self.mtimecmp[hart], high, width),
            (Register::Mtime, high) => part(self.mtime(self.now), high, width),
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused> {
        match self.register(offset, width)? {
            (Register::Msip(hart), _) => self.msip[hart] = value & 1 != 0,
            (Register::Mtimecmp(hart), high) => {
                self.mtimecmp[hart] = merged(self.mtimecmp[hart], high, width, value);
            }
            (Register::Mtime, high) => {
                let mtime = merged(self.mtime(self.now), high, width, value);
                self.offset = mtime.wrapping_sub(self.now);
            }
        }
        Ok(())
    }
}

impl State for Aclint {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.each(&mut self.msip, |codec, msip| codec.bool(msip))?;
        codec.words(&mut self.mtimecmp)?;
        codec.u64(&mut self.offset)?;
        codec.u64(&mut self.now)
    }
}

impl Digest for Aclint {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, self.clone());
    }
}
