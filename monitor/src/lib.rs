//! The terminal UI: state, views, keys.
#![forbid(unsafe_code)]
