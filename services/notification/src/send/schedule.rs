//! When a delivery is tried again. A pure function, so that it can be shown as a table.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// How long after each failed attempt the next one follows: more than a day in all, so that a receiver may be down for a night.
const RETRY_AFTER: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(10 * HOUR),
];
/// How far a wait may be shortened or lengthened, so that what failed together does not come back together. The last wait is only
/// lengthened: whatever the jitter of all of them, a receiver that was down for a day is tried once more when it is back.
const JITTER: f64 = 0.2;
/// The longest wait an endpoint can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * HOUR);

/// How many attempts a schedule has.
pub const ATTEMPTS: u32 = RETRY_AFTER.len() as u32 + 1;

/// Returns how long to wait after a failed attempt, the `attempts_made`th of its schedule; `None` when that was the last one.
///
/// What the endpoint `asked` for is waited at least. `jitter` lies in [-1, 1] and chooses where in the range of the wait it lies.
pub fn next_attempt(attempts_made: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempts_made.saturating_sub(1)).ok()?;
    let jitter = jitter.clamp(-1.0, 1.0);
    let jitter = if attempts_made == ATTEMPTS - 1 { jitter.abs() } else { jitter };
    let planned = RETRY_AFTER.get(index)?.mul_f64(1.0 + JITTER * jitter);
    Some(asked.map_or(planned, |asked| planned.max(asked.min(LONGEST_ASKED))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_kept_within_its_jitter_and_ends() {
        for (made, shortest, middle, longest) in [
            (1, 4, 5, 6),
            (2, 240, 300, 360),
            (3, 1_440, 1_800, 2_160),
            (4, 5_760, 7_200, 8_640),
            (5, 14_400, 18_000, 21_600),
            (6, 28_800, 36_000, 43_200),
            (7, 43_200, 36_000, 43_200),
        ] {
            for (jitter, seconds) in [(-1.0, shortest), (0.0, middle), (1.0, longest), (9.0, longest)] {
                assert_eq!(next_attempt(made, None, jitter), Some(Duration::from_secs(seconds)), "{made} {jitter}");
            }
        }
        assert_eq!(next_attempt(ATTEMPTS, None, 0.0), None);
        assert_eq!(next_attempt(u32::MAX, Some(Duration::from_secs(1)), 0.0), None);
    }

    #[test]
    fn who_was_down_for_a_day_is_tried_again_after_it() {
        for last in [-1.0, 0.0, 1.0] {
            let waits = (1..ATTEMPTS).filter_map(|made| next_attempt(made, None, if made + 1 == ATTEMPTS { last } else { -1.0 }));
            assert!(waits.sum::<Duration>() > Duration::from_secs(24 * HOUR), "{last}");
        }
    }

    #[test]
    fn what_the_endpoint_asks_for_lengthens_a_wait_and_never_shortens_it() {
        let asked = |made, seconds| next_attempt(made, Some(Duration::from_secs(seconds)), 0.0).map(|wait| wait.as_secs());
        assert_eq!(asked(1, 1), Some(5));
        assert_eq!(asked(1, 60), Some(60));
        assert_eq!(asked(2, 60), Some(300));
        assert_eq!(asked(1, u64::MAX), Some(24 * HOUR));
        assert_eq!(asked(7, u64::MAX), Some(24 * HOUR));
    }
}
