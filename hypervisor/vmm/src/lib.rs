//! The VM plane: VM assembly, vCPU loop, exit handlers, stage-2 tables, SBI.
#![forbid(unsafe_code)]
