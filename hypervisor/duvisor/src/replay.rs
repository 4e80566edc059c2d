//! `duvisor replay`: a recorded run once more, compared with what was recorded, or visited at one
//! moment.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use devices::virtio::block::Seen;
use session::{Sink, Stop};
use timeline::{Difference, Divergence, Grain, Player, Source, Subject, Verified};
use traces::{Reader, Record};
use tracing::{info, warn};

use crate::args::Replay;
use crate::console::Printer;
use crate::events::JsonLines;
use crate::host::host_now;
use crate::recipe::Recipe;
use crate::{EXIT_FINDINGS, EXIT_INTERNAL, EXIT_INTERRUPTED, args, bisect, disk, say, signals};

/// A recording, and everything that it needs.
pub(crate) struct Opened {
    pub(crate) reader: Reader,
    pub(crate) recipe: Recipe,
    /// What was read of the disk's image.
    pub(crate) seen: Vec<Seen>,
    path: std::path::PathBuf,
    /// Something of it is lost.
    pub(crate) damaged: bool,
}

/// Opens a file, and says what of it is lost.
pub(crate) fn open_reader(path: &Path) -> Result<(Reader, bool)> {
    let opened = Reader::open(path);
    let (reader, damages) = opened.with_context(|| format!("opening {}", path.display()))?;
    for damage in &damages {
        warn!("{}: {damage}", path.display());
        say::note(&format!("duvisor: {}: {damage}", path.display()));
    }
    Ok((reader, !damages.is_empty()))
}

