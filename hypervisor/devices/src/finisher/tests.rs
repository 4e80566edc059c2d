//! Writes each of the finisher's values, and some that are none.

use proptest::prelude::*;

use super::*;

fn after(width: Width, value: u64) -> Option<Finish> {
    let mut finisher = Finisher::new();
    finisher.write(0, width, value).unwrap();
    finisher.take_request()
}

#[test]
fn each_value_asks_for_its_end() {
    assert_eq!(after(Width::Word, PASS), Some(Finish::Pass));
    assert_eq!(after(Width::Word, RESET), Some(Finish::Reset));
    assert_eq!(after(Width::Word, 42 << 16 | FAIL), Some(Finish::Fail(42)));
    assert_eq!(after(Width::Half, FAIL), Some(Finish::Fail(0)));
    assert_eq!(after(Width::Word, 0), None);
}

#[test]
fn the_first_request_stands_until_taken() {
    let mut finisher = Finisher::new();
    finisher.write(0, Width::Word, RESET).unwrap();
    finisher.write(0, Width::Word, PASS).unwrap();
    assert_eq!(finisher.take_request(), Some(Finish::Reset));
    assert_eq!(finisher.take_request(), None);
    assert_eq!(finisher.read(0, Width::Word), Ok(0));
}

proptest! {
    #[test]
    fn only_offset_zero_exists(offset in 1u64.., value: u64) {
        let mut finisher = Finisher::new();
        prop_assert_eq!(finisher.write(offset, Width::Word, value), Err(Refused));
        prop_assert_eq!(finisher.read(offset, Width::Word), Err(Refused));
        prop_assert_eq!(finisher.take_request(), None);
    }
}
