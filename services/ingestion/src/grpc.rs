//! `IngestionService` on the wire.

use colloquy_proto::ingestion::v1 as pb;
use colloquy_proto::ingestion::v1::ingestion_service_server::IngestionService;
use colloquy_proto::ingestion::v1::receive_webhook_request::Part;
use colloquy_service::{Caller, Describe, Problem};
use colloquy_storage::PageTokens;
use colloquy_types::Scope;
use tonic::{Request, Response, Status, Streaming};

use crate::convert;
use crate::delivery::Intake;
use crate::error::Error;
use crate::native::NativeIntake;
use crate::page;
use crate::quarantine::{Quarantine, Quarantined};
use crate::store::Place;

/// The most bytes of one piece of a body.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Answers calls that bring something in, and calls about what could not be mapped.
pub(crate) struct IngestionGrpc {
    pub(crate) intake: Intake,
    pub(crate) native: NativeIntake,
    pub(crate) quarantine: Quarantine,
    pub(crate) page_tokens: PageTokens,
}

fn status(error: Error) -> Status {
    error.describe().into()
}

fn misplaced(field: &str, message: &str) -> Status {
    Problem::invalid_field(field, message).into()
}

#[tonic::async_trait]
impl IngestionService for IngestionGrpc {
    async fn receive_webhook(
        &self,
        request: Request<Streaming<pb::ReceiveWebhookRequest>>,
    ) -> Result<Response<pb::ReceiveWebhookResponse>, Status> {
        let mut parts = request.into_inner();
        let Some(pb::ReceiveWebhookRequest { part: Some(Part::Head(head)) }) = parts.message().await? else {
            return Err(misplaced("head", "must come first"));
        };
        let (source_id, headers) = convert::webhook_head(head)?;
        let mut delivery = self.intake.begin(source_id, &headers).await.map_err(status)?;
        while let Some(pb::ReceiveWebhookRequest { part }) = parts.message().await? {
            match part {
                Some(Part::Chunk(chunk)) if chunk.len() > MAX_CHUNK_BYTES => {
                    return Err(misplaced("chunk", "must be at most 1 MiB"));
                }
                Some(Part::Chunk(chunk)) => delivery.push(&chunk).await.map_err(status)?,
                Some(Part::Head(_)) => return Err(misplaced("head", "must come only once")),
                None => return Err(misplaced("part", "must be a head or a chunk")),
            }
        }
        let delivered = Box::pin(self.intake.finish(delivery)).await.map_err(status)?;
        Ok(Response::new(convert::delivered_to_pb(delivered)))
    }

    async fn ingest_events(
        &self,
        request: Request<pb::IngestEventsRequest>,
    ) -> Result<Response<pb::IngestEventsResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::EventsWrite)?;
        let events = convert::sent_events(request.into_inner());
        let appended = self.native.ingest(organization, events).await.map_err(status)?;
        Ok(Response::new(convert::ingested_to_pb(&appended)))
    }

    async fn list_quarantine(
        &self,
        request: Request<pb::ListQuarantineRequest>,
    ) -> Result<Response<pb::ListQuarantineResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let request = request.into_inner();
        let filter = convert::quarantine_filter(&request)?;
        let list = ("quarantine", &organization, filter);
        let size = page::size(request.page_size)?;
        let after = page::after(&self.page_tokens, &list, &request.page_token)?;
        let mut found = self.quarantine.page(&organization, filter, after, size + 1).await.map_err(status)?;
        let place = |delivery: &Quarantined| Place { at: delivery.received_at, id: delivery.quarantine_id };
        let next_page_token = page::cut(&self.page_tokens, &list, &mut found, size, place);
        let deliveries = found.into_iter().map(convert::quarantined_to_pb).collect();
        Ok(Response::new(pb::ListQuarantineResponse { deliveries, next_page_token }))
    }

    async fn retry_quarantine(
        &self,
        request: Request<pb::RetryQuarantineRequest>,
    ) -> Result<Response<pb::RetryQuarantineResponse>, Status> {
        let organization = Caller::of(&request).require(Scope::Admin)?;
        let id = convert::quarantine_id(&request.into_inner().quarantine_id)?;
        let delivery = Box::pin(self.intake.retry(&organization, id)).await.map_err(status)?;
        let position = delivery.position.unwrap_or_default();
        let delivery = Some(convert::quarantined_to_pb(delivery));
        Ok(Response::new(pb::RetryQuarantineResponse { delivery, position }))
    }
}
