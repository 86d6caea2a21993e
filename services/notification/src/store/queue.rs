//! The queue: who takes what, and what became of it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use uuid::Uuid;

use super::engine::{Columns, Engine, Rows, Value};
use super::lanes::{Lane, settle};
use super::sql::{SqlStore, count_of, key, organization_of, position_of, time_of};
use super::{Claimed, Finished, attempts, body};
use crate::delivery::{Delivery, Status};
use crate::endpoint::Endpoint;
use crate::message::{Body, Message};

/// Takes what is due. What somebody else is taking at this moment is passed over, and what they took is due later.
pub(super) fn claim_sql<E: Engine>() -> String {
    format!(
        "with due as materialized ( \
             select delivery_id from pending \
             where organization_id = $1 and endpoint_id = $2 and due_at <= $3 \
             order by due_at \
             limit $5 {}) \
         update pending set due_at = $4 \
         from due \
         where pending.organization_id = $1 and pending.endpoint_id = $2 and pending.delivery_id = due.delivery_id \
         returning pending.delivery_id, pending.message_id, pending.conversation_id, pending.position, pending.event_type, \
             pending.schedule_attempts, pending.attempt_count, pending.next_attempt_at, pending.created_at",
        E::SKIP_LOCKED
    )
}

/// One probe of an index an endpoint, however much it has pending.
pub(super) const ENDPOINTS_WITH_WORK: &str = "select e.organization_id, e.endpoint_id from endpoints e \
     where e.enabled and ( \
         select p.due_at from pending p \
         where p.organization_id = e.organization_id and p.endpoint_id = e.endpoint_id and p.due_at is not null \
         order by p.due_at \
         limit 1) <= $1";

const MESSAGES: &str = "with {k} \
     select m.conversation_id, m.message_id, m.event_type, m.position, m.at, m.body \
     from k cross join messages m \
     where m.organization_id = $1 and m.conversation_id = k.conversation_id and m.message_id = k.message_id";

/// Which of the claims that a batch speaks of still count.
const STILL_COUNTS: &str = "p.organization_id = k.organization_id and p.endpoint_id = k.endpoint_id and p.delivery_id = k.delivery_id \
     and (k.taken = 1 or p.attempt_count = k.attempt_count)";

const ENDED_COLUMNS: &str = "organization_id, endpoint_id, delivery_id, message_id, conversation_id, position, event_type, status, \
     schedule_attempts, attempt_count, created_at, ended_at, attempts";

const ENDED_VALUES: &str = "p.organization_id, p.endpoint_id, p.delivery_id, p.message_id, p.conversation_id, p.position, \
     p.event_type, k.status, p.schedule_attempts + k.tried, p.attempt_count + k.tried, p.created_at, \
     coalesce(k.ended_at, p.due_at, p.next_attempt_at), p.attempts || k.attempt";

/// Moves what has ended out of the queue: one statement where the engine can.
pub(super) fn end_sql<E: Engine>() -> Vec<String> {
    if E::MOVES_AT_ONCE {
        return vec![format!(
            "with {{k}}, \
                 gone as (delete from pending p using k where {STILL_COUNTS} returning {values}, p.ordered), \
                 moved as (insert into ended ({ENDED_COLUMNS}) select {ENDED_COLUMNS} from gone on conflict do nothing) \
             select organization_id, endpoint_id, conversation_id, ordered from gone",
            values = ENDED_VALUES
                .replace("k.status", "k.status as status")
                .replace("p.schedule_attempts + k.tried", "p.schedule_attempts + k.tried as schedule_attempts")
                .replace("p.attempt_count + k.tried", "p.attempt_count + k.tried as attempt_count")
                .replace("p.next_attempt_at)", "p.next_attempt_at) as ended_at")
                .replace("p.attempts || k.attempt", "p.attempts || k.attempt as attempts"),
        )];
    }
    vec![
        format!(
            "with {{k}} insert into ended ({ENDED_COLUMNS}) select {ENDED_VALUES} from k cross join pending p \
             where {STILL_COUNTS} \
             on conflict do nothing"
        ),
        // Nothing is ever in both, but for what was copied just now.
        "with {k} delete from pending where (organization_id, endpoint_id, delivery_id) in ( \
             select k.organization_id, k.endpoint_id, k.delivery_id from k cross join ended d \
             where d.organization_id = k.organization_id and d.endpoint_id = k.endpoint_id and d.delivery_id = k.delivery_id) \
         returning organization_id, endpoint_id, conversation_id, ordered"
            .to_owned(),
    ]
}

