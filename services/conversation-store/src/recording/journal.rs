//! What became of recordings, as events in the log.

use std::sync::Arc;

use colloquy_events::{Data, Event, Record, Recording, RecordingChannel, RecordingFailed};
use colloquy_log_client::Appender;
use colloquy_service::{Problem, telemetry};
use colloquy_types::{Clock, ConversationId, EventId, OrganizationId, Position, RecordId};

use super::objects::StoredObject;
use crate::turn_events::Named;

/// How often an id is derived anew so that it sorts behind another; half of all ids do.
const TRIES: u8 = 64;

/// Writes events about recordings.
#[derive(Clone)]
pub(crate) struct Journal {
    log: Appender,
    clock: Arc<dyn Clock>,
}

/// What is known of a stored recording besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) channel: RecordingChannel,
    pub(crate) content_type: String,
    pub(crate) duration_ms: Option<i64>,
}

impl Journal {
    pub(crate) fn new(log: Appender, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock }
    }

    /// Writes that a recording is in the object store. The same content is the same event, however often it is written.
    pub(crate) async fn stored(
        &self,
        conversation: &Named,
        object: &StoredObject,
        described: Described,
    ) -> Result<Position, Problem> {
        let event_id = stored_id(conversation.conversation_id, described.channel, object.key.sha256());
        self.write_stored(event_id, conversation, object, described).await
    }

    /// Writes that a recording which was replaced by another one is back.
    pub(crate) async fn restored(
        &self,
        conversation: &Named,
        object: &StoredObject,
        described: Described,
    ) -> Result<Position, Problem> {
        self.write_stored(EventId::generate(), conversation, object, described).await
    }

    async fn write_stored(
        &self,
        event_id: EventId,
        conversation: &Named,
        object: &StoredObject,
        described: Described,
    ) -> Result<Position, Problem> {
        let event = Event {
            event_id,
            conversation_id: conversation.conversation_id,
            provider: conversation.provider,
            external_id: conversation.external_id.clone(),
            occurred_at: self.clock.now(),
            ordinal: 0,
            data: Data::RecordingAvailable(Recording {
                url: None,
                object_key: Some(object.key.to_string()),
                sha256: Some(object.key.sha256().to_owned()),
                size_bytes: Some(object.size),
                content_type: Some(described.content_type),
                duration_ms: described.duration_ms,
                channel: described.channel,
            }),
        };
        self.append(object.key.organization(), event).await
    }

    /// Writes that the recording which `announced` speaks of will not be fetched.
    pub(crate) async fn failed(
        &self,
        organization: &OrganizationId,
        announced: &Event,
        channel: RecordingChannel,
        reason: String,
    ) -> Result<Position, Problem> {
        // It stands right behind its announcement, not at the time of the failure: another announcement that has not been
        // heard yet may be dated any time after this one, and must not be taken for failed as well.
        let (event_id, ordinal) = right_behind(announced, channel);
        let data = Data::RecordingFailed(RecordingFailed { channel, reason });
        self.append(organization, Event { event_id, ordinal, data, ..announced.clone() }).await
    }

    async fn append(&self, organization: &OrganizationId, event: Event) -> Result<Position, Problem> {
        let record = Record {
            record_id: RecordId::derive(organization, [event.event_id]),
            organization_id: organization.clone(),
            source_id: None,
            received_at: self.clock.now(),
            events: vec![event],
            traceparent: telemetry::traceparent(),
            sequence: 0,
        };
        match self.log.append(vec![record]).await {
            Ok(appended) => Ok(appended.position),
            Err(status) => Err(Problem::from_status(&status)),
        }
    }
}

/// Returns the id of the event that says that the content `sha256` was stored.
pub(crate) fn stored_id(conversation: ConversationId, channel: RecordingChannel, sha256: &str) -> EventId {
    EventId::derive(conversation, &["recording.stored", channel.as_str(), sha256])
}

/// Returns an id and an ordinal by which an event of the same instant comes right after `announced`.
fn right_behind(announced: &Event, channel: RecordingChannel) -> (EventId, u32) {
    let origin = announced.event_id.to_string();
    let derived =
        |n: u8| EventId::derive(announced.conversation_id, &["recording.failed", channel.as_str(), &origin, &n.to_string()]);
    match (0..TRIES).map(derived).find(|id| *id > announced.event_id) {
        Some(id) => (id, announced.ordinal),
        None => (derived(0), announced.ordinal.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::order;
    use colloquy_types::{Provider, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn announced(event_id: Uuid, ordinal: u32) -> Event {
        Event {
            event_id: EventId(event_id),
            conversation_id: ConversationId(Uuid::from_u128(1)),
            provider: Provider::Retell,
            external_id: "call_1".to_owned(),
            occurred_at: Timestamp::default(),
            ordinal,
            data: Data::RecordingFailed(RecordingFailed { channel: RecordingChannel::Mixed, reason: String::new() }),
        }
    }

    #[test]
    fn a_failure_comes_after_its_announcement_and_before_the_next_one() {
        for event_id in [Uuid::nil(), Uuid::from_u128(u128::MAX / 2), Uuid::from_u128(0xf0 << 120), Uuid::max()] {
            let announced = announced(event_id, 3);
            let (event_id, ordinal) = right_behind(&announced, RecordingChannel::Mixed);
            let failed = Event { event_id, ordinal, ..announced.clone() };
            assert!(order::rank(&failed) > order::rank(&announced));
            assert!(order::rank(&failed) < order::rank(&Event { ordinal: 5, ..announced }));
        }
    }
}
