//! Sinks of the event stream: JSON lines to a file, and their BLAKE3.
//!
//! The first line says which schema the others follow. The digest is the BLAKE3 of exactly the
//! bytes that `--events` writes, so `b3sum` of the file tells the same.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use session::{Event, Sink};
use tracing::{debug, error, warn};

use crate::confine;

/// The first line; its version is raised whenever the shape of a line changes.
pub(crate) const SCHEMA_LINE: &str = "{\"schema\":\"duvisor-events\",\"version\":1}\n";

/// Events that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the events in {path} are not complete, since writing them failed")]
pub(crate) struct EventsError {
    path: String,
    source: io::Error,
}

/// Writes events as JSON lines.
pub(crate) struct JsonLines {
    path: String,
    out: Option<Box<dyn Write + Send>>,
    hash: Option<blake3::Hasher>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
    /// Set at that error: a run whose events are lost is of no use.
    stop: Vec<Arc<AtomicBool>>,
    line: Vec<u8>,
}

impl JsonLines {
    /// Lines to `path` ("-" is standard output), hashed if `digest`.
    ///
    /// Creates the file: to be called when nothing else can be wrong with a run.
    pub(crate) fn new(
        path: Option<&Path>,
        digest: bool,
        stop: &[&Arc<AtomicBool>],
    ) -> Result<Self> {
        let out: Option<Box<dyn Write + Send>> = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(io::stdout())),
            Some(path) => {
                let file = confine::create(path)
                    .with_context(|| format!("creating the event file {}", path.display()))?;
                debug!(path = %path.display(), "created the event file");
                Some(Box::new(BufWriter::with_capacity(1 << 16, file)))
            }
        };
        let mut lines = Self {
            path: path.map(|path| path.display().to_string()).unwrap_or_default(),
            out,
            hash: digest.then(blake3::Hasher::new),
            failed: None,
            stop: stop.iter().map(|flag| Arc::clone(flag)).collect(),
            line: Vec::new(),
        };
        lines.line.extend_from_slice(SCHEMA_LINE.as_bytes());
        lines.write_line();
        Ok(lines)
    }

    /// Whether anybody wants the lines.
    pub(crate) fn is_used(&self) -> bool {
        self.out.is_some() || self.hash.is_some()
    }

    fn write_line(&mut self) {
        if let Some(hash) = &mut self.hash {
            hash.update(&self.line);
        }
        if let Some(out) = &mut self.out {
            let written = out.write_all(&self.line);
            self.look_at(written);
        }
    }

    fn look_at(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        self.out = None;
        if error.kind() == io::ErrorKind::BrokenPipe {
            warn!(path = self.path, "whoever read the events went away; the run goes on");
            return;
        }
        error!(path = self.path, "writing the events failed: {error}");
        self.failed = Some(error);
        self.stop.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }

    /// Ends the file; gives the digest of what was (or would have been) written.
    pub(crate) fn finish(mut self) -> Result<Option<blake3::Hash>> {
        if let Some(out) = &mut self.out {
            let flushed = out.flush();
            self.look_at(flushed);
        }
        match self.failed.take() {
            Some(source) => Err(EventsError { path: self.path, source }.into()),
            None => Ok(self.hash.map(|hash| hash.finalize())),
        }
    }
}

impl Sink for JsonLines {
    fn event(&mut self, event: &Event) {
        self.line.clear();
        // Writing to memory cannot fail, and an event has no key that is not a string.
        if serde_json::to_writer(&mut self.line, event).is_ok() {
            self.line.push(b'\n');
            self.write_line();
        }
    }
}
