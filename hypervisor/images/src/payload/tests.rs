//! Payloads: programs made here, damaged in every way we could think of.

use proptest::prelude::*;

use super::{Found, Kind, LoadError, MAX_MEMORY, Payload};

const BASE: u64 = 0x8000_0000;

/// One program header of a test program.
#[derive(Clone, Copy)]
struct Load {
    vaddr: u64,
    paddr: u64,
    memsz: u64,
    bytes: &'static [u8],
}

fn load(addr: u64, memsz: u64, bytes: &'static [u8]) -> Load {
    Load { vaddr: addr, paddr: addr, memsz, bytes }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// header | program headers | segment bytes | strings | symbols | section headers (3)
fn program(kind: u16, entry: u64, loads: &[Load], symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * loads.len()];
    for (index, load) in loads.iter().enumerate() {
        let (at, offset, size) = (64 + 56 * index, file.len(), load.bytes.len());
        put(&mut file, at, &words(&[0x5_0000_0001, offset as u64, load.vaddr, load.paddr]));
        put(&mut file, at + 32, &words(&[size as u64, load.memsz, 8]));
        file.extend_from_slice(load.bytes);
    }
    let strings = file.len();
    let mut table = vec![0u8; 24];
    file.push(0);
    for (name, value) in symbols {
        let at = file.len() - strings;
        table.extend_from_slice(&words(&[at as u64 | 1 << 48, *value, 0]));
        file.extend_from_slice(name.as_bytes());
        file.push(0);
    }
    let strings_end = file.len();
    file.extend_from_slice(&table);
    let sections = file.len();
    let (names, entries) = (strings_end - strings, table.len());
    file.extend_from_slice(&[0; 64]);
    file.extend_from_slice(&words(&[3 << 32, 0, 0, strings as u64, names as u64, 0, 1, 0]));
    let link = words(&[2 << 32, 0, 0, strings_end as u64, entries as u64, 1 | 1 << 32, 8, 24]);
    file.extend_from_slice(&link);
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &kind.to_le_bytes());
    put(&mut file, 18, &[243, 0, 1]);
    put(&mut file, 24, &words(&[entry, 64, sections as u64]));
    put(&mut file, 52, &[64, 0, 56, 0]);
    let count = u8::try_from(loads.len()).unwrap();
    put(&mut file, 56, &[count, 0, 64, 0, 3, 0, 1, 0]);
    file
}

fn two_segments() -> Vec<u8> {
    let loads = [load(BASE + 0x1000, 0x40, b"data"), load(BASE, 8, b"\x13\0\0\0\x13\0\0\0")];
    program(2, BASE, &loads, &[("tohost", BASE + 0x1000), ("end_signature", BASE + 0x1040)])
}

fn image(text_offset: u64, image_size: u64, flags: u64) -> Vec<u8> {
    let mut file = vec![0; 128];
    put(&mut file, 0, b"MZ");
    put(&mut file, 8, &words(&[text_offset, image_size, flags]));
    put(&mut file, 48, b"RISCV\0\0\0RSC\x05");
    file
}

