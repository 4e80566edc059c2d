//! Recordings of small guests: replayed, visited anywhere, asked, damaged, interrupted.

#[cfg(test)]
#[expect(dead_code, reason = "what the programs of `machine` need besides")]
#[path = "../../../machine/tests/it/lockstep/asm.rs"]
mod asm;
#[cfg(test)]
mod broken;
#[cfg(test)]
#[expect(dead_code, reason = "what the guests of `vmm` need besides")]
#[path = "../../../vmm/tests/it/dice.rs"]
mod dice;
#[cfg(test)]
mod diverted;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod interrupt;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod program;
#[cfg(test)]
mod questions;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod seek;
#[cfg(test)]
mod verify;
