//! A log under test: the engine itself, or the engine behind its gRPC service, as the same trait.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Caller;
use colloquy_service::transport::{LocalSlot, MAX_MESSAGE_BYTES, Transport};
use colloquy_storage::{DatabaseUrl, StoreError};
use colloquy_testkit::nats::Nats;
use colloquy_types::{ConversationId, OrganizationId, Position, SystemClock};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status, Streaming};

use crate::log::grpc::EventLogGrpc;
use crate::log::{
    Appended, Batch, Consumer, ConsumerStart, ConsumerState, EventLog, JetStreamSettings, LogEngine, LogError, LogRecord,
    LogSettings, NewRecord, Page, ReadRequest, TailRequest, Tailed, TailedEvent, open, tail,
};
use crate::{MasterKey, Settings};

/// How long a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Where a log is kept, and outlives the process that has it open.
enum Place {
    Folder(TempDir),
    JetStream { nats: Box<tokio::sync::Mutex<Nats>>, store: PathBuf, database: Box<Settings>, _folder: TempDir },
}

pub(crate) struct Subject {
    pub(crate) log: Arc<dyn EventLog>,
    place: Arc<Place>,
    pub(crate) stop: CancellationToken,
    client: Option<EventLogServiceClient<Transport>>,
    settings: LogSettings,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Returns a client whose calls come from `caller`.
pub(crate) fn client(log: &Arc<dyn EventLog>, caller: Caller, stop: CancellationToken) -> EventLogServiceClient<Transport> {
    let server = EventLogGrpc::new(Arc::clone(log), Arc::new(SystemClock), stop).into_server();
    let known = move |mut request: Request<()>| {
        request.extensions_mut().insert(caller.clone());
        Ok(request)
    };
    let slot = LocalSlot::new();
    slot.fill(Routes::new(InterceptedService::new(server, known)).into_axum_router());
    EventLogServiceClient::new(slot.transport())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

impl Subject {
    pub(crate) async fn embedded(settings: LogSettings) -> Option<Self> {
        Some(Self::at(Arc::new(Place::Folder(TempDir::new().unwrap())), settings, false).await)
    }

    pub(crate) async fn over_grpc(settings: LogSettings) -> Option<Self> {
        Some(Self::at(Arc::new(Place::Folder(TempDir::new().unwrap())), settings, true).await)
    }

    pub(crate) async fn jetstream(settings: LogSettings) -> Option<Self> {
        Self::on_jetstream(settings, None, false).await
    }

    pub(crate) async fn jetstream_over_grpc(settings: LogSettings) -> Option<Self> {
        Self::on_jetstream(settings, None, true).await
    }

    pub(crate) async fn jetstream_with_postgres(settings: LogSettings) -> Option<Self> {
        let url = colloquy_testkit::postgres::database_url().await?;
        Self::on_jetstream(settings, Some(url), false).await
    }

    async fn on_jetstream(settings: LogSettings, postgres: Option<String>, remote: bool) -> Option<Self> {
        // Each log has a server of its own; the variable says that there can be one.
        colloquy_testkit::nats::server_url()?;
        let folder = TempDir::new().unwrap();
        let mut database = Settings::in_folder(folder.path().to_owned(), MasterKey::new([7; 32]));
        if let Some(url) = postgres {
            database.database = DatabaseUrl::parse(&url, folder.path()).unwrap();
        }
        let nats = Nats::start().await;
        let (store, nats) = (nats.store(), Box::new(tokio::sync::Mutex::new(nats)));
        let place = Place::JetStream { nats, store, database: Box::new(database), _folder: folder };
        Some(Self::at(Arc::new(place), settings, remote).await)
    }

    async fn at(place: Arc<Place>, settings: LogSettings, remote: bool) -> Self {
        let stop = CancellationToken::new();
        let clock = Arc::new(SystemClock);
        let (engine, database) = match &*place {
            Place::Folder(folder) => {
                let engine = LogEngine::Embedded { folder: folder.path().to_owned() };
                (engine, Settings::in_folder(folder.path().join("ingestion"), MasterKey::new([7; 32])))
            }
            Place::JetStream { nats, database, .. } => {
                (LogEngine::JetStream(JetStreamSettings::on(vec![nats.lock().await.url()])), (**database).clone())
            }
        };
        let (database, _) = crate::store::open(&database).await.unwrap();
        let (log, tasks) = open(&engine, settings, &database, clock, stop.clone()).await.unwrap();
        let tasks = tasks.into_iter().map(|task| tokio::spawn(task.work)).collect();
        let mut subject = Self { log, place, stop: stop.clone(), client: None, settings, tasks };
        if remote {
            let client = client(&subject.log, Caller::Service, stop);
            subject.log = Arc::new(Remote { engine: Arc::clone(&subject.log), client: client.clone() });
            subject.client = Some(client);
        }
        subject
    }

    /// Returns the same log, opened again after its process was lost, and its servers with it.
    pub(crate) async fn crash(self) -> Self {
        for task in &self.tasks {
            task.abort();
        }
        if let Place::JetStream { nats, .. } = &*self.place {
            let mut nats = nats.lock().await;
            nats.kill();
            nats.restart().await;
        }
        Self::at(Arc::clone(&self.place), self.settings, self.client.is_some()).await
    }

    /// Returns the same log, opened again after it was stopped, with other settings.
    pub(crate) async fn restart(mut self, settings: LogSettings) -> Self {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            tokio::time::timeout(LIMIT, task).await.expect("the log stops").unwrap().unwrap();
        }
        Self::at(Arc::clone(&self.place), settings, self.client.is_some()).await
    }

    /// Returns the same log on servers that lost everything, opened again.
    pub(crate) async fn lose_servers(self) -> Self {
        for task in &self.tasks {
            task.abort();
        }
        if let Place::JetStream { nats, .. } = &*self.place {
            let mut nats = nats.lock().await;
            nats.kill();
            nats.wipe();
            nats.restart().await;
        }
        Self::at(Arc::clone(&self.place), self.settings, self.client.is_some()).await
    }

    /// Returns the same log, opened once more beside this one, as another replica has it.
    pub(crate) async fn replica(&self) -> Self {
        Self::at(Arc::clone(&self.place), self.settings, self.client.is_some()).await
    }

    /// Returns the folder the engine keeps records in.
    pub(crate) fn path(&self) -> &Path {
        match &*self.place {
            Place::Folder(folder) => folder.path(),
            Place::JetStream { store, .. } => store,
        }
    }

    /// Returns whether what remains of a record after an erasure stands where it stood. A message of a stream cannot be changed.
    pub(crate) fn remainders_stay(&self) -> bool {
        matches!(*self.place, Place::Folder(_))
    }

    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Appended {
        self.log.append(records).await.unwrap()
    }

    pub(crate) async fn consumer(&self, name: &str, after: Option<Position>, max_events: u32) -> Box<dyn Consumer> {
        let start = ConsumerStart { name: name.to_owned(), organization: None, after, max_events };
        self.log.consumer(start).await.unwrap()
    }

    /// Follows the log; of how far it was read nothing is said.
    pub(crate) async fn tail(&self, request: TailRequest) -> BoxStream<'static, Result<TailedEvent, LogError>> {
        let events = |told: Result<Tailed, LogError>| async move {
            match told {
                Ok(Tailed::Event(event)) => Some(Ok(event)),
                Ok(Tailed::ReadThrough(_)) => None,
                Err(error) => Some(Err(error)),
            }
        };
        self.tail_with_progress(request).await.filter_map(events).boxed()
    }

