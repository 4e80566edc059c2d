//! `duvisor trace bench`: what time travel costs on a recording, measured.
//!
//! ```text
//!   random steps   ──▶ seek, with nothing remembered        "cold"
//!   random places  ──▶ step back, from where a seek ended   "warm"
//!                  ──▶ run back to the last write of a word that is often written
//!   a window       ──▶ look for writes to a word that has none, in a page that has some
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use devices::virtio::rng::Generator;
use timeline::{Looking, Player, Pool, Progress, TravelError, Wanted, Window};

use crate::host::host_now;
use crate::replay::Teller;
use crate::say;
use pick::Pick;

mod pick;

/// Steps in which a watch is looked for.
const WINDOW: u64 = 1_000_000_000;
/// Steps in which changes of a CSR are looked for.
const CSR_WINDOW: u64 = 100_000_000;
/// Words that are tried until one has no write.
const WORDS_MAX: usize = 16;

/// Measures all there is, `count` times with numbers drawn from `seed`.
pub(crate) fn run(pool: Pool, count: usize, seed: u64, teller: &mut Teller) -> Result<bool> {
    let gaps = Vec::new();
    let mut bench = Bench { pool, count, dice: Generator::new(seed), teller, gaps };
    let measured = bench.all();
    teller.end();
    match measured {
        Ok(()) => Ok(true),
        Err(TravelError::Interrupted) => Ok(false),
        Err(error) => Err(error).context("measuring"),
    }
}

/// One thing that was measured.
struct Row<'a> {
    what: &'a str,
    took: &'a [Duration],
    note: &'a str,
}

struct Bench<'a> {
    pool: Pool,
    count: usize,
    dice: Generator,
    teller: &'a mut Teller,
    /// Of each thing done the longest time in which nobody looked whether to go on.
    gaps: Vec<Duration>,
}

type Measured<T> = Result<T, TravelError>;

