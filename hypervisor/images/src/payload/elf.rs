//! ELF programs: 64-bit little-endian RISC-V, segments by physical address.
//!
//! Absent: relocation and dynamic linking. A position-independent program relocates itself;
//! one that asks for an interpreter is a Linux program and has no place in bare memory, but
//! nothing here looks for that: it fails in the guest.

use elf::abi::{ELFCLASS64, ELFDATA2LSB, EM_RISCV, ET_DYN, ET_EXEC, PT_LOAD, SHN_UNDEF};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};

use super::{Found, Kind, LoadError, MAX_SEGMENTS, Payload, Segment, Symbols, assemble, length};

/// How every ELF file starts.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// The size of a 64-bit ELF file header.
const HEADER: usize = 64;

pub(super) fn parse(bytes: &[u8], load_base: u64) -> Result<Payload, LoadError> {
    let kind = identify(bytes)?;
    let file =
        ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|error| damaged(error, bytes))?;
    let headers = loadable(&file)?;
    let lowest = headers.iter().map(|header| header.p_paddr).min().unwrap_or(0);
    // A position-independent program linked at an address other than zero (as some firmware is)
    // has chosen its place.
    let bias = if kind == ET_DYN && lowest == 0 { load_base } else { 0 };

    let sum = headers.iter().fold(0u64, |sum, header| sum.saturating_add(header.p_filesz));
    if sum > length(bytes) {
        // One huge segment is a cut file; many that add up are a trick to multiply its bytes.
        if let Some(header) = headers.iter().find(|header| header.p_filesz > length(bytes)) {
            let end = header.p_offset.saturating_add(header.p_filesz);
            return Err(LoadError::Truncated { what: "segment", end, have: length(bytes) });
        }
        return Err(LoadError::SharedBytes { sum, have: length(bytes) });
    }
    let segments = headers
        .iter()
        .map(|header| segment(bytes, header, bias))
        .collect::<Result<Vec<Segment>, LoadError>>()?;
    let physical = |addr| to_physical(&headers, addr, bias);
    let entry = physical(file.ehdr.e_entry).unwrap_or(file.ehdr.e_entry.wrapping_add(bias));
    let symbols = symbols(&file, physical).unwrap_or_default();
    assemble(Kind::Elf, entry, segments, symbols)
}

/// Checks class, byte order, machine and type, and gives the type.
fn identify(bytes: &[u8]) -> Result<u16, LoadError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let end = u64::try_from(HEADER).unwrap_or(u64::MAX);
        return Err(LoadError::Truncated { what: "ELF header", end, have: length(bytes) });
    };
    let [.., class, data] = header[..6] else {
        return Err(LoadError::NotAProgram(Found::of(bytes)));
    };
    if class != ELFCLASS64 {
        return Err(LoadError::WrongClass(class));
    }
    if data != ELFDATA2LSB {
        return Err(LoadError::WrongEncoding(data));
    }
    let kind = u16::from_le_bytes([header[16], header[17]]);
    let machine = u16::from_le_bytes([header[18], header[19]]);
    if machine != EM_RISCV {
        return Err(LoadError::WrongMachine(machine));
    }
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(LoadError::WrongType(kind));
    }
    Ok(kind)
}

/// The headers of the segments that take memory.
fn loadable(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<ProgramHeader>, LoadError> {
    let takes_memory = |header: &ProgramHeader| header.p_type == PT_LOAD && header.p_memsz > 0;
    let all = file.segments().into_iter().flatten();
    let headers: Vec<ProgramHeader> = all.filter(takes_memory).collect();
    if headers.is_empty() {
        return Err(LoadError::NoSegments);
    }
    if headers.len() > MAX_SEGMENTS {
        return Err(LoadError::TooManySegments(headers.len()));
    }
    Ok(headers)
}

fn segment(bytes: &[u8], header: &ProgramHeader, bias: u64) -> Result<Segment, LoadError> {
    let (file, memory) = (header.p_filesz, header.p_memsz);
    let wraps = LoadError::Wraps { addr: header.p_paddr, size: bias };
    let addr = header.p_paddr.checked_add(bias).ok_or(wraps)?;
    if file > memory {
        return Err(LoadError::SegmentSizes { addr, file, memory });
    }
    let end = header.p_offset.saturating_add(file);
    let range = usize::try_from(header.p_offset).ok().zip(usize::try_from(end).ok());
    let data = range.and_then(|(from, to)| bytes.get(from..to));
    let have = length(bytes);
    let data = data.ok_or(LoadError::Truncated { what: "segment", end, have })?;
    Ok(Segment { addr, bytes: data.to_vec(), mem_size: memory })
}

/// Entry and symbols are virtual addresses; a program linked high runs low until it has paging.
fn to_physical(headers: &[ProgramHeader], addr: u64, bias: u64) -> Option<u64> {
    headers.iter().find_map(|header| {
        let offset = addr.checked_sub(header.p_vaddr).filter(|offset| *offset < header.p_memsz)?;
        header.p_paddr.checked_add(offset)?.checked_add(bias)
    })
}

fn symbols(
    file: &ElfBytes<'_, LittleEndian>,
    physical: impl Fn(u64) -> Option<u64>,
) -> Option<Symbols> {
    let (table, names) = file.symbol_table().ok()??;
    let mut found = Symbols::default();
    for symbol in table.iter().filter(|symbol| symbol.st_shndx != SHN_UNDEF) {
        let name = usize::try_from(symbol.st_name).ok().and_then(|at| names.get_raw(at).ok());
        let slot = match name {
            Some(b"tohost") => &mut found.tohost,
            Some(b"fromhost") => &mut found.fromhost,
            Some(b"begin_signature") => &mut found.begin_signature,
            Some(b"end_signature") => &mut found.end_signature,
            _ => continue,
        };
        // A label may stand right after the last byte, outside every segment: then unmoved.
        let addr = physical(symbol.st_value).unwrap_or(symbol.st_value);
        slot.get_or_insert(addr);
    }
    Some(found)
}

/// A table that reaches past the end of the file is a truncated file; the rest is damage.
fn damaged(error: ParseError, bytes: &[u8]) -> LoadError {
    if let ParseError::SliceReadError((_, end)) = error {
        if end > bytes.len() {
            let end = u64::try_from(end).unwrap_or(u64::MAX);
            return LoadError::Truncated { what: "header table", end, have: length(bytes) };
        }
    }
    LoadError::Damaged(error)
}
