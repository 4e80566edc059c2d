//! The goldfish real-time clock: nanoseconds since 1970, and one alarm.
//!
//! ```text
//! 0x00 TIME_LOW   0x04 TIME_HIGH (as it was when TIME_LOW was read)
//! 0x08 ALARM_LOW (arms)  0x0c ALARM_HIGH   0x10 IRQ_ENABLED   0x14 CLEAR_ALARM
//! 0x18 ALARM_STATUS      0x1c CLEAR_INTERRUPT
//! ```
//! Source: the *Goldfish Virtual Hardware* description, and QEMU for what it leaves open: a write
//! to TIME_LOW or TIME_HIGH sets the clock, an alarm in the past fires at once.

#[cfg(test)]
mod tests;

use state::{Codec, Damaged, State};

use crate::{Device, Digest, Refused, Width, feed_state, low_u32, with_word, word_of};

/// Bytes that the window of registers spans.
pub const WINDOW: u64 = 0x1000;

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// A goldfish real-time clock.
#[derive(Clone, Debug)]
pub struct Rtc {
    // Runtime state.
    /// The clock less guest time: at first the time of day at which the guest began.
    base: u64,
    latched_high: u32,
    alarm: u64,
    /// The clock at which the alarm fires: the alarm as it was when ALARM_LOW was written.
    armed: Option<u64>,
    pending: bool,
    enabled: bool,
    /// Guest time, as last told.
    now: u64,
}

impl Rtc {
    /// A clock that says `base_ns` (since 1970) when guest time is zero.
    #[must_use]
    pub fn new(base_ns: u64) -> Rtc {
        Rtc {
            base: base_ns,
            latched_high: 0,
            alarm: 0,
            armed: None,
            pending: false,
            enabled: false,
            now: 0,
        }
    }

    /// Tells guest time; to be called before an access and at the [`deadline`](Rtc::deadline).
    pub fn set_time(&mut self, now_ns: u64) {
        self.now = now_ns;
        if self.armed.is_some_and(|alarm| self.clock() >= alarm) {
            self.armed = None;
            self.pending = true;
        }
    }

    /// The guest time at which the alarm fires, if it is armed.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.now.checked_add(self.armed?.saturating_sub(self.clock()))
    }

    fn clock(&self) -> u64 {
        self.now.wrapping_add(self.base)
    }

    fn set_clock(&mut self, high: bool, word: u32) {
        self.base = with_word(self.clock(), high, word).wrapping_sub(self.now);
        self.set_time(self.now);
    }
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "rtc"
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused> {
        if width != Width::Word {
            return Err(Refused);
        }
        Ok(match offset {
            TIME_LOW => {
                let clock = self.clock();
                self.latched_high = low_u32(clock >> 32);
                word_of(clock, false)
            }
            TIME_HIGH => u64::from(self.latched_high),
            ALARM_LOW => word_of(self.alarm, false),
            ALARM_HIGH => word_of(self.alarm, true),
            IRQ_ENABLED => u64::from(self.enabled),
            ALARM_STATUS => u64::from(self.armed.is_some()),
            _ => return Err(Refused),
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused> {
        if width != Width::Word {
            return Err(Refused);
        }
        let word = low_u32(value);
        match offset {
            TIME_LOW => self.set_clock(false, word),
            TIME_HIGH => self.set_clock(true, word),
            ALARM_LOW => {
                self.alarm = with_word(self.alarm, false, word);
                self.armed = Some(self.alarm);
                self.set_time(self.now);
            }
            ALARM_HIGH => self.alarm = with_word(self.alarm, true, word),
            IRQ_ENABLED => self.enabled = word & 1 != 0,
            CLEAR_ALARM => self.armed = None,
            CLEAR_INTERRUPT => self.pending = false,
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn irq(&self) -> bool {
        self.pending && self.enabled
    }
}

impl State for Rtc {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.u64(&mut self.base)?;
        codec.u32(&mut self.latched_high)?;
        codec.u64(&mut self.alarm)?;
        codec.option(&mut self.armed, |codec, alarm| codec.u64(alarm))?;
        codec.bool(&mut self.pending)?;
        codec.bool(&mut self.enabled)?;
        codec.u64(&mut self.now)?;
        let waits = self.armed.is_none_or(|alarm| self.clock() < alarm);
        codec.check(waits, "an alarm that should have fired")
    }
}

impl Digest for Rtc {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, self.clone());
    }
}
