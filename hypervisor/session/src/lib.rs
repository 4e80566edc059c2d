//! The vocabulary between a machine or VM and its watchers.
#![forbid(unsafe_code)]
