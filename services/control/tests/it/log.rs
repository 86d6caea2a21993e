//! A log in memory: keeps every event once, hands out every record after the position asked for, and those that come later.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use colloquy_events::{Event, Record};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_server::EventLogService;
use colloquy_types::{OrganizationId, Position};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone)]
pub(crate) struct Log {
    records: watch::Sender<Vec<pb::Record>>,
    down: Arc<AtomicBool>,
    refused: Arc<Mutex<HashSet<String>>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { records: watch::Sender::new(Vec::new()), down: Arc::default(), refused: Arc::default() }
    }

    /// Takes nothing any more, or takes again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Takes nothing of this conversation any more.
    pub(crate) fn refuse(&self, external_id: &str) {
        self.refused.lock().unwrap().insert(external_id.to_owned());
    }

    /// Appends a record, without the events that are there.
    pub(crate) fn append_record(&self, record: Record) -> pb::AppendResponse {
        let mut answer = pb::AppendResponse::default();
        self.records.send_modify(|log| {
            let mut record = pb::Record::from(record);
            let before = record.events.len();
            let known = |id: &str| log.iter().flat_map(|record| &record.events).any(|event| event.event_id == id);
            record.events.retain(|event| !known(&event.event_id));
            record.sequence = log.len() as u64 + 1;
            answer.accepted = record.events.len() as u32;
            answer.duplicates = (before - record.events.len()) as u32;
            if !record.events.is_empty() {
                log.push(record);
            }
            answer.position = Position::end_of(log.len() as u64).0;
        });
        answer
    }

    /// Returns every event of an organization with its position, in the log's order.
    pub(crate) fn events(&self, organization_id: &OrganizationId) -> Vec<(Position, Event)> {
        let records: Vec<Record> = self.records.borrow().iter().map(|record| Record::try_from(record.clone()).unwrap()).collect();
        let own = records.iter().filter(|record| record.organization_id == *organization_id);
        own.flat_map(|record| record.events.iter().enumerate().map(|(index, event)| (record.position_of(index), event.clone())))
            .collect()
    }
}

#[tonic::async_trait]
impl EventLogService for Log {
    type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;
    type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

    async fn consume(&self, request: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        let first = request.into_inner().message().await?.and_then(|message| message.request);
        let Some(pb::consume_request::Request::Start(start)) = first else { panic!("{first:?}") };
        assert_eq!(start.consumer, "control");
        let after = Position(start.after_position.unwrap()).sequence();
        let stream = futures::stream::unfold((self.records.subscribe(), after), |(mut log, after)| async move {
            let records = log.wait_for(|log| log.len() as u64 > after).await.ok()?[after as usize..].to_vec();
            let end = after + records.len() as u64;
            let records = records.iter().map(|record| record.encode_to_vec().into()).collect();
            let after_position = Position::end_of(after).0;
            let batch = pb::ConsumeResponse { batch_id: end, records, delivery_count: 1, after_position, ..Default::default() };
            Some((Ok(batch), (log, end)))
        });
        Ok(Response::new(stream.boxed()))
    }

    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Status::internal("the log is broken"));
        }
        let [record] = <[pb::Record; 1]>::try_from(request.into_inner().records).unwrap();
        if record.events.iter().any(|event| self.refused.lock().unwrap().contains(&event.external_id)) {
            return Err(Status::invalid_argument("the log does not take this"));
        }
        Ok(Response::new(self.append_record(Record::try_from(record).unwrap())))
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
