//! One description of a part's state, by which it is saved, restored and hashed.
//!
//! A part implements [`State`] once, and a [`Codec`] goes through it in either direction: what is
//! written cannot differ from what is read. Bytes that are read may be anybody's: every length has
//! a bound, and what a part cannot be in is [`Damaged`].
//!
//! ```
//! use state::{Codec, Damaged, State};
//!
//! #[derive(Default)]
//! struct Timer { deadline: Option<u64>, levels: Vec<bool> }
//!
//! impl State for Timer {
//!     fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
//!         codec.option(&mut self.deadline, |codec, at| codec.u64(at))?;
//!         codec.list(&mut self.levels, 8, |codec, level| codec.bool(level))
//!     }
//! }
//!
//! let saved = state::save(&mut Timer { deadline: Some(5), levels: vec![true] });
//! let mut timer = Timer::default();
//! state::load(&mut timer, &saved)?;
//! assert_eq!(timer.deadline, Some(5));
//! # Ok::<(), Damaged>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

/// The bytes are not the state of this part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// What is wrong with them.
    pub what: &'static str,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a saved state that cannot be: {}", self.what)
    }
}

impl std::error::Error for Damaged {}

/// What no counter of a run reaches in years; a loaded one that is larger would overflow.
pub const COUNT_MAX: u64 = 1 << 56;

/// Something with a state that can be saved.
pub trait State {
    /// Goes through all of the state in a fixed order. What follows from it (caches) is made anew
    /// if the codec [is loading](Codec::is_loading); configuration is not part of it.
    ///
    /// # Errors
    /// [`Damaged`], only while loading; the part is then in no useful state.
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged>;
}

/// The direction, and the bytes.
#[derive(Debug)]
pub enum Codec<'a> {
    /// Writes to the end of these.
    Save(&'a mut Vec<u8>),
    /// Takes from the begin of these.
    Load(&'a [u8]),
}

/// Saves a part.
pub fn save(part: &mut dyn State) -> Vec<u8> {
    let mut bytes = Vec::new();
    let saved = part.state(&mut Codec::Save(&mut bytes));
    debug_assert!(saved.is_ok(), "saving found {saved:?}");
    bytes
}

/// Restores a part from all of these bytes.
///
/// # Errors
/// [`Damaged`] if they are not its state; the part is then in no useful state.
pub fn load(part: &mut dyn State, bytes: &[u8]) -> Result<(), Damaged> {
    let mut codec = Codec::Load(bytes);
    part.state(&mut codec)?;
    match codec {
        Codec::Load(rest) => require(rest.is_empty(), "bytes are left over"),
        Codec::Save(_) => Ok(()),
    }
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        #[doc = concat!("A `", stringify!($name), "`, little endian.")]
        ///
        /// # Errors
        /// [`Damaged`] if the bytes end.
        #[inline]
        pub fn $name(&mut self, value: &mut $name) -> Result<(), Damaged> {
            match self {
                Codec::Save(bytes) => bytes.extend(value.to_le_bytes()),
                Codec::Load(_) => *value = $name::from_le_bytes(self.take()?),
            }
            Ok(())
        }
    )*};
}

