//! What a guest file puts where in memory, and where the guest starts.

use thiserror::Error;

mod elf;
mod found;
mod image;

#[cfg(test)]
mod tests;

pub use found::Found;

/// The most bytes one file may ask for in guest memory.
///
/// Larger than any kernel, smaller than what a host would miss: a damaged size field must not
/// become an allocation.
pub const MAX_MEMORY: u64 = 4 << 30;

/// The most loadable segments one ELF file may have.
pub const MAX_SEGMENTS: usize = 256;

/// Which format a payload came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ELF program.
    Elf,
    /// Linux' uncompressed boot image.
    Image,
    /// Bytes without a header, placed where the caller said.
    Raw,
}

/// A run of guest memory: `bytes` first, zeros after them up to `mem_size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address of the first byte.
    pub addr: u64,
    /// The bytes that the file holds for it.
    pub bytes: Vec<u8>,
    /// How much memory it takes; never less than `bytes.len()`.
    pub mem_size: u64,
}

impl Segment {
    /// The first address after the segment.
    pub fn end(&self) -> u64 {
        self.addr.saturating_add(self.mem_size)
    }
}

/// Addresses of the symbols by which test suites talk to their harness.
///
/// A file without a (readable) symbol table has none of them, which is no error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Symbols {
    /// HTIF, from the guest: where a result or a request is stored.
    pub tohost: Option<u64>,
    /// HTIF, to the guest.
    pub fromhost: Option<u64>,
    /// First byte of the memory that a conformance test leaves as its result.
    pub begin_signature: Option<u64>,
    /// First byte after it.
    pub end_signature: Option<u64>,
}

/// A guest program, parsed and checked, ready to be copied into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The format that was found.
    pub kind: Kind,
    /// Guest physical address of the first instruction.
    pub entry: u64,
    /// What goes where: sorted by address, none overlapping, none empty.
    pub segments: Vec<Segment>,
    /// Symbols of the test harness.
    pub symbols: Symbols,
}

/// Why a file cannot be loaded as a guest.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Neither of the formats.
    #[error("found {0}, expected a RISC-V ELF program or an uncompressed Linux Image")]
    NotAProgram(Found),
    /// ELF for another instruction set.
    #[error("found an ELF program for {}, expected RISC-V", found::machine_name(*.0))]
    WrongMachine(u16),
    /// 32-bit ELF, or a class the ELF specification does not know.
    #[error("found {}, expected a 64-bit one", found::class_name(*.0))]
    WrongClass(u8),
    /// Big-endian ELF, or an encoding the ELF specification does not know.
    #[error("found {}, expected a little-endian one", found::encoding_name(*.0))]
    WrongEncoding(u8),
    /// An object file, a core dump…
    #[error("found {}, expected a linked ELF program", found::type_name(*.0))]
    WrongType(u16),
    /// The file ends before what its headers promise.
    #[error("the file is truncated: its {what} ends at byte {end:#x}, the file at {have:#x}")]
    Truncated {
        /// Which part is cut.
        what: &'static str,
        /// Where that part would end.
        end: u64,
        /// How long the file is.
        have: u64,
    },
    /// An Image whose header says so.
    #[error("found a big-endian Linux Image, expected a little-endian one")]
    BigEndianImage,
    /// Headers that contradict each other.
    #[error("the ELF headers are damaged")]
    Damaged(#[source] ::elf::ParseError),
    /// Nothing to load.
    #[error("the ELF program has no loadable segment")]
    NoSegments,
    /// More segments than any real program has.
    #[error("the ELF program has {0} loadable segments, at most {MAX_SEGMENTS} are expected")]
    TooManySegments(usize),
    /// A segment with more bytes in the file than in memory.
    #[error("the segment at {addr:#x} has {file:#x} bytes in the file, but {memory:#x} in memory")]
    SegmentSizes {
        /// Where the segment goes.
        addr: u64,
        /// Its size in the file.
        file: u64,
        /// Its size in memory.
        memory: u64,
    },
    /// The segments take more bytes from the file than it has.
    #[error(
        "the segments share bytes of the file: they add up to {sum:#x}, the file has {have:#x}"
    )]
    SharedBytes {
        /// The sum of the segments' sizes in the file.
        sum: u64,
        /// How long the file is.
        have: u64,
    },
    /// Two segments want the same memory.
    #[error("the segments at {first:#x} and {second:#x} overlap")]
    Overlap {
        /// Address of the lower segment.
        first: u64,
        /// Address of the one that starts inside it.
        second: u64,
    },
    /// An absurd size.
    #[error("the program asks for {0:#x} bytes of memory, at most {MAX_MEMORY:#x} are expected")]
    TooLarge(u64),
    /// A segment that runs past the end of the address space.
    #[error("{size:#x} bytes at {addr:#x} do not fit into a 64-bit address space")]
    Wraps {
        /// Where it starts.
        addr: u64,
        /// How long it is.
        size: u64,
    },
    /// An entry point that no segment contains.
    #[error("the entry point {0:#x} lies outside every segment")]
    EntryOutside(u64),
}

