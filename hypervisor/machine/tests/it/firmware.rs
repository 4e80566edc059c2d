//! Firmware, and kernels on top of it.
//!
//! `OPENSBI` names an ELF file of OpenSBI (fw_jump or fw_dynamic), `KERNEL` a Linux Image, `INITRD`
//! its initial RAM disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use devices::virtio::block::CowDisk;
use images::Payload;
use machine::{AnyDisk, BARE_RAM_BASE, BareConfig, BareMachine, Boot, Host, Rest};
use session::{Event, Input, Inputs, NoInputs, Script, Sink, Stop};

use crate::programs::{digest, read, segments};

/// What the guest wrote, for who looks at a test that failed.
#[derive(Default)]
pub(crate) struct Screen {
    pub(crate) text: String,
    traps: u64,
}

impl Sink for Screen {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Console { bytes, .. } => {
                self.text.push_str(&String::from_utf8_lossy(bytes));
            }
            Event::Trap(_) => self.traps += 1,
            Event::Exit(_) | Event::Input { .. } | Event::Vm { .. } | _ => {}
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that was left out says so")]
fn file(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("LEFT OUT: {variable} does not name a file");
    }
    path
}

/// Firmware that starts this payload.
fn config(firmware: &Path, kernel: &Payload, memory: u64) -> BareConfig {
    let firmware = read(firmware);
    let mut all = segments(&firmware);
    all.extend(segments(kernel));
    BareConfig {
        segments: all,
        entry: firmware.entry,
        boot: Boot::Firmware { next: Some(kernel.entry) },
        ..BareConfig::new("firmware", memory)
    }
}

fn guest(name: &str) -> Payload {
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/prebuilt");
    read(&prebuilt.join(name))
}

fn run(config: BareConfig, inputs: &mut dyn Inputs, max_steps: u64) -> (Stop, Screen, BareMachine) {
    let mut machine = BareMachine::new(config).unwrap();
    let mut screen = Screen::default();
    let mut host = Host::new(inputs);
    host.sinks.push(&mut screen);
    let stop = machine.run(&mut host, Some(max_steps));
    drop(host);
    (stop, screen, machine)
}

#[test]
fn opensbi_starts_a_guest_that_powers_off() {
    let Some(firmware) = file("OPENSBI") else { return };
    for harts in [1, 4] {
        let once = || {
            let guest = BareConfig { harts, ..config(&firmware, &guest("hello.elf"), 128 << 20) };
            run(guest, &mut NoInputs, 50_000_000)
        };
        let (stop, screen, machine) = once();
        assert_eq!(stop, Stop::PowerOff, "{}", screen.text);
        assert!(screen.text.contains("OpenSBI v"), "{}", screen.text);
        assert!(screen.text.contains("hello"), "{}", screen.text);
        assert_ne!(screen.traps, 0);
        let (_, again, second) = once();
        assert_eq!(again.text, screen.text);
        assert!(digest(&second) == digest(&machine));
    }
}

/// The same run in one piece, and cut at places that have nothing to do with its turns.
#[test]
fn where_a_run_is_cut_cannot_be_seen() {
    let Some(firmware) = file("OPENSBI") else { return };
    for name in ["hsm.elf", "ipi.elf", "timer.elf", "uart_irq.elf", "lr_sc.elf"] {
        let new = || {
            let guest = BareConfig { harts: 4, ..config(&firmware, &guest(name), 64 << 20) };
            BareMachine::new(guest).unwrap()
        };
        let mut whole = new();
        let stop = whole.run(&mut Host::new(&mut NoInputs), Some(500_000_000));
        assert_eq!(stop, Stop::PowerOff, "{name}");
        let mut cut = new();
        let mut limit = 0;
        let stop = loop {
            limit += 1 + u64::wrapping_mul(limit, 0x9e37_79b9_7f4a_7c15) % 20_011;
            match cut.run_until(&mut Host::new(&mut NoInputs), limit) {
                Rest::StepLimit => {}
                Rest::Stopped(stop) => break stop,
                Rest::Debug { .. } | Rest::Asked => panic!("nobody asked"),
            }
        };
        assert_eq!((stop, cut.position()), (Stop::PowerOff, whole.position()), "{name}");
        assert!(digest(&cut) == digest(&whole), "{name}");
    }
}

/// `SCRIPT` is what is typed, `;` between its lines; `HARTS` and `DISK` say what Linux finds.
fn linux(firmware: &Path, kernel: &Path) -> BareConfig {
    let kernel = Payload::parse(&std::fs::read(kernel).unwrap(), BARE_RAM_BASE).unwrap();
    let image =
        std::env::var_os("DISK").map(|path| Arc::<[u8]>::from(std::fs::read(path).unwrap()));
    BareConfig {
        initrd: file("INITRD").map(|path| std::fs::read(path).unwrap()),
        harts: std::env::var("HARTS").map_or(1, |harts| harts.parse().unwrap()),
        disk: image.map(|image| -> AnyDisk { Box::new(CowDisk::new(image, 1 << 30)) }),
        cmdline: "console=ttyS0".into(),
        ..config(firmware, &kernel, 512 << 20)
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "how long it took is of interest")]
fn linux_boots_and_powers_off() {
    let (Some(firmware), Some(kernel)) = (file("OPENSBI"), file("KERNEL")) else { return };
    let script = std::env::var("SCRIPT").unwrap_or_default().replace(';', "\n");
    let mut inputs = Script::parse(&script).unwrap();
    let (stop, screen, whole) = run(linux(&firmware, &kernel), &mut inputs, 4_000_000_000);
    eprintln!("{}\n{stop:?} at {:?}, {} traps", screen.text, whole.position(), screen.traps);
    assert_eq!(stop, Stop::PowerOff);

    let mut inputs = Script::parse(&script).unwrap();
    let mut cut = BareMachine::new(linux(&firmware, &kernel)).unwrap();
    let mut host = Host::new(&mut inputs);
    let mut limits = (0_u64..).step_by(1_234_567);
    let stop = loop {
        match cut.run_until(&mut host, limits.next().unwrap()) {
            Rest::StepLimit => {}
            Rest::Stopped(stop) => break stop,
            Rest::Debug { .. } | Rest::Asked => panic!("nobody asked"),
        }
    };
    assert_eq!((stop, cut.position()), (Stop::PowerOff, whole.position()));
    assert!(digest(&cut) == digest(&whole));
}

/// Types nothing and waits for nothing, but shows that inputs have their place in the stream.
#[test]
fn an_input_ends_the_run_where_it_is_taken() {
    struct Quit;
    impl Inputs for Quit {
        fn next(&mut self, at: session::Position, _time_ns: u64) -> Option<Input> {
            (at.step >= 20_000).then_some(Input::Quit)
        }

        fn idle(&mut self, _: session::Position, _: u64, _: Option<u64>) -> session::Idle {
            session::Idle::Never
        }
    }
    let program = Payload::raw(&[0x6f, 0, 0, 0], BARE_RAM_BASE).unwrap();
    let endless = crate::programs::config("endless", &program, 1 << 20);
    let (stop, _, machine) = run(endless, &mut Quit, 1_000_000);
    assert_eq!((stop, machine.position().step), (Stop::User, 20_000));
}
