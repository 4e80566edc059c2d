//! Drives software interrupts and timers as firmware does, and checks deadlines by search.

use proptest::prelude::*;

use super::*;

#[test]
fn software_interrupts_are_bit_zero() {
    let mut aclint = Aclint::new(2);
    aclint.write(4, Width::Word, 0xffff_ffff).unwrap();
    assert_eq!(aclint.read(4, Width::Word), Ok(1));
    assert!(aclint.msip(1) && !aclint.msip(0) && !aclint.msip(9));
    aclint.write(4, Width::Word, 0xfffe).unwrap();
    assert!(!aclint.msip(1));
}

#[test]
fn the_timer_fires_when_mtime_reaches_mtimecmp() {
    let mut aclint = Aclint::new(2);
    assert_eq!(aclint.next_deadline(0), None);
    aclint.write(MTIMECMP + 8, Width::Double, 100).unwrap();
    assert_eq!(aclint.next_deadline(40), Some(100));
    assert!(!aclint.mtip(1, 99) && aclint.mtip(1, 100) && !aclint.mtip(0, 100));
    assert_eq!(aclint.next_deadline(100), None);
    // The 32-bit sequence of the privileged manual: -1 to the low word, then high, then low.
    aclint.write(MTIMECMP, Width::Word, 0xffff_ffff).unwrap();
    aclint.write(MTIMECMP + 4, Width::Word, 1).unwrap();
    aclint.write(MTIMECMP, Width::Word, 5).unwrap();
    assert_eq!(aclint.read(MTIMECMP, Width::Double), Ok(0x1_0000_0005));
    assert_eq!(aclint.read(MTIMECMP + 4, Width::Word), Ok(1));
    assert_eq!(aclint.next_deadline(100), Some(0x1_0000_0005));
}

#[test]
fn mtime_is_writable() {
    let mut aclint = Aclint::new(1);
    aclint.write(MTIMECMP, Width::Double, 1000).unwrap();
    aclint.set_time(50);
    aclint.write(MTIME, Width::Double, 990).unwrap();
    aclint.set_time(55);
    assert_eq!(aclint.read(MTIME, Width::Double), Ok(995));
    assert_eq!(aclint.next_deadline(55), Some(60));
    aclint.write(MTIME + 4, Width::Word, 2).unwrap();
    assert_eq!(aclint.read(MTIME + 4, Width::Word), Ok(2));
    assert_eq!(aclint.read(MTIME, Width::Word), Ok(995));
    assert!(aclint.mtip(0, 55));
}

#[test]
fn what_does_not_exist_is_refused() {
    let mut aclint = Aclint::new(2);
    for (offset, width) in [
        (8, Width::Word),
        (0, Width::Double),
        (0, Width::Byte),
        (MTIMECMP + 16, Width::Double),
        (MTIMECMP + 4, Width::Double),
        (MTIME, Width::Half),
        (MTIME + 8, Width::Word),
        (u64::MAX - 7, Width::Double),
    ] {
        assert_eq!(aclint.read(offset, width), Err(Refused), "{offset:#x}");
        assert_eq!(aclint.write(offset, width, 1), Err(Refused), "{offset:#x}");
    }
}

proptest! {
    #[test]
    fn a_deadline_is_the_first_tick_that_pends(compare: u64, mtime: u64, now in 0u64..1 << 62) {
        let mut aclint = Aclint::new(1);
        aclint.set_time(now);
        aclint.write(MTIME, Width::Double, mtime).unwrap();
        aclint.write(MTIMECMP, Width::Double, compare).unwrap();
        match aclint.next_deadline(now) {
            Some(at) => {
                prop_assert!(at > now && aclint.mtip(0, at) && !aclint.mtip(0, at - 1));
            }
            None => prop_assert!(
                aclint.mtip(0, now) || compare == u64::MAX || compare - mtime > u64::MAX - now
            ),
        }
    }
}
