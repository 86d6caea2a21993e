//! Sums up hours of conversations, so that questions over long times do not read every conversation.
//!
//! Whoever changes a row of `features` notes the hour it began in, in the same transaction. The hours noted are summed up anew from
//! the rows, again in one transaction that takes the note away; until then queries read the rows of such an hour themselves. So what
//! is summed up is never older than what a query takes it for, and a crash leaves nothing half done.

use std::time::Duration;

use colloquy_storage::engine::{Columns, Engine, Outcome, Rows, Value};
use colloquy_storage::{Database, StoreError};
use sqlx::Pool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::query::rolled::Hour;

/// How often the notes are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// While conversations wait to be analysed, it rests for so many times as long as it works: the same hours change over and over
/// then, and summing them up must not take the place of that. Otherwise others get in between for a quarter of the time.
const AT_REST: u32 = 3;
const IN_BETWEEN: u32 = 4;
/// So many hours are summed up in one transaction: few, since whoever changes one of them waits for it.
const AT_ONCE: i64 = 16;
/// What was noted is summed up only so long after the hour itself, in milliseconds: an hour that goes on changes all the time, and
/// reading the rows of the newest is quick.
const SETTLES_AFTER: i64 = 10 * 60_000;

/// An hour that changed.
struct Noted {
    organization: String,
    hour: i64,
    changes: i64,
}

/// Sums up what changed until it is told to stop. Any number of processes may do so on one database.
///
/// # Errors
/// Never; what fails is tried again.
pub async fn run(
    database: Database,
    clock: std::sync::Arc<dyn colloquy_types::Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let began = Instant::now();
        let now = clock.now().as_millis();
        let wait = match sum_up(&database, now).await {
            Ok(0) => EVERY,
            // There may be more.
            Ok(_) if is_analysing(&database, now).await.unwrap_or(true) => began.elapsed() * AT_REST,
            Ok(_) => began.elapsed() / IN_BETWEEN,
            Err(error) => {
                tracing::warn!("hours could not be summed up, and will be tried again: {error}");
                EVERY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Sums up some hours that changed, the oldest first; returns how many.
///
/// # Errors
/// When the store fails.
pub async fn sum_up(database: &Database, now: i64) -> Result<usize, StoreError> {
    Ok(match database {
        Database::Sqlite(sqlite) => {
            // A writer that finds nothing to do keeps others waiting.
            let is_any = is_any(sqlite.readers(), NOTED, &[Value::Int(last_hour(now)), Value::Int(1)]).await?;
            if is_any { once(sqlite.writer(), now).await? } else { 0 }
        }
        Database::Postgres(pool) => once(pool, now).await?,
    })
}

/// Returns whether conversations wait to be analysed.
async fn is_analysing(database: &Database, now: i64) -> Result<bool, StoreError> {
    let sql = "select 1 from analysis_queue where due_at <= $1 limit 1";
    Ok(match database {
        Database::Sqlite(sqlite) => is_any(sqlite.readers(), sql, &[Value::Int(now)]).await?,
        Database::Postgres(pool) => is_any(pool, sql, &[Value::Int(now)]).await?,
    })
}

async fn is_any<E: Engine>(readers: &Pool<E>, sql: &str, values: &[Value<'_>]) -> Outcome<bool> {
    let mut connection = readers.acquire().await?;
    Ok(!E::query(&mut connection, sql, values, None).await?.is_empty())
}

const NOTED: &str = "select organization_id, hour, changes from rollup_dirty where hour <= $1 order by hour limit $2";

/// Returns the last hour that may be summed up.
pub(super) const fn last_hour(now: i64) -> i64 {
    (now - SETTLES_AFTER).div_euclid(crate::query::time::HOUR) - 1
}

async fn once<E: Engine>(pool: &Pool<E>, now: i64) -> Outcome<usize> {
    let mut transaction = E::begin(pool).await?;
    // Whoever changes an hour writes its note after the row, and waits here until the note is taken away: then it makes a new one.
    let sql = format!("{NOTED} {}", E::SKIP_LOCKED);
    let mut noted = Vec::new();
    for row in &E::query(&mut transaction, &sql, &[Value::Int(last_hour(now)), Value::Int(AT_ONCE)], None).await? {
        let mut columns = Columns::<E>::of(row);
        noted.push(Noted { organization: columns.text()?, hour: columns.int()?, changes: columns.int()? });
    }
    for noted in &noted {
        one::<E>(&mut transaction, noted).await?;
    }
    if !noted.is_empty() {
        let rows = Rows::new(noted.len())
            .text("organization_id", noted.iter().map(|noted| noted.organization.as_str()))
            .int("hour", noted.iter().map(|noted| noted.hour))
            .int("changes", noted.iter().map(|noted| noted.changes));
        let sql = "with {k} delete from rollup_dirty where (organization_id, hour, changes) in (select organization_id, hour, changes from k)";
        E::execute(&mut transaction, sql, &[], Some(&rows)).await?;
    }
    transaction.commit().await?;
    Ok(noted.len())
}

/// Sums up one hour anew.
async fn one<E: Engine>(connection: &mut E::Connection, noted: &Noted) -> Outcome<()> {
    let key = [Value::Text(&noted.organization), Value::Int(noted.hour)];
    for table in ["rollup_totals", "rollup_segments"] {
        let sql = format!("delete from {table} where organization_id = $1 and hour = $2");
        E::execute(connection, &sql, &key, None).await?;
    }
    let Some(hour) = Hour::read::<E>(connection, &noted.organization, noted.hour).await? else { return Ok(()) };
    for (table, columns) in [("rollup_totals", hour.totals()), ("rollup_segments", hour.segment())] {
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let places: Vec<String> = (3..columns.len() + 3).map(|place| format!("${place}")).collect();
        let sql =
            format!("insert into {table} (organization_id, hour, {}) values ($1, $2, {})", names.join(", "), places.join(", "));
        let values: Vec<Value<'_>> = key.iter().copied().chain(columns.iter().map(|(_, cell)| cell.as_value())).collect();
        E::execute(connection, &sql, &values, None).await?;
    }
    Ok(())
}
