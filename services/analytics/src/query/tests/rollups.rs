//! What is summed up is never older than what a query takes it for.

use colloquy_storage::Database;
use colloquy_storage::engine::{Columns, Engine};
use sqlx::Pool;

use super::data::{Made, made_up};
use super::{Fixture, NOW, measure, number, question, time};
use crate::query::totals::FIGURES;
use crate::store::rollups::sum_up;

async fn count_rows<E: Engine>(pool: &Pool<E>, table: &str) -> i64 {
    let mut connection = pool.acquire().await.unwrap();
    let rows = E::query(&mut connection, &format!("select count(*) from {table}"), &[], None).await.unwrap();
    Columns::<E>::of(&rows[0]).int().unwrap()
}

impl Fixture {
    async fn rows_of(&self, table: &str) -> i64 {
        match &self.database {
            Database::Sqlite(sqlite) => count_rows(sqlite.readers(), table).await,
            Database::Postgres(pool) => count_rows(pool, table).await,
        }
    }

    /// Returns count and sum of duration: from totals, and from segments.
    async fn both(&self) -> [(Option<f64>, Option<f64>); 2] {
        let mut found = Vec::new();
        for dimensions in [&[][..], &["cost_currency"]] {
            let asked = vec![measure("", "count", "n"), measure("duration_seconds", "sum", "sum")];
            let rows =
                self.ask(&question(asked, dimensions, "", "UTC", "2026-03-01T00:00:00Z", "2026-07-01T00:00:00Z")).await.rows;
            found.push(rows.first().map_or((Some(0.0), Some(0.0)), |row| (number(row, "n"), number(row, "sum"))));
        }
        [found[0], found[1]]
    }
}

pub(super) async fn a_change_after_the_summing_up_is_seen_at_once(fixture: &Fixture) {
    let call = Made::at(1, "2026-03-27T10:00:00Z");
    fixture.write(&[call.clone(), Made::at(2, "2026-03-28T10:00:00Z")]).await;
    fixture.sum_up().await;
    assert_eq!(fixture.rows_of("rollup_segments").await, 2);
    assert_eq!(fixture.rows_of("rollup_totals").await, 2 * FIGURES.len() as i64);
    assert_eq!(fixture.rows_of("rollup_dirty").await, 0);
    assert_eq!(fixture.both().await, [(Some(2.0), Some(120.0)); 2]);
    fixture.write(&[Made { duration: Some(90_000), ..call.clone() }]).await;
    assert_eq!(fixture.both().await, [(Some(2.0), Some(150.0)); 2]);
    fixture.sum_up().await;
    assert_eq!(fixture.both().await, [(Some(2.0), Some(150.0)); 2]);
    // It began earlier than was thought: both hours are noted.
    let moved = Made { created_at: time("2026-03-20T10:00:00Z").as_millis(), ..call.clone() };
    fixture.remove(&[call]).await;
    fixture.write(&[moved]).await;
    assert_eq!(fixture.both().await, [(Some(2.0), Some(120.0)); 2]);
    fixture.sum_up().await;
    assert_eq!(fixture.both().await, [(Some(2.0), Some(120.0)); 2]);
    assert_eq!(fixture.rows_of("rollup_segments").await, 2);
    assert_eq!(fixture.rows_of("rollup_totals").await, 2 * FIGURES.len() as i64);
}

pub(super) async fn what_is_removed_leaves_the_totals(fixture: &Fixture) {
    let calls = [Made::at(1, "2026-03-27T10:00:00Z"), Made::at(2, "2026-03-27T10:30:00Z")];
    fixture.write(&calls).await;
    fixture.sum_up().await;
    fixture.remove(&calls[..1]).await;
    assert_eq!(fixture.both().await, [(Some(1.0), Some(60.0)); 2]);
    fixture.remove(&calls[1..]).await;
    fixture.sum_up().await;
    assert_eq!(fixture.both().await, [(Some(0.0), Some(0.0)); 2]);
    for table in ["rollup_totals", "rollup_segments", "rollup_dirty"] {
        assert_eq!(fixture.rows_of(table).await, 0, "{table}");
    }
}

pub(super) async fn the_newest_hour_is_left_alone(fixture: &Fixture) {
    fixture.write(&[Made::at(1, "2026-05-31T23:30:00Z"), Made::at(2, "2026-05-31T22:30:00Z")]).await;
    assert_eq!(sum_up(&fixture.database, time(NOW).as_millis()).await.unwrap(), 1);
    assert_eq!(sum_up(&fixture.database, time(NOW).as_millis()).await.unwrap(), 0);
    assert_eq!(fixture.rows_of("rollup_dirty").await, 1);
    assert_eq!(fixture.both().await, [(Some(2.0), Some(120.0)); 2]);
    assert_eq!(sum_up(&fixture.database, time("2026-06-01T00:10:00Z").as_millis()).await.unwrap(), 1);
}

pub(super) async fn two_that_sum_up_at_the_same_time_do_not_disturb_each_other(fixture: &Fixture) {
    fixture.write(&made_up(300, "2026-03-26T00:00:00Z", "2026-04-02T00:00:00Z", 8)).await;
    let before = fixture.both().await;
    let one = async || while sum_up(&fixture.database, time(NOW).as_millis()).await.unwrap() > 0 {};
    let more = async || {
        for seed in 9..14 {
            fixture.write(&made_up(20, "2026-03-26T00:00:00Z", "2026-04-02T00:00:00Z", seed)).await;
        }
    };
    tokio::join!(one(), one(), more());
    fixture.sum_up().await;
    assert_eq!(fixture.rows_of("rollup_dirty").await, 0);
    let summed_up = fixture.both().await;
    assert_eq!(summed_up[0].0, Some(400.0));
    assert_ne!(before, summed_up);
    assert_eq!(summed_up[0].1, {
        let by_rows = question(
            vec![measure("duration_seconds", "sum", "sum")],
            &["topic", "agent_id"],
            "",
            "UTC",
            "2026-03-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
        );
        let rows = fixture.ask(&by_rows).await.rows;
        // Those with two topics count twice there; only the ones with the second are taken from those without the first.
        let both = question(
            vec![colloquy_proto::analytics::v1::Measure {
                filter: super::filter(r#"topic:"billing" AND topic:"delivery""#),
                ..measure("duration_seconds", "sum", "sum")
            }],
            &[],
            "",
            "UTC",
            "2026-03-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
        );
        let twice = number(&fixture.ask(&both).await.rows[0], "sum").unwrap();
        let sum: f64 = rows.iter().filter_map(|row| number(row, "sum")).sum();
        Some(((sum - twice) * 1000.0).round() / 1000.0)
    });
}