impl Codec<'_> {
    /// Whether the state comes from the bytes.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        matches!(self, Codec::Load(_))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let Codec::Load(bytes) = self else { return Err(Damaged { what: "nothing to read" }) };
        let (first, rest) = bytes.split_first_chunk().ok_or(Damaged { what: "it ends early" })?;
        *bytes = rest;
        Ok(*first)
    }

    integers! { u8 u16 u32 u64 i64 }

    /// A counter that only rises: it must be able to go on, hence at most [`COUNT_MAX`].
    ///
    /// # Errors
    /// [`Damaged`] if the bytes end, or it is larger.
    pub fn count(&mut self, value: &mut u64) -> Result<(), Damaged> {
        self.u64(value)?;
        self.check(*value <= COUNT_MAX, "a counter is too large")
    }

    /// A `usize`, as a `u64`.
    ///
    /// # Errors
    /// [`Damaged`] if the bytes end, or it is no `usize` of this host.
    pub fn usize(&mut self, value: &mut usize) -> Result<(), Damaged> {
        let mut wide = *value as u64;
        self.u64(&mut wide)?;
        *value = usize::try_from(wide).or(Err(Damaged { what: "a number is too large" }))?;
        Ok(())
    }

    /// An index of something that there are `n` of.
    ///
    /// # Errors
    /// [`Damaged`] if the bytes end, or there is no such one.
    pub fn index(&mut self, value: &mut usize, n: usize) -> Result<(), Damaged> {
        self.usize(value)?;
        self.check(*value < n, "an index is too large")
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`Damaged`] if the bytes end, or it is neither 0 nor 1.
    pub fn bool(&mut self, value: &mut bool) -> Result<(), Damaged> {
        let mut byte = u8::from(*value);
        self.u8(&mut byte)?;
        self.check(byte < 2, "a truth value is neither 0 nor 1")?;
        *value = byte == 1;
        Ok(())
    }

    /// A value of a type with few values, as its place in the list of all of them.
    ///
    /// # Errors
    /// [`Damaged`] if the bytes end, or there is no such place.
    pub fn choice<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T]) -> Result<(), Damaged> {
        let place = all.iter().position(|it| it == value).unwrap_or(usize::MAX);
        debug_assert!(place < all.len(), "a value that is not in the list of all");
        let mut byte = u8::try_from(place).unwrap_or(u8::MAX);
        self.u8(&mut byte)?;
        *value = *all.get(usize::from(byte)).ok_or(Damaged { what: "no such alternative" })?;
        Ok(())
    }

    /// Bytes of a known number.
    ///
    /// # Errors
    /// [`Damaged`] if there are fewer.
    pub fn array(&mut self, value: &mut [u8]) -> Result<(), Damaged> {
        match self {
            Codec::Save(bytes) => bytes.extend_from_slice(value),
            Codec::Load(bytes) => {
                let parts = bytes.split_at_checked(value.len());
                let (first, rest) = parts.ok_or(Damaged { what: "it ends early" })?;
                value.copy_from_slice(first);
                *bytes = rest;
            }
        }
        Ok(())
    }

    /// Words of a known number.
    ///
    /// # Errors
    /// [`Damaged`] if there are fewer.
    pub fn words(&mut self, words: &mut [u64]) -> Result<(), Damaged> {
        words.iter_mut().try_for_each(|word| self.u64(word))
    }

    /// A number of things, at most `max`.
    fn length(&mut self, len: usize, max: usize) -> Result<usize, Damaged> {
        let mut len = len;
        debug_assert!(
            self.is_loading() || len <= max,
            "{len} are more than the {max} that there can be"
        );
        self.usize(&mut len)?;
        self.check(len <= max, "a list is too long")?;
        Ok(len)
    }

    /// Bytes, at most `max`.
    ///
    /// # Errors
    /// [`Damaged`] if there are more, or fewer than it says.
    pub fn bytes(&mut self, value: &mut Vec<u8>, max: usize) -> Result<(), Damaged> {
        let len = self.length(value.len(), max)?;
        if let Codec::Load(rest) = self {
            require(len <= rest.len(), "it ends early")?;
            value.resize(len, 0);
        }
        self.array(value)
    }

    /// What may be there.
    ///
    /// # Errors
    /// [`Damaged`] as `one` says.
    pub fn option<T: Default>(
        &mut self,
        value: &mut Option<T>,
        one: impl FnOnce(&mut Self, &mut T) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let mut there = value.is_some();
        self.bool(&mut there)?;
        if !there {
            *value = None;
            return Ok(());
        }
        one(self, value.get_or_insert_default())
    }

    /// Things in order, at most `max`.
    ///
    /// # Errors
    /// [`Damaged`] if there are more, or as `one` says.
    pub fn list<T: Default>(
        &mut self,
        values: &mut Vec<T>,
        max: usize,
        mut one: impl FnMut(&mut Self, &mut T) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let len = self.length(values.len(), max)?;
        if self.is_loading() {
            values.clear();
            for _ in 0..len {
                // One by one: a length is only a promise.
                let mut value = T::default();
                one(self, &mut value)?;
                values.push(value);
            }
            return Ok(());
        }
        values.iter_mut().try_for_each(|value| one(self, value))
    }

    /// Things whose number is configuration.
    ///
    /// # Errors
    /// [`Damaged`] as `one` says.
    pub fn each<T>(
        &mut self,
        values: &mut [T],
        one: impl FnMut(&mut Self, &mut T) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let mut one = one;
        values.iter_mut().try_for_each(|value| one(self, value))
    }

    /// Bytes that wait in line, at most `max`.
    ///
    /// # Errors
    /// [`Damaged`] if there are more, or fewer than it says.
    pub fn queue(&mut self, value: &mut VecDeque<u8>, max: usize) -> Result<(), Damaged> {
        let mut bytes: Vec<u8> = value.iter().copied().collect();
        self.bytes(&mut bytes, max)?;
        *value = bytes.into();
        Ok(())
    }

    /// Things by key, at most `max`, in the order of their keys.
    ///
    /// # Errors
    /// [`Damaged`] if there are more, a key comes twice or out of order, or as `one` says.
    pub fn map<K: Clone + Default + Ord, V: Default>(
        &mut self,
        map: &mut BTreeMap<K, V>,
        max: usize,
        mut one: impl FnMut(&mut Self, &mut K, &mut V) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let len = self.length(map.len(), max)?;
        if self.is_loading() {
            map.clear();
            for _ in 0..len {
                let (mut key, mut value) = (K::default(), V::default());
                one(self, &mut key, &mut value)?;
                let rises = map.last_key_value().is_none_or(|(last, _)| *last < key);
                self.check(rises, "keys are not in order")?;
                map.insert(key, value);
            }
            return Ok(());
        }
        for (key, value) in map {
            one(self, &mut key.clone(), value)?;
        }
        Ok(())
    }

    /// While loading: something that has to hold for what was read so far.
    ///
    /// # Errors
    /// [`Damaged`] with this sentence if it does not.
    pub fn check(&self, holds: bool, what: &'static str) -> Result<(), Damaged> {
        debug_assert!(self.is_loading() || holds, "a state that cannot be: {what}");
        require(holds, what)
    }
}

fn require(holds: bool, what: &'static str) -> Result<(), Damaged> {
    if holds { Ok(()) } else { Err(Damaged { what }) }
}
