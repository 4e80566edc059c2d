//! Holds the repository to its own rules: its layers, its house style, its book.

#[cfg(test)]
mod book;
#[cfg(test)]
mod files;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tidy;
