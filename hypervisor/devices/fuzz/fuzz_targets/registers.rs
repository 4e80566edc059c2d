//! Any accesses to the registers of the plain devices, with time and input in between.
#![no_main]

use devices::aclint::Aclint;
use devices::finisher::Finisher;
use devices::plic::Plic;
use devices::rtc::Rtc;
use devices::uart::Uart;
use devices::{Device, Width};
use libfuzzer_sys::fuzz_target;

/// Registers near the begin of a window, where it is dense, or anywhere.
fn offset(bytes: [u8; 4]) -> u64 {
    let number = u64::from(u32::from_le_bytes(bytes));
    if number >> 31 == 0 { number & 0x3ff } else { number & 0x7ff_ffff }
}

fuzz_target!(|data: &[u8]| {
    let mut uart = Uart::new();
    let mut plic = Plic::new(31, 4);
    let mut rtc = Rtc::new(0);
    let mut finisher = Finisher::new();
    let mut aclint = Aclint::new(4);
    let mut now = 0_u64;
    for step in data.chunks_exact(16) {
        let [kind, time, a, b, c, d, value @ ..] = step else { return };
        let Some((value, more)) = value.split_first_chunk() else { return };
        let (offset, value) = (offset([*a, *b, *c, *d]), u64::from_le_bytes(*value));
        now = now.saturating_add(u64::from(*time) << (more[0] % 56));
        rtc.set_time(now);
        aclint.set_time(now);
        let device: &mut dyn Device = match kind % 5 {
            0 => &mut uart,
            1 => &mut plic,
            2 => &mut rtc,
            3 => &mut finisher,
            _ => &mut aclint,
        };
        let width = Width::from_bytes(1 << (kind >> 5 & 3)).unwrap_or(Width::Word);
        if kind & 0x80 == 0 {
            let _ = device.write(offset, width, value);
        } else if let Ok(read) = device.read(offset, width) {
            assert!(width == Width::Double || read >> (8 * width.bytes()) == 0, "{read:#x}");
        }
        let _ = device.irq();
        uart.receive(&more[1..]);
        plic.set_level(u32::from(more[0]), more[1] & 1 != 0);
        for context in 0..4 {
            let _ = (plic.context_line(context), aclint.msip(context), aclint.mtip(context, now));
        }
        let _ = (rtc.deadline(), aclint.next_deadline(now), finisher.take_request());
    }
});
