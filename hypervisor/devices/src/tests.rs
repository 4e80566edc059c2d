//! A device that is saved and restored answers as if nothing had happened.

use proptest::prelude::*;
use state::State;

use crate::aclint::Aclint;
use crate::finisher::Finisher;
use crate::plic::Plic;
use crate::rtc::Rtc;
use crate::uart::Uart;
use crate::virtio::block::Block;
use crate::virtio::console::Console;
use crate::virtio::mmio::VirtioMmio;
use crate::virtio::rng::Rng;
use crate::virtio::testing::{AVAIL, Driver, Ram, plausible};
use crate::virtio::{Dma, VirtioDevice};
use crate::{Device, Width};

const VIRTIO_NOTIFY: u64 = 0x50;

/// One access, and what else it brings along.
type Deed = (usize, u64, bool);

/// A device, its registers and its outside.
trait Rig: Clone {
    type Device: Device + State;

    const REGISTERS: &'static [u64];
    const WIDTHS: &'static [Width];

    fn device(&mut self) -> &mut Self::Device;

    /// Time goes on, and something comes in or goes out.
    fn outside(&mut self, value: u64);

    fn do_all(&mut self, deeds: &[Deed]) -> Vec<(Option<u64>, bool)> {
        let one = |(pick, value, write): &Deed| {
            self.outside(*value);
            let offset = Self::REGISTERS[pick % Self::REGISTERS.len()];
            let width = Self::WIDTHS[pick / Self::REGISTERS.len() % Self::WIDTHS.len()];
            let device = self.device();
            let answer = if *write {
                device.write(offset, width, *value).ok().map(|()| 0)
            } else {
                device.read(offset, width).ok()
            };
            (answer, device.irq())
        };
        deeds.iter().map(one).collect()
    }
}

/// Saves in the middle, and compares a run on, a run from there again, and one of another device.
fn check<R: Rig>(mut rig: R, before: &[Deed], after: &[Deed], damage: &[(usize, u8)]) {
    let mut fresh = rig.clone();
    rig.do_all(before);
    let saved = state::save(rig.device());
    let there = rig.clone();
    let answers = rig.do_all(after);
    let end = state::save(rig.device());
    state::load(rig.device(), &saved).unwrap();
    state::load(fresh.device(), &saved).unwrap();
    // What is around the device is not restored by it.
    let again = |device: &mut R| {
        let mut rig = there.clone();
        std::mem::swap(rig.device(), device.device());
        assert_eq!(state::save(rig.device()), saved);
        assert_eq!(rig.do_all(after), answers);
        assert_eq!(state::save(rig.device()), end);
    };
    again(&mut rig);
    again(&mut fresh);
    for (at, flip) in damage {
        let mut bytes = saved.clone();
        let at = at % (bytes.len() + 1);
        match bytes.get_mut(at) {
            Some(byte) if *flip != 0 => *byte ^= flip,
            _ => bytes.truncate(at.saturating_sub(1)),
        }
        let mut rig = there.clone();
        if state::load(rig.device(), &bytes).is_ok() {
            assert_eq!(state::save(rig.device()), bytes, "what is accepted is what was written");
            rig.do_all(after);
        }
    }
}

macro_rules! rig {
    ($name:ident, $device:ty, $registers:expr, $widths:expr, $outside:expr) => {
        #[derive(Clone)]
        struct $name($device);

        impl Rig for $name {
            type Device = $device;

            const REGISTERS: &'static [u64] = $registers;
            const WIDTHS: &'static [Width] = $widths;

            fn device(&mut self) -> &mut $device {
                &mut self.0
            }

            fn outside(&mut self, value: u64) {
                let outside: fn(&mut $device, u64) = $outside;
                outside(&mut self.0, value);
            }
        }
    };
}

