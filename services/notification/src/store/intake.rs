//! What comes in: from the log, and by hand.

use std::collections::{BTreeMap, HashSet};

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use uuid::Uuid;

use super::engine::{Columns, Engine, Rows, Value};
use super::lanes::{self, Lane, PutToWork, ordered_sql, settle};
use super::sql::{SqlStore, organization_of, time_of, to_bigint};
use super::{Batch, BeforeCommit, Known, SetClientId, body, revive};
use crate::delivery::Delivery;
use crate::message::{Body, Message};

/// When a conversation was heard of is noted to the day: else every event that has facts would write a row.
const HEARD_EVERY_MS: i64 = 24 * 60 * 60 * 1_000;

const DAY_OLD: &str = "conversations.heard_at < excluded.heard_at - cast($2 as bigint)";

/// Whether what a person made of the customer is new: it is not older than what a person made of it before.
const IS_SET: &str = "excluded.client_id_set_at >= coalesce(conversations.client_id_set_at, excluded.client_id_set_at)";

/// What counts of the customer is in `client_id` too, where releases look that do not know of `set_client_id`.
fn keep_known() -> String {
    let names = ["agent_id", "channel"];
    let sets = names.map(|name| format!("{name} = coalesce(excluded.{name}, conversations.{name})")).join(", ");
    let is_news = |name: &str| format!("(excluded.{name} is not null and excluded.{name} is distinct from conversations.{name})");
    let news = names.map(is_news).join(" or ");
    let said = is_news("client_id");
    format!(
        "with {{k}} \
         insert into conversations (organization_id, conversation_id, agent_id, client_id, channel, set_client_id, \
             client_id_set_at, heard_at) \
         select k.organization_id, k.conversation_id, k.agent_id, k.client_id, k.channel, k.set_client_id, k.client_id_set_at, \
             cast($1 as bigint) \
         from k where true \
         on conflict (organization_id, conversation_id) do update set {sets}, \
             client_id = case when {IS_SET} then excluded.set_client_id \
                 when conversations.client_id_set_at is not null then conversations.set_client_id \
                 else coalesce(excluded.client_id, conversations.client_id) end, \
             set_client_id = case when {IS_SET} then excluded.set_client_id else conversations.set_client_id end, \
             client_id_set_at = case when {IS_SET} then excluded.client_id_set_at else conversations.client_id_set_at end, \
             heard_at = excluded.heard_at \
         where {news} or {DAY_OLD} \
             or (conversations.client_id_set_at is null and {said}) \
             or ({IS_SET} and (excluded.client_id_set_at is distinct from conversations.client_id_set_at \
                 or excluded.set_client_id is distinct from conversations.set_client_id))"
    )
}

async fn write_known<E: Engine>(
    connection: &mut E::Connection,
    known: &[(OrganizationId, ConversationId, Known)],
    now: i64,
) -> Result<(), StoreError> {
    if known.is_empty() {
        return Ok(());
    }
    // In the key's order, so that two writers lock rows in one order; and one row a conversation.
    let mut merged: BTreeMap<(&str, Uuid), Known> = BTreeMap::new();
    for (organization, conversation, known) in known {
        merged.entry((organization.as_str(), conversation.0)).or_default().learn(known);
    }
    let rows = Rows::new(merged.len())
        .text("organization_id", merged.keys().map(|(organization, _)| *organization))
        .id("conversation_id", merged.keys().map(|(_, conversation)| *conversation))
        .opt_text("agent_id", merged.values().map(|known| known.agent_id.as_deref()))
        .opt_text("client_id", merged.values().map(Known::client_id))
        .opt_text("channel", merged.values().map(|known| known.channel.as_deref()))
        .opt_text("set_client_id", merged.values().map(|known| known.set_client_id.as_ref()?.client_id.as_deref()))
        .opt_int("client_id_set_at", merged.values().map(|known| Some(known.set_client_id.as_ref()?.at.as_millis())));
    E::execute(connection, &keep_known(), &[Value::Int(now), Value::Int(HEARD_EVERY_MS)], Some(&rows)).await?;
    Ok(())
}

/// Whose it is, of which conversation, and which message: the key of a message.
type MessageKey<'a> = (&'a str, Uuid, Uuid);

fn key_of(message: &Message) -> MessageKey<'_> {
    (message.organization_id.as_str(), message.conversation_id.0, message.message_id)
}

type OwnedKey = (String, Uuid, Uuid);

