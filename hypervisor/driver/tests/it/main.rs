//! Tests of the driver from outside: small guests, and VM planes that are not kind.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod exits;
#[cfg(test)]
mod guest;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod neighbour;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod table;
#[cfg(test)]
#[path = "../../../../docs/tests/it/tables.rs"]
mod tables;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod watched;
#[cfg(test)]
mod windows;
