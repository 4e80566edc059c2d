//! The guests that come with the program, and Debian, which is fetched.
//!
//! `guests/guests.toml` says what each guest is; this file only embeds the images. A guest whose
//! row or image is missing fails a test here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::debian;

/// Where a guest's image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An ELF program that is part of this program.
    Embedded(&'static [u8]),
    /// What [`debian::fetch`] left in the cache.
    Debian,
}

/// A guest that can be run by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// What one types to run it.
    pub name: String,
    /// What it shows, in a line.
    pub description: String,
    /// How many vCPUs it is meant for.
    pub vcpus: u16,
    /// How its run ends, in the words of `guests.toml`: `poweroff 0`, `forever`.
    pub expect: String,
    /// Its image.
    pub source: Source,
}

/// All guests, in the order of their names.
#[derive(Debug, Clone)]
pub struct Catalogue {
    guests: BTreeMap<String, Guest>,
}

/// `guests/guests.toml`.
#[derive(Debug, Deserialize)]
struct File {
    guest: BTreeMap<String, Row>,
}

/// One `[guest.<name>]`. The file has more keys, for those who build and test the guests.
#[derive(Debug, Deserialize)]
struct Row {
    vcpus: u16,
    description: String,
    expect: String,
}

const MANIFEST: &str = include_str!("../../../guests/guests.toml");

/// Embeds `guests/prebuilt/<name>.elf` for each name.
macro_rules! embedded {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../guests/prebuilt/", $name, ".elf")))),*]
    };
}

/// The images, by name.
const IMAGES: &[(&str, &[u8])] = embedded! {
    "demo" "hello" "timer" "ipi" "hsm" "wfi" "sbi_probe"
    "two_stage_fault" "fetch_fault" "mmio_widths" "uart_irq" "virtual_instruction"
    "misaligned" "satp_switch" "sfence_reuse" "smc"
    "amo_contend" "amo_fault" "lr_sc" "fp"
};

impl Catalogue {
    /// The guests of this build.
    pub fn new() -> Catalogue {
        let rows = rows();
        let images: BTreeMap<&str, &'static [u8]> = IMAGES.iter().copied().collect();
        let embedded = rows.into_iter().filter_map(|(name, row)| {
            let source = Source::Embedded(images.get(name.as_str())?);
            let Row { vcpus, description, expect } = row;
            Some((name.clone(), Guest { name, description, vcpus, expect, source }))
        });
        let mut guests: BTreeMap<String, Guest> = embedded.collect();
        guests.insert("debian".to_owned(), debian_guest());
        Catalogue { guests }
    }

    /// The guest of a name.
    pub fn get(&self, name: &str) -> Option<&Guest> {
        self.guests.get(name)
    }

    /// All guests, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Guest> {
        self.guests.values()
    }
}

fn rows() -> BTreeMap<String, Row> {
    let file: File = toml::from_str(MANIFEST).expect("guests.toml was read by a test");
    file.guest
}

fn debian_guest() -> Guest {
    Guest {
        name: "debian".to_owned(),
        description: format!("the unmodified kernel of Debian {} and busybox", debian::SUITE),
        vcpus: 2,
        expect: "poweroff 0".to_owned(),
        source: Source::Debian,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    #[test]
    fn every_row_of_the_manifest_is_embedded() {
        let rows = rows();
        let rows: Vec<&str> = rows.keys().map(String::as_str).collect();
        let mut images: Vec<&str> = IMAGES.iter().map(|(name, _)| *name).collect();
        images.sort_unstable();
        assert_eq!(rows, images, "guests.toml (left) and IMAGES in catalogue.rs (right) differ");
    }

    #[test]
    fn every_embedded_guest_is_a_program_for_ram() {
        for (name, bytes) in IMAGES {
            let payload = Payload::parse(bytes, 0x8000_0000)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let (start, end) = payload.span();
            assert!(start >= 0x8000_0000 && end <= 0x8200_0000, "{name}: {start:#x}..{end:#x}");
        }
    }

    #[test]
    fn guests_are_found_by_name() {
        let catalogue = Catalogue::new();
        let hello = catalogue.get("hello").unwrap();
        assert!(matches!(hello.source, Source::Embedded(bytes) if bytes.starts_with(b"\x7fELF")));
        assert_eq!((hello.vcpus, hello.expect.as_str()), (1, "poweroff 0"));
        assert_eq!(catalogue.get("debian").unwrap().source, Source::Debian);
        assert!(catalogue.get("Hello").is_none());
        assert_eq!(catalogue.iter().count(), IMAGES.len() + 1);
    }
}
