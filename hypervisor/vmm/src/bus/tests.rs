//! Devices on the bus: levels that reach vCPUs, bytes in and out, and DMA within bounds.

use std::sync::Arc;

use devices::virtio::block::CowDisk;
use session::Region;

use super::*;
use crate::layout::{PLIC, RAM_BASE, UART};
use crate::testing::{FakeDv, RAM, RAM_HPA};

fn rig(console: ConsoleDevice) -> (FakeDv, Ram, Bus) {
    let dv = FakeDv::new(2, RAM, 64 << 10);
    (dv, Ram::new(RAM_HPA, RAM), Bus::new(2, console, 0, 1_000_000_000, None))
}

/// Priority 1 for a source, enabled for the context of vCPU 1.
fn enable(bus: &mut Bus, source: u64) {
    bus.store(Region::Plic, 4 * source, Width::Word, 1, 0).unwrap();
    bus.store(Region::Plic, 0x2080, Width::Word, 1 << source, 0).unwrap();
}

#[test]
fn a_level_is_posted_once_to_the_vcpu_of_its_context() {
    let (mut dv, mut ram, mut bus) = rig(ConsoleDevice::Uart);
    enable(&mut bus, 10);
    bus.store(Region::Uart, 1, Width::Byte, 1, 0).unwrap();
    bus.store(Region::Uart, 2, Width::Byte, 1, 0).unwrap();
    bus.type_in(b"ab");
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    assert_eq!(dv.posted, [(1, Virq::External, true)]);
    assert_eq!(bus.load(Region::Plic, 0x20_1004, Width::Word, 0), Ok(10));
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    assert_eq!(dv.posted[1..], [(1, Virq::External, false)]);
    assert_eq!(bus.load(Region::Uart, 0, Width::Byte, 0), Ok(u64::from(b'a')));
    assert_eq!(bus.load(Region::Uart, 0, Width::Byte, 0), Ok(u64::from(b'b')));
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    bus.store(Region::Plic, 0x20_1004, Width::Word, 10, 0).unwrap();
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    assert_eq!(dv.posted.len(), 2);
}

#[test]
fn a_vcpu_that_starts_anew_gets_its_level_again() {
    let (mut dv, mut ram, mut bus) = rig(ConsoleDevice::Uart);
    enable(&mut bus, 10);
    bus.store(Region::Uart, 1, Width::Byte, 2, 0).unwrap();
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    dv.posted.clear();
    bus.repost(&mut dv, 1).unwrap();
    assert_eq!(dv.posted, [(1, Virq::External, true)]);
}

#[test]
fn the_alarm_of_the_clock_arrives_at_its_time() {
    let (mut dv, mut ram, mut bus) = rig(ConsoleDevice::Uart);
    enable(&mut bus, 11);
    bus.store(Region::Rtc, 0x10, Width::Word, 1, 0).unwrap();
    bus.store(Region::Rtc, 0x0c, Width::Word, 0, 0).unwrap();
    bus.store(Region::Rtc, 0x08, Width::Word, 1_000_005_000, 0).unwrap();
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    assert_eq!(dv.alarm, Some(5000));
    bus.settle(&mut dv, &mut ram, 5000).unwrap();
    assert_eq!((dv.alarm, &dv.posted[..]), (None, &[(1, Virq::External, true)][..]));
}

#[test]
fn typed_bytes_wait_and_the_surplus_is_counted() {
    let (mut dv, mut ram, mut bus) = rig(ConsoleDevice::Uart);
    bus.type_in(&vec![b'x'; INPUT_MAX + 7]);
    assert_eq!(bus.dropped(), 7);
    assert!(!bus.has_room(1));
    bus.settle(&mut dv, &mut ram, 0).unwrap();
    // Without FIFOs the UART holds one byte.
    assert!(bus.has_room(1) && !bus.has_room(2));
    assert_eq!(bus.read_console(10), b"xxxxxxxxxx");
}

#[test]
fn windows_are_found_and_holes_are_not_devices() {
    let (_, _, mut bus) = rig(ConsoleDevice::Virtio);
    assert_eq!(crate::layout::find(UART.base + 5), (Region::Uart, 5));
    assert_eq!(crate::layout::find(PLIC.base + PLIC.size - 1).0, Region::Plic);
    assert_eq!(crate::layout::find(PLIC.base + PLIC.size).0, Region::Hole);
    assert_eq!(crate::layout::find(0x1000_2004), (Region::Virtio(1), 4));
    assert_eq!(crate::layout::find(0), (Region::Hole, 0));
    assert!(!bus.has(Region::Virtio(0)) && bus.has(Region::Virtio(1)));
    assert_eq!(bus.load(Region::Virtio(0), 0, Width::Word, 0), Err(Refused));
    assert_eq!(bus.load(Region::Virtio(2), 8, Width::Word, 0), Ok(4));
}

#[test]
fn dma_stays_in_ram_and_dirties_it() {
    let (mut dv, mut ram, _) = rig(ConsoleDevice::Uart);
    let mut view = DmaView { ram: &mut ram, dv: &mut dv };
    use devices::virtio::GuestMemory;
    let last = RAM_BASE + RAM;
    view.write(last - 4, &[1, 2, 3, 4]).unwrap();
    assert!(view.write(last - 3, &[0; 4]).is_err());
    assert!(view.write(RAM_BASE - 1, &[0; 4]).is_err());
    assert!(view.read(u64::MAX - 1, &mut [0; 4]).is_err());
    let mut bytes = [0; 4];
    view.read(last - 4, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    ram.wipe(&mut dv).unwrap();
    ram.read(&dv, last - 4, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn a_disk_takes_slot_zero_and_survives_a_reset() {
    let image: Arc<[u8]> = vec![7; 4096].into();
    let disk = CowDisk::new(image, 1 << 20);
    let mut bus = Bus::new(1, ConsoleDevice::Uart, 0, 0, Some(AnyDisk::new(disk)));
    assert_eq!(bus.load(Region::Virtio(0), 8, Width::Word, 0), Ok(2));
    bus.store(Region::Virtio(0), VIRTIO_STATUS, Width::Word, 3, 0).unwrap();
    assert_eq!(bus.load(Region::Virtio(0), VIRTIO_STATUS, Width::Word, 0), Ok(3));
    bus.reset();
    assert_eq!(bus.load(Region::Virtio(0), VIRTIO_STATUS, Width::Word, 0), Ok(0));
    assert!(bus.has(Region::Virtio(0)));
}
