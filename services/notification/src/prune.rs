//! Forgets what is old, little by little.

use std::sync::Arc;
use std::time::Duration;

use colloquy_types::{Clock, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// For how long what was delivered, or was not, can be looked at, recovered and tried again.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const EVERY: Duration = Duration::from_secs(60);
/// How many rows go together: few enough that nobody waits for it.
const AT_A_TIME: u32 = 2_000;

/// Forgets what is older than [`KEPT_FOR`], now and every minute, until the stop. Any number of replicas may do so.
///
/// # Errors
/// Never: what fails is tried again.
pub async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let before = before(clock.now());
        while !stop.is_cancelled() {
            match store.prune(before, AT_A_TIME).await {
                Ok(gone) if gone >= AT_A_TIME.into() => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!("what is old could not be removed yet: {error}");
                    break;
                }
            }
        }
    }
}

fn before(now: Timestamp) -> Timestamp {
    now.saturating_add_millis(-i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_kept() {
        let now: Timestamp = "2026-03-31T00:00:00Z".parse().unwrap();
        assert_eq!(before(now).to_string(), "2026-03-01T00:00:00.000Z");
    }
}
