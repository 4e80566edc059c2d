//! Guest images: ELF and Image files, the guest catalogue, Debian's kernel.
//!
//! This crate finds, fetches, checks and assembles what a guest is made of; it does not put it
//! into any memory. Reading a file that somebody else made ends in a [`Payload`] or in one
//! sentence that says what was found and what was expected, never in a panic.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod debian;
pub mod payload;

pub use catalogue::{Catalogue, Guest, Source};
pub use payload::{Kind, LoadError, Payload, Segment, Symbols};
