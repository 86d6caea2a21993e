//! The service as it is built, reading a log.

use std::sync::Arc;
use std::time::Duration;

use colloquy_events::Record;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_proto::transcript::v1::{GetTranscriptRequest, GetTranscriptResponse, SearchTurnsRequest};
use colloquy_service::transport::LocalSlot;
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_transcript::{Deps, Settings, build};
use colloquy_types::{Position, Provider, RecordId, SystemClock};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::harness;
use crate::samples::{self, organization};

/// A log in memory: hands out every record after the position asked for, and those that come later.
#[derive(Clone)]
struct Log(watch::Sender<Vec<pb::Record>>);

impl Log {
    fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    /// Appends a record as it is.
    fn append_message(&self, record: pb::Record) {
        self.0.send_modify(|log| log.push(pb::Record { sequence: log.len() as u64 + 1, ..record }));
    }

    /// Appends and returns the position after which it can be read.
    fn append(&self, records: Vec<Record>) -> u64 {
        let mut end = 0;
        self.0.send_modify(|log| {
            for record in records {
                end = log.len() as u64 + 1;
                log.push(pb::Record { sequence: end, ..record.into() });
            }
        });
        Position::end_of(end).0
    }
}

#[tonic::async_trait]
impl EventLogService for Log {
    type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

    async fn consume(&self, request: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        let first = request.into_inner().message().await?.and_then(|message| message.request);
        let Some(pb::consume_request::Request::Start(start)) = first else { panic!("{first:?}") };
        assert!(["transcript", "transcript-search"].contains(&start.consumer.as_str()), "{}", start.consumer);
        let after = Position(start.after_position.unwrap()).sequence();
        let stream = futures::stream::unfold((self.0.subscribe(), after), |(mut log, after)| async move {
            let records = log.wait_for(|log| log.len() as u64 > after).await.ok()?[after as usize..].to_vec();
            let after = after + records.len() as u64;
            let records = records.iter().map(|record| record.encode_to_vec().into()).collect();
            let batch = pb::ConsumeResponse { batch_id: after, records, delivery_count: 1, ..Default::default() };
            Some((Ok(batch), (log, after)))
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn append(&self, _: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        Err(Status::unimplemented("append"))
    }

    async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("tail"))
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        Err(Status::unimplemented("erase"))
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// The built service, running.
struct Running {
    slot: LocalSlot,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    async fn start(log: &Log, url: &DatabaseUrl) -> Self {
        Self::start_with(log, Settings { database_url: url.clone(), search: true }).await
    }

    async fn start_with(log: &Log, settings: Settings) -> Self {
        let log_slot = LocalSlot::new();
        log_slot.fill(Routes::new(EventLogServiceServer::new(log.clone())).into_axum_router());
        let stop = CancellationToken::new();
        let page_tokens = PageTokens::new(b"master");
        let deps = Deps { clock: Arc::new(SystemClock), page_tokens, log: log_slot.transport(), stop: stop.clone() };
        let expected = ("transcript", if settings.search { 2 } else { 1 });
        let service = build(settings, deps).await.unwrap();
        assert_eq!((service.name, service.tasks.len()), expected);
        assert_eq!(service.grpc_names, ["colloquy.transcript.v1.TranscriptService"]);
        let tasks = service.tasks.into_iter().map(|task| tokio::spawn(task.work)).collect();
        let slot = LocalSlot::new();
        slot.fill(service.routes.into_axum_router());
        Self { slot, stop, tasks }
    }

    async fn read(&self, conversation_id: &str, min_position: u64) -> GetTranscriptResponse {
        let mut client = harness::client(&self.slot, harness::key(&organization(), "transcripts:read"));
        let request =
            GetTranscriptRequest { conversation_id: conversation_id.to_owned(), min_position, organization_id: String::new() };
        client.get_transcript(request).await.unwrap().into_inner()
    }

    /// Returns in how many turns of the conversation `query` is found.
    async fn found(&self, query: &str, min_position: u64) -> usize {
        self.search(query, min_position).await.unwrap()
    }

    async fn search(&self, query: &str, min_position: u64) -> Result<usize, Status> {
        let mut client = harness::client(&self.slot, harness::key(&organization(), "transcripts:read"));
        let request = SearchTurnsRequest { query: query.to_owned(), min_position, ..Default::default() };
        Ok(client.search_turns(request).await?.into_inner().hits.len())
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
        }
    }
}

fn unreadable(record: &Record) -> pb::Record {
    let mut record = pb::Record::from(record.clone());
    record.record_id = RecordId::generate().to_string();
    record.events[0].provider = "nobody".to_owned();
    record
}

async fn a_reader_goes_on_where_it_was(url: DatabaseUrl) {
    let log = Log::new();
    let mut records = samples::records(Provider::Native);
    // Nobody can read it, and it stops nothing.
    log.append_message(unreadable(&records[0]));
    let end = records.pop().unwrap();
    let position = log.append(records);
    let running = Running::start(&log, &url).await;
    let before = running.read("native:native-1", position).await;
    assert_eq!((before.status.as_str(), before.turns.len()), ("in_progress", 7));
    assert_eq!(running.found("termin", position).await, 1);
    running.stop().await;

    let position = log.append(vec![end]);
    let running = Running::start(&log, &url).await;
    let after = running.read("native:native-1", position).await;
    assert_eq!((after.status.as_str(), after.turns.len()), ("completed", 7));
    assert_eq!((running.found("termin", position).await, running.found("\"guten tag\"", 0).await), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn search_that_is_switched_off_says_so_and_catches_up_when_it_is_on_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
    let log = Log::new();
    let position = log.append(samples::records(Provider::Native));
    let running = Running::start_with(&log, Settings { database_url: url.clone(), search: false }).await;
    assert_eq!(running.read("native:native-1", position).await.turns.len(), 7);
    let status = running.search("termin", 0).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    assert!(status.message().contains("'transcript-search'"), "{status}");
    running.stop().await;

    let running = Running::start(&log, &url).await;
    assert_eq!(running.found("termin", position).await, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_reader_goes_on_where_it_was(DatabaseUrl::SqliteFolder(folder.path().to_owned())).await;
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_on_postgresql() {
    if let Some(url) = colloquy_testkit::postgres::database_url().await {
        a_reader_goes_on_where_it_was(DatabaseUrl::Postgres(url)).await;
    }
}
