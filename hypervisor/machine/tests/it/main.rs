//! Programs on bare machines, from outside of the crate.

#[cfg(test)]
mod firmware;
#[cfg(test)]
mod hyp_tests;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod riscv_tests;
