//! Sinks of the event stream: JSON lines to a file, and their BLAKE3.
//!
//! The first line says which schema the others follow. The digest is the BLAKE3 of exactly the
//! bytes that `--events` writes, so `b3sum` of the file tells the same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use session::{Event, Sink};

/// Raised whenever the shape of a line changes.
const SCHEMA_VERSION: u32 = 1;

/// Writes events as JSON lines.
pub(crate) struct JsonLines {
    out: Option<Box<dyn Write + Send>>,
    hash: Option<blake3::Hasher>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
    line: Vec<u8>,
}

impl JsonLines {
    /// Lines to `path` ("-" is standard output), hashed if `digest`.
    pub(crate) fn new(path: Option<&Path>, digest: bool) -> Result<Self> {
        let out: Option<Box<dyn Write + Send>> = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(io::stdout())),
            Some(path) => {
                let file = File::create(path)
                    .with_context(|| format!("creating the event file {}", path.display()))?;
                Some(Box::new(BufWriter::with_capacity(1 << 16, file)))
            }
        };
        let hash = digest.then(blake3::Hasher::new);
        let mut lines = Self { out, hash, failed: None, line: Vec::new() };
        lines.line =
            format!("{{\"schema\":\"duvisor-events\",\"version\":{SCHEMA_VERSION}}}\n").into();
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
        if let (Some(out), None) = (&mut self.out, &self.failed) {
            self.failed = out.write_all(&self.line).err();
        }
    }

    /// Ends the file; gives the digest of what was (or would have been) written.
    pub(crate) fn finish(mut self) -> Result<Option<blake3::Hash>> {
        if let (Some(out), None) = (&mut self.out, &self.failed) {
            self.failed = out.flush().err();
        }
        if let Some(error) = self.failed {
            return Err(error).context("writing the event file");
        }
        Ok(self.hash.map(|hash| hash.finalize()))
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
