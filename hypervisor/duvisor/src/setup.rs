//! From options to what a run is made of: seeds, clocks, scripts, extensions, device trees.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use isa::Extensions;
use session::Script;
use tracing::{debug, info};

use crate::args::{Conditions, World};
use crate::confine;
use crate::guest;
use crate::values::{RtcBase, Seed};

/// The host's clock, for `--seed host` and `--rtc-base host` only.
#[expect(clippy::disallowed_methods, reason = "the user asked for the host's time by name")]
fn host_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The seed of the entropy device.
pub(crate) fn seed(conditions: &Conditions) -> Result<u64> {
    match conditions.seed {
        Seed::Number(seed) => Ok(seed),
        Seed::Host => {
            let mut bytes = [0; 8];
            let mut source = std::fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
            std::io::Read::read_exact(&mut source, &mut bytes).context("reading /dev/urandom")?;
            Ok(u64::from_le_bytes(bytes))
        }
    }
}

/// What the guest's clock says when guest time is zero.
pub(crate) fn rtc_base_ns(conditions: &Conditions) -> u64 {
    match conditions.rtc_base {
        RtcBase::Seconds(seconds) => seconds.saturating_mul(1_000_000_000),
        // Whole seconds, as an option could say it.
        RtcBase::Host => host_ns() / 1_000_000_000 * 1_000_000_000,
    }
}

/// The script of `--script`.
pub(crate) fn script(world: &World) -> Result<Option<Script>> {
    let Some(path) = &world.script else { return Ok(None) };
    let text = String::from_utf8(guest::read(path, "script")?)
        .with_context(|| format!("the script {} is not UTF-8 text", path.display()))?;
    let script = Script::parse(&text).with_context(|| format!("the script {}", path.display()))?;
    debug!(path = %path.display(), "script");
    Ok(Some(script))
}

/// The extensions of `--isa`.
pub(crate) fn extensions(text: Option<&str>, default: Extensions) -> Result<Extensions> {
    let Some(text) = text else { return Ok(default) };
    Extensions::parse(text, default).map_err(|error| anyhow!("--isa {text}: {error}"))
}

/// Whether the host gives a guest its memory, `ram` bytes with what belongs to it. Asking costs
/// nothing; not asking would end the program where there is none.
pub(crate) fn can_allocate(memory: u64, ram: u64) -> Result<()> {
    let asked = usize::try_from(ram).ok().map(|ram| Vec::<u8>::new().try_reserve_exact(ram));
    match asked {
        Some(Ok(())) => Ok(()),
        _ => bail!("--mem: this host does not give a guest {memory} bytes: expected less"),
    }
}

/// Logs what is where in memory before the guest starts.
pub(crate) fn log_memory(
    base: u64,
    end: u64,
    entry: u64,
    segments: impl Iterator<Item = (u64, u64)>,
) {
    info!("RAM at {base:#x} to {end:#x}, entry {entry:#x}");
    for (addr, size) in segments {
        debug!("payload at {addr:#x} to {:#x}", addr.saturating_add(size));
    }
}

/// Writes a device tree blob for `--dump-dtb`.
pub(crate) fn dump_dtb(path: &Path, blob: &[u8]) -> Result<u8> {
    confine::create(path)
        .and_then(|mut file| file.write_all(blob))
        .with_context(|| format!("writing the device tree to {}", path.display()))?;
    Ok(0)
}
