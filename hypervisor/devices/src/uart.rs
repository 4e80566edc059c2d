//! The ns16550a serial port: FIFOs, loopback and interrupts, with an ideal line behind it.
//!
//! The transmitter is always ready: a byte written to THR has left when the store is over. The
//! peer is always there (CTS, DSR and DCD on). There is no line speed, hence no waiting for the
//! four character times of the FIFO timeout: data below the trigger level is reported as a
//! timeout at once. Absent, because nothing on an ideal line can cause them: break, parity and
//! framing errors; DMA modes; word lengths (all eight bits travel).

mod spec;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use state::{Codec, Damaged, State};

use crate::{Device, Digest, Refused, Width, feed_state, low_u8};
use spec::*;

/// Bytes that the window of registers spans.
pub const WINDOW: u64 = 0x100;
/// Depth of the receive FIFO.
pub const FIFO: usize = 16;
/// Output bytes held for the owner; what comes after is dropped and counted.
pub const OUTPUT_LIMIT: usize = 1 << 20;

/// An ns16550a with `reg-shift` 0.
///
/// A wider access is an access to the one register it starts at, as on QEMU's `virt`.
#[derive(Clone, Debug)]
pub struct Uart {
    // Registers.
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: [u8; 2],
    delta: u8,
    overrun: bool,
    // Runtime state.
    received: VecDeque<u8>,
    /// The THRE interrupt is due: THR emptied, or was enabled empty, and IIR has not said so yet.
    thre_due: bool,
    output: Vec<u8>,
    // Statistics.
    dropped: u64,
}

impl Uart {
    /// A serial port after reset.
    #[must_use]
    pub fn new() -> Uart {
        Uart {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: [0; 2],
            delta: 0,
            overrun: false,
            received: VecDeque::with_capacity(FIFO),
            thre_due: false,
            output: Vec::new(),
            dropped: 0,
        }
    }

    /// Takes what fits of `bytes` into the receiver and says how many that were.
    ///
    /// The owner keeps the rest and offers it again later. In loopback mode the line is cut off
    /// and nothing fits.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let taken = bytes.len().min(room);
        self.received.extend(&bytes[..taken]);
        taken
    }

    /// How many bytes [`receive`](Uart::receive) would take now.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.looped() { 0 } else { self.depth().saturating_sub(self.received.len()) }
    }

    /// Moves everything sent so far to the end of `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.output);
    }

    /// How many bytes were lost because nobody drained the output.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn looped(&self) -> bool {
        self.mcr & MCR_LOOP != 0
    }

    fn fifo_on(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    fn depth(&self) -> usize {
        if self.fifo_on() { FIFO } else { 1 }
    }

    fn dlab(&self) -> bool {
        self.lcr & LCR_DLAB != 0
    }

    /// The cause that IIR reports, highest priority first.
    fn cause(&self) -> u8 {
        let on = |bit: u8| self.ier & bit != 0;
        if on(IER_RLSI) && self.overrun {
            IIR_RLSI
        } else if on(IER_RDI) && !self.received.is_empty() {
            let trigger = TRIGGER[usize::from(self.fcr >> 6)];
            if self.fifo_on() && self.received.len() < trigger { IIR_TIMEOUT } else { IIR_RDI }
        } else if on(IER_THRI) && self.thre_due {
            IIR_THRI
        } else if on(IER_MSI) && self.delta != 0 {
            IIR_MSI
        } else {
            IIR_NONE
        }
    }

    fn read_iir(&mut self) -> u8 {
        let cause = self.cause();
        if cause == IIR_THRI {
            self.thre_due = false;
        }
        cause | if self.fifo_on() { IIR_FIFO } else { 0 }
    }

    fn read_lsr(&mut self) -> u8 {
        let mut lsr = LSR_THRE | LSR_TEMT;
        if !self.received.is_empty() {
            lsr |= LSR_DR;
        }
        if std::mem::take(&mut self.overrun) {
            lsr |= LSR_OE;
        }
        lsr
    }

    /// The modem inputs: the peer's, or in loopback our own outputs.
    fn modem_lines(&self) -> u8 {
        if !self.looped() {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)]
            .into_iter()
            .filter(|(from, _)| self.mcr & from != 0)
            .fold(0, |lines, (_, to)| lines | to)
    }

    fn write_ier(&mut self, value: u8) {
        let risen = value & !self.ier;
        self.ier = value & IER_MASK;
        // The holding register is always empty, so enabling its interrupt raises it (Linux tests
        // for chips that do not) and disabling it takes it back.
        if risen & IER_THRI != 0 {
            self.thre_due = true;
        } else if self.ier & IER_THRI == 0 {
            self.thre_due = false;
        }
    }

    fn write_fcr(&mut self, value: u8) {
        let switched = (value ^ self.fcr) & FCR_ENABLE != 0;
        // "Bit 0 must be a 1 when other FCR bits are written to or they will not be programmed."
        self.fcr = if value & FCR_ENABLE != 0 { value & FCR_KEPT } else { 0 };
        if switched || (self.fifo_on() && value & FCR_CLEAR_RX != 0) {
            self.received.clear();
        }
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value & MCR_MASK;
        let after = self.modem_lines();
        // The ring indicator counts its trailing edge only.
        let changed = (before ^ after) & !(MSR_RI & after);
        self.delta |= (changed >> 4) & MSR_DELTA;
    }

    fn transmit(&mut self, byte: u8) {
        if self.looped() {
            // "An overrun error will occur only after the FIFO is full": what is there stays. A
            // single receiver buffer is overwritten.
            if self.received.len() >= self.depth() {
                self.overrun = true;
                if !self.fifo_on() {
                    self.received.clear();
                    self.received.push_back(byte);
                }
            } else {
                self.received.push_back(byte);
            }
        } else if self.output.len() < OUTPUT_LIMIT {
            self.output.push(byte);
        } else {
            self.dropped += 1;
        }
        self.thre_due = self.ier & IER_THRI != 0;
    }
}

