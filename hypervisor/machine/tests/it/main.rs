//! Programs on bare machines, from outside of the crate.

#[cfg(test)]
mod firmware;
#[cfg(test)]
mod hyp_tests;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod lockstep;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod riscv_tests;
#[cfg(test)]
#[path = "../../../hart/tests/it/rng.rs"]
mod rng;
#[cfg(test)]
mod watched;
