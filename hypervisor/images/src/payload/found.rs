//! Names for files that are not guests, so that an error can say what was found.

use std::fmt;

/// What a file looks like, judged by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No bytes.
    Empty,
    /// A known format, in words.
    Known(&'static str),
    /// Bytes that no known format starts with; the first four of them, zero-filled.
    Unknown([u8; 4]),
}

/// First bytes, and the words for what starts with them.
#[rustfmt::skip]
const KNOWN: &[(&[u8], &str)] = &[
    (b"\x1f\x8b",          "a gzip file (unpack it with gunzip first)"),
    (b"\xfd7zXZ\0",        "an xz file (unpack it with unxz first)"),
    (b"\x28\xb5\x2f\xfd",  "a zstd file (unpack it with unzstd first)"),
    (b"BZh",               "a bzip2 file (unpack it with bunzip2 first)"),
    (b"MZ\0\0zimg",        "a compressed EFI kernel (vmlinuz.efi)"),
    (b"MZ",                "an EFI or Windows program that is not a RISC-V Linux Image"),
    (b"070701",            "a cpio archive (an initrd rather than a kernel)"),
    (b"070702",            "a cpio archive (an initrd rather than a kernel)"),
    (b"!<arch>\ndebian",   "a Debian package"),
    (b"!<arch>\n",         "a static library"),
    (b"\xd0\x0d\xfe\xed",  "a device tree"),
    (b"\x27\x05\x19\x56",  "a U-Boot image"),
    (b"\xcf\xfa\xed\xfe",  "a Mach-O program"),
    (b"QFI\xfb",           "a qcow2 disk"),
    (b"#!",                "a script"),
];

impl Found {
    /// Judges a file by its first bytes.
    pub fn of(bytes: &[u8]) -> Found {
        if bytes.is_empty() {
            return Found::Empty;
        }
        if let Some((_, words)) = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Found::Known(words);
        }
        let mut first = [0; 4];
        for (to, from) in first.iter_mut().zip(bytes) {
            *to = *from;
        }
        Found::Unknown(first)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Empty => f.write_str("an empty file"),
            Found::Known(words) => f.write_str(words),
            Found::Unknown([a, b, c, d]) => {
                write!(f, "a file that starts with {a:02x} {b:02x} {c:02x} {d:02x}")
            }
        }
    }
}

/// A machine number (`e_machine`) in words.
pub(super) fn machine_name(machine: u16) -> String {
    use elf::abi;
    let name = match machine {
        abi::EM_386 => "x86",
        abi::EM_X86_64 => "x86-64",
        abi::EM_AARCH64 => "AArch64",
        abi::EM_ARM => "Arm",
        abi::EM_MIPS => "MIPS",
        abi::EM_PPC64 => "PowerPC 64",
        abi::EM_S390 => "S/390",
        abi::EM_LOONGARCH => "LoongArch",
        other => return format!("machine {other}"),
    };
    name.to_owned()
}

/// A file class (`EI_CLASS`) in words.
pub(super) fn class_name(class: u8) -> String {
    match class {
        elf::abi::ELFCLASS32 => "a 32-bit ELF file".to_owned(),
        other => format!("an ELF file of unknown class {other}"),
    }
}

/// A data encoding (`EI_DATA`) in words.
pub(super) fn encoding_name(encoding: u8) -> String {
    match encoding {
        elf::abi::ELFDATA2MSB => "a big-endian ELF file".to_owned(),
        other => format!("an ELF file of unknown byte order {other}"),
    }
}

/// An object type (`e_type`) in words.
pub(super) fn type_name(kind: u16) -> String {
    match kind {
        elf::abi::ET_REL => "an object file (not linked yet)".to_owned(),
        elf::abi::ET_CORE => "a core dump".to_owned(),
        other => format!("an ELF file of type {other}"),
    }
}
