//! What a test leaves to chance, said aloud, so that a failure can be had again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A source of random choices. Prints its seed; `COLLOQUY_FAULTS_SEED` gives one.
pub struct Chance(StdRng);

impl Chance {
    /// Returns the chance of one test.
    pub fn of(test: &str) -> Self {
        let given = std::env::var("COLLOQUY_FAULTS_SEED").ok();
        let seed = given.map_or_else(|| rand::rng().random(), |given| given.parse().expect("COLLOQUY_FAULTS_SEED is a number"));
        eprintln!("{test}: COLLOQUY_FAULTS_SEED={seed}");
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns a number from `range`.
    pub fn number(&mut self, range: std::ops::Range<usize>) -> usize {
        self.0.random_range(range)
    }

    /// Returns a time below `limit`.
    pub fn moment(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.0.random())
    }

    /// Returns one of `all`.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.number(0..all.len())]
    }

    /// Puts `all` into a random order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.0.random_range(0..=last));
        }
    }
}
