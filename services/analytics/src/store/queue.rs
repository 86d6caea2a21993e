//! What is still to be analysed.
//!
//! A conversation stays in the queue while it goes on, with nothing due between its turns, so that it is known how soon it may be
//! analysed again. While a worker holds it, what is new is noted beside (`later_…`), and decides what is left when the worker is
//! done.

use std::collections::HashSet;

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position, Timestamp};
use uuid::Uuid;

use super::engine::{Columns, Engine, Rows, Value};
use super::sql::{SqlStore, count_of, organization_of, position_of, time_of, to_bigint};
use super::{Backlog, Batch, Claimed, Finish, GIVEN_UP_AFTER, Key, Mark, READER, organizations, rollups, written};

/// How soon what a running conversation said while it was analysed is due.
const LIVE_DELAY_MS: i64 = 1_000;

async fn insert_marks<E: Engine>(connection: &mut E::Connection, marks: &[Mark]) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    // Nothing is new of what the figures were made up to already: the log may say things twice.
    let sql = "with {k} \
         insert into analysis_queue (organization_id, conversation_id, position, first_position, received_at, heard_at, due_at, \
             later_position, later_received_at, later_urgent_at) \
         select k.organization_id, k.conversation_id, k.position, k.first_position, k.received_at, k.heard_at, k.due_at, \
             k.first_position, k.received_at, k.urgent_at \
         from k \
         where true \
         on conflict (organization_id, conversation_id) do update set \
             position = case when analysis_queue.position > excluded.position then analysis_queue.position \
                 else excluded.position end, \
             first_position = case when analysis_queue.first_position < excluded.first_position \
                 then analysis_queue.first_position else excluded.first_position end, \
             received_at = case when analysis_queue.received_at < excluded.received_at then analysis_queue.received_at \
                 else excluded.received_at end, \
             heard_at = case when analysis_queue.heard_at > excluded.heard_at then analysis_queue.heard_at \
                 else excluded.heard_at end, \
             due_at = case \
                 when excluded.later_urgent_at is not null then \
                     case when analysis_queue.due_at < excluded.due_at then analysis_queue.due_at else excluded.due_at end \
                 when analysis_queue.due_at is not null then analysis_queue.due_at \
                 when analysis_queue.not_before > excluded.due_at then analysis_queue.not_before \
                 else excluded.due_at end, \
             later_position = case when analysis_queue.later_position < excluded.later_position \
                 then analysis_queue.later_position else excluded.later_position end, \
             later_received_at = case when analysis_queue.later_received_at < excluded.later_received_at \
                 then analysis_queue.later_received_at else excluded.later_received_at end, \
             later_urgent_at = case \
                 when excluded.later_urgent_at is null or analysis_queue.later_urgent_at < excluded.later_urgent_at \
                 then analysis_queue.later_urgent_at else excluded.later_urgent_at end \
         where analysis_queue.first_position is not null or analysis_queue.position < excluded.position";
    let urgent_at = |mark: &Mark| mark.is_urgent.then(|| mark.due_at.as_millis());
    let rows = Rows::new(marks.len())
        .text("organization_id", marks.iter().map(|mark| mark.organization_id.as_str()))
        .id("conversation_id", marks.iter().map(|mark| mark.conversation_id.0))
        .int("position", marks.iter().map(|mark| to_bigint(mark.position)))
        .int("first_position", marks.iter().map(|mark| to_bigint(mark.first_position)))
        .int("received_at", marks.iter().map(|mark| mark.received_at.as_millis()))
        .int("heard_at", marks.iter().map(|mark| mark.heard_at.as_millis()))
        .int("due_at", marks.iter().map(|mark| mark.due_at.as_millis()))
        .opt_int("urgent_at", marks.iter().map(urgent_at));
    E::execute(connection, sql, &[], Some(&rows)).await?;
    Ok(())
}

/// Returns rows of keys and claims, with their length.
fn claims<'a>(claimed: &[&'a Claimed]) -> Rows<'a> {
    Rows::new(claimed.len())
        .text("organization_id", claimed.iter().map(|claimed| claimed.organization_id.as_str()))
        .id("conversation_id", claimed.iter().map(|claimed| claimed.conversation_id.0))
        .id("claim", claimed.iter().map(|claimed| claimed.claim))
}

/// Where a row of the queue is the one that is held under a claim.
const HELD: &str = "analysis_queue.organization_id = k.organization_id \
     and analysis_queue.conversation_id = k.conversation_id and analysis_queue.claimed_by = k.claim";

