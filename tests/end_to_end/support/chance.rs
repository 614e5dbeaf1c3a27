//! Chance that is the same at each run: `PUSHROLL_SEED` is another. A test that leaves something to it says with which
//! seed it failed.

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

pub struct Chance {
    seed: u64,
    random: TestRng,
}

impl Chance {
    /// `stream` tells apart those that one test has several of.
    pub fn new(stream: u64) -> Self {
        let seed = std::env::var("PUSHROLL_SEED").map_or(1, |text| text.parse().unwrap());
        Self { seed, random: random(seed, stream) }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.random.next_u64() % end as u64).unwrap()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// What proptest draws from.
pub fn random(seed: u64, stream: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&stream.to_be_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
