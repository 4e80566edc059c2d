//! Ways to put files on a bare machine.

use std::path::Path;

use images::Payload;
use machine::{BARE_RAM_BASE, BareConfig, BareMachine, Segment};

/// The machine for one ELF program.
pub(crate) fn config(name: &str, program: &Payload, memory: u64) -> BareConfig {
    BareConfig {
        segments: segments(program),
        entry: program.entry,
        tohost: program.symbols.tohost,
        fromhost: program.symbols.fromhost,
        ..BareConfig::new(name, memory)
    }
}

pub(crate) fn segments(program: &Payload) -> Vec<Segment> {
    let segment = |from: &images::Segment| Segment {
        addr: from.addr,
        bytes: from.bytes.clone(),
        mem_size: from.mem_size,
    };
    program.segments.iter().map(segment).collect()
}

pub(crate) fn read(path: &Path) -> Payload {
    let bytes = std::fs::read(path).unwrap();
    Payload::parse(&bytes, BARE_RAM_BASE).unwrap()
}

/// Two machines whose digests are equal are in the same state.
pub(crate) fn digest(machine: &BareMachine) -> Vec<u8> {
    let mut all = Vec::new();
    machine.digest(&mut |bytes| all.extend_from_slice(bytes));
    all
}
