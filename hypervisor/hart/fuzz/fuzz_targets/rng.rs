//! Numbers from a seed, bent by the fuzzer's bytes: the same calls as `tests/it/rng.rs`.

#[derive(Debug)]
pub(crate) struct Rng {
    seed: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl Rng {
    pub(crate) fn new(seed: u64, bytes: &[u8]) -> Self {
        Self { seed, bytes: bytes.to_vec(), at: 0 }
    }

    /// Zero means "as the seed says".
    fn byte(&mut self) -> u64 {
        self.at += 1;
        u64::from(self.bytes.get(self.at - 1).copied().unwrap_or(0))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).wrapping_add(self.byte())
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap_or(0)]
    }
}
