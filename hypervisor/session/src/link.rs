//! A session in the same process: the watcher's end and the run's end of a pair of bounded queues.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::{Capabilities, Disconnected, Reply, Request, Session};

/// Requests that may wait; a watcher that asks faster than the run answers is refused.
const QUEUE_MAX: usize = 256;

/// The watcher's end.
#[derive(Debug)]
pub struct Client {
    capabilities: Capabilities,
    requests: SyncSender<Request>,
    replies: Receiver<Reply>,
}

/// The run's end.
#[derive(Debug)]
pub struct Server {
    requests: Receiver<Request>,
    replies: SyncSender<Reply>,
    /// What the run itself cannot answer.
    left: Option<Request>,
}

/// Asks for things whose answers the watcher hears.
#[derive(Clone, Debug)]
pub struct Asker {
    requests: SyncSender<Request>,
}

impl Asker {
    /// Asks for something, if the queue has room for it.
    pub fn send(&self, request: Request) {
        // Of a run that is gone nobody can ask anything.
        let _ = self.requests.try_send(request);
    }
}

impl Client {
    /// Another one who can ask.
    #[must_use]
    pub fn asker(&self) -> Asker {
        Asker { requests: self.requests.clone() }
    }
}

/// Makes a connected pair.
#[must_use]
pub fn link(capabilities: Capabilities) -> (Client, Server) {
    let (requests, request_end) = sync_channel(QUEUE_MAX);
    let (reply_end, replies) = sync_channel(QUEUE_MAX);
    let client = Client { capabilities, requests, replies };
    (client, Server { requests: request_end, replies: reply_end, left: None })
}

impl Session for Client {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn send(&mut self, request: Request) -> Result<(), Disconnected> {
        match self.requests.try_send(request) {
            // A full queue means that an older request of the same kind is still unanswered.
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(Disconnected),
        }
    }

    fn poll(&mut self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }
}

impl Server {
    /// The next request, if one waits.
    ///
    /// # Errors
    /// [`Disconnected`] if the watcher is gone.
    pub fn poll(&mut self) -> Result<Option<Request>, Disconnected> {
        match self.requests.try_recv() {
            Ok(request) => Ok(Some(request)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Disconnected),
        }
    }

    /// Waits for the next request (a paused run has nothing else to do).
    ///
    /// # Errors
    /// [`Disconnected`] if the watcher is gone.
    pub fn wait(&mut self) -> Result<Request, Disconnected> {
        self.requests.recv().or(Err(Disconnected))
    }

    /// Leaves a request to whoever runs the run, which comes back for it.
    pub fn leave(&mut self, request: Request) {
        debug_assert!(self.left.is_none(), "one at a time");
        self.left = Some(request);
    }

    /// Whether a request is left.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// The request that is left.
    pub fn take_left(&mut self) -> Option<Request> {
        self.left.take()
    }

    /// Sends an answer; never waits for a slow watcher (the answer is dropped, it will ask again).
    pub fn reply(&mut self, reply: Reply) {
        let _ = self.replies.try_send(reply);
    }
}
