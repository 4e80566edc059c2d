//! A run from its first step to its end, whatever is run: sinks, console, digests, the last words.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use session::{Capabilities, Overview, Script, Server, Sink, Stop, link};
use timeline::{Around, Kept, Rest, Subject};
use tracing::{debug, info, warn};

use crate::args::World;
use crate::confine::Confine;
use crate::console::{Printer, RawMode, read_stdin};
use crate::events::JsonLines;
use crate::host::{Live, host_now};
use crate::recording::{Begun, Recorder};
use crate::{replay, report, say, setup, signals};

/// What a run without a history says to who wants to see or save it.
const NO_HISTORY: &str = "this run has no history: --history SIZE keeps one";

/// What a run left: its end, the last view of it, and the digests.
pub(crate) struct Ended {
    pub(crate) stop: Stop,
    pub(crate) overview: Overview,
    /// What the script still expected.
    pub(crate) unheard: Option<String>,
    /// Of the events, and of the state.
    digests: Option<(String, String)>,
    /// What is kept of the run in memory.
    pub(crate) kept: Option<Kept>,
}

impl Ended {
    /// What `--digest` prints.
    pub(crate) fn digests(&self) -> String {
        let mut text = String::new();
        if let Some((events, state)) = &self.digests {
            let _ = write!(text, "digest of events {events}\ndigest of state  {state}\n");
        }
        text
    }
}

/// How far a run may go, and what is kept of it.
pub(crate) struct Play {
    pub(crate) max_steps: Option<u64>,
    pub(crate) recorder: Option<Begun>,
    /// The user has had enough.
    pub(crate) quit: Arc<AtomicBool>,
    pub(crate) lines: JsonLines,
}

/// Runs a subject to its end.
pub(crate) fn play(
    subject: &mut dyn Subject,
    inputs: &mut Live,
    console: Option<&mut dyn Sink>,
    server: Option<&mut Server>,
    play: Play,
) -> Result<Ended> {
    let Play { max_steps, recorder, quit, mut lines } = play;
    let start = host_now();
    let mut stopwatch =
        || u64::try_from(host_now().duration_since(start).as_nanos()).unwrap_or(u64::MAX);
    let mut sinks: Vec<&mut dyn Sink> = Vec::new();
    if let Some(console) = console {
        sinks.push(console);
    }
    if lines.is_used() {
        sinks.push(&mut lines);
    }
    let around = Around { inputs, sinks, server, stopwatch: Some(&mut stopwatch) };
    let (stop, kept) = match recorder {
        Some(recorder) => recorder.record(subject, around, max_steps, &quit)?,
        None => (run(subject, around, max_steps), None),
    };
    let overview = subject.overview();
    let unheard = inputs.script().and_then(Script::unheard);
    log_end(&stop, &overview, host_now().saturating_duration_since(start));
    let digests = lines
        .finish()?
        .map(|events| (events.to_hex().to_string(), replay::digest(subject).to_hex().to_string()));
    Ok(Ended { stop, overview, unheard, digests, kept })
}

/// Runs a subject that nobody records.
fn run(subject: &mut dyn Subject, mut around: Around<'_>, max_steps: Option<u64>) -> Stop {
    let limit = max_steps.unwrap_or(u64::MAX);
    loop {
        match subject.run_until(&mut around, limit) {
            Rest::StepLimit => return subject.end_at_limit(&mut around),
            Rest::Stopped(stop) => return stop,
            Rest::Asked => {
                if let Some(server) = around.server.as_deref_mut() {
                    timeline::refuse(server, subject.position(), NO_HISTORY);
                }
            }
            // Nobody is there whom it would interest.
            Rest::Debug { hart, .. } => subject.machine_mut().hart_mut(hart).0.pass_once(),
        }
    }
}

/// After the end: answers what a watcher still wants to know, until it goes or says quit.
pub(crate) fn linger(subject: &mut dyn Subject, ended: Option<&mut Ended>, server: &mut Server) {
    if let Some(Ended { stop, kept: Some(kept), .. }) = ended {
        return kept.linger(subject, stop, server);
    }
    loop {
        subject.linger(server);
        if !server.has_left() {
            return;
        }
        timeline::refuse(server, subject.position(), NO_HISTORY);
    }
}

fn log_end(stop: &Stop, overview: &Overview, took: Duration) {
    let steps: u64 = overview.vcpus.iter().map(|vcpu| vcpu.steps).sum();
    let exits: u64 = overview.vcpus.iter().map(|vcpu| vcpu.stats.total()).sum();
    let Overview { time_ns, n_resets, driver_calls, .. } = *overview;
    info!(?took, steps, exits, time_ns, n_resets, driver_calls, "{stop}");
}

/// Says why a run ended, and what of its script did not happen.
pub(crate) fn tell_end(ended: &Ended) {
    say::note(&format!("duvisor: {}", ended.stop));
    if let Some(text) = &ended.unheard {
        warn!("the script still expected {text:?}");
        say::note(&format!("duvisor: the script still expected {text:?}"));
    }
}

/// A run whose console is on standard output and input.
pub(crate) fn headless(
    world: &World,
    subject: &mut dyn Subject,
    recorder: Option<Recorder>,
    mut confine: Confine,
) -> Result<(Ended, bool)> {
    let quit = Arc::new(AtomicBool::new(false));
    let signal = Arc::new(AtomicBool::new(false));
    let script = setup::script(world)?;
    let lines = JsonLines::new(world.events.as_deref(), world.digest, &[&quit])?;
    confine.begin();
    let recorder = recorder.map(Recorder::begin).transpose()?;
    // There is no watcher but the signal that asks for the run to be saved.
    let (client, mut server) = link(Capabilities { live: true, control: true, time_travel: false });
    let saves = recorder.is_some().then(|| Arc::new(Mutex::new(Some(client.asker()))));
    signals::set_on_end_or_save(&[&quit, &signal], saves)?;
    let raw = RawMode::enter();
    let interactive = !world.warp && script.is_none();
    let typed = interactive.then(|| read_stdin(raw.is_terminal(), Arc::clone(&quit)));
    let typed = typed.transpose()?;
    debug!(terminal = raw.is_terminal(), interactive, paced = !world.warp, "console");
    confine.close()?;
    let mut inputs = Live::new(typed, script, !world.warp, Arc::clone(&quit));
    // With the events on standard output, the console is in them.
    let shown = world.events.as_deref() != Some("-".as_ref());
    let mut printer = Printer;
    let console = shown.then_some(&mut printer as &mut dyn Sink);
    let run = Play { max_steps: world.max_steps, recorder, quit, lines };
    let ended = play(subject, &mut inputs, console, Some(&mut server), run);
    drop(raw);
    // The guest's last line may have no end.
    say::note("");
    let ended = ended?;
    tell_end(&ended);
    Ok((ended, signal.load(Ordering::Relaxed)))
}

/// Prints text where it does not mix with the events.
pub(crate) fn tell(world: &World, text: &str) {
    if world.events.as_deref() == Some("-".as_ref()) {
        say::note(text.trim_end());
    } else {
        say::block(text);
    }
}

/// The exit code of a run.
pub(crate) fn exit_code(ended: &Ended, interrupted: bool) -> u8 {
    match report::exit_code(&ended.stop) {
        _ if interrupted && ended.stop == Stop::User => crate::EXIT_INTERRUPTED,
        // Who ends a run before its script is over knows that.
        0 if ended.unheard.is_some() && ended.stop != Stop::User => crate::EXIT_FINDINGS,
        code => code,
    }
}
