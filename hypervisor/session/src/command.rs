//! Requests to a session and its answers.

use crate::{Exit, Overview, Position, Stop};

/// What a session can do; asked before a command is offered to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The run goes on by itself (false: it is a recording).
    pub live: bool,
    /// Commands that change the guest are taken.
    pub control: bool,
    /// The run can be visited at any position.
    pub time_travel: bool,
}

/// Something asked of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// The state of the whole VM, now.
    Overview,
    /// The guest's console output from this byte on (as much of it as is kept).
    Console {
        /// Bytes of the stream that the asker has already.
        from: u64,
    },
    /// The newest exits with a `seq` of at least `from`, at most `limit` of them.
    Exits {
        /// First `seq` of interest.
        from: u64,
        /// At most so many.
        limit: usize,
    },
    /// Stop making steps at the end of this slice.
    Pause,
    /// Go on.
    Resume,
    /// Type these bytes on the guest's console.
    Type(Vec<u8>),
    /// End the run.
    Quit,
    /// Write what is known of the run to a file, from which all of it can be replayed.
    Save,
}

/// A command with the number by which its answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the asker; comes back in the [`Reply`].
    pub generation: u64,
    /// What is asked.
    pub command: Command,
}

/// What a command brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Command::Overview`].
    Overview(Box<Overview>),
    /// To [`Command::Console`].
    Console {
        /// Position of the first byte in the stream; larger than asked if older ones are gone,
        /// smaller if the run has been taken back and has not written what the asker has.
        from: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// To [`Command::Exits`]: oldest first.
    Exits(Vec<Exit>),
    /// Done.
    Done,
    /// This session cannot do that; the sentence says why.
    Refused(&'static str),
    /// It was tried, and this went wrong.
    Failed(String),
    /// To [`Command::Save`], whoever gave it.
    Saved {
        /// What the file is called.
        file: String,
        /// Steps that are in it.
        steps: u64,
        /// Its length.
        bytes: u64,
    },
    /// Unasked, once: the run ended.
    Ended(Stop),
}

/// An answer and the position that it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub generation: u64,
    /// Where the run was.
    pub at: Position,
    /// The answer.
    pub answer: Answer,
}

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

/// A machine or VM as its watchers see it. No method blocks.
pub trait Session {
    /// What this session can do.
    fn capabilities(&self) -> Capabilities;

    /// Asks for something; the answer comes out of [`Session::poll`].
    ///
    /// # Errors
    /// [`Disconnected`] if nobody will ever answer.
    fn send(&mut self, request: Request) -> Result<(), Disconnected>;

    /// The next answer, if one is there.
    fn poll(&mut self) -> Option<Reply>;
}
