//! A session that answers at once, and a terminal whose clock moves only while the loop waits.

use std::collections::VecDeque;
use std::time::Duration;

use isa::Mode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use session::{
    Answer, Capabilities, Command, Disconnected, ExitKind, Overview, Position, Reply, Request,
    RunState, Session, Stats, VcpuId, VcpuState, VcpuView,
};

use crate::MonitorError;
use crate::drive::{Event, Host};
use crate::keys::{Code, Key};
use crate::model::Model;
use crate::theme::{Colors, Theme};

/// A VM after `quarters` quarters of a second of a steady load.
pub(crate) fn overview(n_vcpus: u16, quarters: u64) -> Overview {
    let load = [
        (ExitKind::Sbi, 40, 900),
        (ExitKind::VirtualInstruction, 25, 700),
        (ExitKind::StoreFault, 12, 2900),
        (ExitKind::LoadFault, 6, 1900),
        (ExitKind::MmioStore, 9, 11_000),
        (ExitKind::MmioLoad, 4, 8000),
        (ExitKind::Timer, 3, 1100),
        (ExitKind::Kick, 2, 1000),
        (ExitKind::Wfi, 1, 40_000),
    ];
    let vcpu = |i: u16| {
        let idle = i == 3;
        let mut stats = Stats::default();
        for (kind, n, ns) in load {
            for k in 0..n * quarters / if idle { 20 } else { 1 } {
                stats.count(kind, 2000 + 10 * k);
                if k % 8 == 0 {
                    stats.sample(kind, ns + 13 * (k % 97));
                }
            }
        }
        VcpuView {
            id: VcpuId(i),
            state: if idle { VcpuState::Waiting } else { VcpuState::Running },
            mode: if i.is_multiple_of(2) { Mode::Vs } else { Mode::Vu },
            pc: 0xffff_ffff_8020_b404 + u64::from(i) * 0x11f2,
            steps: quarters * 2_500_000,
            stats,
        }
    };
    Overview {
        name: "debian-13".into(),
        run: RunState::Running,
        time_ns: 12_480_331_207 + quarters * 250_000_000,
        n_resets: 0,
        driver_calls: 0,
        sample_every: 64,
        memory_bytes: 1 << 30,
        mapped_bytes: 212 << 20,
        vcpus: (0..n_vcpus).map(vcpu).collect(),
    }
}

/// A session whose run is what the test says.
#[derive(Debug)]
pub(crate) struct FakeSession {
    pub(crate) overview: Overview,
    pub(crate) output: Vec<u8>,
    pub(crate) sent: Vec<Command>,
    pub(crate) replies: VecDeque<Reply>,
    pub(crate) silent: bool,
    pub(crate) gone: bool,
    pub(crate) control: bool,
}

impl FakeSession {
    pub(crate) fn new() -> Self {
        Self {
            overview: overview(2, 8),
            output: Vec::new(),
            sent: Vec::new(),
            replies: VecDeque::new(),
            silent: false,
            gone: false,
            control: true,
        }
    }

    /// What was sent that changes the run.
    pub(crate) fn controls(&self) -> Vec<Command> {
        let asks = |c: &&Command| !matches!(c, Command::Overview | Command::Console { .. });
        self.sent.iter().filter(asks).cloned().collect()
    }
}

impl Session for FakeSession {
    fn capabilities(&self) -> Capabilities {
        Capabilities { live: true, control: self.control, time_travel: false }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the monitor asks for nothing else")]
    fn send(&mut self, request: Request) -> Result<(), Disconnected> {
        if self.gone {
            return Err(Disconnected);
        }
        self.sent.push(request.command.clone());
        let answer = match request.command {
            Command::Overview => Answer::Overview(Box::new(self.overview.clone())),
            Command::Console { from } => {
                let start = usize::try_from(from).unwrap().min(self.output.len());
                Answer::Console { from: start as u64, bytes: self.output[start..].to_vec() }
            }
            Command::Pause => {
                self.overview.run = RunState::Paused;
                Answer::Done
            }
            Command::Resume => {
                self.overview.run = RunState::Running;
                Answer::Done
            }
            Command::Type(bytes) => {
                self.output.extend(bytes);
                Answer::Done
            }
            Command::Save => Answer::Saved { file: "demo-9.dvt".to_owned(), steps: 9, bytes: 1234 },
            _ => Answer::Refused("the modelled session cannot do that"),
        };
        let reply = Reply { generation: request.generation, at: Position::default(), answer };
        if !self.silent {
            self.replies.push_back(reply);
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }
}

/// A terminal in memory. Events come at their times; after the last one the user leaves by force.
pub(crate) struct FakeHost {
    pub(crate) now: Duration,
    pub(crate) events: VecDeque<(Duration, Event)>,
    pub(crate) terminal: Terminal<TestBackend>,
    pub(crate) frames: Vec<Duration>,
    pub(crate) waits: usize,
    /// What a frame costs.
    pub(crate) frame_cost: Duration,
}

impl FakeHost {
    pub(crate) fn new(events: impl IntoIterator<Item = (u64, Event)>) -> Self {
        let at = |(ms, event)| (Duration::from_millis(ms), event);
        Self {
            now: Duration::ZERO,
            events: events.into_iter().map(at).collect(),
            terminal: Terminal::new(TestBackend::new(80, 24)).unwrap(),
            frames: Vec::new(),
            waits: 0,
            frame_cost: Duration::from_millis(1),
        }
    }

    /// The screen as text.
    pub(crate) fn screen(&self) -> String {
        self.terminal.backend().to_string()
    }
}

impl Host for FakeHost {
    fn now(&self) -> Duration {
        self.now
    }

    fn wait(&mut self, timeout: Duration) -> Result<Option<Event>, MonitorError> {
        self.waits += 1;
        assert!(self.waits < 1_000_000, "the loop does not end");
        match self.events.front() {
            Some((at, _)) if *at <= self.now + timeout => {
                self.now = self.now.max(*at);
                Ok(self.events.pop_front().map(|(_, event)| event))
            }
            Some(_) => {
                self.now += timeout;
                Ok(None)
            }
            None => {
                // Out of the guest, out of any dialog, and out.
                let name = ["Ctrl-A", "x", "Ctrl-C"][self.waits % 3];
                Ok(Some(Event::Key(key(name))))
            }
        }
    }

    fn draw(&mut self, model: &Model) -> Result<(), MonitorError> {
        self.frames.push(self.now);
        self.now += self.frame_cost;
        let theme = Theme::new(Colors::Ansi16);
        self.terminal.draw(|frame| crate::view::draw(model, theme, frame)).unwrap();
        Ok(())
    }

    fn redraw(&mut self) -> Result<(), MonitorError> {
        self.terminal.clear().unwrap();
        Ok(())
    }

    fn suspend(&mut self) -> Result<(), MonitorError> {
        Ok(())
    }
}

/// A key by the name that the help gives it.
pub(crate) fn key(name: &str) -> Key {
    let plain = Key::plain;
    match name {
        "Space" => plain(Code::Char(' ')),
        "Esc" => plain(Code::Esc),
        "Enter" => plain(Code::Enter),
        "Tab" => plain(Code::Tab),
        "Up" => plain(Code::Up),
        "PgUp" => plain(Code::PageUp),
        _ => match name.strip_prefix("Ctrl-") {
            Some(c) => {
                let c = c.to_ascii_lowercase().chars().next().unwrap();
                Key { code: Code::Char(c), ctrl: true, alt: false }
            }
            None => plain(Code::Char(name.chars().next().unwrap())),
        },
    }
}