    pub(crate) async fn tail_with_progress(&self, request: TailRequest) -> BoxStream<'static, Result<Tailed, LogError>> {
        let Some(mut client) = self.client.clone() else {
            return tail(Arc::clone(&self.log), request, self.stop.clone()).await.unwrap().boxed();
        };
        let request = pb::TailRequest {
            after_position: request.after.map(|after| after.0),
            conversation_id: request.conversation.map(|id| id.to_string()).unwrap_or_default(),
            kinds: request.kinds,
            until_end: request.until_end,
            organization_id: request.organization.map(String::from).unwrap_or_default(),
            with_progress: request.with_progress,
        };
        let told = |told: pb::TailResponse| {
            let Some(event) = told.event else { return Tailed::ReadThrough(Position(told.position)) };
            Tailed::Event(TailedEvent {
                position: Position(told.position),
                organization_id: told.organization_id.parse().unwrap(),
                received_at: told.received_at,
                event,
            })
        };
        client.tail(request).await.unwrap().into_inner().map(move |answer| answer.map(told).map_err(log_error)).boxed()
    }
}

/// Waits for a batch.
pub(crate) async fn next(consumer: &mut Box<dyn Consumer>) -> Batch {
    tokio::time::timeout(LIMIT, consumer.next()).await.expect("a batch comes").unwrap()
}

