//! The memory against a naive model of what it promises.

mod track;

use std::collections::{BTreeMap, BTreeSet};

use hart::{Change, Writer};
use proptest::prelude::*;

use super::*;

const BASE: u64 = 0x8000_0000;
const N_PAGES: usize = 3;

/// Byte by byte, and without any shortcut.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<usize, u8>,
    code: BTreeSet<usize>,
    /// Watched tables, with the entries that changed since.
    tables: BTreeMap<usize, usize>,
    changes: Vec<Change>,
}

impl Model {
    fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(&offset).copied().unwrap_or(0)
    }

    fn word(&self, offset: usize) -> u64 {
        (0..8).fold(0, |word, i| word | u64::from(self.byte(offset + i)) << (8 * i))
    }

    /// Bytes of one page.
    fn write(&mut self, offset: usize, value: &[u8], writer: Writer) {
        let end = offset + value.len();
        let hit: Vec<usize> =
            self.code.iter().copied().filter(|g| g * 64 < end && (g + 1) * 64 > offset).collect();
        if let (Some(first), Some(last)) = (hit.first(), hit.last()) {
            self.changes.push(Change::Code { offset: first * 64, len: (last + 1 - first) * 64 });
        }
        hit.iter().for_each(|granule| assert!(self.code.remove(granule)));
        let old: Vec<u64> = (offset / 8..end.div_ceil(8)).map(|i| self.word(8 * i)).collect();
        for (i, byte) in value.iter().enumerate() {
            self.bytes.insert(offset + i, *byte);
        }
        if writer == Writer::Walker {
            return;
        }
        let page = offset / PAGE;
        for (i, old) in old.into_iter().enumerate() {
            let entry = (offset / 8 + i) * 8;
            let Some(count) = self.tables.get(&page) else { return };
            if old & 1 == 1 && old != self.word(entry) {
                if count + 1 == 64 {
                    self.tables.remove(&page);
                    self.changes.push(Change::Table { offset: page * PAGE });
                } else {
                    self.tables.insert(page, count + 1);
                    self.changes.push(Change::Entry { offset: entry });
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Store(usize, u8, u64, Writer),
    Slice(usize, Vec<u8>, Writer),
    Code(usize, usize),
    Table(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let size = N_PAGES * PAGE;
    let writer = prop_oneof![Just(Writer::Hart), Just(Writer::Walker), Just(Writer::Dma)];
    // Most of it in few places, so that things meet.
    let place = prop_oneof![0..256_usize, PAGE - 128..PAGE + 128, 0..size - 8];
    prop_oneof![
        6 => (place.clone(), 0..4_u8, any::<u64>(), writer.clone())
            .prop_map(|(at, width, value, writer)| Op::Store(at, width, value, writer)),
        2 => (place.clone(), prop::collection::vec(any::<u8>(), 0..300), writer)
            .prop_map(|(at, bytes, writer)| Op::Slice(at, bytes, writer)),
        2 => (place, 1..200_usize).prop_map(|(at, len)| Op::Code(at, len)),
        1 => (0..N_PAGES).prop_map(Op::Table),
    ]
}

fn store(memory: &mut Memory, at: usize, width: u8, value: u64, writer: Writer) -> bool {
    let bytes = value.to_le_bytes();
    match width {
        0 => memory.store(at, [bytes[0]], writer),
        1 => memory.store(at, [bytes[0], bytes[1]], writer),
        2 => memory.store(at, [bytes[0], bytes[1], bytes[2], bytes[3]], writer),
        _ => memory.store(at, bytes, writer),
    }
}

fn apply(op: Op, memory: &mut Memory, model: &mut Model) {
    let before = model.changes.len();
    match op {
        Op::Store(at, width, value, writer) => {
            let len = 1 << width;
            let at = if at % PAGE + len > PAGE { at & !7 } else { at };
            let grown = store(memory, at, width, value, writer);
            model.write(at, &value.to_le_bytes()[..len], writer);
            assert_eq!(grown, model.changes.len() > before);
        }
        Op::Slice(at, bytes, writer) => {
            let done = memory.write(BASE + at as u64, &bytes, writer);
            if at + bytes.len() > N_PAGES * PAGE {
                assert_eq!(done, Err(NotRam { hpa: BASE + at as u64 }));
                return;
            }
            let split = bytes.len().min(PAGE - at % PAGE);
            for (at, part) in [(at, &bytes[..split]), (at + split, &bytes[split..])] {
                if !part.is_empty() {
                    model.write(at, part, writer);
                }
            }
        }
        Op::Code(at, len) => {
            let len = len.min(N_PAGES * PAGE - at);
            memory.mark_code(at, len);
            model.code.extend(at / 64..=(at + len - 1) / 64);
        }
        Op::Table(page) => {
            memory.mark_table(page * PAGE);
            model.tables.insert(page, 0);
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_the_model(ops in prop::collection::vec(op(), 1..400)) {
        let mut memory = Memory::new(BASE, N_PAGES * PAGE);
        let mut model = Model::default();
        for op in ops {
            apply(op, &mut memory, &mut model);
        }
        prop_assert_eq!(memory.n_changes(), model.changes.len() as u64);
        prop_assert_eq!(memory.changes(0), Some(&model.changes[..]));
        for (offset, byte) in &model.bytes {
            prop_assert_eq!(memory.load::<1>(*offset), [*byte]);
        }
        let pages: BTreeSet<usize> = model.bytes.keys().map(|offset| offset / PAGE).collect();
        prop_assert_eq!(memory.touched_bytes(), (pages.len() * PAGE) as u64);
    }
}

#[test]
fn keeps_the_newest_changes_and_says_so_when_older_ones_are_gone() {
    let mut memory = Memory::new(BASE, PAGE);
    for i in 0..3 * CHANGES_KEPT {
        memory.mark_code(0, 4);
        assert!(memory.store(0, [1], Writer::Hart));
        assert_eq!(memory.n_changes(), i as u64 + 1);
        assert!(!memory.store(0, [1], Writer::Hart), "the mark is gone");
    }
    let n = memory.n_changes();
    assert_eq!(memory.changes(0), None);
    assert_eq!(memory.changes(n), Some(&[][..]));
    assert_eq!(memory.changes(n - CHANGES_KEPT as u64).map(<[_]>::len), Some(CHANGES_KEPT));
}

#[test]
fn clearing_makes_everybody_forget() {
    let mut memory = Memory::new(BASE, 2 * PAGE);
    memory.mark_code(0, 4);
    memory.store(PAGE, [7; 8], Writer::Hart);
    let seen = memory.n_changes();
    memory.clear();
    assert_eq!(memory.changes(seen), None);
    assert_eq!(memory.touched_bytes(), 0);
    assert_eq!(memory.load::<8>(PAGE), [0; 8]);
    assert_eq!(memory.changes(memory.n_changes()), Some(&[][..]));
}

#[test]
fn zeroing_what_was_never_written_touches_nothing() {
    let mut memory = Memory::new(BASE, 3 * PAGE);
    memory.store(PAGE, [7], Writer::Hart);
    memory.write(BASE, &[0; 3 * PAGE], Writer::VmPlane).unwrap();
    assert_eq!(memory.touched_bytes(), PAGE as u64);
    assert_eq!(memory.load::<8>(PAGE), [0; 8]);
    // A part of a page is a write like any other.
    memory.write(BASE, &[0; PAGE - 1], Writer::VmPlane).unwrap();
    assert_eq!(memory.touched_bytes(), 2 * PAGE as u64);
}

#[test]
fn refuses_what_is_not_wholly_ram() {
    let mut memory = Memory::new(BASE, PAGE);
    let end = BASE + PAGE as u64;
    assert_eq!(memory.write(end - 1, &[1, 2], Writer::Dma), Err(NotRam { hpa: end - 1 }));
    assert_eq!(memory.write(BASE - 1, &[1, 2], Writer::Dma), Err(NotRam { hpa: BASE - 1 }));
    assert_eq!(memory.read(u64::MAX, &mut [0; 8]), Err(NotRam { hpa: u64::MAX }));
    assert_eq!(memory.touched_bytes(), 0);
    assert_eq!(memory.write(end, &[], Writer::Dma), Ok(()));
}

#[test]
fn the_digest_is_of_what_can_be_read() {
    let digest = |memory: &Memory| {
        let mut all = Vec::new();
        memory.digest(&mut |bytes| all.extend_from_slice(bytes));
        all
    };
    let mut memory = Memory::new(BASE, 2 * PAGE);
    memory.store(PAGE, [0; 8], Writer::Hart);
    assert!(digest(&memory).is_empty(), "zeros written are zeros");
    memory.store(PAGE, [1], Writer::Hart);
    assert_eq!(digest(&memory).len(), 8 + PAGE);
}
