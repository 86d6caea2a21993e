//! Lanes: the deliveries of one conversation to an endpoint that is told in order.
//!
//! Of a lane, one delivery at most is at work: it has a time when it is due, is claimed like any other, and keeps its place
//! until it has ended. The others have none, so that nobody finds them; how many wait costs those who look for work nothing.
//!
//! A lane is settled when something in it began or ended: if nothing is at work, its first delivery is put to work. Why the later
//! of two is never sent before the earlier, however many replicas read and send:
//!
//! - Reading. A delivery beyond the position up to which the log was read without a gap is not put to work. What lies up to
//!   that position is committed: a replica moves the position past what another read only when that one has committed. So
//!   whoever settles sees every delivery that can come before the one it puts to work. That one alone waits for the position
//!   ([`settle`] marks it), and its lane is settled again once the position has passed it.
//! - Settling. It sees the lane as it is only if nobody else changes it at the same time: one adds a delivery and sees that
//!   another is still at work, while the other ends and sees nothing that waits; then nobody would ever put the new one to
//!   work. So each settles under a lock on the lane, after its own changes and until they are committed. Whoever comes second
//!   sees what the first did.
//! - The position. Whoever marks a delivery as waiting for it, and whoever moves it, hold it until they have committed, and take it
//!   before any lane. Else it could be moved past a mark that nobody sees yet, and that lane would wait for the log's next record.
//! - What is put into the log's past afterwards (a replay, an event an older release did not know) waits for what is at work,
//!   and then goes first.

use std::collections::BTreeSet;

use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Position};
use uuid::Uuid;

use super::READER;
use super::engine::{Columns, Engine, Hold, Rows, Value};
use super::sql::{position_of, to_bigint};

/// Locks are shared by many lanes, so that a large batch takes no more of them than a server has room for.
const LOCKS: u128 = 1_024;

/// The deliveries of one conversation to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) organization: String,
    pub(super) endpoint: Uuid,
    conversation: Uuid,
}

impl Lane {
    pub(super) fn new(organization: &OrganizationId, endpoint: Uuid, conversation: Uuid) -> Self {
        Self { organization: organization.as_str().to_owned(), endpoint, conversation }
    }

    /// Reads organization, endpoint and conversation.
    pub(super) fn read<E: Engine>(columns: &mut Columns<'_, E>) -> Result<Self, StoreError> {
        Ok(Self { organization: columns.text()?, endpoint: columns.id()?, conversation: columns.id()? })
    }

    fn lock(&self) -> i32 {
        // Both ids are spread evenly, the endpoint's in other bits than the version's.
        ((self.endpoint.as_u128() ^ self.conversation.as_u128()) % LOCKS) as i32
    }
}

/// Returns whether a delivery, of which the conversation stands in `from`, belongs to a lane of the endpoint `e`. What the service
/// itself has to say is about no conversation, so nothing of it waits for another: a test would wait for the test before it.
pub(super) fn ordered_sql<E: Engine>(from: &str) -> String {
    format!("(e.ordered and {from}.conversation_id <> {})", E::NIL)
}

/// A delivery that was put to work.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PutToWork {
    pub(super) organization: String,
    pub(super) endpoint: Uuid,
    pub(super) delivery: Uuid,
}

