//! `duvisor trace info|cat|verify|repair|cut`: a recording as a file. No guest is run, so that no
//! image has to be there.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use session::{Position, VcpuId};
use timeline::Point;
use traces::{Copied, Filter, Moment, Reader};

use crate::args::{Cat, Cut, Info, Repair, VerifyFile};
use crate::events::SCHEMA_LINE;
use crate::replay::{Teller, open_reader};
use crate::{EXIT_FINDINGS, EXIT_INTERRUPTED, say, signals};

/// Bytes that are printed at a time.
const PRINTED: usize = 64 << 10;

/// The exit code of something in which damage was found, or not.
fn code(damaged: bool) -> u8 {
    if damaged { EXIT_FINDINGS } else { 0 }
}

/// Carries out `trace info`.
pub(crate) fn info(options: &Info) -> Result<u8> {
    let name = options.file.display();
    let (reader, damages) =
        Reader::open(&options.file).with_context(|| format!("opening {name}"))?;
    if options.json {
        say::line(&traces::info(&reader).to_string());
    } else {
        say::block(&traces::info_text(&reader));
    }
    Ok(code(!damages.is_empty()))
}

/// Carries out `trace cat`.
pub(crate) fn cat(options: &Cat) -> Result<u8> {
    let (reader, damaged) = open_reader(&options.file)?;
    let reading = || format!("reading {}", options.file.display());
    let filter = Filter {
        from: from(&reader, options.from).with_context(reading)?,
        to: to(&reader, options.to).with_context(reading)?,
        kinds: options.kinds.clone(),
        vcpu: options.vcpu.map(VcpuId),
    };
    let mut out = BufWriter::with_capacity(PRINTED, io::stdout().lock());
    let mut print = || -> io::Result<u64> {
        if options.json {
            out.write_all(SCHEMA_LINE.as_bytes())?;
        }
        let damages = traces::cat(&reader, &mut out, &filter, options.json)?;
        out.flush()?;
        Ok(damages)
    };
    match print() {
        Ok(damages) => Ok(code(damaged || damages > 0)),
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code(damaged)),
        Err(error) => Err(error).context("printing the recording"),
    }
}

/// Carries out `trace verify`.
pub(crate) fn verify(options: &VerifyFile) -> Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[&stop])?;
    let name = options.file.display();
    let (mut reader, _) = Reader::open(&options.file).with_context(|| format!("opening {name}"))?;
    let mut teller = Teller::new("checked", &stop);
    let verified = reader.verify(&mut |done, total| teller.tell(done, total));
    teller.end();
    let verified = verified.with_context(|| format!("reading {name}"))?;
    if verified.interrupted {
        return Ok(EXIT_INTERRUPTED);
    }
    for damage in &verified.damages {
        say::line(&damage.to_string());
    }
    say::line(&format!("{} chunks of {} bytes are whole", verified.chunks, verified.bytes));
    if let Some(chain) = verified.chain {
        say::line(&format!("chain {}", blake3::Hash::from_bytes(chain)));
    }
    Ok(code(!verified.damages.is_empty()))
}

/// Carries out `trace repair`.
pub(crate) fn repair(options: &Repair) -> Result<u8> {
    let (file, new) = (&options.file, &options.output);
    let copied = traces::repair(file, new)
        .with_context(|| format!("repairing {} as {}", file.display(), new.display()))?;
    Ok(tell(&copied, new))
}

/// Carries out `trace cut`.
pub(crate) fn cut(options: &Cut) -> Result<u8> {
    let (file, new) = (&options.file, &options.output);
    let cutting = || format!("cutting {} out of {}", new.display(), file.display());
    let opened = Reader::open(file);
    let (reader, _) = opened.with_context(|| format!("opening {}", file.display()))?;
    let from = from(&reader, options.from).with_context(cutting)?;
    let to = to(&reader, options.to).with_context(cutting)?.unwrap_or(LAST);
    let copied = traces::cut(file, new, from..=to).with_context(cutting)?;
    Ok(tell(&copied, new))
}

/// What is in a new recording, and what is not.
fn tell(copied: &Copied, new: &Path) -> u8 {
    for damage in &copied.damages {
        say::line(&damage.to_string());
    }
    let Copied { records, keyframes, chain, damages } = copied;
    say::line(&format!("{}: {records} records and {keyframes} keyframes", new.display()));
    say::line(&format!("chain {}", blake3::Hash::from_bytes(*chain)));
    code(!damages.is_empty())
}

/// The last position that there can be.
const LAST: Position = Position { step: u64::MAX, seq: u64::MAX };

/// Where a window begins.
fn from(reader: &Reader, point: Point) -> Result<Position, traces::ReadError> {
    match moment(reader, point) {
        Some(moment) => reader.position_from(moment),
        None if point == Point::Start => Ok(Position::default()),
        None => Ok(reader.last().0),
    }
}

/// Where it ends; nowhere where the file does.
fn to(reader: &Reader, point: Point) -> Result<Option<Position>, traces::ReadError> {
    match moment(reader, point) {
        Some(moment) => reader.position_to(moment).map(Some),
        None if point == Point::Start => Ok(Some(reader.first().0)),
        None => Ok(None),
    }
}

/// A moment as a file has it; neither its start nor its end.
fn moment(reader: &Reader, point: Point) -> Option<Moment> {
    match point {
        Point::Start | Point::End => None,
        Point::Step(step) => Some(Moment::Step(step)),
        Point::Event(seq) => Some(Moment::Event(seq)),
        Point::Time(ns) => Some(Moment::Time(ns)),
        Point::Millionths(part) => {
            let (first, last) = (reader.first().0.step, reader.last().0.step);
            Some(Moment::Step(timeline::share(first, last, part)))
        }
    }
}