rig!(ARtc, Rtc, &[0, 4, 8, 12, 16, 20, 24, 28], &[Width::Word], |rtc, value| {
    rtc.set_time(value >> 8);
});
rig!(AFinisher, Finisher, &[0], &[Width::Word, Width::Half], |finisher, value| {
    if value & 0xf0 == 0 {
        finisher.take_request();
    }
});
rig!(
    AnAclint,
    Aclint,
    &[0, 4, 8, 0x4000, 0x4008, 0x400c, 0xbff8, 0xbffc],
    &[Width::Word, Width::Double],
    |aclint, value| aclint.set_time(value >> 8)
);
rig!(
    APlic,
    Plic,
    &[4, 8, 40, 0x80, 0x1000, 0x1004, 0x2000, 0x2004, 0x2080, 0x20_0000, 0x20_0004, 0x20_1004],
    &[Width::Word],
    |plic, value| plic.set_level(u32::from(value.to_le_bytes()[2] & 63), value & 1 != 0)
);
rig!(AUart, Uart, &[0, 1, 2, 3, 4, 5, 6, 7], &[Width::Byte], |uart, value| {
    uart.receive(&value.to_le_bytes()[..usize::try_from(value & 3).unwrap()]);
    if value & 0x30 == 0 {
        uart.take_output(&mut Vec::new());
    }
});

/// A virtio device in the middle of its work, with the memory that it works on.
#[derive(Clone)]
struct Virtio<D> {
    mmio: VirtioMmio<D>,
    ram: Ram,
    now: u64,
    typed: fn(&mut VirtioMmio<D>, u64),
}

impl<D: VirtioDevice + Clone> Virtio<D> {
    fn new(device: D, seed: u64, typed: fn(&mut VirtioMmio<D>, u64)) -> Self {
        let mut driver = Driver::start(device, u64::MAX);
        let begin = plausible(seed).0;
        driver.ram.0[..begin.len()].copy_from_slice(&begin);
        Self { mmio: driver.mmio, ram: driver.ram, now: driver.now, typed }
    }
}

impl<D: VirtioDevice + Clone> Rig for Virtio<D> {
    type Device = VirtioMmio<D>;

    const REGISTERS: &'static [u64] = &[
        VIRTIO_NOTIFY,
        VIRTIO_NOTIFY,
        VIRTIO_NOTIFY,
        0x10,
        0x14,
        0x20,
        0x24,
        0x30,
        0x34,
        0x38,
        0x44,
        0x60,
        0x64,
        0x70,
        0x80,
        0x90,
        0xa0,
        0xfc,
        0x100,
    ];
    const WIDTHS: &'static [Width] = &[Width::Word];

    fn device(&mut self) -> &mut VirtioMmio<D> {
        &mut self.mmio
    }

    fn outside(&mut self, value: u64) {
        self.now += value & 0xff;
        Dma::set_time(&mut self.mmio, self.now);
        (self.typed)(&mut self.mmio, value);
        // The driver makes one more chain available.
        let index = usize::try_from(AVAIL + 2).unwrap();
        self.ram.0[index] = self.ram.0[index].wrapping_add(u8::from(value & 0x300 == 0));
        if self.mmio.deadline().is_some_and(|at| at <= self.now) {
            self.mmio.run(self.now, &mut self.ram);
        }
    }
}

fn typed(console: &mut VirtioMmio<Console>, value: u64) {
    console.receive(&value.to_le_bytes()[..usize::try_from(value & 7).unwrap()]);
    if value & 0x70 == 0 {
        console.take_output(&mut Vec::new());
    }
    if value & 0x700 == 0 {
        console.resize(80, 25);
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let value = prop_oneof![0u64..16, 0u64..0x8000, any::<u64>()];
    prop::collection::vec((any::<usize>(), value, any::<bool>()), 0..80)
}

proptest! {
    #[test]
    fn a_restored_device_goes_on_as_the_saved_one(
        seed: u64,
        before in deeds(),
        after in deeds(),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 8),
    ) {
        check(ARtc(Rtc::new(seed)), &before, &after, &damage);
        check(AFinisher(Finisher::new()), &before, &after, &damage);
        check(AnAclint(Aclint::new(3)), &before, &after, &damage);
        check(APlic(Plic::new(53, 2)), &before, &after, &damage);
        check(AUart(Uart::new()), &before, &after, &damage);
        let disk: std::sync::Arc<[u8]> = vec![7; 1 << 16].into();
        check(Virtio::new(Block::new(disk, "", 90), seed, |_, _| {}), &before, &after, &damage);
        check(Virtio::new(Rng::new(seed), seed, |_, _| {}), &before, &after, &damage);
        let console = Console::new(Some((2, 3)));
        check(Virtio::new(console, seed, typed), &before, &after, &damage);
    }
}
