//! Processes that are closed as those of a run are, and then try what they may not.

#[cfg(test)]
mod violations;