/// Opens a recording to replay it.
pub(crate) fn open(path: &Path, images: Option<&Path>) -> Result<Opened> {
    let (reader, damaged) = open_reader(path)?;
    let header = reader.header();
    if header.model != timeline::MODEL {
        bail!(
            "{} was recorded by {}, which saved states in format {}: this program replays format \
             {} (trace info and trace cat still read it)",
            path.display(),
            header.tool,
            header.model,
            timeline::MODEL
        );
    }
    let recipe = Recipe::from_header(header, images)?;
    let mut seen = Vec::new();
    if recipe.disk.is_some() {
        for record in reader.records(session::Position::default()) {
            match record {
                Ok(Record::DiskRead(block)) => {
                    seen.push(Seen::Block { block: block.block, hash: block.hash });
                }
                Ok(Record::PreImage { block: page, bytes, .. }) => {
                    let bytes: [u8; machine::PAGE] =
                        bytes.try_into().ok().context("a page of the disk has a wrong length")?;
                    seen.push(Seen::Page { page, before: Arc::new(bytes) });
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(Opened { reader, recipe, seen, path: path.to_owned(), damaged })
}

impl Opened {
    /// A guest that has not run, and a reader of its own.
    pub(crate) fn source(&self) -> Result<Source> {
        let disk = self.recipe.disk.as_ref();
        let disk = disk.map(|disk| {
            let image = disk::open_image(disk)?;
            anyhow::Ok(disk::replayed(image, disk.mode, self.seen.clone()))
        });
        let disk = disk.transpose()?;
        let subject = self.recipe.make(disk, &args::Boot::default())?.subject();
        let (reader, _) =
            Reader::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        Ok(Source { subject, reader })
    }

    /// A player at the begin.
    pub(crate) fn player(&self) -> Result<Player> {
        let player = Player::open(self.source()?, Grain::default());
        player.with_context(|| format!("replaying {}", self.path.display()))
    }
}

/// Tells how far something long has come, on a terminal; and whether the user has had enough.
pub(crate) struct Teller {
    stop: Arc<AtomicBool>,
    what: &'static str,
    last: Instant,
    shown: bool,
    terminal: bool,
}

impl Teller {
    pub(crate) fn new(what: &'static str, stop: &Arc<AtomicBool>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { stop: Arc::clone(stop), what, last: host_now(), shown: false, terminal }
    }

    /// Called every few milliseconds; false if the user has had enough.
    pub(crate) fn tell(&mut self, done: u64, total: u64) -> bool {
        let now = host_now();
        if self.terminal && now.saturating_duration_since(self.last) > Duration::from_millis(250) {
            self.last = now;
            self.shown = true;
            let percent = u128::from(done) * 100 / u128::from(total.max(1));
            say::progress(&format!("{} {percent:>3} %", self.what));
        }
        !self.stop.load(Ordering::Relaxed)
    }

    /// Takes the line away again.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            say::progress("");
        }
    }
}

/// Carries out `replay`; gives the exit code.
pub(crate) fn run(options: &Replay) -> Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[&stop])?;
    let mut opened = open(&options.file, options.images.as_deref())?;
    opened.recipe.n_blocks = options.blocks;
    if let Some(point) = options.to {
        return visit(options, &opened, point, &stop);
    }
    let mut lines = JsonLines::new(options.events.as_deref(), options.digest, &[&stop])?;
    let mut printer = Printer;
    let mut sinks: Vec<&mut dyn Sink> = Vec::new();
    if !options.verify && options.events.as_deref() != Some("-".as_ref()) {
        sinks.push(&mut printer);
    }
    if lines.is_used() {
        sinks.push(&mut lines);
    }
    let mut source = opened.source()?;
    let mut teller = Teller::new("replayed", &stop);
    let begin = host_now();
    let mut tell = |done, total| !options.verify || teller.tell(done, total);
    let mut quiet = |_, _| !stop.load(Ordering::Relaxed);
    let progress: timeline::Progress<'_> = if options.verify { &mut tell } else { &mut quiet };
    let verified = timeline::verify(&mut source, &mut sinks, None, progress);
    teller.end();
    let verified = match verified {
        Err(timeline::TravelError::Interrupted) => return Ok(EXIT_INTERRUPTED),
        verified => verified.with_context(|| format!("replaying {}", options.file.display()))?,
    };
    say::note("");
    info!(took = ?host_now().saturating_duration_since(begin), "replayed");
    // Over another image it is another run, and that is why.
    if let Some(trouble) = source.subject.witness().and_then(|witness| witness.trouble()) {
        return Err(trouble).with_context(|| format!("replaying {}", options.file.display()));
    }
    let code = match verified {
        Ok(verified) => {
            tell_verified(&verified, &opened);
            if opened.damaged { EXIT_FINDINGS } else { 0 }
        }
        Err(divergence) => {
            say::note(&divergence_text(&divergence));
            // A keyframe at the end of the range would hide what came before it.
            let range = (divergence.good, divergence.at.step.saturating_sub(1));
            let step = if range.0 < range.1 {
                bisect::of_one_program(&mut opened, range, &stop)?
            } else {
                None
            };
            say::note(&match step {
                Some(step) => format!(
                    "duvisor: with one decoded block kept it is another run from step {step} on"
                ),
                None => format!(
                    "duvisor: how many blocks are kept makes no difference; `duvisor trace bisect \
                     {} --with PROGRAM` finds the step at which another program's replay parts",
                    options.file.display()
                ),
            });
            EXIT_INTERNAL
        }
    };
    if let Some(events) = lines.finish()? {
        say::line(&format!("digest of events {}", events.to_hex()));
        say::line(&format!("digest of state  {}", digest(&*source.subject).to_hex()));
    }
    Ok(code)
}

fn tell_verified(verified: &Verified, opened: &Opened) {
    let Verified { at, time_ns, events, states, .. } = verified;
    let end = match (&verified.stop, opened.reader.end()) {
        (Some(stop), _) => stop.to_string(),
        (None, Some(_)) => "the recording ends here".to_owned(),
        (None, None) => "the recording breaks off here".to_owned(),
    };
    say::note(&format!(
        "duvisor: {end}: step {}, event {}, {}.{:03} s of guest time",
        at.step,
        at.seq,
        time_ns / 1_000_000_000,
        time_ns / 1_000_000 % 1000,
    ));
    say::note(&format!("duvisor: the same run: {events} events and {states} states compared"));
}

