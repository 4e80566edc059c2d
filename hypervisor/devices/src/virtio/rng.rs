//! The entropy device, fed by a seeded generator so that every run gives the same bytes.
//!
//! The generator is xoshiro256** 1.0 of Blackman and Vigna, seeded by SplitMix64 as its authors
//! advise. It is *not* cryptographic: who knows a few hundred bits of output knows the rest. A
//! guest that must keep secrets from its peers must not take them from here.

use state::{Codec, Damaged, State};

use super::queue::{Broken, Chain};
use super::{GuestMemory, VirtioDevice, spec::*};
use crate::{Digest, feed_state};

/// Most bytes that one request gets; the driver asks again for more.
pub const REQUEST_LIMIT: usize = 4096;

/// The generator xoshiro256**.
#[derive(Clone, Debug)]
pub struct Generator {
    state: [u64; 4],
}

impl Generator {
    /// The generator that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Generator {
        let mut mix = seed;
        let mut split_mix = || {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (mix ^ (mix >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Generator { state: [split_mix(), split_mix(), split_mix(), split_mix()] }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Fills `buf`; a last number that is not used up is thrown away.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

impl State for Generator {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        codec.words(&mut self.state)?;
        // It would give zeros for ever; no seed leads there.
        codec.check(self.state != [0; 4], "a generator of nothing but zeros")
    }
}

/// An entropy device.
#[derive(Clone, Debug)]
pub struct Rng {
    generator: Generator,
}

impl Rng {
    /// A device whose bytes follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        Rng { generator: Generator::new(seed) }
    }
}

impl VirtioDevice for Rng {
    fn name(&self) -> &'static str {
        "virtio-rng"
    }

    fn device_type(&self) -> u32 {
        ENTROPY
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[8]
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn request(
        &mut self,
        _queue: usize,
        chain: &Chain,
        _features: u64,
        mem: &mut dyn GuestMemory,
    ) -> Result<u32, Broken> {
        let mut bytes = [0; REQUEST_LIMIT];
        let mut target = chain.writable();
        let want = usize::try_from(target.remaining()).unwrap_or(usize::MAX).min(REQUEST_LIMIT);
        self.generator.fill(&mut bytes[..want]);
        let written = target.write(mem, &bytes[..want])?;
        u32::try_from(written).or(Err(Broken::Length))
    }
}

impl State for Rng {
    fn state(&mut self, codec: &mut Codec<'_>) -> Result<(), Damaged> {
        self.generator.state(codec)
    }
}

impl Digest for Rng {
    fn digest(&self, sink: &mut dyn FnMut(&[u8])) {
        feed_state(sink, self.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Driver, Space};
    use super::*;

    #[test]
    fn the_generator_is_xoshiro256_starstar() {
        // First outputs of the reference implementation for state 1, 2, 3, 4.
        let mut generator = Generator { state: [1, 2, 3, 4] };
        assert_eq!(
            [(); 5].map(|()| generator.next_u64()),
            [11520, 0, 1509978240, 1215971899390074240, 1216172134540287360]
        );
    }

    #[test]
    fn linux_gets_as_many_bytes_as_it_asks_for() {
        let mut driver = Driver::start(Rng::new(7), u64::MAX);
        let buffer = driver.space(64);
        driver.submit(0, &[], &[buffer]);
        assert_eq!(driver.finish(0), [64]);
        let mut expected = [0; 64];
        Generator::new(7).fill(&mut expected);
        assert_eq!(driver.bytes(buffer), expected);
        let large = driver.space(9000);
        driver.submit(0, &[], &[large]);
        assert_eq!(driver.finish(0), [4096]);
        driver.submit(0, &[Space { addr: large.addr, len: 8 }], &[]);
        assert_eq!(driver.finish(0), [0]);
    }
}
