//! Which events are in the log, and where: how repeats are recognised and erasures find what they erase.
//!
//! It stands in ingestion's own database, shared by all replicas. It is a view like any other: `upkeep` completes from the stream
//! whatever a crash left out.

use std::collections::{HashMap, HashSet};

use colloquy_storage::{Database, Sqlite, StoreError};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::log::prepare::EventKey;

/// One event, wherever it is.
pub(super) type Key = (OrganizationId, EventKey);

/// One event and the number of its record. A part of a record stands here under an event id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) organization: OrganizationId,
    pub(super) conversation: ConversationId,
    pub(super) event: EventId,
    pub(super) sequence: u64,
}

/// A stream: the numbers of its records begin after `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochRow {
    pub(super) epoch: u64,
    pub(super) offset: u64,
    /// Every record up to this number is in the index.
    pub(super) indexed_through: u64,
    /// Numbers up to this one were given out.
    pub(super) used_through: u64,
}

/// What is known of some events.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) events: HashMap<Key, u64>,
    pub(super) erased: HashSet<(OrganizationId, ConversationId)>,
}

/// The index.
#[derive(Clone)]
pub(super) enum Index {
    Sqlite(Sqlite),
    Postgres(PgPool),
}

/// Runs what both engines understand alike.
macro_rules! on_either {
    ($index:expr, $pool:ident => $work:expr) => {
        match $index {
            Index::Sqlite(sqlite) => {
                let $pool = sqlite.writer();
                $work
            }
            Index::Postgres($pool) => $work,
        }
    };
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Rows as columns, which is how PostgreSQL takes many at once.
#[derive(Default)]
struct Columns {
    organizations: Vec<String>,
    conversations: Vec<Uuid>,
    events: Vec<Uuid>,
    sequences: Vec<i64>,
}

fn hex_of(id: Uuid) -> String {
    id.simple().to_string()
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

impl Index {
    pub(super) fn of(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite.clone()),
            Database::Postgres(pool) => Self::Postgres(pool.clone()),
        }
    }

    /// Finds the events that are in records after `offset`, and the conversations that are erased.
    pub(super) async fn find(&self, keys: &[Key], offset: u64) -> Result<Known, StoreError> {
        let conversations: HashSet<(OrganizationId, ConversationId)> =
            keys.iter().map(|(organization, key)| (organization.clone(), key.conversation_id)).collect();
        let conversations: Vec<_> = conversations.into_iter().collect();
        let (found, erased) = tokio::try_join!(self.find_events(keys, offset), self.find_erased(&conversations))?;
        let place = |number: i64| usize::try_from(number).ok();
        let events =
            found.into_iter().filter_map(|(number, sequence)| Some((keys.get(place(number)?)?.clone(), unsigned(sequence))));
        let events = events.collect();
        let erased = erased.into_iter().filter_map(|number| conversations.get(place(number)?).cloned()).collect();
        Ok(Known { events, erased })
    }

    /// Returns the numbers of `keys`, from 0, and the records they are in.
    async fn find_events(&self, keys: &[Key], offset: u64) -> Result<Vec<(i64, i64)>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => {
                let rows: Vec<_> = keys
                    .iter()
                    .map(|(organization, key)| (organization.as_str(), hex_of(key.conversation_id.0), hex_of(key.event_id.0)))
                    .collect();
                let found = sqlx::query_as(
                    "select wanted.key, min(log_events.sequence)
                     from json_each($1) as wanted
                     cross join log_events
                         on log_events.organization_id = wanted.value ->> 0
                         and log_events.conversation_id = unhex(wanted.value ->> 1)
                         and log_events.event_id = unhex(wanted.value ->> 2)
                         and log_events.sequence > $2
                     group by wanted.key",
                )
                .bind(to_json(&rows)?)
                .bind(signed(offset));
                Ok(found.fetch_all(sqlite.writer()).await?)
            }
            Self::Postgres(pool) => {
                let mut columns = Columns::default();
                for (organization, key) in keys {
                    columns.organizations.push(organization.to_string());
                    columns.conversations.push(key.conversation_id.0);
                    columns.events.push(key.event_id.0);
                }
                // Lateral, since the planner would otherwise join an unknown number of keys with the whole table.
                let found = sqlx::query_as(
                    "select wanted.number - 1, found.sequence
                     from unnest($1::text[], $2::uuid[], $3::uuid[]) with ordinality
                         as wanted (organization_id, conversation_id, event_id, number)
                     cross join lateral (
                         select sequence from log_events
                         where log_events.organization_id = wanted.organization_id
                             and log_events.conversation_id = wanted.conversation_id
                             and log_events.event_id = wanted.event_id
                             and log_events.sequence > $4
                         order by sequence limit 1
                     ) as found",
                )
                .bind(columns.organizations)
                .bind(columns.conversations)
                .bind(columns.events)
                .bind(signed(offset));
                Ok(found.fetch_all(pool).await?)
            }
        }
    }

    /// Returns the numbers of those conversations, from 0, that are erased.
    async fn find_erased(&self, conversations: &[(OrganizationId, ConversationId)]) -> Result<Vec<i64>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => {
                let rows: Vec<_> = conversations.iter().map(|(organization, id)| (organization.as_str(), hex_of(id.0))).collect();
                let erased = sqlx::query_scalar(
                    "select wanted.key from json_each($1) as wanted
                     cross join log_erasures
                         on log_erasures.organization_id = wanted.value ->> 0
                         and log_erasures.conversation_id = unhex(wanted.value ->> 1)",
                );
                Ok(erased.bind(to_json(&rows)?).fetch_all(sqlite.writer()).await?)
            }
            Self::Postgres(pool) => {
                let (organizations, ids): (Vec<String>, Vec<Uuid>) =
                    conversations.iter().map(|(organization, id)| (organization.to_string(), id.0)).unzip();
                let erased = sqlx::query_scalar(
                    "select wanted.number - 1
                     from unnest($1::text[], $2::uuid[]) with ordinality as wanted (organization_id, conversation_id, number)
                     cross join lateral (
                         select 1 from log_erasures
                         where log_erasures.organization_id = wanted.organization_id
                             and log_erasures.conversation_id = wanted.conversation_id
                     ) as found",
                );
                Ok(erased.bind(organizations).bind(ids).fetch_all(pool).await?)
            }
        }
    }

    /// Returns those of some conversations that are erased.
    pub(super) async fn erased_among(
        &self,
        conversations: HashSet<(OrganizationId, ConversationId)>,
    ) -> Result<Vec<(OrganizationId, ConversationId)>, StoreError> {
        let conversations: Vec<_> = conversations.into_iter().collect();
        let erased = self.find_erased(&conversations).await?;
        Ok(erased.into_iter().filter_map(|number| conversations.get(usize::try_from(number).ok()?).cloned()).collect())
    }

    /// Adds rows. They need not survive a crash, since the stream has them too: on PostgreSQL the disk is not waited for.
    pub(super) async fn insert(&self, rows: &[Row]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Self::Sqlite(sqlite) => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| (row.organization.as_str(), hex_of(row.conversation.0), hex_of(row.event.0), row.sequence))
                    .collect();
                sqlx::query(
                    "insert into log_events (organization_id, conversation_id, event_id, sequence)
                     select value ->> 0, unhex(value ->> 1), unhex(value ->> 2), value ->> 3 from json_each($1) where true
                     on conflict do nothing",
                )
                .bind(to_json(&rows)?)
                .execute(sqlite.writer())
                .await?;
            }
            Self::Postgres(pool) => {
                let mut columns = Columns::default();
                for row in rows {
                    columns.organizations.push(row.organization.to_string());
                    columns.conversations.push(row.conversation.0);
                    columns.events.push(row.event.0);
                    columns.sequences.push(signed(row.sequence));
                }
                sqlx::query(
                    "with quick as materialized (select set_config('synchronous_commit', 'off', true) as done)
                     insert into log_events (organization_id, conversation_id, event_id, sequence)
                     select added.* from quick, unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[]) as added
                     where quick.done is not null
                     on conflict do nothing",
                )
                .bind(columns.organizations)
                .bind(columns.conversations)
                .bind(columns.events)
                .bind(columns.sequences)
                .execute(pool)
                .await?;
            }
        }
        Ok(())
    }

    /// Notes that a conversation is erased.
    pub(super) async fn note_erasure(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        on_either!(self, pool => {
            sqlx::query(
                "insert into log_erasures (organization_id, conversation_id, erased_at) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(organization.as_str())
            .bind(conversation.0)
            .bind(at.as_millis())
            .execute(pool)
            .await?;
        });
        Ok(())
    }

    /// Returns the records after `offset` that carry something of a conversation, in log order.
    pub(super) async fn places(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        offset: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let places: Vec<i64> = on_either!(self, pool => {
            sqlx::query_scalar(
                "select distinct sequence from log_events
                 where organization_id = $1 and conversation_id = $2 and sequence > $3
                 order by sequence",
            )
            .bind(organization.as_str())
            .bind(conversation.0)
            .bind(signed(offset))
            .fetch_all(pool)
            .await?
        });
        Ok(places.into_iter().map(unsigned).collect())
    }

    /// Forgets the records of a stream after `after`, which it lost, and notes that their numbers up to `through` were given out: both
    /// or neither.
    pub(super) async fn note_lost(&self, epoch: u64, after: u64, through: u64) -> Result<(), StoreError> {
        on_either!(self, pool => {
            let mut transaction = pool.begin().await?;
            sqlx::query("update log_epochs set used_through = $2 where epoch = $1 and used_through < $2")
                .bind(signed(epoch))
                .bind(signed(through))
                .execute(&mut *transaction)
                .await?;
            sqlx::query("delete from log_events where sequence > $1")
                .bind(signed(after))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        });
        Ok(())
    }

    /// Returns something that changes with every erasure.
    pub(super) async fn erasures(&self) -> Result<(i64, i64), StoreError> {
        let erasures = on_either!(self, pool => {
            sqlx::query_as("select count(*), coalesce(max(erased_at), 0) from log_erasures").fetch_one(pool).await?
        });
        Ok(erasures)
    }

    /// Forgets records after `after` up to `through`, which are no longer in the stream.
    pub(super) async fn forget_records(&self, after: u64, through: u64) -> Result<u64, StoreError> {
        let forgotten = on_either!(self, pool => {
            sqlx::query("delete from log_events where sequence > $1 and sequence <= $2")
                .bind(signed(after))
                .bind(signed(through))
                .execute(pool)
                .await?
                .rows_affected()
        });
        Ok(forgotten)
    }

    /// Returns which records after `after` up to `through` are in the index, in order.
    pub(super) async fn present(&self, after: u64, through: u64) -> Result<Vec<u64>, StoreError> {
        let present: Vec<i64> = on_either!(self, pool => {
            sqlx::query_scalar("select distinct sequence from log_events where sequence > $1 and sequence <= $2 order by sequence")
                .bind(signed(after))
                .bind(signed(through))
                .fetch_all(pool)
                .await?
        });
        Ok(present.into_iter().map(unsigned).collect())
    }

    /// Returns the lowest and the highest number of a record it has; 0 and 0 when it has none.
    pub(super) async fn extent(&self) -> Result<(u64, u64), StoreError> {
        let (lowest, highest): (i64, i64) = on_either!(self, pool => {
            sqlx::query_as("select coalesce(min(sequence), 0), coalesce(max(sequence), 0) from log_events").fetch_one(pool).await?
        });
        Ok((unsigned(lowest), unsigned(highest)))
    }

    /// Returns the latest stream there has been.
    pub(super) async fn latest_epoch(&self) -> Result<Option<EpochRow>, StoreError> {
        let row: Option<(i64, i64, i64, i64)> = on_either!(self, pool => {
            sqlx::query_as(
                "select epoch, number_offset, indexed_through, used_through from log_epochs order by epoch desc limit 1",
            )
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(|(epoch, offset, indexed, used)| EpochRow {
            epoch: unsigned(epoch),
            offset: unsigned(offset),
            indexed_through: unsigned(indexed),
            used_through: unsigned(used),
        }))
    }

    /// Returns a stream's numbers, adding them as `offset` when they are not there yet: whoever comes first decides for all.
    pub(super) async fn epoch(&self, epoch: u64, offset: u64) -> Result<EpochRow, StoreError> {
        let (offset, indexed, used): (i64, i64, i64) = on_either!(self, pool => {
            sqlx::query(
                "insert into log_epochs (epoch, number_offset, indexed_through, used_through) values ($1, $2, $2, $2)
                 on conflict do nothing",
            )
            .bind(signed(epoch))
            .bind(signed(offset))
            .execute(pool)
            .await?;
            sqlx::query_as("select number_offset, indexed_through, used_through from log_epochs where epoch = $1")
                .bind(signed(epoch))
                .fetch_one(pool)
                .await?
        });
        Ok(EpochRow { epoch, offset: unsigned(offset), indexed_through: unsigned(indexed), used_through: unsigned(used) })
    }

    /// Notes that every record of a stream up to `through` is in the index.
    pub(super) async fn note_indexed(&self, epoch: u64, through: u64) -> Result<(), StoreError> {
        on_either!(self, pool => {
            sqlx::query("update log_epochs set indexed_through = $2 where epoch = $1 and indexed_through < $2")
                .bind(signed(epoch))
                .bind(signed(through))
                .execute(pool)
                .await?;
        });
        Ok(())
    }
}