#[track_caller]
fn fails(bytes: &[u8], expected: &str) {
    let error = Payload::parse(bytes, BASE).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn elf_segments_are_sorted_and_symbols_found() {
    let payload = Payload::parse(&two_segments(), BASE).unwrap();
    assert_eq!((payload.kind, payload.entry), (Kind::Elf, BASE));
    assert_eq!(payload.span(), (BASE, BASE + 0x1040));
    let [code, data] = payload.segments.as_slice() else { panic!("{payload:x?}") };
    assert_eq!((code.addr, code.bytes.len(), code.mem_size), (BASE, 8, 8));
    assert_eq!(
        (data.addr, data.bytes.as_slice(), data.mem_size),
        (BASE + 0x1000, &b"data"[..], 0x40)
    );
    assert_eq!(payload.symbols.tohost, Some(BASE + 0x1000));
    assert_eq!(payload.symbols.fromhost, None);
    assert_eq!(payload.symbols.end_signature, Some(BASE + 0x1040));
}

#[test]
fn addresses_of_a_program_linked_high_are_physical() {
    let high = 0xffff_ffff_8000_0000;
    let loads = [Load { vaddr: high, paddr: BASE, memsz: 0x100, bytes: b"code" }];
    let file = program(2, high + 4, &loads, &[("tohost", high + 0x80)]);
    let payload = Payload::parse(&file, 0).unwrap();
    assert_eq!(payload.entry, BASE + 4);
    assert_eq!(payload.symbols.tohost, Some(BASE + 0x80));
}

#[test]
fn only_a_program_linked_at_zero_is_moved() {
    let at_zero = program(3, 4, &[load(0, 8, b"code")], &[]);
    let payload = Payload::parse(&at_zero, BASE).unwrap();
    assert_eq!((payload.entry, payload.span()), (BASE + 4, (BASE, BASE + 8)));
    let placed = program(3, BASE, &[load(BASE, 8, b"code")], &[]);
    assert_eq!(Payload::parse(&placed, 0x1_0000_0000).unwrap().entry, BASE);
}

#[test]
fn image_goes_to_its_offset_with_room_for_bss() {
    let payload = Payload::parse(&image(0x20_0000, 0x1e6_b000, 0), BASE).unwrap();
    assert_eq!((payload.kind, payload.entry), (Kind::Image, BASE + 0x20_0000));
    assert_eq!(payload.span(), (BASE + 0x20_0000, BASE + 0x20_0000 + 0x1e6_b000));
    let old = Payload::parse(&image(0x20_0000, 0, 0), BASE).unwrap();
    assert_eq!(old.segments[0].mem_size, 128);
}

#[test]
fn raw_bytes_start_where_they_are_put() {
    let payload = Payload::raw(b"\x13\0\0\0", 0x1000).unwrap();
    assert_eq!(
        (payload.kind, payload.entry, payload.span()),
        (Kind::Raw, 0x1000, (0x1000, 0x1004))
    );
    assert!(matches!(Payload::raw(b"", 0), Err(LoadError::NotAProgram(Found::Empty))));
    assert!(matches!(Payload::raw(b"12", u64::MAX), Err(LoadError::Wraps { .. })));
}

#[test]
fn other_files_are_named() {
    let tail = ", expected a RISC-V ELF program or an uncompressed Linux Image";
    fails(b"", &format!("found an empty file{tail}"));
    fails(b"\x1f\x8b\x08\0", &format!("found a gzip file (unpack it with gunzip first){tail}"));
    fails(b"070701", &format!("found a cpio archive (an initrd rather than a kernel){tail}"));
    fails(b"ab", &format!("found a file that starts with 61 62 00 00{tail}"));
    let x86_kernel = [b"MZ".as_slice(), &[0; 126]].concat();
    let words = "an EFI or Windows program that is not a RISC-V Linux Image";
    fails(&x86_kernel, &format!("found {words}{tail}"));
}

#[test]
fn wrong_elf_files_are_named() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = two_segments();
        put(&mut file, at, bytes);
        file
    };
    fails(&with(4, &[1]), "found a 32-bit ELF file, expected a 64-bit one");
    fails(&with(5, &[2]), "found a big-endian ELF file, expected a little-endian one");
    fails(&with(18, &[62, 0]), "found an ELF program for x86-64, expected RISC-V");
    fails(&with(18, &[1, 2]), "found an ELF program for machine 513, expected RISC-V");
    fails(
        &with(16, &[1, 0]),
        "found an object file (not linked yet), expected a linked ELF program",
    );
    fails(&with(24, &[0; 8]), "the entry point 0x0 lies outside every segment");
    fails(
        &two_segments()[..40],
        "the file is truncated: its ELF header ends at byte 0x40, the file at 0x28",
    );
    let cut = &two_segments()[..0x80];
    let error = Payload::parse(cut, BASE).unwrap_err();
    assert!(matches!(error, LoadError::Truncated { .. }), "{error}");
}

