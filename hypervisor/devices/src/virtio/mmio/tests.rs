//! Negotiation, status, interrupts and time of the transport; random registers and rings.

use proptest::prelude::*;

use super::super::block::{Block, CowDisk};
use super::super::console::Console;
use super::super::rng::Rng;
use super::super::testing::{AVAIL, BASE, Driver, Space, USED, plausible};
use super::*;

fn get<D: VirtioDevice>(mmio: &mut VirtioMmio<D>, offset: u64) -> u64 {
    mmio.read(offset, Width::Word).unwrap()
}

fn put<D: VirtioDevice>(mmio: &mut VirtioMmio<D>, offset: u64, value: u64) {
    mmio.write(offset, Width::Word, value).unwrap();
}

fn digest(device: &dyn Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    device.digest(&mut |part| bytes.extend_from_slice(part));
    bytes
}

#[test]
fn features_are_ok_only_if_offered_and_version_1() {
    for (low, high, ok) in [(0, 1, true), (0, 0, false), (1, 1, false), (0, 3, false)] {
        let mut mmio = VirtioMmio::new(Rng::new(0));
        put(&mut mmio, STATUS, 3);
        put(&mut mmio, DRIVER_FEATURES, low);
        put(&mut mmio, DRIVER_FEATURES_SEL, 1);
        put(&mut mmio, DRIVER_FEATURES, high);
        put(&mut mmio, STATUS, 11);
        assert_eq!(get(&mut mmio, STATUS) == 11, ok, "{low:#x} {high:#x}");
        put(&mut mmio, STATUS, 15);
        assert_eq!(mmio.live(), ok, "no DRIVER_OK without FEATURES_OK");
        // Too late to change one's mind.
        assert_eq!(mmio.write(DRIVER_FEATURES, Width::Word, 0).is_err(), ok);
    }
}

#[test]
fn a_reset_forgets_everything() {
    let mut fresh = VirtioMmio::new(Console::new(None));
    let mut driver = Driver::start(Console::new(None), u64::MAX);
    let space = driver.filled(b"x");
    driver.submit(1, &[space], &[]);
    driver.run();
    driver.put(STATUS, 0);
    fresh.set_time(driver.now);
    assert_eq!(digest(&driver.mmio), digest(&fresh));
    assert!(!driver.mmio.irq() && driver.mmio.deadline().is_none());
}

#[test]
fn a_notification_waits_for_driver_ok_and_for_the_latency() {
    let disk: std::sync::Arc<[u8]> = vec![0; 4096].into();
    let mut driver = Driver::start(Block::new(disk, "", 500), u64::MAX);
    driver.now = 2000;
    driver.put(QUEUE_NOTIFY, 0);
    assert_eq!(driver.mmio.deadline(), Some(2500));
    driver.now = 2100;
    driver.put(QUEUE_NOTIFY, 0);
    assert_eq!(driver.mmio.deadline(), Some(2500), "the earlier one counts");
    driver.mmio.run(2499, &mut driver.ram);
    assert_eq!(driver.mmio.deadline(), Some(2500));
    driver.mmio.run(2500, &mut driver.ram);
    assert_eq!(driver.mmio.deadline(), None);
    assert!(!driver.mmio.irq(), "nothing was used");

    let mut early = VirtioMmio::new(Rng::new(0));
    put(&mut early, QUEUE_NOTIFY, 0);
    assert_eq!(early.deadline(), None);
    put(&mut early, DRIVER_FEATURES_SEL, 1);
    put(&mut early, DRIVER_FEATURES, 1);
    put(&mut early, STATUS, 15);
    assert!(early.deadline().is_some());
}

#[test]
fn a_broken_ring_needs_a_reset_and_says_so() {
    let mut driver = Driver::start(Rng::new(0), u64::MAX);
    driver.submit(0, &[], &[Space { addr: 64, len: 4 }]);
    driver.run();
    assert_eq!(driver.mmio.broken(), Some(Broken::Address(64)));
    assert_eq!(driver.get(STATUS), 0x4f);
    assert_eq!(driver.get(INTERRUPT_STATUS), u64::from(CONFIG_CHANGE));
    driver.put(STATUS, 0x8f);
    assert_eq!(driver.get(STATUS), 0xcf, "the bit is the device's");
    driver.put(QUEUE_NOTIFY, 0);
    assert_eq!(driver.mmio.deadline(), None);
    driver.put(STATUS, 0);
    assert_eq!((driver.get(STATUS), driver.mmio.broken()), (0, None));
}

#[test]
fn event_index_suppresses_both_ways() {
    let mut driver = Driver::start(Rng::new(0), F_EVENT_IDX);
    assert_eq!(driver.features & F_EVENT_IDX, F_EVENT_IDX);
    let space = driver.space(8);
    driver.want_interrupt_at(0, 1);
    driver.submit(0, &[], &[space]);
    driver.run();
    assert!(!driver.mmio.irq(), "wanted after the second");
    assert_eq!(driver.avail_event(0), 1, "notify me of the next");
    driver.submit(0, &[], &[space]);
    driver.run();
    assert!(driver.mmio.irq());
    assert_eq!(driver.finish(0), [8, 8]);
}

#[test]
fn a_queue_starts_over_when_it_is_made_ready_again() {
    let mut driver = Driver::start(Rng::new(0), 0);
    let space = driver.space(8);
    driver.submit(0, &[], &[space]);
    driver.run();
    assert_eq!(driver.mmio.queues().next().unwrap().positions(), (1, 1));
    assert_eq!(driver.mmio.write(QUEUE_DESC_LOW, Width::Word, 0), Err(Refused));
    driver.put(QUEUE_READY, 0);
    driver.put(QUEUE_DESC_LOW, BASE);
    driver.put(QUEUE_READY, 1);
    assert_eq!(driver.mmio.queues().next().unwrap().positions(), (0, 0));
}