pub(super) const TRY_AGAIN: &str = "with {k} \
     update pending set \
         attempts = pending.attempts || k.attempt, \
         attempt_count = pending.attempt_count + k.tried, \
         schedule_attempts = pending.schedule_attempts + k.tried, \
         next_attempt_at = coalesce(k.next_attempt_at, pending.next_attempt_at), \
         due_at = coalesce(k.next_attempt_at, pending.next_attempt_at) \
     from k \
     where pending.organization_id = k.organization_id and pending.endpoint_id = k.endpoint_id \
         and pending.delivery_id = k.delivery_id and pending.attempt_count = k.attempt_count and pending.due_at is not null";

/// A batch of what became of deliveries, with the lines of their attempts, in the key's order.
struct Outcomes<'a> {
    finished: Vec<&'a Finished>,
    attempts: Vec<String>,
}

impl<'a> Outcomes<'a> {
    fn of(finished: impl Iterator<Item = &'a Finished>) -> Self {
        let mut finished: Vec<&Finished> = finished.collect();
        finished.sort_by_key(|one| (one.organization_id.as_str(), one.endpoint_id, one.delivery_id));
        let attempts = finished.iter().map(|one| one.attempt.as_ref().map(attempts::encode).unwrap_or_default()).collect();
        Self { finished, attempts }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(self.finished.len())
            .text("organization_id", self.finished.iter().map(|one| one.organization_id.as_str()))
            .id("endpoint_id", self.finished.iter().map(|one| one.endpoint_id))
            .id("delivery_id", self.finished.iter().map(|one| one.delivery_id))
            .int("attempt_count", self.finished.iter().map(|one| one.attempt_count.into()))
            .text("attempt", self.attempts.iter().map(String::as_str))
            .int("tried", self.finished.iter().map(|one| one.attempt.is_some().into()))
    }
}

async fn end<E: Engine>(connection: &mut E::Connection, outcomes: &Outcomes<'_>) -> Result<Vec<Lane>, StoreError> {
    let ended_at =
        |one: &&Finished| one.attempt.as_ref().map(|attempt| attempt.at.saturating_add_millis(attempt.duration_ms).as_millis());
    let rows = (outcomes.rows())
        .text("status", outcomes.finished.iter().map(|one| one.status.as_str()))
        .int("taken", outcomes.finished.iter().map(|one| (one.status == Status::Succeeded).into()))
        .opt_int("ended_at", outcomes.finished.iter().map(ended_at));
    let mut gone = Vec::new();
    for sql in end_sql::<E>() {
        gone = E::query(connection, &sql, &[], Some(&rows)).await?;
    }
    let mut lanes = Vec::new();
    for row in &gone {
        let mut columns = Columns::<E>::of(row);
        let lane = Lane::read(&mut columns)?;
        if columns.bool()? {
            lanes.push(lane);
        }
    }
    Ok(lanes)
}

async fn try_again<E: Engine>(connection: &mut E::Connection, outcomes: &Outcomes<'_>) -> Result<(), StoreError> {
    let next = |one: &&Finished| one.next_attempt_at.map(Timestamp::as_millis);
    let rows = outcomes.rows().opt_int("next_attempt_at", outcomes.finished.iter().map(next));
    E::execute(connection, TRY_AGAIN, &[], Some(&rows)).await?;
    Ok(())
}

/// What a batch says of an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Health {
    /// Whether an attempt succeeded.
    has_succeeded: bool,
    /// When the first failed of those after the last that succeeded.
    failing_since: Option<Timestamp>,
}

