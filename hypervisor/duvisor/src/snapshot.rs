//! `duvisor snapshot`: a moment of a recording in a file of its own, and a run that goes on from
//! one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, bail};
use sandbox::Ui;
use session::Position;
use timeline::{Origin, Player, Subject, TravelError};
use traces::{Header, Writer};
use tracing::info;

use crate::args::{Restore, Save, Snapshot};
use crate::confine::{self, Confine};
use crate::replay::{self, Opened, Teller};
use crate::run::{self, Shown};
use crate::values::{Disk, DiskMode};
use crate::{EXIT_FINDINGS, EXIT_INTERRUPTED, play, recording, report, say, signals};

/// Carries out a verb of `snapshot`; gives the exit code.
pub(crate) fn run(verb: &Snapshot) -> Result<u8> {
    match verb {
        Snapshot::Save(options) => save(options),
        Snapshot::Restore(options) => restore(options),
    }
}

/// A player at a point; `None` if the user had enough before it was there.
fn stand(
    opened: &Opened,
    stop: &Arc<AtomicBool>,
    go: impl FnOnce(&mut Player, timeline::Progress<'_>) -> Result<(), TravelError>,
) -> Result<Option<Player>> {
    let mut player = opened.player()?;
    let mut teller = Teller::new("on the way", stop);
    let gone = go(&mut player, &mut |done, total| teller.tell(done, total));
    teller.end();
    match gone {
        Err(TravelError::Interrupted) => Ok(None),
        gone => gone.map(|()| Some(player)).map_err(Into::into),
    }
}

/// The header of what is made of a moment of a recording.
fn derived(header: &Header, what: &str, at: Position, id: [u8; 16]) -> Header {
    let mut derived = Header { id, ..header.clone() };
    derived.settings.push((what.to_owned(), timeline::origin_text(&header.id, at)));
    derived
}

fn save(options: &Save) -> Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[&stop])?;
    let opened = replay::open(&options.file, options.images.as_deref())?;
    let stood = stand(&opened, &stop, |player, progress| player.go(options.at, progress));
    let stood = stood.with_context(|| format!("replaying {}", options.file.display()))?;
    let Some(mut player) = stood else { return Ok(EXIT_INTERRUPTED) };
    let at = player.position();
    let header = derived(opened.reader.header(), "snapshot-of", at, recording::new_id()?);
    let writing = || format!("writing the snapshot {}", options.output.display());
    let writer = Writer::create(&options.output, &header).with_context(writing)?;
    let chain = player.save(writer, &opened.seen).with_context(writing)?;
    say::line(&format!("{}: step {}, event {}", options.output.display(), at.step, at.seq));
    say::line(&format!("chain {}", blake3::Hash::from_bytes(chain)));
    Ok(if opened.damaged { EXIT_FINDINGS } else { 0 })
}

fn restore(options: &Restore) -> Result<u8> {
    let mut opened = replay::open(&options.file, options.images.as_deref())?;
    opened.recipe.n_blocks = options.world.blocks;
    let is_vm = opened.recipe.kind.is_vm();
    let headless = options.headless || !is_vm;
    if !headless && options.world.events.as_deref() == Some("-".as_ref()) {
        bail!("--events -: standard output is the terminal UI's; name a file, or add --headless");
    }
    let (subject, origin) = resumed(options, &opened)?;
    let at = subject.position();
    info!(step = at.step, seq = at.seq, "a run goes on");
    let header = |id| derived(opened.reader.header(), "resumed-from", at, id);
    let recorder = recording::start(header, &options.world)?;
    let recorder = recorder.map(|recorder| recorder.resuming(origin, &opened.seen)).transpose()?;
    // The image is only read: what this run writes is not what the first one wrote.
    let disk = opened.recipe.disk.clone();
    let disk = disk.map(|disk| Disk { mode: DiskMode::Private, ..disk });
    let ui = if headless { Ui::Headless } else { Ui::Terminal };
    let confine = Confine::new(options.no_sandbox, ui, disk.as_ref(), recorder.is_some());
    let mut world = options.world.clone();
    world.max_steps = world.max_steps.map(|steps| at.step.saturating_add(steps));
    let mut subject = subject;
    if !headless {
        confine::take_terminal();
        monitor::check_terminal()
            .map_err(|error| anyhow!("{error}: use --headless to run without one"))?;
        let shown = Shown { name: &opened.recipe.name, colors: options.colors, world: &world };
        return run::watched(&shown, subject, recorder, confine);
    }
    let (ended, interrupted) = play::headless(&world, &mut *subject, recorder, confine)?;
    let text = if is_vm {
        run::summary(&ended)
    } else {
        report::machine_summary(&ended.overview) + &ended.digests()
    };
    play::tell(&world, &text);
    Ok(play::exit_code(&ended, interrupted))
}

/// The guest at the moment from which it goes on.
fn resumed(options: &Restore, opened: &Opened) -> Result<(Box<dyn Subject>, Origin)> {
    // No thread may be there yet that takes signals: Ctrl-C ends the process.
    let stop = Arc::new(AtomicBool::new(false));
    let go = |player: &mut Player, progress: timeline::Progress<'_>| {
        player.go_before_end(options.at, progress)
    };
    let stood = stand(opened, &stop, go);
    let stood = stood.with_context(|| format!("going on from {}", options.file.display()))?;
    let mut player = stood.context("interrupted")?;
    // What was read on the way must be what was recorded.
    if let Some(trouble) = player.subject_mut().witness().and_then(|witness| witness.trouble()) {
        return Err(trouble).with_context(|| format!("going on from {}", options.file.display()));
    }
    let resumed = player.into_resumed();
    Ok((resumed.subject, resumed.origin))
}
