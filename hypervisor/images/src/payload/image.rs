//! Linux' uncompressed RISC-V boot image.
//!
//! Linux, "Boot image header in RISC-V Linux":
//!
//! ```text
//!  0  code0  code1        8  text_offset        16  image_size       24  flags
//! 32  version  res1      40  res2               48  "RISCV\0\0\0"    56  "RSC\x05"  res3
//! ```

use super::{Found, Kind, LoadError, Payload, Segment, Symbols, assemble, length};

/// The size of the header.
const HEADER: usize = 64;
/// Where the second magic number is; the first one, at 48, is deprecated.
const MAGIC2_AT: usize = 56;
const MAGIC2: &[u8] = b"RSC\x05";
/// `flags`: the kernel is big-endian.
const FLAG_BIG_ENDIAN: u64 = 1;

pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER && bytes.get(MAGIC2_AT..).is_some_and(|rest| rest.starts_with(MAGIC2))
}

pub(super) fn parse(bytes: &[u8], load_base: u64) -> Result<Payload, LoadError> {
    let field = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    let (Some(text_offset), Some(image_size), Some(flags)) = (field(8), field(16), field(24))
    else {
        return Err(LoadError::NotAProgram(Found::of(bytes)));
    };
    let text_offset = u64::from_le_bytes(*text_offset);
    let image_size = u64::from_le_bytes(*image_size);
    if u64::from_le_bytes(*flags) & FLAG_BIG_ENDIAN != 0 {
        return Err(LoadError::BigEndianImage);
    }
    // The size counts the zeros after the file, so a longer file has something appended, which
    // the kernel does not know about. It is kept: the bytes do no harm.
    let mem_size = image_size.max(length(bytes));
    let wraps = LoadError::Wraps { addr: load_base, size: text_offset };
    let addr = load_base.checked_add(text_offset).ok_or(wraps)?;
    let segment = Segment { addr, bytes: bytes.to_vec(), mem_size };
    assemble(Kind::Image, addr, vec![segment], Symbols::default())
}
