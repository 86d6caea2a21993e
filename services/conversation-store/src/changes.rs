//! What people change: appended to the log like everything else that happens, and then read back.

use std::sync::Arc;

use colloquy_events::{Data, Event, Feedback, Patch, Record};
use colloquy_log_client::Appender;
use colloquy_service::{Progress, telemetry};
use colloquy_types::{Clock, ConversationId, EventId, OrganizationId, Position, RecordId, Timestamp};

use crate::error::Error;
use crate::store::{ConversationStore, Received};

/// Takes changes.
pub(crate) struct Changes {
    store: Arc<dyn ConversationStore>,
    log: Appender,
    progress: Progress,
    clock: Arc<dyn Clock>,
}

/// A change that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// When it counts as made.
    pub(crate) at: Timestamp,
    /// The position after which any reader has it.
    pub(crate) position: Position,
}

impl Changes {
    /// Returns what takes changes of the conversations in `store`.
    pub(crate) fn new(store: Arc<dyn ConversationStore>, log: Appender, progress: Progress, clock: Arc<dyn Clock>) -> Self {
        Self { store, log, progress, clock }
    }

    /// Changes what people may change.
    pub(crate) async fn patch(&self, organization: &OrganizationId, id: ConversationId, patch: Patch) -> Result<Taken, Error> {
        self.take(organization, id, Data::Patched(patch)).await
    }

    /// Takes a rating.
    pub(crate) async fn rate(&self, organization: &OrganizationId, id: ConversationId, given: Feedback) -> Result<Taken, Error> {
        self.take(organization, id, Data::FeedbackGiven(given)).await
    }

    async fn take(&self, organization: &OrganizationId, id: ConversationId, data: Data) -> Result<Taken, Error> {
        let known = self.store.events(organization, id).await?;
        let Some(first) = known.first() else { return Err(Error::ConversationNotFound(id)) };
        let now = self.clock.now();
        let at = behind(&known, &data, now);
        let event = Event {
            event_id: EventId::generate(),
            conversation_id: id,
            provider: first.event.provider,
            external_id: first.event.external_id.clone(),
            occurred_at: at,
            ordinal: 0,
            data,
        };
        let record = Record {
            record_id: RecordId::derive(organization, [event.event_id]),
            organization_id: organization.clone(),
            source_id: None,
            received_at: now,
            events: vec![event],
            traceparent: telemetry::traceparent(),
            sequence: 0,
        };
        let position = self.log.append(vec![record]).await.map_err(Error::Log)?.position;
        self.progress.wait_for(position.0).await?;
        Ok(Taken { at, position })
    }
}

/// Returns the time of a change: now, or right behind the last change of its kind, so that of two within one millisecond the
/// later call wins.
fn behind(known: &[Received], data: &Data, now: Timestamp) -> Timestamp {
    let same_kind = known.iter().filter(|received| received.event.data.kind() == data.kind());
    let last = same_kind.map(|received| received.event.occurred_at).max();
    last.map_or(now, |last| now.max(last.saturating_add_millis(1)))
}
