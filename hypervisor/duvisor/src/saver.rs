//! Files for a process that can open none: another one, started before, writes what comes through
//! a pipe.
//!
//! ```text
//!   run, closed to its host          saver, a process of its own
//!   which file, step, length ──────▶
//!   bytes ─────────────────────────▶ FILE.part, then FILE
//!                            ◀────── what the file is called, or what went wrong
//! ```
//! Which files there can be is settled at the start: a guest that got out of its VM can fill them,
//! and name no other.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use session::Position;
use timeline::Why;

use crate::args::{Keep, SaverOptions};
use crate::{confine, report};

/// Longest name of a file, or sentence about one.
const TEXT_MAX: u64 = 1 << 16;
/// Longest name of a guest in a file's.
const NAME_MAX: usize = 64;

/// Which of the files is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Asked,
    Crash,
}

/// The run's end of the pipe.
pub(crate) struct Saver {
    to: ChildStdin,
    from: ChildStdout,
    /// Kept as long as the pipes; it ends when they do.
    _child: Child,
}

/// Whether a file can be there later.
fn check(option: &str, path: &Path) -> Result<()> {
    if path.exists() {
        bail!("{option} {}: the file exists already", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if !folder.is_dir() {
        bail!("{option} {}: {} is no folder", path.display(), folder.display());
    }
    Ok(())
}

impl Saver {
    /// Starts the other process; to be called while this one has one thread and all of its rights.
    pub(crate) fn start(name: &str, keep: &Keep) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("saver").arg(file_name(name));
        for (option, path) in [("--save", &keep.save), ("--save-on-crash", &keep.save_on_crash)] {
            if let Some(path) = path {
                check(option, path)?;
                command.arg(option).arg(path);
            }
        }
        // What the terminal sends to this program is none of that one's business.
        command.process_group(0);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn().context("starting the process that writes files")?;
        let to = child.stdin.take().context("a pipe")?;
        let from = child.stdout.take().context("a pipe")?;
        Ok(Self { to, from, _child: child })
    }

    /// Has a recording written; says what the file is called.
    pub(crate) fn save(
        &mut self,
        why: &Why<'_>,
        at: Position,
        recording: &[u8],
    ) -> Result<String, String> {
        let which = match why {
            Why::Panicked => Which::Crash,
            Why::Ended(stop) if report::is_crash(stop) => Which::Crash,
            Why::Ended(_) | Why::Asked => Which::Asked,
        };
        let said = self.ask(which, at.step, recording);
        said.unwrap_or_else(|error| Err(format!("the process that writes files is gone: {error}")))
    }

    fn ask(&mut self, which: Which, step: u64, bytes: &[u8]) -> io::Result<Result<String, String>> {
        self.to.write_all(&[u8::from(which == Which::Crash)])?;
        self.to.write_all(&step.to_le_bytes())?;
        self.to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.to.write_all(bytes)?;
        let done = byte(&mut self.from)? == 0;
        let mut text = Vec::new();
        let length = number(&mut self.from)?.min(TEXT_MAX);
        (&mut self.from).take(length).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(if done { Ok(text) } else { Err(text) })
    }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A guest's name as a part of a file's.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String =
        name.chars().map(|c| if plain(c) { c } else { '-' }).take(NAME_MAX).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "guest".to_owned() } else { name.to_owned() }
}

/// The other process.
pub(crate) fn run(options: &SaverOptions) -> Result<u8> {
    sandbox::shut().map_err(anyhow::Error::msg)?;
    let (mut from, mut to) = (io::stdin().lock(), io::stdout().lock());
    // A file that was named is replaced, once it is one of this run.
    let mut ours = Vec::new();
    while let Ok(which) = byte(&mut from) {
        let (step, length) = (number(&mut from)?, number(&mut from)?);
        let crash = options.save_on_crash.as_ref().filter(|_| which == 1);
        let default = || PathBuf::from(format!("{}-{step}.dvt", options.name));
        let path = crash.or(options.save.as_ref()).cloned().unwrap_or_else(default);
        let mut bytes = (&mut from).take(length);
        let written = write(&path, ours.contains(&path), &mut bytes);
        // Whatever became of it, the next request stands behind.
        io::copy(&mut bytes, &mut io::sink())?;
        let (code, text) = match written {
            Ok(()) => (0, path.display().to_string()),
            Err(error) => (1, format!("{}: {error}", path.display())),
        };
        if code == 0 && !ours.contains(&path) {
            ours.push(path);
        }
        to.write_all(&[code])?;
        to.write_all(&(text.len() as u64).to_le_bytes())?;
        to.write_all(text.as_bytes())?;
        to.flush()?;
    }
    Ok(0)
}

/// Writes a file as a whole, or not at all.
fn write(path: &Path, replace: bool, bytes: &mut impl Read) -> io::Result<()> {
    if !replace && path.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists already"));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = confine::create(&part).and_then(|mut file| io::copy(bytes, &mut file));
    let moved = written.and_then(|_| fs::rename(&part, path));
    moved.inspect_err(|_error| {
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_name_is_a_part_of_a_file_name() {
        assert_eq!(file_name("demo"), "demo");
        assert_eq!(file_name("../../etc/my guest"), "etc-my-guest");
        assert_eq!(file_name("..."), "guest");
        assert_eq!(file_name(&"x".repeat(1000)).len(), NAME_MAX);
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("duvisor-saver-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.dvt");
        write(&path, false, &mut &b"one"[..]).unwrap();
        assert!(write(&path, false, &mut &b"two"[..]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, true, &mut &b"two"[..]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // A reader that fails in the middle.
        let mut broken = b"three".chain(Broken);
        assert!(write(&path, true, &mut broken).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _to: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }
}