/// Inserts messages; returns the keys of those that were not there.
async fn insert_messages<E: Engine>(
    connection: &mut E::Connection,
    messages: &BTreeMap<MessageKey<'_>, &Message>,
    from_log: bool,
    now: i64,
) -> Result<HashSet<OwnedKey>, StoreError> {
    // What was added by hand again is kept for as long as if it were new.
    let otherwise = if from_log {
        "do nothing"
    } else {
        "(organization_id, conversation_id, message_id) do update set kept_at = excluded.kept_at"
    };
    let sql = format!(
        "with {{k}} \
         insert into messages (organization_id, conversation_id, message_id, event_type, position, at, body, from_log, kept_at) \
         select k.organization_id, k.conversation_id, k.message_id, k.event_type, k.position, k.at, k.body, {from_log}, \
             cast($1 as bigint) \
         from k \
         where true \
         on conflict {otherwise} \
         returning organization_id, conversation_id, message_id"
    );
    let bodies: Vec<Option<Vec<u8>>> = messages
        .values()
        .map(|message| match &message.body {
            Body::Ready(body) => Some(body::pack(body)),
            Body::Snapshot => None,
        })
        .collect();
    let rows = message_keys(messages)
        .text("event_type", messages.values().map(|message| message.event_type.as_str()))
        .int("position", messages.values().map(|message| to_bigint(message.position)))
        .int("at", messages.values().map(|message| message.at.as_millis()))
        .opt_bytes("body", bodies.iter().map(Option::as_deref));
    read_keys::<E>(&E::query(connection, &sql, &[Value::Int(now)], Some(&rows)).await?)
}

fn message_keys<'a>(messages: &BTreeMap<MessageKey<'a>, &'a Message>) -> Rows<'a> {
    Rows::new(messages.len())
        .text("organization_id", messages.keys().map(|(organization, ..)| *organization))
        .id("conversation_id", messages.keys().map(|(_, conversation, _)| *conversation))
        .id("message_id", messages.keys().map(|(.., message)| *message))
}

/// Notes that the log told of messages that were added by hand before; returns their keys. To it, they are new.
async fn claim_for_log<E: Engine>(
    connection: &mut E::Connection,
    messages: &BTreeMap<MessageKey<'_>, &Message>,
    now: i64,
) -> Result<HashSet<OwnedKey>, StoreError> {
    let sql = "with {k} \
         update messages set from_log = true, kept_at = cast($1 as bigint) \
         from k \
         where messages.organization_id = k.organization_id and messages.conversation_id = k.conversation_id \
             and messages.message_id = k.message_id and not messages.from_log \
         returning messages.organization_id, messages.conversation_id, messages.message_id";
    read_keys::<E>(&E::query(connection, sql, &[Value::Int(now)], Some(&message_keys(messages))).await?)
}

fn read_keys<E: Engine>(rows: &[E::Row]) -> Result<HashSet<OwnedKey>, StoreError> {
    let mut keys = HashSet::with_capacity(rows.len());
    for row in rows {
        let mut columns = Columns::<E>::of(row);
        keys.insert((columns.text()?, columns.id()?, columns.id()?));
    }
    Ok(keys)
}

/// A delivery that was not there before.
struct Inserted {
    lane: Lane,
    delivery: Uuid,
    ordered: bool,
}

