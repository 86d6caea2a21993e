//! What only this engine can meet: servers that want to know who is there, a database that lost what it had noted.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::{Database, DatabaseUrl};
use colloquy_testkit::nats::{Nats, server_url};
use colloquy_types::{ConversationId, Position, SystemClock};
use futures::StreamExt;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::{Index, JetStreamSettings};
use crate::{MasterKey, Settings};

async fn database(folder: &TempDir) -> Database {
    let settings = Settings {
        database: DatabaseUrl::SqliteFolder(folder.path().to_owned()),
        ..Settings::in_folder(folder.path().to_owned(), MasterKey::new([7; 32]))
    };
    crate::store::open(&settings).await.unwrap().0
}

async fn open(url: String, database: &Database) -> anyhow::Result<Arc<Link>> {
    Link::open(JetStreamSettings::on(vec![url]), Index::of(database), Duration::from_secs(2)).await
}

#[tokio::test]
async fn the_address_says_who_it_is_and_no_error_repeats_it() {
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start_with(&["--user", "colloquy", "--pass", "s3cret@pw"]).await, TempDir::new().unwrap());
    let database = database(&folder).await;
    let address = nats.address();
    let link = open(format!("nats://colloquy:s3cret%40pw@{address}"), &database).await.unwrap();
    assert_eq!(link.extent(&link.epoch().await.unwrap()).await.unwrap().last, 0);
    let error = open(format!("nats://colloquy:wr0ng@{address}"), &database).await.err().unwrap();
    let text = format!("{error:#}");
    assert!(text.contains("authorization") && !text.contains("wr0ng"), "{text}");
}

#[tokio::test]
async fn another_programs_stream_is_left_alone() {
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start().await, TempDir::new().unwrap());
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let config = async_nats::jetstream::stream::Config {
        name: "COLLOQUY".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let error = open(nats.url(), &database(&folder).await).await.err().unwrap();
    assert!(format!("{error:#}").contains("log-stream"), "{error:#}");
}

/// What a crash between publishing and noting leaves out.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_finds_what_the_index_never_noted() {
    use crate::log::{LogSettings, NewRecord};
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start().await, TempDir::new().unwrap());
    let database = database(&folder).await;
    let stop = CancellationToken::new();
    let settings = JetStreamSettings::on(vec![nats.url()]);
    let opened = super::open(settings, LogSettings::default(), &database, Arc::new(SystemClock), stop.clone()).await;
    let (log, tasks) = opened.unwrap();
    let tasks: Vec<_> = tasks.into_iter().map(|task| tokio::spawn(task.work)).collect();
    let record = crate::log::conformance::a_record();
    let (organization, conversation) = (record.organization_id.clone(), record.events[0].conversation_id);
    log.append(vec![NewRecord::from(record.clone())]).await.unwrap();
    Index::of(&database).forget_records(0, u64::MAX).await.unwrap();
    assert_eq!(log.erase(&organization, conversation).await.unwrap(), record.events.len() as u64);
    assert_eq!(log.append(vec![NewRecord::from(record)]).await.unwrap().accepted, 0);
    stop.cancel();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

/// A server that lost power may lose what it had acknowledged, and would give the same numbers out again.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_the_stream_lost_are_used_up() {
    use crate::log::{LogSettings, NewRecord};
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start().await, TempDir::new().unwrap());
    let database = database(&folder).await;
    let index = Index::of(&database);
    let record = crate::log::conformance::a_record();
    let lost = |sequence| super::index::Row {
        organization: record.organization_id.clone(),
        conversation: record.events[0].conversation_id,
        event: record.events[0].event_id,
        sequence,
    };
    drop(open(nats.url(), &database).await.unwrap());
    index.insert(&[lost(1), lost(2), lost(3)]).await.unwrap();
    let settings = JetStreamSettings::on(vec![nats.url()]);
    let opened = super::open(settings, LogSettings::default(), &database, Arc::new(SystemClock), CancellationToken::new()).await;
    let (log, tasks) = opened.unwrap();
    let _tasks: Vec<_> =
        tasks.into_iter().map(|task| tokio_util::task::AbortOnDropHandle::new(tokio::spawn(task.work))).collect();
    assert_eq!(log.end().await.unwrap().sequence(), 3);
    let appended = log.append(vec![NewRecord::from(record)]).await.unwrap();
    assert_eq!((appended.accepted, appended.position.sequence()), (3, 4), "what was lost is taken again, under a new number");
}

/// What stands behind the last record tells nobody that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_in_no_record_is_read_to_its_end() {
    use crate::log::{LogSettings, NewRecord, TailRequest, tail};
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start().await, TempDir::new().unwrap());
    let database = database(&folder).await;
    let stop = CancellationToken::new();
    let settings = JetStreamSettings::on(vec![nats.url()]);
    let opened = super::open(settings, LogSettings::default(), &database, Arc::new(SystemClock), stop.clone()).await;
    let (log, tasks) = opened.unwrap();
    let _tasks: Vec<_> =
        tasks.into_iter().map(|task| tokio_util::task::AbortOnDropHandle::new(tokio::spawn(task.work))).collect();
    // Whoever follows lets the newest records be kept in memory.
    let mut following = Box::pin(tail(Arc::clone(&log), TailRequest::default(), stop.clone()).await.unwrap());
    let limit = Duration::from_secs(20);
    for _ in 0..2 {
        let record = crate::log::conformance::a_record();
        let events = record.events.len();
        log.append(vec![NewRecord::from(record)]).await.unwrap();
        for _ in 0..events {
            tokio::time::timeout(limit, following.next()).await.expect("it follows").unwrap().unwrap();
        }
    }
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.publish("COLLOQUY.1.skip", "".into()).await.unwrap().await.unwrap();
    assert_eq!(log.end().await.unwrap().sequence(), 3);
    let of_nobody = TailRequest {
        after: Some(Position::end_of(1)),
        conversation: Some(ConversationId::generate()),
        until_end: true,
        ..TailRequest::default()
    };
    let found = tail(Arc::clone(&log), of_nobody, stop).await.unwrap();
    assert_eq!(tokio::time::timeout(limit, found.count()).await.expect("it ends"), 0);
}

/// Who waits for the end of the log must not wait for the next record.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_read_every_record_has_come_to_the_end() {
    use crate::log::{ConsumerStart, LogSettings, NewRecord};
    if server_url().is_none() {
        return;
    }
    let (nats, folder) = (Nats::start().await, TempDir::new().unwrap());
    let database = database(&folder).await;
    let settings = JetStreamSettings::on(vec![nats.url()]);
    let opened = super::open(settings, LogSettings::default(), &database, Arc::new(SystemClock), CancellationToken::new()).await;
    let (log, tasks) = opened.unwrap();
    let _tasks: Vec<_> =
        tasks.into_iter().map(|task| tokio_util::task::AbortOnDropHandle::new(tokio::spawn(task.work))).collect();
    log.append(vec![NewRecord::from(crate::log::conformance::a_record())]).await.unwrap();
    let start = ConsumerStart { name: "reader".to_owned(), organization: None, after: None, max_events: 10 };
    let mut reader = log.consumer(start).await.unwrap();
    let batch = reader.next().await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.publish("COLLOQUY.1.skip", "".into()).await.unwrap().await.unwrap();
    let reached = async || {
        let state = log.consumer_state(None, "reader").await.unwrap().unwrap();
        (state.acknowledged, state.end) == (Position::end_of(2), Position::end_of(2))
    };
    assert!(!reached().await, "it has not acknowledged yet");
    reader.acknowledge(batch.batch_id);
    let waiting = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it has come to the end");
}
