//! A recording as people and programs read it: a summary, and its records one a line.

use std::fmt::Write as _;
use std::io;
use std::str::FromStr;

use serde_json::{Value, json};
use session::{Event, ExitKind, Position, VcpuId, VmState};

use crate::chunk::ChunkKind;
use crate::header::{Image, Kind};
use crate::reader::{ReadError, Reader, time_of};
use crate::record::{How, Record};
use crate::schema::hex;

/// A kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// VM exits: all, or of one kind.
    Exit(Option<ExitKind>),
    /// Traps of a bare machine.
    Trap,
    /// What the guest wrote to its console.
    Console,
    /// What came in.
    Input,
    /// What became of the VM.
    Vm,
    /// What the recording says of itself: how inputs entered, what a disk held, its end.
    Record,
}

impl FromStr for Shown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "exit" => Self::Exit(None),
            "trap" => Self::Trap,
            "console" => Self::Console,
            "input" => Self::Input,
            "vm" => Self::Vm,
            "record" => Self::Record,
            _ => {
                let kind = ExitKind::ALL.into_iter().find(|kind| kind.name() == text);
                Self::Exit(Some(kind.ok_or_else(|| {
                    let all: Vec<&str> = ExitKind::ALL.iter().map(|kind| kind.name()).collect();
                    format!(
                        "expected exit, trap, console, input, vm, record, or a kind of exit: {}",
                        all.join(", ")
                    )
                })?))
            }
        })
    }
}

/// Which records are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From here on.
    pub from: Position,
    /// Up to here, if anywhere.
    pub to: Option<Position>,
    /// Of these kinds; if there is none, all events.
    pub kinds: Vec<Shown>,
    /// Only what this vCPU did.
    pub vcpu: Option<VcpuId>,
}

impl Filter {
    /// Whether an event is printed.
    fn has(&self, event: &Event) -> bool {
        let of_kind = |kind: &Shown| match event {
            Event::Exit(exit) => match kind {
                Shown::Exit(None) => true,
                Shown::Exit(Some(kind)) => exit.cause.kind() == *kind,
                Shown::Trap | Shown::Console | Shown::Input | Shown::Vm | Shown::Record => false,
            },
            Event::Trap(_) => *kind == Shown::Trap,
            Event::Console { .. } => *kind == Shown::Console,
            Event::Input { .. } => *kind == Shown::Input,
            Event::Vm { .. } => *kind == Shown::Vm,
            _ => false,
        };
        let vcpu = match event {
            Event::Exit(exit) => Some(exit.vcpu),
            Event::Trap(trap) => Some(trap.hart),
            Event::Vm {
                state: VmState::VcpuStarted(vcpu) | VmState::VcpuStopped(vcpu), ..
            } => Some(*vcpu),
            Event::Console { .. } | Event::Input { .. } | Event::Vm { .. } | _ => None,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(of_kind))
            && (self.vcpu.is_none() || self.vcpu == vcpu)
    }

    /// Whether what the recording says of itself is printed.
    fn has_records(&self) -> bool {
        self.kinds.contains(&Shown::Record)
    }
}

/// What a recording is, as one JSON object.
#[must_use]
pub fn info(reader: &Reader) -> Value {
    let header = reader.header();
    let settings = header.settings.iter().map(|(name, value)| json!([name, value]));
    let images = header.images.iter().map(|image| {
        let hash = hex(&image.hash);
        json!({ "role": image.role, "name": image.name, "bytes": image.bytes, "blake3": hash })
    });
    let place = |(at, time_ns): (Position, u64)| {
        let Position { step, seq } = at;
        json!({ "step": step, "seq": seq, "time_ns": time_ns })
    };
    let end = reader.end().map(|end| {
        let hash = &end.hash;
        json!({ "stop": end.stop, "state": hex(&hash.state), "ram": hex(&hash.ram) })
    });
    let (major, minor) = reader.version();
    let chunks = ChunkKind::ALL.map(|kind| {
        let (chunks, bytes) = (reader.chunks(kind), reader.bytes_of(kind));
        (kind.name().to_owned(), json!({ "chunks": chunks, "bytes": bytes }))
    });
    let keyframes = reader.keyframes().iter().map(|frame| place((frame.at, frame.time_ns)));
    let damages = reader.damages().iter().map(ToString::to_string);
    json!({
        "format": format!("{major}.{minor}"),
        "tool": header.tool,
        "kind": match header.kind { Kind::Vm => "vm", Kind::Machine => "machine" },
        "model": header.model,
        "id": hex(&header.id),
        "settings": settings.collect::<Vec<_>>(),
        "images": images.collect::<Vec<_>>(),
        "bytes": reader.bytes(),
        "first": place(reader.first()),
        "last": place(reader.last()),
        "records": reader.n_records(),
        "keyframes": keyframes.collect::<Vec<_>>(),
        "chunks": Value::Object(chunks.into_iter().collect()),
        "end": end,
        "damages": damages.collect::<Vec<_>>(),
    })
}

