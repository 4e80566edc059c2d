//! Recording a run: the file, the disk below it, and what is said of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context, Result};
use devices::virtio::block::Seen;
use session::Stop;
use timeline::{Around, Full, OnFull, Origin, Recorded, Spacing, Subject};
use tracing::{info, warn};
use vmm::AnyDisk;

use crate::args::{self, World};
use crate::recipe::Recipe;
use crate::{disk, say, threads};

/// How long a run whose disk is full waits before it tries again.
const PATIENCE: Duration = Duration::from_millis(200);

/// A recording that ended before its run.
#[derive(Debug, thiserror::Error)]
#[error("the recording is not complete: it ends before the run does")]
pub(crate) struct RecordError {
    source: traces::WriteError,
}

/// A recording whose file is there, and nothing in it.
pub(crate) struct Recorder {
    path: PathBuf,
    writer: traces::Writer,
    /// What a guest began with that has run already.
    origin: Option<Origin>,
    with_events: bool,
    on_full: OnFull,
}

/// A recording whose thread is there.
pub(crate) struct Begun {
    recorder: timeline::Recorder,
    on_full: OnFull,
    path: PathBuf,
}

/// The disk of a recipe; with a file to record in, one of which it is known what was read.
pub(crate) fn open_disk(recipe: &Recipe, record: Option<&PathBuf>) -> Result<Option<AnyDisk>> {
    let Some(disk) = &recipe.disk else { return Ok(None) };
    let opened = if record.is_some() { disk::open_recorded(disk)? } else { disk::open(disk)? };
    Ok(Some(opened))
}

/// A number that no other recording has.
pub(crate) fn new_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut id).context("reading /dev/urandom")?;
    Ok(id)
}

/// Creates the file of `--record`.
pub(crate) fn start(
    header: impl FnOnce([u8; 16]) -> traces::Header,
    world: &World,
) -> Result<Option<Recorder>> {
    let Some(path) = &world.record else { return Ok(None) };
    let writer = traces::Writer::create(path, &header(new_id()?))
        .with_context(|| format!("--record {}", path.display()))?;
    info!(path = %path.display(), "recording");
    Ok(Some(Recorder {
        path: path.clone(),
        writer,
        origin: None,
        with_events: !world.inputs_only,
        on_full: match world.on_full {
            args::OnFull::Pause => OnFull::Pause,
            args::OnFull::Continue => OnFull::Continue,
            args::OnFull::Stop => OnFull::Stop,
        },
    }))
}

impl Recorder {
    /// For a guest that goes on from somewhere; `seen` is what is known of its disk's image.
    pub(crate) fn resuming(mut self, origin: Origin, seen: &[Seen]) -> Result<Self> {
        for seen in seen {
            timeline::put_on_record(&mut self.writer, seen)
                .with_context(|| format!("--record {}", self.path.display()))?;
        }
        self.origin = Some(origin);
        Ok(self)
    }

    /// Starts the thread that packs.
    pub(crate) fn begin(self) -> Result<Begun> {
        let Self { path, writer, origin, with_events, on_full } = self;
        let mut started = Ok(());
        let spacing = Spacing::default();
        let recorder = timeline::Recorder::new(writer, with_events, spacing, |packer| {
            started = threads::start("packer", packer).map(drop);
        });
        started?;
        let recorder = match origin {
            Some(origin) => recorder.resuming(origin),
            None => recorder,
        };
        Ok(Begun { recorder, on_full, path })
    }
}

impl Begun {
    /// Runs a subject and records it.
    pub(crate) fn record(
        self,
        subject: &mut dyn Subject,
        around: Around<'_>,
        max_steps: Option<u64>,
        quit: &Arc<AtomicBool>,
    ) -> Recorded {
        let mut told = false;
        let mut wait = |error: &traces::WriteError| {
            if !std::mem::replace(&mut told, true) {
                warn!("{error}: the guest waits for room");
                say::note(&format!(
                    "\r\nduvisor: {}: {error}: the guest waits for room",
                    self.path.display()
                ));
            }
            park_timeout(PATIENCE);
            !quit.load(Ordering::Relaxed)
        };
        let mut full = Full { policy: self.on_full, wait: &mut wait };
        self.recorder.record(subject, around, max_steps, &mut full)
    }
}

/// Says how a recording ended.
///
/// # Errors
/// [`RecordError`] if it ended before its run.
pub(crate) fn tell(recorded: Recorded) -> Result<Stop> {
    if let Some(source) = recorded.failed {
        return Err(RecordError { source }.into());
    }
    if let Some(head) = recorded.head {
        info!(head = %blake3::Hash::from_bytes(head), "the recording is complete");
    }
    Ok(recorded.stop)
}
