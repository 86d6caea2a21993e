//! Adding a batch: read the conversations it touches, fold them, write what changed. The number of statements depends on the
//! tables, not on the events.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use colloquy_events::{Data, Event, Record};
use colloquy_log_client::UnknownEvent;
use colloquy_service::metrics;
use colloquy_storage::StoreError;
use colloquy_types::{EventId, OrganizationId, Position, Timestamp};
use uuid::Uuid;

use super::columns::{self, Extractions, ListColumns, Words};
use super::engine::{Columns, Engine, Value, read, write};
use super::history::LastWalk;
use super::outdated::{is_marked, marked};
use super::sql::SqlStore;
use super::touched::{Touched, by_conversation, was_told_before};
use crate::conversation::{Conversation, RecordingPlace};
use crate::convert::record;
use crate::fold::fold;
use crate::stored_event;
use crate::turn_events::{Named, TurnEvents};

/// A conversation as the database has it.
struct Existing {
    named: Named,
    columns: ListColumns,
    /// A release that does not know all columns has written it last.
    is_outdated: bool,
    /// The values by name lists have of it, when it is outdated: its record does not tell them.
    listed_values: Extractions,
    list_version: i64,
    record: Vec<u8>,
    turns: Vec<u8>,
    /// The events of its course, and when each was received.
    course: Vec<(Event, Timestamp)>,
    /// Those of them that this release does not know: a newer one has written them.
    unknown: Vec<UnknownEvent>,
}

/// A conversation as it is to be written.
struct Folded<'a> {
    touched: Touched<'a>,
    existing: Option<Existing>,
    conversation: Conversation,
    /// When the last of the events that count was received.
    last_received_at: Timestamp,
    live: i64,
    columns: ListColumns,
    words: Words,
    /// What the words were, when there was a record.
    old_words: Words,
    extractions: Extractions,
    /// What the values by name were, for lists.
    old_extractions: Extractions,
    record: Vec<u8>,
    turns: Vec<u8>,
    /// The events of its course that are new, or turn out to have been told before as something else, encoded.
    new_events: Vec<(EventId, i64, Vec<u8>)>,
}

impl Folded<'_> {
    fn organization(&self) -> &OrganizationId {
        self.touched.organization
    }

    fn id(&self) -> Uuid {
        self.conversation.conversation_id.0
    }

    fn is_listed_differently(&self) -> bool {
        self.existing.as_ref().is_none_or(|existing| {
            // Of one that no release has written yet that knows all columns, lists get to know them all at once. What it lacked is
            // no change that walks would have to be kept from: there may be millions.
            let lacks_them = existing.is_outdated && !existing.columns.has_later_ones() && self.old_extractions.is_empty();
            self.old_words != self.words
                || match lacks_them {
                    true => !existing.columns.same_but_later_ones(&self.columns),
                    false => existing.columns != self.columns || self.old_extractions != self.extractions,
                }
        })
    }

    /// Returns whether only what changes at every turn differs: no index but that of turns has to be touched then.
    fn differs_in_turns_alone(&self) -> bool {
        self.existing.as_ref().is_some_and(|existing| {
            !existing.is_outdated
                && existing.columns.same_but_turns(&self.columns)
                && existing.columns.status == self.columns.status
                && self.old_words == self.words
                && self.old_extractions == self.extractions
        })
    }

    fn new_events_include(&self, wanted: impl Fn(&Data) -> bool) -> bool {
        self.touched.course.values().any(|(event, _)| wanted(&event.data))
    }
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn apply_batch(&self, records: &[Record], through: Position, now: Timestamp) -> Result<(), StoreError> {
        self.fold_again(by_conversation(records), through, now).await
    }

    /// Folds conversations again, with what is told of them, where that is news or they are outdated. Where nothing is, and nothing
    /// was read either, nothing is written.
    pub(super) async fn fold_again(
        &self,
        touched: Vec<Touched<'_>>,
        through: Position,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = E::begin(&self.writer).await?;
        let locks: Vec<i64> = touched.iter().map(Touched::lock).collect();
        E::lock(&mut tx, &locks).await?;
        let existing = read_existing::<E>(&mut tx, &touched).await?;
        let folded = fold_all(touched, existing).await?;
        if folded.is_empty() && through == Position::START {
            return Ok(tx.commit().await?);
        }
        let lists_change = folded.iter().any(Folded::is_listed_differently);
        let (version, noted) = advance::<E>(&mut tx, through, lists_change).await?;
        if folded.is_empty() {
            return Ok(tx.commit().await?);
        }

        write_events::<E>(&mut tx, &folded).await?;
        give_back_unknown::<E>(&mut tx, &folded).await?;
        write_conversations::<E>(&mut tx, &folded, version).await?;
        write_words::<E>(&mut tx, &folded).await?;
        write_extractions::<E>(&mut tx, &folded).await?;
        write_agents::<E>(&mut tx, &folded).await?;
        write_recordings::<E>(&mut tx, &folded, now).await?;

        // From here on no walk begins until this is committed: one that began before sees what was there before.
        let mut held = self.walks.hold().await;
        let last_walk = held.as_mut().map_or(noted, |known| known.last(now));
        write_history::<E>(&mut tx, &folded, version, now, last_walk).await?;
        if let Some(known) = &mut held {
            known.committing();
        }
        tx.commit().await?;
        if let Some(known) = &mut held {
            known.committed(version);
        }
        Ok(())
    }
}

