//! HTIF as a program in memory sees it.

use super::super::board::ConsoleDevice;
use super::*;
use crate::machine::Config;

const BASE: u64 = 0x8000_0000;
const TOHOST: u64 = BASE + 0x1000;
const FROMHOST: u64 = BASE + 0x1040;
const CALL: u64 = BASE + 0x2000;
const TEXT: u64 = BASE + 0x3000;

fn machine() -> Machine {
    let board = Board::new(1, ConsoleDevice::Uart, 0, 0, None);
    Machine::with_board(&Config::new(1 << 16), Some(Box::new(board)))
}

fn htif() -> Htif {
    Htif::new(Some(TOHOST), Some(FROMHOST))
}

fn set(machine: &mut Machine, hpa: u64, words: &[u64]) {
    for (hpa, word) in (hpa..).step_by(8).zip(words) {
        put(machine, hpa, &word.to_le_bytes());
    }
}

/// What the program finds after it has asked for this.
fn ask(htif: &mut Htif, machine: &mut Machine, word: u64) -> (Option<u64>, u64) {
    set(machine, FROMHOST, &[0]);
    set(machine, TOHOST, &[word]);
    let exit = htif.poll(machine);
    assert_eq!(read(machine, TOHOST), 0);
    (exit, read(machine, FROMHOST))
}

#[test]
fn odd_words_end_the_program() {
    let (mut htif, mut machine) = (htif(), machine());
    assert_eq!(htif.poll(&mut machine), None);
    assert_eq!(ask(&mut htif, &mut machine, 1), (Some(0), 0));
    assert_eq!(ask(&mut htif, &mut machine, 2 * 1337 + 1), (Some(1337), 0));
}

#[test]
fn system_calls_write_and_exit() {
    let (mut htif, mut machine) = (htif(), machine());
    put(&mut machine, TEXT, b"hello");
    set(&mut machine, CALL, &[SYS_WRITE, 1, TEXT, 5]);
    assert_eq!(ask(&mut htif, &mut machine, CALL), (None, 1));
    assert_eq!(read(&machine, CALL), 5);
    set(&mut machine, CALL, &[SYS_WRITE, 1, 0x1000, 5]);
    assert_eq!(ask(&mut htif, &mut machine, CALL), (None, 1));
    assert_eq!(read(&machine, CALL), EFAULT.wrapping_neg());
    set(&mut machine, CALL, &[17, 0, 0, 0]);
    assert_eq!(ask(&mut htif, &mut machine, CALL), (None, 1));
    assert_eq!(read(&machine, CALL), ENOSYS.wrapping_neg());
    set(&mut machine, CALL, &[SYS_EXIT, 3]);
    assert_eq!(ask(&mut htif, &mut machine, CALL).0, Some(3));
    assert_eq!(board(&mut machine).unwrap().output(), b"hello");
}

#[test]
fn the_console_prints_and_waits_for_what_is_typed() {
    let (mut htif, mut machine) = (htif(), machine());
    let request = |command: u64, payload: u64| CONSOLE << 56 | command << 48 | payload;
    assert_eq!(ask(&mut htif, &mut machine, request(1, 0x41)), (None, 0));
    assert_eq!(board(&mut machine).unwrap().output(), b"A");
    assert_eq!(ask(&mut htif, &mut machine, request(0, 0)), (None, 0));
    assert!(htif.is_reading());
    board(&mut machine).unwrap().type_in(b"x");
    assert_eq!(htif.poll(&mut machine), None);
    assert_eq!(read(&machine, FROMHOST), request(0, 0x100 | u64::from(b'x')));
}

#[test]
fn devices_say_who_they_are() {
    let (mut htif, mut machine) = (htif(), machine());
    let word = CONSOLE << 56 | IDENTIFY << 48 | TEXT << 8 | DEVICE_NAME;
    assert_eq!(ask(&mut htif, &mut machine, word), (None, word & !((1 << 48) - 1) | 1));
    assert_eq!(machine.platform().memory().slice(TEXT, 4), Ok(&b"bcd\0"[..]));
}

#[test]
fn an_answer_waits_for_the_one_before_and_their_number_is_bounded() {
    let (mut htif, mut machine) = (htif(), machine());
    set(&mut machine, FROMHOST, &[7]);
    for _ in 0..100 {
        set(&mut machine, TOHOST, &[CALL]);
        assert_eq!(htif.poll(&mut machine), None);
    }
    assert_eq!(read(&machine, FROMHOST), 7);
    assert_eq!(htif.answers.len(), ANSWERS_MAX);
}

#[test]
fn addresses_that_a_program_makes_up_are_harmless() {
    let (mut htif, mut machine) = (htif(), machine());
    for word in [2, 0xffff_ffff_fffe, IDENTIFY << 48 | 0xff, u64::MAX - 1, 9 << 56] {
        assert_eq!(ask(&mut htif, &mut machine, word).0, None);
    }
}
