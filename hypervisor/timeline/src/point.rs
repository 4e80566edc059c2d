//! A moment of a recording, as people write it.

use std::str::FromStr;

use crate::error::TravelError;
use crate::player::{Player, Progress};

/// A moment of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Where the recording begins.
    Start,
    /// Where it ends.
    End,
    /// The guest has made so many steps.
    Step(u64),
    /// So many millionths of the recorded steps have been made.
    Millionths(u64),
    /// The first moment with at least this guest time in ns.
    Time(u64),
    /// The first moment at which the event with this number has been sent.
    Event(u64),
}

/// What is expected where a point is not one.
const EXPECTED: &str = "expected a step (1200000, 1.2M), a share (50%), a guest time (2.5s, 300ms, \
     10us), an event (#4711), start or end";

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no moment of a recording: {EXPECTED}");
        if text == "start" {
            return Ok(Self::Start);
        }
        if text == "end" {
            return Ok(Self::End);
        }
        if let Some(number) = text.strip_prefix('#') {
            return number.parse().map(Self::Event).or(Err(wrong()));
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
        let unit = &text[digits.len()..];
        let (unit, make): (u64, fn(u64) -> Self) = match unit {
            "" => (1, Self::Step),
            "k" | "K" => (1_000, Self::Step),
            "M" => (1_000_000, Self::Step),
            "G" => (1_000_000_000, Self::Step),
            "%" => (10_000, Self::Millionths),
            "ns" => (1, Self::Time),
            "us" => (1_000, Self::Time),
            "ms" => (1_000_000, Self::Time),
            "s" => (1_000_000_000, Self::Time),
            _ => return Err(wrong()),
        };
        let value = scaled(digits, unit).ok_or_else(wrong)?;
        let point = make(value);
        if matches!(point, Self::Millionths(1_000_001..)) { Err(wrong()) } else { Ok(point) }
    }
}

/// A decimal number times a unit, without what is less than one.
fn scaled(text: &str, unit: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 12 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(unit) / scale;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// The step at so many millionths of the way from one step to another.
#[must_use]
pub fn share(first: u64, last: u64, millionths: u64) -> u64 {
    let steps = u128::from(last - first) * u128::from(millionths) / 1_000_000;
    first + u64::try_from(steps).unwrap_or(0)
}

impl Player {
    /// Goes to a point.
    ///
    /// # Errors
    /// [`TravelError`]
    pub fn go(&mut self, point: Point, progress: Progress<'_>) -> Result<(), TravelError> {
        let (first, last) = (self.first().step, self.last().step);
        match point {
            Point::Start => self.seek(first, progress),
            Point::End => {
                self.seek(last, progress)?;
                return self.finish();
            }
            Point::Step(step) if (first..=last).contains(&step) => self.seek(step, progress),
            Point::Step(step) => {
                let range = format!("{first} to {last}");
                return Err(TravelError::Query(format!(
                    "step {step} is not recorded: {range} are"
                )));
            }
            Point::Millionths(part) => self.seek(share(first, last, part), progress),
            Point::Time(time_ns) => self.seek_time(time_ns, progress),
            Point::Event(seq) => self.seek_event(seq, progress),
        }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_steps_shares_times_events_and_the_two_ends() {
        assert_eq!("start".parse(), Ok(Point::Start));
        assert_eq!("end".parse(), Ok(Point::End));
        assert_eq!("1200".parse(), Ok(Point::Step(1200)));
        assert_eq!("1.25M".parse(), Ok(Point::Step(1_250_000)));
        assert_eq!("50%".parse(), Ok(Point::Millionths(500_000)));
        assert_eq!("0.0001%".parse(), Ok(Point::Millionths(1)));
        assert_eq!("2.5s".parse(), Ok(Point::Time(2_500_000_000)));
        assert_eq!("#12".parse(), Ok(Point::Event(12)));
        for wrong in ["", "x", "1.", ".", "101%", "5q", "#", "99999999999999G", "-1", "1.5.2s"] {
            assert!(wrong.parse::<Point>().is_err(), "{wrong}");
        }
    }
}
