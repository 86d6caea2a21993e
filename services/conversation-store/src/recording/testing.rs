//! A conversation-store with recordings of its own for each test, over a log that is only a list.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colloquy_events::{Data, Event, Facts, Record, Recording, RecordingChannel};
use colloquy_log_client::Appender;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::Progress;
use colloquy_service::transport::LocalSlot;
use colloquy_storage::{Database, DatabaseUrl};
use colloquy_types::{Clock, ConversationId, EventId, ManualClock, OrganizationId, Position, Provider, RecordId, Timestamp};
use futures::stream::BoxStream;
use tempfile::TempDir;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::journal::Journal;
use super::objects::Objects;
use super::service::Recordings;
use super::store;
use crate::store::{ConversationStore, open_database, over};

/// The greatest recording of these tests.
const MAX_BYTES: u64 = 1 << 20;

pub(super) const NOW: i64 = 1_800_000_000_000;

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

pub(super) fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

/// The one conversation most tests speak of.
pub(super) fn conversation_id() -> ConversationId {
    ConversationId::derive(&organization("acme"), Provider::Retell, "call_1")
}

pub(super) struct World {
    pub(super) database: Database,
    pub(super) clock: ManualClock,
    pub(super) progress: Progress,
    pub(super) recordings: Arc<Recordings>,
    pub(super) log: Log,
    pub(super) folder: TempDir,
}

pub(super) async fn sqlite() -> Option<World> {
    let folder = TempDir::new().unwrap();
    let objects = in_folder(&folder);
    Some(World::over(&sqlite_in(&folder), objects, folder).await)
}

/// A world whose recordings are in a bucket; `None` where there is none.
pub(super) async fn s3() -> Option<World> {
    let url = format!("{}/{}", colloquy_testkit::s3::bucket_url()?, Uuid::now_v7().simple());
    Some(with_objects(Objects::open(&url.parse().unwrap(), MAX_BYTES).unwrap()).await)
}

/// A world with recordings in `objects`.
pub(super) async fn with_objects(objects: Objects) -> World {
    let folder = TempDir::new().unwrap();
    World::over(&sqlite_in(&folder), objects, folder).await
}

fn sqlite_in(folder: &TempDir) -> DatabaseUrl {
    DatabaseUrl::SqliteFolder(folder.path().join("database"))
}

fn in_folder(folder: &TempDir) -> Objects {
    let url = format!("file://{}", folder.path().join("objects").display());
    Objects::open(&url.parse().unwrap(), MAX_BYTES).unwrap()
}

pub(super) async fn postgres() -> Option<World> {
    let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
    let folder = TempDir::new().unwrap();
    let objects = in_folder(&folder);
    Some(World::over(&url, objects, folder).await)
}

impl World {
    async fn over(url: &DatabaseUrl, objects: Objects, folder: TempDir) -> Self {
        let database = open_database(url).await.unwrap();
        let clock = ManualClock::at(at(NOW));
        let progress = Progress::starting_at(Position::START);
        let log = Log(Arc::new(Shared {
            view: over(&database).await.unwrap(),
            progress: progress.clone(),
            clock: clock.clone(),
            is_down: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            written: Mutex::default(),
        }));
        let slot = LocalSlot::new();
        slot.fill(Routes::new(EventLogServiceServer::new(log.clone())).into_axum_router());
        let recordings = Arc::new(Recordings {
            store: store::over(&database),
            objects,
            journal: Journal::new(Appender::new(slot.transport()), Arc::new(clock.clone())),
            progress: progress.clone(),
        });
        Self { database, clock, progress, recordings, log, folder }
    }

    /// Makes the conversation exist.
    pub(super) async fn start_conversation(&self) {
        self.log.write(event("started", NOW, 0, Data::Started(Facts::default()))).await;
    }

    /// Announces a recording at `url`, in the delivery called `name`.
    pub(super) async fn announce(&self, name: &str, url: &str) {
        self.log.write(event(name, NOW, 0, available(url))).await;
    }
}

pub(super) fn available(url: &str) -> Data {
    Data::RecordingAvailable(Recording {
        url: Some(url.to_owned()),
        object_key: None,
        sha256: None,
        size_bytes: None,
        content_type: Some("audio/mpeg".to_owned()),
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    })
}

pub(super) fn event(name: &str, occurred_at: i64, ordinal: u32, data: Data) -> Event {
    Event {
        event_id: EventId::derive(conversation_id(), &[name]),
        conversation_id: conversation_id(),
        provider: Provider::Retell,
        external_id: "call_1".to_owned(),
        occurred_at: at(occurred_at),
        ordinal,
        data,
    }
}

/// A log whose readers are never behind.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

struct Shared {
    view: Arc<dyn ConversationStore>,
    progress: Progress,
    clock: ManualClock,
    is_down: AtomicBool,
    turn: tokio::sync::Mutex<()>,
    written: Mutex<Vec<Event>>,
}

impl Log {
    /// Makes the log refuse what is written, or take it again.
    pub(super) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Returns every event written so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.0.written.lock().unwrap().clone()
    }

    /// Returns the recordings that were stored, and why others were not.
    pub(super) fn outcomes(&self) -> Vec<Result<Recording, String>> {
        let outcome = |event: Event| match event.data {
            Data::RecordingAvailable(recording) if recording.object_key.is_some() => Some(Ok(recording)),
            Data::RecordingFailed(failed) => Some(Err(failed.reason)),
            _ => None,
        };
        self.events().into_iter().filter_map(outcome).collect()
    }

    /// Writes an event of organization `acme`.
    pub(super) async fn write(&self, event: Event) -> u64 {
        let organization_id = organization("acme");
        let record = Record {
            record_id: RecordId::derive(&organization_id, [event.event_id]),
            organization_id,
            source_id: None,
            received_at: self.0.clock.now(),
            events: vec![event],
            traceparent: String::new(),
            sequence: 0,
        };
        self.append_records(vec![record]).await
    }

    /// One after the other, and seen by tests once the view has it.
    async fn append_records(&self, mut records: Vec<Record>) -> u64 {
        let _turn = self.0.turn.lock().await;
        let mut written = self.events();
        let mut known: HashSet<EventId> = written.iter().map(|event| event.event_id).collect();
        for record in &mut records {
            record.events.retain(|event| known.insert(event.event_id));
            written.extend(record.events.iter().cloned());
            record.sequence = written.len() as u64;
        }
        let through = Position::end_of(written.len() as u64);
        self.0.view.apply(&records, through, self.0.clock.now()).await.unwrap();
        *self.0.written.lock().unwrap() = written;
        self.0.progress.advance_to(through);
        through.0
    }
}

#[tonic::async_trait]
impl EventLogService for Log {
    type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(Status::internal("the log is down"));
        }
        let records = request.into_inner().records.into_iter().map(|record| Record::try_from(record).unwrap()).collect();
        let position = self.append_records(records).await;
        Ok(Response::new(pb::AppendResponse { position, accepted: 1, duplicates: 0 }))
    }

    async fn consume(&self, _: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(Status::unimplemented("nobody reads this log"))
    }

    async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("nobody reads this log"))
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        Err(Status::unimplemented("this log forgets nothing"))
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// Waits until `condition` holds, and says what never came otherwise.
pub(super) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