/// Returns which claims are still held, and keeps them so until the transaction ends. Whoever changes several rows of the queue takes
/// them in the order of their keys, as this does, so that no two transactions wait for each other.
pub(super) async fn held<E: Engine>(
    connection: &mut E::Connection,
    claimed: &[&Claimed],
) -> Result<HashSet<(Key, Uuid)>, StoreError> {
    let sql = format!(
        "with {{k}} select analysis_queue.organization_id, analysis_queue.conversation_id, analysis_queue.claimed_by \
         from k cross join analysis_queue where {HELD} \
         order by analysis_queue.organization_id, analysis_queue.conversation_id {}",
        E::FOR_UPDATE
    );
    let rows = E::query(connection, &sql, &[], Some(&claims(claimed))).await?;
    let key = |row: &E::Row| {
        let mut columns = Columns::<E>::of(row);
        Ok(((organization_of(&columns.text()?)?, ConversationId(columns.id()?)), columns.id()?))
    };
    rows.iter().map(key).collect()
}

/// What happens to a row that is given back.
struct Back<'a> {
    claimed: &'a Claimed,
    is_over: bool,
    not_before: Option<Timestamp>,
    due_at: Option<Timestamp>,
    has_failed: bool,
}

impl<'a> Back<'a> {
    fn of((claimed, finish): &'a (Claimed, Finish)) -> Self {
        let back = Self { claimed, is_over: false, not_before: None, due_at: None, has_failed: false };
        match finish {
            Finish::Done { settled, not_before, .. } => Self { is_over: *settled, not_before: Some(*not_before), ..back },
            Finish::Gone => Self { is_over: true, ..back },
            Finish::Failed { due_at } => Self { due_at: Some(*due_at), has_failed: true, ..back },
            Finish::Later { due_at } => Self { due_at: Some(*due_at), ..back },
            Finish::Released => back,
        }
    }
}

async fn remove_what_is_over<E: Engine>(connection: &mut E::Connection, back: &[Back<'_>]) -> Result<(), StoreError> {
    let over: Vec<&Claimed> = back.iter().filter(|back| back.is_over).map(|back| back.claimed).collect();
    if over.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "with {{k}} delete from analysis_queue where later_position is null and exists (select 1 from k where {HELD}) \
             and (organization_id, conversation_id) in (select k.organization_id, k.conversation_id from k)"
    );
    E::execute(connection, &sql, &[], Some(&claims(&over))).await?;
    Ok(())
}

async fn keep_what_goes_on<E: Engine>(
    connection: &mut E::Connection,
    back: &[Back<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    // What was deleted already is not found any more.
    let done: Vec<&Back<'_>> = back.iter().filter(|back| back.not_before.is_some() || back.is_over).collect();
    if done.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "with {{k}} update analysis_queue set \
             first_position = later_position, \
             received_at = later_received_at, \
             due_at = case when later_position is null then null else coalesce(later_urgent_at, k.due_at) end, \
             later_position = null, later_received_at = null, later_urgent_at = null, \
             not_before = k.not_before, claimed_by = null, claimed_until = 0, failures = 0 \
         from k where {HELD}"
    );
    let soon = now.saturating_add_millis(LIVE_DELAY_MS);
    let not_before = |back: &&Back<'_>| back.not_before.unwrap_or(now).as_millis();
    let claimed: Vec<&Claimed> = done.iter().map(|back| back.claimed).collect();
    let rows = claims(&claimed)
        .int("not_before", done.iter().map(not_before))
        .int("due_at", done.iter().map(|back| not_before(back).max(soon.as_millis())));
    E::execute(connection, &sql, &[], Some(&rows)).await?;
    Ok(())
}

