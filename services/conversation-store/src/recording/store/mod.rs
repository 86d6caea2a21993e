//! Which recordings are kept, and which are still to be fetched.
//!
//! Both are the rows of `recordings`, which the view writes when it folds a conversation: a row is `remote` while all that is known
//! of a recording is a URL. Such a row is work to do, and this is its queue: a worker claims it by moving its next attempt
//! behind the time it needs, so that the row of a worker that died is due again by itself. What came of an attempt is an
//! event; the row changes its state when the view has folded it.

mod postgres;
mod sqlite;

#[cfg(test)]
mod conformance;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::{Data, Event, RecordingChannel};
use colloquy_storage::{Database, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use uuid::Uuid;

use crate::stored_event;
use crate::turn_events::Named;

/// The recordings of every organization.
#[async_trait]
pub(crate) trait RecordingStore: Send + Sync {
    /// Returns how a conversation is called, if it exists.
    async fn conversation(&self, organization: &OrganizationId, id: ConversationId) -> Result<Option<Named>, StoreError>;

    /// Returns the recordings of a conversation that are in the object store.
    async fn kept(&self, organization: &OrganizationId, id: ConversationId) -> Result<Vec<Kept>, StoreError>;

    /// Returns the events of a conversation's course.
    async fn events(&self, organization: &OrganizationId, conversation: &Named) -> Result<Vec<Event>, StoreError>;

    /// Takes what is to be fetched by `now`, the longest due first, and holds it until `until`.
    async fn claim(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<Fetch>, StoreError>;

    /// Holds what was claimed until another time. Returns whether it is still the same work: not when it has been stored,
    /// claimed again, or is offered at another URL.
    async fn hold(&self, fetch: &Fetch, until: Timestamp) -> Result<bool, StoreError>;

    /// Gives back what was claimed, as if it had not been tried.
    async fn release(&self, fetch: &Fetch, due: Timestamp) -> Result<(), StoreError>;
}

/// A recording in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) channel: RecordingChannel,
    pub(crate) object_key: String,
    pub(crate) content_type: Option<String>,
}

/// A recording to be fetched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) organization_id: OrganizationId,
    pub(crate) conversation_id: ConversationId,
    pub(crate) channel: RecordingChannel,
    /// A secret: whoever has a signed URL has the recording.
    pub(crate) url: String,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    pub(crate) content_type: Option<String>,
    pub(crate) duration_ms: Option<i64>,
}

impl Fetch {
    /// Returns whether `event` announced what is to be fetched.
    pub(crate) fn came_in(&self, event: &Event) -> bool {
        matches!(&event.data, Data::RecordingAvailable(recording)
            if recording.channel == self.channel && recording.object_key.is_none() && recording.url.as_ref() == Some(&self.url))
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Fetch");
        shown.field("organization_id", &self.organization_id).field("conversation_id", &self.conversation_id);
        shown.field("channel", &self.channel).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// Returns the store over the view's database.
pub(crate) fn over(database: &Database) -> Arc<dyn RecordingStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(sqlite::SqliteRecordings(sqlite.clone())),
        Database::Postgres(pool) => Arc::new(postgres::PostgresRecordings(pool.clone())),
    }
}

const CONVERSATION: &str = "select provider, external_id from conversations where organization_id = $1 and conversation_id = $2";

const KEPT: &str = "select channel, object_key, content_type from recordings \
    where organization_id = $1 and conversation_id = $2 and state = 'stored' and object_key is not null order by channel";

const EVENTS: &str = "select event_id, event from events where organization_id = $1 and conversation_id = $2";

const HOLD: &str = "update recordings set next_attempt_at = $6 where organization_id = $1 and conversation_id = $2 \
    and channel = $3 and state = 'remote' and url = $4 and attempts = $5";

const RELEASE: &str = "update recordings set next_attempt_at = $6, attempts = attempts - 1 where organization_id = $1 \
    and conversation_id = $2 and channel = $3 and state = 'remote' and url = $4 and attempts = $5";

type ConversationRow = (String, Vec<u8>);
type KeptRow = (String, String, Option<String>);
type EventRow = (Uuid, Vec<u8>);
type FetchRow = (String, Uuid, String, String, i64, Option<String>, Option<i64>);

fn corrupt(column: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{column}: {error}"))
}

fn named(id: ConversationId, (provider, external_id): ConversationRow) -> Result<Named, StoreError> {
    let provider = provider.parse().map_err(|error| corrupt("conversations.provider", error))?;
    let external_id = String::from_utf8(external_id).map_err(|error| corrupt("conversations.external_id", error))?;
    Ok(Named { conversation_id: id, provider, external_id })
}

fn kept((channel, object_key, content_type): KeptRow) -> Result<Kept, StoreError> {
    let channel = channel.parse().map_err(|error| corrupt("recordings.channel", error))?;
    Ok(Kept { channel, object_key, content_type })
}

fn events(conversation: &Named, rows: Vec<EventRow>) -> Result<Vec<Event>, StoreError> {
    let decoded = rows.into_iter().map(|(event_id, bytes)| stored_event::decode(&bytes, event_id, conversation));
    decoded.filter_map(Result::transpose).collect()
}

fn fetch(row: FetchRow) -> Result<Fetch, StoreError> {
    let (organization_id, conversation_id, channel, url, attempts, content_type, duration_ms) = row;
    Ok(Fetch {
        organization_id: organization_id.parse().map_err(|error| corrupt("recordings.organization_id", error))?,
        conversation_id: ConversationId(conversation_id),
        channel: channel.parse().map_err(|error| corrupt("recordings.channel", error))?,
        url,
        attempt: u32::try_from(attempts).map_err(|error| corrupt("recordings.attempts", error))?,
        content_type,
        duration_ms,
    })
}
