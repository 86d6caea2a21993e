//! At most so many attempts a second.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills at a steady rate and holds a tenth of a second's worth, so that a second has at most a tenth more than it
/// may have.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        let per_second = f64::from(per_second.get());
        Self { per_second, tokens: Self::capacity(per_second), at: now }
    }

    fn capacity(per_second: f64) -> f64 {
        (per_second / 10.0).max(1.0)
    }

    /// Takes one, or returns when there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(Self::capacity(self.per_second));
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // Rounded up, so that it is there then.
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / self.per_second) + Duration::from_millis(1))
    }

    /// Returns how many there can be within a time.
    pub(super) fn within(&self, time: Duration) -> usize {
        (self.per_second * time.as_secs_f64()).max(1.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_a_tenth_more_than_it_may_have() {
        for rate in [1, 3, 10, 100] {
            let start = Instant::now();
            let mut bucket = Bucket::new(NonZeroU32::new(rate).unwrap(), start);
            let mut now = start;
            let mut taken = Vec::new();
            while now < start + Duration::from_secs(5) {
                match bucket.take(now) {
                    Ok(()) => taken.push(now),
                    Err(at) => now = at,
                }
            }
            let most = (f64::from(rate) * 1.1).max(f64::from(rate) + 1.0) as usize;
            for from in &taken {
                let second = taken.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(at)).count();
                assert!(second <= most, "{second} at {rate}");
            }
            assert!(taken.len() >= 4 * rate as usize, "{} at {rate}", taken.len());
        }
    }
}
