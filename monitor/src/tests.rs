//! The loop with a modelled session, a modelled terminal and a modelled clock.

mod fake;
mod keys;
mod monkey;
mod pace;

pub(crate) use fake::{FakeHost, FakeSession, key, overview};
