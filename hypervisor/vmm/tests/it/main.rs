//! Whole VMs over the driver and the modelled harts.

#[cfg(test)]
mod dice;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod neighbour;
#[cfg(test)]
mod neutral;
#[cfg(test)]
mod travel;
#[cfg(test)]
mod wild;
