//! The transaction of a group of appends: everything that was waiting, in one commit.
//!
//! A statement costs more than the rows it writes, so each one takes all rows of the group: conversations as a JSON array, event
//! ids packed into one blob of fixed-width rows (their number would make JSON the larger part of the work).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, OrganizationId, Position};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::log::prepare::Prepared;
use crate::log::{Appended, AppendedRecord, LogRecord};

/// The last numbers given out. Read again after any failure, since a failed commit may yet have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) sequence: u64,
    pub(super) conversation: i64,
}

impl Numbers {
    pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Self, StoreError> {
        let (sequence, conversation): (i64, i64) = sqlx::query_as(
            "select coalesce((select max(sequence) from records), 0), coalesce((select max(number) from conversations), 0)",
        )
        .fetch_one(connection)
        .await?;
        Ok(Self { sequence: sequence as u64, conversation })
    }
}

/// What a commit wrote.
pub(super) struct Written {
    pub(super) numbers: Numbers,
    /// For each append, in their order.
    pub(super) answers: Vec<Appended>,
    /// The new records, in log order.
    pub(super) records: Vec<LogRecord>,
}

#[derive(Debug, Clone, Copy)]
struct Conversation {
    number: i64,
    erased: bool,
    /// New in this group: none of its events can be there already.
    new: bool,
}

type Conversations = HashMap<OrganizationId, HashMap<ConversationId, Conversation>>;

/// The number of an event's conversation, and its id: what is unique.
type KnownKey = (i64, EventId);

/// One row of `event_ids`.
type EventRow = (i64, EventId, u64);

/// A record that has something new, in its place.
struct Placed {
    sequence: u64,
    append: usize,
    record: usize,
    /// The record without what was there already, when something was.
    reduced: Option<Prepared>,
}

/// Everything that is decided about a group before it is written.
struct Plan {
    numbers: Numbers,
    conversations: Conversations,
    known: HashMap<KnownKey, u64>,
    rows: Vec<EventRow>,
    placed: Vec<Placed>,
}

/// Writes `appends` in one transaction: on an error nothing of them is written, and they are as they were.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    numbers: Numbers,
    appends: &mut [Vec<Prepared>],
) -> Result<Written, StoreError> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let conversations = find_conversations(&mut transaction, appends).await?;
    let mut plan = Plan { numbers, conversations, known: HashMap::new(), rows: Vec::new(), placed: Vec::new() };
    plan.number_new_conversations(appends);
    plan.known = find_events(&mut transaction, &plan.conversations, appends).await?;
    let answers = plan.place_all(appends)?;
    if plan.placed.is_empty() {
        transaction.rollback().await?;
        return Ok(Written { numbers: plan.numbers, answers, records: Vec::new() });
    }
    insert_conversations(&mut transaction, &plan.conversations).await?;
    insert_events(&mut transaction, plan.rows).await?;
    insert_records(&mut transaction, &plan.placed, appends).await?;
    transaction.commit().await?;
    let records = plan.placed.into_iter().map(|mut placed| match &mut placed.reduced {
        Some(reduced) => reduced.take_log_record(placed.sequence),
        None => appends[placed.append][placed.record].take_log_record(placed.sequence),
    });
    Ok(Written { numbers: plan.numbers, answers, records: records.collect() })
}

impl Plan {
    fn number_new_conversations(&mut self, appends: &[Vec<Prepared>]) {
        for record in appends.iter().flatten() {
            let conversations = self.conversations.entry(record.organization_id.clone()).or_default();
            for event in &record.events {
                conversations.entry(event.conversation_id).or_insert_with(|| {
                    self.numbers.conversation += 1;
                    Conversation { number: self.numbers.conversation, erased: false, new: true }
                });
            }
        }
    }

