//! Physical memory, bus, interrupt wiring, schedule and step clock; machine mode.
#![forbid(unsafe_code)]
