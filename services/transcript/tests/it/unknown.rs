//! What a newer release says: kept by the reader of this one, and picked up by the one that knows it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colloquy_events::{Data, Event, Facts, Record, Role, Turn};
use colloquy_log_client::{UnknownEvent, UnknownEvents, run};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::Progress;
use colloquy_service::transport::LocalSlot;
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_testkit::until;
use colloquy_transcript::NAME;
use colloquy_transcript::fold::fold;
use colloquy_transcript::kept::events;
use colloquy_transcript::reader::Reader;
use colloquy_transcript::search;
use colloquy_transcript::store::{self, Conversation};
use colloquy_types::{ConversationId, EventId, ManualClock, Position, Provider, RecordId, Timestamp, TurnId};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::samples::organization;

const LIMIT: Duration = Duration::from_secs(20);
/// The number of a field that no release has yet.
const FROM_THE_FUTURE: u32 = 1_999;

fn id() -> ConversationId {
    ConversationId::derive(&organization(), Provider::Native, "c1")
}

fn event(number: u32, data: Data) -> Event {
    Event {
        event_id: EventId::derive(id(), &["event", &number.to_string()]),
        conversation_id: id(),
        provider: Provider::Native,
        external_id: "c1".to_owned(),
        occurred_at: Timestamp::from_millis(i64::from(number)).unwrap(),
        ordinal: 0,
        data,
    }
}

fn said(number: u32, text: &str) -> Event {
    let turn_id = TurnId::derive(id(), &number.to_string());
    event(number, Data::TurnAdded(Turn { text: Some(text.to_owned()), ..Turn::new(turn_id, Role::User) }))
}

fn field(number: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend(content);
}

fn plain(event: Event) -> Vec<u8> {
    pb::Event::from(event).encode_to_vec()
}

/// Returns an event of a kind that nobody knows yet.
fn of_a_newer_kind(number: u32) -> Vec<u8> {
    let mut bytes = pb::Event { data: None, ..event(number, Data::Started(Facts::default())).into() }.encode_to_vec();
    field(FROM_THE_FUTURE, b"what it says", &mut bytes);
    bytes
}

/// Returns an event of a known kind with a word that nobody knows yet.
fn with_a_newer_word(number: u32) -> Vec<u8> {
    let mut message = pb::Event::from(said(number, "hello"));
    let Some(pb::event::Data::TurnAdded(added)) = &mut message.data else { panic!("a turn") };
    added.turn.as_mut().unwrap().role = "oracle".to_owned();
    message.encode_to_vec()
}

fn record(sequence: u64, events: &[Vec<u8>]) -> Bytes {
    let record = Record {
        record_id: RecordId::generate(),
        organization_id: organization(),
        source_id: None,
        received_at: Timestamp::default(),
        events: Vec::new(),
        traceparent: String::new(),
        sequence,
    };
    let mut bytes = pb::Record::from(record).encode_to_vec();
    events.iter().for_each(|event| field(5, event, &mut bytes));
    bytes.into()
}

/// A log that hands out the same batch to everybody.
#[derive(Clone)]
struct Log(Vec<Bytes>);

fn not_asked_for<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not asked for here"))
}

#[tonic::async_trait]
impl EventLogService for Log {
    type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

    async fn consume(&self, _: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        let batch = pb::ConsumeResponse { batch_id: 1, records: self.0.clone(), delivery_count: 1, ..Default::default() };
        Ok(Response::new(futures::stream::iter([Ok(batch)]).chain(futures::stream::pending()).boxed()))
    }

    async fn append(&self, _: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        not_asked_for()
    }

    async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        not_asked_for()
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        not_asked_for()
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        not_asked_for()
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        not_asked_for()
    }
}

/// Runs the reader over `records` until it has read them and `holds` holds.
async fn read(database: &Database, records: Vec<Bytes>, last: u64, holds: impl AsyncFn() -> bool) {
    let slot = LocalSlot::new();
    slot.fill(Routes::new(EventLogServiceServer::new(Log(records))).into_axum_router());
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let reader = Arc::new(Reader::new(store::open(database), search::store::open(database), clock, UnknownEvents::of(database)));
    let (progress, stop) = (Progress::starting_at(Position::START), CancellationToken::new());
    let running = tokio::spawn(run(reader, slot.transport(), progress.clone(), stop.clone()));
    until(LIMIT, "all is read", || async { progress.current() >= Position::end_of(last) && holds().await }).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

async fn texts(database: &Database) -> Vec<String> {
    let Conversation::Known(kept) = store::open(database).conversation(&organization(), id()).await.unwrap() else {
        return Vec::new();
    };
    let transcript = fold(&events(id(), &kept).unwrap());
    transcript.turns.into_iter().filter_map(|turn| turn.text).collect()
}

async fn what_a_newer_release_says_is_kept_until_it_is_known(url: DatabaseUrl) {
    let database = Database::open(&url, NAME, Durability::Lazy, &store::migrations()).await.unwrap();
    let unknown = UnknownEvents::of(&database);
    let newer = [of_a_newer_kind(2), with_a_newer_word(3)];
    let all = [vec![plain(said(1, "one"))], newer.to_vec(), vec![plain(said(4, "four"))]].concat();
    // It is handed out twice: acknowledgements get lost.
    for _ in 0..2 {
        let records = vec![record(1, &all), record(2, &[plain(said(5, "five"))])];
        read(&database, records, 2, async || true).await;
        assert_eq!(texts(&database).await, ["one", "four", "five"]);
        assert_eq!(unknown.count().await.unwrap(), 2);
    }
    let kept: Vec<Vec<u8>> = {
        let all = "select event from unknown_events order by position";
        match &database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(all).fetch_all(sqlite.readers()).await.unwrap(),
            Database::Postgres(pool) => sqlx::query_scalar(all).fetch_all(pool).await.unwrap(),
        }
    };
    assert_eq!(kept, newer, "nothing of it is lost");

    // What an older release did not know, and this one does.
    let known = UnknownEvent {
        organization_id: organization(),
        conversation_id: id(),
        event_id: said(6, "").event_id,
        position: Position::end_of(1),
        received_at: Timestamp::default(),
        event: plain(said(6, "six")),
    };
    unknown.keep(&[known]).await.unwrap();
    assert_eq!(unknown.count().await.unwrap(), 3);
    read(&database, vec![record(3, &[plain(said(7, "seven"))])], 3, async || unknown.count().await.unwrap() == 2).await;
    assert_eq!(texts(&database).await, ["one", "four", "five", "six", "seven"]);
    let (six, organization) = ("six".parse().unwrap(), organization());
    let found = search::store::open(&database).matching(&organization, &six, &[], 9).await.unwrap();
    assert_eq!(found.conversations, [id()], "what is known later is found, too");
    assert!(store::open(&database).position().await.unwrap() >= Position::end_of(3));
    database.close().await;
}

#[tokio::test]
async fn what_a_newer_release_says_is_kept_until_it_is_known_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    what_a_newer_release_says_is_kept_until_it_is_known(DatabaseUrl::SqliteFolder(folder.path().to_owned())).await;
}

#[tokio::test]
async fn what_a_newer_release_says_is_kept_until_it_is_known_on_postgresql() {
    if let Some(url) = colloquy_testkit::postgres::database_url().await {
        what_a_newer_release_says_is_kept_until_it_is_known(DatabaseUrl::Postgres(url)).await;
    }
}
