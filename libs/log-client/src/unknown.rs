//! Events that say what this release does not know: kept as they came, until a release that knows them picks them up.
//!
//! While a new release replaces an old one, both read the same log into the same view. What only the new one knows, the old one
//! puts into its table `unknown_events`, before its view moves past it; the new one looks there when it starts and from then on
//! every minute, applies what it knows, and removes it. To apply an event twice changes nothing, so no step has to be exact.

use std::sync::Arc;
use std::time::Duration;

use colloquy_events::{Event, Record};
use colloquy_storage::{Database, StoreError};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, RecordId, Timestamp};
use sqlx::Row;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::apply::{Applying, Course, Stopped};
use crate::decode::{Item, Read, read};

/// How often kept events are looked at: an older replica may still add to them.
const PICK_UP_EVERY: Duration = Duration::from_secs(60);
/// How many are looked at together.
const PAGE: i64 = 500;

/// An event that says what this release does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownEvent {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What it belongs to.
    pub conversation_id: ConversationId,
    /// The event.
    pub event_id: EventId,
    /// Its place in the log; [`Position::START`] when that is not known.
    pub position: Position,
    /// When Colloquy received it.
    pub received_at: Timestamp,
    /// The bytes of a `colloquy.log.v1.Event`.
    pub event: Vec<u8>,
}

impl UnknownEvent {
    /// Returns the event, if this release knows what it says.
    fn known(&self) -> Option<Event> {
        match read(self.event.as_slice()) {
            Ok(Read::Event(event)) => Some(*event),
            _ => None,
        }
    }

    fn key(&self) -> Key {
        (self.organization_id.to_string(), self.conversation_id.0, self.event_id.0)
    }
}

type Key = (String, Uuid, Uuid);

/// The table `unknown_events` of a reader's database, which the reader's own migrations make:
///
/// ```sql
/// create table unknown_events (
///     organization_id text not null,
///     conversation_id uuid not null, -- blob on SQLite
///     event_id uuid not null,        -- blob on SQLite
///     position bigint not null,
///     received_at bigint not null,
///     event bytea not null,          -- blob on SQLite
///     primary key (organization_id, conversation_id, event_id)
/// );
/// ```
#[derive(Debug, Clone)]
pub struct UnknownEvents {
    database: Database,
}

/// Runs one statement on the engine at hand.
macro_rules! on {
    ($database:expr, $pool:ident => $statement:expr) => {
        match $database {
            Database::Sqlite(sqlite) => {
                let $pool = sqlite.writer();
                $statement
            }
            Database::Postgres($pool) => $statement,
        }
    };
}

/// The first page begins behind these; no organization's name is empty.
const BEFORE_ALL: Key = (String::new(), Uuid::nil(), Uuid::nil());

impl UnknownEvents {
    /// Returns the table in `database`.
    pub fn of(database: &Database) -> Self {
        Self { database: database.clone() }
    }

    /// Keeps events; those that are kept already stay as they are.
    ///
    /// # Errors
    /// When the database fails. Some of them may be kept then.
    pub async fn keep(&self, events: &[UnknownEvent]) -> Result<(), StoreError> {
        const KEEP: &str = "insert into unknown_events (organization_id, conversation_id, event_id, position, received_at, event)
            values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
        on!(&self.database, pool => {
            let mut transaction = pool.begin().await?;
            for event in events {
                sqlx::query(KEEP)
                    .bind(event.organization_id.as_str())
                    .bind(event.conversation_id.0)
                    .bind(event.event_id.0)
                    .bind(i64::try_from(event.position.0).unwrap_or(i64::MAX))
                    .bind(event.received_at.as_millis())
                    .bind(event.event.as_slice())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        });
        Ok(())
    }

    /// Returns how many events are kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self) -> Result<i64, StoreError> {
        let count = "select count(*) from unknown_events";
        Ok(on!(&self.database, pool => sqlx::query_scalar(count).fetch_one(pool).await?))
    }

    async fn page(&self, after: &Key) -> Result<Vec<UnknownEvent>, StoreError> {
        const READ: &str = "select organization_id, conversation_id, event_id, position, received_at, event from unknown_events
            where (organization_id, conversation_id, event_id) > ($1, $2, $3)
            order by organization_id, conversation_id, event_id limit $4";
        on!(&self.database, pool => {
            let rows = sqlx::query(READ).bind(&after.0).bind(after.1).bind(after.2).bind(PAGE).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    let organization: String = row.try_get(0)?;
                    Ok(UnknownEvent {
                        organization_id: organization.parse().map_err(|_| StoreError::Corrupt("an organization".to_owned()))?,
                        conversation_id: ConversationId(row.try_get(1)?),
                        event_id: EventId(row.try_get(2)?),
                        position: Position(row.try_get::<i64, _>(3)?.unsigned_abs()),
                        received_at: Timestamp::from_millis(row.try_get(4)?).unwrap_or_default(),
                        event: row.try_get(5)?,
                    })
                })
                .collect()
        })
    }

    async fn forget(&self, keys: &[Key]) -> Result<(), StoreError> {
        const FORGET: &str = "delete from unknown_events where organization_id = $1 and conversation_id = $2 and event_id = $3";
        on!(&self.database, pool => {
            let mut transaction = pool.begin().await?;
            for (organization, conversation, event) in keys {
                sqlx::query(FORGET).bind(organization).bind(conversation).bind(event).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        });
        Ok(())
    }
}

/// Applies kept events that this release knows, now and then again, until the reader is to stop.
pub(crate) async fn pick_up(applying: Arc<Applying>) {
    let Some(kept) = applying.reader.unknown_events().cloned() else { return };
    let mut ticks = tokio::time::interval(PICK_UP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = applying.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match pick_up_once(&applying, &kept).await {
            Ok(Ok(0)) => {}
            Ok(Ok(events)) => tracing::info!(events, "{} picked up {events} events it did not know", applying.reader.name()),
            Ok(Err(error)) => tracing::warn!("{} cannot read what it did not know: {error}", applying.reader.name()),
            Err(Stopped) => return,
        }
    }
}

async fn pick_up_once(applying: &Applying, kept: &UnknownEvents) -> Result<Result<usize, StoreError>, Stopped> {
    let (mut after, mut picked_up) = (BEFORE_ALL, 0);
    loop {
        let page = match kept.page(&after).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let Some(last) = page.last() else { return Ok(Ok(picked_up)) };
        after = last.key();
        let mut items = Vec::new();
        let mut keys = Vec::new();
        for unknown in page {
            let Some(event) = unknown.known() else { continue };
            keys.push(unknown.key());
            items.push(Item::Good(record(unknown, event)));
        }
        if items.is_empty() {
            continue;
        }
        applying.apply(items, Course::standing_still()).await?;
        picked_up += keys.len();
        if let Err(error) = kept.forget(&keys).await {
            return Ok(Err(error));
        }
    }
}

fn record(unknown: UnknownEvent, event: Event) -> Record {
    Record {
        record_id: RecordId::derive(&unknown.organization_id, [event.event_id]),
        organization_id: unknown.organization_id,
        source_id: None,
        received_at: unknown.received_at,
        events: vec![event],
        traceparent: String::new(),
        sequence: unknown.position.sequence(),
    }
}
