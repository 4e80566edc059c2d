//! Guest images: ELF and Image files, the guest catalogue, Debian's kernel.
#![forbid(unsafe_code)]
