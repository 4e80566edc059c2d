//! Images that a recording names: where they are now, and whether they are what they were.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use images::{Catalogue, Source};

use crate::recipe::{Image, Role};

/// What the names of guests that come with this program begin with.
pub(crate) const GUEST: &str = "guest ";

/// Finds an image: in this program, where it was, or in the folder of `--images`.
pub(crate) fn find(wanted: &traces::Image, folder: Option<&Path>) -> Result<Image> {
    let role = Role::ALL.iter().find(|(_, name)| *name == wanted.role).map(|(role, _)| *role);
    let role = role.ok_or_else(|| anyhow!("the recording has an image for {:?}", wanted.role))?;
    if let Some(guest) = wanted.name.strip_prefix(GUEST) {
        let catalogue = Catalogue::new();
        let Some(Source::Embedded(bytes)) = catalogue.get(guest).map(|guest| guest.source) else {
            bail!("the recording is of the guest {guest}, which does not come with this program");
        };
        check(wanted, bytes, &format!("the guest {guest} of this program"))?;
        return Ok(Image::new(role, wanted.name.clone(), bytes.to_vec()));
    }
    let mut reasons = Vec::new();
    for path in places(wanted, folder)? {
        match read(wanted, &path) {
            Ok(bytes) => return Ok(Image::new(role, path.display().to_string(), bytes)),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    if reasons.is_empty() {
        reasons.push("no file there has its length".to_owned());
    }
    bail!(
        "the {} {} of the recording is not to be had: {}; --images names a folder with it",
        wanted.role,
        wanted.name,
        reasons.join("; ")
    )
}

/// Where it may be: a folder that was named is looked at first.
fn places(wanted: &traces::Image, folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    if let Some(folder) = folder {
        let entries = std::fs::read_dir(folder);
        let entries = entries.with_context(|| format!("--images {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("--images {}", folder.display()))?;
            let same = entry.metadata().is_ok_and(|it| it.is_file() && it.len() == wanted.bytes);
            if same {
                places.push(entry.path());
            }
        }
        places.sort();
    }
    places.push(PathBuf::from(&wanted.name));
    Ok(places)
}

/// Reads a file if it is what was recorded; no more of it than was recorded.
fn read(wanted: &traces::Image, path: &Path) -> Result<Vec<u8>> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("opening {name}"))?;
    let metadata = file.metadata().with_context(|| format!("opening {name}"))?;
    if !metadata.is_file() {
        bail!("{name} is not a file");
    }
    if metadata.len() != wanted.bytes {
        bail!("{name} has {} bytes, it was recorded with {}", metadata.len(), wanted.bytes);
    }
    let mut bytes = Vec::new();
    let limited = file.take(wanted.bytes).read_to_end(&mut bytes);
    limited.with_context(|| format!("reading {name}"))?;
    check(wanted, &bytes, &name.to_string())?;
    Ok(bytes)
}

fn check(wanted: &traces::Image, bytes: &[u8], name: &str) -> Result<()> {
    let (found, recorded) = (blake3::hash(bytes), blake3::Hash::from_bytes(wanted.hash));
    if found == recorded {
        return Ok(());
    }
    bail!("{name} has changed: its BLAKE3 is {found}, it was recorded with {recorded}")
}
