//! Accesses, wires and input of the devices.

use super::*;

fn board() -> Board {
    Board::new(2, ConsoleDevice::Uart, 1, 0, None)
}

fn touch(hpa: u64, width: u8, now_ns: u64) -> Touch {
    Touch { hart: 0, hpa, width, now_ns }
}

const PLIC: u64 = 0xc00_0000;
const UART: u64 = 0x1000_0000;
const ACLINT: u64 = 0x200_0000;

#[test]
fn holes_fault_and_missing_registers_do_not() {
    let mut board = board();
    assert_eq!(board.read(touch(0x1000, 4, 0)), Err(AccessFault));
    assert_eq!(board.read(touch(0x1000_1000, 4, 0)), Err(AccessFault), "there is no disk");
    assert_eq!(board.read(touch(0x1000_2000, 4, 0)), Ok(0x7472_6976));
    assert_eq!(board.write(touch(PLIC + 0x60_0000, 4, 0), 1), Err(AccessFault));
    assert_eq!(board.refused(), 0);
    assert_eq!(board.read(touch(ACLINT, 1, 0)), Ok(0));
    assert_eq!(board.refused(), 1);
}

#[test]
fn the_aclint_drives_its_own_wires() {
    let mut board = board();
    board.write(touch(ACLINT + 4, 4, 0), 1).unwrap();
    assert_eq!((board.lines(0, 0), board.lines(1, 0)), (0, MSIP));
    board.write(touch(ACLINT + 0x4000, 8, 0), 12).unwrap();
    assert_eq!(board.timer_deadline_ns(0, 950), 1200);
    assert_eq!((board.lines(0, 1199), board.lines(0, 1200)), (0, MTIP));
    assert_eq!(board.timer_deadline_ns(0, 1200), u64::MAX);
    assert_eq!(board.read(touch(ACLINT + 0xbff8, 8, 1234)), Ok(12));
}

#[test]
fn typed_bytes_interrupt_the_context_that_wants_them() {
    let mut board = board();
    let mut memory = Memory::new(0x8000_0000, 4096);
    // UART: received data; PLIC: priority 1, enabled for hart 1 in S.
    board.write(touch(UART + 1, 1, 0), 1).unwrap();
    board.write(touch(PLIC + 4 * 10, 4, 0), 1).unwrap();
    board.write(touch(PLIC + 0x2000 + 3 * 0x80, 4, 0), 1 << 10).unwrap();
    board.type_in(b"hi");
    assert_eq!(board.lines(1, 0), 0);
    assert!(board.settle(&mut memory, 0).is_empty());
    assert_eq!(board.lines(0, 0), 0);
    assert_eq!(board.lines(1, 0), Interrupt::SupervisorExternal.bit());
    assert_eq!(board.read(touch(PLIC + 0x20_0004 + 3 * 0x1000, 4, 0)), Ok(10));
    assert_eq!(board.lines(1, 0), 0);
    assert_eq!(board.read(touch(UART, 1, 0)), Ok(u64::from(b'h')));
    board.reset();
    assert_eq!(board.lines(1, 0), 0);
}

#[test]
fn input_is_bounded_and_output_collected() {
    let mut board = board();
    let mut memory = Memory::new(0x8000_0000, 4096);
    assert!(board.has_room(INPUT_MAX));
    board.type_in(&vec![b'x'; INPUT_MAX + 3]);
    assert_eq!(board.dropped(), 3);
    assert!(!board.has_room(1));
    board.write(touch(UART, 1, 0), u64::from(b'o')).unwrap();
    board.settle(&mut memory, 0);
    assert_eq!(board.output(), b"o");
}
