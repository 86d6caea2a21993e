//! When a recording that could not be fetched is tried again.

use std::time::Duration;

/// The waits after the first attempt, the second, and so on. Signed URLs expire, so the first ones are short.
const WAITS: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
];

/// How far a wait is spread around its length, so that what failed together is not tried again together.
const SPREAD: f64 = 0.2;

/// The longest wait a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// How often a recording is tried at most.
pub(super) const MAX_ATTEMPTS: u32 = WAITS.len() as u32 + 1;

/// Returns how long to wait after attempt number `attempt` (from 1) has failed; `None` when it was the last one. The server may
/// have `asked` for more; `jitter` lies between 0 and 1.
pub(super) fn wait_after(attempt: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
    let wait = WAITS.get(index)?.mul_f64(1.0 + SPREAD * (2.0 * jitter.clamp(0.0, 1.0) - 1.0));
    Some(wait.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_it_is_given_up() {
        let seconds = |attempt| wait_after(attempt, None, 0.5).map(|wait| wait.as_secs());
        let waits: Vec<_> = (1..=MAX_ATTEMPTS).map(seconds).collect();
        assert_eq!(waits, [Some(5), Some(30), Some(120), Some(600), Some(1800), None]);
        assert_eq!((seconds(0), seconds(u32::MAX)), (None, None));
    }

    #[test]
    fn waits_are_spread_and_heed_the_server() {
        assert_eq!(wait_after(1, None, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(wait_after(1, None, 1.0), Some(Duration::from_secs(6)));
        assert_eq!(wait_after(1, Some(Duration::from_secs(17)), 0.5), Some(Duration::from_secs(17)));
        assert_eq!(wait_after(1, Some(Duration::from_secs(86_400)), 0.5), Some(LONGEST_ASKED));
        assert_eq!(wait_after(6, Some(Duration::from_secs(17)), 0.5), None);
    }
}
