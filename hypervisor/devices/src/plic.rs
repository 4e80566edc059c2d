//! The SiFive platform-level interrupt controller, as QEMU's `virt` lays it out.
//!
//! ```text
//! 0x00_0000  priority of source 0 (always 0), 1, 2, …       4 bytes each
//! 0x00_1000  pending bits, 32 sources a word                read only
//! 0x00_2000  enable bits of context 0, +0x80 a context
//! 0x20_0000  threshold of context 0, +0x1000 a context
//! 0x20_0004  claim (read) and complete (write)
//! ```
//! All lines are levels. Priorities have three bits. Citations are to the *RISC-V Platform-Level
//! Interrupt Controller Specification*.

#[cfg(test)]
mod tests;

use state::{Codec, Damaged, State};

use crate::{Device, Digest, Refused, Width, feed_state, low_u32};

/// Highest source number that a controller may have.
pub const MAX_SOURCES: u32 = 127;
/// Highest number of contexts, given by the layout.
pub const MAX_CONTEXTS: u32 = 15872;

const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;
const CLAIM: u64 = 4;
const PRIORITY_MASK: u32 = 7;
const WORDS: usize = 4;

/// One bit per source.
type Sources = [u32; WORDS];

/// One target of interrupts: a hart's M or S external line.
#[derive(Clone, Debug)]
struct Context {
    enabled: Sources,
    threshold: u32,
}

/// A platform-level interrupt controller.
#[derive(Clone, Debug)]
pub struct Plic {
    // Fixed configuration.
    sources: u32,
    // Runtime state.
    priority: Vec<u32>,
    level: Sources,
    pending: Sources,
    /// Forwarded by the gateway, claimed by a context and not yet completed.
    in_service: Sources,
    contexts: Vec<Context>,
}

/// A register, once its offset has been checked.
enum Register {
    Priority(usize),
    Pending(usize),
    Enable(usize, usize),
    Threshold(usize),
    Claim(usize),
}

impl Plic {
    /// A controller with sources 1 to `sources` and that many contexts, all masked.
    ///
    /// # Panics
    /// If the owner asks for more than [`MAX_SOURCES`] or [`MAX_CONTEXTS`].
    #[must_use]
    pub fn new(sources: u32, contexts: u32) -> Plic {
        assert!(sources <= MAX_SOURCES, "{sources} sources, at most {MAX_SOURCES} are possible");
        assert!(contexts <= MAX_CONTEXTS, "{contexts} contexts, at most {MAX_CONTEXTS} fit");
        Plic {
            sources,
            priority: (0..=sources).map(|_| 0).collect(),
            level: [0; WORDS],
            pending: [0; WORDS],
            in_service: [0; WORDS],
            contexts: (0..contexts)
                .map(|_| Context { enabled: [0; WORDS], threshold: 0 })
                .collect(),
        }
    }

    /// Bytes that the window of registers spans.
    #[must_use]
    pub fn window(&self) -> u64 {
        CONTEXT + CONTEXT_STRIDE * self.contexts.len() as u64
    }

    /// Drives the line of `source`; a source that does not exist is ignored.
    ///
    /// "Interrupt Gateways": a level is forwarded once, and not taken back when the line falls.
    pub fn set_level(&mut self, source: u32, high: bool) {
        let Some((word, bit)) = self.place(source) else { return };
        if high {
            self.level[word] |= bit;
            self.forward(word, bit);
        } else {
            self.level[word] &= !bit;
        }
    }

    /// Whether the external interrupt line of context `context` is high.
    #[must_use]
    pub fn context_line(&self, context: usize) -> bool {
        self.contexts
            .get(context)
            .and_then(|context| Some((context, self.best(&context.enabled)?)))
            .is_some_and(|(context, source)| self.priority[source] > context.threshold)
    }

    /// The word and bit of an existing source.
    fn place(&self, source: u32) -> Option<(usize, u32)> {
        let exists = source != 0 && source <= self.sources;
        let word = usize::try_from(source / 32).ok()?;
        exists.then_some((word, 1 << (source % 32)))
    }

    /// The gateway passes a high level on, unless an earlier request is still in service.
    fn forward(&mut self, word: usize, bit: u32) {
        self.pending[word] |= bit & self.level[word] & !self.in_service[word];
    }

    /// The pending source of `enabled` with the highest priority; among equals the lowest number.
    fn best(&self, enabled: &Sources) -> Option<usize> {
        let mut best = None;
        let mut best_priority = 0;
        for (word, (pending, enabled)) in self.pending.iter().zip(enabled).enumerate() {
            let mut bits = pending & enabled;
            while bits != 0 {
                let source = word * 32 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if self.priority[source] > best_priority {
                    best = Some(source);
                    best_priority = self.priority[source];
                }
            }
        }
        best
    }

