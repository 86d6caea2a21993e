//! Where endpoints, messages and deliveries are kept.

mod attempts;
mod body;
#[cfg(test)]
mod conformance;
mod endpoints;
mod engine;
mod housekeeping;
mod intake;
mod lanes;
mod listing;
mod queue;
mod replays;
mod revive;
#[cfg(test)]
pub(crate) mod samples;
mod sql;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_storage::{Database, Migrations, StoreError};
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use uuid::Uuid;

use crate::delivery::{Attempt, Delivery, Status};
use crate::endpoint::{DisabledReason, Endpoint};
use crate::message::Message;

/// Returns the migrations of both engines.
pub fn migrations() -> Migrations {
    Migrations::new(sqlx::migrate!("migrations/sqlite"), sqlx::migrate!("migrations/postgres"))
}

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn Store> {
    match database {
        Database::Sqlite(sqlite) => {
            Arc::new(sql::SqlStore { writer: sqlite.writer().clone(), readers: sqlite.readers().clone() })
        }
        Database::Postgres(pool) => Arc::new(sql::SqlStore { writer: pool.clone(), readers: pool.clone() }),
    }
}

/// The name of this service's reader: its durable consumer, and its position.
pub const READER: &str = "notification";

/// What endpoints' filters ask about a conversation, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The agent that leads it.
    pub agent_id: Option<String>,
    /// The organization's customer, as sources say; what counts is [`Known::client_id`].
    pub client_id: Option<String>,
    /// How it is carried.
    pub channel: Option<String>,
    /// What a person made of the customer, if any did. Sources name theirs again with every delivery, and a person knows best: as
    /// in the record, this counts whatever they say later.
    pub set_client_id: Option<SetClientId>,
}

/// The customer a person gave a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetClientId {
    /// The customer; `None` when the person took it away.
    pub client_id: Option<String>,
    /// When: of several, the latest counts.
    pub at: Timestamp,
}

/// What one batch of the log comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// What became known of conversations; what is `None` stays as it was, and so does what a person set later.
    pub known: Vec<(OrganizationId, ConversationId, Known)>,
    /// What to tell. One that is there already stays as it is, and makes no deliveries.
    pub messages: Vec<Message>,
    /// For whom; each of one of `messages`.
    pub deliveries: Vec<Delivery>,
    /// Which of them whoever calls has no room for: they are due when they say, to whoever takes them.
    pub unclaimed: HashSet<Uuid>,
}

/// A place in a list, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// When the last item of the page before was made.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

/// Which deliveries to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub status: Option<Status>,
    /// Only of this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Only of this type.
    pub event_type: Option<String>,
}

/// A delivery that a worker holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// The delivery; its log of attempts is empty.
    pub delivery: Delivery,
    /// The message, whose body may have to be made first.
    pub message: Message,
}

/// Learns which deliveries will be in the queue once the transaction they are written in has been committed.
pub type BeforeCommit<'a> = dyn Fn(&[Uuid]) + Send + Sync + 'a;

/// What a worker made of a delivery it held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which one.
    pub delivery_id: Uuid,
    /// For whom it was.
    pub endpoint_id: Uuid,
    /// How many attempts had been made when it was claimed ([`Delivery::attempt_count`]): what a worker has to say whose claim
    /// ran out, while another went on with the delivery, does not count, unless it was taken.
    pub attempt_count: u32,
    /// The attempt; `None` when it was not even tried (its body could not be made, or the worker stops).
    pub attempt: Option<Attempt>,
    /// Where it stands now.
    pub status: Status,
    /// When it is due again; `None` unless it is pending.
    pub next_attempt_at: Option<Timestamp>,
}

/// Where a replay stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Random.
    pub replay_id: Uuid,
    /// For whom.
    pub endpoint_id: Uuid,
    /// The request, encoded (`ReplayWebhookDeliveriesRequest`).
    pub request: Bytes,
    /// Where the list of conversations goes on; empty at the beginning.
    pub page_token: String,
}

