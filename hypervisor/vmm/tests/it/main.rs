//! Whole VMs over the driver and the modelled harts.

#[cfg(test)]
mod endings;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod neutral;
