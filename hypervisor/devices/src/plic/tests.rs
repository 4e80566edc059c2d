//! Drives the controller as firmware and Linux do, and checks claims against a naive model.

use proptest::prelude::*;

use super::*;

fn get(plic: &mut Plic, offset: u64) -> u64 {
    plic.read(offset, Width::Word).unwrap()
}

fn put(plic: &mut Plic, offset: u64, value: u64) {
    plic.write(offset, Width::Word, value).unwrap();
}

fn enable(context: u64, word: u64) -> u64 {
    ENABLE + ENABLE_STRIDE * context + 4 * word
}

fn claim(context: u64) -> u64 {
    CONTEXT + CONTEXT_STRIDE * context + CLAIM
}

/// Two harts with M and S contexts; sources 10 and 40 enabled for context 1.
fn linux() -> Plic {
    let mut plic = Plic::new(96, 4);
    for source in 1..=96 {
        put(&mut plic, 4 * source, 1);
    }
    for context in 0..4 {
        for word in 0..=3 {
            put(&mut plic, enable(context, word), 0);
        }
        put(&mut plic, CONTEXT + CONTEXT_STRIDE * context, 0);
    }
    put(&mut plic, enable(1, 0), 1 << 10);
    put(&mut plic, enable(1, 1), 1 << 8);
    plic
}

#[test]
fn a_level_pends_again_after_completion_while_it_is_high() {
    let mut plic = linux();
    plic.set_level(10, true);
    assert!(plic.context_line(1));
    assert!(!plic.context_line(0) && !plic.context_line(3) && !plic.context_line(99));
    assert_eq!(get(&mut plic, PENDING), 1 << 10);
    assert_eq!(get(&mut plic, claim(1)), 10);
    assert!(!plic.context_line(1));
    plic.set_level(10, true);
    assert!(!plic.context_line(1), "the gateway waits for the completion");
    assert_eq!(get(&mut plic, claim(1)), 0);
    put(&mut plic, claim(1), 10);
    assert!(plic.context_line(1));
    assert_eq!(get(&mut plic, claim(1)), 10);
    plic.set_level(10, false);
    put(&mut plic, claim(1), 10);
    assert!(!plic.context_line(1));
}

#[test]
fn a_fallen_line_is_not_taken_back() {
    let mut plic = linux();
    plic.set_level(10, true);
    plic.set_level(10, false);
    assert_eq!(get(&mut plic, claim(1)), 10);
}

#[test]
fn priority_first_then_the_lowest_number() {
    let mut plic = linux();
    plic.set_level(40, true);
    plic.set_level(10, true);
    assert_eq!(get(&mut plic, claim(1)), 10);
    put(&mut plic, claim(1), 10);
    put(&mut plic, 4 * 40, 2);
    assert_eq!(get(&mut plic, claim(1)), 40);
}

#[test]
fn threshold_masks_the_line_but_not_the_claim() {
    let mut plic = linux();
    plic.set_level(10, true);
    put(&mut plic, CONTEXT + CONTEXT_STRIDE, 0xffff_ffff);
    assert_eq!(get(&mut plic, CONTEXT + CONTEXT_STRIDE), 7);
    assert!(!plic.context_line(1));
    assert_eq!(get(&mut plic, claim(1)), 10);
}

#[test]
fn priority_zero_never_interrupts() {
    let mut plic = linux();
    put(&mut plic, 40, 8);
    assert_eq!(get(&mut plic, 40), 0, "three bits");
    plic.set_level(10, true);
    assert!(!plic.context_line(1));
    assert_eq!(get(&mut plic, claim(1)), 0);
}

#[test]
fn completion_by_a_context_that_has_it_disabled_is_ignored() {
    let mut plic = linux();
    plic.set_level(10, true);
    assert_eq!(get(&mut plic, claim(1)), 10);
    put(&mut plic, claim(3), 10);
    put(&mut plic, claim(1), 127);
    put(&mut plic, claim(1), 0);
    assert!(!plic.context_line(1));
}

#[test]
fn what_does_not_exist_is_refused_or_zero() {
    let mut plic = Plic::new(96, 4);
    assert_eq!(plic.window(), 0x20_4000);
    put(&mut plic, 0, 5);
    assert_eq!(get(&mut plic, 0), 0);
    put(&mut plic, enable(0, 0), 0xffff_ffff);
    assert_eq!(get(&mut plic, enable(0, 0)), 0xffff_fffe);
    put(&mut plic, enable(0, 3), 0xffff_ffff);
    assert_eq!(get(&mut plic, enable(0, 3)), 1);
    for offset in [4 * 97, PENDING + 16, enable(0, 4), enable(4, 0), claim(4), CONTEXT + 8, 2] {
        assert_eq!(plic.read(offset, Width::Word), Err(Refused), "{offset:#x}");
        assert_eq!(plic.write(offset, Width::Word, 1), Err(Refused), "{offset:#x}");
    }
    assert_eq!(plic.read(4, Width::Double), Err(Refused));
    assert_eq!(plic.read(u64::MAX - 3, Width::Word), Err(Refused));
    assert_eq!(plic.write(PENDING, Width::Word, 1), Err(Refused));
    plic.set_level(0, true);
    plic.set_level(97, true);
    plic.set_level(u32::MAX, true);
    assert_eq!(plic.pending, [0; WORDS]);
}

proptest! {
    #[test]
    fn claims_agree_with_a_naive_search(
        traffic in prop::collection::vec((0u8..6, 0u32..40, any::<u32>()), 0..300),
    ) {
        let mut plic = Plic::new(37, 2);
        for (kind, source, value) in traffic {
            let context = u64::from(value & 1);
            match kind {
                0 => plic.set_level(source, value & 2 != 0),
                1 => drop(plic.write(u64::from(source) * 4, Width::Word, u64::from(value))),
                2 => put(&mut plic, enable(context, u64::from(source) % 2), u64::from(value)),
                3 => put(&mut plic, CONTEXT + CONTEXT_STRIDE * context, u64::from(value >> 1)),
                4 => put(&mut plic, claim(context), u64::from(source)),
                _ => {
                    let index = usize::try_from(context).unwrap();
                    let expected = (1..=37usize)
                        .filter(|s| plic.pending[s / 32] >> (s % 32) & 1 != 0)
                        .filter(|s| plic.contexts[index].enabled[s / 32] >> (s % 32) & 1 != 0)
                        .filter(|s| plic.priority[*s] > 0)
                        .min_by_key(|s| (7 - plic.priority[*s], *s))
                        .unwrap_or(0);
                    let line = expected != 0
                        && plic.priority[expected] > plic.contexts[index].threshold;
                    prop_assert_eq!(plic.context_line(index), line);
                    prop_assert_eq!(get(&mut plic, claim(context)), expected as u64);
                }
            }
            for word in 0..WORDS {
                prop_assert_eq!(plic.pending[word] & plic.in_service[word], 0);
                let waiting = plic.level[word] & !plic.in_service[word];
                prop_assert_eq!(waiting & !plic.pending[word], 0, "a high level is never lost");
            }
        }
    }

    #[test]
    fn no_offset_panics(offset in 0u64..0x20_4000, far: u64, value: u64) {
        let mut plic = Plic::new(96, 4);
        for offset in [offset, offset & !3, far, far & !3] {
            for width in [Width::Byte, Width::Half, Width::Word, Width::Double] {
                let _ = plic.read(offset, width);
                let _ = plic.write(offset, width, value);
            }
        }
    }
}