    fn place_all(&mut self, appends: &[Vec<Prepared>]) -> Result<Vec<Appended>, StoreError> {
        let mut answers = Vec::with_capacity(appends.len());
        for (append, records) in appends.iter().enumerate() {
            let mut answer = Appended::default();
            for (index, record) in records.iter().enumerate() {
                answer.add(self.place(append, index, record)?);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Gives a record its place when any of its events is new, and finds where the others are.
    fn place(&mut self, append: usize, index: usize, record: &Prepared) -> Result<AppendedRecord, StoreError> {
        let sequence = self.numbers.sequence + 1;
        let mut position = Position::START;
        let mut kept = Vec::with_capacity(record.events.len());
        let conversations = self.conversations.get(&record.organization_id);
        for (event_index, event) in record.events.iter().enumerate() {
            let Some(conversation) = conversations.and_then(|all| all.get(&event.conversation_id)) else { continue };
            if conversation.erased {
                continue;
            }
            match self.known.entry((conversation.number, event.event_id)) {
                Entry::Occupied(known) if *known.get() != sequence => position = position.max(Position::end_of(*known.get())),
                Entry::Occupied(_) => {}
                Entry::Vacant(vacant) => {
                    vacant.insert(sequence);
                    self.rows.push((conversation.number, event.event_id, sequence));
                    kept.push(event_index);
                }
            }
        }
        let (accepted, duplicates) = (kept.len() as u32, (record.events.len() - kept.len()) as u32);
        if let Some(last) = kept.len().checked_sub(1) {
            position = position.max(Position::new(sequence, u16::try_from(last).unwrap_or(u16::MAX)));
            self.numbers.sequence = sequence;
            let reduced = if duplicates > 0 { Some(record.reduced_to(&kept)?) } else { None };
            self.placed.push(Placed { sequence, append, record: index, reduced });
        }
        Ok(AppendedRecord { position, accepted, duplicates })
    }
}

/// Finds the conversations that are there already.
async fn find_conversations(connection: &mut SqliteConnection, appends: &[Vec<Prepared>]) -> Result<Conversations, StoreError> {
    let mut wanted: HashSet<(&OrganizationId, ConversationId)> = HashSet::new();
    for record in appends.iter().flatten() {
        wanted.extend(record.events.iter().map(|event| (&record.organization_id, event.conversation_id)));
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let keys: Vec<_> = wanted.iter().map(|(organization, id)| (organization.as_str(), id.0.simple().to_string())).collect();
    let found: Vec<(i64, i64, bool)> = sqlx::query_as(
        "select wanted.key, conversations.number, conversations.erased_at is not null
         from json_each($1) as wanted
         cross join conversations
             on conversations.organization_id = wanted.value ->> 0
             and conversations.conversation_id = unhex(wanted.value ->> 1)",
    )
    .bind(to_json(&keys)?)
    .fetch_all(connection)
    .await?;
    let mut conversations = Conversations::new();
    for (key, number, erased) in found {
        let Some((organization, id)) = usize::try_from(key).ok().and_then(|key| wanted.get(key)) else { continue };
        let known = conversations.entry((*organization).clone()).or_default();
        known.insert(*id, Conversation { number, erased, new: false });
    }
    Ok(conversations)
}

/// Finds the events that are there already.
async fn find_events(
    connection: &mut SqliteConnection,
    conversations: &Conversations,
    appends: &[Vec<Prepared>],
) -> Result<HashMap<KnownKey, u64>, StoreError> {
    let mut wanted: Vec<KnownKey> = Vec::new();
    let mut total = 0;
    for record in appends.iter().flatten() {
        total += record.events.len();
        let Some(conversations) = conversations.get(&record.organization_id) else { continue };
        for event in &record.events {
            if let Some(conversation) = conversations.get(&event.conversation_id)
                && !conversation.new
                && !conversation.erased
            {
                wanted.push((conversation.number, event.event_id));
            }
        }
    }
    let mut known = HashMap::with_capacity(total);
    if wanted.is_empty() {
        return Ok(known);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "with recursive wanted(i) as (select 0 union all select i + 1 from wanted where i + 1 < $2)
         select wanted.i, event_ids.sequence
         from wanted
         cross join event_ids
             on event_ids.conversation = cast(substr($1, wanted.i * 35 + 1, 19) as integer)
             and event_ids.event_id = substr($1, wanted.i * 35 + 20, 16)",
    )
    .bind(pack(wanted.iter().map(|(number, id)| (*number, id, None))))
    .bind(wanted.len() as i64)
    .fetch_all(connection)
    .await?;
    for (index, sequence) in found {
        if let Some(key) = usize::try_from(index).ok().and_then(|index| wanted.get(index)) {
            known.insert(*key, sequence as u64);
        }
    }
    Ok(known)
}

/// Packs rows of a number in nineteen digits, an id and perhaps a second number: what a statement takes apart again by place.
fn pack<'a>(rows: impl Iterator<Item = (i64, &'a EventId, Option<u64>)>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (number, id, sequence) in rows {
        push_digits(&mut packed, number as u64);
        packed.extend_from_slice(id.as_bytes());
        if let Some(sequence) = sequence {
            push_digits(&mut packed, sequence);
        }
    }
    packed
}

fn push_digits(packed: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 19];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    packed.extend_from_slice(&digits);
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

async fn insert_conversations(connection: &mut SqliteConnection, conversations: &Conversations) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for (organization, all) in conversations {
        let new = all.iter().filter(|(_, conversation)| conversation.new);
        rows.extend(new.map(|(id, conversation)| (organization.as_str(), id.0.simple().to_string(), conversation.number)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into conversations (organization_id, conversation_id, number)
         select value ->> 0, unhex(value ->> 1), value ->> 2
         from json_each($1)",
    )
    .bind(to_json(&rows)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_events(connection: &mut SqliteConnection, mut rows: Vec<EventRow>) -> Result<(), StoreError> {
    // In the order of the key: neighbours then go into the same page, one after the other.
    rows.sort_unstable();
    sqlx::query(
        "with recursive new(i) as (select 0 union all select i + 1 from new where i + 1 < $2)
         insert into event_ids (conversation, event_id, sequence)
         select
             cast(substr($1, new.i * 54 + 1, 19) as integer),
             substr($1, new.i * 54 + 20, 16),
             cast(substr($1, new.i * 54 + 36, 19) as integer)
         from new",
    )
    .bind(pack(rows.iter().map(|(number, id, sequence)| (*number, id, Some(*sequence)))))
    .bind(rows.len() as i64)
    .execute(connection)
    .await?;
    Ok(())
}

/// How many records one statement inserts: a few sizes, so that each is prepared once.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

static INSERT_RECORDS: LazyLock<[String; 4]> = LazyLock::new(|| {
    CHUNKS.map(|rows| {
        let values = vec!["(?, ?, ?, ?, ?)"; rows].join(", ");
        format!("insert into records (sequence, organization_id, event_count, body, raw_body) values {values}")
    })
});

async fn insert_records(
    connection: &mut SqliteConnection,
    placed: &[Placed],
    appends: &[Vec<Prepared>],
) -> Result<(), StoreError> {
    let mut rest = placed;
    for (size, statement) in CHUNKS.iter().zip(INSERT_RECORDS.iter()) {
        while let Some((chunk, others)) = rest.split_at_checked(*size) {
            rest = others;
            // The text is made of constants alone.
            let mut query = sqlx::query(AssertSqlSafe(statement.as_str()));
            for placed in chunk {
                let record = placed.reduced.as_ref().unwrap_or(&appends[placed.append][placed.record]);
                query = query
                    .bind(placed.sequence as i64)
                    .bind(record.organization_id.as_str())
                    .bind(record.events.len() as i64)
                    .bind(record.body.as_slice())
                    .bind((!record.raw_body.is_empty()).then_some(record.raw_body.as_slice()));
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}
