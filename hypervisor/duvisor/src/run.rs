//! `duvisor run`: a guest in a delegated VM, with the terminal UI or headless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use anyhow::{Context, Result, anyhow, bail};
use isa::Extensions;
use monitor::{Colors, Monitor, Outcome};
use sandbox::Ui;
use session::{Capabilities, Client, Command, Request, Session, link};
use tracing::{error, info};
use vmm::layout::RAM_BASE;
use vmm::{Leaf, Segment, VmConfig};

use crate::args::{self, Run, World};
use crate::confine::{self, Confine};
use crate::events::JsonLines;
use crate::guest::{self, Loaded};
use crate::host::Live;
use crate::play::{self, Ended};
use crate::{blame, disk, plane, report, say, setup, signals, threads};

/// One exit in this many has its handler timed, unless all have.
const SAMPLE_EVERY: u32 = 64;

/// What is said where a closed process was about to do what it never does.
const VIOLATION: &str = "stopped: this process tried a system call that it never makes (it was \
     not made): an error of this program, or a guest that got out of its VM";

/// Carries out `run`; gives the exit code.
pub(crate) fn run(options: &Run) -> Result<u8> {
    if !options.headless && options.world.events.as_deref() == Some("-".as_ref()) {
        bail!("--events -: standard output is the terminal UI's; name a file, or add --headless");
    }
    let loaded = guest::load(&options.guest, &options.boot)?;
    let origin = loaded.origin.clone();
    let config = config(options, loaded)?;
    if let Some(path) = &options.boot.dump_dtb {
        let blob = vmm::dump_dtb(&config);
        let blob = blob.map_err(|error| blame::vm(error, &origin, &options.boot, config.memory))?;
        return setup::dump_dtb(path, &blob);
    }
    let name = config.name.clone();
    info!(
        name,
        origin,
        vcpus = config.vcpus,
        leaf = ?config.leaf,
        disk = config.disk.is_some(),
        cmdline = config.cmdline,
        "a VM",
    );
    let spans = config.segments.iter().map(|it| (it.addr, it.mem_size));
    setup::log_memory(RAM_BASE, config.ram_end(), config.entry, spans);
    let mut vm = plane::assemble(options, &origin, config)?;
    let ui = if options.headless { Ui::Headless } else { Ui::Terminal };
    let confine = Confine::new(options.no_sandbox, ui, options.boot.disk.as_ref());
    if !options.headless {
        confine::take_terminal();
        monitor::check_terminal()
            .map_err(|error| anyhow!("{error}: use --headless to run without one"))?;
        return watched(options, &name, vm, confine);
    }
    let (ended, interrupted) = play::headless(&options.world, &mut vm, confine)?;
    play::tell(&options.world, &summary(&ended));
    Ok(play::exit_code(&ended, interrupted))
}

fn config(options: &Run, loaded: Loaded) -> Result<VmConfig> {
    let isa = setup::extensions(options.boot.isa.as_deref(), Extensions::ALL)?;
    if !isa.has(isa::Ext::Xdv) {
        bail!("--isa: a delegated VM needs h and xdv; use `duvisor machine` to run without them");
    }
    let segments = loaded.payload.segments.into_iter().map(|segment| Segment {
        addr: segment.addr,
        bytes: segment.bytes,
        mem_size: segment.mem_size,
    });
    let mut config = VmConfig::new(&loaded.name, loaded.memory);
    config.vcpus = options.vcpus.unwrap_or(loaded.vcpus);
    config.isa = isa;
    config.segments = segments.collect();
    config.entry = loaded.payload.entry;
    config.initrd = loaded.initrd;
    config.cmdline = loaded.cmdline;
    config.dtb = match &options.boot.dtb {
        Some(path) => Some(guest::read(path, "device tree")?),
        None => None,
    };
    config.seed = setup::seed(&options.world)?;
    config.rtc_base_ns = setup::rtc_base_ns(&options.world);
    config.disk = options.boot.disk.as_ref().map(disk::open).transpose()?;
    config.reboot = !options.no_reboot;
    config.leaf = match options.leaf {
        args::Leaf::Page => Leaf::Page,
        args::Leaf::Mega => Leaf::Mega,
        args::Leaf::Giga => Leaf::Giga,
    };
    config.sample_every = if options.time_exits { 1 } else { SAMPLE_EVERY };
    Ok(config)
}

/// What is printed of a run that has ended.
fn summary(ended: &Ended) -> String {
    report::summary(&ended.overview) + &ended.digests()
}

/// The terminal UI in this thread, the VM in another one.
fn watched(options: &Run, name: &str, mut vm: plane::Vm, mut confine: Confine) -> Result<u8> {
    let (stop, violated) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mut client, mut server) =
        link(Capabilities { live: true, control: true, time_travel: false });
    let script = setup::script(&options.world)?;
    let pace = !options.world.warp;
    let quit = Arc::new(AtomicBool::new(false));
    let World { events, digest, .. } = &options.world;
    let lines = JsonLines::new(events.as_deref(), *digest, &[&quit, &stop])?;
    let vm_quit = Arc::clone(&quit);
    confine.begin();
    signals::set_on_end(&[&stop])?;
    signals::set_on_violation(&[&violated, &stop])?;
    let (go, wait) = sync_channel::<()>(0);
    let runner = threads::start("vm", move || {
        wait.recv().ok()?;
        let mut inputs = Live::new(None, script, pace, vm_quit);
        let ended = play::play(&mut vm, &mut inputs, None, Some(&mut server), lines);
        // The last screen can still be asked about.
        vm.linger(&mut server);
        Some(ended)
    })?;
    let monitor = Monitor::enter(monitor_options(options, name, &stop));
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
    drop(client);
    // A panic over there is one of this program: its exit code is that of an internal error.
    let ended = runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let ended = ended.context("the VM's thread did not run")??;
    let interrupted = matches!(outcome, Ok(Outcome::Stopped | Outcome::Kill));
    outcome.context("the terminal UI")?;
    play::tell_end(&ended);
    play::tell(&options.world, &summary(&ended));
    Ok(play::exit_code(&ended, interrupted))
}

fn monitor_options(options: &Run, name: &str, stop: &Arc<AtomicBool>) -> monitor::Options {
    monitor::Options {
        name: name.to_owned(),
        colors: match options.colors {
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
