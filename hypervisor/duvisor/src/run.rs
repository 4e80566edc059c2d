//! `duvisor run`: a guest in a delegated VM, with the terminal UI or headless.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use isa::Extensions;
use monitor::{Colors, Monitor, Outcome};
use sandbox::Ui;
use session::{Capabilities, Client, Command, Request, Session, link};
use timeline::Subject;
use tracing::{error, info};
use vmm::Leaf;

use crate::args::{self, Record, Run, World};
use crate::confine::{self, Confine};
use crate::events::JsonLines;
use crate::host::Live;
use crate::play::{self, Ended};
use crate::recipe::{Kind, Recipe};
use crate::recording::{self, Recorder};
use crate::{blame, guest, report, say, setup, signals, threads};

/// One exit in this many has its handler timed, unless all have.
const SAMPLE_EVERY: u32 = 64;

/// What is said where a closed process was about to do what it never does.
const VIOLATION: &str = "stopped: this process tried a system call that it never makes (it was \
     not made): an error of this program, or a guest that got out of its VM";

/// Carries out `record`; gives the exit code.
pub(crate) fn record(options: &Record) -> Result<u8> {
    let mut run = options.run.clone();
    run.headless = true;
    let file = options.output.clone().or_else(|| run.world.record.clone());
    let name = std::path::Path::new(&run.guest).file_name().unwrap_or_default();
    run.world.record =
        Some(file.unwrap_or_else(|| std::path::Path::new(name).with_extension("dvt")));
    self::run(&run)
}

/// Carries out `run`; gives the exit code.
pub(crate) fn run(options: &Run) -> Result<u8> {
    if !options.headless && options.world.events.as_deref() == Some("-".as_ref()) {
        bail!("--events -: standard output is the terminal UI's; name a file, or add --headless");
    }
    let recipe = recipe(options)?;
    if let Some(path) = &options.boot.dump_dtb {
        let Kind::Vm { leaf } = recipe.kind else { bail!("this is no VM") };
        let mut config = recipe.vm_config(leaf)?;
        config.disk = recording::open_disk(&recipe, &options.world, &options.keep)?;
        let blob = vmm::dump_dtb(&config);
        let blame = |error| blame::vm(error, &recipe.origin(), &options.boot, recipe.memory);
        return setup::dump_dtb(path, &blob.map_err(blame)?);
    }
    info!(
        name = recipe.name,
        origin = recipe.origin(),
        vcpus = recipe.vcpus,
        kind = ?recipe.kind,
        disk = recipe.disk.is_some(),
        cmdline = recipe.cmdline,
        "a VM",
    );
    let (world, keep) = (&options.world, &options.keep);
    let disk = recording::open_disk(&recipe, world, keep)?;
    let mut subject = recipe.make(disk, &options.boot)?.subject();
    let ui = if options.headless { Ui::Headless } else { Ui::Terminal };
    let recorder = recording::start_or_keep(&recipe, world, keep, ui)?;
    let disk = options.boot.disk.as_ref();
    let records = recorder.as_ref().is_some_and(Recorder::writes);
    let confine = Confine::new(options.no_sandbox, ui, disk, records);
    if !options.headless {
        confine::take_terminal();
        monitor::check_terminal()
            .map_err(|error| anyhow!("{error}: use --headless to run without one"))?;
        let shown = Shown { name: &recipe.name, colors: options.colors, world: &options.world };
        return watched(&shown, subject, recorder, confine);
    }
    let (ended, interrupted) = play::headless(&options.world, &mut *subject, recorder, confine)?;
    play::tell(&options.world, &summary(&ended));
    Ok(play::exit_code(&ended, interrupted))
}

/// What the options ask for.
fn recipe(options: &Run) -> Result<Recipe> {
    let loaded = guest::load(&options.guest, &options.boot)?;
    let isa = setup::extensions(options.boot.isa.as_deref(), Extensions::ALL)?;
    if !isa.has(isa::Ext::Xdv) {
        bail!("--isa: a delegated VM needs h and xdv; use `duvisor machine` to run without them");
    }
    let leaf = match options.leaf {
        args::Leaf::Page => Leaf::Page,
        args::Leaf::Mega => Leaf::Mega,
        args::Leaf::Giga => Leaf::Giga,
    };
    Ok(Recipe {
        kind: Kind::Vm { leaf },
        name: loaded.name,
        vcpus: options.vcpus.unwrap_or(loaded.vcpus),
        memory: loaded.memory,
        isa,
        quantum: options.conditions.quantum,
        cmdline: loaded.cmdline,
        seed: setup::seed(&options.conditions)?,
        rtc_base_ns: setup::rtc_base_ns(&options.conditions),
        reboot: !options.no_reboot,
        images: loaded.images,
        disk: options.boot.disk.clone(),
        n_blocks: options.world.blocks,
        sample_every: if options.time_exits { 1 } else { SAMPLE_EVERY },
    })
}