/// Moves the position, and the version when lists change; returns the version and the last walk the database knows of.
async fn advance<E: Engine>(
    connection: &mut E::Connection,
    through: Position,
    lists_change: bool,
) -> Result<(i64, LastWalk), StoreError> {
    let through = i64::try_from(through.0).unwrap_or(i64::MAX);
    let mut builder = sqlx::QueryBuilder::new("update view_state set version = version + ");
    E::bind(&mut builder, Value::Int(lists_change.into()));
    builder.push(", position = case when position < ");
    E::bind(&mut builder, Value::Int(through));
    builder.push(" then ");
    E::bind(&mut builder, Value::Int(through));
    builder.push(" else position end where id = 1 returning version, issued, issued_at");
    let rows = E::fetch(connection, builder).await?;
    let mut columns = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?);
    let version = columns.int()?;
    Ok((version, LastWalk { version: columns.int()?, began_at: columns.int()? }))
}

fn keys<'a>(touched: &'a [Touched<'_>], wanted: impl Fn(usize) -> bool) -> Vec<Vec<Value<'a>>> {
    let numbered = touched.iter().enumerate().filter(|(number, _)| wanted(*number));
    numbered
        .map(|(number, touched)| {
            let id = touched.named.conversation_id.0;
            vec![Value::Int(number as i64), Value::Text(touched.organization.as_str()), Value::Id(id)]
        })
        .collect()
}

async fn read_existing<E: Engine>(
    connection: &mut E::Connection,
    touched: &[Touched<'_>],
) -> Result<Vec<Option<Existing>>, StoreError> {
    let mut found: Vec<Option<Existing>> = touched.iter().map(|_| None).collect();
    let select = format!(
        ") select k.number, c.external_id, c.list_version, c.record, c.turns, {}
         from k cross join conversations c
         where c.organization_id = k.organization_id and c.conversation_id = k.conversation_id",
        columns::NAMES
    );
    let head = "with k (number, organization_id, conversation_id) as (values ";
    for row in read::<E>(connection, head, &keys(touched, |_| true), &select).await? {
        let mut columns = Columns::<E>::of(&row);
        let number = columns.int()? as usize;
        let Some(touched) = touched.get(number) else { continue };
        let external_id = String::from_utf8_lossy(&columns.bytes()?).into_owned();
        let list_version = columns.int()?;
        let (record, turns) = (columns.bytes()?, columns.bytes()?);
        found[number] = Some(Existing {
            named: Named { external_id, ..touched.named.clone() },
            columns: ListColumns::read(&mut columns)?,
            is_outdated: !is_marked(&turns),
            listed_values: Extractions::default(),
            list_version,
            record,
            turns,
            course: Vec::new(),
            unknown: Vec::new(),
        });
    }
    let outdated = keys(touched, |number| found[number].as_ref().is_some_and(|existing| existing.is_outdated));
    let select = ") select k.number, v.name, coalesce(v.text_value, v.long_value), v.number_value
         from k cross join conversation_values v
         where v.organization_id = k.organization_id and v.conversation_id = k.conversation_id";
    for row in read::<E>(connection, head, &outdated, select).await? {
        let mut columns = Columns::<E>::of(&row);
        let Some(Some(existing)) = found.get_mut(columns.int()? as usize) else { continue };
        existing.listed_values.add(columns.text()?, columns.opt_text()?, columns.opt_real()?);
    }
    let select = ") select k.number, e.event_id, e.received_at, e.event
         from k cross join events e
         where e.organization_id = k.organization_id and e.conversation_id = k.conversation_id";
    for row in read::<E>(connection, head, &keys(touched, |number| found[number].is_some()), select).await? {
        let mut columns = Columns::<E>::of(&row);
        let number = columns.int()? as usize;
        let (Some(Some(existing)), Some(touched)) = (found.get_mut(number), touched.get(number)) else { continue };
        let event_id = columns.id()?;
        let received_at = Timestamp::from_millis(columns.int()?).unwrap_or_default();
        let bytes = columns.bytes()?;
        match stored_event::decode(&bytes, event_id, &existing.named)? {
            Some(event) => existing.course.push((event, received_at)),
            None => existing.unknown.push(UnknownEvent {
                organization_id: touched.organization.clone(),
                conversation_id: existing.named.conversation_id,
                event_id: EventId(event_id),
                position: Position::START,
                received_at,
                event: stored_event::whole(&bytes, event_id, &existing.named)?,
            }),
        }
    }
    Ok(found)
}

/// How many conversations are folded before others get a turn on this thread.
const FOLDED_AT_ONCE: usize = 64;

/// Folds every touched conversation; returns those about which the batch says something new.
async fn fold_all(touched: Vec<Touched<'_>>, existing: Vec<Option<Existing>>) -> Result<Vec<Folded<'_>>, StoreError> {
    let mut changed = Vec::with_capacity(touched.len());
    let mut took = Duration::ZERO;
    for (number, (touched, existing)) in touched.into_iter().zip(existing).enumerate() {
        if number % FOLDED_AT_ONCE == FOLDED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        changed.extend(fold_one(touched, existing)?);
        took += began.elapsed();
    }
    metrics::fold_took(crate::NAME, took);
    Ok(changed)
}

fn fold_one(touched: Touched<'_>, mut existing: Option<Existing>) -> Result<Option<Folded<'_>>, StoreError> {
    let mut turns = match &existing {
        Some(existing) => TurnEvents::decode(&existing.turns, &existing.named)?,
        None => TurnEvents::default(),
    };
    let mut is_news = existing.as_ref().is_none_or(|existing| existing.is_outdated);
    for (event, received_at) in &touched.turns {
        is_news |= turns.add(event, *received_at);
    }
    let known = existing.as_mut().map(|existing| std::mem::take(&mut existing.course)).unwrap_or_default();
    let mut course: HashMap<EventId, (Event, Timestamp)> =
        known.into_iter().map(|(event, received_at)| (event.event_id, (event, received_at))).collect();
    let mut new_events = Vec::new();
    for (event_id, told) in &touched.course {
        let is_new = course.get(event_id).is_none_or(|(event, received_at)| was_told_before(*told, (event, *received_at)));
        if is_new {
            new_events.push((*event_id, told.1.as_millis(), stored_event::encode(told.0)));
            course.insert(*event_id, (told.0.clone(), told.1));
        }
    }
    if !is_news && new_events.is_empty() {
        return Ok(None);
    }
    let encoded_turns = marked(&turns);
    let received = course.into_values().chain(turns.into_events());
    let mut last_received_at = Timestamp::default();
    let mut events = Vec::new();
    for (event, received_at) in received {
        last_received_at = last_received_at.max(received_at);
        events.push(event);
    }
    let Some(conversation) = fold(&events) else { return Ok(None) };

    let words = Words::of(&conversation);
    let record = record::encode(&conversation);
    let extractions = Extractions::of(&conversation);
    let (old_words, mut old_extractions) = match &existing {
        Some(existing) if existing.record == record => (words.clone(), extractions.clone()),
        Some(existing) => {
            let old = record::decode(&existing.record, touched.organization, conversation.conversation_id)?;
            (Words::of_record(&old), Extractions::of_record(&old))
        }
        None => (Words::default(), Extractions::default()),
    };
    if let Some(existing) = existing.as_mut().filter(|existing| existing.is_outdated) {
        old_extractions = std::mem::take(&mut existing.listed_values);
    }
    Ok(Some(Folded {
        last_received_at,
        live: liveness(&conversation),
        columns: ListColumns::of(&conversation),
        words,
        old_words,
        extractions,
        old_extractions,
        record,
        turns: encoded_turns,
        new_events,
        conversation,
        touched,
        existing,
    }))
}

/// Channels in which an answer may take a day.
const MESSAGE_CHANNELS: &[&str] = &["sms", "mms", "whatsapp", "email", "chat", "messages"];

fn liveness(conversation: &Conversation) -> i64 {
    let in_messages = conversation.channel.as_deref().is_some_and(|channel| MESSAGE_CHANNELS.contains(&channel));
    match (conversation.status.is_live(), in_messages) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    }
}

async fn write_events<E: Engine>(connection: &mut E::Connection, folded: &[Folded<'_>]) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for conversation in folded {
        for (event_id, received_at, event) in &conversation.new_events {
            rows.push(vec![
                Value::Text(conversation.organization().as_str()),
                Value::Id(conversation.id()),
                Value::Id(event_id.0),
                Value::Int(*received_at),
                Value::Bytes(event),
            ]);
        }
    }
    let head = "insert into events (organization_id, conversation_id, event_id, received_at, event) values ";
    let tail = " on conflict (organization_id, conversation_id, event_id) do update set
             received_at = excluded.received_at,
             event = excluded.event";
    Ok(write::<E>(connection, head, &rows, tail).await?)
}

/// Puts events that only a newer release knows where it looks for them. It folded them into the record that this release has just
/// folded without them, and will fold them in again.
async fn give_back_unknown<E: Engine>(connection: &mut E::Connection, folded: &[Folded<'_>]) -> Result<(), StoreError> {
    let unknown: Vec<&UnknownEvent> =
        folded.iter().filter_map(|conversation| conversation.existing.as_ref()).flat_map(|existing| &existing.unknown).collect();
    let key = |event: &'_ UnknownEvent| (event.conversation_id.0, event.event_id.0);
    let kept: Vec<Vec<Value<'_>>> = unknown
        .iter()
        .map(|event| {
            let (conversation, id) = key(event);
            vec![
                Value::Text(event.organization_id.as_str()),
                Value::Id(conversation),
                Value::Id(id),
                Value::Int(0),
                Value::Int(event.received_at.as_millis()),
                Value::Bytes(&event.event),
            ]
        })
        .collect();
    let head = "insert into unknown_events (organization_id, conversation_id, event_id, position, received_at, event) values ";
    write::<E>(connection, head, &kept, " on conflict do nothing").await?;
    let gone: Vec<Vec<Value<'_>>> = kept.iter().map(|row| row[..3].to_vec()).collect();
    let head = "with k (organization_id, conversation_id, event_id) as (values ";
    let tail = ") delete from events where (organization_id, conversation_id, event_id) in
             (select organization_id, conversation_id, event_id from k)";
    Ok(write::<E>(connection, head, &gone, tail).await?)
}

async fn write_conversations<E: Engine>(
    connection: &mut E::Connection,
    folded: &[Folded<'_>],
    version: i64,
) -> Result<(), StoreError> {
    let (mut whole, mut turns) = (Vec::new(), Vec::new());
    for conversation in folded {
        let list_version = match &conversation.existing {
            Some(existing) if !conversation.is_listed_differently() => existing.list_version,
            _ => version,
        };
        let mut row = vec![
            Value::Text(conversation.organization().as_str()),
            Value::Id(conversation.id()),
            Value::Int(conversation.last_received_at.as_millis()),
            Value::Int(list_version),
            Value::Bytes(&conversation.record),
            Value::Bytes(&conversation.turns),
        ];
        if conversation.differs_in_turns_alone() {
            row.push(Value::Int(conversation.columns.turn_count));
            turns.push(row);
        } else {
            row.push(Value::Bytes(conversation.conversation.external_id.as_bytes()));
            row.push(Value::Int(conversation.live));
            row.extend(conversation.columns.values());
            whole.push(row);
        }
    }
    let head = "with k (organization_id, conversation_id, last_received_at, list_version, record, turns, turn_count) as (values ";
    let tail = ") update conversations set
             last_received_at = k.last_received_at,
             list_version = k.list_version,
             record = k.record,
             turns = k.turns,
             turn_count = k.turn_count
         from k
         where conversations.organization_id = k.organization_id and conversations.conversation_id = k.conversation_id";
    write::<E>(connection, head, &turns, tail).await?;

    let names = format!("last_received_at, list_version, record, turns, external_id, live, {}", columns::NAMES);
    let head = format!("insert into conversations (organization_id, conversation_id, {names}) values ");
    // What never changes is left alone, and its index with it.
    let may_change = names.split(", ").map(str::trim).filter(|name| *name != "external_id");
    let sets: Vec<String> = may_change.map(|name| format!("{name} = excluded.{name}")).collect();
    let tail = format!(" on conflict (organization_id, conversation_id) do update set {}", sets.join(", "));
    Ok(write::<E>(connection, &head, &whole, &tail).await?)
}

async fn write_words<E: Engine>(connection: &mut E::Connection, folded: &[Folded<'_>]) -> Result<(), StoreError> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for conversation in folded {
        let row = |kind, word, created_at| {
            let (organization, id) = (conversation.organization().as_str(), Value::Id(conversation.id()));
            vec![Value::Text(organization), Value::Text(kind), Value::Text(word), Value::Int(created_at), id]
        };
        let created_at = conversation.columns.created_at;
        let old_created_at = conversation.existing.as_ref().map(|existing| existing.columns.created_at);
        if old_created_at == Some(created_at) && conversation.old_words == conversation.words {
            continue;
        }
        if let Some(old_created_at) = old_created_at {
            old.extend(conversation.old_words.iter().map(|(kind, word)| row(kind, word, old_created_at)));
        }
        new.extend(conversation.words.iter().map(|(kind, word)| row(kind, word, created_at)));
    }
    let head = "with k (organization_id, kind, word, created_at, conversation_id) as (values ";
    let tail = ") delete from conversation_words
         where (organization_id, kind, word, created_at, conversation_id) in
             (select organization_id, kind, word, created_at, conversation_id from k)";
    write::<E>(connection, head, &old, tail).await?;
    let head = "insert into conversation_words (organization_id, kind, word, created_at, conversation_id) values ";
    Ok(write::<E>(connection, head, &new, " on conflict do nothing").await?)
}

/// Values by name are few, and most conversations have none: those are left alone.
async fn write_extractions<E: Engine>(connection: &mut E::Connection, folded: &[Folded<'_>]) -> Result<(), StoreError> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for conversation in folded {
        let created_at = conversation.columns.created_at;
        let is_kept = conversation
            .existing
            .as_ref()
            .is_some_and(|existing| !existing.is_outdated && existing.columns.created_at == created_at)
            && conversation.old_extractions == conversation.extractions;
        if is_kept {
            continue;
        }
        let key = || [Value::Text(conversation.organization().as_str()), Value::Id(conversation.id())];
        if !conversation.old_extractions.is_empty() {
            old.push(key().to_vec());
        }
        new.extend(conversation.extractions.iter().map(|(name, value)| {
            let (text, long, number) = value.parts();
            let mut row = key().to_vec();
            row.extend([
                Value::Text(name),
                Value::OptText(text),
                Value::OptText(long),
                Value::OptReal(number),
                Value::Int(created_at),
            ]);
            row
        }));
    }
    let head = "with k (organization_id, conversation_id) as (values ";
    let tail = ") delete from conversation_values where (organization_id, conversation_id) in
             (select organization_id, conversation_id from k)";
    write::<E>(connection, head, &old, tail).await?;
    let head = "insert into conversation_values
             (organization_id, conversation_id, name, text_value, long_value, number_value, created_at) values ";
    Ok(write::<E>(connection, head, &new, " on conflict do nothing").await?)
}

/// An agent, or one version of it, in one organization.
type AgentKey<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

async fn write_agents<E: Engine>(connection: &mut E::Connection, folded: &[Folded<'_>]) -> Result<(), StoreError> {
    let mut counts: BTreeMap<AgentKey<'_>, i64> = BTreeMap::new();
    for conversation in folded {
        let organization = conversation.organization().as_str();
        let new = &conversation.columns;
        let old = conversation.existing.as_ref().map(|existing| &existing.columns);
        if old.is_some_and(|old| (&old.agent_id, &old.agent_version_id) == (&new.agent_id, &new.agent_version_id)) {
            continue;
        }
        for (columns, change) in old.map(|old| (old, -1)).into_iter().chain([(new, 1)]) {
            let Some(agent_id) = columns.agent_id.as_deref() else { continue };
            *counts.entry((organization, agent_id, &columns.provider, None)).or_default() += change;
            if let Some(version) = columns.agent_version_id.as_deref() {
                *counts.entry((organization, agent_id, &columns.provider, Some(version))).or_default() += change;
            }
        }
    }
    let mut agents = Vec::new();
    let mut versions = Vec::new();
    for (key, change) in &counts {
        let (organization, agent_id, provider, version) = *key;
        let mut row = vec![Value::Text(organization), Value::Text(agent_id), Value::Text(provider)];
        match version {
            None => {
                row.push(Value::Int(*change));
                agents.push(row);
            }
            Some(version) => {
                row.extend([Value::Text(version), Value::Int(*change)]);
                versions.push(row);
            }
        }
    }
    let head = "insert into agents (organization_id, agent_id, provider, conversation_count) values ";
    let tail = " on conflict (organization_id, agent_id, provider) do update set
             conversation_count = agents.conversation_count + excluded.conversation_count";
    write::<E>(connection, head, &agents, tail).await?;
    let head = "insert into agent_versions
             (organization_id, agent_id, provider, agent_version_id, conversation_count) values ";
    let tail = " on conflict (organization_id, agent_id, provider, agent_version_id) do update set
             conversation_count = agent_versions.conversation_count + excluded.conversation_count";
    Ok(write::<E>(connection, head, &versions, tail).await?)
}

async fn write_recordings<E: Engine>(
    connection: &mut E::Connection,
    folded: &[Folded<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for conversation in folded {
        let is_told = |data: &Data| matches!(data, Data::RecordingAvailable(_) | Data::RecordingFailed(_));
        if !conversation.new_events_include(is_told) {
            continue;
        }
        for recording in &conversation.conversation.recordings {
            let (state, url, object_key, sha256, size_bytes) = match &recording.place {
                RecordingPlace::Remote { url } => ("remote", Some(url.as_str()), None, None, None),
                RecordingPlace::Stored { object_key, sha256, size_bytes } => {
                    ("stored", None, Some(object_key.as_str()), sha256.as_deref(), *size_bytes)
                }
                RecordingPlace::Failed { .. } => ("failed", None, None, None, None),
            };
            rows.push(vec![
                Value::Text(conversation.organization().as_str()),
                Value::Id(conversation.id()),
                Value::Text(recording.channel.as_str()),
                Value::Text(state),
                Value::OptText(url.filter(|url| !url.contains('\0'))),
                Value::OptText(object_key),
                Value::OptText(sha256),
                Value::OptInt(size_bytes.and_then(|size| i64::try_from(size).ok())),
                Value::OptText(recording.content_type.as_deref().filter(|text| !text.contains('\0'))),
                Value::OptInt(recording.duration_ms),
                Value::Int(0),
                Value::Int(now.as_millis()),
            ]);
        }
    }
    let head = "insert into recordings (organization_id, conversation_id, channel, state, url, object_key, sha256, size_bytes,
             content_type, duration_ms, attempts, next_attempt_at) values ";
    // A new address is a new start.
    let tail = " on conflict (organization_id, conversation_id, channel) do update set
             state = excluded.state,
             url = excluded.url,
             object_key = excluded.object_key,
             sha256 = excluded.sha256,
             size_bytes = excluded.size_bytes,
             content_type = excluded.content_type,
             duration_ms = excluded.duration_ms,
             attempts = case when recordings.url is distinct from excluded.url then 0 else recordings.attempts end,
             next_attempt_at = case when recordings.url is distinct from excluded.url
                 then excluded.next_attempt_at else recordings.next_attempt_at end";
    Ok(write::<E>(connection, head, &rows, tail).await?)
}

async fn write_history<E: Engine>(
    connection: &mut E::Connection,
    folded: &[Folded<'_>],
    version: i64,
    now: Timestamp,
    last_walk: LastWalk,
) -> Result<(), StoreError> {
    let left: Vec<_> = folded
        .iter()
        .filter(|conversation| conversation.is_listed_differently())
        .filter_map(|conversation| conversation.existing.as_ref().map(|existing| (conversation, existing)))
        .filter(|(_, existing)| last_walk.may_see(existing.list_version, now))
        .map(|(conversation, existing)| {
            let json = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
            let (tags, topics) = (json(&conversation.old_words.tags), json(&conversation.old_words.topics));
            (conversation, existing, tags, topics, conversation.old_extractions.to_json())
        })
        .collect();
    let rows: Vec<Vec<Value<'_>>> = left
        .iter()
        .map(|(conversation, existing, tags, topics, extractions)| {
            let mut row = vec![
                Value::Text(conversation.organization().as_str()),
                Value::Int(version),
                Value::Id(conversation.id()),
                Value::Int(existing.list_version),
                Value::Int(now.as_millis()),
                Value::Text(tags),
                Value::Text(topics),
                Value::OptText(extractions.as_deref()),
            ];
            row.extend(existing.columns.values());
            row
        })
        .collect();
    let head = format!(
        "insert into conversation_list_history
             (organization_id, valid_to, conversation_id, valid_from, changed_at, tags, topics, custom_values, {}) values ",
        columns::NAMES
    );
    Ok(write::<E>(connection, &head, &rows, " on conflict do nothing").await?)
}
