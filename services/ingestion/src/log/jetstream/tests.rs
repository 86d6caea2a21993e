//! What only this engine can meet: servers that want to know who is there, a database that lost what it had noted.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::{Database, DatabaseUrl};
use colloquy_testkit::nats::{Nats, server_url};
use colloquy_types::SystemClock;
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
