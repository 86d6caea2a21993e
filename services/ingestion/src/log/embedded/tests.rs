//! Faults that only this engine can have: a file that refuses, a file in somebody else's hands.

use std::sync::Arc;

use colloquy_events::{Data, Event, Facts, Record};
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, Position, Provider, RecordId, SystemClock, Timestamp};
use futures::future::join_all;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{FILE_NAME, LogSettings, open};
use crate::log::{EventLog, LogError, NewRecord};

async fn log_in(folder: &TempDir) -> Arc<dyn EventLog> {
    let stop = CancellationToken::new();
    let (log, tasks) = open(folder.path(), LogSettings::default(), Arc::new(SystemClock), stop).await.unwrap();
    for task in tasks {
        // Ends with the test's runtime.
        tokio::spawn(task.work);
    }
    log
}

async fn beside(folder: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.path().join(FILE_NAME));
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn record(organization: &str) -> NewRecord {
    let conversation_id = ConversationId::generate();
    let event = Event {
        event_id: EventId::generate(),
        conversation_id,
        provider: Provider::Native,
        external_id: conversation_id.to_string(),
        occurred_at: Timestamp::default(),
        ordinal: 0,
        data: Data::Started(Facts::default()),
    };
    NewRecord::from(Record {
        record_id: RecordId::generate(),
        organization_id: organization.parse().unwrap(),
        source_id: None,
        received_at: Timestamp::default(),
        events: vec![event],
        traceparent: String::new(),
        sequence: 0,
    })
}

#[tokio::test]
async fn a_record_the_file_refuses_fails_alone() {
    let folder = TempDir::new().unwrap();
    let log = log_in(&folder).await;
    sqlx::query(
        "create trigger refusal before insert on records when new.organization_id = 'poison'
         begin select raise(abort, 'refused'); end",
    )
    .execute(&mut beside(&folder).await)
    .await
    .unwrap();
    let names = ["a", "poison", "b", "c", "poison", "d"];
    let answers = join_all(names.map(|name| log.append(vec![record(name)]))).await;
    for (name, answer) in names.iter().zip(&answers) {
        assert_eq!(answer.is_ok(), *name != "poison", "{name}: {answer:?}");
    }
    assert_eq!(log.end().await.unwrap(), Position::end_of(4));
    assert_eq!(log.append(vec![record("e")]).await.unwrap().position, Position::new(5, 0));
}

#[tokio::test]
async fn a_file_in_other_hands_refuses_all_and_keeps_nothing() {
    let folder = TempDir::new().unwrap();
    let log = log_in(&folder).await;
    let mut other = beside(&folder).await;
    let held = other.begin_with("begin immediate").await.unwrap();
    let records = [record("a"), record("b"), record("c")];
    for answer in join_all(records.clone().map(|record| log.append(vec![record]))).await {
        assert!(matches!(answer, Err(LogError::Store(StoreError::Unavailable(_)))), "{answer:?}");
    }
    held.rollback().await.unwrap();
    let appended = log.append(records.to_vec()).await.unwrap();
    assert_eq!((appended.accepted, appended.duplicates, appended.position), (3, 0, Position::new(3, 0)));
}

#[tokio::test]
async fn an_append_after_the_end_is_told_so() {
    let folder = TempDir::new().unwrap();
    let stop = CancellationToken::new();
    let (log, tasks) = open(folder.path(), LogSettings::default(), Arc::new(SystemClock), stop.clone()).await.unwrap();
    let waiting = log.append(vec![record("a")]);
    stop.cancel();
    let ((), waiting) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            for task in tasks {
                task.work.await.unwrap();
            }
        },
        waiting
    );
    assert_eq!(waiting.unwrap().accepted, 1, "what was queued is written");
    assert!(matches!(log.append(vec![record("a")]).await, Err(LogError::Closed)));
}
