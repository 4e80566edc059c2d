//! Facts of RISC-V and DV-ext: encodings, CSRs, causes, modes, registers.
#![forbid(unsafe_code)]