/// Puts the first delivery of each lane to work in which none is, due at `due_at`, or when its next attempt is. The log was
/// read up to `through`; what the store has noted counts where nothing else is given.
pub(super) async fn settle<E: Engine>(
    connection: &mut E::Connection,
    lanes: Vec<Lane>,
    through: Option<Position>,
    due_at: Option<i64>,
) -> Result<Vec<PutToWork>, StoreError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let lanes: BTreeSet<Lane> = lanes.into_iter().collect();
    let locks: BTreeSet<i32> = lanes.iter().map(Lane::lock).collect();
    let through = match through {
        Some(through) => through,
        // Held until the end: else the position could pass what is marked here to wait for it, and nobody would see the mark. Taken
        // before the lanes, as whoever moves the position does.
        None => {
            E::lock_position(connection, Hold::Rely).await?;
            read_position::<E>(connection).await?
        }
    };
    E::lock_lanes(connection, locks.into_iter().collect()).await?;
    let rows = Rows::new(lanes.len())
        .text("organization_id", lanes.iter().map(|lane| lane.organization.as_str()))
        .id("endpoint_id", lanes.iter().map(|lane| lane.endpoint))
        .id("conversation_id", lanes.iter().map(|lane| lane.conversation));
    let values = [Value::Int(to_bigint(through)), Value::OptInt(due_at)];
    let settled = E::query(connection, SETTLE, &values, Some(&rows)).await?;
    let mut put_to_work = Vec::new();
    for row in &settled {
        let mut columns = Columns::<E>::of(row);
        let delivery = PutToWork { organization: columns.text()?, endpoint: columns.id()?, delivery: columns.id()? };
        if columns.opt_int()?.is_some() {
            put_to_work.push(delivery);
        }
    }
    Ok(put_to_work)
}

pub(super) const SETTLE: &str = "with {k}, first (organization_id, endpoint_id, delivery_id) as materialized ( \
         select k.organization_id, k.endpoint_id, \
             (select p.delivery_id from pending p \
              where p.organization_id = k.organization_id and p.endpoint_id = k.endpoint_id \
                  and p.conversation_id = k.conversation_id and p.ordered \
              order by p.position, p.delivery_id \
              limit 1) \
         from k \
         where not exists ( \
             select 1 from pending p \
             where p.organization_id = k.organization_id and p.endpoint_id = k.endpoint_id \
                 and p.conversation_id = k.conversation_id and p.ordered and p.due_at is not null)) \
     update pending set \
         due_at = case when pending.position > $1 then null else coalesce(cast($2 as bigint), pending.next_attempt_at) end, \
         beyond = pending.position > $1 \
     from first \
     where pending.organization_id = first.organization_id and pending.endpoint_id = first.endpoint_id \
         and pending.delivery_id = first.delivery_id \
     returning pending.organization_id, pending.endpoint_id, pending.delivery_id, pending.due_at";

/// Returns up to where the log was read without a gap.
pub(super) async fn read_position<E: Engine>(connection: &mut E::Connection) -> Result<Position, StoreError> {
    let sql = "select position from reader_positions where reader = $1";
    let rows = E::query(connection, sql, &[Value::Text(READER)], None).await?;
    Ok(position_of(rows.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?))
}

/// Notes up to where the log was read; returns up to where it was read before or is now, and the lanes that waited for that.
pub(super) async fn advance<E: Engine>(
    connection: &mut E::Connection,
    through: Position,
) -> Result<(Position, Vec<Lane>), StoreError> {
    // First: a statement that waits sees only what was there when it began, not what was marked meanwhile.
    E::lock_position(connection, Hold::Move).await?;
    let sql = "update reader_positions set position = case when position < $2 then $2 else position end \
         where reader = $1 \
         returning position, \
             exists (select 1 from pending where beyond and pending.position <= reader_positions.position)";
    let rows = E::query(connection, sql, &[Value::Text(READER), Value::Int(to_bigint(through))], None).await?;
    let mut columns = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?);
    let (position, has_waiting) = (columns.int()?, columns.bool()?);
    let mut lanes = Vec::new();
    if has_waiting {
        let sql = "select organization_id, endpoint_id, conversation_id from pending where beyond and position <= $1";
        for row in &E::query(connection, sql, &[Value::Int(position)], None).await? {
            lanes.push(Lane::read(&mut Columns::<E>::of(row))?);
        }
    }
    Ok((position_of(position), lanes))
}

/// Notes that nothing waits for the log any more that it has passed; once the lanes are settled.
pub(super) async fn passed<E: Engine>(connection: &mut E::Connection, position: Position) -> Result<(), StoreError> {
    let sql = "update pending set beyond = false where beyond and position <= $1";
    E::execute(connection, sql, &[Value::Int(to_bigint(position))], None).await?;
    Ok(())
}
