//! Recordings as their users write and read them.

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod sample;