impl Bench<'_> {
    fn all(&mut self) -> Measured<()> {
        self.describe()?;
        self.cold_seeks()?;
        self.steps_back()?;
        self.last_writes()?;
        for pick in [Pick::Seldom, Pick::Hot] {
            self.never_hit(pick)?;
        }
        self.csr_changes()?;
        let gaps = std::mem::take(&mut self.gaps);
        self.print(&Row { what: "longest without a look at Ctrl-C", took: &gaps, note: "" });
        self.interrupts()
    }

    fn player(&mut self) -> Measured<&mut Player> {
        self.pool.player().ok_or(TravelError::NoKeyframe)
    }

    fn describe(&mut self) -> Measured<()> {
        let player = self.player()?;
        let (first, last) = (player.first().step, player.last().step);
        let keyframes = player.reader().keyframes().len();
        let (harts, bytes) = (player.subject().machine().harts().len(), player.reader().bytes());
        self.teller.end();
        say::line(&format!(
            "{} steps on {harts} harts, {keyframes} keyframes, {bytes} bytes",
            last - first
        ));
        say::line(&format!("{:<34} {:>5} {:>9} {:>9} {:>9}", "", "n", "p50", "p99", "max"));
        Ok(())
    }

    fn print(&mut self, row: &Row<'_>) {
        self.teller.end();
        let Row { what, took, note } = row;
        let mut took = took.to_vec();
        took.sort_unstable();
        let n = took.len();
        let at = |percent: usize| {
            let index = (n * percent).div_ceil(100).saturating_sub(1);
            took.get(index).map_or_else(|| "-".to_owned(), |it| in_units(*it))
        };
        let line = format!("{what:<34} {n:>5} {:>9} {:>9} {:>9}", at(50), at(99), at(100));
        say::line(format!("{line}  {note}").trim_end());
    }

    /// A step of the recording, each as likely as any other.
    fn any_step(&mut self) -> Measured<u64> {
        let player = self.player()?;
        let (first, last) = (player.first().step, player.last().step);
        Ok(first + self.dice.next_u64() % (last - first + 1))
    }

    /// Does something with a player, and says how long it took.
    fn timed<T>(
        &mut self,
        act: impl FnOnce(&mut Player, Progress<'_>) -> Measured<T>,
    ) -> Measured<(T, Duration)> {
        let player = self.pool.player().ok_or(TravelError::NoKeyframe)?;
        let mut looks = Looks::begin(self.teller);
        let done = act(player, &mut |now, all| looks.look(now, all))?;
        let (took, gap) = looks.end();
        self.gaps.push(gap);
        Ok((done, took))
    }

    /// To random steps, from where nothing is remembered.
    fn cold_seeks(&mut self) -> Measured<()> {
        let mut took = Vec::new();
        for _ in 0..self.count {
            let step = self.any_step()?;
            self.player()?.forget();
            took.push((self.timed(|player, progress| player.seek(step, progress))?.1, step));
        }
        let slowest = took.iter().max().map_or(0, |(_, step)| *step);
        let took: Vec<Duration> = took.iter().map(|(took, _)| *took).collect();
        let note = format!("the longest to step {slowest}");
        self.print(&Row { what: "seek, cold", took: &took, note: &note });
        Ok(())
    }

    /// Three ways to step back, from random places.
    fn steps_back(&mut self) -> Measured<()> {
        for what in ["whole guest", "hart that ran", "random hart"] {
            let mut took = Vec::new();
            for _ in 0..self.count {
                let step = self.any_step()?;
                self.timed(|player, progress| player.seek(step, progress))?;
                let random = self.dice.next_u64();
                let machine = self.player()?.subject().machine();
                let hart = match what {
                    "whole guest" => None,
                    "hart that ran" => machine.turn(),
                    _ => usize::try_from(random % machine.harts().len() as u64).ok(),
                };
                took.push(self.timed(|player, progress| player.step_back(hart, progress))?.1);
            }
            self.print(&Row { what: &format!("step back, {what}"), took: &took, note: "" });
        }
        Ok(())
    }

    /// From random places back to the last write of a word.
    fn last_writes(&mut self) -> Measured<()> {
        let what = "last write to a hot word";
        let places = (0..8).map(|_| self.any_step()).collect::<Measured<Vec<_>>>()?;
        let found = self.timed(|player, progress| pick::hot_word(player, &places, progress))?.0;
        let Some(word) = found else {
            self.print(&Row { what, took: &[], note: "nothing is written" });
            return Ok(());
        };
        let looking = writes_to(word);
        let mut took = Vec::new();
        for _ in 0..self.count {
            let step = self.any_step()?;
            self.timed(|player, progress| player.seek(step, progress))?;
            took.push(self.timed(|player, progress| player.run_back(&looking, progress))?.1);
        }
        self.print(&Row { what, took: &took, note: &format!("hpa {word:#x}") });
        Ok(())
    }

    /// The last steps of the recording, at most so many.
    fn window(&mut self, steps: u64) -> Measured<Window> {
        let player = self.player()?;
        let (first, to) = (player.first().step, player.last().step);
        Ok(Window { from: to.saturating_sub(steps).max(first), to })
    }

    /// Looks through a window for what is not there.
    fn never_hit(&mut self, pick: Pick) -> Measured<()> {
        let what = match pick {
            Pick::Seldom => "watch that never hits, quiet page",
            Pick::Hot => "watch that never hits, hot page",
        };
        let window = self.window(WINDOW)?;
        let player = self.player()?;
        let mut tried = Vec::new();
        let pages = pick::pages(player, window, pick);
        for (page, written) in pick::shuffled(pages, &mut self.dice) {
            let fresh = |player: &mut Player, progress: Progress<'_>| {
                pick::quiet_word(player, page, window, &tried, progress)
            };
            let Some(word) = self.timed(fresh)?.0 else { continue };
            tried.push(word);
            if let Some(took) = self.look_for(word, window)? {
                let steps = window.to - window.from;
                let (n, all) = written;
                let note = format!(
                    "hpa {word:#x}, {steps} steps, its page written in {n} of {all} intervals"
                );
                self.print(&Row { what, took: &[took], note: &note });
                return Ok(());
            }
            if tried.len() >= WORDS_MAX {
                break;
            }
        }
        self.print(&Row { what, took: &[], note: "no page has a word without writes" });
        Ok(())
    }

    /// How long it takes to see that a word has no write; `None` if it has.
    fn look_for(&mut self, word: u64, window: Window) -> Measured<Option<Duration>> {
        let looking = writes_to(word);
        let mut looks = Looks::begin(self.teller);
        let mut progress = |now, all| looks.look(now, all);
        let hits = self.pool.find(&looking, window, Wanted::Last(1), &mut progress)?;
        Ok(hits.is_empty().then(|| looks.end().0))
    }

    fn csr_changes(&mut self) -> Measured<()> {
        let window = self.window(CSR_WINDOW)?;
        let mut n_found = 0u64;
        let mut count = |_| {
            n_found += 1;
            true
        };
        self.timed(|player, progress| player.seek(window.from, progress))?;
        let looking = Looking::Csr { hart: 0, csr: isa::Csr::VSATP };
        let scan = |player: &mut Player, progress: Progress<'_>| {
            player.scan(window.to, &looking, &mut count, progress)
        };
        let took = self.timed(scan)?.1;
        let note = format!("{} steps, {n_found} changes", window.to - window.from);
        self.print(&Row { what: "changes of a CSR (vsatp)", took: &[took], note: &note });
        Ok(())
    }

    /// Ends something in its middle, and measures how long that takes.
    fn interrupts(&mut self) -> Measured<()> {
        let mut took = Vec::new();
        let window = self.window(WINDOW)?;
        for round in 0..self.count {
            let patience = Duration::from_micros(1000 + self.dice.next_u64() % 200_000);
            let step = self.any_step()?;
            let begin = host_now();
            let mut go_on = |now, all| {
                self.teller.tell(now, all) && host_now().duration_since(begin) < patience
            };
            let player = self.pool.player().ok_or(TravelError::NoKeyframe)?;
            let ended = if round % 2 == 0 {
                player.forget();
                player.seek(step, &mut go_on).map(drop)
            } else {
                // Nothing is left out of such a look.
                let looking = Looking::Executions(vec![1]);
                self.pool.find(&looking, window, Wanted::Last(1), &mut go_on).map(drop)
            };
            match ended {
                Err(TravelError::Interrupted) if self.teller.tell(0, 1) => {
                    took.push(host_now().duration_since(begin).saturating_sub(patience));
                }
                ended => ended?,
            }
        }
        self.print(&Row { what: "Ctrl-C until it has ended", took: &took, note: "" });
        Ok(())
    }
}

/// When somebody last looked whether to go on.
struct Looks<'a> {
    teller: &'a mut Teller,
    begin: Instant,
    last: Instant,
    longest: Duration,
}

impl<'a> Looks<'a> {
    fn begin(teller: &'a mut Teller) -> Self {
        let now = host_now();
        Self { teller, begin: now, last: now, longest: Duration::ZERO }
    }

    fn note(&mut self) {
        let now = host_now();
        self.longest = self.longest.max(now.duration_since(self.last));
        self.last = now;
    }

    fn look(&mut self, done: u64, total: u64) -> bool {
        self.note();
        self.teller.tell(done, total)
    }

    /// How long all of it took, and the longest time without a look.
    fn end(mut self) -> (Duration, Duration) {
        self.note();
        (self.last.duration_since(self.begin), self.longest)
    }
}

/// Any write to a word.
fn writes_to(word: u64) -> Looking {
    Looking::Writes(std::iter::once(word..word + 8).collect())
}

/// A time with three or four digits.
fn in_units(time: Duration) -> String {
    let us = time.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..100_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        100_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}