#[test]
fn absurd_segments_are_refused() {
    let huge = program(2, BASE, &[load(BASE, MAX_MEMORY + 1, b"code")], &[]);
    fails(
        &huge,
        "the program asks for 0x100000001 bytes of memory, at most 0x100000000 are expected",
    );
    let overlap = program(2, BASE, &[load(BASE, 0x100, b"code"), load(BASE + 0xff, 8, b"d")], &[]);
    fails(&overlap, "the segments at 0x80000000 and 0x800000ff overlap");
    let wraps = program(2, BASE, &[load(u64::MAX, 0x100, b"code")], &[]);
    fails(&wraps, "0x100 bytes at 0xffffffffffffffff do not fit into a 64-bit address space");
    fails(&program(2, BASE, &[], &[]), "the ELF program has no loadable segment");
    let small = program(2, BASE, &[load(BASE, 2, b"code")], &[]);
    fails(&small, "the segment at 0x80000000 has 0x4 bytes in the file, but 0x2 in memory");
    fails(
        &image(0, u64::MAX / 2, 0),
        "the program asks for 0x7fffffffffffffff bytes of memory, \
         at most 0x100000000 are expected",
    );
    fails(&image(0, 0, 1), "found a big-endian Linux Image, expected a little-endian one");
}

#[test]
fn segments_cannot_multiply_the_file() {
    let mut file = program(2, BASE, &[load(BASE, 0x1000, b"code"), load(0, 0x1000, b"d")], &[]);
    let half = (file.len() as u64 * 2 / 3).to_le_bytes();
    for at in [64, 64 + 56] {
        put(&mut file, at + 8, &[0; 8]);
        put(&mut file, at + 32, &half);
    }
    let error = Payload::parse(&file, BASE).unwrap_err();
    assert!(matches!(error, LoadError::SharedBytes { .. }), "{error}");
}

#[test]
fn a_damaged_symbol_table_only_costs_the_symbols() {
    let mut file = two_segments();
    let sections = file.len() - 3 * 64;
    put(&mut file, sections + 128 + 24, &u64::MAX.to_le_bytes());
    let payload = Payload::parse(&file, BASE).unwrap();
    assert_eq!(payload.symbols.tohost, None);
}

/// What [`Payload`] promises, for whatever was accepted.
fn holds(bytes: &[u8], base: u64) {
    let Ok(payload) = Payload::parse(bytes, base) else { return };
    let stored: usize = payload.segments.iter().map(|segment| segment.bytes.len()).sum();
    assert!(stored <= bytes.len());
    let total: u64 = payload.segments.iter().map(|segment| segment.mem_size).sum();
    assert!(total <= MAX_MEMORY);
    for segment in &payload.segments {
        assert!(segment.bytes.len() as u64 <= segment.mem_size && segment.mem_size > 0);
    }
    assert!(payload.segments.windows(2).all(|pair| pair[0].end() <= pair[1].addr));
    assert!(payload.segments.iter().any(|s| (s.addr..s.end()).contains(&payload.entry)));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        holds(&bytes, BASE);
        holds(&[b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat(), BASE);
    }

    #[test]
    fn mutated_files_never_panic(
        start in prop::sample::select(vec![two_segments(), image(0x20_0000, 0x1000, 0)]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        base in prop::sample::select(vec![0, BASE, u64::MAX]),
    ) {
        let mut file = start;
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        holds(&file, base);
        holds(&file[..cut.index(file.len())], base);
    }

    #[test]
    fn mutated_header_words_never_panic(
        words in prop::collection::vec((0usize..20, any::<u64>(), 0u32..64), 1..4),
    ) {
        let mut file = two_segments();
        for (word, value, shift) in words {
            put(&mut file, 24 + word * 8, &(value >> shift).to_le_bytes());
        }
        holds(&file, BASE);
    }
}
