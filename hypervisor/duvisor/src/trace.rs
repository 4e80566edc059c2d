//! `duvisor trace …`: what is in a recording, and questions about it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow};
use timeline::{Answer, Hit, Pool, Question, What, describe};

use crate::args::{Ask, Bench, Trace};
use crate::replay::{self, Opened, Teller};
use crate::{EXIT_FINDINGS, EXIT_INTERRUPTED, bench, bisect, say, signals, trace_file};

/// Players that look at the same time.
const PLAYERS_MAX: usize = 4;

/// Carries out a verb of `trace`; gives the exit code.
pub(crate) fn run(verb: &Trace) -> Result<u8> {
    match verb {
        Trace::Info(options) => trace_file::info(options),
        Trace::Cat(options) => trace_file::cat(options),
        Trace::Ask(options) => ask(options),
        Trace::Bisect(options) => bisect::run(options),
        Trace::Verify(options) => trace_file::verify(options),
        Trace::Repair(options) => trace_file::repair(options),
        Trace::Cut(options) => trace_file::cut(options),
        Trace::Bench(options) => bench(options),
    }
}

/// As many players of a recording as can run at the same time.
fn pool(opened: &Opened) -> Result<Pool> {
    let n = std::thread::available_parallelism().map_or(1, usize::from).min(PLAYERS_MAX);
    let players = (0..n).map(|_| opened.player()).collect::<Result<Vec<_>>>()?;
    Ok(Pool::new(players))
}

fn bench(options: &Bench) -> Result<u8> {
    let stop = &Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[stop])?;
    let opened = replay::open(&options.file, options.images.as_deref())?;
    let mut teller = Teller::new("measured", stop);
    if !bench::run(pool(&opened)?, options.count, options.seed, &mut teller)? {
        return Ok(EXIT_INTERRUPTED);
    }
    Ok(if opened.damaged { EXIT_FINDINGS } else { 0 })
}

fn ask(options: &Ask) -> Result<u8> {
    let stop = &Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[stop])?;
    let question: Question =
        options.question.join(" ").parse().map_err(|error: String| anyhow!(error))?;
    let opened = replay::open(&options.file, options.images.as_deref())?;
    let mut pool = pool(&opened)?;
    let mut teller = Teller::new("looked at", stop);
    let answer = pool.ask(&question, &mut |done, total| teller.tell(done, total));
    teller.end();
    let answer = match answer {
        Err(timeline::TravelError::Interrupted) => return Ok(EXIT_INTERRUPTED),
        Err(timeline::TravelError::Query(error)) => return Err(anyhow!(error)),
        answer => answer.with_context(|| format!("asking {}", options.file.display()))?,
    };
    let found = print(&answer).context("writing the answer")?;
    match found {
        None => {}
        Some(found) if found > 0 && found >= question.limit => {
            say::note(&format!("the first {found}; limit N asks for more"));
        }
        Some(found) => say::note(&format!("{found} found")),
    }
    Ok(if opened.damaged || found == Some(0) { EXIT_FINDINGS } else { 0 })
}

/// Prints an answer; says how many things it found, if it looked for some.
fn print(answer: &Answer) -> std::io::Result<Option<usize>> {
    let mut out = std::io::stdout().lock();
    match answer {
        Answer::Hits(hits) => {
            for hit in hits {
                writeln!(out, "{}", line(hit))?;
            }
            Ok(Some(hits.len()))
        }
        Answer::Memory { step, bytes } => {
            writeln!(out, "step {step}")?;
            for (row, chunk) in bytes.chunks(16).enumerate() {
                let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(out, "+{:04x}  {}", row * 16, hex.join(" "))?;
            }
            Ok(None)
        }
        Answer::Registers { step, values } => {
            writeln!(out, "step {step}")?;
            for (name, value) in values {
                writeln!(out, "{name:<14} {value:#x}")?;
            }
            Ok(None)
        }
    }
}

fn line(hit: &Hit) -> String {
    if matches!(hit.what, What::Event(_)) {
        return format!("step {} {}", hit.step, describe(hit));
    }
    let hart = hit.hart.map_or_else(|| "-".to_owned(), |hart| hart.to_string());
    format!("step {} vcpu {hart} pc {:#x} {}", hit.step, hit.pc, describe(hit))
}
