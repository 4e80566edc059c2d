//! `duvisor trace bisect`: the first step at which two replays of a recording are not the same.
//!
//! ```text
//!   keyframes   0 ───── 1 ───── 2 ───── 3 ── end
//!   compared          ▲       ▲   ◀─┼─▶           at the end of each interval, then inside one
//! ```
//! Each interval is entered by its keyframe, so that what went wrong before it does not matter.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, anyhow, bail};
use timeline::{Player, TravelError, first_difference, same};

use crate::args::Bisect;
use crate::replay::{self, Opened, Teller, digest};
use crate::{EXIT_FINDINGS, EXIT_INTERRUPTED, say, signals};

/// Decoded blocks of the replay that the others are compared with: where one block is kept,
/// nothing that was decoded before can be wrong.
const BLOCKS_OTHER: usize = 1;

/// Carries out `trace bisect`.
pub(crate) fn run(options: &Bisect) -> Result<u8> {
    let stop = Arc::new(AtomicBool::new(false));
    signals::set_on_end(&[&stop])?;
    let mut opened = replay::open(&options.file, options.images.as_deref())?;
    opened.recipe.n_blocks = options.blocks;
    let mut player = opened.player()?;
    let frames = player.reader().keyframes().iter().map(|frame| frame.at.step);
    let mut bounds: Vec<u64> = frames.collect();
    bounds.push(player.last().step + 1);
    let mut other = other(options, &mut opened)?;
    let mut teller = Teller::new("compared", &stop);
    let total = player.last().step;
    let mut found = Ok(None);
    for interval in bounds.windows(2) {
        let (good, bad) = (interval[0], interval[1] - 1);
        let mut go_on = |_, _| teller.tell(good, total);
        found = first_difference(good, bad, &mut |step| {
            player.seek(step, &mut go_on)?;
            other.differs(&mut player, step, &mut go_on)
        });
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    teller.end();
    match found {
        Err(TravelError::Interrupted) => Ok(EXIT_INTERRUPTED),
        Err(error) => Err(error).with_context(|| format!("replaying {}", options.file.display())),
        Ok(None) => {
            say::line(&format!("the same in all {} intervals", bounds.len() - 1));
            Ok(0)
        }
        Ok(Some(step)) => {
            player.seek(step.saturating_sub(1), &mut |_, _| true)?;
            say::line(&format!("step {step} is the first at which the replays differ; before it:"));
            replay::show(&player);
            Ok(EXIT_FINDINGS)
        }
    }
}

/// The step in `good..=bad` at which this program's own replays part, one of them with a single
/// block kept; `None` if they do not, or cannot be compared.
pub(crate) fn of_one_program(
    opened: &mut Opened,
    (good, bad): (u64, u64),
    stop: &Arc<AtomicBool>,
) -> Result<Option<u64>> {
    let mut player = opened.player()?;
    opened.recipe.n_blocks = BLOCKS_OTHER;
    let mut other = Other::Here(Box::new(opened.player()?));
    let mut teller = Teller::new("looking for the step", stop);
    let mut go_on = |done, total| teller.tell(done, total);
    let found = first_difference(good, bad, &mut |step| {
        player.seek(step, &mut go_on)?;
        other.differs(&mut player, step, &mut go_on)
    });
    teller.end();
    // That the run cannot be had again is known already.
    Ok(found.unwrap_or_default())
}

/// The replay with which this program's is compared.
enum Other<'a> {
    /// By this program, with another number of kept blocks.
    Here(Box<Player>),
    /// By another program.
    There { program: &'a Path, options: &'a Bisect },
}

fn other<'a>(options: &'a Bisect, opened: &mut Opened) -> Result<Other<'a>> {
    Ok(match options.with.as_deref() {
        Some(program) => Other::There { program, options },
        None => {
            opened.recipe.n_blocks = BLOCKS_OTHER;
            Other::Here(Box::new(opened.player()?))
        }
    })
}

impl Other<'_> {
    fn differs(
        &mut self,
        player: &mut Player,
        step: u64,
        progress: timeline::Progress<'_>,
    ) -> Result<bool, TravelError> {
        match self {
            Self::Here(other) => {
                other.seek(step, progress)?;
                Ok(!same(player.subject_mut(), other.subject_mut()))
            }
            Self::There { program, options } => {
                let there = there(program, options, step);
                let there = there.map_err(|error| TravelError::Replica(format!("{error:#}")))?;
                Ok(there != digest(player.subject()).to_hex().as_str())
            }
        }
    }
}

/// The digest of the state at a step, as another program has it.
fn there(program: &Path, options: &Bisect, step: u64) -> Result<String> {
    let name = program.display();
    let mut command = Command::new(program);
    command.args(["replay", "--digest", "--to", &step.to_string()]).arg(&options.file);
    if let Some(folder) = &options.images {
        command.arg("--images").arg(folder);
    }
    let output = command.output().with_context(|| format!("running {name}"))?;
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, err.trim());
    }
    let line = out.lines().find_map(|line| line.strip_prefix("digest of state "));
    let line = line.ok_or_else(|| anyhow!("{name} told no digest of the state at step {step}"))?;
    Ok(line.trim().to_owned())
}
