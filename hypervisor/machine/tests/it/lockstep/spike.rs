//! Spike, run as a program: what it says of each instruction that retires.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use isa::{Ext, Extensions};

use super::layout::{RAM_BASE, RAM_PAGES};

/// What both sides have. Misaligned accesses are what Zicclsm stands for there.
pub(crate) const ISA: Extensions = Extensions::ALL.without(Ext::Xdv);

/// Ends Spike where nothing retires: it counts 5000 for a trap.
const LIMIT: u64 = 500_000_000;

/// A line of the log: an instruction, and what it wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    pub(crate) pc: u64,
    pub(crate) word: u32,
    pub(crate) prv: u8,
    pub(crate) x: Option<(u8, u64)>,
    pub(crate) f: Option<(u8, u64)>,
    pub(crate) csrs: Vec<(u16, u64)>,
    /// Virtual address, value, bytes.
    pub(crate) stores: Vec<(u64, u64, usize)>,
}

#[derive(Debug)]
pub(crate) struct Spike {
    child: Child,
    log: ChildStdout,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Spike {
    /// Starts it on an ELF file.
    pub(crate) fn new(spike: &Path, program: &Path) -> Self {
        let mut child = Command::new(spike)
            .arg(format!("--isa={}_zicclsm", ISA.device_tree_isa()))
            .arg(format!("-m{RAM_BASE:#x}:{:#x}", RAM_PAGES * 4096))
            .args(["--priv=msu", "--pmpregions=16", "--pmpgranularity=4096", "--triggers=0"])
            // A file is written in large pieces, the standard error byte by byte.
            .args(["--log-commits", "--log=/dev/stdout", &format!("--instructions={LIMIT}")])
            .arg(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|err| panic!("{} does not run: {err}", spike.display()));
        let log = child.stdout.take().unwrap();
        Self { child, log, buffer: vec![0; 1 << 18], begin: 0, end: 0 }
    }

    /// The next instruction, if there is one.
    pub(crate) fn next(&mut self, commit: &mut Commit) -> Result<bool, String> {
        loop {
            let line = &self.buffer[self.begin..self.end];
            if let Some(n) = line.iter().position(|byte| *byte == b'\n') {
                let line = &line[..n];
                self.begin += n + 1;
                if line.starts_with(b"core") {
                    let parsed = parse(line, commit).map(|()| true);
                    return parsed
                        .ok_or_else(|| format!("a line: {}", String::from_utf8_lossy(line)));
                }
                continue;
            }
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            match self.log.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err.to_string()),
            }
        }
    }
}

impl Drop for Spike {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The hexadecimal digits at the begin, and how many they are.
fn hex(text: &[u8]) -> (u64, usize) {
    let mut value = 0;
    for (i, byte) in text.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return (value, i),
        };
        value = value << 4 | u64::from(digit);
    }
    (value, text.len())
}

fn decimal(text: &[u8]) -> u16 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |value, byte| value * 10 + u16::from(byte - b'0'))
}

/// `core   0: 3 0x0000000080000000 (0x00000297) x5  0x0000… c768_mstatus 0x… mem 0x… 0x…`
fn parse(line: &[u8], commit: &mut Commit) -> Option<()> {
    commit.x = None;
    commit.f = None;
    commit.csrs.clear();
    commit.stores.clear();
    let at = line.iter().position(|byte| *byte == b':')?;
    let mut words = line[at + 1..].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    commit.prv = words.next()?.first()?.wrapping_sub(b'0');
    commit.pc = hex(words.next()?.get(2..)?).0;
    commit.word = u32::try_from(hex(words.next()?.get(3..)?).0).ok()?;
    let mut next = words.next();
    while let Some(word) = next {
        let value = words.next()?.get(2..)?;
        let (number, digits) = hex(value);
        next = words.next();
        match word[0] {
            b'x' => commit.x = Some((u8::try_from(decimal(&word[1..])).ok()?, number)),
            b'f' => commit.f = Some((u8::try_from(decimal(&word[1..])).ok()?, number)),
            b'c' => commit.csrs.push((decimal(&word[1..]), number)),
            b'm' if digits == 16 => {
                if let Some(stored) = next.filter(|word| word.starts_with(b"0x")) {
                    let (value, digits) = hex(&stored[2..]);
                    commit.stores.push((number, value, digits / 2));
                    next = words.next();
                }
            }
            _ => return None,
        }
    }
    Some(())
}