/// Inserts deliveries to endpoints that are enabled, claimed until `claimed_until`, or else due when they say, as `unclaimed` are.
async fn insert_deliveries<E: Engine>(
    connection: &mut E::Connection,
    deliveries: &[&Delivery],
    may_have_ended: bool,
    claimed_until: Option<i64>,
    unclaimed: &HashSet<Uuid>,
) -> Result<Vec<Inserted>, StoreError> {
    let unless_ended = if may_have_ended {
        "and not exists (select 1 from ended where ended.organization_id = k.organization_id \
             and ended.endpoint_id = k.endpoint_id and ended.delivery_id = k.delivery_id) "
    } else {
        ""
    };
    let ordered = ordered_sql::<E>("k");
    let sql = format!(
        "with {{k}} \
         insert into pending (organization_id, endpoint_id, delivery_id, message_id, conversation_id, position, event_type, \
             schedule_attempts, attempt_count, next_attempt_at, due_at, ordered, beyond, created_at, attempts) \
         select k.organization_id, k.endpoint_id, k.delivery_id, k.message_id, k.conversation_id, k.position, k.event_type, \
             0, 0, k.next_attempt_at, \
             case when {ordered} then null when k.unclaimed = 1 then k.next_attempt_at \
                 else coalesce(cast($1 as bigint), k.next_attempt_at) end, \
             {ordered}, false, k.created_at, '' \
         from k cross join endpoints e \
         where e.organization_id = k.organization_id and e.endpoint_id = k.endpoint_id and e.enabled {unless_ended}\
         on conflict do nothing \
         returning organization_id, endpoint_id, conversation_id, delivery_id, ordered"
    );
    let rows = Rows::new(deliveries.len())
        .text("organization_id", deliveries.iter().map(|delivery| delivery.organization_id.as_str()))
        .id("endpoint_id", deliveries.iter().map(|delivery| delivery.endpoint_id))
        .id("delivery_id", deliveries.iter().map(|delivery| delivery.delivery_id))
        .id("message_id", deliveries.iter().map(|delivery| delivery.message_id))
        .id("conversation_id", deliveries.iter().map(|delivery| delivery.conversation_id.0))
        .int("position", deliveries.iter().map(|delivery| to_bigint(delivery.position)))
        .text("event_type", deliveries.iter().map(|delivery| delivery.event_type.as_str()))
        .int(
            "next_attempt_at",
            deliveries.iter().map(|delivery| delivery.next_attempt_at.unwrap_or(delivery.created_at).as_millis()),
        )
        .int("created_at", deliveries.iter().map(|delivery| delivery.created_at.as_millis()))
        .int("unclaimed", deliveries.iter().map(|delivery| unclaimed.contains(&delivery.delivery_id).into()));
    let mut inserted = Vec::with_capacity(deliveries.len());
    for row in &E::query(connection, &sql, &[Value::OptInt(claimed_until)], Some(&rows)).await? {
        let mut columns = Columns::<E>::of(row);
        inserted.push(Inserted { lane: Lane::read(&mut columns)?, delivery: columns.id()?, ordered: columns.bool()? });
    }
    Ok(inserted)
}

