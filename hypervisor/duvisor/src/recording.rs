//! Recording a run: the file, the disk below it, and what is said of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use devices::virtio::block::Seen;
use sandbox::Ui;
use session::Stop;
use timeline::{
    Around, Full, Held, History, Kept, Means, OnFull, Origin, Recorded, SaveError, Saved, Spacing,
    Subject, Why,
};
use tracing::{info, warn};
use vmm::AnyDisk;

use crate::args::{self, Keep, World};
use crate::recipe::Recipe;
use crate::saver::Saver;
use crate::values::DiskMode;
use crate::{disk, report, say, threads};

/// How long a run whose disk is full waits before it tries again.
const PATIENCE: Duration = Duration::from_millis(200);

/// A recording that ended before its run.
#[derive(Debug, thiserror::Error)]
#[error("the recording is not complete: it ends before the run does")]
pub(crate) struct RecordError {
    source: traces::WriteError,
}

/// Bytes of keyframes that a run keeps in memory unless it is told otherwise.
const HISTORY: u64 = 256 << 20;

/// A recording that has not begun.
pub(crate) enum Recorder {
    /// A file is there, and nothing in it.
    File(Box<ToFile>),
    /// The run is kept in memory.
    Memory {
        kept: Box<Kept>,
        /// It is saved where it fails.
        on_crash: bool,
    },
}

/// Of a recording to a file.
pub(crate) struct ToFile {
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
    /// It is saved where it fails.
    on_crash: bool,
}

/// The disk of a recipe; of a run that is recorded, one of which it is known what was read.
pub(crate) fn open_disk(recipe: &Recipe, world: &World, keep: &Keep) -> Result<Option<AnyDisk>> {
    let Some(disk) = &recipe.disk else { return Ok(None) };
    let recorded = world.record.is_some() || history(recipe, world, keep) > 0;
    Ok(Some(if recorded { disk::open_recorded(disk)? } else { disk::open(disk)? }))
}

/// Bytes of keyframes that are kept in memory; with 0 nothing is.
fn history(recipe: &Recipe, world: &World, keep: &Keep) -> u64 {
    if world.record.is_some() {
        return 0;
    }
    let asked = keep.save.is_some() || keep.save_on_crash.is_some();
    // Of a disk that is written in place much would have to be kept.
    let in_place = recipe.disk.as_ref().is_some_and(|disk| disk.mode == DiskMode::ReadWrite);
    let default = if asked || recipe.kind.is_vm() && !in_place { HISTORY } else { 0 };
    keep.history.unwrap_or(default)
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
    Ok(Some(Recorder::File(Box::new(ToFile {
        path: path.clone(),
        writer,
        origin: None,
        with_events: !world.inputs_only,
        on_full: match world.on_full {
            args::OnFull::Pause => OnFull::Pause,
            args::OnFull::Continue => OnFull::Continue,
            args::OnFull::Stop => OnFull::Stop,
        },
    }))))
}

/// Creates the file of `--record`, or what keeps a run in memory that is not recorded.
pub(crate) fn start_or_keep(
    recipe: &Recipe,
    world: &World,
    keep: &Keep,
    ui: Ui,
) -> Result<Option<Recorder>> {
    let history = usize::try_from(history(recipe, world, keep)).unwrap_or(usize::MAX);
    if history == 0 && (keep.save.is_some() || keep.save_on_crash.is_some()) {
        bail!("--history 0: there would be nothing to save");
    }
    if history == 0 {
        return start(|id| recipe.header(id), world);
    }
    let kept = Kept::new(History::new(history), means(recipe, keep, ui)?);
    Ok(Some(Recorder::Memory { kept: Box::new(kept), on_crash: keep.save_on_crash.is_some() }))
}

/// What a run that is kept in memory needs: everything is opened and started here.
fn means(recipe: &Recipe, keep: &Keep, ui: Ui) -> Result<Means> {
    let mut saver = Saver::start(&recipe.name, keep)?;
    let header = recipe.header(new_id()?);
    Ok(Means {
        header,
        save: Box::new(move |why, at, recording| saver.save(why, at, recording)),
        told: Box::new(move |saved| tell_saved(saved, ui)),
    })
}

/// Says what became of a wish to save the run.
fn tell_saved(saved: &Result<Saved, SaveError>, ui: Ui) {
    let text = match saved {
        Ok(Saved { file, steps, bytes }) => format!("saved {file}: {steps} steps, {bytes} bytes"),
        Err(error) => format!("the run was not saved: {error}"),
    };
    info!("{text}");
    // The terminal UI hears it as an answer.
    if ui == Ui::Headless {
        say::note(&format!("\r\nduvisor: {text}"));
    }
}

impl Recorder {
    /// Whether it writes to a file.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// For a guest that goes on from somewhere; `seen` is what is known of its disk's image.
    pub(crate) fn resuming(mut self, origin: Origin, seen: &[Seen]) -> Result<Self> {
        let Self::File(file) = &mut self else { return Ok(self) };
        for seen in seen {
            timeline::put_on_record(&mut file.writer, seen)
                .with_context(|| format!("--record {}", file.path.display()))?;
        }
        file.origin = Some(origin);
        Ok(self)
    }

    /// Starts the thread that packs.
    pub(crate) fn begin(self) -> Result<Begun> {
        let ToFile { path, writer, origin, with_events, on_full } = match self {
            Self::File(file) => *file,
            Self::Memory { kept, on_crash } => {
                let recorder = timeline::Recorder::in_memory(*kept);
                let (on_full, path) = (OnFull::Pause, PathBuf::new());
                return Ok(Begun { recorder, on_full, path, on_crash });
            }
        };
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
        Ok(Begun { recorder, on_full, path, on_crash: false })
    }
}

impl Begun {
    /// Runs a subject and records it; gives why it ended, and what is kept of it in memory.
    ///
    /// # Errors
    /// [`RecordError`] if the recording ended before the run.
    pub(crate) fn record(
        self,
        subject: &mut dyn Subject,
        around: Around<'_>,
        max_steps: Option<u64>,
        quit: &Arc<AtomicBool>,
    ) -> Result<(Stop, Option<Kept>)> {
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
        let recorded = self.recorder.record(subject, around, max_steps, &mut full);
        finish(recorded, subject, self.on_crash)
    }
}

/// Says how a recording ended; what is kept of the run in memory is saved first if it ended badly
/// and the user wants that.
fn finish(
    recorded: Recorded,
    subject: &dyn Subject,
    on_crash: bool,
) -> Result<(Stop, Option<Kept>)> {
    let Recorded { stop, head, failed, mut kept, panicked } = recorded;
    let bad = panicked.is_some() || report::is_crash(&stop);
    let mut saved = Ok(());
    if let Some(kept) = kept.as_mut().filter(|_| on_crash && bad) {
        let why = if panicked.is_some() { Why::Panicked } else { Why::Ended(&stop) };
        saved = kept.save(subject, &why).map(drop);
    }
    if let Some(panic) = panicked {
        std::panic::resume_unwind(panic);
    }
    saved.context("--save-on-crash")?;
    if let Some(source) = failed {
        return Err(RecordError { source }.into());
    }
    if let Some(head) = head {
        info!(head = %blake3::Hash::from_bytes(head), "the recording is complete");
    }
    if let Some(Held { inputs, keyframes, bytes }) = kept.as_ref().map(|it| it.history.held()) {
        info!(inputs, keyframes, bytes, "what was kept of the run");
    }
    Ok((stop, kept))
}
