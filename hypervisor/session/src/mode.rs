//! How a privilege mode stands in serialised events: as its name in the manual.

use isa::Mode;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

const MODES: [(Mode, &str); 6] = [
    (Mode::M, "M"),
    (Mode::Hs, "HS"),
    (Mode::U, "U"),
    (Mode::Hu, "HU"),
    (Mode::Vs, "VS"),
    (Mode::Vu, "VU"),
];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) fn serialize<S: Serializer>(mode: &Mode, to: S) -> Result<S::Ok, S::Error> {
    let name = MODES.iter().find(|(m, _)| m == mode).map_or("?", |(_, name)| name);
    to.serialize_str(name)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
    let text = String::deserialize(from)?;
    let found = MODES.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode);
    found.ok_or_else(|| D::Error::custom("expected a privilege mode: M, HS, U, HU, VS or VU"))
}