/// The same as lines of text.
#[must_use]
pub fn info_text(reader: &Reader) -> String {
    let mut text = String::new();
    let header = reader.header();
    let (major, minor) = reader.version();
    let kind = match header.kind {
        Kind::Vm => "a VM",
        Kind::Machine => "a bare machine",
    };
    let end = match reader.end() {
        Some(end) => end.stop.to_string(),
        None => "not recorded: the run broke off, goes on, or this is a part of it".to_owned(),
    };
    let place = |(at, time_ns): (Position, u64)| {
        format!("step {}, event {}, {} s", at.step, at.seq, seconds(time_ns))
    };
    let rows = [
        ("recording of", kind.to_owned()),
        ("made by", format!("{}, model {}", header.tool, header.model)),
        ("format", format!("{major}.{minor}")),
        ("id", hex(&header.id)),
        ("from", place(reader.first())),
        ("to", place(reader.last())),
        ("end", end),
        ("records", reader.n_records().to_string()),
        ("keyframes", reader.keyframes().len().to_string()),
        ("bytes", reader.bytes().to_string()),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<14}{value}");
    }
    for kind in ChunkKind::ALL {
        let (chunks, bytes) = (reader.chunks(kind), reader.bytes_of(kind));
        if chunks > 0 {
            let _ = writeln!(text, "  {:<12}{bytes} in {chunks} chunks", kind.name());
        }
    }
    for image in &header.images {
        let Image { role, name, bytes, hash } = image;
        let _ = writeln!(text, "{role:<14}{name}, {bytes} bytes");
        // A disk is hashed block by block, as it is read.
        if *hash != [0; 32] {
            let _ = writeln!(text, "  {:<12}{}", "BLAKE3", hex(hash));
        }
    }
    text.push_str("settings\n");
    for (name, value) in &header.settings {
        let _ = writeln!(text, "  {name} = {value}");
    }
    for damage in reader.damages() {
        let _ = writeln!(text, "{:<14}{damage}", "damage");
    }
    text
}

/// Prints records, one a line, as JSON (events as `--events` writes them) or as text. What is
/// missing is a line, too: damage, and events that were lost. How often there was damage comes
/// back.
///
/// # Errors
/// Of the output, and of the file.
pub fn cat(
    reader: &Reader,
    out: &mut dyn io::Write,
    filter: &Filter,
    as_json: bool,
) -> io::Result<u64> {
    let mut n_damages = 0;
    for record in reader.records(filter.from) {
        let record = match record {
            Ok(record) => record,
            Err(ReadError::Damaged(damage)) => {
                n_damages += 1;
                let value = json!({ "record": "damage", "text": damage.to_string() });
                if as_json {
                    writeln!(out, "{value}")?
                } else {
                    writeln!(out, "{damage}")?
                }
                continue;
            }
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::NoKeyframe(_) | ReadError::TooLarge { .. }) => continue,
        };
        if let Some((at, _)) = record.now() {
            if filter.to.is_some_and(|to| at > to) {
                break;
            }
            if at < filter.from {
                continue;
            }
        }
        if let Record::Input(input) = &record {
            // The event that it was, for whoever reads events.
            let Position { step, seq } = input.at;
            let event = Event::Input { seq, step, input: input.input.clone() };
            if filter.has(&event) {
                print(out, &Record::Event(event), as_json)?;
            }
        }
        let is_shown = match &record {
            Record::Event(event) => filter.has(event),
            Record::Lost { .. } => true,
            Record::Unknown { .. } => filter.kinds.is_empty() || filter.has_records(),
            Record::Input(_) | Record::DiskRead(_) | Record::PreImage { .. } | Record::End(_) => {
                filter.has_records()
            }
        };
        if is_shown {
            print(out, &record, as_json)?;
        }
    }
    Ok(n_damages)
}

