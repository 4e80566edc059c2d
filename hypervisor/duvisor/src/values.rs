//! Values of options: how they are written, and what is said when they are wrong.

use std::path::PathBuf;
use std::str::FromStr;

/// A number of bytes: `4096`, `64K`, `256M`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size such as 256M or 2G".to_owned();
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().ok().ok_or_else(wrong)?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
        if bytes == 0 || bytes % 4096 != 0 {
            return Err(format!("{text} is not a positive number of 4 KiB pages"));
        }
        Ok(Self(bytes))
    }
}

/// What happens to writes of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskMode {
    /// They go to memory and are dropped at the end.
    Private,
    /// They fail.
    ReadOnly,
    /// They go to the image.
    ReadWrite,
}

impl DiskMode {
    pub(crate) const ALL: [Self; 3] = [Self::Private, Self::ReadOnly, Self::ReadWrite];

    /// What recordings call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

/// `IMG`, `IMG,ro` or `IMG,rw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) mode: DiskMode,
}

impl FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, mode) = match text.rsplit_once(',') {
            Some((path, "ro")) => (path, DiskMode::ReadOnly),
            Some((path, "rw")) => (path, DiskMode::ReadWrite),
            Some((_, mode)) if mode.len() == 2 => {
                return Err(format!("{mode} is not a mode of a disk: expected ro or rw"));
            }
            _ => (text, DiskMode::Private),
        };
        if path.is_empty() {
            return Err("expected the path of a disk image".to_owned());
        }
        Ok(Self { path: path.into(), mode })
    }
}

/// A seed: a number, or one from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    Number(u64),
    Host,
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        number(text).map(Self::Number).ok_or_else(|| "expected a number, or host".to_owned())
    }
}

/// What the real-time clock starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RtcBase {
    Seconds(u64),
    Host,
}

impl FromStr for RtcBase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let seconds = number(text).filter(|n| n.checked_mul(1_000_000_000).is_some());
        seconds.map(Self::Seconds).ok_or_else(|| "expected seconds since 1970, or host".to_owned())
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_units_and_are_whole_pages() {
        assert_eq!("256M".parse(), Ok(Size(256 << 20)));
        assert_eq!("2GiB".parse(), Ok(Size(2 << 30)));
        assert_eq!("8192".parse(), Ok(Size(8192)));
        for wrong in ["", "M", "12Q", "0", "100", "99999999999999999999G", "17179869184G"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn disks_are_private_unless_told_otherwise() {
        let disk = |text: &str| text.parse::<Disk>().map(|disk| (disk.path, disk.mode));
        assert_eq!(disk("a,b.img"), Ok(("a,b.img".into(), DiskMode::Private)));
        assert_eq!(disk("a.img,rw"), Ok(("a.img".into(), DiskMode::ReadWrite)));
        assert_eq!(disk("a.img,ro"), Ok(("a.img".into(), DiskMode::ReadOnly)));
        assert!(disk("a.img,xx").is_err());
        assert!(disk(",rw").is_err());
    }

    #[test]
    fn seeds_and_clocks_may_come_from_the_host_by_name() {
        assert_eq!("0x10".parse(), Ok(Seed::Number(16)));
        assert_eq!("host".parse(), Ok(Seed::Host));
        assert_eq!("12".parse(), Ok(RtcBase::Seconds(12)));
        assert!("99999999999999".parse::<RtcBase>().is_err());
        assert!("x".parse::<Seed>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_in_bounds_or_not(
            text in prop_oneof![
                "[0-9]{1,21}[kKmMgGiIbB]{0,3}",
                "(0x)?[0-9a-f]{1,17}",
                "\\PC{0,20}",
            ],
        ) {
            if let Ok(Size(bytes)) = text.parse::<Size>() {
                prop_assert!(bytes > 0 && bytes.is_multiple_of(4096));
            }
            if let Ok(disk) = text.parse::<Disk>() {
                prop_assert!(!disk.path.as_os_str().is_empty());
            }
            if let Ok(RtcBase::Seconds(seconds)) = text.parse() {
                prop_assert!(seconds <= u64::MAX / 1_000_000_000);
            }
            let _ = text.parse::<Seed>();
        }
    }
}
