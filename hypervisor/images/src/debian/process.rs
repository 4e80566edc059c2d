//! Runs the machine's package tools: their lines as they come, an end when asked for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::FetchError;

/// How often a running tool is looked at.
const TICK: Duration = Duration::from_millis(40);

/// The most output of one tool that is kept; it goes on running past that.
const MAX_OUTPUT: usize = 16 << 20;

/// What the tools run with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a> {
    /// Where the tools work and where their output is kept.
    pub(super) dir: &'a Path,
    /// apt's configuration; none means the machine's own.
    pub(super) apt_config: Option<&'a Path>,
    /// Set from outside to end the tool.
    pub(super) stop: &'a AtomicBool,
}

/// A child that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a child that has ended, and then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Runner<'_> {
    /// Runs a tool to its end and gives its output.
    ///
    /// Output goes through a file, not a pipe: a tool that falls silent must still be stoppable
    /// without a second thread.
    pub(super) fn run(
        &self,
        program: &'static str,
        args: &[&OsStr],
        on_line: &mut dyn FnMut(&str),
    ) -> Result<String, FetchError> {
        let (out, err) = (self.dir.join("tool.out"), self.dir.join("tool.err"));
        let create = |path: &Path| File::create(path).map_err(|e| FetchError::file(path, e));
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir).env("LC_ALL", "C");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command.stdout(create(&out)?).stderr(create(&err)?);
        if let Some(config) = self.apt_config {
            command.env("APT_CONFIG", config);
        }
        let reader = File::open(&out).map_err(|error| FetchError::file(&out, error))?;
        let mut lines = Lines { reader, text: String::new(), shown: 0 };
        let child = command.spawn().map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                return FetchError::NoTool { program };
            }
            FetchError::Start { program, source }
        })?;
        let mut running = Running(child);
        let status = loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(FetchError::Interrupted);
            }
            let ended = running.0.try_wait();
            lines.read(on_line).map_err(|error| FetchError::file(&out, error))?;
            match ended {
                Ok(Some(status)) => break status,
                Ok(None) => std::thread::sleep(TICK),
                Err(source) => return Err(FetchError::Start { program, source }),
            }
        };
        if status.success() {
            return Ok(lines.text);
        }
        let complaint = std::fs::read(&err).map(|bytes| String::from_utf8_lossy(&bytes).into());
        Err(self.failed(program, complaint.unwrap_or_default()))
    }

    /// A Ctrl-C at the terminal ends the tool before it reaches us.
    fn failed(&self, program: &'static str, complaint: String) -> FetchError {
        if self.stop.load(Ordering::Relaxed) {
            return FetchError::Interrupted;
        }
        FetchError::Tool { program, complaint }
    }
}

/// The output so far, and how much of it has been passed on as lines.
struct Lines {
    reader: File,
    text: String,
    shown: usize,
}

impl Lines {
    fn read(&mut self, on_line: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        if self.text.len() < MAX_OUTPUT {
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let unseen = self.text.get(self.shown..).unwrap_or_default();
        let whole = unseen.rfind('\n').map_or(0, |at| at + 1);
        for line in unseen.get(..whole).unwrap_or_default().lines() {
            on_line(line);
        }
        self.shown += whole;
        Ok(())
    }
}