impl Payload {
    /// Reads an ELF program or a Linux Image.
    ///
    /// `load_base` is the first address of RAM: an Image goes to its own offset above it, a
    /// position-independent ELF program (one linked at zero) exactly there. Other ELF programs
    /// say themselves where they go.
    ///
    /// # Errors
    /// A [`LoadError`] that says what was found instead.
    pub fn parse(bytes: &[u8], load_base: u64) -> Result<Payload, LoadError> {
        if bytes.starts_with(elf::MAGIC) {
            elf::parse(bytes, load_base)
        } else if image::is_image(bytes) {
            image::parse(bytes, load_base)
        } else {
            Err(LoadError::NotAProgram(Found::of(bytes)))
        }
    }

    /// Takes bytes as they are: they go to `addr` and start there.
    ///
    /// # Errors
    /// [`LoadError::NotAProgram`] for no bytes at all, [`LoadError::Wraps`] if they do not fit.
    pub fn raw(bytes: &[u8], addr: u64) -> Result<Payload, LoadError> {
        if bytes.is_empty() {
            return Err(LoadError::NotAProgram(Found::Empty));
        }
        let segment = Segment { addr, bytes: bytes.to_vec(), mem_size: length(bytes) };
        assemble(Kind::Raw, addr, vec![segment], Symbols::default())
    }

    /// The lowest address used and the first one after the highest.
    pub fn span(&self) -> (u64, u64) {
        let start = self.segments.first().map_or(0, |segment| segment.addr);
        let end = self.segments.last().map_or(0, Segment::end);
        (start, end)
    }
}

/// Sorts the segments and checks what [`Payload`] promises about them.
fn assemble(
    kind: Kind,
    entry: u64,
    mut segments: Vec<Segment>,
    symbols: Symbols,
) -> Result<Payload, LoadError> {
    segments.sort_by_key(|segment| segment.addr);
    let mut total = 0u64;
    for segment in &segments {
        if segment.addr.checked_add(segment.mem_size).is_none() {
            return Err(LoadError::Wraps { addr: segment.addr, size: segment.mem_size });
        }
        total = total.saturating_add(segment.mem_size);
    }
    if total > MAX_MEMORY {
        return Err(LoadError::TooLarge(total));
    }
    for pair in segments.windows(2) {
        if let [first, second] = pair {
            if first.end() > second.addr {
                return Err(LoadError::Overlap { first: first.addr, second: second.addr });
            }
        }
    }
    if !segments.iter().any(|segment| (segment.addr..segment.end()).contains(&entry)) {
        return Err(LoadError::EntryOutside(entry));
    }
    Ok(Payload { kind, entry, segments, symbols })
}

/// The length of a slice as an address-sized number.
fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