/// Gives back what was put to work beside what the caller knows: whoever looks for work finds it.
async fn let_go<E: Engine>(connection: &mut E::Connection, deliveries: &[PutToWork]) -> Result<(), StoreError> {
    let sql = "with {k} \
         update pending set due_at = pending.next_attempt_at \
         from k \
         where pending.organization_id = k.organization_id and pending.endpoint_id = k.endpoint_id \
             and pending.delivery_id = k.delivery_id";
    let rows = Rows::new(deliveries.len())
        .text("organization_id", deliveries.iter().map(|delivery| delivery.organization.as_str()))
        .id("endpoint_id", deliveries.iter().map(|delivery| delivery.endpoint))
        .id("delivery_id", deliveries.iter().map(|delivery| delivery.delivery));
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_position(&self) -> Result<Position, StoreError> {
        let mut connection = self.readers.acquire().await?;
        lanes::read_position::<E>(&mut connection).await
    }

    pub(super) async fn read_known(
        &self,
        conversations: &[(OrganizationId, ConversationId)],
    ) -> Result<Vec<(OrganizationId, ConversationId, Known)>, StoreError> {
        let sql = "with {k} \
             select c.organization_id, c.conversation_id, c.agent_id, c.client_id, c.channel, c.set_client_id, \
                 c.client_id_set_at \
             from k cross join conversations c \
             where c.organization_id = k.organization_id and c.conversation_id = k.conversation_id";
        let rows = Rows::new(conversations.len())
            .text("organization_id", conversations.iter().map(|(organization, _)| organization.as_str()))
            .id("conversation_id", conversations.iter().map(|(_, conversation)| conversation.0));
        let mut connection = self.readers.acquire().await?;
        let mut found = Vec::with_capacity(conversations.len());
        for row in &E::query(&mut connection, sql, &[], Some(&rows)).await? {
            let mut columns = Columns::<E>::of(row);
            let organization = organization_of(&columns.text()?)?;
            let conversation = ConversationId(columns.id()?);
            let (agent_id, client_id, channel) = (columns.opt_text()?, columns.opt_text()?, columns.opt_text()?);
            let set_to = columns.opt_text()?;
            let set_client_id = columns.opt_int()?.map(|at| SetClientId { client_id: set_to, at: time_of(at) });
            found.push((organization, conversation, Known { agent_id, client_id, channel, set_client_id }));
        }
        Ok(found)
    }

    pub(super) async fn apply_batch(
        &self,
        batch: &Batch,
        through: Position,
        claimed_until: Timestamp,
        before_commit: &BeforeCommit<'_>,
    ) -> Result<Vec<Uuid>, StoreError> {
        // The only time there is here; near enough to now for what is kept for weeks.
        let now = claimed_until.as_millis();
        let mut tx = E::begin_beside(&self.writer).await?;
        write_known::<E>(&mut tx, &batch.known, now).await?;
        let mut claimed = HashSet::new();
        let mut lanes = Vec::new();
        let mut messages: BTreeMap<MessageKey<'_>, &Message> = BTreeMap::new();
        for message in &batch.messages {
            messages.entry(key_of(message)).or_insert(message);
        }
        if !messages.is_empty() {
            let new = insert_messages::<E>(&mut tx, &messages, true, now).await?;
            let mut told = BTreeMap::new();
            if new.len() < messages.len() {
                messages.retain(|(organization, conversation, message), _| {
                    !new.contains(&((*organization).to_owned(), *conversation, *message))
                });
                let anew = claim_for_log::<E>(&mut tx, &messages, now).await?;
                told.insert(true, anew);
            }
            told.insert(false, new);
            for (may_have_ended, told) in told {
                let deliveries: Vec<&Delivery> = (batch.deliveries.iter())
                    .filter(|delivery| {
                        let organization = delivery.organization_id.as_str().to_owned();
                        told.contains(&(organization, delivery.conversation_id.0, delivery.message_id))
                    })
                    .collect();
                for inserted in insert_deliveries::<E>(&mut tx, &deliveries, may_have_ended, Some(now), &batch.unclaimed).await? {
                    if inserted.ordered {
                        lanes.push(inserted.lane);
                    }
                    if !batch.unclaimed.contains(&inserted.delivery) {
                        claimed.insert((inserted.delivery, inserted.ordered));
                    }
                }
            }
        }
        let mut all: Vec<Uuid> = claimed.iter().filter(|(_, ordered)| !ordered).map(|(delivery, _)| *delivery).collect();
        before_commit(&all);
        let (position, waited) = lanes::advance::<E>(&mut tx, through).await?;
        let has_waited = !waited.is_empty();
        lanes.extend(waited);
        let put_to_work = settle::<E>(&mut tx, lanes, Some(position), Some(now)).await?;
        if has_waited {
            lanes::passed::<E>(&mut tx, position).await?;
        }
        let (own, others): (Vec<_>, Vec<_>) =
            put_to_work.into_iter().partition(|delivery| claimed.contains(&(delivery.delivery, true)));
        let_go::<E>(&mut tx, &others).await?;
        tx.commit().await?;
        all.extend(own.into_iter().map(|delivery| delivery.delivery));
        Ok(all)
    }

    pub(super) async fn add_by_hand(
        &self,
        messages: &[Message],
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = E::begin_beside(&self.writer).await?;
        let messages: BTreeMap<MessageKey<'_>, &Message> = messages.iter().map(|message| (key_of(message), message)).collect();
        insert_messages::<E>(&mut tx, &messages, false, now.as_millis()).await?;
        let mut sorted: Vec<&Delivery> = deliveries.iter().collect();
        sorted.sort_by_key(|delivery| (delivery.organization_id.as_str(), delivery.endpoint_id, delivery.delivery_id));
        let inserted = insert_deliveries::<E>(&mut tx, &sorted, true, None, &HashSet::new()).await?;
        let mut lanes: Vec<Lane> =
            inserted.into_iter().filter(|inserted| inserted.ordered).map(|inserted| inserted.lane).collect();
        let keys = Rows::new(sorted.len())
            .text("organization_id", sorted.iter().map(|delivery| delivery.organization_id.as_str()))
            .id("endpoint_id", sorted.iter().map(|delivery| delivery.endpoint_id))
            .id("delivery_id", sorted.iter().map(|delivery| delivery.delivery_id));
        lanes.extend(revive::those::<E>(&mut tx, &keys, now).await?.lanes);
        settle::<E>(&mut tx, lanes, None, None).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Known {
    /// Returns the organization's customer.
    pub fn client_id(&self) -> Option<&str> {
        match &self.set_client_id {
            Some(set) => set.client_id.as_deref(),
            None => self.client_id.as_deref(),
        }
    }

    /// Adds what became known later. Of what people set the latest counts, whenever it is heard of.
    pub(crate) fn learn(&mut self, later: &Self) {
        let set_at = |known: &Self| known.set_client_id.as_ref().map(|set| set.at);
        if set_at(later).is_some() && set_at(later) >= set_at(self) {
            self.set_client_id.clone_from(&later.set_client_id);
        }
        for (mine, news) in
            [(&mut self.agent_id, &later.agent_id), (&mut self.client_id, &later.client_id), (&mut self.channel, &later.channel)]
        {
            if news.is_some() {
                mine.clone_from(news);
            }
        }
    }
}
