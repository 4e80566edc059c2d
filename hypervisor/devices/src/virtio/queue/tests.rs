//! Rings as a driver writes them, rings as a hostile guest writes them, and random ones.

use proptest::prelude::*;

use super::super::testing::{BASE, Ram};
use super::*;

const AVAIL: u64 = BASE + 0x1000;
const USED: u64 = BASE + 0x2000;
const DATA: u64 = BASE + 0x4000;
const INDIRECT: u64 = F_INDIRECT_DESC;

fn queue(size: u16) -> Queue {
    let mut queue = Queue::new(size);
    (queue.desc, queue.avail, queue.used) = (BASE, AVAIL, USED);
    queue.set_ready(true);
    queue
}

fn ram() -> Ram {
    Ram(vec![0; 0x8000])
}

fn put_u16(ram: &mut Ram, addr: u64, value: u16) {
    ram.write(addr, &value.to_le_bytes()).unwrap();
}

fn desc(ram: &mut Ram, at: u64, addr: u64, len: u32, flags: u16, next: u16) {
    ram.write(at, &addr.to_le_bytes()).unwrap();
    ram.write(at + 8, &len.to_le_bytes()).unwrap();
    put_u16(ram, at + 12, flags);
    put_u16(ram, at + 14, next);
}

/// One available chain that begins at descriptor 0.
fn available(descriptors: &[(u64, u32, u16, u16)]) -> Ram {
    let mut ram = ram();
    for (at, (addr, len, flags, next)) in (BASE..).step_by(16).zip(descriptors) {
        desc(&mut ram, at, *addr, *len, *flags, *next);
    }
    put_u16(&mut ram, AVAIL + 2, 1);
    ram
}

#[track_caller]
fn broken(descriptors: &[(u64, u32, u16, u16)], why: Broken) {
    let ram = available(descriptors);
    assert_eq!(queue(8).pop(&ram, INDIRECT), Err(why));
}

#[test]
fn a_chain_is_split_into_its_two_parts() {
    let mut ram =
        available(&[(DATA, 16, DESC_NEXT, 2), (0, 0, 0, 0), (DATA + 64, 8, DESC_WRITE, 9)]);
    let mut queue = queue(8);
    let chain = queue.pop(&ram, 0).unwrap().unwrap();
    assert_eq!((chain.head(), chain.total()), (0, 24));
    assert_eq!(chain.readable, [Buffer { addr: DATA, len: 16 }]);
    assert_eq!(chain.writable, [Buffer { addr: DATA + 64, len: 8 }]);
    assert_eq!(queue.pop(&ram, 0), Ok(None));
    queue.push(&mut ram, 0, 5).unwrap();
    assert_eq!(read_u16(&ram, USED, 2), Ok(1));
    assert_eq!(read_u16(&ram, USED, 8), Ok(5));
}

#[test]
fn an_indirect_table_ends_a_chain() {
    let mut ram = available(&[(DATA, 4, DESC_NEXT, 1), (DATA + 256, 32, DESC_INDIRECT, 0)]);
    desc(&mut ram, DATA + 256, DATA + 8, 4, DESC_NEXT, 1);
    desc(&mut ram, DATA + 272, DATA + 16, 4, DESC_WRITE, 0);
    let chain = queue(8).pop(&ram, INDIRECT).unwrap().unwrap();
    assert_eq!((chain.readable.len(), chain.writable.len()), (2, 1));
    assert_eq!(queue(8).pop(&ram, 0), Err(Broken::Indirect), "not negotiated");
    // A table within a table.
    desc(&mut ram, DATA + 272, DATA + 256, 32, DESC_INDIRECT, 0);
    assert_eq!(queue(8).pop(&ram, INDIRECT), Err(Broken::Indirect));
    // The next field of a table's descriptor counts within the table.
    desc(&mut ram, DATA + 256, DATA + 8, 4, DESC_NEXT, 2);
    assert_eq!(queue(8).pop(&ram, INDIRECT), Err(Broken::DescriptorIndex));
}

#[test]
fn hostile_chains_break_the_ring() {
    broken(&[(DATA, 1, DESC_NEXT, 0)], Broken::Chain);
    broken(&[(DATA, 0, DESC_NEXT, 1), (DATA, 0, DESC_NEXT, 0)], Broken::Chain);
    broken(&[(DATA, 1, DESC_NEXT, 8)], Broken::DescriptorIndex);
    broken(&[(DATA, 1, DESC_WRITE | DESC_NEXT, 1), (DATA, 1, 0, 0)], Broken::Order);
    broken(&[(DATA, u32::MAX, DESC_NEXT, 1), (DATA, 1, 0, 0)], Broken::Length);
    broken(&[(DATA, 0, DESC_INDIRECT, 0)], Broken::Indirect);
    broken(&[(DATA, 24, DESC_INDIRECT, 0)], Broken::Indirect);
    broken(&[(DATA, 16, DESC_INDIRECT | DESC_NEXT, 1)], Broken::Indirect);
    broken(&[(4096, 16, DESC_INDIRECT, 0)], Broken::Address(4096));
    broken(&[(u64::MAX, 16, DESC_INDIRECT, 0)], Broken::Address(u64::MAX));
}

