//! The console device: one port, its bytes passed on to and taken from the owner.
//!
//! Absent: more ports and their control queues, and the emergency write register.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use state::{Codec, Damaged, State};

use super::mmio::VirtioMmio;
use super::queue::{Broken, Chain};
use super::{GuestMemory, VirtioDevice, spec::*};
use crate::{Digest, feed_state};

/// Input bytes that wait for buffers of the driver; the owner keeps what is more.
pub const INPUT_LIMIT: usize = 4096;
/// Output is taken from the driver only while less than this waits for the owner.
pub const OUTPUT_LIMIT: usize = 64 << 10;
/// Most bytes of one output request; what is more is dropped and counted.
pub const REQUEST_LIMIT: usize = 1 << 20;

/// Guest time that each byte takes of output for which the driver had to wait.
const BYTE_NS: u64 = 1;

/// Bytes of the configuration space that hold columns and rows.
const SIZE_BYTES: usize = 4;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// A console with one port.
///
/// The owner drains its output after each run, or at other moments that are the same in every run
/// of a recording: output that waits can hold up the driver.
#[derive(Clone, Debug)]
pub struct Console {
    // Fixed configuration.
    sized: bool,
    // Runtime state.
    /// cols u16, rows u16, max_nr_ports u32, emerg_wr u32; the last two need features not offered.
    config: [u8; 12],
    input: VecDeque<u8>,
    output: Vec<u8>,
    // Statistics.
    dropped: u64,
}

impl Console {
    /// A console, with the size of its screen (columns, rows) if it has one to tell.
    #[must_use]
    pub fn new(size: Option<(u16, u16)>) -> Console {
        let mut console = Console {
            sized: size.is_some(),
            config: [0; 12],
            input: VecDeque::new(),
            output: Vec::new(),
            dropped: 0,
        };
        console.set_size(size.unwrap_or_default());
        console
    }

    /// How many bytes of overlong requests were lost.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn set_size(&mut self, (columns, rows): (u16, u16)) {
        self.config[..2].copy_from_slice(&columns.to_le_bytes());
        self.config[2..4].copy_from_slice(&rows.to_le_bytes());
    }

    fn deliver(&mut self, chain: &Chain, mem: &mut dyn GuestMemory) -> Result<u32, Broken> {
        let written = chain.writable().write(mem, self.input.make_contiguous())?;
        self.input.drain(..written);
        u32::try_from(written).or(Err(Broken::Length))
    }

    fn collect(&mut self, chain: &Chain, mem: &dyn GuestMemory) -> Result<u32, Broken> {
        let mut source = chain.readable();
        let mut left = REQUEST_LIMIT;
        let mut piece = [0; 4096];
        while left != 0 {
            let want = left.min(piece.len());
            let got = source.read(mem, &mut piece[..want])?;
            self.output.extend_from_slice(&piece[..got]);
            left -= got;
            if got < want {
                break;
            }
        }
        self.dropped += source.remaining();
        Ok(0)
    }
}

impl VirtioMmio<Console> {
    /// Takes what fits of `bytes` as input and says how many that were; due at once.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let input = &mut self.device_mut().input;
        let taken = bytes.len().min(INPUT_LIMIT.saturating_sub(input.len()));
        input.extend(&bytes[..taken]);
        if taken != 0 {
            self.mark(RECEIVE, 0);
        }
        taken
    }

    /// Moves everything sent so far to the end of `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        let output = &mut self.device_mut().output;
        let bytes = output.len();
        out.append(output);
        if bytes >= OUTPUT_LIMIT {
            self.rest(TRANSMIT, BYTE_NS * bytes as u64);
        }
    }

    /// Changes the size of the screen; nothing happens if the console has none.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        if self.device().sized {
            self.device_mut().set_size((columns, rows));
            self.config_changed();
        }
    }
}

impl VirtioDevice for Console {
    fn name(&self) -> &'static str {
        "virtio-console"
    }

    fn device_type(&self) -> u32 {
        CONSOLE
    }

    fn features(&self) -> u64 {
        if self.sized { CONSOLE_F_SIZE } else { 0 }
    }

    fn queues(&self) -> &'static [u16] {
        &[64, 64]
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn wants(&self, queue: usize) -> bool {
        if queue == RECEIVE { !self.input.is_empty() } else { self.output.len() < OUTPUT_LIMIT }
    }

    fn request(
        &mut self,
        queue: usize,
        chain: &Chain,
        _features: u64,
        mem: &mut dyn GuestMemory,
    ) -> Result<u32, Broken> {
        if queue == RECEIVE { self.deliver(chain, mem) } else { self.collect(chain, mem) }
    }
}

impl State for Console {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let size = &mut self.config[..SIZE_BYTES];
        codec.array(size)?;
        codec.check(self.sized || *size == [0; SIZE_BYTES], "a size of a console that has none")?;
        codec.queue(&mut self.input, INPUT_LIMIT)?;
        codec.bytes(&mut self.output, OUTPUT_LIMIT + REQUEST_LIMIT)?;
        codec.count(&mut self.dropped)
    }
}

impl Digest for Console {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, Console { output: Vec::new(), dropped: 0, ..self.clone() });
    }
}
