//! Drives the serial port as Linux's 8250 driver probes, starts and uses it.

use proptest::prelude::*;

use super::*;

fn get(uart: &mut Uart, offset: u64) -> u8 {
    low_u8(uart.read(offset, Width::Byte).unwrap())
}

fn put(uart: &mut Uart, offset: u64, value: u8) {
    uart.write(offset, Width::Byte, u64::from(value)).unwrap();
}

fn output(uart: &mut Uart) -> Vec<u8> {
    let mut out = Vec::new();
    uart.take_output(&mut out);
    out
}

#[test]
fn linux_autoconfig_finds_a_16550a() {
    let mut uart = Uart::new();
    put(&mut uart, IER, 0);
    assert_eq!(get(&mut uart, IER), 0);
    put(&mut uart, IER, 0x0f);
    assert_eq!(get(&mut uart, IER), 0x0f);
    put(&mut uart, IER, 0);
    put(&mut uart, MCR, MCR_LOOP | 0x0a);
    assert_eq!(get(&mut uart, MSR) & 0xf0, 0x90, "OUT2 and RTS come back as DCD and CTS");
    put(&mut uart, MCR, 0);
    put(&mut uart, IIR_FCR, FCR_ENABLE);
    assert_eq!(get(&mut uart, IIR_FCR) >> 6, 3);
    // No enhanced feature register, neither with DLAB nor with the magic 0xbf.
    for lcr in [0x80, 0xbf] {
        put(&mut uart, LCR, lcr);
        assert_ne!(get(&mut uart, IIR_FCR), 0);
    }
    // No 64-byte FIFO behind DLAB.
    put(&mut uart, LCR, 0x80);
    put(&mut uart, IIR_FCR, FCR_ENABLE | 0x20);
    assert_eq!(get(&mut uart, IIR_FCR) & 0xe0, 0xc0);
    put(&mut uart, LCR, 0);
    // No UART unit enable as on XScale.
    put(&mut uart, IER, 0x40);
    assert_eq!(get(&mut uart, IER), 0);
    put(&mut uart, SCR, 0xa5);
    assert_eq!(get(&mut uart, SCR), 0xa5);
}

#[test]
fn linux_size_fifo_counts_sixteen() {
    let mut uart = Uart::new();
    put(&mut uart, IIR_FCR, 0x07);
    put(&mut uart, MCR, MCR_LOOP);
    put(&mut uart, LCR, 0x80);
    put(&mut uart, DATA, 1);
    put(&mut uart, IER, 0);
    assert_eq!(get(&mut uart, DATA), 1);
    put(&mut uart, LCR, 3);
    for byte in 0..=255 {
        put(&mut uart, DATA, byte);
    }
    assert_ne!(get(&mut uart, LSR) & LSR_OE, 0);
    let mut count = 0;
    while get(&mut uart, LSR) & LSR_DR != 0 {
        assert_eq!(get(&mut uart, DATA), count);
        count += 1;
    }
    assert_eq!(count, 16);
    assert_eq!(output(&mut uart), b"", "loopback sends nothing");
}

#[test]
fn linux_thre_and_txen_tests_find_no_bug() {
    let mut uart = Uart::new();
    put(&mut uart, IER, IER_THRI);
    assert_eq!(get(&mut uart, IIR_FCR), IIR_THRI);
    assert_eq!(get(&mut uart, IIR_FCR), IIR_NONE, "reading IIR clears it");
    put(&mut uart, IER, 0);
    put(&mut uart, IER, IER_THRI);
    assert!(uart.irq(), "enabling raises it again");
    assert_eq!(get(&mut uart, IIR_FCR), IIR_THRI);
    put(&mut uart, DATA, b'x');
    assert!(uart.irq(), "sent at once, so empty again");
    put(&mut uart, IER, 0);
    assert!(!uart.irq());
    assert_eq!(output(&mut uart), b"x");
    assert_eq!(get(&mut uart, LSR), LSR_THRE | LSR_TEMT);
}

#[test]
fn causes_come_in_order_of_priority() {
    let mut uart = Uart::new();
    put(&mut uart, IIR_FCR, FCR_ENABLE | 0x40);
    put(&mut uart, IER, 0x0f);
    put(&mut uart, MCR, MCR_LOOP);
    for byte in 0..17 {
        put(&mut uart, DATA, byte);
    }
    assert_eq!(get(&mut uart, IIR_FCR), IIR_RLSI | IIR_FIFO);
    get(&mut uart, LSR);
    assert_eq!(get(&mut uart, IIR_FCR), IIR_RDI | IIR_FIFO);
    for _ in 0..13 {
        get(&mut uart, DATA);
    }
    assert_eq!(get(&mut uart, IIR_FCR), IIR_TIMEOUT | IIR_FIFO, "three left, trigger is four");
    for _ in 0..3 {
        get(&mut uart, DATA);
    }
    assert_eq!(get(&mut uart, IIR_FCR), IIR_THRI | IIR_FIFO);
    assert_eq!(get(&mut uart, IIR_FCR), IIR_MSI | IIR_FIFO);
    get(&mut uart, MSR);
    assert_eq!(get(&mut uart, IIR_FCR), IIR_NONE | IIR_FIFO);
    assert!(!uart.irq());
}

#[test]
fn the_owner_keeps_what_does_not_fit() {
    let mut uart = Uart::new();
    assert_eq!(uart.receive(b"ab"), 1);
    put(&mut uart, IIR_FCR, FCR_ENABLE);
    assert_eq!(get(&mut uart, LSR) & LSR_DR, 0, "switching the FIFO clears it");
    assert_eq!(uart.receive(&[7; 40]), 16);
    assert_eq!(uart.receive(&[7; 40]), 0);
    put(&mut uart, IIR_FCR, FCR_ENABLE | FCR_CLEAR_RX);
    assert_eq!(uart.room(), 16);
    put(&mut uart, MCR, MCR_LOOP);
    assert_eq!(uart.receive(b"a"), 0, "the line is cut off");
}

#[test]
fn unread_output_is_bounded_and_counted() {
    let mut uart = Uart::new();
    for _ in 0..OUTPUT_LIMIT + 3 {
        put(&mut uart, DATA, 0);
    }
    assert_eq!(output(&mut uart).len(), OUTPUT_LIMIT);
    assert_eq!(uart.dropped(), 3);
}

#[test]
fn registers_outside_are_refused() {
    let mut uart = Uart::new();
    assert_eq!(uart.read(8, Width::Byte), Err(Refused));
    assert_eq!(uart.write(u64::MAX, Width::Double, 1), Err(Refused));
}

proptest! {
    #[test]
    fn random_traffic_keeps_the_invariants(
        traffic in prop::collection::vec((0u64..9, any::<u8>(), 0u8..3), 0..200),
    ) {
        let mut uart = Uart::new();
        for (offset, value, kind) in traffic {
            match kind {
                0 => drop(uart.read(offset, Width::Byte)),
                1 => drop(uart.write(offset, Width::Byte, u64::from(value))),
                _ => {
                    let room = uart.room();
                    prop_assert_eq!(uart.receive(&[value; 20]), room.min(20));
                }
            }
            prop_assert!(uart.received.len() <= FIFO);
            prop_assert_eq!(uart.irq(), uart.cause() & 1 == 0);
            // With every interrupt off the line is low.
            if uart.ier == 0 {
                prop_assert!(!uart.irq());
            }
        }
    }
}
