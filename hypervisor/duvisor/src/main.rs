//! The composition root of duvisor: arguments, wiring, signals, exit codes.
#![forbid(unsafe_code)]

fn main() {}
