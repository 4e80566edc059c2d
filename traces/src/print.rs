//! A recording as people and programs read it: a summary, and its records one a line.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};
use session::Position;

use crate::chunk::ChunkKind;
use crate::header::Kind;
use crate::reader::{ReadError, Reader};
use crate::record::{How, Record};
use crate::schema::hex;

/// Which records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From here on.
    pub from: Position,
    /// Up to here, if anywhere.
    pub to: Option<Position>,
    /// Only what the run sent.
    pub only_events: bool,
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
    let (last, time_ns) = reader.last();
    let end = reader.end().map(|end| {
        let hash = &end.hash;
        json!({ "stop": end.stop, "state": hex(&hash.state), "ram": hex(&hash.ram) })
    });
    let (major, minor) = reader.version();
    let chunks = ChunkKind::ALL.map(|kind| (kind.name().to_owned(), json!(reader.chunks(kind))));
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
        "step": last.step,
        "seq": last.seq,
        "time_ns": time_ns,
        "records": reader.n_records(),
        "keyframes": reader.keyframes().len(),
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
    let (last, time_ns) = reader.last();
    let (major, minor) = reader.version();
    let kind = match header.kind {
        Kind::Vm => "a VM",
        Kind::Machine => "a bare machine",
    };
    let end = match reader.end() {
        Some(end) => plain(&json!(end.stop)),
        None => "not recorded: it broke off, or goes on".to_owned(),
    };
    let rows = [
        ("recording of", kind.to_owned()),
        ("made by", format!("{}, model {}", header.tool, header.model)),
        ("format", format!("{major}.{minor}")),
        ("id", hex(&header.id)),
        ("bytes", reader.bytes().to_string()),
        ("up to", format!("step {}, event {}, {time_ns} ns", last.step, last.seq)),
        ("records", reader.n_records().to_string()),
        ("keyframes", reader.keyframes().len().to_string()),
        ("end", end),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<14}{value}");
    }
    for image in &header.images {
        let _ = writeln!(text, "{:<14}{} ({} bytes)", image.role, image.name, image.bytes);
    }
    for (name, value) in &header.settings {
        let _ = writeln!(text, "  {name} = {value}");
    }
    for damage in reader.damages() {
        let _ = writeln!(text, "{:<14}{damage}", "damage");
    }
    text
}

/// Prints records, one a line, as JSON or as text. Damage is a line, too; how often that was so
/// comes back.
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
        let value = match record {
            Ok(record) => {
                let at = record.now().map(|(at, _)| at);
                if at.is_some_and(|at| filter.to.is_some_and(|to| at > to)) {
                    break;
                }
                let is_event = matches!(record, Record::Event(_) | Record::Unknown { .. });
                let left_out = filter.only_events && !is_event;
                if left_out || at.is_some_and(|at| at < filter.from) {
                    continue;
                }
                record_json(&record)
            }
            Err(ReadError::Damaged(damage)) => {
                n_damages += 1;
                json!({ "record": "damage", "text": damage.to_string() })
            }
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::NoKeyframe(_) | ReadError::TooLarge { .. }) => continue,
        };
        if as_json {
            writeln!(out, "{value}")?;
        } else {
            writeln!(out, "{}", line(&value))?;
        }
    }
    Ok(n_damages)
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

/// One record as a line of text: where, what, and its fields.
fn line(value: &Value) -> String {
    let number = |name: &str| match value.get(name) {
        Some(number) => number.to_string(),
        None => "-".to_owned(),
    };
    let what = value.get("event").or_else(|| value.get("record")).and_then(Value::as_str);
    let what = what.unwrap_or("?");
    let mut text = format!("{:>16} {:>12}  {what:<10}", number("step"), number("seq"));
    for (name, value) in value.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "step" | "seq" | "event" | "record") {
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
