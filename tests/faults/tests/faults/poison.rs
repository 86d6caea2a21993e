//! A record that no reader can apply.

use std::time::Duration;

use colloquy_faults::{Log, Scene};
use colloquy_testkit::until;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(20);

/// The tables that readers write, by schema.
const TABLES: [(&str, &str); 2] =
    [("colloquy_conversation_store", "conversations"), ("colloquy_transcript", "transcript_events")];

async fn poison(log: Log) {
    let mut scene = Scene::start("a record is poison", log).await;
    let poisonous = Uuid::now_v7();
    scene.exclude(&poisonous.to_string());
    let mut database = scene.postgres.connect().await.unwrap();
    // A rule of the database that one conversation breaks: what a fault in a reader's code looks like to the loop around it.
    for (schema, table) in TABLES {
        let rule = format!("alter table {schema}.{table} add constraint poison check (conversation_id <> '{poisonous}')");
        sqlx::query(AssertSqlSafe(rule)).execute(&mut database).await.unwrap();
    }
    let stream = scene.stream();
    stream.reaches(20).await;
    let event = json!({"event_id": "poison", "conversation_id": poisonous, "type": "turn.added",
                       "data": {"role": "user", "text": "words", "index": 0}});
    // It is acknowledged: the log has it, and what becomes of it is the readers' business.
    scene.server.post("/v1/events", &json!({ "events": [event] })).await;
    for (schema, _) in TABLES {
        let count = format!("select count(*) from {schema}.set_aside");
        let mut kept = 0_i64;
        for _ in 0..1_000 {
            kept = sqlx::query_scalar(AssertSqlSafe(count.clone())).fetch_one(&mut database).await.unwrap();
            if kept > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(kept, 1, "{schema} set aside");
    }
    database.close().await.ok();
    let counted = || async {
        let metrics = scene.server.metrics_text().await;
        let counts = metrics.lines().filter(|line| line.starts_with("colloquy_reader_set_aside_records_total{"));
        counts.filter(|line| !line.ends_with(" 0")).count() == TABLES.len()
    };
    until(LIMIT, "both readers count what they set aside", counted).await;
    let read = scene.server.request(Method::GET, &format!("/v1/conversations/{poisonous}")).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::NOT_FOUND);
    scene.holds(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by tests/run faults"]
async fn a_poison_record_is_set_aside_with_jetstream() {
    poison(Log::jetstream().await).await;
}
