//! The program as its users meet it: arguments in; output, files and exit codes out.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod book;
#[cfg(test)]
mod debian;
#[cfg(test)]
#[expect(dead_code, reason = "what the guests of `vmm` need besides")]
#[path = "../../../vmm/tests/it/dice.rs"]
mod dice;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod events;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod paced;
#[cfg(test)]
mod program;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod pty;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod resumed;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod save;
#[cfg(test)]
mod terminal;
