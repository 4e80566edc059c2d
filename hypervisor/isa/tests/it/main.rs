//! Tests of the crate from outside: against binutils, and the chapter written from the tables.

#[cfg(test)]
mod binutils;
#[cfg(test)]
mod chapter;
#[cfg(test)]
#[path = "../../../../docs/tests/it/tables.rs"]
mod tables;
