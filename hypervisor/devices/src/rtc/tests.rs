//! Reads the clock and sets the alarm in the order that Linux's goldfish driver does.

use proptest::prelude::*;

use super::*;

const BASE: u64 = 1_700_000_000_000_000_000;

fn get(rtc: &mut Rtc, offset: u64) -> u64 {
    rtc.read(offset, Width::Word).unwrap()
}

fn put(rtc: &mut Rtc, offset: u64, value: u64) {
    rtc.write(offset, Width::Word, value).unwrap();
}

fn time(rtc: &mut Rtc) -> u64 {
    let low = get(rtc, TIME_LOW);
    get(rtc, TIME_HIGH) << 32 | low
}

fn set_alarm(rtc: &mut Rtc, at: u64) {
    put(rtc, ALARM_HIGH, at >> 32);
    put(rtc, ALARM_LOW, at);
    put(rtc, IRQ_ENABLED, 1);
}

#[test]
fn time_is_base_plus_guest_time() {
    let mut rtc = Rtc::new(BASE);
    rtc.set_time(123);
    assert_eq!(time(&mut rtc), BASE + 123);
    // The high word is the one that belongs to the low word read before.
    let low = get(&mut rtc, TIME_LOW);
    rtc.set_time(1 << 40);
    assert_eq!(get(&mut rtc, TIME_HIGH) << 32 | low, BASE + 123);
}

#[test]
fn the_clock_can_be_set() {
    let mut rtc = Rtc::new(BASE);
    rtc.set_time(1000);
    put(&mut rtc, TIME_HIGH, 7);
    put(&mut rtc, TIME_LOW, 9);
    rtc.set_time(1001);
    assert_eq!(time(&mut rtc), (7 << 32) + 10);
}

#[test]
fn the_alarm_fires_once_at_its_deadline() {
    let mut rtc = Rtc::new(BASE);
    set_alarm(&mut rtc, BASE + 500);
    assert_eq!((rtc.deadline(), get(&mut rtc, ALARM_STATUS)), (Some(500), 1));
    rtc.set_time(499);
    assert!(!rtc.irq());
    rtc.set_time(500);
    assert!(rtc.irq());
    assert_eq!((rtc.deadline(), get(&mut rtc, ALARM_STATUS)), (None, 0));
    put(&mut rtc, IRQ_ENABLED, 0);
    assert!(!rtc.irq());
    put(&mut rtc, IRQ_ENABLED, 1);
    put(&mut rtc, CLEAR_INTERRUPT, 1);
    assert!(!rtc.irq());
}

#[test]
fn a_past_alarm_fires_at_once_and_a_cleared_one_never() {
    let mut rtc = Rtc::new(BASE);
    set_alarm(&mut rtc, BASE - 1);
    assert!(rtc.irq());
    put(&mut rtc, CLEAR_INTERRUPT, 1);
    set_alarm(&mut rtc, BASE + 5);
    put(&mut rtc, CLEAR_ALARM, 1);
    rtc.set_time(10);
    assert!(!rtc.irq() && rtc.deadline().is_none());
}

proptest! {
    #[test]
    fn random_traffic_never_panics(
        base: u64,
        traffic in prop::collection::vec((0u64..0x24, any::<bool>(), any::<u64>()), 0..60),
    ) {
        let mut rtc = Rtc::new(base);
        for (offset, write, value) in traffic {
            rtc.set_time(value);
            if write {
                let _ = rtc.write(offset, Width::Word, value);
            } else {
                let _ = rtc.read(offset, Width::Word);
            }
            if let Some(at) = rtc.deadline() {
                prop_assert!(at > value, "an alarm that is due has fired");
            }
        }
    }
}
