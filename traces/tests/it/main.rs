//! Recordings as their users write and read them.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod keyframes;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod sample;
