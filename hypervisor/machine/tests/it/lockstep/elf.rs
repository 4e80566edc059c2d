//! The smallest ELF file that a simulator loads: one segment, and the symbols of HTIF.

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const SECTION_HEADER: u64 = 64;
const MACHINE_RISCV: u16 = 243;
/// Contents begin here, so that file offset and address agree within a page.
const CONTENTS: u64 = 0x1000;

struct Writer(Vec<u8>);

impl Writer {
    fn half(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, values: &[u64]) {
        values.iter().for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }

    fn section(&mut self, name: u32, kind: u32, longs: [u64; 4], link: u32, info: u32, tail: u64) {
        self.word(name);
        self.word(kind);
        self.long(&longs);
        self.word(link);
        self.word(info);
        self.long(&[8, tail]);
    }
}

/// An executable of `image` at `base`, which is also its entry.
pub(crate) fn file(base: u64, image: &[u8], tohost: u64, fromhost: u64) -> Vec<u8> {
    let strings = b"\0tohost\0fromhost\0.symtab\0.strtab\0";
    let symbols_at = CONTENTS + (image.len() as u64).next_multiple_of(8);
    let strings_at = symbols_at + 3 * 24;
    let sections_at = (strings_at + strings.len() as u64).next_multiple_of(8);
    let mut out = Writer(vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.half(2);
    out.half(MACHINE_RISCV);
    out.word(1);
    out.long(&[base, HEADER, sections_at]);
    out.word(0);
    for half in [HEADER, PROGRAM_HEADER, 1, SECTION_HEADER, 3, 2] {
        out.half(u16::try_from(half).unwrap());
    }
    out.word(1);
    out.word(7);
    let size = image.len() as u64;
    out.long(&[CONTENTS, base, base, size, size, 0x1000]);
    out.0.resize(usize::try_from(CONTENTS).unwrap(), 0);
    out.0.extend_from_slice(image);
    out.0.resize(usize::try_from(symbols_at).unwrap(), 0);
    out.long(&[0, 0, 0]);
    for (name, value) in [(1, tohost), (8, fromhost)] {
        out.word(name);
        // A global object of a section that does not exist: an absolute value.
        out.half(0x11);
        out.half(0xfff1);
        out.long(&[value, 8]);
    }
    out.0.extend_from_slice(strings);
    out.0.resize(usize::try_from(sections_at).unwrap(), 0);
    out.section(0, 0, [0; 4], 0, 0, 0);
    out.section(17, 2, [0, 0, symbols_at, 72], 2, 1, 24);
    out.section(25, 3, [0, 0, strings_at, strings.len() as u64], 0, 0, 0);
    out.0
}
