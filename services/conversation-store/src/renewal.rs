//! Brings conversations up to date that an older release wrote: lists can be filtered by more than it knew.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::StoreError;
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::ConversationStore;

/// How many conversations are folded in one transaction at most: few, since those that are told of wait for it.
const BATCH: usize = 16;
/// Between two of them, so that what is told now goes first.
const PAUSE: Duration = Duration::from_millis(20);
/// An older release that still runs beside this one may have written some meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Looks for conversations that an older release wrote last.
pub(crate) struct Renewal {
    store: Arc<dyn ConversationStore>,
    clock: Arc<dyn Clock>,
}

impl Renewal {
    /// Returns what brings the conversations in `store` up to date.
    pub(crate) fn new(store: Arc<dyn ConversationStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Goes through them again and again until `stop`; where there are none, that is one look at an empty index.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let wait = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                renewed = self.renew_all(PAUSE) => renewed,
            };
            // The next round tries again.
            if let Err(error) = wait {
                tracing::warn!("conversations that an older release wrote could not be brought up to date: {error:#}");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(AGAIN_AFTER) => {}
            }
        }
    }

    /// Goes through all that there are now.
    pub(crate) async fn renew_all(&self, pause: Duration) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            after = self.store.renew(after.as_ref(), BATCH, self.clock.now()).await?;
            if after.is_none() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    }
}
