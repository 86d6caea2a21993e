//! No statement of the queue, of a list or of the housekeeping walks what it does not return.

use sqlx::{AssertSqlSafe, Row};

use super::super::engine::Engine;
use super::super::{housekeeping, lanes, listing, queue, revive};
use super::*;

/// Returns the statements, with how many values come before the rows, and how many columns the rows have.
fn statements<E: Engine>() -> Vec<(String, usize, &'static [&'static str])> {
    const FINISHED: &[&str] =
        &["organization_id", "endpoint_id", "delivery_id", "attempt_count", "attempt", "tried", "status", "taken", "ended_at"];
    const AGAIN: &[&str] =
        &["organization_id", "endpoint_id", "delivery_id", "attempt_count", "attempt", "tried", "next_attempt_at"];
    let mut statements: Vec<(String, usize, &'static [&'static str])> = vec![
        (queue::claim_sql::<E>(), 5, &[]),
        (queue::TRY_AGAIN.to_owned(), 0, AGAIN),
        (revive::hurry_sql::<E>(revive::MISSED), 6, &[]),
        (queue::NOTE_HEALTH.to_owned(), 0, &["organization_id", "endpoint_id", "has_succeeded", "failing_since"]),
        (lanes::SETTLE.to_owned(), 2, &["organization_id", "endpoint_id", "conversation_id"]),
        (housekeeping::OLD_DELIVERIES.to_owned(), 2, &[]),
        (housekeeping::OLD_CONVERSATIONS.to_owned(), 2, &[]),
        (housekeeping::OLD_MESSAGES.to_owned(), 2, &[]),
        (listing::event_types_sql("pending", false), 2, &[]),
        (listing::event_types_sql("ended", true), 3, &[]),
    ];
    statements.extend(queue::end_sql::<E>().into_iter().map(|sql| (sql, 0, FINISHED)));
    for has_place in [false, true] {
        let places = if has_place { 2 } else { 0 };
        statements.push((listing::stream_sql("pending", false, has_place), 4 + places, &[]));
        statements.push((listing::stream_sql("ended", true, has_place), 5 + places, &[]));
    }
    statements
}

#[tokio::test]
async fn every_statement_follows_an_index() {
    let fixture = sqlite().await.unwrap();
    let Database::Sqlite(sqlite) = &fixture.database else { panic!("SQLite") };
    for (sql, values, names) in statements::<sqlx::Sqlite>() {
        let rows: Vec<String> = (0..names.len()).map(|place| format!("${}", values + place + 1)).collect();
        let rows = format!("k ({}) as (values ({}), ({}))", names.join(", "), rows.join(", "), rows.join(", "));
        let explained = format!("explain query plan {}", sql.replace("{k}", &rows));
        let plan = sqlx::query(AssertSqlSafe(explained)).fetch_all(sqlite.writer()).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(3)).collect();
        for step in &plan {
            let walks = step.starts_with("SCAN")
                && !["k", "due", "first", "types", "CONSTANT", "2 CONSTANT"].iter().any(|small| step[5..].starts_with(small));
            assert!(!walks && !step.contains("AUTOMATIC") && !step.contains("TEMP B-TREE"), "{sql}\n{plan:#?}");
        }
    }
    // The endpoints themselves are walked; of what is pending for each, one row is read.
    let explained = format!("explain query plan {}", queue::ENDPOINTS_WITH_WORK);
    let plan = sqlx::query(AssertSqlSafe(explained)).fetch_all(sqlite.writer()).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(3)).collect();
    assert!(plan.iter().any(|step| step.starts_with("SEARCH p USING COVERING INDEX pending_due")), "{plan:#?}");
}

/// Fills both tables as they are at a busy endpoint's: most has ended, much is pending later or held back.
async fn fill(pool: &sqlx::PgPool) {
    let pending = "insert into pending
        select 'acme', ('00000000-0000-0000-0000-' || lpad((n % 50)::text, 12, '0'))::uuid, gen_random_uuid(), gen_random_uuid(),
            gen_random_uuid(), n, 'turn.added', 0, 0, n, case when n % 3 = 0 then null else n end, n % 3 = 0, false, n, ''
        from generate_series(1, 20000) as n";
    let ended = "insert into ended
        select 'acme', ('00000000-0000-0000-0000-' || lpad((n % 50)::text, 12, '0'))::uuid, gen_random_uuid(), gen_random_uuid(),
            gen_random_uuid(), n, 'turn.added', 'succeeded', 1, 1, n, n, ''
        from generate_series(1, 20000) as n";
    for sql in [pending, ended, "analyze pending", "analyze ended"] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_looked_for_often_is_found_at_once_among_much_else() {
    let Some(fixture) = postgres().await else { return };
    let Database::Postgres(pool) = &fixture.database else { panic!("PostgreSQL") };
    for number in 0..50 {
        fixture.create(&endpoint("acme", number)).await;
    }
    fill(pool).await;
    let explain = async |sql: String| -> String {
        let rows = sqlx::query(AssertSqlSafe(format!("explain {sql}"))).fetch_all(pool).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
    };
    let id = "'00000000-0000-0000-0000-000000000001'";
    let with = |sql: String, values: &[&str]| {
        let numbered = values.iter().enumerate().rev();
        numbered.fold(sql, |sql, (place, value)| sql.replace(&format!("${}", place + 1), value))
    };
    let plan = explain(with(queue::claim_sql::<sqlx::Postgres>(), &["'acme'", id, "5", "6", "10"])).await;
    assert!(plan.contains("pending_due") && !plan.contains("Seq Scan"), "{plan}");
    let plan = explain(with(queue::ENDPOINTS_WITH_WORK.to_owned(), &["5"])).await;
    assert!(plan.contains("pending_due") && !plan.contains("Seq Scan on pending"), "{plan}");
    let types = with(listing::event_types_sql("pending", false), &["'acme'", id]);
    let stream = listing::stream_sql("ended", true, true);
    let stream = with(stream, &["'acme'", id, "'turn.added'", "'succeeded'", "500", id, "30"]);
    let lanes = "k (organization_id, endpoint_id, conversation_id) as (select * from unnest(array['acme'], array[gen_random_uuid()], \
         array[gen_random_uuid()]))";
    let settle = with(lanes::SETTLE.to_owned(), &["5", "null"]).replace("{k}", lanes);
    let old = with(housekeeping::OLD_DELIVERIES.to_owned(), &["5", "10"]);
    for (sql, index) in [(types, "pending_newest"), (stream, "ended_newest"), (settle, "pending_lane"), (old, "ended_at")] {
        let plan = explain(sql).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
}