fn health(finished: &[Finished]) -> BTreeMap<(&str, Uuid), Health> {
    let mut attempts: Vec<(&Finished, Timestamp)> =
        finished.iter().filter_map(|one| Some((one, one.attempt.as_ref()?.at))).collect();
    attempts.sort_by_key(|(_, at)| *at);
    let mut health = BTreeMap::new();
    for (one, at) in attempts {
        let key = (one.organization_id.as_str(), one.endpoint_id);
        let endpoint = health.entry(key).or_insert(Health { has_succeeded: false, failing_since: None });
        if one.status == Status::Succeeded {
            *endpoint = Health { has_succeeded: true, failing_since: None };
        } else if endpoint.failing_since.is_none() {
            endpoint.failing_since = Some(at);
        }
    }
    health
}

/// Writes what changed about endpoints, which is rarely anything. To whoever keeps endpoints in memory it is no change: one that
/// fails every other time would have all of them read again and again.
async fn note_health<E: Engine>(connection: &mut E::Connection, finished: &[Finished]) -> Result<(), StoreError> {
    let health = health(finished);
    let rows = Rows::new(health.len())
        .text("organization_id", health.keys().map(|(organization, _)| *organization))
        .id("endpoint_id", health.keys().map(|(_, endpoint)| *endpoint))
        .int("has_succeeded", health.values().map(|health| health.has_succeeded.into()))
        .opt_int("failing_since", health.values().map(|health| health.failing_since.map(Timestamp::as_millis)));
    E::execute(connection, NOTE_HEALTH, &[], Some(&rows)).await?;
    Ok(())
}

pub(super) const NOTE_HEALTH: &str = "with {k} \
     update endpoints set failing_since = k.failing_since \
     from k \
     where endpoints.organization_id = k.organization_id and endpoints.endpoint_id = k.endpoint_id \
         and ((endpoints.failing_since is null and k.failing_since is not null) \
             or (k.has_succeeded = 1 and endpoints.failing_since is not null))";

impl<E: Engine> SqlStore<E> {
    pub(super) async fn claim_due(
        &self,
        endpoint: &Endpoint,
        now: Timestamp,
        claimed_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let [organization, id] = key(&endpoint.organization_id, endpoint.endpoint_id);
        let values =
            [organization, id, Value::Int(now.as_millis()), Value::Int(claimed_until.as_millis()), Value::Int(limit.into())];
        let mut tx = E::begin_forgettable(&self.writer).await?;
        let enabled = "select 1 from endpoints where organization_id = $1 and endpoint_id = $2 and enabled";
        if E::query(&mut tx, enabled, &[organization, id], None).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut deliveries = Vec::new();
        for row in &E::query(&mut tx, &claim_sql::<E>(), &values, None).await? {
            let mut columns = Columns::<E>::of(row);
            deliveries.push(Delivery {
                organization_id: endpoint.organization_id.clone(),
                delivery_id: columns.id()?,
                endpoint_id: endpoint.endpoint_id,
                message_id: columns.id()?,
                conversation_id: ConversationId(columns.id()?),
                position: position_of(columns.int()?),
                event_type: columns.text()?,
                status: Status::Pending,
                schedule_attempts: count_of(columns.int()?),
                attempt_count: count_of(columns.int()?),
                next_attempt_at: Some(time_of(columns.int()?)),
                created_at: time_of(columns.int()?),
                attempts: Vec::new(),
            });
        }
        let mut messages = read_messages::<E>(&mut tx, &endpoint.organization_id, &deliveries).await?;
        tx.commit().await?;
        deliveries.sort_by_key(|delivery| (delivery.next_attempt_at, delivery.position, delivery.delivery_id));
        let (mut claimed, mut lost) = (Vec::with_capacity(deliveries.len()), Vec::new());
        for delivery in deliveries {
            match messages.remove(&(delivery.conversation_id.0, delivery.message_id)) {
                Some(message) => claimed.push(Claimed { delivery, message }),
                None => lost.push(Finished {
                    organization_id: delivery.organization_id,
                    delivery_id: delivery.delivery_id,
                    endpoint_id: delivery.endpoint_id,
                    attempt_count: delivery.attempt_count,
                    attempt: None,
                    status: Status::Failed,
                    next_attempt_at: None,
                }),
            }
        }
        if !lost.is_empty() {
            tracing::error!(deliveries = lost.len(), "deliveries whose message is not there any more are given up");
            self.write_finished(&lost).await?;
        }
        Ok(claimed)
    }

