//! A run that is kept in memory: what of it is written to a file, and when.

use session::{Answer, Command, Position, Reply, Request, Server, Stop};
use traces::Header;

use crate::history::History;
use crate::subject::Subject;

/// Writes a recording that goes so far to a file; says what the file is called, or why there is
/// none.
pub type Save = Box<dyn FnMut(&Why<'_>, Position, &[u8]) -> Result<String, String> + Send>;
/// Is told how a wish to save the run ended.
pub type Told = Box<dyn FnMut(&Result<Saved, SaveError>) + Send>;

/// What a run that is kept in memory needs of its surroundings.
pub struct Means {
    /// What the run is, as a recording has it.
    pub header: Header,
    /// Where recordings go.
    pub save: Save,
    /// Hears of them.
    pub told: Told,
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("header", &self.header).finish_non_exhaustive()
    }
}

/// Why a run is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// Somebody asked for it while the run goes on.
    Asked,
    /// The run has ended.
    Ended(&'a Stop),
    /// This program has an error: the run ends wherever it is.
    Panicked,
}

/// A recording that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What the file is called.
    pub file: String,
    /// Steps that are in it.
    pub steps: u64,
    /// Its length.
    pub bytes: u64,
}

/// Why a run could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is nothing to be saved.
    #[error("the run has had more input than its history keeps: it cannot be replayed any more")]
    GaveUp,
    /// The recording could not be put together.
    #[error(transparent)]
    Write(#[from] traces::WriteError),
    /// It could not be written to a file.
    #[error("{0}")]
    File(String),
}

/// A run that is kept in memory.
#[derive(Debug)]
pub struct Kept {
    /// What is kept.
    pub history: History,
    means: Means,
}

impl Kept {
    /// A run that begins.
    #[must_use]
    pub fn new(history: History, means: Means) -> Self {
        Self { history, means }
    }

    /// The recording of the run up to where it is; with its end, if it has ended.
    pub(crate) fn recording(
        &self,
        subject: &dyn Subject,
        why: &Why<'_>,
    ) -> Result<Vec<u8>, SaveError> {
        if self.history.gave_up() {
            return Err(SaveError::GaveUp);
        }
        Ok(self.history.write(&self.means.header, subject, why)?)
    }

    /// Writes the run to a file, up to where it is.
    ///
    /// # Errors
    /// [`SaveError`]; the run can go on, and it can be tried again.
    pub fn save(&mut self, subject: &dyn Subject, why: &Why<'_>) -> Result<Saved, SaveError> {
        let saved = self.recording(subject, why).and_then(|recording| {
            let at = subject.position();
            let file = (self.means.save)(why, at, &recording).map_err(SaveError::File)?;
            Ok(Saved { file, steps: at.step, bytes: recording.len() as u64 })
        });
        (self.means.told)(&saved);
        saved
    }

    /// Answers what the run itself left.
    pub(crate) fn answer(
        &mut self,
        subject: &dyn Subject,
        why: &Why<'_>,
        server: &mut Server,
        request: Request,
    ) {
        let answer = if request.command == Command::Save {
            match self.save(subject, why) {
                Ok(Saved { file, steps, bytes }) => Answer::Saved { file, steps, bytes },
                Err(error) => Answer::Failed(error.to_string()),
            }
        } else {
            Answer::Refused("this run cannot do that")
        };
        let generation = request.generation;
        server.reply(Reply { generation, at: subject.position(), answer });
    }

    /// After the end: answers what a watcher still wants to know, until it goes or says quit.
    pub fn linger(&mut self, subject: &mut dyn Subject, stop: &Stop, server: &mut Server) {
        loop {
            subject.linger(server);
            let Some(request) = server.take_left() else { return };
            self.answer(subject, &Why::Ended(stop), server, request);
        }
    }
}

/// Answers what a run without a history left.
pub fn refuse(server: &mut Server, at: Position, why: &'static str) {
    if let Some(Request { generation, .. }) = server.take_left() {
        server.reply(Reply { generation, at, answer: Answer::Refused(why) });
    }
}