/// Keeps endpoints, messages and deliveries.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // Endpoints

    /// Keeps a new endpoint. `false` when the organization has `limit` already.
    async fn create_endpoint(&self, endpoint: &Endpoint, limit: u32) -> Result<bool, StoreError>;

    /// Returns one endpoint.
    async fn endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Endpoint>, StoreError>;

    /// Returns a page of an organization's endpoints, newest first.
    async fn page_of_endpoints(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Endpoint>, StoreError>;

    /// Returns every enabled endpoint of all organizations, with a number that changes whenever any endpoint does, its
    /// `failing_since` aside: what the reader and the workers keep in memory, and ask for again when the number has changed.
    async fn enabled_endpoints(&self) -> Result<(i64, Vec<Endpoint>), StoreError>;

    /// Returns the number that changes whenever any endpoint does, its `failing_since` aside.
    async fn endpoints_version(&self) -> Result<i64, StoreError>;

    /// Replaces an endpoint, if its revision is still one less than the new one's. `false` when it is not, or it is gone.
    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<bool, StoreError>;

    /// Removes an endpoint with its deliveries. `false` when there is none.
    async fn delete_endpoint(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError>;

    /// Disables an endpoint, if it is enabled; what is pending for it fails. `false` when it was not enabled.
    async fn disable_endpoint(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        reason: DisabledReason,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    // From the log

    /// Returns up to where the log was read without a gap.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Returns what is known of conversations.
    async fn known(
        &self,
        conversations: &[(OrganizationId, ConversationId)],
    ) -> Result<Vec<(OrganizationId, ConversationId, Known)>, StoreError>;

    /// Keeps what a batch comes to, and notes that everything up to `through` was read; all of it or nothing. New deliveries
    /// are claimed until `claimed_until` by whoever calls, but [`Batch::unclaimed`] and those of ordered endpoints that have to
    /// wait (see [`Store::claim`]). Returns the ids of the deliveries that are new and claimed: the others were there already, are
    /// anybody's, or wait.
    ///
    /// `before_commit` is called once all is written but not yet on the disk, with those of them that wait for nothing: they may be
    /// attempted, but what attempts come to can be written only after this has returned, and not when it failed.
    async fn apply(
        &self,
        batch: &Batch,
        through: Position,
        claimed_until: Timestamp,
        before_commit: &BeforeCommit<'_>,
    ) -> Result<Vec<Uuid>, StoreError>;

    /// Notes a record that could not be applied; once.
    async fn set_aside(
        &self,
        organization: &OrganizationId,
        record: RecordId,
        sequence: u64,
        reason: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    // The queue

    /// Claims deliveries of one endpoint that are due at `now`, at most `limit`, the longest due first, until `claimed_until`.
    /// A delivery whose claim has run out is due again. For an ordered endpoint a delivery waits while the endpoint has an
    /// earlier pending one (by position) of the same conversation, and while its position lies beyond [`Store::position`]; one
    /// of the same conversation at a time. No two callers get the same one.
    async fn claim(
        &self,
        endpoint: &Endpoint,
        now: Timestamp,
        claimed_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// Returns the enabled endpoints that have something due at `now`, without walking the deliveries that are not.
    async fn endpoints_with_work(&self, now: Timestamp) -> Result<Vec<(OrganizationId, Uuid)>, StoreError>;

    /// Writes down what became of claimed deliveries, all in one transaction: status, attempt log (newest 20), next attempt,
    /// and of their endpoints `failing_since` (set by the first failure after a success, cleared by a success).
    async fn finish(&self, finished: &[Finished]) -> Result<(), StoreError>;

    /// Keeps the body that was made for a message; the first one stays.
    async fn keep_body(&self, message: &Message, body: &Bytes) -> Result<(), StoreError>;

    // For people

    /// Returns one delivery with its attempts.
    async fn delivery(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
    ) -> Result<Option<Delivery>, StoreError>;

    /// Returns a page of an endpoint's deliveries with their attempts, newest first.
    async fn page_of_deliveries(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        filter: &DeliveryFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Makes a delivery due at `now`: one that has ended with a new schedule, one that waits for its next attempt where it stands
    /// in its schedule. One that is due already, or that somebody has claimed, stays as it is; one that is not the first of its
    /// conversation at an ordered endpoint goes on waiting for those before. `false` when there is none, or its endpoint is
    /// disabled.
    async fn retry(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        delivery: Uuid,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Makes every failed or exhausted delivery of an endpoint due at `now` that was made in `[since, until)`, with a new
    /// schedule, and so, as [`Store::retry`] does, every one of then that was attempted in vain and waits for its next attempt.
    /// Returns how many.
    async fn recover(
        &self,
        organization: &OrganizationId,
        endpoint: Uuid,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Adds messages and deliveries that do not come from the log (tests, notices, replays). Of a message that is there already
    /// the kept one counts; a delivery that is there already and has ended is due again at `now`, with a new schedule.
    async fn add(&self, messages: &[Message], deliveries: &[Delivery], now: Timestamp) -> Result<(), StoreError>;

    // Replays

    /// Keeps a new replay.
    async fn create_replay(&self, replay: &Replay) -> Result<(), StoreError>;

    /// Claims one replay that nobody works on, until `claimed_until`.
    async fn claim_replay(&self, now: Timestamp, claimed_until: Timestamp) -> Result<Option<Replay>, StoreError>;

    /// Notes how far a replay has come, and holds it on; `None` when it is done.
    async fn advance_replay(
        &self,
        organization: &OrganizationId,
        replay: Uuid,
        page_token: Option<&str>,
        claimed_until: Timestamp,
    ) -> Result<(), StoreError>;

    // Housekeeping

    /// Removes, at most `limit` at a time, deliveries that ended before `before`, messages of before then that no delivery needs,
    /// and what is known of conversations not heard of since. Returns how many rows went.
    async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Returns how many deliveries are pending, and since when the oldest of those that are due has been.
    async fn backlog(&self, now: Timestamp) -> Result<(u64, Option<Timestamp>), StoreError>;
}