#[test]
fn hostile_rings_break_too() {
    let mut ram = ram();
    put_u16(&mut ram, AVAIL + 2, 9);
    assert_eq!(queue(8).pop(&ram, 0), Err(Broken::AvailableIndex));
    put_u16(&mut ram, AVAIL + 2, 1);
    put_u16(&mut ram, AVAIL + 4, 8);
    assert_eq!(queue(8).pop(&ram, 0), Err(Broken::DescriptorIndex));
    let mut far = queue(8);
    far.avail = u64::MAX - 1;
    assert_eq!(far.pop(&ram, 0), Err(Broken::Address(u64::MAX - 1)));
    far.used = u64::MAX - 1;
    assert!(far.push(&mut ram, 0, 0).is_err());
    assert!(far.ask_for_notification(&mut ram, F_EVENT_IDX).is_err());
}

#[test]
fn indices_wrap_at_two_to_the_sixteen() {
    let mut ram = ram();
    let mut queue = queue(4);
    for turn in 0..70_000u32 {
        let index = u16::try_from((turn + 1) % 0x1_0000).unwrap();
        put_u16(&mut ram, AVAIL + 2, index);
        let chain = queue.pop(&ram, 0).unwrap().unwrap();
        queue.push(&mut ram, chain.head(), 0).unwrap();
        assert_eq!(read_u16(&ram, USED, 2), Ok(index));
        assert_eq!(queue.pop(&ram, 0), Ok(None));
    }
}

#[test]
fn interrupts_follow_flag_or_used_event() {
    let mut ram = ram();
    let mut queue = queue(4);
    queue.next_used = 3;
    assert_eq!(queue.interrupts_since(&ram, 0, 3), Ok(false), "nothing was used");
    assert_eq!(queue.interrupts_since(&ram, 0, 1), Ok(true));
    put_u16(&mut ram, AVAIL, NO_INTERRUPT);
    assert_eq!(queue.interrupts_since(&ram, 0, 1), Ok(false));
    for (event, wanted) in [(0, false), (1, true), (2, true), (3, false), (0xffff, false)] {
        put_u16(&mut ram, AVAIL + 12, event);
        assert_eq!(queue.interrupts_since(&ram, F_EVENT_IDX, 1), Ok(wanted), "event {event}");
    }
    queue.next_used = 0;
    put_u16(&mut ram, AVAIL + 12, 0xffff);
    assert_eq!(queue.interrupts_since(&ram, F_EVENT_IDX, 0xffff), Ok(true), "across the wrap");
    queue.next_avail = 77;
    queue.ask_for_notification(&mut ram, F_EVENT_IDX).unwrap();
    assert_eq!(read_u16(&ram, USED, 4 + 8 * 4), Ok(77));
}

#[test]
fn only_powers_of_two_up_to_the_maximum_are_sizes() {
    let mut queue = Queue::new(64);
    for bad in [0, 3, 65, 128, 0x1_0040] {
        assert!(!queue.set_size(bad), "{bad}");
    }
    assert!(queue.set_size(32));
    queue.set_ready(true);
    assert!(!queue.set_size(16), "not while it runs");
}

proptest! {
    #[test]
    fn cursors_move_bytes_like_one_flat_buffer(
        lens in prop::collection::vec(0u32..9, 0..6),
        skip in 0u64..20,
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut ram = ram();
        let mut addr = DATA;
        let buffers: Vec<Buffer> = lens
            .iter()
            .map(|len| {
                let buffer = Buffer { addr, len: *len };
                addr += u64::from(*len) + 3;
                buffer
            })
            .collect();
        let total = lens.iter().map(|len| u64::from(*len)).sum::<u64>();
        let mut cursor = Cursor::new(&buffers);
        prop_assert_eq!(cursor.remaining(), total);
        cursor.skip(skip);
        let mut twin = cursor.clone();
        let left = total.saturating_sub(skip);
        prop_assert_eq!(cursor.remaining(), left);
        let written = cursor.write(&mut ram, &bytes).unwrap();
        prop_assert_eq!(written as u64, left.min(bytes.len() as u64));
        let mut back = vec![0; bytes.len()];
        prop_assert_eq!(twin.read(&ram, &mut back).unwrap(), written);
        prop_assert_eq!(&back[..written], &bytes[..written]);
        prop_assert_eq!(cursor.remaining(), twin.remaining());
    }

    #[test]
    fn random_rings_end(seed in prop::collection::vec(any::<u8>(), 512), features: u64) {
        let mut ram = ram();
        // Random descriptors with plausible flags and addresses, a random available ring.
        for (at, raw) in (BASE..).step_by(16).zip(seed[..256].chunks(16)) {
            ram.write(at, raw).unwrap();
            ram.write(at + 2, &[0, 0x80, 0, 0, 0, 0]).unwrap();
            put_u16(&mut ram, at + 12, u16::from(raw[12] & 7));
            put_u16(&mut ram, at + 14, u16::from(raw[14] & 15));
        }
        put_u16(&mut ram, AVAIL + 2, u16::from(seed[256] & 31));
        for (slot, head) in (0u64..).zip(&seed[257..273]) {
            put_u16(&mut ram, AVAIL + 4 + 2 * slot, u16::from(head & 15));
        }
        let mut queue = queue(16);
        let mut taken = 0;
        while let Ok(Some(chain)) = queue.pop(&ram, features) {
            taken += 1;
            prop_assert!(chain.readable.len() + chain.writable.len() <= MAX_CHAIN + 1);
            queue.push(&mut ram, chain.head(), 0).unwrap();
        }
        prop_assert!(taken <= 16);
    }
}
