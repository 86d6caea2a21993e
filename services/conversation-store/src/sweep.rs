//! Closes what never ended: a conversation of which nothing was heard for a long time gets an end that any real one overrides.

use std::sync::Arc;
use std::time::Duration;

use colloquy_events::{Data, EndStatus, Ended, Event, Record, end_reason};
use colloquy_log_client::Appender;
use colloquy_types::{Clock, EventId, RecordId};
use tokio_util::sync::CancellationToken;

use crate::store::{ConversationStore, Stuck, WALK_LIMIT};

/// How often it looks, at the least.
const EVERY: Duration = Duration::from_secs(60);
/// How many conversations it closes at once.
const BATCH: usize = 500;
/// In a channel of messages the person may answer the next day.
const MESSAGES_STUCK_AFTER: Duration = Duration::from_secs(25 * 60 * 60);
/// What lists were is remembered a little longer than anybody may ask.
const REMEMBER_LISTS: Duration = Duration::from_secs(WALK_LIMIT.as_secs() + 300);

/// Looks for conversations that never ended.
pub(crate) struct Sweeper {
    store: Arc<dyn ConversationStore>,
    log: Appender,
    clock: Arc<dyn Clock>,
    stuck_after: Duration,
}

impl Sweeper {
    /// Returns a sweeper that closes what was silent for `stuck_after`.
    pub(crate) fn new(store: Arc<dyn ConversationStore>, log: Appender, clock: Arc<dyn Clock>, stuck_after: Duration) -> Self {
        Self { store, log, clock, stuck_after }
    }

    /// Looks every minute, or oftener when silence is measured in seconds, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.stuck_after.min(EVERY)) => {}
            }
            // The next round tries again.
            match self.sweep().await {
                Ok(0) => {}
                Ok(closed) => tracing::info!(closed, "closed {closed} conversations of which nothing was heard any more"),
                Err(error) => tracing::warn!("conversations that never ended could not be closed: {error:#}"),
            }
        }
    }

    /// Closes what is stuck now, up to a batch, and returns how many conversations that were.
    pub(crate) async fn sweep(&self) -> anyhow::Result<usize> {
        let now = self.clock.now();
        let before = |span: Duration| now.saturating_add_millis(-i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        self.store.forget_lists(before(REMEMBER_LISTS)).await?;
        let messages = self.stuck_after.max(MESSAGES_STUCK_AFTER);
        let stuck = self.store.stuck(before(self.stuck_after), before(messages), BATCH).await?;
        let closed = stuck.len();
        if closed > 0 {
            let records = stuck.into_iter().map(|stuck| closing(stuck, now)).collect();
            self.log.append(records).await?;
        }
        Ok(closed)
    }
}

/// Returns the end of a stuck conversation. Its id follows from the silence it ends, so that sweeping twice closes once.
fn closing(stuck: Stuck, now: colloquy_types::Timestamp) -> Record {
    let last_heard = stuck.last_received_at.as_millis().to_string();
    let event_id = EventId::derive(stuck.conversation_id, &["inferred end", &last_heard]);
    let end_reason = Some(end_reason::UNKNOWN_END.to_owned());
    let event = Event {
        event_id,
        conversation_id: stuck.conversation_id,
        provider: stuck.provider,
        external_id: stuck.external_id,
        occurred_at: now,
        ordinal: 0,
        data: Data::Ended(Ended { end_reason, inferred: true, ..Ended::new(EndStatus::Failed) }),
    };
    Record {
        record_id: RecordId::derive(&stuck.organization_id, [event_id]),
        organization_id: stuck.organization_id,
        source_id: None,
        received_at: now,
        events: vec![event],
        traceparent: String::new(),
        sequence: 0,
    }
}
