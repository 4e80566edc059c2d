//! Tests of the allocator: what is taken is apart, aligned and inside; what is given back joins.

use proptest::prelude::*;

use super::Frames;

const BEGIN: u64 = 0x8020_0000;
const END: u64 = 0x8100_0000;

#[test]
fn the_first_range_that_fits_is_taken() {
    let mut frames = Frames::new(BEGIN..END);
    assert_eq!(frames.take(0x1000, 0x1000), Some(BEGIN));
    // Aligned: the gap before it stays free, and is found by the next one.
    assert_eq!(frames.take(0x20_0000, 0x20_0000), Some(0x8040_0000));
    assert_eq!(frames.take(0x1000, 0x1000), Some(BEGIN + 0x1000));
    assert_eq!(frames.take(END, 0x1000), None);
    assert_eq!(frames.take(u64::MAX, 1 << 63), None);
    assert_eq!(frames.take(0, 0x1000), None);
    assert_eq!(Frames::new(END..END).take(0x1000, 0x1000), None);
}

proptest! {
    #[test]
    fn memory_is_neither_lost_nor_given_twice(
        turns in proptest::collection::vec((any::<bool>(), 1u64..0x300, 12u32..22), 1..200),
    ) {
        let mut frames = Frames::new(BEGIN..END);
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for (give, pages, align) in turns {
            if give && !taken.is_empty() {
                let at = usize::try_from(pages).unwrap() % taken.len();
                let (hpa, size) = taken.swap_remove(at);
                frames.give_back(hpa, size);
            } else if let Some(hpa) = frames.take(pages << 12, 1 << align) {
                let end = hpa + (pages << 12);
                prop_assert!(BEGIN <= hpa && end <= END && hpa % (1 << align) == 0);
                let apart = |(other, size): &(u64, u64)| end <= *other || other + size <= hpa;
                prop_assert!(taken.iter().all(apart));
                taken.push((hpa, pages << 12));
            }
            let used: u64 = taken.iter().map(|(_, size)| size).sum();
            prop_assert_eq!(frames.bytes() + used, END - BEGIN);
        }
        for (hpa, size) in taken {
            frames.give_back(hpa, size);
        }
        prop_assert_eq!(frames.take(END - BEGIN, 0x1000), Some(BEGIN));
    }
}