/// What is printed of a run that has ended.
pub(crate) fn summary(ended: &Ended) -> String {
    report::summary(&ended.overview) + &ended.digests()
}

/// A run with the terminal UI.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    pub(crate) colors: args::Colors,
    pub(crate) world: &'a World,
}

/// The terminal UI in this thread, the VM in another one.
pub(crate) fn watched(
    shown: &Shown<'_>,
    mut subject: Box<dyn Subject>,
    recorder: Option<Recorder>,
    mut confine: Confine,
) -> Result<u8> {
    let (stop, violated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mut client, mut server) =
        link(Capabilities { live: true, control: true, time_travel: false });
    let script = setup::script(shown.world)?;
    let pace = !shown.world.warp;
    let quit = Arc::new(AtomicBool::new(false));
    let World { events, digest, max_steps, .. } = shown.world;
    let lines = JsonLines::new(events.as_deref(), *digest, &[&quit, &stop])?;
    let (vm_quit, max_steps) = (Arc::clone(&quit), *max_steps);
    confine.begin();
    let recorder = recorder.map(Recorder::begin).transpose()?;
    let saving = recorder.is_some().then(|| Arc::new(Mutex::new(Some(client.asker()))));
    signals::set_on_end_or_save(&[&stop], saving.clone())?;
    signals::set_on_violation(&[&violated, &stop])?;
    let (go, wait) = sync_channel::<()>(0);
    let runner = threads::start("vm", move || {
        wait.recv().ok()?;
        let mut inputs = Live::new(None, script, pace, Arc::clone(&vm_quit));
        let run = play::Play { max_steps, recorder, quit: vm_quit, lines };
        let mut ended = play::play(&mut *subject, &mut inputs, None, Some(&mut server), run);
        // The last screen can still be asked about.
        play::linger(&mut *subject, ended.as_mut().ok(), &mut server);
        Some(ended)
    })?;
    let monitor = Monitor::enter(monitor_options(shown, &stop));
    let monitor = monitor.context("the terminal UI")?;
    confine.close()?;
    go.send(()).context("the VM's thread is gone")?;
    let outcome = monitor.run(&mut client);
    info!(?outcome, "the terminal UI ended");
    if violated.load(Ordering::Relaxed) {
        // Nobody knows whether the thread that did it still listens.
        error!("{VIOLATION}");
        say::note(&format!("duvisor: {VIOLATION}"));
        return Ok(crate::EXIT_INTERNAL);
    }
    // Whatever ended the monitor ends the run.
    quit.store(true, Ordering::Relaxed);
    end_run(&mut client);
    if let Some(saving) = saving {
        // The run hears that nobody asks any more.
        saving.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
    drop(client);
    // A panic over there is one of this program: its exit code is that of an internal error.
    let ended = runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let ended = ended.context("the VM's thread did not run")??;
    let interrupted = matches!(outcome, Ok(Outcome::Stopped | Outcome::Kill));
    outcome.context("the terminal UI")?;
    play::tell_end(&ended);
    play::tell(shown.world, &summary(&ended));
    Ok(play::exit_code(&ended, interrupted))
}

fn monitor_options(shown: &Shown<'_>, stop: &Arc<AtomicBool>) -> monitor::Options {
    monitor::Options {
        name: shown.name.to_owned(),
        colors: match shown.colors {
            args::Colors::Auto => Colors::Auto,
            args::Colors::None => Colors::None,
        },
        stop: Arc::clone(stop),
        suspend: Some(signals::suspend),
    }
}

/// Asks the run to end, also when it is paused.
fn end_run(client: &mut Client) {
    for command in [Command::Quit, Command::Resume] {
        // A run that is gone has ended already.
        let _ = client.send(Request { generation: u64::MAX, command });
    }
}
