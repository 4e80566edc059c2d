//! The modelled hardware thread: state, execution, traps, translation, DV-ext.
#![forbid(unsafe_code)]
