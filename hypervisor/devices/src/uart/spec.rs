//! Register numbers and bits of the 16550A, as its data sheet draws them.

/// Receiver buffer (read), transmitter holding (write); divisor low with DLAB.
pub(super) const DATA: u64 = 0;
/// Interrupt enable; divisor high with DLAB.
pub(super) const IER: u64 = 1;
/// Interrupt identification (read), FIFO control (write).
pub(super) const IIR_FCR: u64 = 2;
/// Line control.
pub(super) const LCR: u64 = 3;
/// Modem control.
pub(super) const MCR: u64 = 4;
/// Line status.
pub(super) const LSR: u64 = 5;
/// Modem status.
pub(super) const MSR: u64 = 6;
/// Scratch.
pub(super) const SCR: u64 = 7;

/// IER: received data available.
pub(super) const IER_RDI: u8 = 1 << 0;
/// IER: transmitter holding register empty.
pub(super) const IER_THRI: u8 = 1 << 1;
/// IER: receiver line status.
pub(super) const IER_RLSI: u8 = 1 << 2;
/// IER: modem status.
pub(super) const IER_MSI: u8 = 1 << 3;
/// IER: the bits that exist.
pub(super) const IER_MASK: u8 = 0x0f;

/// IIR: nothing pending.
pub(super) const IIR_NONE: u8 = 0x01;
/// IIR: modem status, priority 4.
pub(super) const IIR_MSI: u8 = 0x00;
/// IIR: transmitter holding register empty, priority 3.
pub(super) const IIR_THRI: u8 = 0x02;
/// IIR: received data available, priority 2.
pub(super) const IIR_RDI: u8 = 0x04;
/// IIR: character timeout, priority 2.
pub(super) const IIR_TIMEOUT: u8 = 0x0c;
/// IIR: receiver line status, priority 1.
pub(super) const IIR_RLSI: u8 = 0x06;
/// IIR: both FIFOs are on.
pub(super) const IIR_FIFO: u8 = 0xc0;

/// FCR: FIFOs on.
pub(super) const FCR_ENABLE: u8 = 1 << 0;
/// FCR: clear the receive FIFO (clears itself).
pub(super) const FCR_CLEAR_RX: u8 = 1 << 1;
/// FCR: the bits that stay: enable, DMA mode, trigger level.
pub(super) const FCR_KEPT: u8 = 0xc9;
/// Receive trigger levels by FCR bits 7:6.
pub(super) const TRIGGER: [usize; 4] = [1, 4, 8, 14];

/// LCR: divisor latch access.
pub(super) const LCR_DLAB: u8 = 1 << 7;

/// MCR: data terminal ready.
pub(super) const MCR_DTR: u8 = 1 << 0;
/// MCR: request to send.
pub(super) const MCR_RTS: u8 = 1 << 1;
/// MCR: output 1.
pub(super) const MCR_OUT1: u8 = 1 << 2;
/// MCR: output 2.
pub(super) const MCR_OUT2: u8 = 1 << 3;
/// MCR: local loopback.
pub(super) const MCR_LOOP: u8 = 1 << 4;
/// MCR: the bits that exist.
pub(super) const MCR_MASK: u8 = 0x1f;

/// LSR: data ready.
pub(super) const LSR_DR: u8 = 1 << 0;
/// LSR: overrun.
pub(super) const LSR_OE: u8 = 1 << 1;
/// LSR: transmitter holding register empty.
pub(super) const LSR_THRE: u8 = 1 << 5;
/// LSR: transmitter empty.
pub(super) const LSR_TEMT: u8 = 1 << 6;

/// MSR: the delta bits, cleared by a read. Bit n is the delta of level bit n + 4.
pub(super) const MSR_DELTA: u8 = 0x0f;
/// MSR: clear to send.
pub(super) const MSR_CTS: u8 = 1 << 4;
/// MSR: data set ready.
pub(super) const MSR_DSR: u8 = 1 << 5;
/// MSR: ring indicator.
pub(super) const MSR_RI: u8 = 1 << 6;
/// MSR: data carrier detect.
pub(super) const MSR_DCD: u8 = 1 << 7;
