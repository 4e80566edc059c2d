//! Input and output as Linux's virtio_console moves them, and what bounds both.

use super::super::Dma;
use super::super::testing::{Driver, Space};
use super::*;
use crate::{Device, Width};

fn output(driver: &mut Driver<Console>) -> Vec<u8> {
    let mut out = Vec::new();
    driver.mmio.take_output(&mut out);
    out
}

fn start() -> Driver<Console> {
    Driver::start(Console::new(None), u64::MAX)
}

#[test]
fn output_reaches_the_owner() {
    let mut driver = start();
    let pieces = [driver.filled(b"hello, "), driver.filled(b"world")];
    driver.submit(1, &pieces, &[]);
    assert_eq!(driver.finish(1), [0]);
    assert_eq!(output(&mut driver), b"hello, world");
}

#[test]
fn input_waits_for_buffers_and_buffers_for_input() {
    let mut driver = start();
    let first = driver.space(4);
    driver.submit(RECEIVE, &[], &[first]);
    assert_eq!(driver.finish(RECEIVE), [0; 0]);
    assert_eq!(driver.mmio.receive(b"abcdef"), 6);
    assert_eq!(driver.finish(RECEIVE), [4]);
    assert_eq!(driver.bytes(first), b"abcd");
    assert_eq!(driver.mmio.deadline(), None, "out of buffers: the driver will notify");
    assert_eq!(driver.avail_event(RECEIVE), 1);
    let second = driver.space(4);
    driver.submit(RECEIVE, &[], &[second]);
    assert_eq!(driver.finish(RECEIVE), [2]);
    assert_eq!(driver.bytes(second)[..2], *b"ef");
}

#[test]
fn input_before_the_driver_is_kept_up_to_a_limit() {
    let mut mmio = VirtioMmio::new(Console::new(None));
    assert_eq!(mmio.receive(&[1; INPUT_LIMIT + 5]), INPUT_LIMIT);
    assert_eq!(mmio.receive(b"x"), 0);
    assert_eq!(mmio.deadline(), None);
}

#[test]
fn undrained_output_holds_up_the_driver() {
    let mut driver = start();
    let block = driver.filled(&[7; OUTPUT_LIMIT]);
    driver.add(TRANSMIT, &[block], &[]);
    driver.submit(TRANSMIT, &[block], &[]);
    assert_eq!(driver.finish(TRANSMIT).len(), 1);
    assert_eq!(driver.mmio.deadline(), None);
    assert_eq!(output(&mut driver).len(), OUTPUT_LIMIT);
    assert_eq!(driver.finish(TRANSMIT).len(), 1, "drained, so it goes on");
    assert_eq!(output(&mut driver).len(), OUTPUT_LIMIT);
}

/// A driver with much to say cannot have its owner do nothing else: guest time goes on meanwhile.
#[test]
fn output_that_has_to_wait_takes_time_whatever_the_driver_says() {
    let mut driver = start();
    let block = driver.filled(&[7; OUTPUT_LIMIT]);
    driver.add(TRANSMIT, &[block], &[]);
    driver.submit(TRANSMIT, &[block], &[]);
    driver.run();
    let drained = driver.now;
    assert_eq!(output(&mut driver).len(), OUTPUT_LIMIT);
    let later = drained + OUTPUT_LIMIT as u64;
    assert_eq!(driver.mmio.deadline(), Some(later));
    driver.put(QUEUE_NOTIFY, TRANSMIT as u64);
    assert_eq!(driver.mmio.deadline(), Some(later));
    driver.mmio.run(later - 1, &mut driver.ram);
    assert_eq!(output(&mut driver).len(), 0);
    driver.run();
    assert_eq!(output(&mut driver).len(), OUTPUT_LIMIT);
}

#[test]
fn an_overlong_request_is_cut_and_counted() {
    let mut driver = start();
    let block = driver.space(600_000);
    driver.submit(TRANSMIT, &[block, block], &[]);
    driver.run();
    assert_eq!(output(&mut driver).len(), REQUEST_LIMIT);
    assert_eq!(driver.mmio.device().dropped(), 1_200_000 - REQUEST_LIMIT as u64);
}

#[test]
fn a_new_size_is_announced() {
    let mut driver = Driver::start(Console::new(Some((80, 25))), u64::MAX);
    let before = driver.get(0xfc);
    driver.mmio.resize(132, 50);
    assert_eq!(driver.get(0x100), 50 << 16 | 132);
    assert_ne!(driver.get(0xfc), before);
    assert!(driver.mmio.irq());
    assert_eq!(driver.mmio.read(0x60, Width::Word), Ok(2));
    let mut unsized_console = start();
    unsized_console.mmio.resize(1, 1);
    assert!(!unsized_console.mmio.irq());
}

#[test]
fn an_empty_receive_buffer_is_given_back() {
    let mut driver = start();
    driver.mmio.receive(b"a");
    let good = driver.space(1);
    driver.add(RECEIVE, &[], &[Space { addr: 0, len: 0 }]);
    driver.submit(RECEIVE, &[], &[good]);
    assert_eq!(driver.finish(RECEIVE), [0, 1]);
    assert_eq!(driver.bytes(good), b"a");
}
