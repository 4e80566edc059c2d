//! Tests of the hart from outside: lines, walks, neutrality, CSRs, floats.

#[cfg(test)]
use hart::{AccessFault, Bus, Change, Post, Touch, Writer};

#[cfg(test)]
mod csr;
#[cfg(test)]
mod float;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod model;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod neutral;
#[cfg(test)]
mod ram;
#[cfg(test)]
mod rng;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod words;
#[cfg(test)]
mod world;
