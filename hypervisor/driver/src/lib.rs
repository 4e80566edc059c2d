//! The hypervisor plane: grants, delegation, VM ids, emergencies; implements Dv.
#![forbid(unsafe_code)]