#[test]
fn what_does_not_exist_is_refused() {
    let mut mmio = VirtioMmio::new(Console::new(Some((80, 25))));
    assert_eq!(get(&mut mmio, CONFIG), 25 << 16 | 80);
    assert_eq!(mmio.read(CONFIG + 2, Width::Half), Ok(25));
    assert_eq!(mmio.read(CONFIG + 3, Width::Byte), Ok(0));
    put(&mut mmio, SHM_SEL, 0);
    assert_eq!(get(&mut mmio, SHM_LEN_LOW), 0xffff_ffff);
    put(&mut mmio, DEVICE_FEATURES_SEL, 2);
    assert_eq!(get(&mut mmio, DEVICE_FEATURES), 0);
    put(&mut mmio, QUEUE_SEL, 2);
    assert_eq!(get(&mut mmio, QUEUE_NUM_MAX), 0, "no such queue");
    assert_eq!(mmio.write(QUEUE_NUM, Width::Word, 8), Err(Refused));
    assert_eq!(mmio.write(QUEUE_READY, Width::Word, 1), Err(Refused));
    assert_eq!(mmio.write(QUEUE_NOTIFY, Width::Word, 2), Err(Refused));
    assert_eq!(mmio.write(CONFIG, Width::Word, 2), Err(Refused));
    for (offset, width) in [
        (0, Width::Byte),
        (0, Width::Double),
        (2, Width::Word),
        (QUEUE_NOTIFY, Width::Word),
        (CONFIG + 1, Width::Half),
        (CONFIG + 12, Width::Byte),
        (CONFIG + 8, Width::Double),
        (u64::MAX, Width::Byte),
    ] {
        assert_eq!(mmio.read(offset, width), Err(Refused), "{offset:#x}");
    }
}

/// A device whose every request makes another one available, as a hostile guest can arrange by
/// letting it write to the available ring.
struct Feeder(u32);

impl VirtioDevice for Feeder {
    fn name(&self) -> &'static str {
        "feeder"
    }

    fn device_type(&self) -> u32 {
        0
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[8]
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn request(
        &mut self,
        _queue: usize,
        _chain: &super::super::queue::Chain,
        _features: u64,
        mem: &mut dyn GuestMemory,
    ) -> Result<u32, Broken> {
        self.0 += 1;
        if self.0 > 1000 {
            return Err(Broken::Request);
        }
        let index = Driver::<Feeder>::rings(0) + AVAIL + 2;
        let mut raw = [0; 2];
        mem.read(index, &mut raw)?;
        mem.write(index, &u16::from_le_bytes(raw).wrapping_add(1).to_le_bytes())?;
        Ok(0)
    }
}

impl State for Feeder {
    fn state(&mut self, _codec: &mut Codec<'_>) -> Result<(), Damaged> {
        Ok(())
    }
}

impl Digest for Feeder {
    fn digest(&self, _sink: &mut dyn FnMut(&[u8])) {}
}

#[test]
fn a_request_that_feeds_its_own_ring_cannot_hold_up_a_run() {
    let mut driver = Driver::start(Feeder(0), 0);
    let space = driver.space(8);
    driver.submit(0, &[space], &[]);
    driver.run();
    assert_eq!((driver.mmio.device().0, driver.mmio.broken()), (16, None));
    assert!(driver.mmio.irq(), "what was done is told");
    let at = driver.now;
    assert!(driver.mmio.deadline().is_some_and(|next| next > at), "the rest comes later");
    driver.run();
    assert_eq!(driver.mmio.device().0, 32);
}

/// Random accesses to every register, with runs in between, over random memory.
fn traffic<D: VirtioDevice>(device: D, ram: &[u8], accesses: &[(u64, u64)]) {
    let mut driver = Driver::start(device, u64::MAX);
    let used = usize::try_from(USED).unwrap();
    driver.ram.0[..used].copy_from_slice(&ram[..used]);
    for queue in 0..driver.mmio.transport.slots.len() {
        driver.put(QUEUE_NOTIFY, queue as u64);
    }
    driver.run();
    for (offset, value) in accesses {
        let _ = driver.mmio.write(*offset, Width::Word, *value);
        for width in [Width::Byte, Width::Half, Width::Word, Width::Double] {
            let _ = driver.mmio.read(*offset, width);
        }
        driver.now += 7;
        driver.mmio.run(driver.now, &mut driver.ram);
        assert_eq!(driver.mmio.broken().is_some(), driver.mmio.transport.status & NEEDS_RESET != 0);
    }
}

proptest! {
    #[test]
    fn random_traffic_ends_without_a_panic(
        seed: u64,
        accesses in prop::collection::vec(
            (prop_oneof![(0u64..0x48).prop_map(|word| 4 * word), 0u64..0x140], prop_oneof![
                Just(0u64), Just(1), Just(15), Just(BASE), 0u64..256, any::<u64>()
            ]),
            0..60,
        ),
    ) {
        let ram = plausible(seed).0;
        let base: std::sync::Arc<[u8]> = vec![0; 1 << 16].into();
        traffic(Block::new(CowDisk::new(base, 1 << 15), "id", 3), &ram, &accesses);
        traffic(Console::new(Some((80, 25))), &ram, &accesses);
        traffic(Rng::new(seed), &ram, &accesses);
    }
}
