//! Tells again of alerts that stay open while nobody looks into them.
//!
//! A reminder is an `alert.opened` event of its own (see [`super::alert::Alert::renotified`]): whoever is told of alerts, by a webhook
//! or by mail, is told once more. A rule that is muted, disabled or gone reminds of nothing.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::StoreError;
use colloquy_types::Clock;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::store::AlertStore;

const EVERY: Duration = Duration::from_secs(5);
/// How many reminders go together.
const TOGETHER: u32 = 100;

/// Tells again.
pub struct Reminder {
    store: Arc<dyn AlertStore>,
    clock: Arc<dyn Clock>,
    bell: Arc<Notify>,
}

impl Reminder {
    /// Returns a reminder of what `store` keeps, which rings the bell for what is to be told.
    pub fn new(store: Arc<dyn AlertStore>, clock: Arc<dyn Clock>, bell: Arc<Notify>) -> Self {
        Self { store, clock, bell }
    }

    /// Reminds until the stop.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.remind().await {
                tracing::warn!("alerts could not be told of again yet: {error}");
            }
        }
    }

    /// Tells again of what it is time for; returns how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remind(&self) -> Result<u64, StoreError> {
        let mut reminded = 0;
        loop {
            let now = self.clock.now();
            let untold = self.store.untold(now, TOGETHER).await?;
            for alert in &untold {
                if self.store.renotify(alert, now).await? {
                    reminded += 1;
                }
            }
            if reminded > 0 {
                self.bell.notify_one();
            }
            if untold.len() < TOGETHER as usize {
                return Ok(reminded);
            }
        }
    }
}