fn print(out: &mut dyn io::Write, record: &Record, as_json: bool) -> io::Result<()> {
    match record {
        Record::Event(event) if as_json => {
            serde_json::to_writer(&mut *out, event)?;
            writeln!(out)
        }
        _ if as_json => writeln!(out, "{}", record_json(record)),
        Record::Event(event) => writeln!(out, "{}", event_line(event)),
        Record::Input(_)
        | Record::DiskRead(_)
        | Record::PreImage { .. }
        | Record::Lost { .. }
        | Record::End(_)
        | Record::Unknown { .. } => writeln!(out, "{}", line(&record_json(record))),
    }
}

/// An event as a line of text: its number, step and guest time in seconds, and what it is.
#[must_use]
pub fn event_line(event: &Event) -> String {
    let Position { step, seq } = event.position();
    let time = time_of(event).map_or_else(|| "-".to_owned(), seconds);
    format!("{seq:>10} {step:>14} {time:>14}  {event}")
}

/// Guest time in seconds.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// A record in JSON; an event as `--events` writes it.
#[must_use]
pub fn record_json(record: &Record) -> Value {
    match record {
        Record::Event(event) => json!(event),
        Record::Input(input) => json!({
            "record": "input", "step": input.at.step, "seq": input.at.seq,
            "time_ns": input.time_ns, "input": input.input,
            "how": match input.how { How::Slice => "slice", How::Idle => "idle" },
        }),
        Record::DiskRead(block) => json!({
            "record": "disk_read", "disk": block.disk, "block": block.block,
            "hash": hex(&block.hash),
        }),
        Record::PreImage { disk, block, bytes } => json!({
            "record": "pre_image", "disk": disk, "block": block, "bytes": bytes.len(),
        }),
        Record::Lost { events } => json!({ "record": "lost", "events": events }),
        Record::End(end) => json!({
            "record": "end", "step": end.at.step, "seq": end.at.seq, "time_ns": end.time_ns,
            "stop": end.stop, "state": hex(&end.hash.state), "ram": hex(&end.hash.ram),
        }),
        Record::Unknown { json, .. } => {
            serde_json::from_str(json).unwrap_or_else(|_text| Value::from(json.as_str()))
        }
    }
}

/// A record that is no event as a line of text: where, what, and its fields.
fn line(value: &Value) -> String {
    let number = |name: &str| match value.get(name) {
        Some(number) => number.to_string(),
        None => "-".to_owned(),
    };
    let time = value.get("time_ns").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), seconds);
    let what = value.get("event").or_else(|| value.get("record")).and_then(Value::as_str);
    let what = what.unwrap_or("?");
    let mut text = format!("{:>10} {:>14} {time:>14}  {what}", number("seq"), number("step"));
    for (name, value) in value.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "step" | "seq" | "time_ns" | "event" | "record") {
            let _ = write!(text, " {name}={}", field(name, value));
        }
    }
    text
}

/// Addresses and encodings are read in hexadecimal.
fn field(name: &str, value: &Value) -> String {
    let is_hex = matches!(
        name,
        "pc" | "gva" | "gpa" | "hpa" | "insn" | "offset" | "eid" | "tval" | "value" | "args"
    );
    match value {
        Value::Number(number) if is_hex => match number.as_u64() {
            Some(number) => format!("{number:#x}"),
            None => number.to_string(),
        },
        Value::Array(values) if name == "bytes" || name == "console" => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Vec<u8> = values.iter().filter_map(byte).collect();
            format!("{:?}", String::from_utf8_lossy(&bytes))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| field(name, value)).collect();
            format!("[{}]", values.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(_) => format!("{name}({})", field(name, value)),
                    Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_)
                    | Value::Array(_) => format!("{name}={}", field(name, value)),
                })
                .collect();
            fields.join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => plain(value),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