async fn give_back<E: Engine>(connection: &mut E::Connection, back: &[Back<'_>]) -> Result<(), StoreError> {
    let undone: Vec<&Back<'_>> = back.iter().filter(|back| back.not_before.is_none() && !back.is_over).collect();
    if undone.is_empty() {
        return Ok(());
    }
    // What is urgent among what was heard meanwhile does not help: it fails for another reason.
    let sql = format!(
        "with {{k}} update analysis_queue set \
             due_at = coalesce(k.due_at, analysis_queue.due_at), \
             failures = failures + k.failed, \
             later_position = null, later_received_at = null, later_urgent_at = null, claimed_by = null, claimed_until = 0 \
         from k where {HELD}"
    );
    let claimed: Vec<&Claimed> = undone.iter().map(|back| back.claimed).collect();
    let rows = claims(&claimed)
        .opt_int("due_at", undone.iter().map(|back| back.due_at.map(Timestamp::as_millis)))
        .int("failed", undone.iter().map(|back| i64::from(back.has_failed)));
    E::execute(connection, &sql, &[], Some(&rows)).await?;
    Ok(())
}

/// Where a row of the queue holds something that somebody may wait for.
fn waited_for(conversation: Option<ConversationId>) -> String {
    let one = if conversation.is_some() { "and conversation_id = $3" } else { "" };
    format!("organization_id = $1 and first_position <= $2 and failures < {GIVEN_UP_AFTER} {one}")
}

fn waited_for_values<'a>(
    organization: &'a OrganizationId,
    conversation: Option<ConversationId>,
    position: Position,
) -> Vec<Value<'a>> {
    let mut values = vec![Value::Text(organization.as_str()), Value::Int(to_bigint(position))];
    values.extend(conversation.map(|conversation| Value::Id(conversation.0)));
    values
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn read_position(&self) -> Result<Position, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let sql = "select position from reader_positions where reader = $1";
        let rows = E::query(&mut connection, sql, &[Value::Text(READER)], None).await?;
        Ok(position_of(rows.first().map_or(Ok(0), |row| Columns::<E>::of(row).int())?))
    }

    pub(super) async fn apply_batch(&self, batch: &Batch, through: Position, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        organizations::see::<E>(&mut transaction, &batch.organizations, now).await?;
        insert_marks::<E>(&mut transaction, &batch.marks).await?;
        // Last: other replicas wait for the row.
        let sql = "insert into reader_positions (reader, position, received_at) values ($1, $2, $3) \
             on conflict (reader) do update set \
                 position = case when reader_positions.position > excluded.position then reader_positions.position \
                     else excluded.position end, \
                 received_at = case when reader_positions.received_at > excluded.received_at \
                     then reader_positions.received_at else excluded.received_at end";
        let received_at = batch.received_at.map_or(0, Timestamp::as_millis);
        let values = [Value::Text(READER), Value::Int(to_bigint(through)), Value::Int(received_at)];
        E::execute(&mut transaction, sql, &values, None).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn mark_again(&self, conversations: &[Key], now: Timestamp) -> Result<(), StoreError> {
        if conversations.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<&Key> = conversations.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        // It is in the figures of no position, so that those wait who wait for any; but what the figures have already is read again.
        let sql = "with {k} \
             insert into analysis_queue (organization_id, conversation_id, position, first_position, received_at, due_at, \
                 later_position, later_received_at, later_urgent_at) \
             select k.organization_id, k.conversation_id, coalesce(features.position, 0), 0, cast($1 as bigint), \
                 cast($1 as bigint), 0, cast($1 as bigint), cast($1 as bigint) \
             from k \
             left join features on features.organization_id = k.organization_id \
                 and features.conversation_id = k.conversation_id \
             where true \
             on conflict (organization_id, conversation_id) do update set \
                 first_position = 0, \
                 received_at = coalesce(analysis_queue.received_at, excluded.received_at), \
                 due_at = case when analysis_queue.due_at < excluded.due_at then analysis_queue.due_at else excluded.due_at end, \
                 later_position = 0, \
                 later_received_at = coalesce(analysis_queue.later_received_at, excluded.later_received_at), \
                 later_urgent_at = coalesce(analysis_queue.later_urgent_at, excluded.later_urgent_at)";
        let rows = Rows::new(keys.len())
            .text("organization_id", keys.iter().map(|(organization, _)| organization.as_str()))
            .id("conversation_id", keys.iter().map(|(_, conversation)| conversation.0));
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        E::execute(&mut transaction, sql, &[Value::Int(now.as_millis())], Some(&rows)).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn claim_due(
        &self,
        now: Timestamp,
        claimed_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Claimed>, StoreError> {
        let claim = Uuid::now_v7();
        let sql = format!(
            "with due as (select organization_id as organization, conversation_id as conversation from analysis_queue \
                 where due_at <= $1 and claimed_until <= $1 order by due_at limit {limit} {}) \
             update analysis_queue set claimed_by = $2, claimed_until = $3, \
                 later_position = null, later_received_at = null, later_urgent_at = null \
             from due where organization_id = due.organization and conversation_id = due.conversation \
             returning organization_id, conversation_id, position, heard_at, failures",
            E::SKIP_LOCKED
        );
        let values = [Value::Int(now.as_millis()), Value::Id(claim), Value::Int(claimed_until.as_millis())];
        // Nothing is due most of the time, which a reader of SQLite sees without waiting for the writer.
        let is_due = "select 1 from analysis_queue where due_at <= $1 and claimed_until <= $1 limit 1";
        if E::query(&mut *self.readers.acquire().await?, is_due, &values[..1], None).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        let rows = E::query(&mut transaction, &sql, &values, None).await?;
        transaction.commit().await?;
        let claimed = |row: &E::Row| {
            let mut columns = Columns::<E>::of(row);
            Ok(Claimed {
                organization_id: organization_of(&columns.text()?)?,
                conversation_id: ConversationId(columns.id()?),
                position: position_of(columns.int()?),
                heard_at: columns.opt_int()?.map(time_of),
                failures: count_of(columns.int()?),
                claim,
            })
        };
        rows.iter().map(claimed).collect()
    }

    pub(super) async fn renew_claims(&self, claimed: &[Claimed], claimed_until: Timestamp) -> Result<(), StoreError> {
        if claimed.is_empty() {
            return Ok(());
        }
        let claimed: Vec<&Claimed> = claimed.iter().collect();
        let sql = format!("with {{k}} update analysis_queue set claimed_until = $1 from k where {HELD}");
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        held::<E>(&mut transaction, &claimed).await?;
        E::execute(&mut transaction, &sql, &[Value::Int(claimed_until.as_millis())], Some(&claims(&claimed))).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn give_back_finished(&self, finished: &[(Claimed, Finish)], now: Timestamp) -> Result<(), StoreError> {
        let mut back: Vec<Back<'_>> = finished.iter().map(Back::of).collect();
        back.sort_unstable_by_key(|back| (&back.claimed.organization_id, back.claimed.conversation_id));
        let claimed: Vec<&Claimed> = back.iter().map(|back| back.claimed).collect();
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        let held = held::<E>(&mut transaction, &claimed).await?;
        // Whoever holds it now read what was told before, and tells it anew.
        let ours = finished.iter().filter(|(claimed, _)| held.contains(&(claimed.key(), claimed.claim)));
        written::note_told::<E>(&mut transaction, ours).await?;
        remove_what_is_over::<E>(&mut transaction, &back).await?;
        keep_what_goes_on::<E>(&mut transaction, &back, now).await?;
        give_back::<E>(&mut transaction, &back).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn read_whether_waiting(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
    ) -> Result<bool, StoreError> {
        let sql = format!("select 1 from analysis_queue where {} limit 1", waited_for(conversation));
        let values = waited_for_values(organization, conversation, position);
        let mut connection = self.readers.acquire().await?;
        Ok(!E::query(&mut connection, &sql, &values, None).await?.is_empty())
    }

    pub(super) async fn make_due(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut values = waited_for_values(organization, conversation, position);
        values.push(Value::Int(now.as_millis()));
        let at = values.len();
        // What failed is left to its own pace.
        let sql = format!(
            "with due as (select organization_id as organization, conversation_id as conversation from analysis_queue \
                 where {} and failures = 0 and (due_at > ${at} or (later_position is not null and later_urgent_at is null)) \
                 order by organization_id, conversation_id {}) \
             update analysis_queue set \
                 due_at = case when due_at > ${at} then ${at} else due_at end, \
                 later_urgent_at = case when later_position is null then null else coalesce(later_urgent_at, ${at}) end \
             from due where organization_id = due.organization and conversation_id = due.conversation",
            waited_for(conversation),
            E::FOR_UPDATE
        );
        let mut transaction = E::begin_along_keys(&self.writer).await?;
        E::execute(&mut transaction, &sql, &values, None).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn read_received_through(
        &self,
        organization: &OrganizationId,
    ) -> Result<(Option<Timestamp>, Timestamp), StoreError> {
        let sql = format!(
            "select (select min(received_at) from analysis_queue \
                 where organization_id = $1 and received_at is not null and failures < {GIVEN_UP_AFTER}), \
                 coalesce((select received_at from reader_positions where reader = $2), 0)"
        );
        let values = [Value::Text(organization.as_str()), Value::Text(READER)];
        let rows = E::query(&mut *self.readers.acquire().await?, &sql, &values, None).await?;
        let mut columns = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?);
        Ok((columns.opt_int()?.map(time_of), time_of(columns.int()?)))
    }

    pub(super) async fn read_backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        let sql = "select (select count(*) from analysis_queue where due_at is not null), \
             (select min(due_at) from analysis_queue where due_at <= $1), \
             (select count(*) from rollup_dirty where hour <= $2)";
        let values = [Value::Int(now.as_millis()), Value::Int(rollups::last_hour(now.as_millis()))];
        let rows = E::query(&mut *self.readers.acquire().await?, sql, &values, None).await?;
        let mut columns = Columns::<E>::of(rows.first().ok_or(sqlx::Error::RowNotFound)?);
        let waiting = columns.int()?.unsigned_abs();
        let oldest_due_at = columns.opt_int()?.map(time_of);
        Ok(Backlog { waiting, oldest_due_at, hours: columns.int()?.unsigned_abs() })
    }
}