impl Device for Uart {
    fn name(&self) -> &'static str {
        "uart"
    }

    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Refused> {
        let value = match offset {
            DATA if self.dlab() => self.divisor[0],
            DATA => self.received.pop_front().unwrap_or(0),
            IER if self.dlab() => self.divisor[1],
            IER => self.ier,
            IIR_FCR => self.read_iir(),
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => self.read_lsr(),
            MSR => self.modem_lines() | std::mem::take(&mut self.delta),
            SCR => self.scr,
            _ => return Err(Refused),
        };
        Ok(u64::from(value))
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Refused> {
        let value = low_u8(value);
        match offset {
            DATA if self.dlab() => self.divisor[0] = value,
            DATA => self.transmit(value),
            IER if self.dlab() => self.divisor[1] = value,
            IER => self.write_ier(value),
            IIR_FCR => self.write_fcr(value),
            LCR => self.lcr = value,
            MCR => self.write_mcr(value),
            // "The LSR is intended for read operations only"; Linux never writes MSR either, but
            // firmware that clears every register does.
            LSR | MSR => {}
            SCR => self.scr = value,
            _ => return Err(Refused),
        }
        Ok(())
    }

    fn irq(&self) -> bool {
        self.cause() != IIR_NONE
    }
}

impl State for Uart {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        for (register, bits) in [
            (&mut self.ier, IER_MASK),
            (&mut self.fcr, FCR_KEPT),
            (&mut self.lcr, 0xff),
            (&mut self.mcr, MCR_MASK),
            (&mut self.scr, 0xff),
            (&mut self.delta, MSR_DELTA),
        ] {
            codec.u8(register)?;
            codec.check(*register & !bits == 0, "a UART with bits that do not exist")?;
        }
        codec.check(self.fcr == 0 || self.fifo_on(), "settings of FIFOs that are off")?;
        codec.array(&mut self.divisor)?;
        codec.bool(&mut self.overrun)?;
        codec.bool(&mut self.thre_due)?;
        let depth = self.depth();
        codec.queue(&mut self.received, depth)?;
        codec.bytes(&mut self.output, OUTPUT_LIMIT)?;
        codec.count(&mut self.dropped)
    }
}

impl Digest for Uart {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, Uart { output: Vec::new(), dropped: 0, ..self.clone() });
    }
}
