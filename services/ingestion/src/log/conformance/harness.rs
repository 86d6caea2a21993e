//! A log under test: the engine itself, or the engine behind its gRPC service, as the same trait.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Caller;
use colloquy_service::transport::{LocalSlot, MAX_MESSAGE_BYTES, Transport};
use colloquy_storage::StoreError;
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
    Appended, Batch, Consumer, ConsumerStart, EventLog, LogError, LogRecord, LogSettings, NewRecord, Page, ReadRequest,
    TailRequest, TailedEvent, open, tail,
};

/// How long a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Subject {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) folder: Arc<TempDir>,
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
    pub(crate) async fn embedded(settings: LogSettings) -> Self {
        Self::at(Arc::new(TempDir::new().unwrap()), settings, false).await
    }

    pub(crate) async fn over_grpc(settings: LogSettings) -> Self {
        Self::at(Arc::new(TempDir::new().unwrap()), settings, true).await
    }

    async fn at(folder: Arc<TempDir>, settings: LogSettings, remote: bool) -> Self {
        let stop = CancellationToken::new();
        let (log, tasks) = open(folder.path(), settings, Arc::new(SystemClock), stop.clone()).await.unwrap();
        let tasks = tasks.into_iter().map(|task| tokio::spawn(task.work)).collect();
        let mut subject = Self { log, folder, stop: stop.clone(), client: None, settings, tasks };
        if remote {
            let client = client(&subject.log, Caller::Service, stop);
            subject.log = Arc::new(Remote { engine: Arc::clone(&subject.log), client: client.clone() });
            subject.client = Some(client);
        }
        subject
    }

    /// Returns the same log, opened again after its process was lost.
    pub(crate) async fn crash(self) -> Self {
        for task in &self.tasks {
            task.abort();
        }
        Self::at(Arc::clone(&self.folder), self.settings, self.client.is_some()).await
    }

    /// Returns the same log, opened again after it was stopped, with other settings.
    pub(crate) async fn restart(mut self, settings: LogSettings) -> Self {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            tokio::time::timeout(LIMIT, task).await.expect("the log stops").unwrap().unwrap();
        }
        Self::at(Arc::clone(&self.folder), settings, self.client.is_some()).await
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Appended {
        self.log.append(records).await.unwrap()
    }

    pub(crate) async fn consumer(&self, name: &str, after: Option<Position>, max_events: u32) -> Box<dyn Consumer> {
        let start = ConsumerStart { name: name.to_owned(), organization: None, after, max_events };
        self.log.consumer(start).await.unwrap()
    }

    pub(crate) async fn tail(&self, request: TailRequest) -> BoxStream<'static, Result<TailedEvent, LogError>> {
        let Some(mut client) = self.client.clone() else {
            return tail(Arc::clone(&self.log), request, self.stop.clone()).unwrap().boxed();
        };
        let request = pb::TailRequest {
            after_position: request.after.map(|after| after.0),
            conversation_id: request.conversation.map(|id| id.to_string()).unwrap_or_default(),
            kinds: request.kinds,
            until_end: request.until_end,
        };
        let events = client.tail(request).await.unwrap().into_inner();
        let event = |event: pb::TailResponse| TailedEvent {
            position: Position(event.position),
            organization_id: event.organization_id.parse().unwrap(),
            received_at: event.received_at,
            event: event.event.unwrap(),
        };
        events.map(move |answer| answer.map(event).map_err(log_error)).boxed()
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

    fn end(&self) -> Position {
        self.engine.end()
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
        let records = batch.records.into_iter().map(|record| LogRecord {
            sequence: record.sequence,
            organization_id: record.organization_id.parse().unwrap(),
            event_count: record.events.len() as u32,
            message: record.encode_to_vec().into(),
        });
        Ok(Batch { batch_id: batch.batch_id, records: records.collect(), delivery_count: batch.delivery_count })
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
