//! The SiFive test finisher: the register through which a program ends or restarts its machine.
//!
//! Linux and firmware reach it as `syscon-poweroff` and `syscon-reboot`.

#[cfg(test)]
mod tests;

use state::{Codec, Damaged, State};

use crate::{Device, Digest, Refused, Width, feed_state};

/// Bytes that the window of registers spans.
pub const WINDOW: u64 = 0x1000;
/// Written to end with success.
pub const PASS: u64 = 0x5555;
/// Written, with an exit code in the upper half, to end with failure.
pub const FAIL: u64 = 0x3333;
/// Written to restart.
pub const RESET: u64 = 0x7777;

/// What the program asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It ended with success.
    Pass,
    /// It ended with this code.
    Fail(u16),
    /// It wants a restart.
    Reset,
}

/// A test finisher.
#[derive(Clone, Debug, Default)]
pub struct Finisher {
    request: Option<Finish>,
}

impl Finisher {
    /// A finisher that nobody has written to.
    #[must_use]
    pub fn new() -> Finisher {
        Finisher::default()
    }

    /// The first request since the last call.
    pub fn take_request(&mut self) -> Option<Finish> {
        self.request.take()
    }
}

impl Device for Finisher {
    fn name(&self) -> &'static str {
        "finisher"
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused> {
        // Linux updates the register, which reads it first.
        if offset == 0 && matches!(width, Width::Half | Width::Word) { Ok(0) } else { Err(Refused) }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused> {
        if offset != 0 || !matches!(width, Width::Half | Width::Word) {
            return Err(Refused);
        }
        let bytes = value.to_le_bytes();
        let code = if width == Width::Half { 0 } else { u16::from_le_bytes([bytes[2], bytes[3]]) };
        let request = match value & 0xffff {
            PASS => Finish::Pass,
            FAIL => Finish::Fail(code),
            RESET => Finish::Reset,
            _ => return Ok(()),
        };
        self.request.get_or_insert(request);
        Ok(())
    }
}

impl State for Finisher {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let (mut kind, mut code) = match self.request {
            None => (0, 0),
            Some(Finish::Pass) => (1, 0),
            Some(Finish::Fail(code)) => (2, code),
            Some(Finish::Reset) => (3, 0),
        };
        codec.u8(&mut kind)?;
        codec.u16(&mut code)?;
        self.request = match (kind, code) {
            (0, 0) => None,
            (1, 0) => Some(Finish::Pass),
            (2, code) => Some(Finish::Fail(code)),
            (3, 0) => Some(Finish::Reset),
            _ => return Err(Damaged { what: "no such request of the finisher" }),
        };
        Ok(())
    }
}

impl Digest for Finisher {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, self.clone());
    }
}