    pub(super) async fn read_endpoints_with_work(&self, now: Timestamp) -> Result<Vec<(OrganizationId, Uuid)>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let mut endpoints = Vec::new();
        for row in &E::query(&mut connection, ENDPOINTS_WITH_WORK, &[Value::Int(now.as_millis())], None).await? {
            let mut columns = Columns::<E>::of(row);
            endpoints.push((organization_of(&columns.text()?)?, columns.id()?));
        }
        Ok(endpoints)
    }

    pub(super) async fn write_finished(&self, finished: &[Finished]) -> Result<(), StoreError> {
        if finished.is_empty() {
            return Ok(());
        }
        let ended = Outcomes::of(finished.iter().filter(|one| one.status != Status::Pending));
        let again = Outcomes::of(finished.iter().filter(|one| one.status == Status::Pending));
        // If a crash of the database forgets it, the claims run out, and the endpoints are told once more.
        let mut tx = E::begin_forgettable(&self.writer).await?;
        if !again.finished.is_empty() {
            try_again::<E>(&mut tx, &again).await?;
        }
        if !ended.finished.is_empty() {
            let lanes = end::<E>(&mut tx, &ended).await?;
            settle::<E>(&mut tx, lanes, None, None).await?;
        }
        note_health::<E>(&mut tx, finished).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn write_body(&self, message: &Message, body: &Bytes) -> Result<(), StoreError> {
        let packed = body::pack(body);
        let values = [
            Value::Text(message.organization_id.as_str()),
            Value::Id(message.conversation_id.0),
            Value::Id(message.message_id),
            Value::Bytes(&packed),
        ];
        let sql = "update messages set body = $4 \
             where organization_id = $1 and conversation_id = $2 and message_id = $3 and body is null";
        let mut connection = self.writer.acquire().await?;
        E::execute(&mut connection, sql, &values, None).await?;
        Ok(())
    }

    pub(super) async fn read_backlog(&self, now: Timestamp) -> Result<(u64, Option<Timestamp>), StoreError> {
        let mut tx = E::begin_reading(&self.readers).await?;
        let count = "select count(*) from endpoints e cross join pending p \
             where p.organization_id = e.organization_id and p.endpoint_id = e.endpoint_id";
        let oldest = "select min(( \
                 select p.due_at from pending p \
                 where p.organization_id = e.organization_id and p.endpoint_id = e.endpoint_id and p.due_at is not null \
                 order by p.due_at \
                 limit 1)) \
             from endpoints e where e.enabled";
        let rows = E::query(&mut tx, count, &[], None).await?;
        let count = rows.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?;
        let rows = E::query(&mut tx, oldest, &[], None).await?;
        let oldest = rows.first().map_or(Ok(None), |row| Columns::<E>::of(row).opt_int())?;
        tx.commit().await?;
        Ok((count.unsigned_abs(), oldest.map(time_of).filter(|oldest| *oldest <= now)))
    }
}

async fn read_messages<E: Engine>(
    connection: &mut E::Connection,
    organization: &OrganizationId,
    deliveries: &[Delivery],
) -> Result<HashMap<(Uuid, Uuid), Message>, StoreError> {
    let keys = Rows::new(deliveries.len())
        .id("conversation_id", deliveries.iter().map(|delivery| delivery.conversation_id.0))
        .id("message_id", deliveries.iter().map(|delivery| delivery.message_id));
    let mut messages = HashMap::with_capacity(deliveries.len());
    for row in &E::query(connection, MESSAGES, &[Value::Text(organization.as_str())], Some(&keys)).await? {
        let mut columns = Columns::<E>::of(row);
        let message = Message {
            organization_id: organization.clone(),
            conversation_id: ConversationId(columns.id()?),
            message_id: columns.id()?,
            event_type: columns.text()?,
            position: position_of(columns.int()?),
            at: time_of(columns.int()?),
            body: match columns.opt_bytes()? {
                Some(packed) => Body::Ready(body::unpack(packed)?),
                None => Body::Snapshot,
            },
        };
        messages.insert((message.conversation_id.0, message.message_id), message);
    }
    Ok(messages)
}
