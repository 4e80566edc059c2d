//! When this process is closed to the host, and what is said of it.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use sandbox::{Disk, Plan, Sandbox, Ui};

use crate::say;
use crate::values::{self, DiskMode};

/// What becomes of this process before the guest runs.
pub(crate) struct Confine {
    /// Nothing with `--no-sandbox`.
    plan: Option<Plan>,
    begun: Option<Sandbox>,
}

impl Confine {
    /// For a run with this disk, shown by this, recorded or not.
    pub(crate) fn new(
        no_sandbox: bool,
        ui: Ui,
        disk: Option<&values::Disk>,
        records: bool,
    ) -> Self {
        let disk = match disk.map(|disk| disk.mode) {
            None => Disk::None,
            Some(DiskMode::Private | DiskMode::ReadOnly) => Disk::Read,
            Some(DiskMode::ReadWrite) => Disk::Write,
        };
        Self { plan: (!no_sandbox).then_some(Plan { ui, disk, records }), begun: None }
    }

    /// Everything is open and no thread has been started: no file is opened from here on.
    pub(crate) fn begin(&mut self) {
        let Some(plan) = self.plan else {
            tracing::info!("--no-sandbox: this process keeps its rights");
            return;
        };
        let begun = Sandbox::begin(plan);
        for lack in begun.lacks() {
            tracing::warn!("{lack}");
            say::note(&format!("duvisor: {lack}"));
        }
        self.begun = Some(begun);
    }

    /// All threads are there: from here on a guest may run.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(begun) = &self.begun else { return Ok(()) };
        begun.close().context("closing this process to the host (--no-sandbox leaves it open)")
    }
}

/// Makes the terminal standard input where that is something else: later it cannot be opened.
///
/// Without a terminal the terminal UI says so.
pub(crate) fn take_terminal() {
    if !io::stdin().is_terminal()
        && let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty")
    {
        let _ = rustix::stdio::dup2_stdin(terminal);
    }
}

/// Creates a file, or empties one; a new one is for this user only.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
