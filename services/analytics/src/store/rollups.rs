//! Sums up hours of conversations, so that questions over long times do not read every conversation.
//!
//! Whoever changes a row of `features` notes the hour it began in, in the same transaction. The hours noted are summed up anew from
//! the rows, again in one transaction that takes the note away; until then queries read the rows of such an hour themselves. So what
//! is summed up is never older than what a query takes it for, and a crash leaves nothing half done.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use colloquy_storage::engine::{Columns, Engine, Outcome, Rows, Value};
use colloquy_storage::{Database, StoreError};
use sqlx::Pool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::query::rolled::Hour;
use crate::query::slots::Slot;
use crate::query::table::Partial;
use crate::query::totals::{COUNT, Day, FIGURES, Figure, HOURS};

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
    let mut days: BTreeMap<(&str, i64), Vec<Summed>> = BTreeMap::new();
    for noted in &noted {
        let hour = Hour::read::<E>(&mut transaction, &noted.organization, noted.hour).await?;
        write_segment::<E>(&mut transaction, noted, hour.as_ref()).await?;
        let summed = Summed {
            place: usize::try_from(noted.hour.rem_euclid(HOURS)).unwrap_or_default(),
            totals: hour.map_or_else(|| vec![Partial::default(); FIGURES.len()], |hour| hour.totals()),
        };
        days.entry((&noted.organization, noted.hour.div_euclid(HOURS))).or_default().push(summed);
    }
    for ((organization, day), hours) in &days {
        write_day::<E>(&mut transaction, organization, *day, hours).await?;
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

/// Keeps an hour in columns in place of what was kept of it.
async fn write_segment<E: Engine>(connection: &mut E::Connection, noted: &Noted, hour: Option<&Hour>) -> Outcome<()> {
    let key = [Value::Text(&noted.organization), Value::Int(noted.hour)];
    E::execute(connection, "delete from rollup_segments where organization_id = $1 and hour = $2", &key, None).await?;
    let Some(hour) = hour else { return Ok(()) };
    let columns = hour.segment();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let places: Vec<String> = (3..columns.len() + 3).map(|place| format!("${place}")).collect();
    let sql = format!(
        "insert into rollup_segments (organization_id, hour, {}) values ($1, $2, {})",
        names.join(", "),
        places.join(", ")
    );
    let values: Vec<Value<'_>> = key.iter().copied().chain(columns.iter().map(|(_, cell)| cell.as_value())).collect();
    E::execute(connection, &sql, &values, None).await?;
    Ok(())
}

/// What an hour of a day comes to.
struct Summed {
    place: usize,
    /// Of each of [`FIGURES`].
    totals: Vec<Partial>,
}

/// Puts hours of a day in the place of what was known of them. Days come in one order everywhere, so that no two transactions wait for
/// each other.
async fn write_day<E: Engine>(connection: &mut E::Connection, organization: &str, day: i64, hours: &[Summed]) -> Outcome<()> {
    let key = [Value::Text(organization), Value::Int(day)];
    // Whoever else sums up an hour of a day of which nothing is known yet waits here, and where something is, for the rows.
    let empty = Day::empty(&Slot::Count);
    let sql = "insert into rollup_totals (organization_id, figure, day, hours) values ($1, $3, $2, $4) \
               on conflict (organization_id, figure, day) do nothing";
    let values = [key[0], key[1], Value::Text(COUNT), Value::Bytes(empty.bytes())];
    E::execute(connection, sql, &values, None).await?;
    let names = || FIGURES.iter().map(|figure| figure.name.as_str());
    let quoted: Vec<String> = names().map(|name| format!("'{name}'")).collect();
    let one_of = format!("organization_id = $1 and day = $2 and figure in ({})", quoted.join(", "));
    let sql = format!("select figure, hours from rollup_totals where {one_of} order by figure {}", E::FOR_UPDATE);
    let mut known: HashMap<String, Vec<u8>> = HashMap::new();
    for row in &E::query(connection, &sql, &key, None).await? {
        let mut columns = Columns::<E>::of(row);
        known.insert(columns.text()?, columns.bytes()?);
    }
    let days: Vec<Day> = (FIGURES.iter().enumerate())
        .map(|(number, Figure { name, slot })| {
            let known = known.remove(name).and_then(|bytes| Day::read(slot, bytes));
            let mut day = known.unwrap_or_else(|| Day::empty(slot));
            for Summed { place, totals } in hours {
                day.set(slot, *place, &totals[number]);
            }
            day
        })
        .collect();
    // The first says in which hours there were any.
    if days.first().is_none_or(Day::is_empty) {
        E::execute(connection, &format!("delete from rollup_totals where {one_of}"), &key, None).await?;
        return Ok(());
    }
    let sql = "with {k} insert into rollup_totals (organization_id, figure, day, hours) \
               select cast($1 as text), k.figure, cast($2 as bigint), k.hours from k where true \
               on conflict (organization_id, figure, day) do update set hours = excluded.hours";
    let rows = Rows::new(days.len()).text("figure", names()).opt_bytes("hours", days.iter().map(|day| Some(day.bytes())));
    E::execute(connection, sql, &key, Some(&rows)).await?;
    Ok(())
}
