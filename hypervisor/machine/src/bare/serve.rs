//! Answers the commands of a watcher.

use session::{
    Answer, Command, Input, Overview, Reply, Request, RunState, Server, Stats, Stop, VcpuState,
    VcpuView,
};

use super::run::{Host, hart_id};
use super::{BareMachine, End};
use crate::machine::HartState;

impl BareMachine {
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
        }
        None
    }

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
                // it ends at the same position.
                if !host.inputs.offer(&Input::Quit) {
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
    fn offer_typed(&self, bytes: Vec<u8>, host: &mut Host<'_>) -> Answer {
        let board = self.machine.platform().board();
        if !board.is_some_and(|board| board.has_room(bytes.len())) {
            Answer::Refused("the guest does not read its console")
        } else if host.inputs.offer(&Input::Console(bytes)) {
            Answer::Done
        } else {
            Answer::Refused("this run takes no input")
        }
    }

    /// Commands that change nothing.
    fn look(&self, command: &Command) -> Answer {
        match command {
            Command::Overview => Answer::Overview(Box::new(self.overview())),
            Command::Console { from } => {
                let (from, bytes) = self.stream.console_from(*from);
                Answer::Console { from, bytes }
            }
            Command::Exits { .. } => Answer::Refused("a bare machine has no exits"),
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

    /// The whole machine, now. Harts stand where a VM has vCPUs; they have no exits to count.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let machine = &self.machine;
        let vcpus = machine.harts().iter().enumerate().map(|(index, hart)| VcpuView {
            id: hart_id(index),
            state: match machine.state(index) {
                HartState::Stopped => VcpuState::Stopped,
                HartState::Started if !hart.is_waiting() => VcpuState::Running,
                HartState::Started | HartState::Parked => VcpuState::Waiting,
            },
            mode: hart.mode(),
            pc: hart.pc(),
            steps: hart.steps(),
            stats: Stats::default(),
        });
        let memory = machine.platform().memory();
        Overview {
            name: self.name.clone(),
            run: self.run.clone(),
            time_ns: machine.now_ns(),
            n_resets: self.n_resets,
            driver_calls: 0,
            sample_every: 0,
            memory_bytes: memory.size() as u64,
            mapped_bytes: memory.touched_bytes(),
            vcpus: vcpus.collect(),
        }
    }
}
