//! HTIF: the two doublewords by which test programs talk to their host, as Spike serves them.
//!
//! ```text
//! tohost    63    56 55     48 47                                0
//!           ┌───────┬─────────┬───────────────────────────────────┐
//!           │device │ command │ payload                           │
//!           └───────┴─────────┴───────────────────────────────────┘
//! device 0  command 0: payload odd: exit with payload >> 1; even: address of a system call
//! device 1  command 0: read a character (answer 0x100 | character); 1: write the payload
//! any       command 255: identify: payload address << 8 | what; a name is written there
//! ```
//! The program's word is taken, and zeroed, where a slice ends; an answer waits until `fromhost` is
//! zero. Of the system calls there are `write` (to the console, whatever the descriptor), `exit`
//! and `exit_group`; every other one fails with ENOSYS.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use hart::Writer;
use state::{Codec, Damaged, State};

use super::board::Board;
use crate::machine::Machine;

/// Answers that may wait; a program that asks for more before it reads any gets none.
const ANSWERS_MAX: usize = 16;
/// Most bytes of one `write`.
const WRITE_MAX: u64 = 64 << 10;

const SYSCALL_PROXY: u64 = 0;
const CONSOLE: u64 = 1;
const IDENTIFY: u64 = 255;
/// What to identify: the device itself, and not one of its commands.
const DEVICE_NAME: u64 = 255;
/// Bytes that a name takes.
const NAME_BYTES: usize = 64;

const SYS_WRITE: u64 = 64;
const SYS_EXIT: u64 = 93;
const SYS_EXIT_GROUP: u64 = 94;
const ENOSYS: u64 = 38;
const EFAULT: u64 = 14;

/// The host's end.
#[derive(Debug, Default)]
pub(crate) struct Htif {
    // Fixed configuration.
    tohost: Option<u64>,
    fromhost: Option<u64>,
    // Runtime state.
    answers: VecDeque<u64>,
    /// A read of a character that has no character yet.
    reading: bool,
}

impl Htif {
    pub(crate) fn new(tohost: Option<u64>, fromhost: Option<u64>) -> Self {
        Self { tohost, fromhost, answers: VecDeque::new(), reading: false }
    }

    /// As after power-on.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.tohost, self.fromhost);
    }

    /// Whether somebody waits for a typed character.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    /// Serves what the program asked for. Gives its exit code, if it is done.
    pub(crate) fn poll(&mut self, machine: &mut Machine) -> Option<u64> {
        let tohost = self.tohost?;
        let word = read(machine, tohost);
        let mut exit = None;
        if word != 0 {
            put(machine, tohost, &0u64.to_le_bytes());
            exit = self.serve(machine, word);
        }
        self.answer(machine);
        exit
    }

    fn serve(&mut self, machine: &mut Machine, word: u64) -> Option<u64> {
        let (device, command, payload) = (word >> 56, word >> 48 & 0xff, word & ((1 << 48) - 1));
        match (device, command) {
            (SYSCALL_PROXY, 0) if payload & 1 == 1 => return Some(payload >> 1),
            (SYSCALL_PROXY, 0) => {
                let exit = system_call(machine, payload);
                self.respond(word, 1);
                return exit;
            }
            (CONSOLE, 0) => self.reading = true,
            (CONSOLE, 1) => print(machine, &[payload.to_le_bytes()[0]]),
            (_, IDENTIFY) => {
                identify(machine, device, payload);
                self.respond(word, 1);
            }
            _ => {}
        }
        None
    }

    fn respond(&mut self, word: u64, payload: u64) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(word & !((1 << 48) - 1) | payload);
        }
    }

    fn answer(&mut self, machine: &mut Machine) {
        if self.reading {
            if let Some(byte) = board(machine).and_then(Board::take_typed) {
                self.reading = false;
                self.respond(CONSOLE << 56, 0x100 | u64::from(byte));
            }
        }
        let Some(fromhost) = self.fromhost.filter(|_| !self.answers.is_empty()) else { return };
        if read(machine, fromhost) == 0 {
            if let Some(word) = self.answers.pop_front() {
                put(machine, fromhost, &word.to_le_bytes());
            }
        }
    }

    pub(crate) fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&[u8::from(self.reading)]);
        sink(&(self.answers.len() as u64).to_le_bytes());
        self.answers.iter().for_each(|word| sink(&word.to_le_bytes()));
    }
}

impl State for Htif {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        let mut answers: Vec<u64> = self.answers.iter().copied().collect();
        codec.list(&mut answers, ANSWERS_MAX, |codec, word| codec.u64(word))?;
        self.answers = answers.into();
        codec.bool(&mut self.reading)
    }
}

fn board(machine: &mut Machine) -> Option<&mut Board> {
    machine.platform_mut().board_mut()
}

fn print(machine: &mut Machine, bytes: &[u8]) {
    if let Some(board) = board(machine) {
        board.output().extend_from_slice(bytes);
    }
}

fn read(machine: &Machine, hpa: u64) -> u64 {
    let mut word = [0; 8];
    // The address was checked with the configuration; one made up by the program reads as zero.
    let _ = machine.read(hpa, &mut word);
    u64::from_le_bytes(word)
}

fn put(machine: &mut Machine, hpa: u64, bytes: &[u8]) {
    // A program that names no memory has nothing written.
    let _ = machine.write(Writer::Dma, hpa, bytes);
}

/// `at` holds the number of the call and its arguments, and gets its result.
fn system_call(machine: &mut Machine, at: u64) -> Option<u64> {
    let word = |i: u64| read(machine, at.saturating_add(8 * i));
    let (number, first, address, len) = (word(0), word(1), word(2), word(3));
    let result = match number {
        SYS_EXIT | SYS_EXIT_GROUP => return Some(first),
        SYS_WRITE => {
            let len = usize::try_from(len.min(WRITE_MAX)).unwrap_or(0);
            let bytes = machine.platform().memory().slice(address, len).map(<[u8]>::to_vec);
            match bytes {
                Ok(bytes) => {
                    print(machine, &bytes);
                    bytes.len() as u64
                }
                Err(_) => EFAULT.wrapping_neg(),
            }
        }
        _ => ENOSYS.wrapping_neg(),
    };
    put(machine, at, &result.to_le_bytes());
    None
}

fn identify(machine: &mut Machine, device: u64, payload: u64) {
    let name: &str = match (device, payload & 0xff) {
        (SYSCALL_PROXY, DEVICE_NAME) => "syscall_proxy",
        (SYSCALL_PROXY, 0) => "syscall",
        (CONSOLE, DEVICE_NAME) => "bcd",
        (CONSOLE, 0) => "read",
        (CONSOLE, 1) => "write",
        _ => "",
    };
    let mut bytes = [0; NAME_BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    put(machine, payload >> 8, &bytes);
}
