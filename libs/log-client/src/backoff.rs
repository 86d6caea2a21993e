//! How long to wait before trying again.

use std::time::Duration;

use rand::RngExt;

/// Waits that double, up to a bound, each shortened by chance, so that many readers do not come back at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure and returns how long to wait: between half of the present bound and all of it.
    pub(crate) fn failed(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        bound.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Returns how often it failed since it last worked.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that it works again; returns how often it had failed.
    pub(crate) const fn works(&mut self) -> u32 {
        std::mem::replace(&mut self.failures, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for bound in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let wait = backoff.failed().as_millis();
            assert!((bound / 2..=bound).contains(&wait), "{wait} of {bound}");
        }
        assert_eq!(backoff.works(), 7);
        assert!(backoff.failed() <= Duration::from_millis(100));
        for _ in 0..100 {
            backoff.failed();
        }
    }
}
