//! Serves the log to the other services, and to whoever has a key for it.

use std::pin::Pin;
use std::sync::Arc;

use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::consume_request::Request as Said;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::transport::MAX_MESSAGE_BYTES;
use colloquy_service::{Caller, Describe, Problem, metrics};
use colloquy_types::{Clock, Scope};
use futures::stream::unfold;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Consumer, EventLog, LogError, convert, observe, tail};

/// The full name of the service, for health.
pub const NAME: &str = "colloquy.log.v1.EventLogService";

/// The service's methods.
pub struct EventLogGrpc {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl EventLogGrpc {
    /// Returns the service over `log`; its streams end with `stop`.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { log, clock, stop }
    }

    /// Returns the service as it is added to a router, with room for the messages the log allows.
    pub fn into_server(self) -> EventLogServiceServer<Self> {
        EventLogServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

impl From<LogError> for Status {
    fn from(error: LogError) -> Self {
        error.describe().into()
    }
}

#[tonic::async_trait]
impl EventLogService for EventLogGrpc {
    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        let caller = Caller::of(&request);
        let records = convert::new_records(&caller, self.clock.now(), request.into_inner())?;
        let appended = observe::append(&*self.log, records).await?;
        Ok(Response::new(appended.into()))
    }

    type ConsumeStream = Answers<pb::ConsumeResponse>;

    async fn consume(&self, request: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        let caller = Caller::of(&request);
        let mut said = request.into_inner();
        let Some(pb::ConsumeRequest { request: Some(Said::Start(start)) }) = said.message().await? else {
            return Err(Problem::invalid_field("start", "must be the first message").into());
        };
        let start = convert::consumer_start(&caller, start)?;
        let service = start.organization.is_none().then(|| start.name.clone());
        let consumer = self.log.consumer(start).await?;
        let consuming = Consuming { consumer, service, said, stop: self.stop.clone(), failed: false };
        let batches = unfold(consuming, |mut consuming| async move { consuming.next().await.map(|batch| (batch, consuming)) });
        Ok(Response::new(Box::pin(batches)))
    }

    type TailStream = Answers<pb::TailResponse>;

    async fn tail(&self, request: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let caller = Caller::of(&request);
        let request = convert::tail_request(&caller, request.into_inner())?;
        let events = tail(Arc::clone(&self.log), request, self.stop.clone()).await?;
        Ok(Response::new(Box::pin(events.map(|event| event.map(Into::into).map_err(Into::into)))))
    }

    async fn erase(&self, request: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization = caller.acting_for(&request.organization_id, Scope::Admin)?;
        let conversation = request.conversation_id.parse();
        let conversation = conversation.map_err(|_| Problem::invalid_field("conversation_id", "must be a UUID"))?;
        let erased_events = self.log.erase(&organization, conversation).await?;
        Ok(Response::new(pb::EraseResponse { erased_events }))
    }

    async fn get_consumer(&self, request: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        let organization = convert::consumers_of(&Caller::of(&request))?;
        let name = request.into_inner().consumer;
        let state = self.log.consumer_state(organization.as_ref(), &name).await?;
        let state = state
            .ok_or_else(|| Problem::not_found("CONSUMER_NOT_FOUND", "there is no consumer of that name; see ListConsumers"))?;
        Ok(Response::new(pb::GetConsumerResponse { consumer: Some(state.into()) }))
    }

    async fn list_consumers(
        &self,
        request: Request<pb::ListConsumersRequest>,
    ) -> Result<Response<pb::ListConsumersResponse>, Status> {
        let organization = convert::consumers_of(&Caller::of(&request))?;
        let consumers = self.log.consumers(organization.as_ref()).await?;
        Ok(Response::new(pb::ListConsumersResponse { consumers: consumers.into_iter().map(Into::into).collect() }))
    }
}

/// A `Consume` stream: it ends with its reader, with the service, or with an error.
struct Consuming {
    consumer: Box<dyn Consumer>,
    /// The name of a service's consumer, whose batches are counted when they come again; an organization's own has none.
    service: Option<String>,
    said: Streaming<pb::ConsumeRequest>,
    stop: CancellationToken,
    failed: bool,
}

impl Consuming {
    async fn next(&mut self) -> Option<Result<pb::ConsumeResponse, Status>> {
        if self.failed {
            return None;
        }
        let answer = loop {
            tokio::select! {
                // Acknowledgements first: they make room for the next batch.
                biased;
                () = self.stop.cancelled() => return None,
                said = self.said.message() => match said {
                    Ok(Some(pb::ConsumeRequest { request: Some(Said::Ack(ack)) })) => self.consumer.acknowledge(ack.batch_id),
                    Ok(Some(_)) => break Err(Problem::invalid_field("ack", "must follow the start").into()),
                    Ok(None) => return None,
                    // The reader is gone.
                    Err(_) => return None,
                },
                batch = self.consumer.next() => break match batch {
                    Ok(batch) => {
                        let Some(name) = self.service.as_deref() else {
                            break convert::batch_of_organization(batch).map_err(Status::from);
                        };
                        if batch.delivery_count > 1 {
                            metrics::consumer_redelivered(name);
                        }
                        Ok(batch.into())
                    }
                    Err(error) => Err(error.into()),
                },
            }
        };
        self.failed = answer.is_err();
        Some(answer)
    }
}
