//! Runs the program, and reads what it says.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// A run that takes longer hangs: far more than any needs on a slow machine.
const HANG: Duration = Duration::from_secs(900);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The rest of the line on standard output that begins so.
    #[track_caller]
    pub(crate) fn line(&self, begin: &str) -> &str {
        let found = self.out.lines().find_map(|line| line.strip_prefix(begin));
        found.unwrap_or_else(|| panic!("no line begins with {begin:?}: {self:#?}")).trim()
    }

    /// The digests of events and state.
    #[track_caller]
    pub(crate) fn digests(&self) -> (&str, &str) {
        (self.line("digest of events "), self.line("digest of state "))
    }

    /// Ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what the assertions look at.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

fn wait(child: &mut Child, from: &Receiver<Vec<u8>>, args: &[&str]) -> String {
    match from.recv_timeout(HANG) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => {
            child.kill().unwrap();
            panic!("duvisor {args:?} hangs");
        }
    }
}

/// Runs the program to its end. There is no terminal, and nobody types.
#[track_caller]
pub(crate) fn duvisor(args: &[&str]) -> Ran {
    duvisor_in(args, &[])
}

/// The same with other variables in its environment.
#[track_caller]
pub(crate) fn duvisor_in(args: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut child = spawn(args, environment);
    let out = read_all(child.stdout.take().unwrap());
    ended(child, args, |child| wait(child, &out, args))
}

/// The same, and whoever should read its output has gone away.
#[track_caller]
pub(crate) fn duvisor_unread(args: &[&str]) -> Ran {
    let mut child = spawn(args, &[]);
    drop(child.stdout.take());
    ended(child, args, |_| String::new())
}

fn spawn(args: &[&str], environment: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_duvisor"))
        .args(args)
        .env("COLUMNS", "100")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(mut child: Child, args: &[&str], out: impl FnOnce(&mut Child) -> String) -> Ran {
    let err = read_all(child.stderr.take().unwrap());
    let out = out(&mut child);
    let err = wait(&mut child, &err, args);
    Ran { code: child.wait().unwrap().code(), out, err }
}

/// A headless run of a guest that does not wait for anybody.
#[track_caller]
pub(crate) fn run(guest: &str, args: &[&str]) -> Ran {
    let mut all = vec!["run", guest, "--headless", "--warp"];
    all.extend(args);
    duvisor(&all)
}

/// A file of this name that only one test uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The same, with this in it; its path as text.
pub(crate) fn scratch_with(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = scratch(name);
    std::fs::write(&path, bytes).unwrap();
    text(path)
}

pub(crate) fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

/// A guest's committed image.
pub(crate) fn prebuilt(guest: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guests/prebuilt");
    folder.join(format!("{guest}.elf"))
}

/// The lines of an event file, the schema's line among them.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An event as a line with fixed columns: number, vCPU, step, pc, mode; cause and outcome.
pub(crate) fn plain(event: &Value) -> String {
    let seq = event["seq"].as_u64().unwrap();
    let step = event["step"].as_u64().unwrap();
    let what = match event["event"].as_str().unwrap() {
        "exit" => format!(
            "vcpu {} {:<2} {:#x} {} -> {}",
            event["vcpu"],
            event["mode"].as_str().unwrap(),
            event["pc"].as_u64().unwrap(),
            variant(&event["cause"]),
            variant(&event["outcome"]),
        ),
        "console" => format!("console {:?}", bytes(&event["bytes"])),
        "input" => format!("input {}", event["input"]),
        "vm" => format!("vm {}", variant(&event["state"])),
        other => panic!("what is {other}?"),
    };
    format!("{seq:>5} {step:>9} {what}")
}

/// Bytes of an event as text.
pub(crate) fn bytes(array: &Value) -> String {
    let bytes = array.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap());
    let bytes: Vec<u8> = bytes.map(|byte| u8::try_from(byte).unwrap()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A variant of an enum: its name, and its fields with large numbers in hex.
pub(crate) fn variant(value: &Value) -> String {
    let Value::Object(object) = value else { return value.as_str().unwrap().to_owned() };
    let (name, body) = object.iter().next().unwrap();
    let Value::Object(fields) = body else { return format!("{name} {}", short(body)) };
    let fields = fields.iter().map(|(field, value)| format!("{field} {}", short(value)));
    format!("{name}: {}", fields.collect::<Vec<_>>().join(", "))
}

fn short(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(large @ 10..) => format!("{large:#x}"),
            _ => number.to_string(),
        },
        Value::Array(all) => format!("({})", all.iter().map(short).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Object(_) => variant(value),
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}
