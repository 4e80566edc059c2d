//! Answers the commands of a watcher.

use dv::Dv;
use session::{
    Answer, Command, Input, Overview, Reply, Request, RunState, Server, Stop, VcpuState, VcpuView,
};

use crate::exits::End;
use crate::sbi::hsm::{Hsm, vcpu_id};
use crate::vcpu::Host;
use crate::vm::Vm;

/// Most exits of one answer.
const EXITS_MAX: usize = 64 << 10;

impl<D: Dv> Vm<D> {
    /// Answers what has been asked, and waits here while the run is paused.
    ///
    /// A watcher that goes away leaves the run going. What the run cannot answer is left to its
    /// caller.
    pub(crate) fn serve(&mut self, host: &mut Host<'_>) -> Option<End> {
        while let Some(server) = host.server.as_mut() {
            let paused = self.run == RunState::Paused;
            let request = if paused { server.wait().map(Some) } else { server.poll() };
            match request {
                Ok(Some(request)) => {
                    if let Some(end) = self.answer_live(request, host) {
                        self.run = RunState::Running;
                        return Some(end);
                    }
                    if host.has_left() {
                        return None;
                    }
                }
                Ok(None) => return None,
                Err(session::Disconnected) => {
                    host.server = None;
                    self.run = RunState::Running;
                }
            }
            self.sink_wants_exits = self.stream.wants_exits(&host.sinks);
        }
        None
    }

    /// Carries out one command of a run that has not ended.
    fn answer_live(&mut self, request: Request, host: &mut Host<'_>) -> Option<End> {
        let mut end = None;
        let answer = match request.command {
            Command::Pause => {
                self.run = RunState::Paused;
                Answer::Done
            }
            Command::Resume => {
                self.run = RunState::Running;
                Answer::Done
            }
            Command::Type(bytes) => self.offer_typed(bytes, host),
            Command::Quit => {
                // It enters like any other input where the run takes inputs, and a recording of
                // it ends at the same position. Elsewhere the stream at least tells of it.
                if !host.inputs.offer(&Input::Quit) {
                    let step = self.dv.steps();
                    self.stream.input(step, Input::Quit, &mut host.sinks);
                    end = Some(End::User);
                }
                self.run = RunState::Running;
                Answer::Done
            }
            ref look @ (Command::Overview | Command::Console { .. } | Command::Exits { .. }) => {
                self.look(look)
            }
            // Whoever runs this may know what it is.
            Command::Save | _ => {
                if let Some(server) = host.server.as_mut() {
                    server.leave(request);
                }
                return None;
            }
        };
        self.reply(request.generation, answer, host);
        end
    }

    /// What is typed comes back out of the run's own source of inputs.
    fn offer_typed(&mut self, bytes: Vec<u8>, host: &mut Host<'_>) -> Answer {
        if !self.bus.has_room(bytes.len()) {
            Answer::Refused("the guest does not read its console")
        } else if host.inputs.offer(&Input::Console(bytes)) {
            Answer::Done
        } else {
            Answer::Refused("this run takes no input")
        }
    }

    /// Commands that change nothing.
    fn look(&mut self, command: &Command) -> Answer {
        match command {
            Command::Overview => Answer::Overview(Box::new(self.overview())),
            Command::Console { from } => {
                let (from, bytes) = self.stream.console_from(*from);
                Answer::Console { from, bytes }
            }
            Command::Exits { from, limit } => {
                Answer::Exits(self.stream.exits_from(*from, (*limit).min(EXITS_MAX)))
            }
            Command::Pause
            | Command::Resume
            | Command::Type(_)
            | Command::Quit
            | Command::Save
            | _ => Answer::Refused("this run cannot do that"),
        }
    }

    /// Says that nobody knows what was left.
    pub(crate) fn refuse_left(&self, host: &mut Host<'_>) {
        let left = host.server.as_mut().and_then(|server| server.take_left());
        if let Some(Request { generation, .. }) = left {
            self.reply(generation, Answer::Refused("this run cannot do that"), host);
        }
    }

    fn reply(&self, generation: u64, answer: Answer, host: &mut Host<'_>) {
        if let Some(server) = host.server.as_mut() {
            server.reply(Reply { generation, at: self.position(), answer });
        }
    }

    /// Says that the run has ended.
    pub(crate) fn ended(&mut self, stop: &Stop, host: &mut Host<'_>) {
        self.run = RunState::Ended(stop.clone());
        self.reply(0, Answer::Ended(stop.clone()), host);
    }

    /// After the end: answers what a watcher still wants to know, until it goes or says quit, or
    /// something is left to the caller.
    pub fn linger(&mut self, server: &mut Server) {
        while let Ok(request) = server.wait() {
            let quit = request.command == Command::Quit;
            let answer = match request.command {
                Command::Quit => Answer::Done,
                Command::Pause
                | Command::Resume
                | Command::Type(_)
                | Command::Overview
                | Command::Console { .. }
                | Command::Exits { .. } => self.look(&request.command),
                Command::Save | _ => return server.leave(request),
            };
            server.reply(Reply { generation: request.generation, at: self.position(), answer });
            if quit {
                return;
            }
        }
    }

    /// The whole VM, now.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let vcpus = self.vcpus.iter().enumerate().map(|(index, vcpu)| VcpuView {
            id: vcpu_id(index),
            state: if vcpu.hsm == Hsm::Stopped {
                VcpuState::Stopped
            } else if self.dv.is_parked(index) {
                VcpuState::Waiting
            } else {
                VcpuState::Running
            },
            mode: self.dv.mode(index),
            pc: self.dv.pc(index),
            steps: self.dv.vcpu_steps(index),
            stats: vcpu.stats.clone(),
        });
        Overview {
            name: self.name.clone(),
            run: self.run.clone(),
            time_ns: self.dv.now_ns(),
            n_resets: self.n_resets,
            driver_calls: self.dv.driver_calls(),
            sample_every: self.sample_every,
            memory_bytes: self.ram.size(),
            mapped_bytes: self.gstage.mapped(),
            vcpus: vcpus.collect(),
        }
    }
}