    /// "Interrupt Claim Process": not affected by the threshold.
    fn claim(&mut self, context: usize) -> u64 {
        let Some(source) = self.best(&self.contexts[context].enabled) else { return 0 };
        let (word, bit) = (source / 32, 1 << (source % 32));
        self.pending[word] &= !bit;
        self.in_service[word] |= bit;
        source as u64
    }

    /// "Interrupt Completion": an id that is not enabled for the target is silently ignored.
    fn complete(&mut self, context: usize, source: u32) {
        let Some((word, bit)) = self.place(source) else { return };
        if self.contexts[context].enabled[word] & bit != 0 {
            self.in_service[word] &= !bit;
            self.forward(word, bit);
        }
    }

    fn existing(&self, word: usize) -> u32 {
        (0..32u32)
            .filter(|bit| {
                let source = word as u64 * 32 + u64::from(*bit);
                source != 0 && source <= u64::from(self.sources)
            })
            .fold(0, |mask, bit| mask | 1 << bit)
    }

    /// Whether every register holds what it can.
    fn is_possible(&self) -> bool {
        let existing: Sources = std::array::from_fn(|word| self.existing(word));
        let exist = |sources: &Sources| {
            sources.iter().zip(&existing).all(|(sources, existing)| sources & !existing == 0)
        };
        let three_bits = |value: u32| value & !PRIORITY_MASK == 0;
        self.priority[0] == 0
            && self.priority.iter().all(|priority| three_bits(*priority))
            && [&self.level, &self.pending, &self.in_service].into_iter().all(exist)
            && self.contexts.iter().all(|it| exist(&it.enabled) && three_bits(it.threshold))
            && self.pending.iter().zip(&self.in_service).all(|(one, other)| one & other == 0)
    }

    fn register(&self, offset: u64, width: Width) -> Result<Register, Refused> {
        if width != Width::Word || !offset.is_multiple_of(4) {
            return Err(Refused);
        }
        let index = |offset: u64, end: u64| -> Result<usize, Refused> {
            let index = usize::try_from(offset).or(Err(Refused))?;
            if offset < end { Ok(index) } else { Err(Refused) }
        };
        let sources = u64::from(self.sources) + 1;
        let words = sources.div_ceil(32);
        let contexts = self.contexts.len() as u64;
        if offset < PENDING {
            Ok(Register::Priority(index(offset / 4, sources)?))
        } else if offset < ENABLE {
            Ok(Register::Pending(index((offset - PENDING) / 4, words)?))
        } else if offset < CONTEXT {
            let offset = offset - ENABLE;
            let context = index(offset / ENABLE_STRIDE, contexts)?;
            Ok(Register::Enable(context, index(offset % ENABLE_STRIDE / 4, words)?))
        } else {
            let offset = offset - CONTEXT;
            let context = index(offset / CONTEXT_STRIDE, contexts)?;
            match offset % CONTEXT_STRIDE {
                0 => Ok(Register::Threshold(context)),
                CLAIM => Ok(Register::Claim(context)),
                _ => Err(Refused),
            }
        }
    }
}

impl Device for Plic {
    fn name(&self) -> &'static str {
        "plic"
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Refused> {
        Ok(match self.register(offset, width)? {
            Register::Priority(source) => u64::from(self.priority[source]),
            Register::Pending(word) => u64::from(self.pending[word]),
            Register::Enable(context, word) => u64::from(self.contexts[context].enabled[word]),
            Register::Threshold(context) => u64::from(self.contexts[context].threshold),
            Register::Claim(context) => self.claim(context),
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Refused> {
        let value = low_u32(value);
        match self.register(offset, width)? {
            Register::Priority(0) => {}
            Register::Priority(source) => self.priority[source] = value & PRIORITY_MASK,
            Register::Pending(_) => return Err(Refused),
            Register::Enable(context, word) => {
                self.contexts[context].enabled[word] = value & self.existing(word);
            }
            Register::Threshold(context) => {
                self.contexts[context].threshold = value & PRIORITY_MASK;
            }
            Register::Claim(context) => self.complete(context, value),
        }
        Ok(())
    }
}

impl State for Plic {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.each(&mut self.priority, |codec, priority| codec.u32(priority))?;
        for sources in [&mut self.level, &mut self.pending, &mut self.in_service] {
            codec.each(sources, |codec, word| codec.u32(word))?;
        }
        codec.each(&mut self.contexts, |codec, context| {
            codec.each(&mut context.enabled, |codec, word| codec.u32(word))?;
            codec.u32(&mut context.threshold)
        })?;
        codec.check(self.is_possible(), "a PLIC with what its registers cannot hold")
    }
}

impl Digest for Plic {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, self.clone());
    }
}
