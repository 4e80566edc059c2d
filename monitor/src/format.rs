//! Numbers as text of a fixed width, so that digits do not jump.

const SCALE: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// The integer part of a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and a NaN becomes 0"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

/// Three significant digits and the letter of the scale: `  0`, `999`, `1.24M`, ` 412k`.
pub(crate) fn si(value: f64) -> String {
    digits(value, 1000.0, &SCALE)
}

/// [`si`] of a count.
pub(crate) fn count(value: u64) -> String {
    si(value as f64)
}

/// Bytes in binary units: ` 212 MiB`.
pub(crate) fn bytes(value: u64) -> String {
    digits(value as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// A duration: `850ns`, `1.24µs`.
pub(crate) fn nanos(value: u64) -> String {
    digits(value as f64, 1000.0, &["ns", "µs", "ms", "s", "ks", "Ms", "Gs"])
}

fn digits(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value.max(0.0);
    let mut unit = 0;
    // 999.5 would print as 1000, which is a digit too wide.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let suffix = units[unit];
    if unit == 0 || value >= 99.95 {
        format!("{value:.0}{suffix}")
    } else if value >= 9.995 {
        format!("{value:.1}{suffix}")
    } else {
        format!("{value:.2}{suffix}")
    }
}

/// A moment of guest time: `00:12:31.480`.
pub(crate) fn clock(time_ns: u64) -> String {
    let ms = time_ns / 1_000_000;
    let (s, m, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    format!("{h:02}:{:02}:{:02}.{:03}", m % 60, s % 60, ms % 1000)
}

/// How much guest time lies between two moments, with no more digits than can be read.
pub(crate) fn ahead(time_ns: u64) -> String {
    let s = time_ns / 1_000_000_000;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// A share of a whole in percent.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.5 { "<1%".into() } else { format!("{percent:.0}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_wider_than_their_column() {
        let mut value = 0u64;
        while value < u64::MAX / 3 {
            for v in [value, value.saturating_sub(1), value + 1] {
                assert!(count(v).len() <= 5, "{}", count(v));
                assert!(nanos(v).chars().count() <= 6, "{}", nanos(v));
                assert!(bytes(v).len() <= 8, "{}", bytes(v));
            }
            value = value / 9 * 10 + value % 9 + 1;
        }
    }

    #[test]
    fn numbers_read_well() {
        let all: Vec<String> = [0, 7, 999, 1000, 1240, 12_400, 999_499, 999_500, 1_240_000]
            .iter()
            .map(|n| count(*n))
            .collect();
        assert_eq!(all, ["0", "7", "999", "1.00k", "1.24k", "12.4k", "999k", "1.00M", "1.24M"]);
        assert_eq!(nanos(850), "850ns");
        assert_eq!(nanos(1240), "1.24µs");
        assert_eq!(bytes(512 << 20), "512 MiB");
        assert_eq!(clock(751_480_000_000), "00:12:31.480");
        assert_eq!(ahead(61_000_000_000), "1 min 01 s");
        assert_eq!(percent(0.004), "<1%");
        assert_eq!(percent(0.41), "41%");
        assert_eq!(whole(f64::NAN), 0);
    }
}
