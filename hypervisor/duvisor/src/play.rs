//! A run from its first step to its end, whatever is run: sinks, console, digests, the last words.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use session::{Inputs, Overview, Script, Server, Sink, Stop};
use tracing::{debug, info, warn};

use crate::args::World;
use crate::confine::Confine;
use crate::console::{Printer, RawMode, read_stdin};
use crate::events::JsonLines;
use crate::host::{Live, host_now};
use crate::{report, say, setup, signals};

/// What surrounds a run.
pub(crate) struct Around<'a> {
    pub(crate) inputs: &'a mut dyn Inputs,
    pub(crate) sinks: Vec<&'a mut dyn Sink>,
    pub(crate) server: Option<&'a mut Server>,
    /// Host nanoseconds, for the time that handlers take.
    pub(crate) stopwatch: &'a mut dyn FnMut() -> u64,
}

/// A VM or a bare machine.
pub(crate) trait Subject {
    /// Runs to the end.
    fn run(&mut self, around: Around<'_>) -> Stop;

    /// What there is to see of it.
    fn overview(&self) -> Overview;

    /// Feeds the whole state to a hash.
    fn digest(&self, sink: &mut dyn FnMut(&[u8]));
}

/// What a run left: its end, the last view of it, and the digests.
pub(crate) struct Ended {
    pub(crate) stop: Stop,
    pub(crate) overview: Overview,
    /// What the script still expected.
    pub(crate) unheard: Option<String>,
    /// Of the events, and of the state.
    digests: Option<(String, String)>,
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

/// Runs a subject to its end.
pub(crate) fn play(
    subject: &mut dyn Subject,
    inputs: &mut Live,
    console: Option<&mut dyn Sink>,
    server: Option<&mut Server>,
    mut lines: JsonLines,
) -> Result<Ended> {
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
    let stop = subject.run(Around { inputs, sinks, server, stopwatch: &mut stopwatch });
    let overview = subject.overview();
    let unheard = inputs.script().and_then(Script::unheard);
    log_end(&stop, &overview, host_now().saturating_duration_since(start));
    let digests = lines.finish()?.map(|events| {
        let mut hash = blake3::Hasher::new();
        subject.digest(&mut |bytes| {
            hash.update(bytes);
        });
        (events.to_hex().to_string(), hash.finalize().to_hex().to_string())
    });
    Ok(Ended { stop, overview, unheard, digests })
}

fn log_end(stop: &Stop, overview: &Overview, took: Duration) {
    let steps: u64 = overview.vcpus.iter().map(|vcpu| vcpu.steps).sum();
    let exits: u64 = overview.vcpus.iter().map(|vcpu| vcpu.stats.total()).sum();
    let Overview { time_ns, n_resets, driver_calls, .. } = *overview;
    info!(?took, steps, exits, time_ns, n_resets, driver_calls, "{}", report::reason(stop));
}

/// Says why a run ended, and what of its script did not happen.
pub(crate) fn tell_end(ended: &Ended) {
    say::note(&format!("duvisor: {}", report::reason(&ended.stop)));
    if let Some(text) = &ended.unheard {
        warn!("the script still expected {text:?}");
        say::note(&format!("duvisor: the script still expected {text:?}"));
    }
}

/// A run whose console is on standard output and input.
pub(crate) fn headless(
    world: &World,
    subject: &mut dyn Subject,
    mut confine: Confine,
) -> Result<(Ended, bool)> {
    let quit = Arc::new(AtomicBool::new(false));
    let signal = Arc::new(AtomicBool::new(false));
    let script = setup::script(world)?;
    let lines = JsonLines::new(world.events.as_deref(), world.digest, &[&quit])?;
    confine.begin();
    signals::set_on_end(&[&quit, &signal])?;
    let raw = RawMode::enter();
    let interactive = !world.warp && script.is_none();
    let typed = interactive.then(|| read_stdin(raw.is_terminal(), Arc::clone(&quit)));
    let typed = typed.transpose()?;
    debug!(terminal = raw.is_terminal(), interactive, paced = !world.warp, "console");
    confine.close()?;
    let mut inputs = Live::new(typed, script, !world.warp, quit);
    // With the events on standard output, the console is in them.
    let shown = world.events.as_deref() != Some("-".as_ref());
    let mut printer = Printer;
    let console = shown.then_some(&mut printer as &mut dyn Sink);
    let ended = play(subject, &mut inputs, console, None, lines);
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
