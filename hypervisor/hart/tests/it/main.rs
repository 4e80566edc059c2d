//! Tests of the hart from outside: lines, walks, neutrality, CSRs.

#[cfg(test)]
mod model;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod ram;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod walk;