fn log_error(status: Status) -> LogError {
    match status.code() {
        Code::Unavailable => LogError::QueueFull,
        Code::OutOfRange => LogError::BeyondEnd { after: Position::START, end: Position::START },
        Code::InvalidArgument => LogError::RecordTooLarge { index: 0, bytes: 0, limit: 0 },
        _ => LogError::Store(StoreError::Corrupt(status.to_string())),
    }
}

/// The log through its gRPC service; what the service does not offer goes to the engine.
struct Remote {
    engine: Arc<dyn EventLog>,
    client: EventLogServiceClient<Transport>,
}

#[async_trait]
impl EventLog for Remote {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Appended, LogError> {
        let records = records.into_iter().map(|new| pb::Record { raw_body: new.raw_body, ..new.record.into() }).collect();
        let answer = self.client.clone().append(pb::AppendRequest { records }).await.map_err(log_error)?.into_inner();
        let (accepted, duplicates) = (answer.accepted, answer.duplicates);
        Ok(Appended { position: Position(answer.position), accepted, duplicates, records: Vec::new() })
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Page, LogError> {
        self.engine.read(request).await
    }

    async fn consumer(&self, start: ConsumerStart) -> Result<Box<dyn Consumer>, LogError> {
        let (said, saying) = mpsc::channel(64);
        let after_position = start.after.map(|after| after.0);
        let start = pb::ConsumeStart { consumer: start.name, after_position, max_batch_events: start.max_events };
        let start = pb::ConsumeRequest { request: Some(pb::consume_request::Request::Start(start)) };
        said.try_send(start).unwrap();
        let batches = self.client.clone().consume(ReceiverStream::new(saying)).await.map_err(log_error)?.into_inner();
        Ok(Box::new(RemoteConsumer { said, batches }))
    }

    async fn erase(&self, organization: &OrganizationId, conversation: ConversationId) -> Result<u64, LogError> {
        let request = pb::EraseRequest { organization_id: organization.to_string(), conversation_id: conversation.to_string() };
        Ok(self.client.clone().erase(request).await.map_err(log_error)?.into_inner().erased_events)
    }

    async fn raw_body(&self, organization: &OrganizationId, sequence: u64) -> Result<Option<Bytes>, LogError> {
        self.engine.raw_body(organization, sequence).await
    }

    async fn end(&self) -> Result<Position, LogError> {
        self.engine.end().await
    }

    async fn consumers(&self, organization: Option<&OrganizationId>) -> Result<Vec<ConsumerState>, LogError> {
        self.engine.consumers(organization).await
    }

    async fn consumer_state(&self, organization: Option<&OrganizationId>, name: &str) -> Result<Option<ConsumerState>, LogError> {
        self.engine.consumer_state(organization, name).await
    }

    async fn wait_beyond(&self, position: Position) {
        self.engine.wait_beyond(position).await;
    }
}

struct RemoteConsumer {
    said: mpsc::Sender<pb::ConsumeRequest>,
    batches: Streaming<pb::ConsumeResponse>,
}

#[async_trait]
impl Consumer for RemoteConsumer {
    async fn next(&mut self) -> Result<Batch, LogError> {
        let batch = self.batches.message().await.map_err(log_error)?.ok_or(LogError::Closed)?;
        let records = batch.records.into_iter().map(|message| {
            let record = pb::Record::decode(message.clone()).unwrap();
            LogRecord {
                sequence: record.sequence,
                organization_id: record.organization_id.parse().unwrap(),
                event_count: record.events.len() as u32,
                message,
            }
        });
        Ok(Batch {
            batch_id: batch.batch_id,
            records: records.collect(),
            delivery_count: batch.delivery_count,
            after: Position(batch.after_position),
            acknowledged: Position(batch.acknowledged_position),
        })
    }

    fn acknowledge(&mut self, batch_id: u64) {
        let ack = pb::consume_request::Request::Ack(pb::ConsumeAck { batch_id });
        self.said.try_send(pb::ConsumeRequest { request: Some(ack) }).unwrap();
    }
}

/// Checks that a record's time came through.
pub(crate) fn received_at(event: &TailedEvent, record: &NewRecord) {
    assert_eq!(event.received_at, Some(timestamp_to_pb(record.record.received_at)));
}
