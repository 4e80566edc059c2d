//! Physical memory that no VM has: ranges by rising address, first fit. All of it is zero.

#[cfg(test)]
mod tests;

use std::ops::Range;

use hart::checks::on;
use isa::Check;

/// Free memory.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// Disjoint, not adjacent, not empty.
    free: Vec<Range<u64>>,
}

/// The next multiple of `align`, a power of two, if there is one.
pub(crate) fn align_up(value: u64, align: u64) -> Option<u64> {
    Some(value.checked_add(align - 1)? & !(align - 1))
}

impl Frames {
    pub(crate) fn new(all: Range<u64>) -> Self {
        Self { free: if all.is_empty() { Vec::new() } else { vec![all] } }
    }

    /// Takes `size` bytes at a multiple of `align`, a power of two.
    pub(crate) fn take(&mut self, size: u64, align: u64) -> Option<u64> {
        let fits = |range: &Range<u64>| {
            let begin = align_up(range.start, align)?;
            let end = begin.checked_add(size)?;
            (size != 0 && end <= range.end).then_some(begin..end)
        };
        let (at, taken) =
            self.free.iter().enumerate().find_map(|(at, range)| Some((at, fits(range)?)))?;
        if !on(Check::WindowsApart) {
            return Some(taken.start);
        }
        let old = self.free.remove(at);
        let rest = [old.start..taken.start, taken.end..old.end];
        for (i, range) in rest.into_iter().filter(|range| !range.is_empty()).enumerate() {
            self.free.insert(at + i, range);
        }
        Some(taken.start)
    }

    /// Takes just this memory, which is not empty. `false` if not all of it is free.
    pub(crate) fn take_at(&mut self, hpa: u64, size: u64) -> bool {
        let Some(end) = hpa.checked_add(size).filter(|end| *end > hpa) else { return false };
        let found = self.free.iter().position(|range| range.start <= hpa && end <= range.end);
        let Some(at) = found else { return false };
        let old = self.free.remove(at);
        let rest = [old.start..hpa, end..old.end];
        for (i, range) in rest.into_iter().filter(|range| !range.is_empty()).enumerate() {
            self.free.insert(at + i, range);
        }
        true
    }

    /// Gives back what was taken; it has to be zero again.
    pub(crate) fn give_back(&mut self, hpa: u64, size: u64) {
        if size == 0 {
            return;
        }
        let at = self.free.partition_point(|range| range.start < hpa);
        self.free.insert(at, hpa..hpa + size);
        self.free.dedup_by(|later, earlier| {
            let joins = earlier.end == later.start;
            if joins {
                earlier.end = later.end;
            }
            joins
        });
    }

    /// Bytes that nobody has.
    pub(crate) fn bytes(&self) -> u64 {
        self.free.iter().map(|range| range.end - range.start).sum()
    }
}