/// Goes to one moment and shows it.
fn visit(
    options: &Replay,
    opened: &Opened,
    point: timeline::Point,
    stop: &Arc<AtomicBool>,
) -> Result<u8> {
    let mut player = opened.player()?;
    let mut teller = Teller::new("on the way", stop);
    let gone = player.go(point, &mut |done, total| teller.tell(done, total));
    teller.end();
    match gone {
        Err(timeline::TravelError::Interrupted) => return Ok(EXIT_INTERRUPTED),
        gone => gone.with_context(|| format!("replaying {}", options.file.display()))?,
    }
    show(&player);
    if options.digest {
        say::line(&format!("digest of state  {}", digest(player.subject()).to_hex()));
    }
    Ok(if opened.damaged { EXIT_FINDINGS } else { 0 })
}

/// BLAKE3 of a guest's state, as `--digest` has it.
pub(crate) fn digest(subject: &dyn Subject) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    subject.digest(&mut |bytes| {
        hash.update(bytes);
    });
    hash.finalize()
}

/// Prints where a player stands.
pub(crate) fn show(player: &Player) {
    let (at, overview) = (player.position(), player.subject().overview());
    let ns = overview.time_ns;
    say::line(&format!(
        "step {} event {} time {}.{:09} s",
        at.step,
        at.seq,
        ns / 1_000_000_000,
        ns % 1_000_000_000
    ));
    for vcpu in &overview.vcpus {
        say::line(&format!(
            "vcpu {} {:?} {} pc {:#x} steps {}",
            vcpu.id.0, vcpu.state, vcpu.mode, vcpu.pc, vcpu.steps
        ));
    }
}

/// A divergence, with both sides and what was before.
pub(crate) fn divergence_text(divergence: &Divergence) -> String {
    let Divergence { at, good, pcs, difference, before } = divergence;
    let mut lines: Vec<String> =
        before.iter().map(|event| format!("  {}", traces::event_line(event))).collect();
    let pcs: Vec<String> = pcs.iter().map(|pc| format!("{pc:#x}")).collect();
    lines.push(format!(
        "duvisor: the replay is another run: noticed at step {}, event {} (pc {}); up to step \
         {good} it was the same",
        at.step,
        at.seq,
        pcs.join(", ")
    ));
    let sides = |recorded: String, replayed: String| {
        format!("  recorded: {recorded}\n  replayed: {replayed}")
    };
    let none = || "nothing".to_owned();
    lines.push(match difference {
        Difference::Event { recorded, replayed } => sides(
            recorded.as_deref().map_or_else(none, traces::event_line),
            replayed.as_deref().map_or_else(none, traces::event_line),
        ),
        Difference::State { recorded, replayed } => {
            let hex = |hash: &traces::StateHash| {
                let [state, ram] =
                    [hash.state, hash.ram].map(|it| blake3::Hash::from_bytes(it).to_hex());
                format!("state {}, memory {}", &state[..16], &ram[..16])
            };
            sides(hex(recorded), hex(replayed))
        }
        Difference::Input => "  an input was due that the guest did not ask for".to_owned(),
        Difference::End { recorded, replayed } => sides(
            recorded.to_string(),
            replayed.as_ref().map_or_else(|| "goes on".to_owned(), Stop::to_string),
        ),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use session::{Event, Position, VmState};

    use super::*;

    #[test]
    fn a_divergence_is_told_in_the_lines_of_events() {
        let console = |seq, bytes: &[u8]| Event::Console { seq, step: 70, bytes: bytes.to_vec() };
        let started = Event::Vm { seq: 0, step: 0, state: VmState::Started };
        let divergence = Divergence {
            at: Position { step: 70, seq: 2 },
            good: 50,
            pcs: vec![0x8020_0000, 0],
            difference: Difference::Event {
                recorded: Some(Box::new(console(1, b"yes\n"))),
                replayed: Some(Box::new(console(1, b"no\n"))),
            },
            before: vec![started],
        };
        let text = divergence_text(&divergence);
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                "0              0              -  vm started",
                "duvisor: the replay is another run: noticed at step 70, event 2 (pc 0x80200000, \
                 0x0); up to step 50 it was the same",
                r#"recorded:          1             70              -  console "yes\n""#,
                r#"replayed:          1             70              -  console "no\n""#,
            ]
        );
    }
}
