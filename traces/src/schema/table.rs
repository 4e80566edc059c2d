//! The records of this version (table)
//!
//! Tags are never used again, and fields are only appended. Names are those of the events in JSON.

use super::Wire::{
    self, Bank, Byte, Bytes, Delta, Group, Hash, Json, Keep, Lag, Next, Number, Signed, Sum, Text,
};

/// Tag, name, fields.
pub(crate) type Row = (u8, &'static str, &'static [(&'static str, Wire)]);

// Registers.
pub(crate) const STEP: u8 = 0;
/// Guest time over steps: it moves only when all vCPUs wait.
pub(crate) const IDLE: u8 = 1;
pub(crate) const SEQ: u8 = 2;
pub(crate) const PC: u8 = 3;
pub(crate) const GVA: u8 = 4;
pub(crate) const ARGS: [u8; 3] = [5, 6, 7];
pub(crate) const OFFSET: u8 = 8;
/// Where a device's window begins.
pub(crate) const WINDOW: u8 = 9;
pub(crate) const GPA: u8 = 10;
pub(crate) const LEAF: u8 = 11;
/// From a leaf to the physical address behind it.
pub(crate) const BEHIND: u8 = 12;
pub(crate) const TVAL: u8 = 13;
pub(crate) const BLOCK: u8 = 14;

/// One per vCPU.
pub(crate) const BANKED: u32 =
    1 << PC | 1 << GVA | 1 << ARGS[0] | 1 << ARGS[1] | 1 << ARGS[2] | 1 << TVAL;

// Tags of records.
pub(crate) const EXIT: u8 = 1;
pub(crate) const TRAP: u8 = 2;
pub(crate) const CONSOLE: u8 = 3;
pub(crate) const INPUT_EVENT: u8 = 4;
pub(crate) const VM: u8 = 5;
/// An event of a kind that this table does not have yet.
pub(crate) const OTHER_EVENT: u8 = 6;
pub(crate) const INPUT: u8 = 7;
pub(crate) const DISK_READ: u8 = 8;
pub(crate) const PRE_IMAGE: u8 = 9;
pub(crate) const LOST: u8 = 10;
pub(crate) const END: u8 = 11;

// Types.
const CAUSE: u8 = 1;
const OUTCOME: u8 = 2;
const MODE: u8 = 3;
const ACCESS: u8 = 4;
const REGION: u8 = 5;
const INTERRUPT: u8 = 6;
const ARGUMENTS: u8 = 7;
const INPUT_OF: u8 = 8;
const STATE: u8 = 9;
const STOP: u8 = 10;
const HOW: u8 = 11;

/// Variants for which there is no row yet.
pub(crate) const OTHER: u8 = 255;

const T: Wire = Lag(STEP, IDLE);

#[rustfmt::skip]
pub(crate) const TYPES: &[&[Row]] = &[
    &[
        (EXIT, "exit", &[("seq", Next(SEQ)), ("step", Delta(STEP)), ("vcpu", Bank),
            ("time_ns", T), ("pc", Delta(PC)), ("mode", Sum(MODE)), ("cause", Sum(CAUSE)),
            ("outcome", Sum(OUTCOME))]),
        (TRAP, "trap", &[("seq", Next(SEQ)), ("step", Delta(STEP)), ("hart", Bank),
            ("time_ns", T), ("pc", Delta(PC)), ("from", Sum(MODE)), ("to", Sum(MODE)),
            ("cause", Number), ("tval", Delta(TVAL))]),
        (CONSOLE, "console", &[("seq", Next(SEQ)), ("step", Delta(STEP)), ("bytes", Bytes)]),
        (INPUT_EVENT, "input", &[("seq", Next(SEQ)), ("step", Delta(STEP)),
            ("input", Sum(INPUT_OF))]),
        (VM, "vm", &[("seq", Next(SEQ)), ("step", Delta(STEP)), ("state", Sum(STATE))]),
        (OTHER_EVENT, "other", &[("seq", Next(SEQ)), ("step", Delta(STEP)), ("json", Json)]),
        (INPUT, "record_input", &[("seq", Delta(SEQ)), ("step", Delta(STEP)), ("time_ns", T),
            ("how", Sum(HOW)), ("input", Sum(INPUT_OF))]),
        (DISK_READ, "record_disk_read", &[("disk", Byte), ("block", Delta(BLOCK)),
            ("hash", Hash)]),
        (PRE_IMAGE, "record_pre_image", &[("disk", Byte), ("block", Delta(BLOCK)),
            ("bytes", Bytes)]),
        (LOST, "record_lost", &[("events", Number)]),
        (END, "record_end", &[("seq", Delta(SEQ)), ("step", Delta(STEP)), ("time_ns", T),
            ("stop", Sum(STOP)), ("state", Hash), ("ram", Hash)]),
    ],
    &[
        (0, "guest_page_fault", &[("access", Sum(ACCESS)), ("gva", Delta(GVA)),
            ("gpa", Delta(GPA))]),
        (1, "mmio", &[("region", Sum(REGION)), ("access", Sum(ACCESS)), ("offset", Keep(OFFSET)),
            ("gpa", Lag(OFFSET, WINDOW)), ("width", Byte), ("value", Number)]),
        (2, "sbi", &[("eid", Number), ("fid", Number), ("args", Group(ARGUMENTS))]),
        (3, "virtual_instruction", &[("insn", Number)]),
        (4, "wfi", &[]),
        (5, "illegal_instruction", &[("insn", Number)]),
        (6, "breakpoint", &[]),
        (7, "timer", &[]),
        (8, "kick", &[]),
        (9, "external", &[]),
        (10, "other", &[("cause", Number), ("tval", Delta(TVAL))]),
    ],
    &[
        (0, "handled", &[]),
        (1, "mapped", &[("gpa", Delta(LEAF)), ("hpa", Lag(LEAF, BEHIND)), ("size", Number)]),
        (2, "returned", &[("error", Signed), ("value", Number)]),
        (3, "refused", &[]),
        (4, "injected", &[("cause", Number)]),
        (5, "raised", &[("interrupt", Sum(INTERRUPT))]),
        (6, "parked", &[]),
        (7, "stopped", &[]),
    ],
    &[(0, "M", &[]), (1, "HS", &[]), (2, "U", &[]), (3, "HU", &[]), (4, "VS", &[]), (5, "VU", &[])],
    &[(0, "fetch", &[]), (1, "load", &[]), (2, "store", &[])],
    &[
        (0, "uart", &[]), (1, "plic", &[]), (2, "aclint", &[]), (3, "rtc", &[]),
        (4, "finisher", &[]), (5, "virtio", &[("", Byte)]), (6, "hole", &[]),
    ],
    &[(0, "software", &[]), (1, "timer", &[]), (2, "external", &[])],
    &[(0, "", &[("", Delta(ARGS[0])), ("", Delta(ARGS[1])), ("", Delta(ARGS[2]))])],
    &[(0, "console", &[("", Bytes)]), (1, "quit", &[]), (OTHER, "other", &[("", Json)])],
    &[
        (0, "started", &[]), (1, "vcpu_started", &[("", Number)]),
        (2, "vcpu_stopped", &[("", Number)]), (3, "resetting", &[]),
        (4, "ended", &[("", Sum(STOP))]),
        (OTHER, "other", &[("", Json)]),
    ],
    &[
        (0, "power_off", &[]), (1, "failed", &[("code", Number)]), (2, "reset", &[]),
        (3, "step_limit", &[]), (4, "deadlock", &[]), (5, "killed", &[("reason", Text)]),
        (6, "crashed", &[("reason", Text)]), (7, "user", &[]), (OTHER, "other", &[("", Json)]),
    ],
    &[(0, "slice", &[]), (1, "idle", &[])],
];
